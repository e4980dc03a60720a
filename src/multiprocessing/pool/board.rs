//! The board: the memory in which the parent publishes chunks of tasks, and workers claim them.
//!
//! The [state word](super::word) of a slot says everything about who has its chunk. Chunk `n` lies in slot `n` modulo
//! the number of slots. Chunks are claimed in their order, by one compare-exchange, from the hint `next` on.
//!
//! | word | written by | says |
//! | --- | --- | --- |
//! | `published` | the parent | every chunk below is in its slot, or its number was skipped |
//! | `next` | workers | no chunk below is `Ready` |
//! | `asleep` | each worker sets its own bit; whoever wakes it takes the bit, and the supervisor that of a dead worker | who sleeps, or is about to |
//! | `looking` | each worker its own bit; the supervisor the bit of a dead worker | who looks for a chunk just now |
//! | `listening` | the parent sets it, workers take it | the parent sleeps, and wants to hear of outcomes once all chunks below this, less one, are claimed; 0: it does not sleep |
//! | `ends` | the supervisor | changes with each end of a worker that the parent must look at |
//! | `mode` | the parent, and the supervisor for `BROKEN` | see the constants |
//!
//! A sleeper announces itself, then looks once more, then sleeps, on a word of its entry that changes with each wake.
//! Whoever has news stores it, then looks for sleepers. Both sides are sequentially consistent, so one of them sees the
//! other. A wake that is lost with a killed worker is repaired by the supervisor, which wakes everybody at every death.
//!
//! `looking` is a hint. A parent that will wait for the chunk that it publishes wakes nobody while a worker looks for
//! each unclaimed chunk. It wakes a worker before it sleeps if a chunk is unclaimed then, for who has looked may have
//! been stopped or killed. Whoever was woken may have been stopped, too. So while a chunk is unclaimed and a worker
//! sleeps, the parent sleeps for a short time, and then wakes that worker.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Result;
use ossature_sys::futex::{self, Reach};
use ossature_sys::process::ExitStatus;
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
/// Workers cannot be started: the reason stands in `text`.
pub(super) const BROKEN: u32 = 3;
/// As `TERMINATED`, without a chance for the workers to handle it.
pub(super) const KILLED: u32 = 4;
/// After `CLOSED`: every call has ended, and the supervisor ends with its workers. Only the parent knows that.
pub(super) const FINISHED: u32 = 5;
/// As `TERMINATED`, with less time for the workers.
pub(super) const INTERRUPTED: u32 = 6;

shareable! {
    /// A word that workers change all the time, alone in its cache line: whoever reads its neighbours does not wait for
    /// it.
    #[repr(align(64))]
    struct Alone {
        word: AtomicU64,
    }
}

shareable! {
    /// What all share.
    pub(super) struct Board {
        next: Alone,
        pub(super) published: AtomicU64,
        listening: AtomicU64,
        /// See [`packets`](super::packets), as for `lost` and `crowded`.
        pub(super) sent: AtomicU64,
        pub(super) emptied: AtomicU64,
        asleep: [AtomicU64; WORKERS_MAX / 64],
        looking: [AtomicU64; WORKERS_MAX / 64],
        pub(super) mode: AtomicU32,
        pub(super) ends: AtomicU32,
        pub(super) lost: AtomicU32,
        pub(super) crowded: AtomicU32,
        text_len: AtomicU32,
        text: [Racy<u8>; TEXT],
    }
}

shareable! {
    /// The place of a chunk, in cache lines of its own: its neighbours are other workers'.
    #[repr(align(64))]
    pub(super) struct Slot {
        pub(super) word: AtomicU64,
        /// The number of the chunk, in full.
        pub(super) sequence: AtomicU64,
        /// Where the bytes are in the arena, or `IN_SLOT`.
        pub(super) offset: AtomicU64,
        pub(super) length: AtomicU32,
        /// How many calls there are.
        pub(super) count: AtomicU32,
        /// The form of the answer.
        pub(super) flags: AtomicU32,
        /// Told with `Dead`: how the worker ended, its number, and the call that was running and one, or 0.
        pub(super) exit: AtomicU32,
        pub(super) pid: AtomicU32,
        pub(super) at: AtomicU32,
        pub(super) bytes: [Racy<u8>; INLINE],
    }
}

