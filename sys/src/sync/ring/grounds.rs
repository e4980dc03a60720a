//! What a participant has seen when it decides to sleep. It sleeps only while all of that is still so.
//!
//! An event count shows a change only after the change. A participant may be killed in between. The kernel's wake for
//! the dead participant then comes too early for a sleeper that has looked and is not queued at the gate yet. So a
//! sleeper that is queued at the gate compares the words that it has looked at, beside the event count:
//!
//! | sleeper | change that ends its sleep | what shows the change |
//! | --- | --- | --- |
//! | a receiver | a record is reserved where its walk ended | the word there |
//! | a receiver | a record that it has [passed](super::word) is published | the event count, which the producer changes first |
//! | a receiver | a message comes back from a participant that copies it, or may be received after all | the lease of the other participant |
//! | a sender, for room; a receiver, for the end of a closed ring | the record at `head` is done | the record's word, and the lease of its owner |
//! | a participant, for fewer messages | one of the messages is taken | the words of the first [`RECORDS`] of them |
//! | a participant, for the last task | the first message is taken, or the task is done | the word of the record, or the lease of the task's owner |
//! | a sender, for room in the sockets | a packet is received | the [receipt](super::receipt), and the lease of its holder |
//! | all but those for the last task | the ring is closed | `closed` |
//!
//! A change that comes later finds the sleeper at the gate. A participant that dies has its mark in its lease at once,
//! whatever it has changed.
//!
//! A sleeper that went past messages of more than [four](super::owners::OWNERS) participants sleeps only for a moment.
//! A participant that waits for fewer messages learns late of a death in one case: if the dead one took none of the
//! first messages.

use super::owners::Owners;
use super::track::{Blocked, Claim, Reader, Relation, Track};
use super::word::{RecordState, RecordWord};
use crate::atomic::Ordering::{Acquire, SeqCst};
use crate::atomic::{AtomicU32, half};
use crate::futex::{Reach, Waiter};
use crate::sync::scope::Refused;

/// The maximum number of records that a sleeper compares.
pub(crate) const RECORDS: usize = 8;
/// The maximum number of words that a sleeper compares: those of records, and two more.
pub(crate) const WORDS: usize = RECORDS + 2;

/// The grounds of a sleep.
#[derive(Debug)]
pub(crate) struct Grounds<'r> {
    words: [Option<Waiter<'r>>; WORDS],
    used: usize,
    owners: Owners,
}

impl<'r> Grounds<'r> {
    /// No grounds but the event count.
    pub(crate) fn new() -> Self {
        Self { words: [None; WORDS], used: 0, owners: Owners::default() }
    }

    /// Adds a word, with the value that the caller has seen.
    pub(crate) fn word(&mut self, word: &'r AtomicU32, seen: u32) {
        if let Some(place) = self.words.get_mut(self.used) {
            // No thread is ever woken at this word, so the cheaper kind of word is enough.
            *place = Some(Waiter::new(word, seen, Reach::Private));
            self.used += 1;
        }
    }

    /// Adds the word at a position as the caller has seen it. There is room for the first [`RECORDS`] of them.
    pub(super) fn record(&mut self, track: Track<'r>, seen: Claim) {
        if self.used < RECORDS {
            let (word, value) = track.half_that_changes(seen);
            self.word(word, value);
        }
    }

    /// Adds the lease of a participant.
    pub(super) fn owner(&mut self, who: u32) {
        self.owners.add(who);
    }

    /// Adds what stops `head`.
    pub(super) fn blocked(&mut self, track: Track<'r>, blocked: Blocked) {
        match blocked {
            Blocked::Empty => {}
            Blocked::Unread(seen) => self.record(track, seen),
            Blocked::By(seen) => {
                self.record(track, seen);
                self.owner(seen.word.who());
            }
        }
    }

    /// The words to compare.
    pub(crate) fn words(&self) -> impl Iterator<Item = Waiter<'r>> {
        self.words.iter().flatten().copied()
    }

    /// The participants whose leases to watch.
    pub(crate) fn owners(&self) -> impl Iterator<Item = u32> {
        self.owners.iter()
    }

    /// Whether there are more participants than leases that can be watched.
    pub(super) fn is_more(&self) -> bool {
        self.owners.is_more()
    }
}

impl Reader {
    /// The grounds on which a consumer that has found no message sleeps.
    pub(super) fn grounds<'r>(&self, track: Track<'r>) -> Grounds<'r> {
        let mut grounds = Grounds { owners: self.beside, ..Grounds::new() };
        grounds.record(track, self.end);
        grounds
    }
}

impl<'r> Track<'r> {
    /// The half of the word at a position that changes with the record there, and its value as it was seen. A
    /// reservation changes the lap, or the state of a word that was unused. Each later change changes the state.
    fn half_that_changes(self, seen: Claim) -> (&'r AtomicU32, u32) {
        let RecordWord(word) = seen.word;
        let is_earlier = seen.word.lap() != self.lap(seen.at) && seen.word.state() != RecordState::Unused;
        let value = if is_earlier { (word >> 32) as u32 } else { word as u32 };
        (half(&self.cell(seen.at).word, is_earlier), value)
    }

    /// Counts the messages that no consumer has received, up to `most`, as of a moment ago.
    pub(crate) fn count(self, most: usize) -> Result<usize, Refused> {
        Ok(self.count_on(most)?.0)
    }

    /// [`count`](Self::count), with the grounds on which there are not fewer.
    pub(super) fn count_on(self, most: usize) -> Result<(usize, Grounds<'r>), Refused> {
        let mut at = self.positions.head.0.load(Acquire);
        let (mut count, mut grounds) = (0, Grounds::new());
        while count < most {
            let seen = RecordWord(self.cell(at).word.load(SeqCst));
            match self.relation(seen, at) {
                Relation::Earlier => break,
                Relation::Later => {
                    at = self.catch_up(at)?;
                    (count, grounds) = (0, Grounds::new());
                }
                Relation::Same => {
                    if matches!(seen.state(), RecordState::Ready | RecordState::Copying) {
                        count += 1;
                        grounds.record(self, Claim { at, word: seen });
                    }
                    at = self.step(at, seen)?;
                }
            }
        }
        Ok((count, grounds))
    }
}
