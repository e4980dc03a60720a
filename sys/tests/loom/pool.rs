//! The board of a pool: each call ends once, whichever process dies at any step. The functions on its words are
//! included from the pool's own source.
//!
//! A worker dies between any two of its changes. Its supervisor, which the same thread plays then, buries what the
//! worker had, and wakes everybody. The parent publishes, and sleeps until all calls have ended: it hears of each
//! outcome, or once all chunks are claimed.

use std::sync::atomic::AtomicU32 as Count;

use loom::sync::Arc;
use loom::thread;
use ossature_sys::futex::Limit;
use ossature_sys::model::{sleepers, wait, wake};

use crate::{explore, explore_to};

/// The module that the included files import.
mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
#[path = "../../../src/multiprocessing/pool/claims.rs"]
mod claims;
#[path = "../../../src/multiprocessing/pool/word.rs"]
mod word;

use atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use atomic::{AtomicU32, AtomicU64};
use word::{SlotState, running, running_in, state, word as word_of};

const SLOTS: usize = 2;
/// The value of `listening` when the parent waits for every outcome.
const EACH: u64 = 0;
/// The number of changes of a worker that sleeps, runs a chunk, and searches for another.
const STEPS: u32 = 12;
/// The number of changes of a worker that finds no chunk, and sleeps.
const STEPS_TO_SLEEP: u32 = 2;
/// The number of further changes for a packet.
const STEPS_OF_A_PACKET: u32 = 4;

#[derive(Default)]
struct Slot {
    word: AtomicU64,
    sequence: AtomicU64,
    /// The number of the call to run.
    call: AtomicU32,
    /// Set when the word becomes `Dead`: the number of the call that was running plus one, or 0.
    at: AtomicU32,
}

#[derive(Default)]
struct WorkerEntry {
    begun: AtomicU64,
    /// 1 while the worker receives a packet and claims its chunk.
    fetching: AtomicU32,
    /// A counter of the worker's wakes. The worker sleeps on it.
    wakes: AtomicU32,
}

#[derive(Default)]
struct Board {
    published: AtomicU64,
    next: AtomicU64,
    asleep: AtomicU64,
    listening: AtomicU64,
    over: AtomicU32,
    news: AtomicU32,
    ends: AtomicU32,
    slots: [Slot; SLOTS],
    entries: [WorkerEntry; 2],
    /// 1 once the outcome of the chunk with this number is visible.
    told: [AtomicU32; 8],
    /// How often each call has begun. This is not part of the protocol.
    runs: [Count; 2],
    /// Whether there are packets, for which a worker looks first; the number and one of the chunk whose packet is in
    /// the sockets; whether one may have been lost with a worker.
    has_packets: bool,
    packet: AtomicU64,
    lost: AtomicU32,
}

/// The number of changes after which a worker dies; `None` for a worker that never dies.
struct Life(Option<u32>);

impl Life {
    fn step(&mut self) -> Option<()> {
        match &mut self.0 {
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                Some(())
            }
            None => Some(()),
        }
    }
}

