//! The board: the memory in which the parent publishes chunks of tasks, and workers claim them.
//!
//! The [state word](super::word) of a slot names the worker that has its chunk. Chunk `n` is in slot `n` modulo the
//! number of slots. Workers claim chunks in order, by one compare-exchange, starting at the hint `next`.
//!
//! | word | written by | meaning |
//! | --- | --- | --- |
//! | `published` | the parent | every chunk below this number is in its slot, or its number was skipped; a worker may claim a chunk before the parent writes this word |
//! | `next` | workers | no chunk below this number is `Ready`; the number only grows |
//! | `asleep` | each worker sets its own bit; its waker clears the bit, and the supervisor clears that of a dead worker | the workers that sleep or are about to sleep |
//! | `looking` | each worker writes its own bit; the supervisor clears the bit of a dead worker | the workers that are looking for a chunk |
//! | `listening` | the parent sets it; the worker that wakes the parent clears it, or the parent if it does not sleep | `n + 1`: the parent sleeps, and must be woken for an outcome once all chunks below `n` are claimed; 0: it does not sleep |
//! | `cpu` | the parent | the processor on which the parent last waited, a hint: see [`looks`](super::looks) |
//! | `ends` | the supervisor | a counter of the ends of workers that the parent must handle |
//! | `mode` | the parent, and the supervisor for `BROKEN` | see the constants |
//!
//! A sleeper announces itself, then looks once more, then sleeps on a word of its entry that changes with each wake. A
//! process with news stores the news, then looks for sleepers. Both sides are sequentially consistent, so one of them
//! sees the other. If a worker is killed, a wake may be lost with it: the supervisor wakes all workers at every death.
//!
//! `looking` is a hint. A parent that will wait for the chunk that it publishes wakes no worker while a worker looks
//! for each unclaimed chunk. Before the leader sleeps, it wakes a worker if a chunk that was published without a wake
//! is still unclaimed: the worker that looked may have been stopped or killed. A woken worker may have been stopped,
//! too. So another waiting thread always wakes a worker if a chunk is unclaimed. A leader that begins to sleep while a
//! chunk is unclaimed and a worker sleeps does so for a short time, and then wakes that worker.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Result;
use ossature_sys::futex::{self, Reach};
use ossature_sys::shareable;
use ossature_sys::shm::{Racy, RacySlice, Shm, Zeroed, array};

use super::claims;
use super::word::{SlotState, running, running_in, state};

/// The maximum number of workers of a pool.
pub(super) const WORKERS_MAX: usize = 1024;
/// The maximum length of a chunk in its slot; longer chunks are stored in the arena.
pub(super) const INLINE: usize = 208;
/// The maximum length of the stored reason for a broken pool.
pub(super) const TEXT: usize = 1024;
/// The offset of a chunk that is stored in its slot.
pub(super) const IN_SLOT: u64 = u64::MAX;

/// A flag of a slot: the answer is a value or the text of an error.
pub(super) const FLAG_RESULT: u32 = 1;
/// A flag of a slot: arguments and values are plain, and the values follow the arguments in the arena.
pub(super) const FLAG_PLAIN: u32 = 2;

/// The value of `listening` for a parent that must be woken at each outcome, however many chunks are unclaimed.
pub(super) const EACH: u64 = 0;

/// The pool accepts tasks.
pub(super) const RUNNING: u32 = 0;
/// Workers end when no chunk is left, and others start when there is a chunk again.
pub(super) const CLOSED: u32 = 1;
/// The supervisor ends all workers and itself.
pub(super) const TERMINATED: u32 = 2;
/// The supervisor cannot start workers; `text` contains the reason.
pub(super) const BROKEN: u32 = 3;
/// Like `TERMINATED`, but the workers have no chance to handle it.
pub(super) const KILLED: u32 = 4;
/// Follows `CLOSED`: every call has ended, and the supervisor ends with its workers. Only the parent knows that every
/// call has ended.
pub(super) const FINISHED: u32 = 5;
/// Like `TERMINATED`, with less time for the workers.
pub(super) const INTERRUPTED: u32 = 6;

shareable! {
    /// A word that changes all the time, alone in its cache line, so that readers of its neighbours do not wait for it.
    #[repr(align(64))]
    pub(super) struct Alone {
        pub(super) word: AtomicU64,
    }
}

