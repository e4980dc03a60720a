//! Taking a message: the walk of a consumer, and what it does with the ready record that it finds.

use super::track::{Claim, Reader, Recovered, Relation, Track};
use super::word::{RecordState, RecordWord};
use crate::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use crate::sync::scope::Refused;

/// A consumer publishes its place once in this many takes.
const TELL_EVERY: u32 = 16;

/// The result for a record that was seen ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taking<T> {
    /// The record was taken.
    Taken(T),
    /// The record was only read, and stays.
    Left(T),
    /// The record stays, and this consumer must not take it while the participant with this number lives. The walk goes
    /// on, and the next walk begins here again.
    Past(u32),
    /// Another consumer was faster.
    Changed,
}

impl<T> Taking<T> {
    #[inline]
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Taking<U> {
        match self {
            Self::Taken(taken) => Taking::Taken(change(taken)),
            Self::Left(left) => Taking::Left(change(left)),
            Self::Past(who) => Taking::Past(who),
            Self::Changed => Taking::Changed,
        }
    }
}

impl Reader {
    /// Whether the last take published its place.
    #[inline]
    pub(super) fn has_told(&self) -> bool {
        self.taken % TELL_EVERY == 0
    }
}

enum Found<T> {
    Message(T),
    /// A skipped record was published meanwhile.
    Late,
    Nothing,
}

