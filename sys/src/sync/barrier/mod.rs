//! A barrier at which a fixed number of parties wait for each other, repeatedly.
//!
//! ```
//! use ossature_sys::sync::barrier::Barrier;
//!
//! static HALVES: Barrier = Barrier::new(2);
//! # extern crate std;
//! let other = std::thread::spawn(|| HALVES.wait());
//! let mine = HALVES.wait().unwrap();
//! let other = other.join().unwrap().unwrap();
//! assert_eq!(mine + other, 1, "one is number 0, the other number 1");
//! ```
//!
//! | phase | meaning | an arriving party | a party inside |
//! | --- | --- | --- | --- |
//! | filling | not all parties have arrived | enters, gets the next number | waits |
//! | acting | the last party runs its action | waits | waits |
//! | resetting | [`reset`](Barrier::reset) with a party inside | waits | leaves: [`Broken::Reset`] |
//! | broken | until `reset` | leaves with the reason | leaves with the reason |
//!
//! When the last party has arrived, the barrier fills again at once, for the next cycle. The parties of the complete
//! cycle leave with their numbers as soon as they run again, regardless of the later state of the barrier. Only the
//! last party of the next cycle waits for them, so a party never sees more than one cycle after its own.
//!
//! There is no lock. Each change is one compare-exchange of one word, which has the phase and the number of arrivals.
//! So a wait that ends during an action breaks the barrier, and the party that ran the action gets an error, too.
//!
//! **When a party is stopped** (by a debugger, `SIGSTOP` or a frozen control group) after it has arrived, it counts as
//! arrived. A wait with a limit ends in time, because it breaks the barrier then. [`abort`](Barrier::abort), `join` and
//! `reset` never wait. After a `reset`, a new cycle begins when the stopped party has continued and left. If the kernel
//! reports a death to the stopped party, the other parties see it when that party continues.
//!
//! **When a party is killed** (scope `Shared`) the barrier breaks at once if the party had enrolled, whether it waited
//! or computed. [`join`](Barrier::join) enrols until the [`Party`] is dropped; a wait enrols for its own time. (A
//! thread that has waited without joining and returns does not count as dead.) Waiting parties watch the others, each
//! of them those before it in a ring, and the kernel wakes one of them at the death. If no party waits, the next one
//! that waits sees the death, and no cycle ends before that. If a party dies before it enrols, only their deadlines end
//! the waits of the others. If a change was stored but not announced, the party that the kernel wakes at the gate
//! announces it. A party that dies while it leaves counts as dead; the other parties of its cycle still get their
//! numbers. `reset` makes the barrier whole again.
//!
//! | parties that are enrolled, and neither wait nor are dead | a waiting party sees a death |
//! | --- | --- |
//! | up to 8 between two waiting parties | at once |
//! | up to 120 | at once, or a millisecond after the wait began |
//! | more | within 10 ms for each started thousand |
//!
//! **Room.** A shared barrier has room for 120 participants, or for the number in its type: `Barrier<Shared, N>` for
//! `N` up to 65,536. Each participant takes 56 bytes, and a barrier for 8 has 480 bytes. A barrier for more than 120
//! that is placed by itself allocates its pages as participants come. If there is not enough memory for a participant,
//! it is refused.
//!
//! **Cost.** A wait is one compare-exchange to arrive and one to leave, and sleeps unless it is the last. A cycle is
//! one system call for each sleeper and one that wakes all of them. In `Shared` a sleeper watches one other party, or a
//! few, and the last to arrive reads each slot once. A party that has [joined](Barrier::join) keeps its slot; other
//! parties take a slot for each wait.
//!
//! Orderings: every step is `SeqCst`. The state orders what the parties wrote before they arrived with what they read
//! after they left.

mod action;
mod broken;
mod party;
mod phase;
mod wait;
mod word;

use core::fmt;
use core::mem::offset_of;

