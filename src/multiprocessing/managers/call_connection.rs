//! A connection for calls, over a socket and optionally through shared memory.
//!
//! | transport | available to | cost of a call |
//! | --- | --- | --- |
//! | the socket | every connection | two messages, and the sleep and the wake of both sides |
//! | shared memory | a connection over a Unix socket between two processes of one program | no system call while both sides are awake |
//!
//! The transport is chosen when the connection is made. Short plain data has a [compact] form, which a server of this
//! library announces. A request or reply that is long, or more than plain data, is always sent over the socket as a
//! pickle. The socket also shows that the server is alive: it hangs up when the server ends.

use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::set_blocking;
use ossature_sys::process::generation;
use ossature_sys::stream::StreamKind;
use ossature_sys::sync::exchange;

use super::compact::Room;
use super::room::with_room;
use super::timing::reply_timeout;
use super::wire::{Reply, Request};
use super::{Serializer, compact, proof};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::ahead::Ahead;
use crate::multiprocessing::connection::frame::FrameLimit;
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::connection::{Connection, Sent};
use crate::multiprocessing::reduction::{Acknowledgement, recv_handles};

/// The number of bytes that one read requests.
const READ: usize = 1024;

/// The tolerance of a wait beyond its limit. The kernel rounds the timeouts of sockets to ticks anyway.
const SLACK: Duration = Duration::from_millis(1);

/// A connection for calls.
pub(super) struct CallConnection {
    socket: Socket,
    /// The generation of the process that made the connection.
    generation: u32,
    /// Whether the server is a server of this library.
    is_rust: bool,
    serializer: Serializer,
    /// Whether the server reads the compact form over the socket.
    reads_compact: bool,
    /// A buffer for a request in the compact form.
    request: Vec<u8>,
    /// The memory shared with the server.
    memory: Option<exchange::Client>,
}

/// The socket of a connection for calls. After the choice between socket and memory, only this type reads from it.
struct Socket {
    connection: Connection,
    incoming: Ahead,
    room: [u8; READ],
    /// The socket's timeout for reads: the reply timeout at the time of the connection.
    receive_timeout: Option<Duration>,
}

/// The outcome of a call through shared memory.
pub(super) enum Called {
    /// The result of the method, as plain data.
    Value(Value),
    Reply(Box<Reply>),
    /// The time ran out.
    TimedOut,
    /// The server has ended without starting the call.
    Unseen(Error),
}

/// The outcome of a wait for a reply.
enum Waited {
    /// The reply is in the memory, or the memory indicates that it comes over the socket.
    Here,
    /// The reply came over the socket.
    Message(Vec<u8>),
    TimedOut,
    Gone(Error),
}

impl CallConnection {
    pub(super) fn new(connection: Connection, is_rust: bool, serializer: Serializer) -> Box<Self> {
        let incoming = Ahead::with_limit(FrameLimit::of_connection(connection.max_message()));
        let (timeout, stream) = (reply_timeout(), connection.stream());
        // A socket that connected within a deadline does not block. Without both a reply takes a call or two more.
        let set = set_blocking(stream).and_then(|()| stream.set_receive_timeout(Some(timeout)));
        let receive_timeout = set.is_ok().then_some(timeout);
        let socket = Socket { connection, incoming, room: [0; READ], receive_timeout };
        let (generation, reads_compact, request) = (generation(), false, Vec::new());
        Box::new(Self { socket, generation, is_rust, serializer, reads_compact, request, memory: None })
    }

    /// Records that the server reads the compact form over the socket too.
    pub(super) fn set_reads_compact(&mut self) {
        self.reads_compact = self.is_rust && self.serializer == Serializer::Pickle;
    }

    /// Tells the server that its last reply was not read, so that the server takes the references in it back. This does
    /// not wait and may fail: then the server takes the references back with the session.
    pub(super) fn abandon(&self) {
        if self.is_rust && self.is_own() {
            let message = Request::unread().encode(self.serializer);
            let _ = message.and_then(|bytes| self.socket.connection.send_bytes_timeout(&bytes, Deadline::NOW));
        }
    }

    /// Whether this process made the connection.
    pub(super) fn is_own(&self) -> bool {
        self.generation == generation()
    }

    /// Whether the socket is free for a call: the server sends nothing without a request, unless it has ended. A
    /// superfluous notification does not count.
    pub(super) fn is_idle(&mut self) -> bool {
        if !self.is_own() {
            return false;
        }
        if self.memory.is_some() {
            return self.take_notifications().is_ok();
        }
        !self.is_readable()
    }