shareable! {
    /// The place of a worker; its lives follow one another. The first cache line is the worker's, the second one that
    /// of all.
    #[repr(align(64))]
    pub(super) struct WorkerEntry {
        /// The call that has begun: see [`running`].
        begun: AtomicU64,
        /// When the call that is running has had its time, in nanoseconds of the monotonic clock; 0 for never.
        pub(super) expires: AtomicU64,
        /// The number, and one, of the cancelled chunk with which the worker is to be killed; 0 for none.
        pub(super) doomed: AtomicU64,
        /// How far its stream was written.
        pub(super) written: AtomicU64,
        /// How many chunks its workers have taken, and how many calls have ended in them.
        pub(super) chunks: AtomicU64,
        pub(super) calls: AtomicU64,
        /// For how many nanoseconds its workers have had chunks, and since when one has, on the monotonic clock; 0 for
        /// none.
        pub(super) busy: AtomicU64,
        pub(super) since: AtomicU64,
        /// How far its stream was read.
        pub(super) read: AtomicU64,
        /// The life that is at work there.
        pub(super) ticket: AtomicU32,
        pub(super) pid: AtomicU32,
        /// Whether that life has begun to take chunks.
        pub(super) ready: AtomicU32,
        /// Whether the worker is to be killed with its running call, which has had its time. Apart from `doomed`, for a
        /// chunk may be cancelled while its call runs out of time.
        pub(super) late: AtomicU32,
        /// Whether the worker has ended, or is about to, because there was nothing to do.
        pub(super) retired: AtomicU32,
        /// 1 while the worker receives a packet and claims its chunk.
        pub(super) fetching: AtomicU32,
        /// Whether the worker waits for room in its stream, and the word that it sleeps on.
        pub(super) starved: AtomicU32,
        pub(super) room: AtomicU32,
        /// Changes with each wake of the worker, which sleeps on it.
        wakes: AtomicU32,
    }
}

/// An empty board.
pub(super) fn board() -> Result<Shm<Board>> {
    Shm::place(Board::init(
        Alone::init(AtomicU64::new(0)),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        array(|_| AtomicU64::new(0)),
        array(|_| AtomicU64::new(0)),
        AtomicU32::new(RUNNING),
        AtomicU32::new(0),
        AtomicU32::new(0),
        AtomicU32::new(0),
        AtomicU32::new(0),
        array::<Racy<u8>, _, TEXT>(|_| Zeroed),
    ))
}

/// Empty slots.
pub(super) fn slots(count: usize) -> Result<Shm<[Slot]>> {
    let (long, word) = (|| AtomicU64::new(0), || AtomicU32::new(0));
    Shm::place_slice(count, |_| {
        let bytes = array::<Racy<u8>, _, INLINE>(|_| Zeroed);
        Slot::init(long(), long(), long(), word(), word(), word(), word(), word(), word(), bytes)
    })
}

/// Empty entries.
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
            h,
        )
    })
}

impl Board {
    /// Claims the next chunk that is ready for anybody; the place of its slot.
    pub(super) fn claim(&self, slots: &[Slot], ticket: u32) -> Option<usize> {
        let slot = |place| slots.get(place).map(|slot: &Slot| &slot.word);
        claims::claim(&self.published, &self.next.word, slots.len(), slot, ticket)
    }

    /// Whether there may be a chunk that nobody has claimed, as far as the hints say.
    pub(super) fn has_unclaimed(&self) -> bool {
        self.next.word.load(SeqCst) < self.published.load(SeqCst) || self.has_packets()
    }

