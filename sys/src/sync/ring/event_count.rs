//! Where the participants of a ring sleep until there is work for them.
//!
//! | bit | meaning |
//! | --- | --- |
//! | `0` | a participant may sleep |
//! | `1..32` | how often the sleepers were notified |
//!
//! A sleeper sets the bit, looks once more, and sleeps while the word is the one that it announced. A participant that
//! has work for the sleepers looks at the bit afterwards. At least one of the two sees what the other did, because all
//! steps are in one total order (`SeqCst`).
//!
//! The bit is cleared after a notification for all sleepers, or one that woke no sleeper. A participant may have fallen
//! asleep in between. So after the bit is cleared, all sleepers are woken once more, and announce again.

use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::atomic::{AtomicU32, in_one_order, step};
use crate::sync::gate::Gate;

const SLEEPERS: u32 = 1;
const NOTIFIED: u32 = 2;

/// The word. Zero bytes are an event count without notifications.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct EventCount(AtomicU32);

impl EventCount {
    /// Whether a participant may sleep.
    #[inline(always)]
    pub(crate) fn has_sleepers(&self) -> bool {
        in_one_order();
        self.0.load(SeqCst) & SLEEPERS != 0
    }

    /// Announces that the caller is about to sleep. Returns the word at that time.
    pub(crate) fn announce(&self) -> u32 {
        let announced = self.0.fetch_or(SLEEPERS, SeqCst) | SLEEPERS;
        in_one_order();
        announced
    }

    /// The word that sleepers sleep on.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Changes the word, so that no participant that has announced itself falls asleep. Wakes nobody.
    #[cold]
    pub(crate) fn touch(&self) {
        self.0.fetch_add(NOTIFIED, SeqCst);
    }

    /// Wakes up to `count` sleepers. Must be called in a protected stretch.
    #[cold]
    pub(crate) fn notify(&self, gate: &impl Gate, count: u32) {
        step();
        let notified = self.0.fetch_add(NOTIFIED, SeqCst).wrapping_add(NOTIFIED);
        let woken = gate.wake(&self.0, count);
        if (woken == 0 || count == u32::MAX)
            && self.0.compare_exchange(notified, notified & !SLEEPERS, SeqCst, Relaxed).is_ok()
        {
            gate.wake(&self.0, u32::MAX);
        }
    }
}
