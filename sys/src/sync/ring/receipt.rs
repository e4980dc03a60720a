//! Packets beside the records: which participant may receive the next packet, and to which record it belongs.
//!
//! A packet has a *number*: the position of its record, which is a *token*. Senders hold a lock from the reservation of
//! the record to its publishing, and the packet is sent in between. So packets come in the order of their numbers, and
//! the packet of a ready token has been sent. A receiver of packets takes the word below first, then the oldest token,
//! then the packets up to that token's number.
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0..13` | the number of the participant that receives a packet; 0: none |
//! | `13` | other receivers went past a token meanwhile, and may sleep |
//! | `14..64` | how often the word was taken |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | none | a participant, next count | that participant |
//! | a participant | none | that participant; any participant, if it died |
//! | a participant | the same, bit `13` set | a receiver that finds the participant alive |
//!
//! The count makes the word of each taking unique. So no participant frees the word of a later holder that has the
//! number of a dead one. A participant that reclaims a number frees the word first.
//!
//! | first packet | what it is | what the holder of the word does |
//! | --- | --- | --- |
//! | has a lower number than the oldest token | from a sender that died, or was taken for dead, before it published | drops the packet |
//! | has the token's number | the token's packet | receives the packet, then gives the record back |
//! | has a higher number, or there is none | the packet of a later token; the token's own was lost with a receiver that died | gives the record back |
//!
//! | a receiver killed | what is left | what follows |
//! | --- | --- | --- |
//! | after it took the word | the word | the next receiver frees the word, and receives the packet |
//! | after it received a packet that it drops | the word | the same |
//! | after it received its packet | the word, and a token without a packet | the packet is lost; the next holder finds a higher number or none |
//! | after it gave the record back | the word | the packet is lost with the receiver |
//!
//! All of this is in the protected stretch of the receiver. So the kernel wakes a sleeper instead. A receiver that is
//! about to sleep meanwhile watches the holder's lease. While a receiver is *stopped* in the stretch, the others cannot
//! receive packets: they go past all tokens, and take the other messages.
//!
//! | a sender killed | what is left | what follows |
//! | --- | --- | --- |
//! | after it reserved | a record in writing, and the lock | the record is given up like any other |
//! | after it sent the packet | the same, and a packet | the receiver of the next token drops the packet; so does the next sender, if there is no token |
//! | after it published | the lock | the packet is received |

use super::grounds::Grounds;
use super::word::WHO_MAX;
use crate::atomic::Ordering::SeqCst;
use crate::atomic::in_one_order;
use crate::atomic::{AtomicU64, half, step};

/// Another receiver went past a token.
const PASSED: u64 = 1 << 13;
const COUNTED: u64 = 1 << 14;

/// The word. Zero bytes are the word of a new ring.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct Receipt(AtomicU64);

fn who(word: u64) -> u32 {
    word as u32 & WHO_MAX
}

impl Receipt {
    /// Takes the word, or returns the number of its holder, which will wake the receivers.
    pub(super) fn take(&self, me: u32, dead: impl Fn(u32) -> bool) -> Result<u64, u32> {
        let mut seen = self.0.load(SeqCst);
        loop {
            let holder = who(seen);
            let is_free = holder == 0 || dead(holder);
            let taken = (seen & !(COUNTED - 1)).wrapping_add(COUNTED) | u64::from(me);
            let wanted = if is_free { taken } else { seen | PASSED };
            match self.change(seen, wanted) {
                Ok(()) if is_free => return Ok(taken),
                Ok(()) => return Err(holder),
                Err(now) => seen = now,
            }
        }
    }

    /// Gives the word back. Returns whether another receiver went past a token.
    pub(super) fn give_back(&self, taken: u64) -> bool {
        let mut seen = taken;
        while let Err(now) = self.change(seen, seen & !(COUNTED - 1)) {
            if now != taken | PASSED {
                return true; // others took this receiver for dead
            }
            seen = now;
        }
        in_one_order();
        seen & PASSED != 0
    }

    /// Frees the word if its holder is dead.
    pub(super) fn recover(&self, dead: impl Fn(u32) -> bool) {
        let seen = self.0.load(SeqCst);
        if who(seen) != 0 && dead(who(seen)) {
            let _ = self.change(seen, seen & !(COUNTED - 1)); // else somebody else did
        }
    }

    /// Adds to the grounds that no packet is received meanwhile: the word changes, or its holder dies.
    pub(super) fn watch<'r>(&'r self, grounds: &mut Grounds<'r>) {
        let seen = self.0.load(SeqCst);
        grounds.word(half(&self.0, false), seen as u32);
        if who(seen) != 0 {
            grounds.owner(who(seen));
        }
    }

    fn change(&self, from: u64, to: u64) -> Result<(), u64> {
        step();
        let changed = self.0.compare_exchange(from, to, SeqCst, SeqCst);
        in_one_order();
        changed.map(drop)
    }
}