    /// Whether there may be a packet.
    fn has_packets(&self) -> bool {
        self.emptied.load(SeqCst) < self.sent.load(SeqCst)
    }

    /// Whether a chunk is ready that nobody has claimed.
    pub(super) fn has_ready(&self, slots: &[Slot]) -> bool {
        self.count_ready(slots) > 0
    }

    /// How many chunks are ready that nobody has claimed.
    pub(super) fn count_ready(&self, slots: &[Slot]) -> usize {
        let has_packets = self.has_packets();
        let is_ready = |slot: &&Slot| match state(slot.word.load(Acquire)) {
            SlotState::Ready => true,
            SlotState::Packed => has_packets,
            _ => false,
        };
        slots.iter().filter(is_ready).count()
    }

    /// Sleeps until there may be work for the worker of the entry at `place`. The caller looks for work in `look` once
    /// the sleep is announced.
    pub(super) fn sleep(&self, entry: &WorkerEntry, place: usize, until: Deadline, look: impl FnOnce() -> bool) {
        let (word, bit) = bit_of(place);
        let Some(asleep) = self.asleep.get(word) else { return };
        let seen = claims::announce(asleep, bit, &entry.wakes);
        if !look() {
            // The only error is a sandbox that forbids the call; whoever sleeps looks again.
            let _ = futex::wait(&entry.wakes, seen, Reach::Shared, until);
        }
        asleep.fetch_and(!bit, SeqCst);
    }

    /// Notes whether the worker of the entry at `place` looks for a chunk.
    pub(super) fn set_looking(&self, place: usize, looks: bool) {
        let (word, bit) = bit_of(place);
        match self.looking.get(word) {
            Some(looking) if looks => looking.fetch_or(bit, Relaxed),
            Some(looking) => looking.fetch_and(!bit, Relaxed),
            None => 0,
        };
    }

    /// Whether as many workers look for chunks as there are chunks below `published` that nobody has claimed, as far as
    /// the hints say.
    pub(super) fn has_enough_lookers(&self, published: u64) -> bool {
        let unclaimed = published.saturating_sub(self.next.word.load(Relaxed));
        let lookers: u32 = self.looking.iter().map(|bits| bits.load(Relaxed).count_ones()).sum();
        u64::from(lookers) >= unclaimed
    }

    /// Notes that the worker of this entry, which is dead, neither sleeps nor looks.
    pub(super) fn forget_sleeper(&self, place: usize) {
        let (word, bit) = bit_of(place);
        if let Some(asleep) = self.asleep.get(word) {
            asleep.fetch_and(!bit, SeqCst);
        }
        self.set_looking(place, false);
    }

    /// Wakes as many idle workers, after chunks for them were published.
    pub(super) fn wake_workers(&self, entries: &[WorkerEntry], count: u32) {
        if count > 0 {
            claims::wake_sleepers(&self.asleep, count, |word, bit| {
                entries.get(word * 64 + bit as usize).is_some_and(WorkerEntry::wake)
            });
        }
    }

    /// Whether a worker sleeps that nobody has woken.
    pub(super) fn has_sleepers(&self) -> bool {
        self.asleep.iter().any(|bits| bits.load(SeqCst) != 0)
    }

    /// How many workers sleep or are about to sleep, and were not woken.
    #[cfg(test)]
    pub(super) fn sleepers(&self) -> u32 {
        self.asleep.iter().map(|bits| bits.load(SeqCst).count_ones()).sum()
    }

    /// Notes that the parent is about to sleep, and wants to hear of outcomes once every chunk below `from` is claimed.
    /// The parent looks for news afterwards.
    pub(super) fn listen(&self, from: u64) {
        claims::listen(&self.listening, from);
    }

