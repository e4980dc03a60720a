//! How often somebody looks for news before it sleeps.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// The most looks.
const MOST: u32 = 200;
/// The fewest: about the time in which a worker that is awake makes a short call and tells of it.
const LEAST: u32 = 25;

/// The looks of one process. Looks that find something allow as many looks as there may be. Looks that find nothing
/// allow half as many: where the other side sleeps, or waits for this processor, they only delay.
pub(super) struct Looks(AtomicU32);

impl Default for Looks {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl Looks {
    /// How often to look.
    pub(super) fn how_often(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Notes whether the looks have found something.
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
