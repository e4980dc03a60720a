//! The records of a ring, as a protocol over words: which participant may write or read where, and what dead ones left.
//!
//! A *position* counts granules from the beginning of time and never wraps: its remainder is the granule, its quotient
//! the lap. The granule of a record's first position has the record's [word](super::word); the words of its other
//! granules mean nothing. So a walk goes from record to record by their lengths. It ends at the *frontier*: the first
//! granule whose word is of an earlier lap.
//!
//! | position | meaning | moved by |
//! | --- | --- | --- |
//! | `head` | all records before it are done; exact, only grows | a participant that needs room, or finds nothing to read |
//! | `tail` | the frontier is here or later; a hint | producers |
//! | `next` | consumers went past all records before it, and knew the `late` stored there; a hint | consumers |
//!
//! **Room.** A record may end at most one lap after `head`, so no granule is written again before it was given back. A
//! stale `head` is safe: it shows less room.
//!
//! **Reserving** is one compare-exchange of the frontier's word, which stores the owner and the length of the record at
//! once. So no death leaves a gap of unknown size, or a record without an owner.
//!
//! **Wrapping.** A record does not cross the end of the memory. The rest before the end becomes padding, a record that
//! is done from its beginning. The memory in use ends at `mark`. A producer there begins the next lap if the ring is
//! empty, and requests more memory otherwise. A producer that finds the ring empty begins the next lap after the first
//! [`KEEP`] granules. So a ring that is often empty stays in its first granules.
//!
//! **Giving memory back.** In an empty ring, a participant reserves the rest of the lap after the first [`KEEP`]
//! granules. Then it lowers `mark`, punches the hole, lowers `mark` again, and gives the record up. Meanwhile `head` is
//! at that record, so the others have the room of the first granules, which all have memory. A producer reads `head`
//! before it reads `mark`: if it sees more room than that, it sees the lowered `mark` too. A producer that read `head`
//! long before may raise `mark` during the punch, so `mark` is lowered twice. A participant that dies meanwhile leaves
//! a record of the whole rest without a message. The participant that recovers that record lowers `mark`. The words in
//! the hole are unused again. So if a producer was stopped between its look at such a word and its compare-exchange,
//! that step succeeds, although the ring has moved on. The producer then reads `head` once more, which is past the
//! word. The word is then in the middle of a later record, where words mean nothing.
//!
//! **Order.** Messages of one producer are taken in the order in which they are published. A consumer that goes past a
//! record in writing marks the record as skipped. The producer that publishes a skipped record increments `late`,
//! before it can publish another. A consumer that finds a message, and another `late` than at the start of its walk,
//! starts at `head` again.
//!
//! **Short messages** are copied while any consumer may take them. One compare-exchange then takes the message and
//! gives it back. It fails if the record has changed since before the copy, and then the copy is discarded.
//!
//! **Shortest messages**, of up to 8 bytes and without a tag of the user, are stored beside the word, in place of the
//! info. So they move one cache line instead of two. The word shows this in all of its states.
//!
//! **Most calls** end with their first look: the record at the frontier has room, or the reader's next record is a
//! message. [`reserve_next`](Track::reserve_next) and [`next`](Track::next) do only that look. They return `None` if
//! more is to be done, and a walk follows. The walk would make the same changes.
//!
//! **Nothing is missed**: a consumer reports that the ring is empty only after a walk from `head` to the frontier. So
//! all hints may be wrong, and a participant may die before it has updated any.
//!
//! Orderings: taking a word is `Acquire`. Passing it on is `SeqCst`, because the next step looks for sleepers. `head`
//! passes the granules from the last reader to the next writer: `AcqRel` and `Acquire`.

use super::owners::Owners;
use super::word::{BACKED, KEEP, RecordState, RecordWord};
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::atomic::{AtomicU64, expect_to_write, step};
use crate::sync::scope::Refused;

/// A value on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(crate) struct Line<T>(pub(crate) T);

/// The positions that all participants share. Zero bytes are those of a new ring, except for `mark`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Positions {
    pub(crate) head: Line<AtomicU64>,
    pub(crate) tail: Line<AtomicU64>,
    pub(crate) read: Line<Read>,
    /// The number of granules with memory; the upper half counts how often that number decreased.
    pub(crate) mark: Line<AtomicU64>,
}

/// The state that consumers share.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The lower half of the position; the upper half is the lower half of `late` as the consumer knew it.
    pub(super) next: AtomicU64,
    pub(super) late: AtomicU64,
}