    /// Whether every chunk below `from` is claimed, as far as the hint says.
    pub(super) fn is_claimed(&self, from: u64) -> bool {
        self.next.word.load(SeqCst) >= from
    }

    /// Whether to wake the parent for an outcome that was stored before. Only one outcome wakes it.
    pub(super) fn is_heard(&self) -> bool {
        claims::takes_listening(&self.listening, |from| self.is_claimed(from))
    }

    /// The same for a worker that has found no chunk, if the parent waits for chunks to be claimed. Whoever told the
    /// outcomes may not have seen the last claim.
    pub(super) fn is_heard_at_rest(&self) -> bool {
        claims::takes_listening(&self.listening, |from| from != EACH && self.is_claimed(from))
    }

    /// The same for what the parent is to hear of in any case.
    pub(super) fn is_heard_in_any_case(&self) -> bool {
        claims::takes_listening(&self.listening, |_| true)
    }

    /// Notes the reason why a worker cannot be ready. Where several workers do, one of them is kept.
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

    /// Ends the pool for good, with the reason. Only the supervisor calls this.
    pub(super) fn break_down(&self, reason: &str) {
        self.note(reason);
        let _ = self.mode.compare_exchange(RUNNING, BROKEN, Release, Relaxed);
        let _ = self.mode.compare_exchange(CLOSED, BROKEN, Release, Relaxed);
    }

