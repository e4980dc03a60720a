//! The words of an exchange, and the order of its steps.
//!
//! | word | written by | value |
//! | --- | --- | --- |
//! | `asked` | the client | the number and length of the last request |
//! | `client_sleeps` | the client | how it waits: `AWAKE`, `ON_WORD`, `FOR_NOTIFICATION` |
//! | `answered` | the server | the number of the last request that was answered, and the length of the reply |
//! | `taken` | the server | the number of the last request that was copied out |
//! | `server_sleeps` | the server | `AWAKE`, or `FOR_BELL` |
//!
//! | bits of `asked` and `answered` | meaning |
//! | --- | --- |
//! | `0..13` | length in bytes; [`ELSEWHERE`] in `answered`: the reply goes another way |
//! | `13..32` | number, which goes up by one with each call |
//!
//! | side | steps, in this order |
//! | --- | --- |
//! | client | writes the bytes; stores `asked` (`SeqCst`); loads `server_sleeps` (`SeqCst`), and signals the wake-up unless `AWAKE` |
//! | server, for a request | loads `asked` (`Acquire`), once; copies the bytes; stores `taken` (`Release`); executes the request |
//! | server, for a reply | writes the bytes; stores `answered` (`SeqCst`); loads `client_sleeps` (`SeqCst`), and wakes or notifies |
//! | client, for a reply | loads `answered` (`Acquire`), once; copies the bytes |
//! | either, before a sleep | stores its own `.._sleeps` (`SeqCst`); loads the other side's word (`SeqCst`); sleeps if there is no news |
//!
//! *Why no wake is lost.* One side stores news and then looks for a sleeper. The other announces its sleep and then
//! looks for news. All four steps are in one total order, so at least one side sees what the other did.
//!
//! *Why a death leaves nothing half done.* Each word has one writer and each step is one store. A client that dies
//! before it stores `asked` has not called. A server that dies before it stores `taken` has not executed the request. A
//! server that dies after it stores `answered` has replied.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::atomic::{AtomicU32, in_one_order};

/// This side is awake and polls the other side's word.
pub(crate) const AWAKE: u32 = 0;
/// The server sleeps until the wake-up is signalled.
pub(crate) const FOR_BELL: u32 = 1;
/// The client sleeps on `answered`.
pub(crate) const ON_WORD: u32 = 1;
/// The client sleeps until the server notifies at another place.
pub(crate) const FOR_NOTIFICATION: u32 = 2;

const LENGTH_BITS: u32 = 13;
const LENGTH: u32 = (1 << LENGTH_BITS) - 1;
/// The length that marks a reply as sent another way.
pub(crate) const ELSEWHERE: u32 = LENGTH;

/// The greatest call number.
const LAST: u32 = u32::MAX >> LENGTH_BITS;

/// The call number after `number`.
pub(crate) fn next(number: u32) -> u32 {
    number.wrapping_add(1) & LAST
}

/// The call number before `number`.
pub(crate) fn before(number: u32) -> u32 {
    number.wrapping_sub(1) & LAST
}

fn pack(number: u32, length: u32) -> u32 {
    number << LENGTH_BITS | length & LENGTH
}

fn number(word: u32) -> u32 {
    word >> LENGTH_BITS
}

/// What the server has to do after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Nothing: the client is awake and polls.
    Nobody,
    /// Wake the sleeper on `answered`.
    Sleeper,
    /// Send the client a notification over the other channel.
    Notify,
}

/// The words of an exchange, wherever they are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'m> {
    pub(crate) asked: &'m AtomicU32,
    pub(crate) client_sleeps: &'m AtomicU32,
    pub(crate) answered: &'m AtomicU32,
    pub(crate) taken: &'m AtomicU32,
    pub(crate) server_sleeps: &'m AtomicU32,
}

impl Words<'_> {
    /// Publishes a request whose bytes are written. Returns whether the wake-up must be signalled.
    #[inline]
    pub(crate) fn ask(&self, number: u32, length: u32) -> bool {
        self.asked.store(pack(number, length), SeqCst);
        in_one_order();
        self.server_sleeps.load(SeqCst) != AWAKE
    }

    /// Takes back a request that the server has not seen: resets the word to its value after the previous call.
    pub(crate) fn retract(&self, before: u32) {
        self.asked.store(pack(before, 0), SeqCst);
    }

    /// The number and the length of the request after call `last`. Any other number is not a request: it was taken
    /// back, or its writer breaks the protocol.
    #[inline]
    pub(crate) fn request(&self, last: u32) -> Option<(u32, u32)> {
        let word = self.asked.load(Acquire);
        (number(word) == next(last)).then_some((number(word), word & LENGTH))
    }

    /// Records that the bytes of request `number` were copied out.
    #[inline]
    pub(crate) fn take(&self, number: u32) {
        self.taken.store(number, Release);
    }

    /// Whether the server has copied request `number` out.
    pub(crate) fn was_taken(&self, number: u32) -> bool {
        self.taken.load(Acquire) == number
    }

    /// Publishes a reply whose bytes are written.
    #[inline]
    pub(crate) fn answer(&self, number: u32, length: u32) -> Wake {
        self.answered.store(pack(number, length), SeqCst);
        in_one_order();
        match self.client_sleeps.load(SeqCst) {
            AWAKE => Wake::Nobody,
            ON_WORD => Wake::Sleeper,
            _ => Wake::Notify,
        }
    }

    /// The length of the reply to request `asked`, if it is there.
    #[inline]
    pub(crate) fn reply(&self, asked: u32) -> Option<u32> {
        let word = self.answered.load(Acquire);
        (number(word) == asked).then_some(word & LENGTH)
    }

    /// Announces that the server will sleep. Returns false if there is a request after `last`.
    pub(crate) fn server_sleeps(&self, last: u32) -> bool {
        self.server_sleeps.store(FOR_BELL, SeqCst);
        in_one_order();
        number(self.asked.load(SeqCst)) != next(last)
    }

    /// Announces that the server polls again.
    #[inline]
    pub(crate) fn server_is_awake(&self) {
        self.server_sleeps.store(AWAKE, Relaxed);
    }

    /// Announces how the client will sleep. Returns the value of the word to sleep on, or `None` if the reply to
    /// request `asked` is there.
    pub(crate) fn client_sleeps(&self, how: u32, asked: u32) -> Option<u32> {
        self.client_sleeps.store(how, SeqCst);
        in_one_order();
        let word = self.answered.load(SeqCst);
        (number(word) != asked).then_some(word)
    }

    /// Announces that the client polls again.
    #[inline]
    pub(crate) fn client_is_awake(&self) {
        self.client_sleeps.store(AWAKE, Relaxed);
    }
}
