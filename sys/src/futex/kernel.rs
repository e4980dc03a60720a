//! The futex system calls.

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use core::time::Duration;

use rustix::thread::futex::{self as sys, Flags, WaitFlags};
use static_assertions::const_assert_eq;

use super::reach::{Reach, WAIT_ANY_MAX, Wait};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, retry};
use crate::raw;

/// The word that a thread can sleep on.
pub(crate) type FutexWord = AtomicU32;

const ANY: NonZeroU32 = NonZeroU32::MAX;

fn flags(reach: Reach) -> Flags {
    match reach {
        Reach::Private => Flags::PRIVATE,
        Reach::Shared => Flags::empty(),
    }
}

/// `futex(word, FUTEX_WAIT_BITSET, expected, timeout, ~0)`: sleeps while `word` holds `expected`.
///
/// The timeout is absolute on the monotonic clock, so a signal neither shortens nor lengthens the wait.
///
/// # Errors
/// `EFAULT` when the word's page cannot be read.
#[doc(alias = "FUTEX_WAIT")]
pub fn wait(word: &AtomicU32, expected: u32, reach: Reach, timeout: impl Into<Deadline>) -> Result<Wait> {
    let until = timeout.into().timespec_at();
    ended(retry(|| raw::call("futex", || sys::wait_bitset(word, flags(reach), expected, until.as_ref(), ANY))))
}

/// `futex(word, FUTEX_WAKE, count)`: wakes at most `count` sleepers and returns their number.
///
/// # Errors
/// `EFAULT` when a shared word's page cannot be read.
#[doc(alias = "FUTEX_WAKE")]
pub fn wake(word: &AtomicU32, count: u32, reach: Reach) -> Result<u32> {
    // The kernel reads the count as a signed number and takes anything below 1 for 1.
    let count = count.min(i32::MAX as u32);
    if count == 0 {
        return Ok(0);
    }
    raw::call("futex", || sys::wake(word, flags(reach), count)).map(|woken| woken as u32)
}

/// `sched_yield()`: lets the other threads of this processor run before a waiter tests its word again.
pub(crate) fn give_way() {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::thread::sched_yield();
}

/// `futex(word, FUTEX_WAIT_BITSET, expected, timeout, kinds)`: [`wait`] as a sleeper of these kinds, one bit per kind.
/// An ordinary [`wake`] reaches sleepers of all kinds.
pub(crate) fn wait_as(
    word: &AtomicU32,
    expected: u32,
    reach: Reach,
    until: Deadline,
    kinds: NonZeroU32,
) -> Result<Wait> {
    let until = until.timespec_at();
    ended(retry(|| raw::call("futex", || sys::wait_bitset(word, flags(reach), expected, until.as_ref(), kinds))))
}

/// `futex(word, FUTEX_WAKE_BITSET, 1, kinds)`: wakes one sleeper of one of these kinds, and returns whether there was
/// one.
pub(crate) fn wake_one_of(word: &AtomicU32, reach: Reach, kinds: NonZeroU32) -> Result<bool> {
    raw::call("futex", || sys::wake_bitset(word, flags(reach), 1, kinds)).map(|woken| woken != 0)
}

/// `futex(unused, FUTEX_WAKE_OP, 1, 1, word, OR 0)`: the kernel writes the word without changing it. So the word has a
/// page afterwards. If there is no memory for a page, the call returns an error, where an access by the program itself
/// would raise SIGBUS.
///
/// # Errors
/// `EFAULT` and `ENOMEM` without memory.
pub(crate) fn touch(word: &AtomicU32) -> Result<()> {
    let nobody = AtomicU32::new(0);
    let write = || sys::wake_op(&nobody, Flags::PRIVATE, 1, 1, word, sys::WakeOp::Or, sys::WakeOpCmp::Ne, 0, 0);
    retry(|| raw::call("futex", write)).map(drop)
}

fn ended(answer: Result<()>) -> Result<Wait> {
    match answer {
        Ok(()) => Ok(Wait::Woken),
        Err(Errno::AGAIN) => Ok(Wait::Changed),
        Err(Errno::TIMEDOUT) => Ok(Wait::TimedOut),
        Err(other) => Err(other),
    }
}

