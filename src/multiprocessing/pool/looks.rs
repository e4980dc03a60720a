//! The number of times that a process looks for news before it sleeps.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// The maximum number of looks.
const MOST: u32 = 200;
/// The minimum number of looks: about the time in which an awake worker makes a short call and reports it.
const LEAST: u32 = 25;

/// The number of looks of one process. Looks that find something restore the maximum. Looks that find nothing halve the
/// number: if the other side sleeps, or waits for this processor, looks only delay.
pub(super) struct Looks(AtomicU32);

impl Default for Looks {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl Looks {
    /// The current number of looks.
    pub(super) fn how_often(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Records whether the looks have found something.
    pub(super) fn was_worth_it(&self, found: bool) {
        let looks = if found { MOST } else { (self.how_often() / 2).max(LEAST) };
        self.0.store(looks, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_find_nothing_become_few_until_one_finds_something() {
        let looks = Looks::default();
        let after = |found| {
            looks.was_worth_it(found);
            looks.how_often()
        };
        assert_eq!([false, false, false, false, false, true, true].map(after), [100, 50, 25, 25, 25, 200, 200]);
    }
}