impl Board {
    fn slot<'b>(&'b self) -> impl Fn(usize) -> Option<&'b AtomicU64> {
        |place| self.slots.get(place).map(|slot| &slot.word)
    }

    fn is_claimed(&self, from: u64) -> bool {
        self.next.load(SeqCst) >= from
    }

    /// Notifies the parent after an outcome or, `at_rest`, when the worker has found no chunk.
    fn tell_parent(&self, life: &mut Life, at_rest: bool) -> Option<()> {
        let is_meant = |from| (!at_rest || from != EACH) && self.is_claimed(from);
        if claims::takes_listening(&self.listening, is_meant) {
            life.step()?;
            self.raise();
        }
        Some(())
    }

    fn raise(&self) {
        self.news.fetch_add(1, SeqCst);
        wake(&self.news, u32::MAX);
    }

    fn wake_workers(&self) {
        claims::wake_sleepers([&self.asleep], 1, |_, ticket| self.wake(ticket as usize));
    }

    fn wake(&self, ticket: usize) -> bool {
        let wakes = &self.entries[ticket].wakes;
        wakes.fetch_add(1, SeqCst);
        wake(wakes, 1) > 0
    }

    fn wake_all_workers(&self) {
        for ticket in 0..self.entries.len() {
            self.wake(ticket);
        }
    }

    fn has_unclaimed(&self) -> bool {
        self.next.load(SeqCst) < self.published.load(SeqCst) || self.has_packets && self.packet.load(SeqCst) != 0
    }

    /// Runs a worker until the pool is over (`Some`) or the worker dies (`None`).
    fn live(&self, ticket: u32, mut life: Life) -> Option<()> {
        while let Some(place) = self.next(ticket, &mut life)? {
            self.chunk(ticket, place, &mut life)?;
        }
        Some(())
    }

    fn next(&self, ticket: u32, life: &mut Life) -> Option<Option<usize>> {
        let bit = 1 << ticket;
        let mut told = false;
        loop {
            if let Some(place) = self.claim_packet(ticket, life)? {
                return Some(Some(place));
            }
            life.step()?;
            if let Some(place) = claims::claim(&self.published, &self.next, SLOTS, self.slot(), ticket, !told) {
                return Some(Some(place));
            }
            if !std::mem::replace(&mut told, true) {
                self.tell_parent(life, true)?;
            }
            if self.over.load(SeqCst) != 0 {
                return Some(None);
            }
            let wakes = &self.entries[ticket as usize].wakes;
            let seen = claims::announce(&self.asleep, bit, wakes);
            life.step()?;
            if self.over.load(SeqCst) == 0 && !self.has_unclaimed() {
                let _ = wait(wakes, seen, Limit::NEVER); // looks again after any end
            }
            life.step()?;
            self.asleep.fetch_and(!bit, SeqCst);
        }
    }

    /// Receives a packet and claims its chunk. The hint `next` does not change.
    fn claim_packet(&self, ticket: u32, life: &mut Life) -> Option<Option<usize>> {
        if !self.has_packets || self.packet.load(SeqCst) == 0 {
            return Some(None);
        }
        let entry = &self.entries[ticket as usize];
        life.step()?;
        entry.fetching.store(1, SeqCst);
        life.step()?;
        let came = self.packet.swap(0, SeqCst).checked_sub(1);
        life.step()?;
        let claimed = came.and_then(|sequence| {
            let place = sequence as usize % SLOTS;
            let (packed, claimed) =
                (word_of(SlotState::Packed, sequence), word_of(SlotState::Claimed(ticket), sequence));
            self.slots[place].word.compare_exchange(packed, claimed, SeqCst, SeqCst).is_ok().then_some(place)
        });
        life.step()?;
        entry.fetching.store(0, SeqCst);
        Some(claimed)
    }

    fn chunk(&self, ticket: u32, place: usize, life: &mut Life) -> Option<()> {
        life.step()?;
        let slot = &self.slots[place];
        let (sequence, call) = (slot.sequence.load(Relaxed), slot.call.load(Relaxed));
        self.entries[ticket as usize].begun.store(running(sequence, 0), Release);
        life.step()?;
        self.runs[call as usize].fetch_add(1, Relaxed);
        life.step()?;
        self.told[sequence as usize].store(1, Release);
        life.step()?;
        let claimed = word_of(SlotState::Claimed(ticket), sequence);
        let _ = slot.word.compare_exchange(claimed, word_of(SlotState::Done(ticket), sequence), SeqCst, Relaxed);
        life.step()?;
        self.tell_parent(life, false)
    }

    /// Records the death of a worker, as the supervisor does.
    fn record_death(&self, ticket: u32) {
        for slot in &self.slots {
            claims::record_death(&slot.word, ticket, || {
                let sequence = slot.sequence.load(Relaxed);
                let begun = running_in(self.entries[ticket as usize].begun.load(Acquire), sequence);
                slot.at.store(begun.map_or(0, |index| index + 1), Relaxed);
                sequence
            });
        }
        self.asleep.fetch_and(!(1 << ticket), SeqCst);
        if self.has_packets && self.entries[ticket as usize].fetching.swap(0, SeqCst) != 0 {
            self.lost.store(1, SeqCst);
        }
        self.ends.fetch_add(1, SeqCst);
        self.raise();
        self.wake_all_workers();
    }
}

