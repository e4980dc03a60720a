//! Returning memory to the system that no message needs. See [`track`](super::track).

use super::flow::{Flow, finish, reclaim};
use super::track::{Blocked, Claim, Relation, Track};
use super::word::{KEEP, RecordState, RecordWord};
use crate::atomic::Ordering::SeqCst;
use crate::sync::scope::Refused;

impl Track<'_> {
    /// If `head` is right after the first [`KEEP`] granules, reserves the granule at `head` and the rest of the lap.
    /// Otherwise it writes padding up to there. Returns `None` if another participant has reserved a record there.
    fn reserve_rest(self, who: u32) -> Option<Result<Claim, ()>> {
        let at = self.head();
        let seen = RecordWord(self.cell(at).word.load(SeqCst));
        let Relation::Earlier = self.relation(seen, at) else { return None };
        let lap = self.lap(at);
        let word = match self.index(at) {
            KEEP => RecordWord::of(RecordState::Writing, who, 0, lap),
            before if before < KEEP => RecordWord::of(RecordState::Done, 0, KEEP - before, lap),
            _ => RecordWord::of(RecordState::Done, 0, 0, lap),
        };
        self.change(Claim { at, word: seen }, word).ok()?;
        Some(if word.state() == RecordState::Writing { Ok(Claim { at, word }) } else { Err(()) })
    }
}

/// Returns memory to the system, if the ring has no records and more memory than it keeps. Returns false otherwise.
/// Must be called in a protected stretch.
#[cold]
pub(crate) fn trim(ring: &impl Flow, who: u32) -> Result<bool, Refused> {
    // At most: to the end of the lap, then to the granule, then the record.
    for _ in 0..3 {
        if ring.track().backed() <= KEEP || reclaim(ring)? != Blocked::Empty {
            return Ok(false);
        }
        match ring.track().reserve_rest(who) {
            None => return Ok(false),
            Some(Err(())) => {}
            Some(Ok(claim)) => {
                // The words in the hole become as they were before their first use. A receiver that looked there long
                // ago would not see that they have been used since: see `grounds`.
                ring.messages().touch();
                ring.shrink();
                // An error means that others took this participant for dead, and the record is done.
                let _ = finish(ring, claim);
                reclaim(ring)?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}