pub use self::action::{Action, WaitError};
pub use self::broken::Broken;
pub use self::party::Party;
use self::word::{ABORTED, ACTING, BROKEN, FILLING, MOST, PHASE, arrived, changed};
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::atomic::const_unless_loom;
use crate::errno::Errno;
use crate::futex::Limit;
use crate::shm::{Fingerprint, Init, InitWith, Nodes, Shareable};
use crate::sync::gate::PrivateGate;
use crate::sync::lease::Lease;
use crate::sync::participants::{Counter, Participants, SLOTS, SlotTable};
use crate::sync::scope::{Local, LockBackend, Private, Scope, Shared};
use crate::sync::spin::Spin;
use crate::sync::split_word::SplitWord;

/// A barrier for a fixed number of parties.
///
/// In scope [`Shared`] it has room for `N` participants. The other scopes have no such limit.
///
/// Differs from Python's `threading.Barrier`: the action is passed to the wait, and the last party to arrive runs its
/// own. The next cycle may fill while the parties of a complete cycle leave. After [`abort`](Self::abort), their waits
/// still succeed.
///
/// A party that is stopped, not dead, may delay a [`wait`](Self::wait) of the others. This also happens if the party
/// has changed the barrier but has not woken the others yet. A wait with a limit ends in time, and
/// [`join`](Self::join), [`reset`](Self::reset) and [`abort`](Self::abort) never wait.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{Barrier, Local, barrier::Broken}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let alone = Barrier::new(1);
/// let mut ran = 0;
/// assert_eq!(alone.wait(), Ok(0));
/// assert_eq!(alone.wait_with(|| ran += 1), Ok(0));
/// assert_eq!(alone.wait_with_timeout(Duration::from_secs(1), || ran += 1), Ok(0));
/// assert_eq!((ran, alone.parties(), alone.waiting()), (2, 1, 0));
///
/// let pair = Barrier::new(2);
/// assert_eq!(pair.wait_timeout(Duration::from_millis(1)), Err(Broken::TimedOut), "no other party came");
/// assert!(pair.is_broken());
/// pair.reset();
/// assert!(!pair.is_broken() && pair.reset_timeout(Duration::from_secs(1)));
/// pair.abort();
/// assert_eq!(pair.wait(), Err(Broken::Aborted));
///
/// assert_eq!(Barrier::<Local>::local(1).wait(), Ok(0));
/// assert_eq!(Shm::place(Barrier::shared(1))?.wait(), Ok(0));
/// # Ok(()) }
/// ```
#[repr(C)]
pub struct Barrier<S: Scope = Private, const N: usize = 120> {
    state: SplitWord,
    parties: u32,
    spin: Spin,
    gate: S::Gate,
    participants: S::Participants<N>,
}

impl Barrier {
    const_unless_loom! {
        /// A barrier for `parties` threads, usable in a `static`.
        ///
        /// # Panics
        /// If `parties` is zero. In a `static` that is a compile error.
        pub const fn new(parties: u32) -> Self {
            assert!(parties != 0, "a barrier takes at least one party, not 0");
            Self {
                state: SplitWord::new(FILLING),
                parties,
                spin: Spin::new(),
                gate: PrivateGate,
                participants: Counter::new(),
            }
        }
    }
}

impl Barrier<Local> {
    const_unless_loom! {
        /// A barrier for a single thread. A wait never blocks: with more than one party every wait ends at once with an
        /// error.
        ///
        /// # Panics
        /// If `parties` is zero.
        pub const fn local(parties: u32) -> Self {
            assert!(parties != 0, "a barrier takes at least one party, not 0");
            Self {
                state: SplitWord::new(FILLING),
                parties,
                spin: Spin::new(),
                gate: crate::sync::gate::LocalGate,
                participants: Counter::new(),
            }
        }
    }
}

impl Barrier<Shared> {
    /// An initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a shared barrier with room for 120
    /// participants.
    ///
    /// Placing fails with `EINVAL` for no parties and for more than 120.
    /// [`shared_with_capacity`](Self::shared_with_capacity) allows more.
    pub fn shared(parties: u32) -> impl Init<Self> {
        Self::shared_with_capacity(parties)
    }
}

