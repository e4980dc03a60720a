//! The participants of a ring: a lease for each enrolled thread.
//!
//! | lease | meaning |
//! | --- | --- |
//! | free | the number has no holder |
//! | a thread's | that thread's number |
//! | dead | the thread died; records with this number may be left |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | free | a thread's | the thread, with the table's lock held |
//! | a thread's | free | the thread, which has no record left |
//! | a thread's | dead | the kernel |
//! | dead | free | a thread that enrols, with the table's lock held, after a walk over all records that begins after the death was seen |
//!
//! So a number in a record always means the thread that has written it there. The number alone distinguishes a record
//! of a dead participant from all others.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::SeqCst;

use crate::sync::lease::{Holder, Lease};
use crate::sync::scope::Refused;

/// The maximum number of threads that take part in a ring at once.
pub const PARTICIPANTS: usize = 4096;

/// One participant's entry. Zero bytes are a free entry.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) lease: Lease,
    pub(crate) process: AtomicU32,
    /// The number of [tasks](super::tasks) that the thread has received but not done.
    pub(crate) in_hand: AtomicU32,
}

/// The entries of all numbers that were ever in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParticipantTable<'r>(pub(crate) &'r [Entry]);

impl<'r> ParticipantTable<'r> {
    /// Whether the participant with this number has died.
    pub(crate) fn is_dead(self, who: u32) -> bool {
        self.get(who).is_some_and(|entry| entry.lease.holder() == Holder::Dead)
    }

    /// The entry of a participant's number. Numbers begin at 1.
    pub(crate) fn get(self, who: u32) -> Option<&'r Entry> {
        self.0.get((who as usize).wrapping_sub(1))
    }

    /// Enrols the calling thread under a free number. The caller holds the table's lock.
    ///
    /// # Errors
    /// As for [`Lease::claim`].
    pub(crate) fn enrol(self, process: u32) -> Result<Option<u32>, Refused> {
        for (at, entry) in self.0.iter().enumerate() {
            if entry.lease.holder() != Holder::Nobody {
                continue;
            }
            // Before the claim, so that a thread that sees the holder sees its process, and no earlier holder's task.
            entry.process.store(process, SeqCst);
            entry.in_hand.store(0, SeqCst);
            if entry.lease.claim()? {
                return Ok(Some(at as u32 + 1));
            }
        }
        Ok(None)
    }

    /// Frees the numbers of the participants that died before `walk`, which recovers all their records. The caller
    /// holds the table's lock.
    ///
    /// # Errors
    /// Those of `walk`.
    pub(crate) fn free_the_dead(self, walk: impl FnOnce() -> Result<(), Refused>) -> Result<bool, Refused> {
        let mut dead = [0_u64; PARTICIPANTS / 64];
        let mut any = false;
        for (at, _) in self.0.iter().enumerate().filter(|(_, entry)| entry.lease.holder() == Holder::Dead) {
            if let Some(word) = dead.get_mut(at / 64) {
                *word |= 1 << (at % 64);
                any = true;
            }
        }
        if any {
            walk()?;
            for (at, entry) in self.0.iter().enumerate() {
                if dead.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 != 0) {
                    entry.lease.reclaim(entry.lease.look());
                }
            }
        }
        Ok(any)
    }
}