/// The parent: the call in each slot, and how each call ended.
struct Parent<'b> {
    board: &'b Board,
    /// Whether the parent waits for each outcome.
    each: bool,
    /// Whether publishing a call wakes no worker, because one may be searching. A worker is then woken before the
    /// parent sleeps.
    waits: bool,
    chunks: [Option<(u64, u32)>; SLOTS],
    sequence: u64,
    ended: Vec<(u32, bool)>,
    /// The number of workers' ends that the parent has handled, and the news that it has seen.
    ends: u32,
    heard: u32,
}

impl<'b> Parent<'b> {
    fn new(board: &'b Board, each: bool) -> Self {
        Self { board, each, waits: false, chunks: [None; SLOTS], sequence: 0, ended: Vec::new(), ends: 0, heard: 0 }
    }

    fn publish(&mut self, call: u32) {
        while self.chunks[self.sequence as usize % SLOTS].is_some() {
            self.sequence += 1;
        }
        let (sequence, at) = (self.sequence, self.sequence as usize % SLOTS);
        let slot = &self.board.slots[at];
        slot.sequence.store(sequence, Relaxed);
        slot.call.store(call, Relaxed);
        let ready = if self.board.has_packets { SlotState::Packed } else { SlotState::Ready };
        slot.word.store(word_of(ready, sequence), Release);
        self.chunks[at] = Some((sequence, call));
        self.sequence += 1;
        self.board.published.store(self.sequence, Release);
        if self.board.has_packets {
            self.board.packet.store(sequence + 1, SeqCst);
        }
        if !self.waits {
            self.board.wake_workers();
        }
    }

    fn free(&mut self, at: usize) -> Option<u32> {
        let (_, call) = self.chunks[at].take()?;
        // The pool stores. Every worker sees that store behind a `Done` which the parent has not seen, for `Done`
        // replaces `Claimed`, and the outcome came after the claim. Loom does not know that, and lets the worker read
        // `Done` again.
        self.board.slots[at].word.swap(word_of(SlotState::Free, 0), Release);
        Some(call)
    }

    fn drain(&mut self) {
        for at in 0..SLOTS {
            let Some((sequence, call)) = self.chunks[at] else { continue };
            if self.board.told[sequence as usize].load(Acquire) != 0 {
                self.free(at);
                self.ended.push((call, true));
            }
        }
    }

    fn collect(&mut self) {
        let ends = self.board.ends.load(SeqCst);
        self.drain();
        if std::mem::replace(&mut self.ends, ends) == ends {
            return;
        }
        let mut again = Vec::new();
        for at in 0..SLOTS {
            let slot = &self.board.slots[at];
            let SlotState::Dead(_) = state(slot.word.load(Acquire)) else { continue };
            self.drain(); // what the worker has told may have come after the first look
            let has_begun = slot.at.load(Relaxed) != 0;
            let Some(call) = self.free(at) else { continue };
            match has_begun {
                true => self.ended.push((call, false)),
                false => again.push(call),
            }
        }
        again.into_iter().for_each(|call| self.publish(call));
        if self.board.has_packets && self.board.lost.swap(0, SeqCst) != 0 {
            self.resend();
        }
    }

    /// Sends the packet of an unclaimed chunk again.
    fn resend(&self) {
        for (at, chunk) in self.chunks.iter().enumerate() {
            let Some((sequence, _)) = chunk else { continue };
            if self.board.slots[at].word.load(SeqCst) == word_of(SlotState::Packed, *sequence) {
                self.board.packet.store(sequence + 1, SeqCst);
                self.board.wake_workers();
            }
        }
    }