impl<const N: usize> Barrier<Shared, N> {
    /// An initialiser of a shared barrier with room for `N` participants, both [joined](Self::join) and waiting. `N` is
    /// 65,536 at most.
    ///
    /// Each participant takes 56 bytes. A barrier for more than 120 that is placed by itself begins with pages for its
    /// parties, and gets more when more participants come. In a struct or an arena, a barrier has all its pages from
    /// the beginning.
    ///
    /// Placing fails with `EINVAL` for no parties and for more than `N`. It fails with `ENOMEM` without memory.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{scope::Shared, shareable, shm::Shm, sync::Barrier};
    ///
    /// let many = Shm::place(Barrier::<Shared, 1000>::shared_with_capacity(1000))?;
    /// assert_eq!(many.parties(), 1000);
    ///
    /// shareable! {
    ///     struct Team { step: Barrier<Shared, 8> }
    /// }
    /// let team = Shm::place(Team::init(Barrier::shared_with_capacity(1)))?;
    /// assert_eq!(team.step.wait(), Ok(0));
    /// assert!(size_of::<Team>() <= 512);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    ///
    /// ```compile_fail
    /// use ossature_sys::{scope::Shared, sync::Barrier};
    ///
    /// let _ = Barrier::<Shared, 65_537>::shared_with_capacity(2);
    /// ```
    pub fn shared_with_capacity(parties: u32) -> impl Init<Self> {
        const { assert!(N != 0 && N <= MOST as usize + 1, "a shared barrier has room for 1 to 65,536 participants") };
        let write = move |place: *mut Self| {
            if parties == 0 || parties as usize > N {
                return Err(Errno::INVAL);
            }
            if Shared::backend() == LockBackend::Unsupported {
                return Err(Errno::OPNOTSUPP); // no death would be seen
            }
            // SAFETY: the place is valid for writes of a whole barrier (the caller's obligation), so its field is in
            // bounds.
            let count = unsafe { &raw mut (*place).parties };
            // SAFETY: as for `count`.
            unsafe { count.write(parties) };
            // SAFETY: zero bytes, which the place has, are a valid barrier but for the number, which was written above.
            unsafe { &*place }.participants.begin_with(parties)
        };
        // SAFETY: `write` makes the number and the table. All other fields begin as zero bytes, which `Init` promises.
        unsafe { InitWith::new(write) }
    }
}

// SAFETY: atomics, a number that is not written again, no Drop, repr(C); any phase is one of the table's, and what it
// needs of the dead follows from the leases.
unsafe impl<const N: usize> Shareable for Barrier<Shared, N> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive_for("Barrier", N);
    const LOCKS: bool = true;
    const BACKED: usize =
        if N > SLOTS { offset_of!(Self, participants) + SlotTable::<Lease, N>::HEAD } else { usize::MAX };

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: `place` points to a barrier in a mapping (the caller's obligation), which may be read beside writers.
        let barrier = unsafe { &*place };
        barrier.participants.note_nodes(visit);
    }
}

#[cfg(loom)]
impl<S: Scope, const N: usize> Barrier<S, N> {
    /// Makes a barrier of these parts.
    pub(crate) fn of(parties: u32, gate: S::Gate, participants: S::Participants<N>) -> Self {
        Self { state: SplitWord::new(FILLING), parties, spin: Spin::new(), gate, participants }
    }
}

type NoAction = fn() -> bool;

impl<S: Scope, const N: usize> Barrier<S, N> {
    /// Waits until all parties wait, and returns the number of this party: each gets a different number, from 0 in
    /// order of arrival.
    ///
    /// # Errors
    /// [`Broken`], with the reason.
    #[inline]
    pub fn wait(&self) -> Result<u32, Broken> {
        self.pass(Limit::NEVER, None::<NoAction>)
    }

    /// Waits within the limit. Running out of time, or being [cancelled](crate::futex::Cancel), breaks the barrier for
    /// all parties. The call ends in time, regardless of the other parties.
    ///
    /// # Errors
    /// [`Broken`], with the reason.
    #[inline]
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<u32, Broken> {
        self.pass(limit.into(), None::<NoAction>)
    }

