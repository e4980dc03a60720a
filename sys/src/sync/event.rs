//! A flag that one sets and many wait for.
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::sync::event::Event;
//!
//! static READY: Event = Event::new();
//! assert!(!READY.wait_timeout(Duration::from_millis(1)));
//! READY.set();
//! assert!(READY.wait_timeout(Duration::from_millis(1)));
//! ```
//!
//! | state word, bits | meaning |
//! | --- | --- |
//! | `0` | the flag |
//! | `1` | somebody may sleep on the word |
//! | `2..32` | how often the flag was raised |
//!
//! | from | to | who |
//! | --- | --- | --- |
//! | flag down | flag up, one more raise, sleepers' bit kept | `set`, which then wakes all if the bit is there |
//! | flag up | flag down | `clear` |
//! | flag down | sleepers' bit | a waiter, before it sleeps |
//! | sleepers' bit | none | the `set` that woke them, if nothing happened since |
//!
//! **A waiter is freed by a raise**, not by the flag: one that sleeps when the flag goes up sees another number of raises, and
//! goes, even if the flag is down again by then. (After 2^30 raises the number repeats; a waiter that was not woken by any
//! of them would have to sleep through exactly as many.)
//!
//! **When the setter is killed** (scope `Shared`) between its store and its wake, the kernel wakes one sleeper at the
//! gate, who wakes all the others. The same when that one is killed before it has done so. A `set` of a flag that is up
//! already wakes sleepers too, should its setter have been stopped half-way.
//!
//! **Cost.** `set`, `clear` and a wait for a flag that is up are one atomic instruction each and no system call unless
//! somebody sleeps.
//!
//! Orderings: raising is `Release` and looking is `Acquire`, so what was written before `set` is seen after `wait`. The rest
//! is `Relaxed`: the kernel's compare orders itself with the announcing.

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::futex::Limit;
#[cfg(not(loom))]
use crate::scope::{Local, Shared};
use crate::scope::{Private, Refused, Scope};
#[cfg(not(loom))]
use crate::shm::{Init, InitWith, Shareable};
use crate::sync::gate::{Gate, PrivateGate, Woke};
use crate::sync::spin::Spin;

const SET: u32 = 1;
const SLEEPERS: u32 = 2;
const RAISE: u32 = 4;

/// A flag to wait for.
///
/// Differs from Python's `threading.Event`: `set` and `clear` take no lock. In scope [`Local`] nobody
/// could raise the flag meanwhile, so a wait without a limit is an error, and one with a limit answers at once.
#[derive(Debug)]
#[repr(C)]
pub struct Event<S: Scope = Private> {
    state: AtomicU32,
    spin: Spin,
    gate: S::Gate,
}

impl Event {
    /// An event for threads, its flag down; usable in a `static`.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(0), spin: Spin::new(), gate: PrivateGate }
    }

    /// An event for threads, its flag down.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { state: AtomicU32::new(0), spin: Spin::new(), gate: PrivateGate }
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
impl Event<Local> {
    /// An event for a single thread, its flag down.
    pub const fn local() -> Self {
        Self { state: AtomicU32::new(0), spin: Spin::new(), gate: crate::sync::gate::LocalGate }
    }
}

#[cfg(not(loom))]
impl Event<Shared> {
    /// What [`Shm::place`](crate::shm::Shm::place) makes a shared event of, its flag down.
    pub fn shared() -> impl Init<Self> {
        // SAFETY: zero bytes are an event whose flag is down.
        unsafe { InitWith::zeroed() }
    }
}

// SAFETY: atomics only, no Drop, repr(C); every state that a killed process leaves is one of the table's.
#[cfg(not(loom))]
unsafe impl Shareable for Event<Shared> {
    const FINGERPRINT: u64 = crate::shm::name("Event");
    const LOCKS: bool = true;
}

impl<S: Scope> Event<S> {
    /// Raises the flag and frees everybody who waits.
    #[inline]
    pub fn set(&self) {
        let mut seen = self.state.load(Relaxed);
        while seen & (SET | SLEEPERS) == 0 {
            match self.state.compare_exchange_weak(seen, seen.wrapping_add(RAISE) | SET, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        if seen & SLEEPERS != 0 {
            self.set_and_wake();
        } else {
            // It is up, but what this thread wrote before must be seen by whoever sees it up.
            self.state.fetch_or(SET, Release);
        }
    }

    /// The whole of `set`, when somebody may sleep.
    #[cold]
    fn set_and_wake(&self) {
        self.gate.covered(|| {
            let mut seen = self.state.load(Relaxed);
            let left = loop {
                let next = if seen & SET != 0 { seen } else { seen.wrapping_add(RAISE) | SET };
                match self.state.compare_exchange_weak(seen, next, Release, Relaxed) {
                    Ok(_) => break next,
                    Err(now) => seen = now,
                }
            };
            self.gate.wake(&self.state, u32::MAX);
            // Whoever comes to sleep now finds the flag up, or another state. Losing this race leaves the bit, which costs a
            // later `set` a system call.
            let _ = self.state.compare_exchange(left, left & !SLEEPERS, Relaxed, Relaxed);
        });
    }

    /// Lowers the flag: later waits wait. Those that waited when it was raised are free all the same.
    #[inline]
    pub fn clear(&self) {
        if self.state.load(Relaxed) & SET != 0 {
            self.state.fetch_and(!SET, AcqRel);
        }
    }

    /// Whether the flag is up.
    #[doc(alias = "isSet")]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.state.load(Acquire) & SET != 0
    }

    /// Waits until the flag is up, or was up at some time since the call.
    ///
    /// # Errors
    /// In `Local`: [`WouldDeadlock`](Refused::WouldDeadlock) when the flag is down. In `Shared` none.
    #[inline]
    pub fn wait(&self) -> S::Outcome<()> {
        S::outcome(self.wait_within(Limit::NEVER).map(|_| ()))
    }

    /// Waits until the flag is up, within the limit; false when the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel).
    ///
    /// # Errors
    /// None: in `Local` a wait with a limit answers at once.
    #[inline]
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<bool> {
        S::outcome(self.wait_within(limit.into()))
    }

    #[inline]
    fn wait_within(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        let seen = self.state.load(Acquire);
        if seen & SET != 0 {
            return Ok(true);
        }
        self.wait_slow(seen, limit)
    }

    #[cold]
    fn wait_slow(&self, first: u32, limit: Limit<'_>) -> Result<bool, Refused> {
        if limit.is_now() {
            return Ok(false);
        }
        let freed = || raises(self.state.load(Acquire)) != raises(first);
        if S::Gate::CAN_SPIN && self.spin.until(freed) {
            return Ok(true);
        }
        self.gate.covered(|| {
            loop {
                let seen = self.state.load(Acquire);
                if raises(seen) != raises(first) {
                    return Ok(true);
                }
                // The flag is down: else there was a raise.
                if seen & SLEEPERS == 0 && self.state.compare_exchange(seen, seen | SLEEPERS, Acquire, Relaxed).is_err()
                {
                    continue;
                }
                match self.gate.sleep(&self.state, seen | SLEEPERS, limit) {
                    Woke::Look => {}
                    Woke::Inherit => {
                        // A setter died, or one whom it had woken to pass the news on.
                        self.gate.wake(&self.state, u32::MAX);
                    }
                    Woke::TimedOut => return Ok(raises(self.state.load(Acquire)) != raises(first)),
                    Woke::Never => return Err(Refused::WouldDeadlock),
                }
            }
        })
    }
}

fn raises(state: u32) -> u32 {
    state / RAISE
}