    /// The text that was stored last.
    pub(super) fn text(&self) -> String {
        let len = (self.text_len.load(Acquire) as usize).min(TEXT);
        let mut bytes = vec![0; len];
        let _ = self.text.copy_out(0, &mut bytes); // as long as the text at most
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The word and the bit of an entry.
fn bit_of(place: usize) -> (usize, u64) {
    (place / 64, 1 << (place % 64))
}

impl WorkerEntry {
    /// Wakes the worker, if it sleeps or is about to; whether it slept.
    pub(super) fn wake(&self) -> bool {
        self.wakes.fetch_add(1, SeqCst);
        futex::wake(&self.wakes, 1, Reach::Shared).is_ok_and(|woken| woken > 0)
    }

    /// Notes the call that begins.
    #[inline]
    pub(super) fn begin(&self, sequence: u64, index: u32) {
        self.begun.store(running(sequence, index), Release);
    }

    /// The word that [`begin`](Self::begin) writes, and what it is for the first call of a chunk. Each further call
    /// adds one.
    pub(super) fn beginning(&self, sequence: u64) -> (&AtomicU64, u64) {
        (&self.begun, running(sequence, 0))
    }

    /// Notes that the worker ends for want of work, unless `has_work` says, once that is noted, that there is some.
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

    /// Notes that a chunk begins. A clock is read for the first of those that follow each other.
    pub(super) fn begin_chunk(&self) {
        let chunks = self.chunks.load(Relaxed); // only the worker writes it
        self.chunks.store(chunks.wrapping_add(1), Relaxed);
        if self.since.load(Relaxed) == 0 {
            self.since.store(now(), Relaxed);
        }
    }

    /// Notes that the worker has found no other chunk, or has ended.
    pub(super) fn rest(&self) {
        let since = self.since.swap(0, Relaxed);
        if since != 0 {
            self.busy.fetch_add(now().saturating_sub(since), Relaxed);
        }
    }

    /// For how many nanoseconds the workers of this entry have had chunks.
    pub(super) fn busy_nanos(&self) -> u64 {
        let since = self.since.load(Relaxed);
        let running = if since == 0 { 0 } else { now().saturating_sub(since) };
        self.busy.load(Relaxed).saturating_add(running)
    }

    /// Notes that the worker has ended.
    pub(super) fn vacate(&self) {
        self.expires.store(0, SeqCst); // no call runs there, until another worker has the entry
        self.rest();
        self.pid.store(0, SeqCst);
    }

    /// Notes that the call that expires then has had its time; false when that call has ended, and nothing is noted.
    pub(super) fn mark_late(&self, expires: u64) -> bool {
        self.late.store(1, SeqCst);
        fence(SeqCst); // against the worker, which ends the call and then looks whether it is late
        let runs = self.expires.load(SeqCst) == expires;
        if !runs {
            self.late.store(0, SeqCst);
        }
        runs
    }

    /// The call of the chunk of this number that has begun last.
    pub(super) fn begun_in(&self, sequence: u64) -> Option<u32> {
        running_in(self.begun.load(Acquire), sequence)
    }
}

/// The nanoseconds of the monotonic clock.
fn now() -> u64 {
    Deadline::after(Duration::from_nanos(1)).as_nanos() // no time at all would not read the clock
}

impl Slot {
    /// Makes a dead worker's chunk `Dead`, with what the parent must know. Says whether that worker had the chunk.
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

/// In the number of an exit: the worker was killed because its call took too long.
pub(super) const TIMED_OUT: u32 = 1 << 24;

/// An exit status in one number.
pub(super) fn exit_to_number(exit: ExitStatus) -> u32 {
    match exit {
        ExitStatus::Code(code) => 1 << 16 | u32::from(code),
        ExitStatus::Signal { signal, core_dumped } => 2 << 16 | u32::from(core_dumped) << 15 | signal as u32 & 0x7fff,
        ExitStatus::Unknown => 0,
    }
}

/// The exit status of a number.
pub(super) fn exit_of_number(number: u32) -> ExitStatus {
    match number >> 16 & 0xff {
        1 => ExitStatus::Code(number as u8),
        2 => ExitStatus::Signal { signal: (number & 0x7fff) as i32, core_dumped: number & 1 << 15 != 0 },
        _ => ExitStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::word::word;
    use super::*;

    fn publish(board: &Board, slots: &[Slot], sequence: u64) {
        let slot = &slots[sequence as usize % slots.len()];
        slot.sequence.store(sequence, Relaxed);
        slot.word.store(word(SlotState::Ready, sequence), Release);
        board.published.store(sequence + 1, SeqCst);
    }

    #[test]
    fn chunks_are_claimed_once_and_in_their_order() {
        let (board, slots) = (board().unwrap(), slots(4).unwrap());
        for sequence in [0, 1, 3] {
            publish(&board, &slots, sequence); // 2 is skipped
        }
        let claimed: Vec<_> = (0..5).map(|ticket| board.claim(&slots, ticket)).collect();
        assert_eq!(claimed, [Some(0), Some(1), Some(3), None, None]);
        assert_eq!(state(slots[3].word.load(SeqCst)), SlotState::Claimed(2));
        slots[0].word.store(0, SeqCst);
        publish(&board, &slots, 4);
        assert_eq!(board.claim(&slots, 9), Some(0), "the slot of an earlier lap");
    }

    #[test]
    fn the_parent_hears_of_outcomes_once_the_chunks_before_are_claimed() {
        let (board, slots) = (board().unwrap(), slots(4).unwrap());
        (0..3).for_each(|sequence| publish(&board, &slots, sequence));
        board.listen(2);
        for heard in [false, true, false] {
            assert!(board.claim(&slots, 0).is_some());
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
        assert_eq!(board.claim(&slots, 5), Some(0));
        let killed = ExitStatus::Signal { signal: 9, core_dumped: false };
        assert!(!slots[0].record_death(&entries[0], 4, exit_to_number(killed)), "another life has it");
        entries[0].begin(0, 7);
        assert!(slots[0].record_death(&entries[0], 5, exit_to_number(killed)));
        assert_eq!((state(slots[0].word.load(SeqCst)), slots[0].at.load(SeqCst)), (SlotState::Dead(5), 8));
        assert_eq!(exit_of_number(slots[0].exit.load(SeqCst)), killed);
        publish(&board, &slots, 1);
        assert_eq!(board.claim(&slots, 6), Some(1));
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
