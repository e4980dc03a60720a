//! The kernel's part of the model: sleepers in order of arrival, and wakes that choose among them.

use super::std;
use core::cell::Cell;
use std::vec::Vec;

use loom::sync::{Condvar, Mutex};

use super::futex::{Sleepable, Waiter};
use crate::atomic::Ordering::SeqCst;
use crate::futex::{Limit, Wait};
use crate::sync::split_word::SplitWord;

loom::lazy_static! {
    static ref KERNEL: Futex = Futex { queue: Mutex::new(Queue::default()), changed: Condvar::new() };
}

loom::thread_local! {
    /// Whether wakes choose this thread before all others.
    static URGENT: Cell<bool> = Cell::new(false);
    /// Whether this thread falls asleep word by word.
    static IS_SLOW: Cell<bool> = Cell::new(false);
}

/// Runs `body` so that a sleep on several words compares and queues them one by one, as in the kernel. Otherwise this
/// is one step, and there are fewer interleavings.
pub fn word_by_word<R>(body: impl FnOnce() -> R) -> R {
    IS_SLOW.with(|slow| slow.set(true));
    let answer = body();
    IS_SLOW.with(|slow| slow.set(false));
    answer
}

/// Runs `body` with a real-time priority: a wake chooses this thread before the sleepers that came earlier.
pub fn urgent<R>(body: impl FnOnce() -> R) -> R {
    URGENT.with(|urgent| urgent.set(true));
    let answer = body();
    URGENT.with(|urgent| urgent.set(false));
    answer
}

struct Futex {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    sleepers: Vec<Sleeper>,
    next: usize,
}

impl Queue {
    /// Removes this sleeper if it was woken, or in any case. Returns the index of the last word that was woken.
    #[allow(clippy::option_option, reason = "whether it is removed, and whether it was woken")]
    fn ended(&mut self, id: usize, in_any_case: bool) -> Option<Option<usize>> {
        let at = self.sleepers.iter().position(|sleeper| sleeper.id == id).unwrap();
        let woken = self.sleepers[at].words.iter().rposition(|(_, woken)| *woken);
        if woken.is_none() && !in_any_case {
            return None;
        }
        self.sleepers.remove(at);
        Some(woken)
    }
}

/// A sleeper, on one word or several. The sleeper remains until its thread has run again. So a wake of another of its
/// words may choose it a second time, as in the kernel.
struct Sleeper {
    id: usize,
    /// Each word, and whether it was woken.
    words: Vec<(usize, bool)>,
    /// A bit for each kind of wake that this sleeper accepts.
    kinds: u32,
}

/// Sleeps on the words while `holds` returns true: comparing and sleeping are one step. Returns the index of the word
/// that was woken, the last if several were.
pub(super) fn sleep_any(words: &[usize], holds: impl FnOnce() -> bool) -> Option<usize> {
    sleep_as(u32::MAX, words, holds)
}

/// [`sleep_any`] as a sleeper of these kinds, one bit per kind.
pub(super) fn sleep_as(kinds: u32, words: &[usize], holds: impl FnOnce() -> bool) -> Option<usize> {
    let mut queue = KERNEL.queue.lock().unwrap();
    if !holds() {
        return None;
    }
    let id = queue.next;
    queue.next += 1;
    let place = if URGENT.with(Cell::get) { 0 } else { queue.sleepers.len() };
    queue.sleepers.insert(place, Sleeper { id, words: words.iter().map(|word| (*word, false)).collect(), kinds });
    loop {
        if let Some(woken) = queue.ended(id, false) {
            return woken;
        }
        queue = KERNEL.changed.wait(queue).unwrap();
    }
}

