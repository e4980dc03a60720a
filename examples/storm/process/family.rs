//! The process tree, as the kernel reports it.

use std::fs;

use ossature::sys::fd::OwnedFd;
use ossature::sys::process::{Pid, pidfd_open};

/// A child of a process.
#[derive(Debug)]
pub struct Relative {
    pub pid: Pid,
    parent: Pid,
}

/// The children of the main thread of a process, including zombies.
pub fn children(parent: Pid) -> Vec<Relative> {
    let number = parent.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|word| word.parse().ok()).filter_map(Pid::from_raw);
    pids.map(|pid| Relative { pid, parent }).collect()
}

/// Children and grandchildren; a fork server's grandchildren are the processes that it forked.
pub fn below(parent: Pid) -> Vec<Relative> {
    let mut all = children(parent);
    let below: Vec<_> = all.iter().flat_map(|child| children(child.pid)).collect();
    all.extend(below);
    all
}

impl Relative {
    /// A pidfd of exactly this process, if it still exists.
    pub fn open(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(self.pid).ok()?;
        // The number may have gone to another between the look and the opening; one that has this parent is not
        // another's.
        (self.field(1)? == self.parent.as_raw_nonzero().to_string()).then_some(pidfd)
    }

    pub fn is_zombie(&self) -> bool {
        self.field(0).is_some_and(|state| state == "Z")
    }

    /// Word number `n` of `/proc/PID/stat` after the name.
    fn field(&self, n: usize) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero())).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(n).map(str::to_owned)
    }
}