    /// The first chunk for whose outcome the parent is woken.
    fn from(&self) -> u64 {
        let published = self.chunks.iter().flatten().map(|(sequence, _)| sequence + 1);
        if self.each { EACH } else { published.max().unwrap_or(EACH) }
    }

    fn has_news(&self) -> bool {
        let has_told = |chunk: &Option<(u64, u32)>| {
            chunk.is_some_and(|(sequence, _)| self.board.told[sequence as usize].load(SeqCst) != 0)
        };
        self.board.ends.load(SeqCst) != self.ends
            || self.board.is_claimed(self.from()) && self.chunks.iter().any(has_told)
    }

    /// Sleeps until `calls` calls have ended.
    fn wait_for(&mut self, calls: usize) {
        loop {
            self.collect();
            if self.ended.len() >= calls {
                return;
            }
            if self.waits && self.board.has_unclaimed() {
                self.board.wake_workers();
            }
            claims::listen(&self.board.listening, self.from());
            if !self.has_news() {
                let _ = wait(&self.board.news, self.heard, Limit::NEVER); // looks again after any end
            }
            self.heard = self.board.news.load(SeqCst);
        }
    }

    fn end(&self) {
        self.board.over.store(1, SeqCst);
        self.board.wake_all_workers();
    }
}

#[test]
fn a_chunk_is_run_by_one_of_two_workers() {
    explore(|| {
        let board = Arc::new(Board::default());
        let workers = [0, 1].map(|ticket| {
            let board = board.clone();
            thread::spawn(move || board.live(ticket, Life(None)))
        });
        let mut parent = Parent::new(&board, true);
        parent.publish(0);
        parent.wait_for(1);
        parent.end();
        for worker in workers {
            assert!(worker.join().unwrap().is_some(), "it lives to the end");
        }
        assert_eq!((&parent.ended[..], board.runs[0].load(SeqCst)), (&[(0, true)][..], 1));
    });
}

/// A worker that ends after its chunk tells the parent only if it finds its own chunk below the hint. So the hint never
/// stays below a claimed chunk, in whatever order the workers claim.
#[test]
fn last_claim_is_below_the_hint() {
    explore(|| {
        let board = Arc::new(Board::default());
        let mut parent = Parent::new(&board, true);
        (0..2).for_each(|call| parent.publish(call));
        let workers = [0, 1].map(|ticket| {
            let board = board.clone();
            thread::spawn(move || claims::claim(&board.published, &board.next, SLOTS, board.slot(), ticket, true))
        });
        assert!(workers.map(|worker| worker.join().unwrap()).iter().all(Option::is_some), "each has a chunk");
        assert!(board.is_claimed(2), "the hint is {}", board.next.load(SeqCst));
    });
}

/// One worker dies anywhere. The other, which sleeps or is about to, completes the calls.
fn one_of_two_dies(calls: u32, each: bool, waits: bool) {
    for steps in 0..STEPS {
        explore_to(1, move || {
            let board = Arc::new(Board::default());
            let [doomed, other] = [(0, Some(steps)), (1, None)].map(|(ticket, steps)| {
                let board = board.clone();
                thread::spawn(move || {
                    if board.live(ticket, Life(steps)).is_none() {
                        board.record_death(ticket);
                    }
                })
            });
            let mut parent = Parent { waits, ..Parent::new(&board, each) };
            (0..calls).for_each(|call| parent.publish(call));
            parent.wait_for(calls as usize);
            parent.end();
            doomed.join().unwrap();
            other.join().unwrap();
            let mut ended = parent.ended.clone();
            ended.sort_unstable();
            assert!(ended.iter().map(|(call, _)| *call).eq(0..calls), "each ends once: {ended:?}");
            let died = ended.iter().filter(|(_, value)| !value).count();
            assert!(died <= 1, "a death ends one call");
            for (call, value) in ended {
                let runs = board.runs[call as usize].load(SeqCst);
                assert!(runs <= 1 && (!value || runs == 1), "call {call} has begun {runs} times");
            }
        });
    }
}

