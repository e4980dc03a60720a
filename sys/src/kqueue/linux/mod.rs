//! kqueue on Linux: the rules of the manual page over epoll, timers in memory, signalfd, pidfds and inotify.
//!
//! What a queue holds, made when it is first needed:
//!
//! | descriptor | holds | made |
//! | --- | --- | --- |
//! | `set`, an epoll set | READ knotes, pidfds of PROC knotes, and the others of this table | with the queue |
//! | `writes`, an epoll set in `set` | WRITE knotes: one descriptor may have both filters | at the first WRITE knote |
//! | `wake`, an eventfd | readable while a knote in memory has something to report | at the first sleep, or when the queue's descriptor is requested |
//! | `clock`, a timerfd | the next timer | when the queue's descriptor is requested |
//! | `wall`, a timerfd | the next timer of the wall clock | at the first such timer |
//! | `signals`, a signalfd | all counted signals | at the first SIGNAL knote |
//! | `news`, an inotify | VNODE knotes, and READ knotes of regular files | at the first of them |
//! | `connector`, a netlink socket | forks and executed programs | while a PROC knote wants FORK, EXEC or TRACK |
//! | `face`, an epoll set with `set` in it | the queue's own descriptor | when it is requested |
//!
//! The states of a knote:
//!
//! | state | in the active list | in the kernel |
//! | --- | --- | --- |
//! | idle | no | armed |
//! | active: may have something to report | yes | armed |
//! | disabled | no | silent, still in the set: so a closed descriptor is noticed |
//! | removed | no: its slot is free and has another generation | no |
//!
//! **The lock.** A queue has one small lock. Every change and every collection holds it, and no call under it sleeps.
//! A waiter sleeps outside, in `ppoll` on `set`, which takes no event; then it collects under the lock. So no event
//! is lost to a signal, to another waiter or to a full list.
//!
//! **Generations.** An event of an epoll set carries the place and the generation of its knote. An event of an older
//! generation comes from an entry that cannot be named any more, because its descriptor was closed while a duplicate
//! lives. Then both sets are rebuilt, in `renew.rs`.
//!
//! **Fairness.** A collection takes active knotes in memory and ready entries in the kernel in turns. Each list is a
//! queue: a knote that was reported and remains active goes to its end.

mod change;
mod collect;
mod connector;
mod file;
mod forks;
mod io;
mod renew;
mod signals;
#[allow(unreachable_pub, reason = "the models see it too")]
mod sleepers;
mod state;
mod table;

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};

use self::collect::Found;
use self::connector::Connector;
use self::state::{ASKED, QueueState};
use super::{Filter, Flags, Kevent, refusal};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{BorrowedFd, OwnedFd, PollFlags, ready};
use crate::futex::{Limit, WordLock};
use crate::process::generation;

/// A queue of events: the counterpart on Linux of the system call of the same name.
///
/// Closed when dropped. See the [module](super) for its features and differences.
///
/// # Examples
/// ```
/// use core::{mem::MaybeUninit, time::Duration};
/// use std::{fs, io::Write, os::unix::net::UnixStream};
/// use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
/// use ossature_sys::{process, signal::{self, Signal, SignalSet}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Kqueue::new()?;
/// let (near, mut far) = UnixStream::pair()?;
/// let file = fs::File::open(std::env::current_exe()?)?;
/// let _blocked = signal::block(SignalSet::from(Signal::USR1))?; // what SIGNAL needs
/// let changes = [
///     Kevent::read(&near).with_udata(1),
///     Kevent::write(&near).with_flags(Flags::ADD | Flags::DISABLE),
///     Kevent::timer(1, Duration::from_secs(60)),
///     Kevent::signal(Signal::USR1),
///     Kevent::exit(process::id()),
///     Kevent::vnode(&file, Notes::DELETE | Notes::RENAME),
///     Kevent::user(9),
/// ];
/// let mut room = [MaybeUninit::uninit(); 8];
/// assert!(queue.control(&changes, &mut room, Duration::ZERO)?.is_empty(), "nothing happened yet");
///
/// far.write_all(b"hello")?;
/// queue.change(&Kevent::trigger(9))?;
/// let mut events = queue.wait(&mut room, Duration::from_secs(10))?.to_vec();
/// events.sort();
/// assert_eq!(events.len(), 2);
/// let data = events.iter().find(|event| event.filter() == Filter::READ).expect("five bytes came");
/// assert_eq!((data.data(), data.udata()), (5, 1));
///
/// // The queue's own descriptor may stand in a poll, an epoll set or another queue.
/// let outer = Kqueue::new()?;
/// outer.change(&Kevent::read(queue.descriptor()?))?;
/// assert_eq!(outer.wait(&mut room, Duration::from_secs(10))?.len(), 1);
/// assert!(!queue.is_inherited(), "a forked child would say true");
/// # Ok(()) }
/// ```
#[doc(alias = "kqueue")]
pub struct Kqueue {
    lock: WordLock,
    state: UnsafeCell<QueueState>,
    generation: u32,
}

