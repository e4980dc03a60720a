//! Sending and receiving packets beside the records. See [`receipt`](super::receipt).

use super::flow::{Flow, Lost, Stop, finish, publish, reclaim};
use super::take::Taking;
use super::track::{Claim, Relation, Track};
use super::waits::reserve;
use super::word::{RecordState, RecordWord};
use crate::atomic::Ordering::SeqCst;
use crate::futex::Limit;
use crate::sync::gate::Gate;
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

/// The info of a token. No message is that long.
pub(crate) const TOKEN: u64 = 1 << 63;

/// Whether a ready record is a token.
#[inline]
pub(crate) fn is_token(track: Track<'_>, seen: Claim) -> bool {
    seen.word.beside().is_none() && track.info(seen) & TOKEN != 0
}

/// The queue where packets wait, in their order.
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

/// Receives the packet with this number, and drops the packets before it. Returns `None` if it is lost.
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
    /// The packet could not be received, and stays in the queue.
    Post(E),
    /// The record is not as the receiver left it: others took the receiver for dead.
    Lost,
    Refused(Refused),
}

/// Receives the packet of the oldest token, for a walk that has found the token `seen`. `give_back` gives its record
/// back. Must be called in a protected stretch.
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

/// Receives the packet of the oldest token. Returns `None` if the walk's token is gone, or if its packet is lost and
/// the record given back. The walk then continues in the order of the records, since messages may come before the next
/// token.
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

/// The oldest token whose packet was not received.
pub(crate) fn oldest(track: Track<'_>) -> Result<Option<Claim>, Refused> {
    let mut at = track.head();
    loop {
        let word = RecordWord(track.cell(at).word.load(SeqCst));
        let claim = Claim { at, word };
        match track.relation(word, at) {
            Relation::Earlier => return Ok(None),
            Relation::Later => at = track.catch_up(at)?,
            Relation::Same if word.state() == RecordState::Ready && is_token(track, claim) => return Ok(Some(claim)),
            Relation::Same => at = track.step(at, word)?,
        }
    }
}

/// Why a packet was not sent.
#[derive(Debug)]
pub(crate) enum Unsent<E> {
    Stop(Stop),
    Lost,
    Post(E),
}

/// Sends a packet and publishes its token. Returns false if the time ran out. The caller holds the senders' lock.
/// `packet` sends the packet with its number.
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
            // An error means that the record was given up already.
            let _ = ring.gate().protected(|| finish(ring, token));
            unsent.map_err(Unsent::Post)
        }
    }
}
