//! The futex of the model: the calls of `futex(2)`, over the sleepers of [`kernel`](super::kernel).
//!
//! No time passes in a model, so no deadline ends a wait.

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::SeqCst;
use std::vec::Vec;

use super::kernel::{NOWHERE, sleep_any, sleep_as, wake_of, wake_on};
use super::std;
use crate::atomic::AtomicU32;
pub(crate) use crate::atomic::spin_hint as give_way;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::futex::{Reach, WAIT_ANY_MAX, Wait};

/// A word that a thread can sleep on: a word of the model, or a plain word outside any model.
pub trait Sleepable: core::fmt::Debug + Sync {
    /// The word's value.
    fn value(&self) -> u32;
}

impl Sleepable for AtomicU32 {
    fn value(&self) -> u32 {
        self.load(SeqCst)
    }
}

impl Sleepable for loom::sync::atomic::AtomicU32 {
    fn value(&self) -> u32 {
        self.load(SeqCst)
    }
}

impl Sleepable for core::sync::atomic::AtomicU32 {
    fn value(&self) -> u32 {
        self.load(SeqCst)
    }
}

pub(crate) type FutexWord = dyn Sleepable;

/// One word of [`wait_any_at`] and its expected value.
#[derive(Clone, Copy, Debug)]
pub struct Waiter<'w> {
    word: &'w FutexWord,
    expected: u32,
    is_compared: bool,
}

impl Sleepable for crate::robust::word::LockWord {
    fn value(&self) -> u32 {
        self.futex_ordered()
    }
}

impl<'w> Waiter<'w> {
    /// An entry to sleep while `word` holds `expected`.
    pub fn new(word: &'w FutexWord, expected: u32, _reach: Reach) -> Self {
        Self { word, expected, is_compared: false }
    }

    /// Returns an entry that compares the same word, and at which no thread is ever woken.
    pub(crate) fn compared(&self) -> Self {
        Self { is_compared: true, ..*self }
    }

    pub(super) fn holds(&self) -> bool {
        self.word.value() == self.expected
    }

    pub(crate) fn address(&self) -> usize {
        if self.is_compared {
            return NOWHERE;
        }
        core::ptr::from_ref(self.word).cast::<()>() as usize
    }
}

/// Sleeps while `word` holds `expected`.
///
/// # Errors
/// None.
pub fn wait(word: &FutexWord, expected: u32, reach: Reach, timeout: impl Into<Deadline>) -> Result<Wait> {
    wait_any_at(&[Waiter::new(word, expected, reach)], timeout.into()).map(|(ended, _)| ended)
}

/// Wakes at most `count` sleepers and returns their number.
///
/// # Errors
/// None.
pub fn wake(word: &FutexWord, count: u32, _reach: Reach) -> Result<u32> {
    Ok(wake_on(Waiter::new(word, 0, Reach::Private).address(), count))
}

pub(crate) fn wait_as(
    word: &FutexWord,
    expected: u32,
    reach: Reach,
    _until: Deadline,
    kinds: NonZeroU32,
) -> Result<Wait> {
    let waiter = Waiter::new(word, expected, reach);
    let woken = sleep_as(kinds.get(), &[waiter.address()], || waiter.holds());
    Ok(woken.map_or(Wait::Changed, |_| Wait::Woken))
}

pub(crate) fn wake_one_of(word: &FutexWord, reach: Reach, kinds: NonZeroU32) -> Result<bool> {
    Ok(wake_of(kinds.get(), Waiter::new(word, 0, reach).address(), 1) != 0)
}

/// Does nothing, because every word of the model has its memory.
///
/// # Errors
/// None.
pub fn touch(_word: &FutexWord) -> Result<()> {
    Ok(())
}

/// Sleeps while every word holds its expected value, and returns the index of the word that was woken.
///
/// # Errors
/// `EINVAL` as in the kernel.
pub fn wait_any_at(waiters: &[Waiter<'_>], _deadline: Deadline) -> Result<(Wait, usize)> {
    if waiters.is_empty() || waiters.len() > WAIT_ANY_MAX {
        return Err(Errno::INVAL);
    }
    let words: Vec<usize> = waiters.iter().map(Waiter::address).collect();
    let hold = || waiters.iter().all(Waiter::holds);
    Ok(sleep_any(&words, hold).map_or((Wait::Changed, 0), |woken| (Wait::Woken, woken)))
}

/// Whether the model can sleep on several words.
pub fn waits_on_several() -> bool {
    true
}