/// [`sleep_any`] on words that have expected values.
pub(super) fn sleep_each(words: &[Waiter<'_>], clock: Option<usize>) -> Option<usize> {
    let keys = || clock.into_iter().chain(words.iter().map(Waiter::address));
    if !IS_SLOW.with(Cell::get) {
        return sleep_any(&keys().collect::<Vec<_>>(), || words.iter().all(Waiter::holds));
    }
    let mut queue = KERNEL.queue.lock().unwrap();
    let id = queue.next;
    queue.next += 1;
    queue.sleepers.push(Sleeper {
        id,
        words: clock.into_iter().map(|clock| (clock, false)).collect(),
        kinds: u32::MAX,
    });
    for word in words {
        drop(queue);
        queue = KERNEL.queue.lock().unwrap();
        if !word.holds() {
            return queue.ended(id, true).flatten();
        }
        let sleeper = queue.sleepers.iter_mut().find(|sleeper| sleeper.id == id).unwrap();
        sleeper.words.push((word.address(), false));
    }
    loop {
        if let Some(woken) = queue.ended(id, false) {
            return woken;
        }
        queue = KERNEL.changed.wait(queue).unwrap();
    }
}

pub(crate) fn wake_on(word: usize, count: u32) -> u32 {
    wake_of(u32::MAX, word, count)
}

/// [`wake_on`] for sleepers of one of these kinds.
pub(super) fn wake_of(kinds: u32, word: usize, count: u32) -> u32 {
    let mut queue = KERNEL.queue.lock().unwrap();
    let sleepers = queue.sleepers.iter_mut().filter(|sleeper| sleeper.kinds & kinds != 0);
    let entries = sleepers.flat_map(|sleeper| &mut sleeper.words);
    let mut woken = 0;
    for entry in entries.filter(|entry| **entry == (word, false)).take(count as usize) {
        entry.1 = true;
        woken += 1;
    }
    KERNEL.changed.notify_all();
    woken
}

/// The key of the sleepers that a deadline wakes. No word has this address.
pub(super) const CLOCK: usize = 1;
/// The key of an entry that is only compared. No word has this address.
pub(super) const NOWHERE: usize = 2;

/// Lets the time pass: the deadline of each thread that sleeps now comes.
pub fn pass_time() {
    wake_on(CLOCK, u32::MAX);
}

/// The number of sleepers that were not woken.
pub fn sleepers() -> usize {
    let queue = KERNEL.queue.lock().unwrap();
    queue.sleepers.iter().filter(|sleeper| sleeper.words.iter().all(|(_, woken)| !woken)).count()
}

/// Sleeps like the real implementation: the word comes after that of the cancellation, so that no wake of it is hidden.
pub(crate) fn wait_while(word: usize, holds: impl FnOnce() -> bool, limit: Limit<'_>) -> Wait {
    if limit.is_cancelled() {
        return Wait::TimedOut;
    }
    let words: Vec<usize> = limit.watched().map(|watched| watched.address()).into_iter().chain([word]).collect();
    match sleep_any(&words, || holds() && !limit.is_cancelled()) {
        Some(at) if at + 1 == words.len() => Wait::Woken,
        Some(_) if limit.is_cancelled() => Wait::TimedOut,
        Some(_) | None => Wait::Changed,
    }
}

/// Sleeps on the word while it has this value.
pub fn wait(word: &impl Sleepable, expected: u32, limit: Limit<'_>) -> Wait {
    wait_while(address(word), || word.value() == expected, limit)
}

pub(crate) fn wait_at(state: &SplitWord, holds: impl Fn(u64) -> bool, limit: Limit<'_>) -> Wait {
    wait_while(address(state), || holds(state.load(SeqCst)), limit)
}

pub(crate) fn wake_at(state: &SplitWord, count: u32) {
    wake_on(address(state), count);
}

/// Wakes at most `count` sleepers on the word, and returns their number.
pub fn wake(word: &impl Sleepable, count: u32) -> u32 {
    wake_on(address(word), count)
}

pub(super) fn address<T>(word: &T) -> usize {
    core::ptr::from_ref(word) as usize
}
