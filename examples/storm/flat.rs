//! Checks between two storms that memory and descriptors do not grow, in this process and all its descendants.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The KiB by which a process may grow after the first minute: allocators keep what they freed.
const SLACK: usize = 8 << 10;

/// The number of descriptors by which a process may grow. A supervisor that replaces a dead one is forked with those
/// that are under way to the pool, whose number varies.
const UNDER_WAY: usize = 32;

/// The maximum time until the parent of a dead process reaps it. Meanwhile its replacement exists as well.
const PATIENCE: Duration = Duration::from_secs(20);

/// The maximum time until a pool that lost all its processes has replaced them.
const SETTLING: Duration = Duration::from_secs(2);

/// The time between two checks.
const PAUSE: Duration = Duration::from_millis(20);

/// The maxima over the processes of the family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Memory in KiB, without that of files.
    pub memory: usize,
    pub descriptors: usize,
    pub processes: usize,
}

impl Most {
    /// The maxima of this process and its descendants, once the processes killed last are replaced.
    pub fn now() -> Self {
        let end = Instant::now() + SETTLING;
        let mut most = Self::look();
        while Instant::now() < end {
            sleep(PAUSE);
            most = most.or(Self::look());
        }
        most
    }

    fn look() -> Self {
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

    /// The greater value of each field.
    pub fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            processes: self.processes.max(other.processes),
        }
    }

    /// The growth over an earlier state that lasts, if there is any.
    pub fn beyond(self, before: Self) -> Option<String> {
        let (mut now, end) = (self, Instant::now() + PATIENCE);
        while now.exceeds(before) {
            if Instant::now() > end {
                return Some(format!("a process of the storm had {before:?} after the first minute, and has {now:?}"));
            }
            sleep(PAUSE);
            now = Self::look();
        }
        None
    }

    fn exceeds(self, before: Self) -> bool {
        self.memory > before.memory + SLACK
            || self.descriptors > before.descriptors + UNDER_WAY
            || self.processes > before.processes
    }
}

/// The memory of a process in KiB, and the number of its descriptors.
fn of(pid: u32) -> Option<(usize, usize)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((field("RssAnon:")? + field("RssShmem:")?, descriptors))
}