/// The words of a granule beside its bytes.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) word: AtomicU64,
    /// The length of the message in bytes, and below it the user's tag; or a message of up to 8 bytes.
    info: AtomicU64,
}

/// The records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track<'r> {
    pub(crate) positions: &'r Positions,
    /// The cells: a power of two of them, at least one.
    pub(crate) cells: &'r [Cell],
}

/// A record that a participant has reserved or taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) at: u64,
    pub(crate) word: RecordWord,
}

/// The state that a consumer keeps between two takes.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(super) at: u64,
    pub(super) late: u64,
    pub(super) taken: u32,
    /// The value of `taken` when the reader last had to wait.
    pub(super) waited: u32,
    /// The first record that the last walk went past and left [ready](super::take::Taking::Past).
    pub(super) past: Option<u64>,
    /// Whether the reader has just polled for the next message for as long as that pays.
    pub(super) looked: bool,
    /// The participants that the last walk saw with a message that comes back if the participant dies.
    pub(super) beside: Owners,
    /// The word with which the last walk ended that found nothing.
    pub(super) end: Claim,
    /// Whether the reader sleeps if it finds nothing. It then [passes](super::word) the records in writing.
    pub(super) rests: bool,
}

impl Reader {
    /// Whether the last walk went past a record that is ready.
    pub(super) fn went_past(&self) -> bool {
        self.past.is_some()
    }

    /// Whether messages come in a stream, and not one by one as answers do. In a stream, more than one message came
    /// since the reader last had to wait. A reader as fast as the sender has to wait for each message. So once in
    /// [`TRIED_EVERY`] takes the reader assumes a stream, and the wait then shows whether it is one. Called when the
    /// reader has to wait.
    pub(super) fn is_in_stream(&mut self) -> bool {
        let waited = core::mem::replace(&mut self.waited, self.taken);
        // From time to time one take counts twice: see `hear_now_and_then`.
        self.taken.wrapping_sub(waited) > 2 || self.taken % TRIED_EVERY == TRIED_EVERY - 1
    }
}

/// Once in this many takes a reader tests whether messages come in a stream, but never before its first take.
const TRIED_EVERY: u32 = 256;

/// What stops `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// All records are done.
    Empty,
    /// The next record, as it was seen, is a message that no participant has taken.
    Unread(Claim),
    /// The next record, as it was seen, belongs to a living participant.
    By(Claim),
}

/// What a walk has recovered from dead participants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Whether a message can be taken again.
    pub(crate) messages: bool,
    /// Whether a record is done, so that its room is free.
    pub(crate) room: bool,
}

/// How a word relates to a position.
pub(super) enum Relation {
    /// The word belongs to the record at the position.
    Same,
    /// The record at the position has not been reserved yet.
    Earlier,
    /// The ring is more than a lap ahead.
    Later,
}

impl<'r> Track<'r> {
    pub(crate) fn lap_len(self) -> u64 {
        self.cells.len() as u64
    }

