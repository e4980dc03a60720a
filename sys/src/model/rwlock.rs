//! A reader-writer lock between participants that may die at any change of a word, including the list that the kernel
//! walks.
//!
//! The turn is the word of the robust lock, in the steps in which the lock of processes takes and releases it. The
//! shares are the table's own steps. The kernel walks the dead participant's list, and then the pending entry.

use super::std;
use core::cell::RefCell;
use std::vec::Vec;

use loom::cell::UnsafeCell;

use super::kernel::{address, sleep_any, wake_on};
use super::killable::{mourned, step};
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::futex::{Limit, Wait};
use crate::robust::word::{LockWord, OWNER, Take, WaitPolicy};
use crate::sync::gate::PrivateGate;
use crate::sync::readers::extent::{Extent, InTable};
use crate::sync::readers::table::{self, Share};
use crate::sync::readers::{ABANDONED, CLOSED, Counted, Readers, Turns};
use crate::sync::scope::{RawLock, Refused};
use crate::sync::spin::Spin;

/// The kernel's state of a participant.
#[derive(Default)]
struct List {
    id: u32,
    linked: Vec<*const LockWord>,
    pending: Option<*const LockWord>,
}

loom::thread_local! {
    static LIST: RefCell<List> = RefCell::new(List::default());
}

fn with_list<R>(body: impl FnOnce(&mut List) -> R) -> R {
    LIST.with(|list| body(&mut list.borrow_mut()))
}

pub(super) fn me() -> u32 {
    with_list(|list| list.id)
}

/// Makes this thread the participant `id`.
pub(super) fn become_participant(id: u32) {
    with_list(|list| list.id = id);
}

/// Whether this participant has linked the word.
pub(super) fn has_linked(word: &LockWord) -> bool {
    with_list(|list| list.linked.contains(&core::ptr::from_ref(word)))
}

pub(super) fn set_pending(word: &LockWord) {
    with_list(|list| list.pending = Some(word));
    step();
}

pub(super) fn clear_pending() {
    step();
    forget_pending();
}

/// Removes the pending entry, because the thread has none or another one from now on.
pub(super) fn forget_pending() {
    with_list(|list| list.pending = None);
}

pub(super) fn link(word: &LockWord) {
    step();
    with_list(|list| list.linked.push(word));
    step();
}

pub(super) fn unlink(word: &LockWord) {
    step();
    with_list(|list| list.linked.retain(|linked| !core::ptr::eq(*linked, word)));
    step();
}

/// The kernel's action after the death of this participant.
pub(super) fn walk() {
    let (id, linked, pending) = with_list(|list| (list.id, core::mem::take(&mut list.linked), list.pending.take()));
    let words = linked.iter().filter(|word| Some(**word) != pending).map(|word| (*word, false));
    for (word, is_pending) in words.chain(pending.map(|word| (word, true))) {
        // SAFETY: the models keep the lock until every participant has ended.
        let word = unsafe { &*word };
        let is_mine = word.futex() & OWNER == id;
        if (is_mine || is_pending) && word.owner_dies(id, false) {
            wake_on(address(word), 1);
        }
    }
}

/// The turn, which one participant has at a time.
#[derive(Debug)]
pub struct Turn {
    word: LockWord,
    abandoned: AtomicU32,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { word: LockWord::new(), abandoned: AtomicU32::new(0) }
    }
}

struct Waits<'t>(&'t LockWord, Limit<'t>);

impl WaitPolicy for Waits<'_> {
    fn sleep(&mut self, expected: u32) -> Wait {
        step();
        let ended = sleep_on(self.0, expected);
        step();
        ended
    }

    fn pause(&mut self) -> bool {
        false
    }

    fn won(&mut self) {}

    fn leaves(&mut self, _free: u32) -> bool {
        false // `model::overdue` has this part
    }

    fn woken(&mut self) -> bool {
        false
    }

    fn is_nonblocking(&self) -> bool {
        self.1.is_now()
    }

    fn is_holder(&self) -> bool {
        has_linked(self.0)
    }
}

fn sleep_on(word: &LockWord, expected: u32) -> Wait {
    match sleep_any(&[address(word)], || word.futex() == expected) {
        Some(_) => Wait::Woken,
        None => Wait::Changed,
    }
}