shareable! {
    /// A bit for each worker, in cache lines of their own.
    #[repr(align(64))]
    struct Bits {
        words: [AtomicU64; WORKERS_MAX / 64],
    }
}

shareable! {
    /// The words that all processes of a pool share.
    pub(super) struct Board {
        next: Alone,
        pub(super) published: Alone,
        // The workers read these words for each chunk, and they change rarely.
        listening: AtomicU64,
        /// The number of packets that were sent: see [`packets`](super::packets), also for `lost` and `crowded`.
        pub(super) sent: AtomicU64,
        pub(super) emptied: AtomicU64,
        pub(super) mode: AtomicU32,
        /// The processor on which the parent ran when it last waited.
        pub(super) cpu: AtomicU32,
        pub(super) ends: AtomicU32,
        pub(super) lost: AtomicU32,
        pub(super) crowded: AtomicU32,
        asleep: Bits,
        looking: Bits,
        text_len: AtomicU32,
        text: [Racy<u8>; TEXT],
    }
}

shareable! {
    /// The place of a chunk, in cache lines of its own: its neighbours belong to other workers.
    #[repr(align(64))]
    pub(super) struct Slot {
        pub(super) word: AtomicU64,
        /// The number of the chunk, in full.
        pub(super) sequence: AtomicU64,
        /// The offset of the bytes in the arena, or `IN_SLOT`.
        pub(super) offset: AtomicU64,
        pub(super) length: AtomicU32,
        /// The number of calls.
        pub(super) count: AtomicU32,
        /// The flags of the answer: see [`FLAG_RESULT`] and [`FLAG_PLAIN`]. Above them, the number of the task's
        /// [name](super::names), or 0.
        pub(super) flags: AtomicU32,
        /// The first bytes share the cache line of the words above. A short chunk is in that line alone.
        pub(super) bytes: [Racy<u8>; INLINE],
        /// Set with `Dead`: the worker's exit and process number, and one more than the index of its running call, or
        /// 0.
        pub(super) exit: AtomicU32,
        pub(super) pid: AtomicU32,
        pub(super) at: AtomicU32,
    }
}

shareable! {
    /// The place of a worker and its successors. The worker writes the first cache line; everyone writes the second.
    #[repr(align(64))]
    pub(super) struct WorkerEntry {
        /// The call that was started last: see [`running`].
        begun: AtomicU64,
        /// The time at which the running call times out, in nanoseconds of the monotonic clock; 0 for never.
        pub(super) expires: AtomicU64,
        /// One more than the number of the cancelled chunk with which the worker must be killed; 0 for none.
        pub(super) doomed: AtomicU64,
        /// The position up to which the worker's stream was written.
        pub(super) written: AtomicU64,
        /// The number of chunks that the workers of this entry have taken, and of calls that have ended in them.
        pub(super) chunks: AtomicU64,
        pub(super) calls: AtomicU64,
        /// The nanoseconds during which the workers of this entry had chunks, and the time since which one has, on the
        /// monotonic clock; 0 for none.
        pub(super) busy: AtomicU64,
        pub(super) since: AtomicU64,
        /// The position up to which the worker's stream was read.
        pub(super) read: AtomicU64,
        /// The number of the current worker of this entry.
        pub(super) ticket: AtomicU32,
        pub(super) pid: AtomicU32,
        /// Whether the current worker has started to take chunks.
        pub(super) ready: AtomicU32,
        /// Whether the worker must be killed because its running call timed out. Separate from `doomed`, because a
        /// chunk may be cancelled while its call times out.
        pub(super) late: AtomicU32,
        /// Whether the worker has ended, or is about to, because it had nothing to do.
        pub(super) retired: AtomicU32,
        /// 1 while the worker receives a packet and claims its chunk.
        pub(super) fetching: AtomicU32,
        /// Whether the worker waits for room in its stream, and the word on which it sleeps.
        pub(super) starved: AtomicU32,
        pub(super) room: AtomicU32,
        /// The processor on which the worker last looked for a chunk; `NO_CPU` while it sleeps.
        pub(super) cpu: AtomicU32,
        /// A counter of the worker's wakes; the worker sleeps on it.
        wakes: AtomicU32,
    }
}

/// A number that no processor has.
pub(super) const NO_CPU: u32 = u32::MAX;