/// One word of [`wait_any`](super::wait_any) and its expected value.
///
/// # Examples
/// ```
/// use core::{sync::atomic::AtomicU32, time::Duration};
/// use ossature_sys::futex::{Reach, Wait, Waiter, wait_any};
///
/// let (one, two) = (AtomicU32::new(0), AtomicU32::new(0));
/// let waiters = [Waiter::new(&one, 0, Reach::Private), Waiter::new(&two, 0, Reach::Private)];
/// assert_eq!(wait_any(&waiters, Duration::from_millis(1))?, Wait::TimedOut);
/// two.store(1, core::sync::atomic::Ordering::Release);
/// assert_eq!(wait_any(&waiters, Duration::from_secs(5))?, Wait::Changed);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Waiter<'w> {
    inner: sys::Wait,
    word: core::marker::PhantomData<&'w AtomicU32>,
}
const_assert_eq!(size_of::<Waiter<'_>>(), 24);

// SAFETY: a `Waiter` is a `&AtomicU32` in the kernel's form, and such a reference may go to any thread.
unsafe impl Send for Waiter<'_> {}
// SAFETY: as for Send; nothing in it can be changed through a shared reference.
unsafe impl Sync for Waiter<'_> {}

impl<'w> Waiter<'w> {
    /// An entry to sleep while `word` holds `expected`.
    pub fn new(word: &'w AtomicU32, expected: u32, reach: Reach) -> Self {
        let mut inner = sys::Wait::new();
        inner.val = u64::from(expected);
        inner.uaddr = sys::WaitPtr::new(word.as_ptr().cast());
        inner.flags = WaitFlags::SIZE_U32;
        if reach == Reach::Private {
            inner.flags |= WaitFlags::PRIVATE;
        }
        Self { inner, word: core::marker::PhantomData }
    }

    /// Returns an entry that compares the same word, and at which no thread is ever woken.
    pub(crate) fn compared(&self) -> Self {
        let mut compared = *self;
        compared.inner.flags |= WaitFlags::PRIVATE; // wakes of a word in shared memory are for the other kind
        compared
    }

    fn word(&self) -> &'w AtomicU32 {
        // SAFETY: the pointer was taken from a `&'w AtomicU32` in `new`.
        unsafe { AtomicU32::from_ptr(self.inner.uaddr.ptr.cast()) }
    }

    fn expected(&self) -> u32 {
        self.inner.val as u32
    }

    fn reach(&self) -> Reach {
        if self.inner.flags.contains(WaitFlags::PRIVATE) { Reach::Private } else { Reach::Shared }
    }
}

/// [`wait_any`](super::wait_any) that returns the index of the word that was woken: the last one in the list if several
/// were.
pub(crate) fn wait_any_at(waiters: &[Waiter<'_>], deadline: Deadline) -> Result<(Wait, usize)> {
    if waiters.is_empty() || waiters.len() > WAIT_ANY_MAX {
        return Err(Errno::INVAL);
    }
    let until = deadline.timespec_at();
    // SAFETY: `Waiter` is a transparent wrapper of `sys::Wait` (a second, zero-sized field apart), so a slice of the
    // one has the layout of a slice of the other, and it is borrowed for as long.
    let raw_waiters = unsafe { core::slice::from_raw_parts(waiters.as_ptr().cast::<sys::Wait>(), waiters.len()) };
    let answer = retry(|| {
        raw::call("futex_waitv", || {
            sys::waitv(raw_waiters, sys::WaitvFlags::empty(), until.as_ref(), rustix::thread::ClockId::Monotonic)
        })
    });
    match answer {
        Err(Errno::NOSYS) => wait_any_in_slices(waiters, deadline).map(|ended| (ended, 0)),
        Ok(woken) => Ok((Wait::Woken, woken as usize)),
        Err(error) => ended(Err(error)).map(|ended| (ended, 0)),
    }
}

/// Whether the kernel has `futex_waitv`, which then refuses an empty list. Tested once.
pub(crate) fn waits_on_several() -> bool {
    const YES: u8 = 1;
    const NO: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    let known = match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let answer = raw::call("futex_waitv", || {
                sys::waitv(&[], sys::WaitvFlags::empty(), None, rustix::thread::ClockId::Monotonic)
            });
            let known = if answer == Err(Errno::INVAL) { YES } else { NO };
            KNOWN.store(known, Ordering::Relaxed);
            known
        }
        known => known,
    };
    known == YES
}

/// The interval at which the other words are checked during a wait on the first one, where `futex_waitv` is missing.
const SLICE: Duration = Duration::from_millis(10);

#[cold]
fn wait_any_in_slices(waiters: &[Waiter<'_>], deadline: Deadline) -> Result<Wait> {
    let Some(first) = waiters.first() else { return Err(Errno::INVAL) };
    loop {
        if waiters.iter().any(|waiter| waiter.word().load(Ordering::SeqCst) != waiter.expected()) {
            return Ok(Wait::Changed);
        }
        let slice = deadline.or_sooner(Deadline::after(SLICE));
        match wait(first.word(), first.expected(), first.reach(), slice)? {
            Wait::TimedOut if deadline.has_passed() => return Ok(Wait::TimedOut),
            Wait::TimedOut => {}
            ended => return Ok(ended),
        }
    }
}