    /// Whether a failing send shows that the server has ended, before any byte is sent. Over TCP the first send may
    /// still succeed.
    pub(super) fn tells_by_send(&self) -> bool {
        let Socket { connection, incoming, .. } = &self.socket;
        self.memory.is_none() && !incoming.has_begun() && connection.stream().kind() == StreamKind::UnixSocket
    }

    /// Whether a message has begun to arrive, or the server has ended.
    pub(super) fn is_readable(&self) -> bool {
        self.socket.incoming.has_begun() || self.socket.connection.poll(Deadline::NOW).unwrap_or(true)
    }

    /// Sends the request that was [written](Self::writes) over the socket.
    pub(super) fn send_written(&self, until: Deadline) -> Result<Sent> {
        self.send(&self.request, until)
    }

    /// Sends a call over the socket.
    pub(super) fn send(&self, call: &[u8], until: Deadline) -> Result<Sent> {
        self.socket.connection.send_bytes_timeout(call, until)
    }

    /// Reads the notifications that remain from earlier waits.
    fn take_notifications(&mut self) -> Result<()> {
        while let Some(message) = self.socket.receive(Deadline::NOW)? {
            if !message.is_empty() {
                return Err(Error::new(ErrorKind::Decode, "the manager's server sent an unexpected reply"));
            }
        }
        Ok(())
    }

    /// Waits for a reply over the socket; `None` when the time ran out.
    pub(super) fn reply(&mut self, until: Deadline) -> Result<Option<Reply>> {
        loop {
            match self.socket.receive(until)? {
                Some(notification) if notification.is_empty() && self.memory.is_some() => {}
                other => return other.map(|bytes| self.decode(&bytes)).transpose(),
            }
        }
    }

    fn decode(&self, reply: &[u8]) -> Result<Reply> {
        if self.reads_compact && compact::is_compact(reply) {
            return returned(reply).map(Reply::Return);
        }
        Reply::decode(reply, self.serializer)
    }

    // ---- through shared memory --------------------------------------------------------------------------------------

    #[inline]
    pub(super) fn shares_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Requests shared memory from the server, if both run the same program. Without it, calls go over the socket;
    /// `false` when the time ran out.
    pub(super) fn share(&mut self, until: Deadline) -> Result<bool> {
        let may =
            self.is_rust && self.serializer == Serializer::Pickle && proof::is_same_program(&self.socket.connection);
        if !may {
            return Ok(true);
        }
        let request = Request::to_server("exchange", Vec::new());
        let connection = &self.socket.connection;
        if !connection.send_bytes_timeout(&request.encode(self.serializer)?, until)?.is_complete() {
            return Ok(false);
        }
        // Descriptors follow the reply, so nothing is read ahead.
        let Some(reply) = connection.recv_bytes_timeout(until)? else { return Ok(false) };
        match Reply::decode(&reply, self.serializer)? {
            Reply::Return(Value::Bool(true)) => {}
            _ => return Ok(true),
        }
        let handles = match recv_handles(connection, 2, Acknowledgement::None, until) {
            Ok(None) => return Ok(false),
            Ok(Some(handles)) => handles,
            // This process has no room for descriptors.
            Err(error) if error.kind() == ErrorKind::Decode => return Ok(true),
            Err(error) => return Err(error),
        };
        if let Ok([memory, wakeup]) = <[_; 2]>::try_from(handles) {
            if let Ok(exchange) = exchange::Client::new(memory, wakeup) {
                self.memory = Some(exchange);
            }
        }
        Ok(true)
    }

    /// Writes a request for [`call`](Self::call) or [`send_written`](Self::send_written). Returns whether the request
    /// has the compact form and the server reads that.
    pub(super) fn writes(&mut self, request: &Request<'_>) -> bool {
        let may = self.memory.is_some() || self.reads_compact;
        may && with_room(|room| {
            let written = compact::write_request(request, room);
            self.request.clear();
            self.request.extend_from_slice(written.as_deref().unwrap_or_default());
            written.is_ok()
        })
    }

    /// Calls with the request that was [written](Self::writes).
    pub(super) fn call(&mut self, until: Deadline) -> Result<Called> {
        with_room(|room| {
            let length = self.request.len();
            match room.get_mut(..length) {
                Some(place) => place.copy_from_slice(&self.request),
                None => return Err(broken(Errno::MSGSIZE)),
            }
            self.call_with(room, length, until)
        })
    }