/// Makes an empty board.
pub(super) fn board() -> Result<Shm<Board>> {
    Shm::place(Board::init(
        Alone::init(AtomicU64::new(0)),
        Alone::init(AtomicU64::new(0)),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU32::new(RUNNING),
        AtomicU32::new(NO_CPU),
        AtomicU32::new(0),
        AtomicU32::new(0),
        AtomicU32::new(0),
        Bits::init(array(|_| AtomicU64::new(0))),
        Bits::init(array(|_| AtomicU64::new(0))),
        AtomicU32::new(0),
        array::<Racy<u8>, _, TEXT>(|_| Zeroed),
    ))
}

/// Makes empty slots.
pub(super) fn slots(count: usize) -> Result<Shm<[Slot]>> {
    let (long, word) = (|| AtomicU64::new(0), || AtomicU32::new(0));
    Shm::place_slice(count, |_| {
        let bytes = array::<Racy<u8>, _, INLINE>(|_| Zeroed);
        Slot::init(long(), long(), long(), word(), word(), word(), bytes, word(), word(), word())
    })
}

/// Makes empty entries.
pub(super) fn entries(count: usize) -> Result<Shm<[WorkerEntry]>> {
    let (long, word) = (|| AtomicU64::new(0), || AtomicU32::new(0));
    Shm::place_slice(count, |at| {
        let ticket = AtomicU32::new(at as u32); // of the first life
        let (a, b, c, d, e, f, g, h) = (word(), word(), word(), word(), word(), word(), word(), word());
        let (busy, since, read) = (long(), long(), long());
        WorkerEntry::init(
            long(),
            long(),
            long(),
            long(),
            long(),
            long(),
            busy,
            since,
            read,
            ticket,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            AtomicU32::new(NO_CPU),
            h,
        )
    })
}

impl Board {
    /// Claims the next ready chunk, and returns the place of its slot. `is_probable`: see [`claims::claim`].
    pub(super) fn claim(&self, slots: &[Slot], ticket: u32, is_probable: bool) -> Option<usize> {
        let slot = |place| slots.get(place).map(|slot: &Slot| &slot.word);
        claims::claim(&self.published.word, &self.next.word, slots.len(), slot, ticket, is_probable)
    }

    /// Whether there may be an unclaimed chunk, according to the hints.
    pub(super) fn has_unclaimed(&self) -> bool {
        self.next.word.load(SeqCst) < self.published.word.load(SeqCst) || self.has_packets()
    }

    /// Whether there may be a packet.
    fn has_packets(&self) -> bool {
        self.emptied.load(SeqCst) < self.sent.load(SeqCst)
    }

    /// Whether an unclaimed chunk is ready.
    pub(super) fn has_ready(&self, slots: &[Slot]) -> bool {
        self.count_ready(slots) > 0
    }

    /// The number of ready, unclaimed chunks.
    pub(super) fn count_ready(&self, slots: &[Slot]) -> usize {
        let has_packets = self.has_packets();
        let is_ready = |slot: &&Slot| match state(slot.word.load(Acquire)) {
            SlotState::Ready => true,
            SlotState::Packed => has_packets,
            _ => false,
        };
        slots.iter().filter(is_ready).count()
    }

    /// Sleeps until there may be work for the worker of the entry at `place`. After the sleep is announced, `look`
    /// checks for work once more.
    pub(super) fn sleep(&self, entry: &WorkerEntry, place: usize, until: Deadline, look: impl FnOnce() -> bool) {
        let (word, bit) = bit_of(place);
        let Some(asleep) = self.asleep.words.get(word) else { return };
        let seen = claims::announce(asleep, bit, &entry.wakes);
        if !look() {
            // The only error is that a sandbox forbids the call; the worker looks again.
            let _ = futex::wait(&entry.wakes, seen, Reach::Shared, until);
        }
        asleep.fetch_and(!bit, SeqCst);
    }

    /// Records whether the worker of the entry at `place` looks for a chunk.
    pub(super) fn set_looking(&self, place: usize, looks: bool) {
        let (word, bit) = bit_of(place);
        match self.looking.words.get(word) {
            Some(looking) if looks => looking.fetch_or(bit, Relaxed),
            Some(looking) => looking.fetch_and(!bit, Relaxed),
            None => 0,
        };
    }

