//! The resources of this process, to detect a growth later.

use std::fs;

/// The numbers of descriptors, mappings and children.
#[derive(Debug)]
pub struct Holdings {
    descriptors: usize,
    mappings: usize,
    children: usize,
}

impl Holdings {
    pub fn now() -> Self {
        let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            descriptors: entries("/proc/self/fd"),
            // The heap grows as it likes: only what is shared with others is counted.
            mappings: text("/proc/self/maps").lines().filter(|line| line.contains("memfd:")).count(),
            children: text("/proc/thread-self/children").split_whitespace().count(),
        }
    }

    /// The number of resources in excess of `before`.
    pub fn beyond(&self, before: &Self) -> usize {
        self.descriptors.saturating_sub(before.descriptors)
            + self.mappings.saturating_sub(before.mappings)
            + self.children.saturating_sub(before.children)
    }
}