    /// Calls with a request in the compact form, the first `length` bytes of `room`. The reply may replace it there.
    pub(super) fn call_with(&mut self, room: &mut Room, length: usize, until: Deadline) -> Result<Called> {
        let Some(exchange) = &mut self.memory else { return Ok(Called::TimedOut) };
        match exchange.call(room, length, until).map_err(broken)? {
            Some(reply) => returned(reply).map(Called::Value),
            None => self.wait_longer(room, until),
        }
    }

    /// Waits for a reply that takes longer than the first short wait, or that comes over the socket.
    #[cold]
    fn wait_longer(&mut self, room: &mut Room, until: Deadline) -> Result<Called> {
        let Some(exchange) = &mut self.memory else { return Ok(Called::TimedOut) };
        match wait_for_message(exchange, &mut self.socket, until)? {
            Waited::Here => match exchange.reply(room).map_err(broken)? {
                Some(bytes) => returned(bytes).map(Called::Value),
                None => Ok(self.reply(until)?.map_or(Called::TimedOut, |reply| Called::Reply(Box::new(reply)))),
            },
            Waited::Message(bytes) => self.decode(&bytes).map(|reply| Called::Reply(Box::new(reply))),
            Waited::TimedOut => {
                exchange.retract().map_err(broken)?;
                Ok(Called::TimedOut)
            }
            Waited::Gone(error) if !exchange.was_taken().map_err(broken)? => Ok(Called::Unseen(error)),
            Waited::Gone(error) => Err(error),
        }
    }
}

impl Socket {
    /// Receives the next message; `None` when the time ran out.
    fn receive(&mut self, until: Deadline) -> Result<Option<Vec<u8>>> {
        let Self { connection, incoming, room, receive_timeout } = self;
        let stream = connection.stream();
        // The server needs some time for the reply, so the wait comes first. Without a limit the read itself waits.
        let waits = until != Deadline::NEVER && until != Deadline::NOW;
        // The read waits also under the usual limit, which is set on the socket too.
        let mut in_one_call = receive_timeout.is_some_and(|timeout| waits && leaves(until, timeout));
        incoming.next(room, |space| {
            if std::mem::take(&mut in_one_call) {
                if let Some(n) = stream.read_in_one_call(space)? {
                    return Ok(Some(n));
                }
            }
            if waits && !Until::from(until).is_readable(stream)? {
                return Ok(None);
            }
            stream.read(space, until)
        })
    }
}

/// Whether at least `span` is left, or at most [`SLACK`] less.
fn leaves(until: Deadline, span: Duration) -> bool {
    until.remaining().is_some_and(|left| left.saturating_add(SLACK) >= span)
}

/// Decodes the result of a method in the compact form.
#[inline]
fn returned(bytes: &[u8]) -> Result<Value> {
    compact::read_reply(bytes).ok_or_else(no_reply)
}

#[cold]
fn no_reply() -> Error {
    Error::new(ErrorKind::Decode, "the manager's server sent a malformed reply")
}

/// Waits for a message on the socket: a notification, a reply, or the end of the server.
fn wait_for_message(exchange: &exchange::Client, socket: &mut Socket, until: Deadline) -> Result<Waited> {
    while exchange.wait_for_notification().map_err(broken)? {
        let ended = match socket.receive(until) {
            Ok(Some(notification)) if notification.is_empty() => continue,
            Ok(Some(message)) => Waited::Message(message),
            Ok(None) => Waited::TimedOut,
            Err(error) => Waited::Gone(error),
        };
        exchange.wake().map_err(broken)?;
        // The reply may have come between.
        let is_here = !matches!(ended, Waited::Message(_)) && exchange.has_reply().map_err(broken)?;
        return Ok(if is_here { Waited::Here } else { ended });
    }
    exchange.wake().map_err(broken)?;
    Ok(Waited::Here)
}

