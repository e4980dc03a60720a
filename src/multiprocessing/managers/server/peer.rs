//! A connection of a client, from the view of the loop.
//!
//! | role | its requests | a request that cannot be read |
//! | --- | --- | --- |
//! | `First` | one to the server; it is closed after the reply, unless the request was for another role | the same |
//! | `Objects` | to objects, for a thread of a client in Python | an error reply |
//! | `Session` | to objects and to the server, for a thread of a client in Rust | the same |
//! | `Control` | references that the client gives back, without replies; questions to the server, with replies | ends it, and the session with it |
//!
//! A connection is *busy* from a request until its reply is sent. The loop does not read from a busy connection. So a
//! client that sends ahead, or does not read, costs one request, the bytes that the same read returned after it, and
//! one reply. A bound applies to these of all connections of a client together.
//!
//! A connection of a `Session` may have [shared memory](exchange) beside its socket. Requests arrive in the memory or
//! on the socket, one at a time. A reply to a request in the memory is written there too, if it is short, plain data.
//!
//! A client in Rust may abandon a call, and closes the connection then. If the client has closed the connection, the
//! request is not executed: no client would receive its result. A reply that was already sent may hold references. Only
//! the client knows whether it has read that reply: if not, its last message on the connection is `unread`, and the
//! references are given back. The same happens if the reply was not sent completely.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Instant;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::Interest;
use ossature_sys::sync::exchange;

use super::super::Serializer;
use super::holder::{Holder, SessionId};
use super::local::{Owner, WaiterId};
use super::usage::{Charge, Resource, Usage};
use crate::error::Result;
use crate::multiprocessing::connection::Connection;
use crate::multiprocessing::connection::ahead::Ahead;
use crate::multiprocessing::connection::frame::{FrameLimit, Outgoing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    First,
    Objects,
    Session(SessionId),
    Control(SessionId),
}

/// The connections, keyed by their numbers. The server chooses the numbers, so no client can make them collide.
pub(super) type Peers = HashMap<Owner, Peer, BuildHasherDefault<ByNumber>>;

/// A hasher for numbers that count up.
#[derive(Default)]
pub(super) struct ByNumber(u64);

impl Hasher for ByNumber {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A reference that a reply gives to a client.
pub(super) enum Taken {
    /// A reference to the object with this name.
    Reference(String),
    /// The reference of a lent proxy, by the name of its ticket.
    Ticket(String),
}

/// The result of reading from a connection that is ready.
pub(super) enum Received {
    Message(Vec<u8>),
    /// No message is complete yet.
    Nothing,
    /// The client has disconnected, or has sent bytes that are not a message.
    End,
}

pub(super) struct Peer {
    connection: Connection,
    incoming: Ahead,
    outgoing: Outgoing,
    pub(super) role: Role,
    /// The format of the last request, and so of its reply.
    pub(super) serializer: Serializer,
    /// Whether a request is waiting for its reply.
    pub(super) busy: bool,
    /// The shared memory through which requests may also come.
    pub(super) exchange: Option<exchange::Server>,
    /// Whether the current request came through shared memory. Then the reply goes the same way, if it fits.
    pub(super) by_memory: bool,
    /// Whether the current request came in the compact form over the socket. Then the reply has the same form, if it
    /// fits.
    pub(super) is_compact: bool,
    /// Whether the connection closes once the reply is sent.
    pub(super) last: bool,
    /// The references that the client took with its last request. They are given back if the client reports that it
    /// did not read the reply.
    pub(super) taken: Vec<Taken>,
    /// The parked call of the connection.
    pub(super) waits: Option<WaiterId>,
    /// The objects that the connection may hold: locks and the like.
    pub(super) touched: HashSet<String>,
    /// The deadline for the first request.
    pub(super) first_request_by: Option<Instant>,
    /// The events registered with the epoll set.
    pub(super) interest: Interest,
    /// The length of the current request.
    pub(super) asked: usize,
    /// The share of this connection in the buffers of its client.
    buffers: Charge,
    _place: Charge,
}

impl Peer {
    pub(super) fn new(
        connection: Connection,
        usage: &Arc<Usage>,
        message: usize,
        first_request_by: Option<Instant>,
    ) -> Self {
        Self {
            asked: 0,
            buffers: Charge::new(usage, Resource::Buffers, 0),
            _place: Charge::new(usage, Resource::Connections, 1),
            connection,
            incoming: Ahead::with_limit(FrameLimit::of_connection(message)),
            outgoing: Outgoing::default(),
            role: Role::First,
            serializer: Serializer::Pickle,
            busy: false,
            exchange: None,
            by_memory: false,
            is_compact: false,
            last: false,
            taken: Vec::new(),
            waits: None,
            touched: HashSet::new(),
            first_request_by,
            interest: Interest::empty(),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The usage of the client.
    pub(super) fn usage(&self) -> &Arc<Usage> {
        self.buffers.usage()
    }

    /// Counts the buffered bytes of this connection. Returns the bytes of all connections of the client.
    pub(super) fn count_buffers(&mut self) -> usize {
        self.buffers.set(self.asked + self.incoming.held() + self.outgoing.rest().len());
        self.usage().of(Resource::Buffers)
    }

    /// The events that the epoll set should report.
    pub(super) fn wanted(&self) -> Interest {
        if !self.outgoing.is_empty() {
            Interest::OUT
        } else if self.busy {
            Interest::RDHUP
        } else {
            Interest::IN | Interest::RDHUP
        }
    }

    /// Whether the loop or the epoll set must be updated for a change.
    pub(super) fn has_news(&self) -> bool {
        self.wanted() != self.interest || self.has_more()
    }

    /// Whether the shared memory contains a request that may be carried out now.
    pub(super) fn is_asking(&self) -> bool {
        let asks = || self.exchange.as_ref().is_some_and(|exchange| exchange.has_request().unwrap_or_default());
        !self.busy && self.is_flushed() && asks()
    }

    /// Reads up to the end of at least one message.
    pub(super) fn receive(&mut self, room: &mut [u8]) -> Received {
        let stream = self.connection.stream();
        match self.incoming.next(room, |space| stream.read(space, Deadline::NOW)) {
            Ok(Some(message)) => Received::Message(message),
            Ok(None) => Received::Nothing,
            Err(_) => Received::End,
        }
    }

    /// Whether bytes of a later request are buffered, which no descriptor will report, and the request may be read now.
    pub(super) fn has_more(&self) -> bool {
        !self.busy && self.is_flushed() && self.incoming.has_rest()
    }

    /// The holder of the references that this connection takes.
    pub(super) fn holder(&self) -> Holder {
        match self.role {
            Role::Session(id) | Role::Control(id) => Holder::Session(id),
            Role::First | Role::Objects => Holder::Python(self.usage().clone()),
        }
    }

    /// Queues the reply to the current request, which completes the request.
    pub(super) fn answer(&mut self, message: &[u8]) {
        (self.busy, self.waits, self.asked) = (false, None, 0);
        self.enqueue(message);
    }

    pub(super) fn enqueue(&mut self, message: &[u8]) {
        self.outgoing.push(message);
    }

    /// Writes the pending replies, as far as the socket accepts them; an error when the client has disconnected.
    pub(super) fn flush(&mut self) -> Result<()> {
        while !self.outgoing.is_empty() {
            match self.connection.stream().write([self.outgoing.rest(), &[]], Deadline::NOW)? {
                Some(n) => self.outgoing.advance(n),
                None => break,
            }
        }
        Ok(())
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty()
    }
}
