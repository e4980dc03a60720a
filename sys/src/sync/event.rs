//! A flag that one thread sets and many threads wait for.
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
//! | state, bits | meaning |
//! | --- | --- |
//! | `30..32` | 0: down; 1: down, and one thread may sleep; 2: down, and several may sleep; 3: up |
//! | `32..62` | how often the flag was raised |
//! | `62` `LEFT` | a thread slept at the last raise, and may not have been woken yet |
//! | `63` `MANY` | several threads slept then |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | down | up, one more raise; `LEFT`, `MANY` if there are sleepers, which it then wakes | `set` |
//! | up | down | `clear` |
//! | down, no or one thread sleeps | one sleeps, several sleep | a waiter, before it sleeps |
//! | `LEFT`, `MANY` | neither, if nothing happened since | the `set` that has woken them |
//!
//! **A waiter is freed by a raise**, not by the flag. A waiter that sleeps when the flag goes up sees another number of
//! raises. It continues, even if the flag is down again by then. It falls asleep only on the number that it has seen.
//! (After 2^30 raises the number repeats.)
//!
//! **When the setter is killed** (scope `Shared`) between its store and its wake, the kernel wakes one sleeper, since
//! the setter's pending entry is the state itself. That sleeper finds `MANY` if there are others, and wakes them,
//! protected in the same way. A `set` of a flag that is up already wakes the sleepers that `LEFT` reports, in case the
//! setter was stopped half-way.
//!
//! **Cost.** `set`, `clear` and a wait for a flag that is up are one atomic instruction each and no system call, unless
//! a thread sleeps.
//!
//! Orderings: raising is `Release` and looking is `Acquire`, so what was written before `set` is seen after `wait`. The
//! rest is `Relaxed`: the kernel's compare orders itself with the announcing.

use core::fmt;
use core::marker::PhantomData;

use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::atomic::const_unless_loom;
use crate::futex::Limit;
use crate::shm::{Fingerprint, Init, InitWith, Shareable};
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::{Local, Shared};
use crate::sync::scope::{Private, Refused, Scope};
use crate::sync::spin::Spin;
use crate::sync::split_word::SplitWord;

const ONE_SLEEPS: u64 = 1 << 30;
const SEVERAL_SLEEP: u64 = 2 << 30;
const UP: u64 = 3 << 30;
const FLAG: u64 = 3 << 30;
const RAISE: u64 = 1 << 32;
const RAISES: u64 = (LEFT - 1) & !(RAISE - 1);
const LEFT: u64 = 1 << 62;
const MANY: u64 = 1 << 63;

/// A flag to wait for.
///
/// Differs from Python's `threading.Event`: `set` and `clear` take no lock. In scope [`Local`] no other thread could
/// set the flag meanwhile. So a wait without a limit is an error, and a wait with a limit returns at once.
///
/// A thread that is stopped in [`set`](Self::set), not dead, may have raised the flag without waking the sleepers. They
/// sleep until that thread continues, or until their limit.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{Event, Local}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ready = Event::new();
/// ready.set();
/// ready.wait(); // set already
/// assert!(ready.is_set());
/// ready.clear();
/// assert!(!ready.wait_timeout(Duration::from_millis(1)));
///
/// let here = Event::<Local>::local();
/// assert!(here.wait().is_err(), "no other thread could set it");
/// let shared = Shm::place(Event::shared())?;
/// shared.set();
/// shared.wait()?;
/// # Ok(()) }
/// ```
#[repr(C)]
pub struct Event<S: Scope = Private> {
    state: SplitWord,
    spin: Spin,
    scope: PhantomData<fn() -> S>,
}

impl Event {
    const_unless_loom! {
        /// An unset event for threads; usable in a `static`.
        pub const fn new() -> Self {
            Self::unset()
        }
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Event<Local> {
    const_unless_loom! {
        /// An unset event for a single thread.
        pub const fn local() -> Self {
            Self::unset()
        }
    }
}

impl Event<Shared> {
    /// An initialiser with which [`Shm::place`](crate::shm::Shm::place) makes an unset shared event.
    pub fn shared() -> impl Init<Self> {
        // SAFETY: zero bytes are an event whose flag is down.
        unsafe { InitWith::zeroed() }
    }
}

// SAFETY: atomics only, no Drop, repr(C); every state that a killed process leaves is one of the table's.
unsafe impl Shareable for Event<Shared> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive("Event");
    const LOCKS: bool = true;
}

impl<S: Scope> Event<S> {
    const_unless_loom! {
        pub(crate) const fn unset() -> Self {
            Self { state: SplitWord::new(0), spin: Spin::new(), scope: PhantomData }
        }
    }