    /// Whether at least as many workers look for chunks as there are unclaimed chunks below `published`, according to
    /// the hints.
    pub(super) fn has_enough_lookers(&self, published: u64) -> bool {
        let unclaimed = published.saturating_sub(self.next.word.load(Relaxed));
        let words = self.looking.words.iter().map(|bits| bits.load(Relaxed));
        // To count bits takes more time than to see that there is none.
        let lookers: u32 = words.filter(|bits| *bits != 0).map(u64::count_ones).sum();
        u64::from(lookers) >= unclaimed
    }

    /// Records that the dead worker of this entry neither sleeps nor looks.
    pub(super) fn forget_sleeper(&self, place: usize) {
        let (word, bit) = bit_of(place);
        if let Some(asleep) = self.asleep.words.get(word) {
            asleep.fetch_and(!bit, SeqCst);
        }
        self.set_looking(place, false);
    }

    /// Wakes up to `count` idle workers, after chunks for them were published.
    pub(super) fn wake_workers(&self, entries: &[WorkerEntry], count: u32) {
        if count > 0 {
            let asleep = self.asleep.words.iter().take(entries.len().div_ceil(64));
            claims::wake_sleepers(asleep, count, |word, bit| {
                entries.get(word * 64 + bit as usize).is_some_and(WorkerEntry::wake)
            });
        }
    }

    /// Whether any of the first `workers` workers sleeps and was not woken, after work for it was stored.
    pub(super) fn has_sleepers_for_work(&self, workers: usize) -> bool {
        fence(SeqCst); // against that of `claims::announce`
        self.asleep.words.iter().take(workers.div_ceil(64)).any(|bits| bits.load(SeqCst) != 0)
    }

    /// Whether any worker sleeps and was not woken.
    pub(super) fn has_sleepers(&self) -> bool {
        self.asleep.words.iter().any(|bits| bits.load(SeqCst) != 0)
    }

    /// The number of workers that sleep or are about to sleep, and were not woken.
    #[cfg(test)]
    pub(super) fn sleepers(&self) -> u32 {
        self.asleep.words.iter().map(|bits| bits.load(SeqCst).count_ones()).sum()
    }

    /// Records that the parent is about to sleep and must be woken for outcomes once every chunk below `from` is
    /// claimed. The parent looks for news afterwards.
    pub(super) fn listen(&self, from: u64) {
        claims::listen(&self.listening, from);
    }

    /// Ends what [`listen`](Self::listen) began. If this returns false, a worker may be about to wake the parent, or
    /// may have done so.
    pub(super) fn stop_listening(&self) -> bool {
        self.is_heard_in_any_case()
    }

    /// Whether every chunk below `from` is claimed, according to the hint.
    pub(super) fn is_claimed(&self, from: u64) -> bool {
        self.next.word.load(SeqCst) >= from
    }

    /// Whether to wake the parent for an outcome that was stored before. Only one caller receives true.
    pub(super) fn is_heard(&self) -> bool {
        claims::takes_listening(&self.listening, |from| self.is_claimed(from))
    }

    /// Whether a worker that has found no chunk must wake the parent, because the parent waits for chunks to be
    /// claimed. The worker that stored the outcomes may not have seen the last claim.
    pub(super) fn is_heard_at_rest(&self) -> bool {
        claims::takes_listening(&self.listening, |from| from != EACH && self.is_claimed(from))
    }

    /// Whether to wake the parent for news that it needs in any case.
    pub(super) fn is_heard_in_any_case(&self) -> bool {
        claims::takes_listening(&self.listening, |_| true)
    }

    /// Stores the reason why a worker cannot start. If several workers store a reason, one of them stays.
    pub(super) fn note(&self, reason: &str) {
        let mut end = reason.len().min(TEXT);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let bytes = reason.as_bytes().get(..end).unwrap_or_default();
        if self.text.copy_in(0, bytes).is_ok() {
            self.text_len.store(bytes.len() as u32, Release);
        }
    }

    /// Breaks the pool for good, with the reason. Only the supervisor calls this.
    pub(super) fn break_down(&self, reason: &str) {
        self.note(reason);
        let _ = self.mode.compare_exchange(RUNNING, BROKEN, Release, Relaxed);
        let _ = self.mode.compare_exchange(CLOSED, BROKEN, Release, Relaxed);
    }