// SAFETY: as for the lock of processes, whose word this is.
unsafe impl RawLock for Turn {
    fn take(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        set_pending(&self.word);
        let taken = self.word.take_free(me())
            || match self.word.take(me(), &mut Waits(&self.word, limit)) {
                Take::Taken { died } => {
                    step();
                    if died {
                        self.abandoned.store(1, Relaxed);
                    }
                    true
                }
                Take::Own => unreachable!("the models take it once"),
                Take::TimedOut => false,
            };
        if taken {
            link(&self.word);
        }
        clear_pending();
        Ok(taken)
    }

    unsafe fn release(&self) {
        set_pending(&self.word);
        unlink(&self.word);
        if !self.word.release_free() {
            self.word.release_contended(0, || {
                step();
                wake_on(address(&self.word), 1)
            });
        }
        clear_pending();
    }

    fn is_held(&self) -> bool {
        self.word.futex() & OWNER != 0
    }

    fn abandoned(&self) -> bool {
        self.abandoned.load(Relaxed) != 0
    }

    fn mark_consistent(&self) {
        self.abandoned.store(0, Relaxed);
        step();
    }
}

/// The state, and the extent of the shares: one of [`SHARES`] is in use at first.
#[derive(Debug)]
struct Shares {
    state: AtomicU32,
    extent: Extent,
    spin: Spin,
}

/// Two pairs: the first shares of both, and one second share.
const SHARES: usize = 3;

impl Share for &LockWord {
    fn word(&self) -> &LockWord {
        self
    }

    fn set_pending(&self) {
        set_pending(self);
    }

    fn clear_pending(&self) {
        clear_pending();
    }

    fn link(&self) {
        link(self);
    }

    fn unlink(&self) {
        unlink(self);
    }

    fn wake(&self) {
        step();
        wake_on(address(*self), 1);
        step();
    }

    fn changed(&self) {
        step();
    }
}

impl InTable for LockWord {
    fn word(&self) -> &LockWord {
        self
    }

    fn prepare(_: &[Self], _: usize, _: usize) -> Result<(), Refused> {
        Ok(())
    }
}

impl Shares {
    fn take<'s>(&self, words: &'s [LockWord], turn: Option<Limit<'_>>) -> Result<Option<&'s LockWord>, Refused> {
        let enter = |word: &'s LockWord| table::enter(word, &self.state, me(), turn.is_some());
        self.extent.take(words, me(), turn.unwrap_or(Limit::NOW), enter)
    }
}

impl Readers for Shares {
    type Slot = LockWord;

    fn enter<'s>(&self, _: &'s [LockWord]) -> Option<&'s LockWord> {
        None // the other way has all steps
    }

    fn enter_slow<'s>(&self, words: &'s [LockWord]) -> Result<Option<&'s LockWord>, Refused> {
        if self.is_closed() { Ok(None) } else { self.take(words, None) }
    }

    fn enter_with_turn<'s>(&self, words: &'s [LockWord], limit: Limit<'_>) -> Result<Option<&'s LockWord>, Refused> {
        self.take(words, Some(limit))
    }

    fn leave(&self, word: &LockWord) -> bool {
        table::leave(word, &self.state);
        true
    }

    fn has_own(&self, _: &[LockWord], _: Limit<'_>) -> Result<bool, Refused> {
        Ok(false)
    }

    fn count(&self, words: &[LockWord]) -> u32 {
        self.extent.count(words)
    }

    fn is_closed(&self) -> bool {
        self.state.load(Relaxed) & CLOSED != 0
    }

    fn close(&self) {
        step();
        table::close(&self.state);
        step();
    }

    fn drain(&self, words: &[LockWord], limit: Limit<'_>) -> Result<bool, Refused> {
        let sleep = |word: &LockWord, expected| {
            step();
            let ended = sleep_on(word, expected);
            step();
            ended
        };
        Ok(self.extent.drain(words, &self.spin, limit, sleep))
    }

    fn begin(&self) {
        table::begin(&self.state);
        step();
    }

    fn open(&self, abandon: bool) {
        step();
        table::open(&self.state, abandon);
        step();
    }

    fn mend(&self) {
        table::mend(&self.state);
        step();
    }

    fn abandoned(&self) -> bool {
        self.state.load(Relaxed) & ABANDONED != 0
    }

    fn mark_consistent(&self) {
        self.state.store(self.state.load(Relaxed) & !ABANDONED, Relaxed);
        step();
    }
}

/// Two numbers that are equal unless a participant has written only one of them.
#[derive(Debug)]
struct Pair([UnsafeCell<u32>; 2]);

impl Pair {
    fn new() -> Self {
        Self([UnsafeCell::new(0), UnsafeCell::new(0)])
    }

