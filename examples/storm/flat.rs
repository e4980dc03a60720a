//! Whether memory and descriptors stay as they are: of this process and of all that it has started, between two storms.

use std::fs;

/// How much more memory a process may have than after the first minute: allocators keep what they freed.
const SLACK: usize = 8 << 10;

/// The most that any one process of the family has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Memory in KiB, that of files not counted.
    pub memory: usize,
    pub descriptors: usize,
    pub processes: usize,
}

impl Most {
    /// Of this process and its descendants.
    pub fn now() -> Self {
        let mut most = Self::default();
        let mut family = vec![std::process::id()];
        while let Some(pid) = family.pop() {
            let Some((memory, descriptors)) = of(pid) else { continue }; // it has ended
            most.memory = most.memory.max(memory);
            most.descriptors = most.descriptors.max(descriptors);
            most.processes += 1;
            for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
        }
        most
    }

    /// The greater of each.
    pub fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            processes: self.processes.max(other.processes),
        }
    }

    /// What is beyond an earlier look, if anything is.
    pub fn beyond(self, before: Self) -> Option<String> {
        let grown = self.memory > before.memory + SLACK
            || self.descriptors > before.descriptors
            || self.processes > before.processes;
        grown.then(|| format!("a process of the storm has more than after the first minute: {self:?}, then {before:?}"))
    }
}

/// The memory of a process in KiB, and how many descriptors it has.
fn of(pid: u32) -> Option<(usize, usize)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((field("RssAnon:")? + field("RssShmem:")?, descriptors))
}
