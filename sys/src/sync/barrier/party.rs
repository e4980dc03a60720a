//! The enrolment of a thread at a barrier, for longer than one wait.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use crate::atomic::Ordering::SeqCst;
use crate::futex::Limit;
use crate::sync::barrier::Barrier;
use crate::sync::barrier::word::arrived;
use crate::sync::participants::Participants;
use crate::sync::scope::{Private, Refused, Scope};
use crate::thread_bound::StaysInItsThread;

/// A thread's enrolment at a barrier. Dropping it ends the enrolment, and the other parties wait for another thread.
/// The party lends the barrier.
///
/// Not `Send`: the thread's death breaks the barrier. In a forked child it does nothing: the child is not enrolled.
///
/// ```compile_fail
/// use ossature_sys::sync::barrier::Barrier;
/// static BARRIER: Barrier = Barrier::new(2);
/// let party = BARRIER.join();
/// std::thread::spawn(move || party.wait()); // a party is a thread
/// ```
///
/// # Examples
/// ```standalone_crate
/// use core::time::Duration;
/// use ossature_sys::{process::fork, shm::Shm, sync::{Barrier, barrier::{Broken, Party}}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pair = Shm::place(Barrier::shared(2))?;
/// let party: Party<'_, _> = pair.join()?;
/// let mut child = fork(|| {
///     let _party = pair.join_timeout(Duration::from_secs(10)).unwrap();
///     let _ = ossature_sys::signal::raise(ossature_sys::signal::Signal::KILL);
///     0
/// })?;
/// child.wait()?;
/// assert_eq!(party.wait_timeout(Duration::from_secs(10)), Err(Broken::Died));
/// # Ok(()) }
/// ```
#[must_use = "the enrolment ends at once if the party is not kept"]
pub struct Party<'b, S: Scope = Private, const N: usize = 120> {
    barrier: &'b Barrier<S, N>,
    slot: usize,
    /// The number of forks when the party was made.
    forks: u32,
    /// A marker that keeps the party in its thread.
    stays: PhantomData<StaysInItsThread>,
}

impl<S: Scope, const N: usize> Barrier<S, N> {
    /// Enrols the calling thread until the [`Party`] is dropped. If the thread dies meanwhile, the barrier breaks at
    /// once.
    ///
    /// The call has an effect in `Shared` only, and never waits. A thread that does not join is a party while it waits.
    ///
    /// # Errors
    /// In `Shared`: [`TableFull`](Refused::TableFull) when `N` threads have joined or wait,
    /// [`NoMemory`](Refused::NoMemory), [`TooMany`](Refused::TooMany), [`Unlisted`](Refused::Unlisted).
    pub fn join(&self) -> S::Outcome<Party<'_, S, N>> {
        S::outcome(self.enrol())
    }

    /// [`join`](Self::join), which needs no limit: the result is never `None`.
    ///
    /// # Errors
    /// As for `join`.
    ///
    /// # Examples
    /// See the example of [`Party`].
    pub fn join_timeout<'c>(&self, _limit: impl Into<Limit<'c>>) -> S::Outcome<Option<Party<'_, S, N>>> {
        S::outcome(self.enrol().map(Some))
    }

    fn enrol(&self) -> Result<Party<'_, S, N>, Refused> {
        let slot = loop {
            if let Some(slot) = self.claim(arrived(self.state.load(SeqCst)))? {
                break slot;
            }
        };
        self.participants.keep(slot);
        self.end_reset();
        Ok(Party { barrier: self, slot, forks: crate::process::generation(), stays: PhantomData })
    }
}

impl<S: Scope, const N: usize> Deref for Party<'_, S, N> {
    type Target = Barrier<S, N>;

    #[inline]
    fn deref(&self) -> &Barrier<S, N> {
        self.barrier
    }
}

impl<S: Scope, const N: usize> fmt::Debug for Party<'_, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Party").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<S: Scope, const N: usize> Drop for Party<'_, S, N> {
    fn drop(&mut self) {
        // A forked child may have joined in the very slot of a parent that has died since.
        if self.forks != crate::process::generation() {
            return;
        }
        self.barrier.participants.release_kept(self.slot);
    }
}
