//! The transfer of descriptors in arguments and results: datagrams in two pairs of sockets beside the board and the
//! streams.
//!
//! A call whose arguments have descriptors is alone in its chunk, which is `Packed` on the board. Only the worker that
//! received the packet of such a chunk can claim it: the packet names the chunk.
//!
//! | a worker is killed | it leaves | repair |
//! | --- | --- | --- |
//! | before it receives the packet | the packet | another worker receives it |
//! | between the receipt and the claim | the chunk `Packed` without a packet, and `fetching` in its entry | the supervisor sets `lost`; the parent sends the packets of all `Packed` chunks again |
//! | after the claim | the chunk `Claimed` | as for every chunk; the parent has kept the descriptors for another attempt |
//!
//! If a packet was sent twice, the worker that receives the second one cannot claim its chunk any more, and drops the
//! packet.
//!
//! A worker sends the descriptors of a result before it writes the result's record to the stream. So when the parent
//! reads the record, the packet has arrived. A worker that is killed between the two steps leaves a packet without a
//! record: the parent drops packets of chunks that are not published.
//!
//! | word of the board | meaning |
//! | --- | --- |
//! | `sent` | the number of packets that the parent has sent |
//! | `emptied` | the value of `sent` when a worker last found no packet left |
//! | `lost` | a packet may have been lost with a worker |
//! | `crowded` | a worker waits for room for the descriptors of a result |

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;

use super::board::WorkerEntry;
use super::ground::{Ground, raise};
use super::hub::{Hub, Inner, Label};
use super::word::{SlotState, place_of, word};
use crate::multiprocessing::transfer::{Descriptors, FdCounts};

/// The length of a packet in bytes.
const LENGTH: usize = size_of::<u64>() + 4 * size_of::<u32>();
/// The time for which a worker waits for room before it looks again.
const SLICE: Duration = Duration::from_millis(10);
/// The time for which a worker keeps trying while its user has too many descriptors in flight.
const PATIENCE: Duration = Duration::from_secs(5);

fn head((sequence, index): Label, descriptors: &Descriptors) -> [u8; LENGTH] {
    let FdCounts { memory, ends, all } = descriptors.fd_counts();
    let mut bytes = [0; LENGTH];
    let (first, rest) = bytes.split_at_mut(size_of::<u64>());
    first.copy_from_slice(&sequence.to_ne_bytes());
    for (place, number) in rest.chunks_exact_mut(4).zip([index, memory as u32, ends as u32, all as u32]) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}