#[cold]
fn broken(errno: Errno) -> Error {
    Error::os(errno, "the shared memory of a manager's connection")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use ossature_sys::fd::set_nonblocking;
    use ossature_sys::mmap::Region;

    use super::*;
    use crate::multiprocessing::connection::pipe;

    /// Makes a connection whose server the test plays: returns the server's side of the memory and of the socket, and
    /// the memory.
    fn by_hand() -> (Box<CallConnection>, exchange::Server, Connection, Region) {
        let (server, memory, wakeup) = exchange::Server::new().unwrap();
        let (near, far) = pipe().unwrap();
        let region = Region::shared(&memory, 8192).unwrap();
        let mut line = CallConnection::new(near, true, Serializer::Pickle);
        let exchange = exchange::Client::new(memory, wakeup).unwrap();
        line.memory = Some(exchange);
        assert!(line.writes(&Request::to_server("dummy", Vec::new())));
        (line, server, far, region)
    }

    /// Returns the outcome of a call when the server does `serve` while the client waits for a notification.
    fn called(serve: impl FnOnce(exchange::Server, Connection) + Send) -> Result<Called> {
        let (mut line, server, far, region) = by_hand();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The word for the client's kind of sleep, and its value during that sleep.
                while region.atomic_u32(4).unwrap().load(SeqCst) != 2 {
                    std::thread::yield_now();
                }
                serve(server, far);
            });
            line.call(Deadline::NEVER)
        })
    }

    fn take(server: &mut exchange::Server) {
        while server.take(&mut [0; exchange::ROOM]).unwrap().is_none() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn reply_is_awaited_within_its_limit_whatever_the_socket_has() {
        let (near, far) = pipe().unwrap();
        set_nonblocking(near.stream()).unwrap(); // as a socket that connected is
        let mut line = CallConnection::new(near, true, Serializer::Pickle);
        let timeout = line.socket.receive_timeout.expect("a socket has one");
        assert_eq!(timeout, reply_timeout());
        assert!(leaves(Deadline::after(timeout), timeout) && !leaves(Deadline::after(timeout / 2), timeout));
        assert_eq!(line.reply(Deadline::after(SLACK)).unwrap(), None, "long before the timeout of the socket");
        // A shorter timeout of the socket does not end the wait.
        line.socket.connection.stream().set_receive_timeout(Some(SLACK)).unwrap();
        line.socket.receive_timeout = Some(SLACK);
        let begun = std::time::Instant::now();
        assert_eq!(line.socket.connection.stream().read_in_one_call(&mut [0; 4]), Ok(None));
        assert!(begun.elapsed() >= SLACK, "it waits in the call");
        let until = Deadline::after(20 * SLACK);
        assert_eq!(line.reply(until).unwrap(), None);
        assert!(until.has_passed());
        let reply = Reply::Return(Value::Int(7));
        far.send_bytes(&reply.encode(Serializer::Pickle).unwrap()).unwrap();
        assert_eq!(line.reply(Deadline::after(timeout)).unwrap(), Some(reply));
    }

    #[test]
    fn call_that_is_late_is_taken_back() {
        let (mut line, mut server, _far, _) = by_hand();
        assert!(matches!(line.call(Deadline::NOW), Ok(Called::TimedOut)));
        assert_eq!(server.take(&mut [0; exchange::ROOM]), Ok(None));
    }

    #[test]
    fn reply_of_more_than_plain_data_comes_by_the_socket_behind_notifications() {
        let reply = Reply::Traceback("a\n".to_owned());
        let bytes = reply.encode(Serializer::Pickle).unwrap();
        let called = called(|mut server, far| {
            take(&mut server);
            far.send_bytes(b"").unwrap(); // one notification too many
            server.answer_elsewhere().unwrap();
            far.send_bytes(&bytes).unwrap();
        });
        assert!(matches!(called, Ok(Called::Reply(came)) if *came == reply));
    }

    #[test]
    fn end_of_the_server_says_whether_the_call_was_begun() {
        let begun = called(|mut server, far| {
            take(&mut server);
            drop(far);
        });
        assert!(begun.is_err_and(|error| error.kind() == ErrorKind::Closed));
        let not_begun = called(|_, far| drop(far));
        assert!(matches!(not_begun, Ok(Called::Unseen(error)) if error.kind() == ErrorKind::Closed));
    }

    #[test]
    fn reply_of_a_server_that_ends_at_once_is_not_lost() {
        let value = compact::write_reply(&Value::Int(7), &mut [0; compact::MOST]).unwrap().to_vec();
        let called = called(|mut server, far| {
            take(&mut server);
            assert_eq!(server.answer(&value), Ok(exchange::Wake::Notify));
            drop(far); // instead of a notification
        });
        assert!(matches!(called, Ok(Called::Value(Value::Int(7)))));
    }
}