    fn get(&self) -> [u32; 2] {
        // SAFETY: a reader's or a writer's right to the data, which loom itself checks.
        [0, 1].map(|at| self.0[at].with(|number| unsafe { *number }))
    }

    fn add_one(&self) {
        for number in &self.0 {
            // SAFETY: as above, of a writer.
            number.with_mut(|number| unsafe { *number += 1 });
            step();
        }
    }

    fn repair(&self) {
        let [first, _] = self.get();
        // SAFETY: as above, of a writer.
        self.0[1].with_mut(|number| unsafe { *number = first });
    }
}

/// A pair of numbers behind the lock.
#[derive(Debug)]
pub struct RwLock {
    lock: Turns<Turn, Shares>,
    words: [LockWord; SHARES],
    pair: Pair,
}

// SAFETY: only threads with a share and the writer use the pair, which loom itself checks.
unsafe impl Sync for RwLock {}
// SAFETY: as for Sync.
unsafe impl Send for RwLock {}

impl RwLock {
    /// A free lock.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        let turn = Turn::new();
        let readers = Shares { state: AtomicU32::new(0), extent: Extent::of(1), spin: Spin::new() };
        Self { lock: Turns { readers, turn }, words: core::array::from_fn(|_| LockWord::new()), pair: Pair::new() }
    }

    /// Reads the first number as the participant `id`; `None` if the limit is over.
    pub fn read(&self, id: u32, limit: Limit<'_>) -> Option<u32> {
        self.read_beside(id, limit, || {})
    }

    /// Reads like [`read`](Self::read), and runs `body` while the participant has its share.
    pub fn read_beside(&self, id: u32, limit: Limit<'_>, body: impl FnOnce()) -> Option<u32> {
        become_participant(id);
        let word = self.lock.read(&self.words, limit).unwrap()?;
        step();
        let [first, second] = self.pair.get();
        assert!(first == second || self.lock.readers.abandoned(), "half-written, and nobody was told");
        body();
        step();
        self.lock.leave(word);
        Some(first)
    }

    /// Adds 1 as the participant `id`, and repairs the data after a death; false if the limit is over.
    pub fn write(&self, id: u32, limit: Limit<'_>) -> bool {
        become_participant(id);
        if !self.lock.write(&self.words, limit).unwrap() {
            return false;
        }
        let [first, second] = self.pair.get();
        if self.lock.readers.abandoned() {
            self.pair.repair();
            self.lock.mark_consistent();
        } else {
            assert_eq!(first, second, "half-written, and nobody was told");
        }
        self.pair.add_one();
        self.lock.finish(false);
        true
    }

    /// Runs `body` in this thread until it has made `steps` steps, and kills the participant at the next. `None` if
    /// it died.
    pub fn doomed<R>(steps: u32, body: impl FnOnce() -> R) -> Option<R> {
        mourned(steps, walk, body)
    }

    /// Whether no participant has the turn or a share, as at the end of a model.
    pub fn is_free(&self) -> bool {
        !self.lock.turn.is_held() && self.lock.readers.count(&self.words) == 0
    }

    /// Whether the state shows an open lock.
    pub fn is_open(&self) -> bool {
        self.lock.readers.state.load(SeqCst) & CLOSED == 0
    }
}

/// The same pair behind the lock between threads.
#[derive(Debug)]
pub struct Private {
    lock: Turns<crate::futex::WordLock, Counted<PrivateGate>>,
    pair: Pair,
}

// SAFETY: as for `RwLock`.
unsafe impl Sync for Private {}
// SAFETY: as for `RwLock`.
unsafe impl Send for Private {}

impl Private {
    /// A free lock.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        let lock = Turns { readers: Counted::new(PrivateGate), turn: crate::futex::WordLock::new() };
        Self { lock, pair: Pair::new() }
    }

    /// Reads the first number; `None` if the limit is over.
    pub fn read(&self, limit: Limit<'_>) -> Option<u32> {
        let share = self.lock.read(&[], limit).unwrap()?;
        let [first, second] = self.pair.get();
        assert_eq!(first, second, "a reader beside a writer");
        self.lock.leave(share);
        Some(first)
    }

    /// Adds 1; false if the limit is over.
    pub fn write(&self, limit: Limit<'_>) -> bool {
        if !self.lock.write(&[], limit).unwrap() {
            return false;
        }
        self.pair.add_one();
        self.lock.finish(false);
        true
    }
}