/// Decodes a datagram; `None` if no process of the pool sends such a datagram.
fn open(bytes: &[u8], list: Vec<OwnedFd>, lost: bool) -> Option<(Label, Descriptors)> {
    let (sequence, rest) = bytes.split_first_chunk::<8>()?;
    let mut numbers = rest.chunks_exact(4).map(|bytes| bytes.try_into().map_or(0, u32::from_ne_bytes));
    let (index, memory, ends, all) = (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
    let fd_counts = FdCounts { memory: memory as usize, ends: ends as usize, all: all as usize };
    let descriptors =
        if lost { Descriptors::lost(fd_counts.all.max(1)) } else { Descriptors::arrived(list, fd_counts)? };
    Some(((u64::from_ne_bytes(*sequence), index), descriptors))
}

/// Whether a refusal may pass when other processes receive descriptors.
fn passes(errno: Errno) -> bool {
    [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
}

impl Hub {
    /// Sends the descriptors of a chunk that is `Packed`; false while there is no room.
    pub(super) fn send_packet(&self, sequence: u64, descriptors: &Descriptors) -> Result<bool, Errno> {
        match self.ground.calls().send(&head((sequence, 0), descriptors), &descriptors.borrowed()) {
            Ok(true) => {
                self.ground.board().sent.fetch_add(1, SeqCst);
                Ok(true)
            }
            Err(errno) if !passes(errno) => Err(errno),
            Ok(false) | Err(_) => Ok(false),
        }
    }

    /// Handles the requests in the words of the board.
    pub(super) fn look_at_packets(&self, inner: &mut Inner) {
        let board = self.ground.board();
        if board.crowded.load(SeqCst) != 0 && board.crowded.swap(0, SeqCst) != 0 {
            self.take_parcels(inner);
        }
        let lost = board.lost.load(SeqCst) != 0 && board.lost.swap(0, SeqCst) != 0;
        if lost || inner.resend {
            self.resend(inner);
        }
    }

    /// Sends again the packets of all unclaimed chunks.
    pub(super) fn resend(&self, inner: &mut Inner) {
        inner.resend = false;
        let mut sent = 0;
        for (slot, chunk) in self.ground.slots().iter().zip(&inner.chunks) {
            let Some(chunk) = chunk.as_ref().filter(|chunk| chunk.is_alone()) else { continue };
            if slot.word.load(SeqCst) != word(SlotState::Packed, chunk.sequence) {
                continue;
            }
            match self.send_packet(chunk.sequence, &chunk.rare().descriptors) {
                Ok(true) => sent += 1,
                Ok(false) | Err(_) => inner.resend = true, // at the next look
            }
        }
        if sent > 0 {
            self.ground.wake_workers(sent);
            raise(self.ground.nudge()); // a closed pool may have no worker left
        }
    }

    /// Receives the descriptors of results.
    pub(super) fn take_parcels(&self, inner: &mut Inner) {
        let mut bytes = [0; LENGTH];
        // After an error no more packets come now, and the outcome reports the error.
        while let Ok(Some((length, list, lost))) = self.ground.results().receive(&mut bytes) {
            let Some((label, descriptors)) = open(bytes.get(..length).unwrap_or_default(), list, lost) else {
                continue;
            };
            let at = (label.0 % inner.chunks.len().max(1) as u64) as usize;
            if inner.chunks.get(at).and_then(Option::as_ref).is_some_and(|chunk| chunk.sequence == label.0) {
                inner.parcels.insert(label, descriptors);
            }
        }
    }

    /// Returns the descriptors of a result whose record has come.
    pub(super) fn parcel(&self, inner: &mut Inner, label: Label) -> Descriptors {
        if !inner.parcels.contains_key(&label) {
            self.take_parcels(inner);
        }
        inner.parcels.remove(&label).unwrap_or_else(|| Descriptors::lost(1))
    }
}

impl Ground {
    /// Receives a packet and claims its chunk for the worker with this ticket. Returns the place of the slot, and the
    /// descriptors.
    pub(super) fn claim_packet(&self, entry: &WorkerEntry, ticket: u32) -> Option<(usize, Descriptors)> {
        let (board, slots) = (self.board(), self.slots());
        let mut bytes = [0; LENGTH];
        loop {
            let sent = board.sent.load(SeqCst);
            if board.emptied.load(SeqCst) >= sent {
                return None;
            }
            entry.fetching.store(1, SeqCst);
            let came = self.calls().receive(&mut bytes);
            let claimed = match came {
                Ok(Some((length, list, lost))) => {
                    let opened = open(bytes.get(..length).unwrap_or_default(), list, lost);
                    Some(opened.and_then(|((sequence, _), descriptors)| {
                        let place = place_of(sequence, slots.len());
                        let (packed, claimed) =
                            (word(SlotState::Packed, sequence), word(SlotState::Claimed(ticket), sequence));
                        let claim = slots.get(place)?.word.compare_exchange(packed, claimed, SeqCst, SeqCst);
                        claim.is_ok().then_some((place, descriptors))
                    }))
                }
                Ok(None) => {
                    board.emptied.fetch_max(sent, SeqCst);
                    None
                }
                Err(_) => None, // no memory: the worker looks again before it sleeps
            };
            entry.fetching.store(0, SeqCst);
            match claimed {
                Some(None) => {} // its chunk is another's already, or was cancelled
                Some(claimed) => return claimed,
                None => return None,
            }
        }
    }

    /// Sends the descriptors of a result to the parent, and waits for room. The error is the reason why they cannot be
    /// sent.
    pub(super) fn send_parcel(&self, label: Label, descriptors: &Descriptors) -> Result<(), String> {
        let count = descriptors.fd_counts().all;
        let (head, list) = (head(label, descriptors), descriptors.borrowed());
        let mut given_up = Deadline::NEVER;
        loop {
            match self.results().send(&head, &list) {
                Ok(true) => return Ok(()),
                Ok(false) => given_up = Deadline::NEVER,
                Err(errno) if passes(errno) && !given_up.has_passed() => {
                    given_up = given_up.or_sooner(Deadline::after(PATIENCE));
                }
                Err(errno) => return Err(format!("cannot send its {count} descriptors: {errno}")),
            }
            self.board().crowded.store(1, SeqCst);
            self.call_parent();
            self.results().wait_for_room(SLICE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_whose_descriptors_it_has() {
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let fd_counts = FdCounts { memory: 0, ends: 1, all: 2 };
        let descriptors = Descriptors::arrived(vec![file(), file()], fd_counts).unwrap();
        let bytes = head((1 << 40 | 3, 7), &descriptors);
        let (label, came) = open(&bytes, vec![file(), file()], false).unwrap();
        assert_eq!((label, came.fd_counts()), ((1 << 40 | 3, 7), fd_counts));
        assert!(open(&bytes, vec![file()], false).is_none(), "one is missing");
        assert!(open(&bytes[..LENGTH - 1], Vec::new(), false).is_none());
        let (label, lost) = open(&bytes, Vec::new(), true).unwrap();
        assert!(label.1 == 7 && lost.is_empty());
    }
}