    pub(super) fn cell(self, at: u64) -> &'r Cell {
        let index = self.index(at) as usize;
        // SAFETY: the number of cells is a power of two, and the index is a remainder of it.
        unsafe { self.cells.get_unchecked(index) }
    }

    /// Prefetches the word at that position, which is about to change.
    #[inline(always)]
    pub(super) fn expect_to_change(self, at: u64) {
        expect_to_write(self.cell(at));
    }

    pub(crate) fn index(self, at: u64) -> u64 {
        at & (self.lap_len() - 1)
    }

    pub(super) fn lap(self, at: u64) -> u32 {
        ((at >> self.cells.len().trailing_zeros()) as u32).wrapping_add(1)
    }

    pub(super) fn relation(self, word: RecordWord, at: u64) -> Relation {
        if word.lap() == self.lap(at) && word.state() != RecordState::Unused {
            return Relation::Same;
        }
        // Of another lap: a later one, or the granule is an inner one of a later record, if `head` has passed. Else the
        // record there has not been reserved yet, however old the word is.
        if self.head() > at { Relation::Later } else { Relation::Earlier }
    }

    /// The position of the record after the record at `at`.
    pub(super) fn step(self, at: u64, word: RecordWord) -> Result<u64, Refused> {
        let left = self.lap_len() - self.index(at);
        match word.granules() {
            0 => Ok(at + left),
            granules if granules <= left => Ok(at + granules),
            _ => Err(Refused::Unrecoverable),
        }
    }

    /// The position where to continue when the ring is more than a lap ahead: that writer saw a later `head`.
    pub(super) fn catch_up(self, at: u64) -> Result<u64, Refused> {
        let head = self.head();
        if head > at { Ok(head) } else { Err(Refused::Unrecoverable) }
    }

    pub(crate) fn head(self) -> u64 {
        self.positions.head.0.load(Acquire)
    }

    /// Whether the record at `head` is done, for a thread that checks before it sleeps.
    pub(crate) fn head_is_done(self) -> bool {
        let head = self.head();
        let word = RecordWord(self.cell(head).word.load(Relaxed));
        word.state() == RecordState::Done && matches!(self.relation(word, head), Relation::Same)
    }

    #[inline]
    pub(super) fn change(self, claim: Claim, to: RecordWord) -> Result<(), RecordWord> {
        step();
        let word = &self.cell(claim.at).word;
        word.compare_exchange(claim.word.0, to.0, SeqCst, Acquire).map_or_else(|now| Err(RecordWord(now)), |_| Ok(()))
    }

    /// The position where a producer that last reserved at `cursor` tries first.
    #[inline]
    pub(super) fn frontier(self, cursor: u64) -> u64 {
        self.positions.tail.0.load(Acquire).max(cursor)
    }

    /// Reserves the first record that [`reserve`](Self::reserve) would try, if that is the frontier and has room as it
    /// is. This is the common case.
    #[inline]
    pub(crate) fn reserve_next(self, cursor: &mut u64, granules: u64, who: u32) -> Option<Claim> {
        let at = self.frontier(*cursor);
        self.expect_to_change(at);
        let seen = RecordWord(self.cell(at).word.load(Acquire));
        let lap = self.lap(at);
        // A granule that was never used may have been given back since it was seen: see `reserve`.
        if seen.lap() == lap || seen.state() == RecordState::Unused {
            return None;
        }
        let room = self.head().wrapping_add(self.lap_len()).wrapping_sub(at);
        // After `head`: see above.
        let is_backed = self.index(at) + granules <= self.backed();
        // An empty ring may begin again in its first granules; a room of more than a lap is a walk that was overtaken.
        let has_room = granules <= room && (room < self.lap_len() || room == self.lap_len() && self.index(at) < KEEP);
        if !is_backed || !has_room {
            return None;
        }
        let word = RecordWord::of(RecordState::Writing, who, granules, lap);
        self.change(Claim { at, word: seen }, word).ok()?;
        self.reserved(cursor, at + granules);
        Some(Claim { at, word })
    }

    /// Records the new frontier.
    #[inline]
    fn reserved(self, cursor: &mut u64, end: u64) {
        let tail = &self.positions.tail.0;
        *cursor = end;
        if tail.load(Relaxed) < end {
            tail.store(end, Release);
        }
    }

    /// Reserves a record. Returns `None` without room. `cursor` is where this producer reserved last. `more` moves
    /// `head`, or allocates memory for at least the given number of granules; it returns false if it can do neither.
    pub(crate) fn reserve(
        self,
        cursor: &mut u64,
        granules: u64,
        who: u32,
        mut more: impl FnMut(u64) -> bool,
    ) -> Result<Option<Claim>, Refused> {
        let head = &self.positions.head;
        let mut at = self.frontier(*cursor);
        loop {
            let seen = RecordWord(self.cell(at).word.load(Acquire));
            match self.relation(seen, at) {
                Relation::Same => at = self.step(at, seen)?,
                Relation::Later => at = self.catch_up(at)?,
                Relation::Earlier => {
                    let left = self.lap_len() - self.index(at);
                    let room = head.0.load(Acquire).wrapping_add(self.lap_len()).wrapping_sub(at);
                    if room > self.lap_len() {
                        // `head` is past it: this walk has been overtaken by more than the lap can say.
                        at = self.catch_up(at)?;
                        continue;
                    }
                    let end = self.index(at) + granules;
                    // After `head`: see above.
                    let backed = self.backed();
                    let fits = granules <= left && end <= backed;
                    let empty = room == self.lap_len();
                    let wraps = if fits {
                        empty && self.index(at) >= KEEP && granules <= KEEP
                    } else if granules > left {
                        // Padding serves if the record then fits, or if the ring is otherwise empty.
                        empty || room >= left + granules
                    } else if empty && self.index(at) > 0 && granules <= backed {
                        // With something in the ring, the granules after `mark` would be out of reach until it is
                        // read.
                        true
                    } else if room >= granules && more(end) {
                        continue;
                    } else {
                        false
                    };
                    if wraps {
                        let _ = self
                            .change(Claim { at, word: seen }, RecordWord::of(RecordState::Done, 0, 0, self.lap(at)));
                        continue;
                    }
                    if !fits || room < granules {
                        *cursor = at;
                        return Ok(None);
                    }
                    let word = RecordWord::of(RecordState::Writing, who, granules, self.lap(at));
                    if self.change(Claim { at, word: seen }, word).is_ok() {
                        if seen.state() == RecordState::Unused && self.head() > at {
                            // It was used since it was seen, and memory was given back: no walk comes here any more.
                            at = self.catch_up(at)?;
                            continue;
                        }
                        self.reserved(cursor, at + granules);
                        return Ok(Some(Claim { at, word }));
                    }
                }
            }
        }
    }

    /// Publishes a record that this producer has reserved, as a message. Returns false if others took the producer for
    /// dead. `announce` notifies the [watchers](super::watch). `warn` keeps the receivers awake that
    /// have passed the record.
    #[inline]
    pub(crate) fn publish(self, claim: Claim, info: u64, announce: impl Fn(), warn: impl Fn()) -> bool {
        self.cell(claim.at).info.store(info, Relaxed);
        self.publish_as(claim, claim.word, announce, warn)
    }

    /// Like [`publish`](Self::publish), for a message of `len` bytes that is stored beside the word.
    #[inline]
    pub(crate) fn publish_beside(
        self,
        claim: Claim,
        len: usize,
        message: u64,
        announce: impl Fn(),
        warn: impl Fn(),
    ) -> bool {
        self.cell(claim.at).info.store(message, Relaxed);
        self.publish_as(claim, claim.word.with_beside(len), announce, warn)
    }

    /// Splits a reserved record into messages with the given granules and infos, and publishes all of them at once.
    /// They fill the record.
    pub(crate) fn publish_all(
        self,
        claim: Claim,
        messages: impl Iterator<Item = (u64, u64)>,
        announce: impl Fn(),
        warn: impl Fn(),
    ) -> bool {
        let mut at = claim.at;
        let mut first = claim.word;
        for (granules, info) in messages {
            let cell = self.cell(at);
            cell.info.store(info, Relaxed);
            let word = RecordWord::of(RecordState::Ready, claim.word.who(), granules, claim.word.lap());
            if at == claim.at {
                first = word;
            } else {
                // No participant comes here before the first of them is published.
                cell.word.store(word.0, Relaxed);
            }
            at += granules;
        }
        self.publish_as(claim, first, announce, warn)
    }

    #[inline]
    fn publish_as(self, claim: Claim, published: RecordWord, announce: impl Fn(), warn: impl Fn()) -> bool {
        let ready = published.becomes(RecordState::Ready, claim.word.who());
        announce();
        match self.change(claim, ready) {
            Ok(()) => true,
            Err(now) => self.publish_late(claim, now, ready, announce, warn),
        }
    }

    /// Publishes a record that others have gone past.
    #[cold]
    fn publish_late(
        self,
        claim: Claim,
        mut now: RecordWord,
        ready: RecordWord,
        announce: impl Fn(),
        warn: impl Fn(),
    ) -> bool {
        let who = claim.word.who();
        let (skipped, passed) =
            (claim.word.becomes(RecordState::Skipped, who), claim.word.becomes(RecordState::Passed, who));
        let published = loop {
            let to = if now == passed { skipped } else { ready };
            if now == skipped {
                announce();
                warn();
            } else if now != passed {
                break false;
            }
            match self.change(Claim { at: claim.at, word: now }, to) {
                Ok(()) if to == ready => break true,
                Ok(()) => now = to,
                Err(other) => now = other,
            }
        };
        step();
        self.positions.read.0.late.fetch_add(1, Release);
        published
    }

    /// Gives up a record that this participant has reserved or taken. Returns false if others took the participant for
    /// dead.
    pub(crate) fn finish(self, claim: Claim) -> bool {
        let done = claim.word.becomes(RecordState::Done, 0);
        let mut from = claim.word;
        while let Err(now) = self.change(Claim { at: claim.at, word: from }, done) {
            // Others have gone past a record in writing.
            let past =
                [RecordState::Skipped, RecordState::Passed].map(|state| claim.word.becomes(state, claim.word.who()));
            if !past.contains(&now) {
                return false;
            }
            from = now;
        }
        true
    }

    /// Puts a message back that this consumer has taken.
    pub(crate) fn put_back(self, claim: Claim) -> bool {
        let back = self.change(claim, claim.word.becomes(RecordState::Ready, 0)).is_ok();
        step();
        self.positions.read.0.late.fetch_add(1, Release);
        back
    }

    /// Returns the info of a message that this consumer has taken, or that is ready; or the message itself, if it is
    /// [beside](RecordWord::beside) the word.
    #[inline]
    pub(crate) fn info(self, claim: Claim) -> u64 {
        self.cell(claim.at).info.load(Relaxed)
    }

    /// Makes a reader that has seen no record yet.
    pub(crate) fn reader(self) -> Reader {
        Reader { at: self.head(), taken: 1, ..Reader::default() }
    }

    /// Whether there is a record at the reader's place, for readers that check before they sleep. A record that is
    /// being written does not count. It comes at once, and passing it costs its writer and the reader another walk.
    pub(crate) fn has_come(self, reader: &Reader) -> bool {
        let seen = RecordWord(self.cell(reader.at).word.load(Relaxed));
        let is_there = match self.relation(seen, reader.at) {
            Relation::Earlier => false,
            Relation::Same => seen.state() != RecordState::Writing,
            Relation::Later => true,
        };
        is_there || self.positions.read.0.late.load(Relaxed) != reader.late
    }

    /// Moves `head` over the records that are done. Returns why it stopped.
    pub(crate) fn reclaim(self, dead: impl Fn(u32) -> bool, recovered: &mut Recovered) -> Result<Blocked, Refused> {
        let head = &self.positions.head.0;
        let mut first = head.load(Acquire);
        let mut at = first;
        let blocked = loop {
            let seen = RecordWord(self.cell(at).word.load(SeqCst));
            match self.relation(seen, at) {
                Relation::Earlier => break Blocked::Empty,
                Relation::Later => {
                    first = self.catch_up(at)?;
                    at = first;
                    continue;
                }
                Relation::Same => {}
            }
            match seen.state() {
                RecordState::Done => at = self.step(at, seen)?,
                RecordState::Ready => break Blocked::Unread(Claim { at, word: seen }),
                RecordState::Unused => return Err(Refused::Unrecoverable),
                _ if dead(seen.who()) => self.recover(Claim { at, word: seen }, recovered),
                _ => break Blocked::By(Claim { at, word: seen }),
            }
        };
        if at != first {
            // All records before it are done, even if others have walked there.
            head.fetch_max(at, AcqRel);
        }
        Ok(blocked)
    }

    /// Goes through all records and completes what their dead owners left undone.
    pub(crate) fn recover_all(self, dead: impl Fn(u32) -> bool) -> Result<Recovered, Refused> {
        let mut recovered = Recovered::default();
        let mut at = self.positions.head.0.load(Acquire);
        loop {
            let seen = RecordWord(self.cell(at).word.load(SeqCst));
            match self.relation(seen, at) {
                Relation::Earlier => return Ok(recovered),
                Relation::Later => at = self.catch_up(at)?,
                Relation::Same => match seen.state() {
                    RecordState::Ready | RecordState::Done => at = self.step(at, seen)?,
                    RecordState::Unused => return Err(Refused::Unrecoverable),
                    _ if dead(seen.who()) => self.recover(Claim { at, word: seen }, &mut recovered),
                    _ => at = self.step(at, seen)?,
                },
            }
        }
    }

    /// Completes or undoes what the dead owner of a record was doing.
    #[cold]
    pub(super) fn recover(self, claim: Claim, recovered: &mut Recovered) {
        if claim.word.granules() == 0 {
            self.lower_mark(); // it gave memory back
        }
        if claim.word.state() == RecordState::Copying {
            recovered.messages |= self.put_back(claim);
        } else {
            recovered.room |= self.finish(claim);
        }
    }

    /// Sets the number of granules with memory to those that are [kept](KEEP). Returns the number before. Must be
    /// called while the granules after them are reserved.
    pub(super) fn lower_mark(self) -> u64 {
        let mark = &self.positions.mark.0;
        let mut seen = mark.load(Acquire);
        loop {
            // The count in front of the number makes a participant that is about to raise it look again.
            let lowered = (seen & !BACKED).wrapping_add(BACKED + 1) | KEEP;
            match mark.compare_exchange(seen, lowered, AcqRel, Acquire) {
                Ok(_) => return seen & BACKED,
                Err(now) => seen = now,
            }
        }
    }

    /// The number of granules that have memory.
    pub(crate) fn backed(self) -> u64 {
        self.positions.mark.0.load(Acquire) & BACKED
    }
}