// SAFETY: the state is plain numbers, descriptors and a private mapping, none of them bound to a thread.
unsafe impl Send for Kqueue {}
// SAFETY: the state is reached by `Locked` only, and the lock allows one `Locked` at a time.
unsafe impl Sync for Kqueue {}

impl Kqueue {
    /// `kqueue()`: a queue without knotes.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    #[doc(alias = "kqueue1")]
    pub fn new() -> Result<Self> {
        Ok(Self { lock: WordLock::new(), state: UnsafeCell::new(QueueState::new()?), generation: generation() })
    }

    /// `kevent(kq, changes, n, events, m, timeout)`: makes the changes, then waits for events, fills `events` from the
    /// front and lends back the filled part; empty when the time ran out.
    ///
    /// A change that fails becomes an event with [`Flags::ERROR`], as does one with [`Flags::RECEIPT`]. If there are
    /// such events, only they are returned. With no room for events the call does not wait.
    ///
    /// # Errors
    /// The error of a change, if it fails and `events` has no room for it: the changes after it are not made. Else as
    /// [`wait`](Self::wait).
    #[doc(alias = "kevent")]
    pub fn control<'e>(
        &self,
        changes: &[Kevent],
        events: &'e mut [MaybeUninit<Kevent>],
        timeout: impl Into<Deadline>,
    ) -> Result<&'e [Kevent]> {
        let mut found = Found::new(events);
        for change in changes {
            let made = self.change(change);
            let errno = match made {
                Ok(()) if !change.flags().contains(Flags::RECEIPT) => continue,
                Ok(()) => 0,
                Err(errno) if found.is_full() => return Err(errno),
                Err(errno) => errno.raw_os_error(),
            };
            found.push(change.answer(errno));
        }
        if !found.is_empty() {
            return Ok(found.into_filled());
        }
        self.wait_for(found, timeout.into())
    }

    /// Makes one change.
    ///
    /// # Errors
    /// * `EOPNOTSUPP`: Linux cannot do this; [`refusal`] returns the reason. For
    ///   [`Filter::SIGNAL`](super::Filter::SIGNAL) also: the calling thread does not block the signal.
    /// * `ENOENT`: there is no such knote, and the change does not add it.
    /// * `EBADF`: the descriptor is not open. Its knotes are removed. Also in a forked child, whose parent the queue
    ///   belongs to.
    /// * `ESRCH`: there is no such process.
    /// * `EINVAL`: a filter, number or note that has no meaning.
    /// * `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: no descriptor, no memory, or no watch is left. The change is not made.
    pub fn change(&self, change: &Kevent) -> Result<()> {
        self.locked()?.make(change)
    }

    /// Like [`change`](Self::change), for a program that was written for a BSD: blocks the signal of a new
    /// [`Filter::SIGNAL`](super::Filter::SIGNAL) in the calling thread. When the last knote that the signal was blocked
    /// for is deleted, the calling thread unblocks it.
    ///
    /// Threads that run already do not block the signal: it has its usual effect there, and is not counted. A knote
    /// that is removed by [`Flags::ONESHOT`] or with its queue leaves the signal blocked.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::kqueue::{Flags, Kevent, Kqueue};
    /// use ossature_sys::signal::{self, Signal};
    ///
    /// let queue = Kqueue::new()?;
    /// queue.change_and_mask(&Kevent::signal(Signal::USR2))?;
    /// assert!(signal::mask()?.contains(Signal::USR2));
    /// queue.change_and_mask(&Kevent::signal(Signal::USR2).with_flags(Flags::DELETE))?;
    /// assert!(!signal::mask()?.contains(Signal::USR2));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn change_and_mask(&self, change: &Kevent) -> Result<()> {
        let mut state = self.locked()?;
        let new = signals::of(change, Flags::ADD).filter(|_| !state.has(change));
        if let Some(signal) = new {
            signals::block(signal)?;
        }
        let made = state.make(change);
        let over = signals::of(change, Flags::DELETE).filter(|_| made.is_ok());
        if let Some(signal) = over.or(new.filter(|_| made.is_err())) {
            signals::unblock(signal)?;
        }
        made
    }

    /// Waits for events without a change: [`control`](Self::control) with no changes.
    ///
    /// # Errors
    /// `EBADF` in a forked child. `EMFILE`, `ENFILE` and `ENOMEM` at the first sleep.
    pub fn wait<'e>(
        &self,
        events: &'e mut [MaybeUninit<Kevent>],
        timeout: impl Into<Deadline>,
    ) -> Result<&'e [Kevent]> {
        self.wait_for(Found::new(events), timeout.into())
    }

    fn wait_for<'e>(&self, mut found: Found<'e>, deadline: Deadline) -> Result<&'e [Kevent]> {
        let mut state = self.locked()?;
        while !found.is_full() {
            let collected = state.collect(&mut found);
            if collected.is_err() || !found.is_empty() || deadline.has_passed() {
                let rearmed = state.leave();
                // Events that were taken are not lost to an error, which comes again.
                if found.is_empty() {
                    collected.and(rearmed)?;
                }
                break;
            }
            let (sooner, epoch) = state.begin_sleep()?;
            let set = state.set_number();
            drop(state);
            // SAFETY: the set is closed with the queue only, which `self` keeps; `renew` replaces what is behind the
            // number.
            let set = unsafe { BorrowedFd::borrow_raw(set) };
            let slept = ready(set, PollFlags::IN, deadline.or_sooner(sooner));
            state = self.locked()?;
            state.sleepers.end(epoch);
            if let Err(errno) = slept {
                let _ = state.leave();
                return Err(errno);
            }
        }
        Ok(found.into_filled())
    }

    /// The queue's own descriptor, which is readable while the queue has something to report. The descriptor may be in
    /// a poll, in an epoll set, or in a READ knote of another queue.
    ///
    /// The first call makes it, and from then on each change of a timer or of an event in memory costs a system call.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` and `ENOMEM` at the first call; `EBADF` in a forked child.
    #[doc(alias = "fileno")]
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        let mut state = self.locked()?;
        let number = state.face()?;
        // SAFETY: the descriptor is made once and closed with the queue only, which the answer borrows.
        Ok(unsafe { BorrowedFd::borrow_raw(number) })
    }

    /// Gives away the queue's own descriptor: the receiver closes it, and the queue remains usable. For an interface
    /// that knows queues by their number.
    ///
    /// # Errors
    /// As [`descriptor`](Self::descriptor); `EBUSY` when it was given away before.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{errno::Errno, kqueue::{Kevent, Kqueue}};
    ///
    /// let queue = Kqueue::new()?;
    /// let descriptor = queue.give_descriptor()?;
    /// assert_eq!(queue.give_descriptor().err(), Some(Errno::BUSY));
    /// drop(descriptor);
    /// queue.change(&Kevent::user(1))?;
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn give_descriptor(&self) -> Result<OwnedFd> {
        self.locked()?.give_face()
    }

    /// Whether the queue belongs to this process's parent: a forked child does not inherit queues.
    #[doc(alias = "closed")]
    pub fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    /// Enables the notes FORK, EXEC and TRACK of [`Filter::PROC`](super::Filter::PROC), which are refused otherwise.
    /// Linux sends the events of all processes to every subscriber, and only to the superuser.
    ///
    /// The queue receives these events while it has a knote with such a note. A process that forks and executes very
    /// fast may overrun the queue's socket: then each of these knotes reports
    /// [`Notes::TRACKERR`](super::Notes::TRACKERR).
    ///
    /// # Errors
    /// `EPERM`: the process lacks `CAP_NET_ADMIN`. `EOPNOTSUPP`: the process is in a process or user namespace that is
    /// not the first. `ECONNREFUSED`: in another network namespace. `EPROTONOSUPPORT`: the kernel has no proc
    /// connector. `EBADF` in a forked child. `EMFILE`, `ENFILE`, `ENOMEM`.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::kqueue::{Kevent, Kqueue, Notes};
    /// use ossature_sys::process;
    ///
    /// let queue = Kqueue::new()?;
    /// let wanted = Kevent::exit(process::id()).with_notes(Notes::EXIT | Notes::FORK | Notes::TRACK);
    /// match queue.follow_processes() {
    ///     Ok(()) => queue.change(&wanted)?,
    ///     Err(errno) => println!("forks are not reported here: {errno}"),
    /// }
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias("NOTE_FORK", "NOTE_TRACK", "NETLINK_CONNECTOR"))]
    pub fn follow_processes(&self) -> Result<()> {
        drop(self.locked()?);
        Connector::try_out()?; // which waits, and so not under the lock
        self.locked()?.follows = true;
        Ok(())
    }

    /// The number of knotes.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::kqueue::{Kevent, Kqueue};
    ///
    /// let queue = Kqueue::new()?;
    /// queue.change(&Kevent::user(1))?;
    /// assert_eq!(queue.len()?, 1);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    ///
    /// # Errors
    /// `EBADF` in a forked child.
    #[expect(clippy::len_without_is_empty, reason = "a number of knotes, not of what is queued")]
    pub fn len(&self) -> Result<usize> {
        Ok(self.locked()?.len())
    }

    fn locked(&self) -> Result<Locked<'_>> {
        // Not in a child: a thread of the parent may have held the lock at the fork, and the sets are the parent's.
        if self.is_inherited() {
            return Err(Errno::BADF);
        }
        if !self.lock.take(Limit::NEVER) {
            return Err(Errno::AGAIN); // without a limit there is always a taker
        }
        Ok(Locked(self))
    }
}

