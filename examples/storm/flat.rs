//! Whether memory and descriptors stay as they are: of this process and of all that it has started, between two storms.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How much more memory a process may have than after the first minute: allocators keep what they freed.
const SLACK: usize = 8 << 10;

/// How many more descriptors. A supervisor that takes a dead one's place is forked with those that are under way to the
/// pool, and there are more of them at one time than at another.
const UNDER_WAY: usize = 32;

/// How long a process that has ended may wait for its parent. Beside it stands the one that takes its place.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a pool that lost all its processes may take to have others.
const SETTLING: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The most that any one process of the family has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Memory in KiB, that of files not counted.
    pub memory: usize,
    pub descriptors: usize,
    pub processes: usize,
}

impl Most {
    /// Of this process and its descendants, once those that were killed last have others in their place.
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

    /// The greater of each.
    pub fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            processes: self.processes.max(other.processes),
        }
    }

    /// What is beyond an earlier look and stays so, if anything is.
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