#[test]
fn calls_of_a_dead_worker_end_once() {
    one_of_two_dies(1, true, false);
}

#[test]
fn call_that_woke_nobody_when_it_was_published_ends_once() {
    one_of_two_dies(1, true, true);
}

#[test]
fn parent_that_waits_for_all_calls_hears_of_the_last_whoever_dies() {
    one_of_two_dies(2, false, false);
}

/// While other threads wait for room, the parent listens for a chunk that a packet brings. No worker raises the hint
/// for that chunk before it finds no other chunk.
#[test]
fn parent_hears_of_a_call_that_a_packet_brought() {
    explore(|| {
        let board = Arc::new(Board { has_packets: true, ..Board::default() });
        let worker = {
            let board = board.clone();
            thread::spawn(move || board.live(0, Life(None)))
        };
        let mut parent = Parent::new(&board, false);
        parent.publish(0);
        parent.wait_for(1);
        parent.end();
        assert!(worker.join().unwrap().is_some(), "it lives to the end");
        assert_eq!((&parent.ended[..], board.runs[0].load(SeqCst)), (&[(0, true)][..], 1));
    });
}

#[test]
fn packet_that_is_lost_with_its_receiver_is_sent_again() {
    for steps in 0..STEPS + STEPS_OF_A_PACKET {
        explore_to(1, move || {
            let board = Arc::new(Board { has_packets: true, ..Board::default() });
            let workers = [(0, Some(steps)), (1, None)].map(|(ticket, steps)| {
                let board = board.clone();
                thread::spawn(move || {
                    if board.live(ticket, Life(steps)).is_none() {
                        board.record_death(ticket);
                    }
                })
            });
            let mut parent = Parent::new(&board, false);
            parent.publish(0);
            parent.wait_for(1);
            parent.end();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            let [(0, value)] = parent.ended[..] else { panic!("it ends once: {:?}", parent.ended) };
            let runs = board.runs[0].load(SeqCst);
            assert!(runs <= 1 && (!value || runs == 1), "it has begun {runs} times");
        });
    }
}

/// Two chunks wake two workers: the second chunk does not wait for the worker that was woken for the first.
#[test]
fn each_chunk_wakes_a_worker_of_its_own() {
    explore(|| {
        let board = Arc::new(Board::default());
        let workers = [0, 1].map(|ticket| {
            let board = board.clone();
            thread::spawn(move || {
                let mut life = Life(None);
                let place = board.next(ticket, &mut life).flatten().expect("a chunk");
                // The call of the first waits for that of the second, as long as it takes.
                let call = board.slots[place].call.load(Relaxed);
                board.runs[call as usize].fetch_add(1, Relaxed);
                board.over.fetch_add(1, SeqCst);
                while board.over.load(SeqCst) < 2 {
                    thread::yield_now();
                }
            })
        });
        while sleepers() < 2 {
            thread::yield_now();
        }
        let mut parent = Parent::new(&board, true);
        parent.publish(0);
        parent.publish(1);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!(board.runs.iter().all(|runs| runs.load(Relaxed) == 1));
    });
}

/// Both workers sleep when the chunk comes, and one is woken for it.
#[test]
fn worker_that_dies_when_it_is_woken_leaves_the_chunk_to_another() {
    for steps in STEPS_TO_SLEEP..STEPS {
        explore_to(1, move || {
            let board = Arc::new(Board::default());
            let workers = [(0, Some(steps)), (1, None)].map(|(ticket, steps)| {
                let board = board.clone();
                thread::spawn(move || {
                    if board.live(ticket, Life(steps)).is_none() {
                        board.record_death(ticket);
                    }
                })
            });
            while sleepers() < 2 {
                thread::yield_now();
            }
            let mut parent = Parent::new(&board, true);
            parent.publish(0);
            parent.wait_for(1);
            parent.end();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            assert_eq!(parent.ended.len(), 1);
        });
    }
}