impl Track<'_> {
    /// Takes the next message as `take` decides. Returns `None` if there is none.
    ///
    /// `take` gets the record as it was seen, ready. It [claims](Self::claim) the record or [receives](Self::receive)
    /// it.
    pub(crate) fn take<T>(
        self,
        reader: &mut Reader,
        mut take: impl FnMut(Claim) -> Taking<T>,
        dead: impl Fn(u32) -> bool,
        recovered: &mut Recovered,
    ) -> Result<Option<T>, Refused> {
        loop {
            self.hear(reader);
            let (began, late) = (reader.at, reader.late);
            match self.take_from(reader, &mut take, &dead, recovered)? {
                Found::Message(message) => {
                    self.took(reader, reader.at);
                    return Ok(Some(message));
                }
                Found::Late => {}
                Found::Nothing => {
                    self.reclaim(&dead, recovered)?;
                    let head = self.positions.head.0.load(Acquire);
                    if head >= began {
                        // Every record from `head` on was looked at.
                        return Ok(None);
                    }
                    *reader = Reader { at: head, late, ..*reader };
                    match self.take_from(reader, &mut take, &dead, recovered)? {
                        Found::Message(message) => return Ok(Some(message)),
                        Found::Late => {}
                        Found::Nothing => return Ok(None),
                    }
                }
            }
        }
    }

    /// Moves the reader to where a walk begins: after the place that others have published, or to `head` if a message
    /// was late.
    #[inline]
    fn hear(self, reader: &mut Reader) {
        let read = &self.positions.read.0;
        let late = read.late.load(Acquire);
        let head = self.head();
        if late != reader.late {
            *reader = Reader { at: head, late, ..*reader };
        }
        // A reader that was idle for long would not be able to compare its lap.
        reader.at = reader.at.max(head);
        let hint = read.next.load(Relaxed);
        let ahead = u64::from((hint as u32).wrapping_sub(head as u32));
        if (hint >> 32) as u32 == late as u32 && ahead <= self.lap_len() {
            reader.at = reader.at.max(head + ahead);
        }
    }

    /// Calls [`hear`](Self::hear) once in [`TELL_EVERY`] takes, for consumers that do not walk.
    #[inline]
    pub(crate) fn hear_now_and_then(self, reader: &mut Reader) {
        if reader.has_told() {
            reader.taken = reader.taken.wrapping_add(1);
            self.hear(reader);
        }
    }

    /// The record at the reader's place, if it is a message and a walk would find the same record. This is the first
    /// step of a [walk](Self::take).
    #[inline]
    pub(crate) fn next(self, reader: &Reader) -> Option<Claim> {
        let at = reader.at;
        let seen = RecordWord(self.cell(at).word.load(SeqCst));
        let is_there = seen.lap() == self.lap(at) && seen.state() == RecordState::Ready;
        // The order of a walk: a message, then whether any was late. `head` shows that the lap is not a later one.
        let is_next = is_there
            && self.positions.read.0.late.load(Acquire) == reader.late
            && !reader.went_past()
            && self.head() <= at;
        is_next.then_some(Claim { at, word: seen })
    }

    /// Moves the reader past the record that was [next](Self::next), after the reader has taken it.
    #[inline]
    pub(crate) fn took(self, reader: &mut Reader, behind: u64) {
        reader.at = behind;
        reader.taken = reader.taken.wrapping_add(1);
        self.tell(reader);
    }

    /// Publishes this consumer's place to the others, once in [`TELL_EVERY`] takes.
    #[inline]
    fn tell(self, reader: &Reader) {
        if reader.has_told() {
            let place = u64::from(reader.late as u32) << 32 | reader.at & u64::from(u32::MAX);
            self.positions.read.0.next.store(place, Relaxed);
        }
    }

    #[inline]
    fn take_from<T>(
        self,
        reader: &mut Reader,
        take: &mut impl FnMut(Claim) -> Taking<T>,
        dead: &impl Fn(u32) -> bool,
        recovered: &mut Recovered,
    ) -> Result<Found<T>, Refused> {
        let found = self.walk(reader, take, dead, recovered);
        if let Some(past) = reader.past {
            reader.at = past;
        }
        found
    }

    #[inline]
    fn walk<T>(
        self,
        reader: &mut Reader,
        take: &mut impl FnMut(Claim) -> Taking<T>,
        dead: &impl Fn(u32) -> bool,
        recovered: &mut Recovered,
    ) -> Result<Found<T>, Refused> {
        reader.past = None;
        reader.beside.clear();
        loop {
            let at = reader.at;
            // In one total order with the announcements of threads that are about to sleep.
            let seen = RecordWord(self.cell(at).word.load(SeqCst));
            let claim = Claim { at, word: seen };
            match self.relation(seen, at) {
                Relation::Earlier => {
                    reader.end = claim;
                    return Ok(Found::Nothing);
                }
                Relation::Later => {
                    reader.at = self.catch_up(at)?;
                    continue;
                }
                Relation::Same => {}
            }
            match seen.state() {
                RecordState::Ready => {
                    if self.positions.read.0.late.load(Acquire) != reader.late {
                        return Ok(Found::Late);
                    }
                    let next = self.step(at, seen)?;
                    match take(claim) {
                        Taking::Taken(message) => {
                            reader.at = next;
                            return Ok(Found::Message(message));
                        }
                        Taking::Left(message) => return Ok(Found::Message(message)),
                        Taking::Past(who) => {
                            reader.past = reader.past.or(Some(at));
                            reader.beside.add(who);
                        }
                        Taking::Changed => continue,
                    }
                }
                RecordState::Writing
                | RecordState::Skipped
                | RecordState::Passed
                | RecordState::Copying
                | RecordState::Held
                    if dead(seen.who()) =>
                {
                    self.recover(claim, recovered);
                    continue;
                }
                RecordState::Writing | RecordState::Skipped if reader.rests => {
                    if self.change(claim, seen.becomes(RecordState::Passed, seen.who())).is_err() {
                        continue;
                    }
                }
                RecordState::Writing => {
                    if self.change(claim, seen.becomes(RecordState::Skipped, seen.who())).is_err() {
                        continue;
                    }
                }
                RecordState::Copying => reader.beside.add(seen.who()),
                RecordState::Skipped | RecordState::Passed | RecordState::Held | RecordState::Done => {}
                RecordState::Unused => return Err(Refused::Unrecoverable),
            }
            reader.at = self.step(at, seen)?;
        }
    }

    /// Takes a record that was seen ready, with the new state `state`: copying or held.
    #[inline]
    pub(crate) fn claim(self, seen: Claim, state: RecordState, who: u32) -> Taking<Claim> {
        let taken = seen.word.becomes(state, who);
        match self.change(seen, taken) {
            Ok(()) => Taking::Taken(Claim { at: seen.at, word: taken }),
            Err(_) => Taking::Changed,
        }
    }

    /// Takes a record that was seen ready and gives it back, in one step. `copy` copies the message while the record
    /// has no owner. The copy counts only if the record has not changed since it was seen. In that case no other thread
    /// wrote there meanwhile: a record that was done and reserved again belongs to another lap.
    ///
    /// `copy` may leave the message with an error; the error counts in the same way.
    #[inline]
    pub(crate) fn receive<T, E>(self, seen: Claim, copy: impl FnOnce(u64) -> Result<T, E>) -> Taking<Result<T, E>> {
        // Each change of the word is a release, so no load of the copy comes after it.
        match copy(self.info(seen)) {
            Ok(copied) => match self.change(seen, seen.word.becomes(RecordState::Done, 0)) {
                Ok(()) => Taking::Taken(Ok(copied)),
                Err(_) => Taking::Changed,
            },
            Err(error) => match self.change(seen, seen.word) {
                Ok(()) => Taking::Left(Err(error)),
                Err(_) => Taking::Changed,
            },
        }
    }
}
