//! How a process looks for news before it sleeps.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The maximum number of looks.
const MOST: u32 = 200;
/// The minimum number of looks: about the time in which an awake worker makes a short call and reports it.
const LEAST: u32 = 25;
/// The number of looks of a process whose other side ran on its processor last.
const SHARED: u32 = 1;
/// How often a process lets another thread run on its processor before it sleeps.
const YIELDS: u32 = 3;
/// The maximum time of yields that are worth their time: the other side of a short call takes less.
const SHORT: Duration = Duration::from_micros(50);
/// The maximum number of sleeps without a yield before them.
const MOST_SKIPPED: u32 = 16;

/// The looks of one process. Looks that find something restore their maximum number. Looks that find nothing halve the
/// number: if the other side sleeps, looks only delay.
///
/// If the other side ran on this processor last, looks keep it from running, so the process looks once only. Before it
/// sleeps, the process yields in either case. If that finds something, both sides have stayed awake, and no side has
/// woken the other by a system call. But yields may take long beside other threads, or find nothing. The next sleep
/// then comes without a yield. After further yields in vain the next two sleeps do, then the next four, and so on up
/// to [`MOST_SKIPPED`].
pub(super) struct Looks {
    count: AtomicU32,
    /// How many of the next sleeps come without a yield.
    skipped: AtomicU32,
    /// The value that `skipped` gets after the next yields in vain.
    penalty: AtomicU32,
}

impl Default for Looks {
    fn default() -> Self {
        Self { count: AtomicU32::new(MOST), skipped: AtomicU32::new(0), penalty: AtomicU32::new(1) }
    }
}

impl Looks {
    /// Looks until `look` finds something; `None` if it is time to sleep. `is_shared` says whether the other side ran
    /// on this processor last.
    pub(super) fn find<T>(&self, is_shared: bool, may_yield: bool, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let count = self.count.load(Relaxed);
        for _ in 0..if is_shared { SHARED } else { count } {
            let found = look();
            if found.is_some() {
                self.count.store(MOST, Relaxed);
                return found;
            }
            std::hint::spin_loop();
        }
        if !is_shared {
            self.count.store((count / 2).max(LEAST), Relaxed);
        }
        if !may_yield {
            return None;
        }
        let skipped = self.skipped.load(Relaxed);
        if skipped > 0 {
            self.skipped.store(skipped - 1, Relaxed);
            return None;
        }
        self.find_by_yields(look)
    }

    fn find_by_yields<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let begun = Instant::now();
        for _ in 0..YIELDS {
            std::thread::yield_now();
            let found = look();
            let is_short = begun.elapsed() <= SHORT;
            if found.is_some() || !is_short {
                self.yielded(found.is_some() && is_short);
                return found;
            }
        }
        self.yielded(false);
        None
    }

    /// Records whether yields were worth their time.
    fn yielded(&self, worth: bool) {
        let penalty = self.penalty.load(Relaxed);
        if worth {
            self.count.store(MOST, Relaxed);
        }
        let (skipped, next) = if worth { (0, 1) } else { (penalty, (penalty * 2).min(MOST_SKIPPED)) };
        self.skipped.store(skipped, Relaxed);
        self.penalty.store(next, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks in vain. Returns the number of looks.
    fn in_vain(looks: &Looks, is_shared: bool) -> u32 {
        let mut count = 0;
        let look = || {
            count += 1;
            None::<()>
        };
        assert_eq!(looks.find(is_shared, true, look), None);
        count
    }

    #[test]
    fn looks_that_find_nothing_become_few_until_one_finds_something() {
        let looks = Looks::default();
        let after = |found| {
            let _ = looks.find(false, true, || if found { Some(()) } else { None });
            looks.count.load(Relaxed)
        };
        assert_eq!([false, false, false, false, false, true, true].map(after), [100, 50, 25, 25, 25, 200, 200]);
    }

    #[test]
    fn a_process_looks_once_for_a_side_that_waits_for_its_processor() {
        let looks = Looks::default();
        assert!((SHARED + 1..=SHARED + YIELDS).contains(&in_vain(&looks, true)), "and after each yield");
        assert_eq!(in_vain(&looks, true), SHARED, "the yields were in vain");
    }

    #[test]
    fn yields_in_vain_become_rare() {
        let looks = Looks::default();
        let yields = |_| in_vain(&looks, true) > SHARED;
        let seen: Vec<bool> = (0..12).map(yields).collect();
        let expected = [true, false, true, false, false, true, false, false, false, false, true, false];
        assert_eq!(seen, expected);
    }
}
