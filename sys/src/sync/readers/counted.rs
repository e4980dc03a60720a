//! The shares of readers that cannot die alone: a count.
//!
//! | word, bits | meaning |
//! | --- | --- |
//! | `0..30` | the number of shares |
//! | `30` [`ASLEEP`] | the writer may sleep on the word |
//! | `31` [`SHUT`] | no new reader gets in |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | count, not shut | one more | a reader |
//! | count | one less | a reader that leaves; the last one wakes the writer if it may sleep |
//! | not shut | shut | a writer with the turn |
//! | shut | shut, asleep | the same writer, before it sleeps |
//! | shut, perhaps asleep | neither | the same writer, at its end |
//!
//! Only one thread ever sleeps on the word, the writer with the turn. It sleeps on the state in which it saw a reader.
//! Every change of the count ends the sleep before it begins, and the change to 0 also wakes.

use core::time::Duration;

use super::Readers;
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::atomic::const_unless_loom;
use crate::deadline::Deadline;
use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

const SHUT: u32 = 1 << 31;
const ASLEEP: u32 = 1 << 30;
/// The maximum number of shares: the bits below `ASLEEP` hold no more.
const MOST: u32 = ASLEEP - 1;

/// How often a reader checks for room beside [`MOST`] others. Only leaked guards reach that number.
const LOOK: Duration = Duration::from_millis(10);

/// The count.
#[derive(Debug)]
pub struct Counted<G> {
    word: AtomicU32,
    spin: Spin,
    gate: G,
}

impl<G> Counted<G> {
    const_unless_loom! {
        pub(crate) const fn new(gate: G) -> Self {
            Self { word: AtomicU32::new(0), spin: Spin::new(), gate }
        }
    }

    #[inline(always)]
    fn try_enter(&self) -> bool {
        let mut seen = self.word.load(Relaxed);
        while seen < MOST {
            match self.word.compare_exchange_weak(seen, seen + 1, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }
}

impl<G: Gate> Readers for Counted<G> {
    type Slot = ();

    #[inline(always)]
    fn enter<'s>(&self, _: &'s [()]) -> Option<&'s ()> {
        self.try_enter().then_some(&())
    }

    fn enter_with_turn<'s>(&self, _: &'s [()], limit: Limit<'_>) -> Result<Option<&'s ()>, Refused> {
        while !self.try_enter() {
            if !G::CAN_SPIN && limit.is_never() {
                return Err(Refused::WouldDeadlock);
            }
            if !G::CAN_SPIN || limit.is_over() {
                return Ok(None);
            }
            let _ = self.gate.sleep(&self.word, MOST, limit.or_sooner(Deadline::after(LOOK)));
        }
        Ok(Some(&()))
    }

    #[inline(always)]
    fn leave(&self, (): &()) -> bool {
        if self.word.fetch_sub(1, Release) == (SHUT | ASLEEP | 1) {
            self.wake_the_writer();
        }
        true
    }

    #[inline(always)]
    fn has_own(&self, _: &[()], _limit: Limit<'_>) -> Result<bool, Refused> {
        Ok(false)
    }

    #[inline]
    fn count(&self, _: &[()]) -> u32 {
        self.word.load(Relaxed) & MOST
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.word.load(Relaxed) & SHUT != 0
    }

    #[inline(always)]
    fn close(&self) {
        self.word.fetch_or(SHUT, AcqRel);
    }

    #[inline]
    fn drain(&self, _: &[()], limit: Limit<'_>) -> Result<bool, Refused> {
        // What the last reader did comes before its step of this word, and this look after.
        if self.word.load(Acquire) & MOST == 0 { Ok(true) } else { self.drain_slow(limit) }
    }

    #[inline(always)]
    fn open(&self, _abandon: bool) {
        self.word.fetch_and(MOST, Release);
    }
}

impl<G: Gate> Counted<G> {
    #[cold]
    #[inline(never)]
    fn drain_slow(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        if G::CAN_SPIN && !limit.is_now() {
            self.spin.until(|| self.word.load(Relaxed) & MOST == 0);
        }
        loop {
            let seen = self.word.load(Acquire);
            if seen & MOST == 0 {
                return Ok(true);
            }
            if limit.is_now() {
                return Ok(false);
            }
            let announced = seen | ASLEEP;
            if announced != seen && self.word.compare_exchange(seen, announced, Relaxed, Relaxed).is_err() {
                continue;
            }
            match self.gate.sleep(&self.word, announced, limit) {
                Woke::Look | Woke::PeerDied => {}
                Woke::TimedOut => return Ok(false),
                Woke::Never => return Err(Refused::WouldDeadlock),
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_the_writer(&self) {
        self.gate.wake(&self.word, 1);
    }
}