    /// Returns the text that was stored last.
    pub(super) fn text(&self) -> String {
        let len = (self.text_len.load(Acquire) as usize).min(TEXT);
        let mut bytes = vec![0; len];
        let _ = self.text.copy_out(0, &mut bytes); // as long as the text at most
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Returns the word index and the bit of an entry.
fn bit_of(place: usize) -> (usize, u64) {
    (place / 64, 1 << (place % 64))
}

impl WorkerEntry {
    /// Wakes the worker if it sleeps or is about to; returns whether it slept.
    pub(super) fn wake(&self) -> bool {
        self.wakes.fetch_add(1, SeqCst);
        futex::wake(&self.wakes, 1, Reach::Shared).is_ok_and(|woken| woken > 0)
    }

    /// Records the start of a call.
    #[inline]
    pub(super) fn begin(&self, sequence: u64, index: u32) {
        self.begun.store(running(sequence, index), Release);
    }

    /// Returns the word that [`begin`](Self::begin) writes, and its value for the first call of a chunk. Each further
    /// call adds one.
    pub(super) fn beginning(&self, sequence: u64) -> (&AtomicU64, u64) {
        (&self.begun, running(sequence, 0))
    }

    /// Records that the worker ends because it has no work, unless `has_work` then finds some. Returns whether the
    /// worker ends.
    pub(super) fn retire(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.retired.store(1, SeqCst);
        fence(SeqCst); // against the parent, which publishes a chunk and then looks for the retired
        let retires = !has_work();
        if !retires {
            self.retired.store(0, SeqCst);
        }
        retires
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(SeqCst) != 0
    }

    /// Records the start of a chunk. For chunks that follow each other, only the first reads the clock.
    pub(super) fn begin_chunk(&self) {
        let chunks = self.chunks.load(Relaxed); // only the worker writes it
        self.chunks.store(chunks.wrapping_add(1), Relaxed);
        if self.since.load(Relaxed) == 0 {
            self.since.store(now(), Relaxed);
        }
    }

    /// Records that the worker has found no other chunk, or has ended.
    pub(super) fn rest(&self) {
        let since = self.since.swap(0, Relaxed);
        if since != 0 {
            self.busy.fetch_add(now().saturating_sub(since), Relaxed);
        }
    }

    /// The nanoseconds during which the workers of this entry had chunks.
    pub(super) fn busy_nanos(&self) -> u64 {
        let since = self.since.load(Relaxed);
        let running = if since == 0 { 0 } else { now().saturating_sub(since) };
        self.busy.load(Relaxed).saturating_add(running)
    }

    /// Records that the worker has ended.
    pub(super) fn vacate(&self) {
        self.expires.store(0, SeqCst); // no call runs there, until another worker has the entry
        self.rest();
        self.cpu.store(NO_CPU, Relaxed);
        self.pid.store(0, SeqCst);
    }

    /// Records that the call with this expiry has timed out; false, without a record, when that call has ended.
    pub(super) fn mark_late(&self, expires: u64) -> bool {
        self.late.store(1, SeqCst);
        fence(SeqCst); // against the worker, which ends the call and then looks whether it is late
        let runs = self.expires.load(SeqCst) == expires;
        if !runs {
            self.late.store(0, SeqCst);
        }
        runs
    }

    /// The last call that was started in the chunk with this number.
    pub(super) fn begun_in(&self, sequence: u64) -> Option<u32> {
        running_in(self.begun.load(Acquire), sequence)
    }
}

/// The time of the monotonic clock in nanoseconds.
fn now() -> u64 {
    Deadline::after(Duration::from_nanos(1)).as_nanos() // no time at all would not read the clock
}

impl Slot {
    /// Marks a dead worker's chunk as `Dead`, with the facts that the parent needs. Returns whether that worker had the
    /// chunk.
    pub(super) fn record_death(&self, entry: &WorkerEntry, ticket: u32, exit: u32) -> bool {
        claims::record_death(&self.word, ticket, || {
            let sequence = self.sequence.load(Relaxed);
            let at = entry.begun_in(sequence).map_or(0, |index| index + 1);
            self.at.store(at, Relaxed);
            self.exit.store(exit, Relaxed);
            self.pid.store(entry.pid.load(Relaxed), Relaxed);
            sequence
        })
    }
}

#[cfg(test)]
mod tests {
    use ossature_sys::process::ExitStatus;

    use super::super::exits::{exit_of_number, exit_to_number};
    use super::super::word::word;
    use super::*;

    fn publish(board: &Board, slots: &[Slot], sequence: u64) {
        let slot = &slots[sequence as usize % slots.len()];
        slot.sequence.store(sequence, Relaxed);
        slot.word.store(word(SlotState::Ready, sequence), Release);
        board.published.word.store(sequence + 1, SeqCst);
    }

    #[test]
    fn chunks_are_claimed_once_and_in_their_order() {
        let (board, slots) = (board().unwrap(), slots(4).unwrap());
        for sequence in [0, 1, 3] {
            publish(&board, &slots, sequence); // 2 is skipped
        }
        let claimed: Vec<_> = (0..5).map(|ticket| board.claim(&slots, ticket, ticket % 2 == 0)).collect();
        assert_eq!(claimed, [Some(0), Some(1), Some(3), None, None]);
        assert_eq!(state(slots[3].word.load(SeqCst)), SlotState::Claimed(2));
        slots[0].word.store(0, SeqCst);
        publish(&board, &slots, 4);
        assert_eq!(board.claim(&slots, 9, true), Some(0), "the slot of an earlier lap");
    }

    #[test]
    fn the_parent_hears_of_outcomes_once_the_chunks_before_are_claimed() {
        let (board, slots) = (board().unwrap(), slots(4).unwrap());
        (0..3).for_each(|sequence| publish(&board, &slots, sequence));
        board.listen(2);
        for heard in [false, true, false] {
            assert!(board.claim(&slots, 0, false).is_some());
            assert_eq!(board.is_heard(), heard, "once, when two are claimed");
        }
        board.listen(EACH);
        assert!(!board.is_heard_at_rest() && board.is_heard() && !board.is_heard());
        board.listen(3);
        assert!(board.is_heard_at_rest() && !board.is_heard_at_rest());
        board.listen(9);
        assert!(!board.is_heard() && board.is_heard_in_any_case() && !board.is_heard_in_any_case());
    }

    #[test]
    fn a_call_that_ends_in_time_takes_no_cancelling_with_it() {
        let entries = entries(1).unwrap();
        entries[0].doomed.store(8, SeqCst); // a chunk is cancelled
        entries[0].expires.store(100, SeqCst);
        assert!(!entries[0].mark_late(99), "that call has ended");
        assert_eq!((entries[0].doomed.load(SeqCst), entries[0].late.load(SeqCst)), (8, 0));
        assert!(entries[0].mark_late(100));
        assert_eq!((entries[0].doomed.load(SeqCst), entries[0].late.load(SeqCst)), (8, 1));
    }

    #[test]
    fn a_chunk_is_buried_with_its_own_worker_and_call() {
        let (board, slots, entries) = (board().unwrap(), slots(4).unwrap(), entries(1).unwrap());
        publish(&board, &slots, 0);
        assert_eq!(board.claim(&slots, 5, false), Some(0));
        let killed = ExitStatus::Signal { signal: 9, core_dumped: false };
        assert!(!slots[0].record_death(&entries[0], 4, exit_to_number(killed)), "another life has it");
        entries[0].begin(0, 7);
        assert!(slots[0].record_death(&entries[0], 5, exit_to_number(killed)));
        assert_eq!((state(slots[0].word.load(SeqCst)), slots[0].at.load(SeqCst)), (SlotState::Dead(5), 8));
        assert_eq!(exit_of_number(slots[0].exit.load(SeqCst)), killed);
        publish(&board, &slots, 1);
        assert_eq!(board.claim(&slots, 6, true), Some(1));
        assert!(slots[1].record_death(&entries[0], 6, exit_to_number(ExitStatus::Code(3))));
        assert_eq!(slots[1].at.load(SeqCst), 0, "what was noted was another chunk's");
        assert_eq!(exit_of_number(slots[1].exit.load(SeqCst)), ExitStatus::Code(3));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let board = board().unwrap();
        let reason = "ä".repeat(TEXT) + "b";
        board.break_down(&reason);
        assert_eq!(board.text(), "ä".repeat(TEXT / 2));
        assert_eq!(board.mode.load(SeqCst), BROKEN);
    }
}
