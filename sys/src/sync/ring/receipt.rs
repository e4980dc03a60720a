//! Packets beside the records: who may receive the next one, and whose it is.
//!
//! A packet has a *number*: the position of its record, which is a *token*. Senders hold a lock from the reservation of
//! the record to its publishing, and the packet is sent in between. So packets come in the order of their numbers, and
//! a token that is ready has had its packet sent. A receiver of packets takes the word below first, then the oldest
//! token, then the packets up to that token's number.
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0..13` | the number of the participant that receives a packet; 0: nobody |
//! | `13` | others went past a token meanwhile, and may sleep |
//! | `14..64` | how often the word was taken |
//!
//! | from | to | who |
//! | --- | --- | --- |
//! | nobody | a participant, counted | that participant |
//! | a participant | nobody | that participant; anyone, if the participant died |
//! | a participant | the same, others went past | a receiver that finds the participant alive |
//!
//! The count makes each taking a word of its own. So nobody frees the word of a later holder that has the number of a
//! dead one. Whoever reclaims a number frees the word first.
//!
//! | first packet | what it is | what the holder of the word does |
//! | --- | --- | --- |
//! | of a lower number than the oldest token | of a sender that died, or was taken for dead, before it published | drops the packet |
//! | of the token's number | the token's | receives the packet, then gives the record back |
//! | of a higher number, or none | of a later token; the token's own is lost with a receiver that died | gives the record back |
//!
//! | a receiver killed | leaves | what follows |
//! | --- | --- | --- |
//! | behind the taking of the word | the word | the next receiver frees the word, and receives the packet |
//! | behind the receipt of a packet that it drops | the word | the same |
//! | behind the receipt of its packet | the word, and a token without a packet | the packet is lost; the next holder finds a higher number or none |
//! | behind the giving back of the record | the word | the packet is lost with the receiver |
//!
//! All of that is in the protected stretch of the receiver. So the kernel wakes a sleeper in its stead. Who is about to
//! sleep meanwhile watches the holder's lease. A receiver that is *stopped* in it keeps the others from packets: they
//! go past all tokens, and take the other messages.
//!
//! | a sender killed | leaves | what follows |
//! | --- | --- | --- |
//! | behind the reservation | a record in writing, and the lock | the record is given up like any other |
//! | behind the sending of the packet | the same, and a packet | the receiver of the next token drops the packet; so does the next sender, if there is no token |
//! | behind the publishing | the lock | the packet is received |

use super::flow::{Flow, Lost, Stop, finish, publish, reclaim, reserve};
use super::take::Taking;
use super::track::{Claim, Track};
use super::word::WHO_MAX;
use crate::atomic::Ordering::SeqCst;
use crate::atomic::in_one_order;
use crate::atomic::{AtomicU64, step};
use crate::futex::Limit;
use crate::sync::gate::Gate;
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

/// The info of a token. No message is so long.
pub(crate) const TOKEN: u64 = 1 << 63;

/// Whether a record that is ready is a token.
#[inline]
pub(crate) fn is_token(track: Track<'_>, seen: Claim) -> bool {
    seen.word.beside().is_none() && track.info(seen) & TOKEN != 0
}

/// Others went past a token.
const PASSED: u64 = 1 << 13;
const COUNTED: u64 = 1 << 14;

/// The word. Zero bytes are that of a new ring.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct Receipt(AtomicU64);

fn who(word: u64) -> u32 {
    word as u32 & WHO_MAX
}

impl Receipt {
    /// Takes the word; or says who has it, and will wake the receivers.
    fn take(&self, me: u32, dead: impl Fn(u32) -> bool) -> Result<u64, u32> {
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

    /// Gives the word back, and says whether others went past a token.
    fn give_back(&self, taken: u64) -> bool {
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

    /// Frees the word of a dead one.
    pub(super) fn recover(&self, dead: impl Fn(u32) -> bool) {
        let seen = self.0.load(SeqCst);
        if who(seen) != 0 && dead(who(seen)) {
            let _ = self.change(seen, seen & !(COUNTED - 1)); // else somebody else did
        }
    }

    fn change(&self, from: u64, to: u64) -> Result<(), u64> {
        step();
        let changed = self.0.compare_exchange(from, to, SeqCst, SeqCst);
        in_one_order();
        changed.map(drop)
    }
}

/// Where packets wait, in their order.
pub(crate) trait Post {
    type Packet;
    type Error;

    /// The number of the first packet.
    fn first(&mut self) -> Result<Option<u64>, Self::Error>;
    /// Receives the first packet.
    fn receive(&mut self) -> Result<Option<Self::Packet>, Self::Error>;
    /// Receives the first packet and drops it.
    fn discard(&mut self) -> Result<(), Self::Error> {
        self.receive().map(drop)
    }
}

/// Receives the packet with this number, and drops those before; `None` if it is lost.
fn fetch<P: Post>(post: &mut P, number: u64) -> Result<Option<P::Packet>, P::Error> {
    loop {
        match post.first()? {
            Some(first) if first < number => post.discard()?,
            Some(first) if first == number => return post.receive(),
            Some(_) | None => return Ok(None),
        }
    }
}

/// Why there is no packet.
#[derive(Debug)]
pub(crate) enum Missing<E> {
    /// Its receipt failed, and the packet stays.
    Post(E),
    /// The record is not as the receiver left it.
    Lost,
    Refused(Refused),
}

/// Receives the packet of the oldest token, for a walk that has found the token `seen`. `give_back` gives its record
/// back. To be called in a protected stretch.
pub(crate) fn receive<F: Flow, P: Post>(
    ring: &F,
    post: &mut P,
    seen: Claim,
    who: u32,
    give_back: impl FnOnce(Claim) -> bool,
) -> Taking<Result<P::Packet, Missing<P::Error>>> {
    let taken = match ring.receipt().take(who, |other| ring.is_dead(other)) {
        Ok(taken) => taken,
        Err(holder) => return Taking::Past(holder),
    };
    let received = receive_oldest(ring, post, seen, give_back);
    if ring.receipt().give_back(taken) && ring.messages().has_sleepers() {
        ring.messages().notify(ring.gate(), u32::MAX);
    }
    // Not `Taken`: the oldest token may be another than that of the walk. `Changed` lets the walk look at its record
    // again.
    received.transpose().map_or(Taking::Changed, Taking::Left)
}

/// `None` if the token of the walk is gone, or if its packet is lost and the record given back. The walk then goes on
/// in the order of the records, since messages may stand before the next token.
fn receive_oldest<F: Flow, P: Post>(
    ring: &F,
    post: &mut P,
    seen: Claim,
    give_back: impl FnOnce(Claim) -> bool,
) -> Result<Option<P::Packet>, Missing<P::Error>> {
    reclaim(ring).map_err(Missing::Refused)?;
    let oldest = oldest(ring.track()).map_err(Missing::Refused)?;
    let Some(token) = oldest.filter(|token| token.at <= seen.at) else { return Ok(None) };
    match fetch(post, token.at).map_err(Missing::Post)? {
        Some(packet) if give_back(token) => Ok(Some(packet)),
        Some(_) => Err(Missing::Lost),
        None => finish(ring, token).map(|()| None).map_err(|Lost| Missing::Lost),
    }
}

/// The oldest token whose packet nobody has received.
pub(crate) fn oldest(track: Track<'_>) -> Result<Option<Claim>, Refused> {
    track.first(|seen| is_token(track, seen))
}

/// Why a packet was not sent.
#[derive(Debug)]
pub(crate) enum Unsent<E> {
    Stop(Stop),
    Lost,
    Post(E),
}

/// Sends a packet and publishes its token; false if the time ran out. The caller holds the senders' lock. `packet`
/// sends the packet with its number.
pub(crate) fn send<E>(
    ring: &impl Flow,
    cursor: &mut u64,
    spin: &Spin,
    granules: u64,
    who: u32,
    packet: impl FnOnce(u64) -> Result<bool, E>,
    limit: Limit<'_>,
) -> Result<bool, Unsent<E>> {
    let reserved = ring.gate().protected(|| reserve(ring, cursor, spin, granules, who, limit));
    let token = match reserved {
        Ok(token) => token,
        Err(Stop::Over) => return Ok(false),
        Err(stop) => return Err(Unsent::Stop(stop)),
    };
    match packet(token.at) {
        Ok(true) => {
            // If it is lost, so is the packet: see the table.
            let published = ring.gate().protected(|| publish(ring, token, TOKEN));
            published.map(|()| true).map_err(|Lost| Unsent::Lost)
        }
        unsent => {
            // An error says that it is given up already.
            let _ = ring.gate().protected(|| finish(ring, token));
            unsent.map_err(Unsent::Post)
        }
    }
}