    /// Sets the flag and frees all waiters.
    #[inline]
    pub fn set(&self) {
        let mut seen = self.state.load(Relaxed);
        loop {
            let next = match seen & FLAG {
                0 if seen & LEFT == 0 => raised(seen),
                // Up already; but a thread that sees the flag from now on must also see what this thread wrote before.
                UP if seen & LEFT == 0 => seen,
                _ => return self.set_and_wake(),
            };
            match self.state.change(seen, next, Release) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The slow path of `set`, when there may be sleepers.
    #[cold]
    fn set_and_wake(&self) {
        S::Gate::protected_at(&self.state, || {
            let mut seen = self.state.load(Relaxed);
            let left = loop {
                let next = if seen & FLAG == UP { seen } else { raised(seen) };
                match self.state.change(seen, next, Release) {
                    Ok(_) => break next,
                    Err(now) => seen = now,
                }
            };
            if left & LEFT != 0 {
                self.wake_all(left);
            }
        });
    }

    /// Wakes the sleepers that earlier raises, up to that of `left`, have not woken.
    fn wake_all(&self, left: u64) {
        S::Gate::wake_at(&self.state, u32::MAX);
        let mut seen = self.state.load(Relaxed);
        while seen & RAISES == left & RAISES && seen & (LEFT | MANY) != 0 {
            match self.state.change(seen, seen & !(LEFT | MANY), Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Clears the flag: later waits block. Threads that waited when it was set are freed anyway.
    #[inline]
    pub fn clear(&self) {
        let mut seen = self.state.load(Relaxed);
        while seen & FLAG == UP {
            match self.state.change(seen, seen & !FLAG, AcqRel) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether the flag is set.
    #[doc(alias = "isSet")]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.state.load(Acquire) & FLAG == UP
    }

    /// Waits until the flag is set, or was set at any time since the call.
    ///
    /// # Errors
    /// In `Local`: [`WouldDeadlock`](Refused::WouldDeadlock) when the flag is down. In `Shared` none.
    #[inline]
    pub fn wait(&self) -> S::Outcome<()> {
        S::outcome(self.wait_within(Limit::NEVER).map(|_| ()))
    }

    /// Waits until the flag is set, within the limit; false when the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel).
    ///
    /// # Errors
    /// None: in `Local` a wait with a limit returns at once.
    #[inline]
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<bool> {
        S::outcome(self.wait_within(limit.into()))
    }

    #[inline]
    fn wait_within(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        let seen = self.state.load(Acquire);
        if seen & FLAG == UP {
            return Ok(true);
        }
        self.wait_slow(seen, limit)
    }

    #[cold]
    fn wait_slow(&self, first: u64, limit: Limit<'_>) -> Result<bool, Refused> {
        if limit.is_now() {
            return Ok(false);
        }
        let freed = |state| state & RAISES != first & RAISES;
        if S::Gate::CAN_SPIN && self.spin.until(|| freed(self.state.load(Acquire))) {
            return Ok(true);
        }
        S::Gate::protected_at(&self.state, || {
            let mut slept = false;
            loop {
                let seen = self.state.load(Acquire);
                if freed(seen) {
                    if seen & MANY != 0 {
                        // The setter has not finished waking the others, or never will.
                        self.wake_all(seen);
                    }
                    return Ok(true);
                }
                if slept && seen & LEFT != 0 {
                    // This thread got a wake that was meant for an earlier sleeper.
                    self.wake_all(seen);
                    slept = false;
                    continue;
                }
                // The flag is down: else there was a raise.
                let announced = seen & !FLAG | if seen & FLAG == 0 { ONE_SLEEPS } else { SEVERAL_SLEEP };
                if seen != announced && self.state.change(seen, announced, Acquire).is_err() {
                    continue;
                }
                match S::Gate::sleep_at(&self.state, announced, limit) {
                    Woke::Look | Woke::PeerDied => slept = true,
                    Woke::TimedOut => return Ok(freed(self.state.load(Acquire))),
                    Woke::Never => return Err(Refused::WouldDeadlock),
                }
            }
        })
    }
}

impl<S: Scope> fmt::Debug for Event<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}

/// The state after one more raise.
fn raised(state: u64) -> u64 {
    let sleepers = match state & FLAG {
        0 => 0,
        // This also wakes sleepers that an earlier raise has left: the flag was lowered before their wake.
        ONE_SLEEPS if state & LEFT == 0 => LEFT,
        _ => LEFT | MANY,
    };
    let raises = state.wrapping_add(RAISE) & RAISES;
    raises | UP | sleepers | state & (LEFT | MANY)
}