    /// Waits, and runs the action if this is the last party to arrive, before the other parties are released.
    ///
    /// An action that panics breaks the barrier, and the panic continues. An action may return a `Result`: its error
    /// breaks the barrier, too.
    ///
    /// ```
    /// use ossature_sys::sync::barrier::{Barrier, Broken, WaitError};
    ///
    /// let barrier = Barrier::new(1);
    /// assert_eq!(barrier.wait_with(|| ()), Ok(0));
    /// let failed = barrier.wait_with(|| "5x".parse::<u32>().map(drop)).unwrap_err();
    /// assert!(matches!(failed, WaitError::Action(_)), "the error of the action itself");
    /// assert_eq!(barrier.wait(), Err(Broken::Failed), "what all other parties get");
    /// ```
    ///
    /// # Errors
    /// [`Broken`], with the reason; also after the action was run, when the barrier was broken or reset meanwhile. With
    /// an action that returns a `Result`, a [`WaitError`]: either that, or the error of the action.
    #[inline]
    pub fn wait_with<A: Action>(&self, action: impl FnOnce() -> A) -> Result<u32, A::Failure> {
        self.wait_with_timeout(Limit::NEVER, action)
    }

    /// [`wait_with`](Self::wait_with) within the limit, which does not end the action.
    ///
    /// # Errors
    /// As for `wait_with`.
    #[inline]
    pub fn wait_with_timeout<'c, A: Action>(
        &self,
        limit: impl Into<Limit<'c>>,
        action: impl FnOnce() -> A,
    ) -> Result<u32, A::Failure> {
        let mut failure = None;
        let act = || {
            failure = action().failure();
            failure.is_none()
        };
        let answer = self.pass(limit.into(), Some(act));
        match failure {
            Some(failure) => Err(failure),
            None => answer.map_err(A::Failure::from),
        }
    }

    /// Breaks the barrier: present and later waits end with [`Broken::Aborted`], until [`reset`](Self::reset).
    ///
    /// This call never waits.
    pub fn abort(&self) {
        // A death that no party has seen yet is the first reason.
        self.mourn();
        self.break_up(ABORTED);
    }

    /// Makes the barrier empty and whole: present waits end with [`Broken::Reset`]. Parties that arrive meanwhile wait
    /// until the present ones have left. A complete cycle ends normally. This call never waits.
    ///
    /// # Errors
    /// None: the result is for the scopes whose other calls can be refused.
    pub fn reset(&self) -> S::Outcome<()> {
        self.mourn();
        self.restart();
        S::outcome(Ok(()))
    }

    /// [`reset`](Self::reset), which needs no limit: the result is always true.
    ///
    /// # Errors
    /// None.
    pub fn reset_timeout<'c>(&self, _limit: impl Into<Limit<'c>>) -> S::Outcome<bool> {
        self.mourn();
        self.restart();
        S::outcome(Ok(true))
    }

    /// The number of parties of the barrier.
    #[inline]
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// The number of waiting parties, which may be outdated; 0 while the barrier is broken. Parties that leave a
    /// complete cycle do not wait.
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> u32 {
        loop {
            let seen = self.state.load(SeqCst);
            let waiting = match seen & PHASE {
                BROKEN => 0,
                _ if self.participants.has_dead() => 0,
                FILLING => arrived(seen),
                ACTING => arrived(seen) + 1,
                _ => 0,
            };
            if !changed(seen, self.state.load(SeqCst)) {
                return waiting;
            }
        }
    }

    /// Whether the barrier is broken.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.state.load(SeqCst) & PHASE == BROKEN || self.participants.has_dead()
    }
}

impl<S: Scope, const N: usize> fmt::Debug for Barrier<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.state.load(Relaxed) & PHASE == BROKEN;
        f.debug_struct("Barrier").field("parties", &self.parties()).field("broken", &broken).finish_non_exhaustive()
    }
}