impl fmt::Debug for Kqueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kqueue").field("knotes", &self.len()).finish_non_exhaustive()
    }
}

/// The locked state of a queue.
struct Locked<'q>(&'q Kqueue);

impl Deref for Locked<'_> {
    type Target = QueueState;

    fn deref(&self) -> &QueueState {
        // SAFETY: the lock was taken by `Kqueue::locked`, so no other thread reaches the state.
        unsafe { &*self.0.state.get() }
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut QueueState {
        // SAFETY: as in `deref`; `&mut self` excludes another borrow through this guard.
        unsafe { &mut *self.0.state.get() }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: taken by `Kqueue::locked`, and released here once.
        unsafe { self.0.lock.release() };
    }
}

impl QueueState {
    /// Makes a change; on failure, everything remains as it was.
    fn make(&mut self, change: &Kevent) -> Result<()> {
        if !is_possible(change, self.follows) {
            return Err(Errno::OPNOTSUPP);
        }
        let is_new = !self.has(change);
        self.change(change)?;
        self.rearm().inspect_err(|_| {
            if is_new {
                self.forget(change);
            }
        })
    }
}

/// Whether Linux supports a change; `follows` if FORK, EXEC and TRACK were enabled.
fn is_possible(change: &Kevent, follows: bool) -> bool {
    let is_followed = follows && change.filter() == Filter::PROC;
    let asked = if is_followed { change.with_notes(change.notes().difference(ASKED)) } else { *change };
    refusal(&asked).is_none()
}
