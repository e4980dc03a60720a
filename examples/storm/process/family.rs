//! Who descends from whom, as the kernel says.

use std::fs;

use ossature::sys::fd::OwnedFd;
use ossature::sys::process::{Pid, pidfd_open};

/// A child of somebody.
#[derive(Debug)]
pub struct Relative {
    pub pid: Pid,
    parent: Pid,
}

/// The children that the main thread of a process has, the dead that nobody waited for included.
pub fn children(parent: Pid) -> Vec<Relative> {
    let number = parent.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|word| word.parse().ok()).filter_map(Pid::from_raw);
    pids.map(|pid| Relative { pid, parent }).collect()
}

/// Children and grandchildren: below a fork server are those that it forked.
pub fn below(parent: Pid) -> Vec<Relative> {
    let mut all = children(parent);
    let below: Vec<_> = all.iter().flat_map(|child| children(child.pid)).collect();
    all.extend(below);
    all
}

impl Relative {
    /// A descriptor of it and nobody else, if it is still there.
    pub fn open(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(self.pid).ok()?;
        // The number may have gone to another between the look and the opening; one that has this parent is not
        // another's.
        (self.field(1)? == self.parent.as_raw_nonzero().to_string()).then_some(pidfd)
    }

    pub fn is_zombie(&self) -> bool {
        self.field(0).is_some_and(|state| state == "Z")
    }

    /// A word of `/proc/PID/stat` after the name.
    fn field(&self, n: usize) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero())).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(n).map(str::to_owned)
    }
}
