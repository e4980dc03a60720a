//! The connections of a process to one server.
//!
//! | connection | use |
//! | --- | --- |
//! | control, one for the process | the session: when it ends, the server releases the references of the process. The process sends references that it gives back, without replies, and queries about the objects, with replies |
//! | one for each calling thread | calls and replies, alternately, through [shared memory](super::call_connection) if possible; locks belong to it |
//! | one for each call in flight | that call and its reply; idle connections are kept for the next call |
//!
//! A server in Python knows no sessions: there a reference is counted by a connection of its own, as its own clients
//! do. A forked child begins anew, with a session of its own. A thread's connection is closed with the thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::process::generation;
use ossature_sys::sync::lock::Lock;

use super::call_connection::{CallConnection, Called};
use super::compact::Room;
use super::timing::{keep_alive, reply_timeout};
use super::wire::{Reply, Request, VERSION};
use super::{Exception, Serializer};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Connection, Sent};
use crate::multiprocessing::process::current_process;

/// The maximum time for giving a reference back.
const SHORT: Duration = Duration::from_secs(1);

/// The deadline for a reply that should come at once.
fn reply_deadline() -> Deadline {
    Deadline::after(reply_timeout())
}

/// The maximum number of idle connections that are kept for calls in flight.
const SPARE: usize = 32;

/// The outcome of a call that was meant for shared memory.
pub(super) enum ByMemory {
    /// The result of the method, as plain data.
    Value(Value),
    Reply(Box<Reply>),
    /// The call did not go through shared memory. With an error, the server had ended before the call reached it.
    Unsent(Option<Error>),
}

pub(super) struct Client {
    id: u64,
    address: Address,
    key: AuthKey,
    serializer: Serializer,
    link: Lock<Identity>,
    /// Idle connections for calls in flight.
    #[allow(clippy::vec_box, reason = "a connection goes from call to call in its box")]
    spare: Lock<Vec<Box<CallConnection>>>,
}

struct Identity {
    generation: u32,
    kind: Kind,
}

/// The kind of the server, as far as it is known.
enum Kind {
    Unknown,
    Rust { secret: String, control: Box<Control> },
    Python,
}

/// The connection of a session.
struct Control {
    connection: Connection,
    serializer: Serializer,
    /// The number of replies whose callers no longer wait. They arrive before other replies.
    unread_replies: usize,
    /// References that must be given back and could not be sent yet.
    pending_decrefs: VecDeque<String>,
}

impl Control {
    /// Gives references back, as far as the server accepts the messages by the deadline.
    fn send_pending(&mut self, until: Deadline) {
        while let Some(ident) = self.pending_decrefs.front() {
            let sent = decref(ident)
                .encode(self.serializer)
                .and_then(|bytes| self.connection.send_bytes_timeout(&bytes, until));
            match sent {
                Ok(sent) if !sent.has_begun() => return,
                // Sent, or the server has ended, and its counts with it.
                _ => drop(self.pending_decrefs.pop_front()),
            }
        }
    }

    /// Sends a request and waits for the reply; `None` when the time ran out.
    fn ask(&mut self, request: &[u8], until: Deadline) -> Result<Option<Vec<u8>>> {
        self.send_pending(until);
        if !self.pending_decrefs.is_empty() || !self.connection.send_bytes_timeout(request, until)?.has_begun() {
            return Ok(None);
        }
        self.unread_replies += 1;
        while let Some(reply) = self.connection.recv_bytes_timeout(until)? {
            self.unread_replies -= 1;
            if self.unread_replies == 0 {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }
}

fn decref(ident: &str) -> Request<'static> {
    Request::to_server("decref", vec![ident.into()])
}

thread_local! {
    /// This thread's connections, each with the number of its client. There are few.
    static CONNECTIONS: RefCell<Vec<(u64, Box<CallConnection>)>> = const { RefCell::new(Vec::new()) };
}

impl Client {
    pub(super) fn new(address: Address, key: AuthKey, serializer: Serializer) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let link = Lock::new(Identity { generation: generation(), kind: Kind::Unknown });
        Self { id: NEXT.fetch_add(1, Relaxed), address, key, serializer, link, spare: Lock::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn key(&self) -> &AuthKey {
        &self.key
    }

    /// Whether this client uses the given key and serializer.
    pub(super) fn is_by(&self, key: &AuthKey, serializer: Serializer) -> bool {
        self.key.as_bytes() == key.as_bytes() && self.serializer == serializer
    }

    pub(super) fn serializer(&self) -> Serializer {
        self.serializer
    }

    fn connect(&self, until: Deadline) -> Result<Connection> {
        let builder = ConnectBuilder::new().authkey(&self.key);
        let connection = builder.connect_timeout(&self.address, until)?.ok_or_else(|| self.timeout_error())?;
        if let Address::Inet(..) = self.address {
            let _ = keep_alive(&connection); // the other side may be gone already, as it will turn out
        }
        Ok(connection)
    }

    /// Returns the error for a server that did not answer in time.
    pub(super) fn timeout_error(&self) -> Error {
        let message = format!(
            "the manager at {} did not answer in time: the server is stopped, overloaded or cut off (`managers::set_reply_timeout` sets the limit)",
            self.address
        );
        Error::with_errno(ErrorKind::Os, Errno::TIMEDOUT, message)
    }

    /// Sends one request on a new connection, which the server closes after the reply.
    fn once(&self, request: Request<'_>, until: Deadline) -> Result<Reply> {
        let connection = self.connect(until)?;
        self.exchange(&connection, &request.encode(self.serializer)?, until)?.ok_or_else(|| self.timeout_error())
    }

    /// Sends a request and waits for the reply; `None` when the time ran out.
    fn exchange(&self, connection: &Connection, request: &[u8], until: Deadline) -> Result<Option<Reply>> {
        if !connection.send_bytes_timeout(request, until)?.is_complete() {
            return Ok(None);
        }
        let reply = connection.recv_bytes_timeout(until).map_err(|error| self.ended(error))?;
        reply.map(|bytes| Reply::decode(&bytes, self.serializer)).transpose()
    }

    /// Adds the server's address to the error of a server that has ended.
    fn ended(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Closed => {
                let message = format!("the manager at {} has ended, or closed the connection", self.address);
                Error::caused(ErrorKind::Closed, error.errno(), error).with_message(message)
            }
            _ => error,
        }
    }

    fn hello(&self, secret: Option<&str>) -> Request<'static> {
        Request::to_server("ossature", vec![VERSION.into(), name().into(), secret.map(str::to_owned).into()])
    }

    /// Determines the kind of the server, and begins a session.
    fn identify<'l>(&self, link: &'l mut Identity, until: Deadline) -> Result<&'l mut Kind> {
        if link.generation != generation() {
            *link = Identity { generation: generation(), kind: Kind::Unknown }; // the session is the parent's
        }
        if let Kind::Unknown = link.kind {
            let connection = self.connect(until)?;
            let request = self.hello(None).encode(self.serializer)?;
            link.kind = match self.exchange(&connection, &request, until)?.ok_or_else(|| self.timeout_error())? {
                Reply::Return(Value::Text(secret)) => {
                    let control = Control {
                        connection,
                        serializer: self.serializer,
                        unread_replies: 0,
                        pending_decrefs: VecDeque::new(),
                    };
                    Kind::Rust { secret, control: Box::new(control) }
                }
                _ => Kind::Python,
            };
        }
        Ok(&mut link.kind)
    }

    /// Whether the server is a server of this library.
    pub(super) fn is_rust(&self) -> Result<bool> {
        let until = reply_deadline();
        let mut link = self.link.lock_timeout(until).ok_or_else(|| self.timeout_error())?;
        Ok(matches!(self.identify(&mut link, until)?, Kind::Rust { .. }))
    }

    /// Makes a connection for calls.
    fn join(&self, until: Deadline) -> Result<Box<CallConnection>> {
        for _ in 0..2 {
            let mut link = self.link.lock_timeout(until).ok_or_else(|| self.timeout_error())?;
            let (is_rust, request) = match self.identify(&mut link, until)? {
                Kind::Rust { secret, .. } => (true, self.hello(Some(secret))),
                _ => (false, Request::to_server("accept_connection", vec![name().into()])),
            };
            drop(link);
            let connection = self.connect(until)?;
            match self
                .exchange(&connection, &request.encode(self.serializer)?, until)?
                .ok_or_else(|| self.timeout_error())?
            {
                Reply::Return(value) => {
                    let mut line = CallConnection::new(connection, is_rust, self.serializer);
                    if value == Value::Bool(true) {
                        line.set_reads_compact();
                    }
                    return Ok(line);
                }
                // Another server is there by now.
                _ => self.link.lock_timeout(until).ok_or_else(|| self.timeout_error())?.kind = Kind::Unknown,
            }
        }
        Err(Error::new(ErrorKind::Closed, format!("the manager at {} refused the connection", self.address)))
    }

    /// Makes a connection for the calls of one thread: through shared memory if possible.
    fn join_thread(&self, until: Deadline) -> Result<Box<CallConnection>> {
        let mut line = self.join(until)?;
        if line.share(until)? { Ok(line) } else { Err(self.timeout_error()) }
    }

    /// Whether this thread has a connection whose calls go through shared memory.
    #[inline]
    pub(super) fn has_sharing(&self) -> bool {
        let has = CONNECTIONS.try_with(|mine| {
            mine.borrow().iter().any(|(id, line)| *id == self.id && line.is_own() && line.shares_memory())
        });
        has.unwrap_or(false)
    }

    /// Takes this thread's connection, if its calls go through shared memory.
    #[inline]
    fn take_sharing(&self) -> Option<Box<CallConnection>> {
        let taken = CONNECTIONS.try_with(|mine| {
            let mut mine = mine.borrow_mut();
            let place = mine.iter().position(|(id, _)| *id == self.id)?;
            let (_, line) = mine.get(place)?;
            (line.is_own() && line.shares_memory()).then(|| mine.swap_remove(place).1)
        });
        taken.ok().flatten()
    }

    /// Takes this thread's connection.
    fn take_connection(&self) -> Option<Box<CallConnection>> {
        let taken = CONNECTIONS.try_with(|mine| {
            let mut mine = mine.borrow_mut();
            let place = mine.iter().position(|(id, _)| *id == self.id)?;
            Some(mine.swap_remove(place).1)
        });
        taken.ok().flatten()
    }

    /// Keeps this thread's connection for the next call. While the thread ends, the connection is closed instead.
    fn keep_connection(&self, line: Box<CallConnection>) {
        let _ = CONNECTIONS.try_with(|mine| mine.borrow_mut().push((self.id, line)));
    }

    /// Whether the calls of this thread go through shared memory.
    pub(super) fn shares_memory(&self) -> Result<bool> {
        let line = match self.take_connection().filter(|line| line.is_own()) {
            Some(line) => line,
            None => self.join_thread(reply_deadline())?,
        };
        let shares = line.shares_memory();
        self.keep_connection(line);
        Ok(shares)
    }

    /// Calls with a request in the compact form, the first `length` bytes of `room`, if this thread's calls go through
    /// shared memory. The reply may replace it there. `None` when the time ran out. Then the connection is closed, so
    /// that the server forgets the call.
    pub(super) fn call_by_memory(&self, room: &mut Room, length: usize, until: Deadline) -> Result<Option<ByMemory>> {
        let Some(mut line) = self.take_sharing() else { return Ok(Some(ByMemory::Unsent(None))) };
        match line.call_with(room, length, until) {
            Ok(Called::Value(value)) => {
                self.keep_connection(line);
                Ok(Some(ByMemory::Value(value)))
            }
            other => self.end_call(line, other),
        }
    }

    #[cold]
    fn end_call(&self, line: Box<CallConnection>, called: Result<Called>) -> Result<Option<ByMemory>> {
        match called {
            Ok(Called::Unseen(error)) => Ok(Some(ByMemory::Unsent(Some(error)))),
            Ok(Called::TimedOut) => {
                line.abandon();
                Ok(None)
            }
            Ok(Called::Value(value)) => {
                self.keep_connection(line);
                Ok(Some(ByMemory::Value(value)))
            }
            Ok(Called::Reply(reply)) => {
                self.keep_connection(line);
                Ok(Some(ByMemory::Reply(reply)))
            }
            Err(error) => {
                line.abandon();
                Err(self.ended(error))
            }
        }
    }

    /// Calls a method of an object, or of the server; `None` when the time ran out. Then the connection is closed, so
    /// that the server forgets the call. `gone` is the error of a server that ended before this call reached it.
    pub(super) fn call(&self, request: Request<'_>, until: Deadline, mut gone: Option<Error>) -> Result<Option<Reply>> {
        if request.ident.is_none() && !self.is_rust()? {
            return self.once(request, until.min(reply_deadline())).map(Some);
        }
        let mut mine = self.take_connection().filter(|line| line.is_own());
        let is_written = mine.as_mut().is_some_and(|line| line.writes(&request));
        if let Some(mut line) = mine.take_if(|line| is_written && line.shares_memory()) {
            let called = line.call(until);
            match self.end_call(line, called)? {
                Some(ByMemory::Value(value)) => return Ok(Some(Reply::Return(value))),
                Some(ByMemory::Reply(reply)) => return Ok(Some(*reply)),
                Some(ByMemory::Unsent(error)) => gone = error,
                None => return Ok(None),
            }
        }
        let mut sent = None;
        if is_written {
            sent = send_by(mine.take(), |line| line.send_written(until))?;
        }
        let (mut line, sent) = match sent {
            Some(sent) => sent,
            None => self.send(mine, request, gone, until)?,
        };
        if !sent.is_complete() {
            return Ok(None);
        }
        match line.reply(until).map_err(|error| self.ended(error)) {
            Ok(Some(reply)) => {
                self.keep_connection(line);
                Ok(Some(reply))
            }
            other => {
                line.abandon();
                other
            }
        }
    }

    /// Sends a call over the socket as a pickle or a document, over this connection or a new one. `gone` is the error
    /// of a server that ended before the call reached it.
    fn send(
        &self,
        mine: Option<Box<CallConnection>>,
        request: Request<'_>,
        gone: Option<Error>,
        until: Deadline,
    ) -> Result<(Box<CallConnection>, Sent)> {
        let bytes = match request.encode(self.serializer) {
            Ok(bytes) => bytes,
            Err(error) => {
                mine.into_iter().for_each(|line| self.keep_connection(line));
                return Err(error);
            }
        };
        if let Some(sent) = send_by(mine, |line| line.send(&bytes, until))? {
            return Ok(sent);
        }
        // If no other server is at the address, the call ends with the error of the earlier server.
        let line = self.join_thread(until.min(reply_deadline()));
        let line = line.map_err(|error| gone.map_or(error, |gone| self.ended(gone)))?;
        let sent = line.send(&bytes, until)?;
        Ok((line, sent))
    }

    /// Sends a call over a connection of its own, and does not wait for the reply.
    pub(super) fn send_async(self: &Arc<Self>, request: Request<'_>) -> Result<PendingCall> {
        let (bytes, ready) = (request.encode(self.serializer)?, reply_deadline());
        let idle = std::iter::from_fn(|| self.spare.lock().pop()).find_map(|mut line| line.is_idle().then_some(line));
        let line = match idle {
            Some(line) => line,
            None => self.join(ready)?,
        };
        if !line.send(&bytes, ready)?.is_complete() {
            return Err(self.timeout_error());
        }
        Ok(PendingCall { client: self.clone(), line: Some(line) })
    }

    /// Calls a method of the server itself, after all references that this process has given back so far.
    pub(super) fn ask_after_all(&self, method: &str) -> Result<Value> {
        let request = Request::to_server(method, Vec::new());
        let until = reply_deadline();
        let mut link = self.link.lock_timeout(until).ok_or_else(|| self.timeout_error())?;
        if let Kind::Rust { control, .. } = self.identify(&mut link, until)? {
            let reply = control.ask(&request.encode(self.serializer)?, until).map_err(|error| self.ended(error));
            if reply.is_err() {
                link.kind = Kind::Unknown; // the server is gone
            }
            return answer_of(method, Reply::decode(&reply?.ok_or_else(|| self.timeout_error())?, self.serializer)?);
        }
        drop(link);
        self.ask(method, Vec::new(), Vec::new())
    }

    /// Calls a method of the server itself.
    pub(super) fn ask(&self, method: &str, args: Vec<Value>, kwds: Vec<(String, Value)>) -> Result<Value> {
        let request = Request { kwds, ..Request::to_server(method, args) };
        let reply = self.call(request, reply_deadline(), None)?.ok_or_else(|| self.timeout_error())?;
        answer_of(method, reply)
    }

    /// Gives a reference back: best effort, and never for long. A server that does not read at the moment receives the
    /// reference with the next one.
    pub(super) fn give_back(&self, ident: &str) {
        let mut link = self.link.lock();
        if link.generation != generation() {
            return;
        }
        match &mut link.kind {
            Kind::Unknown => {}
            Kind::Rust { control, .. } => {
                let limit = if control.pending_decrefs.is_empty() { Deadline::after(SHORT) } else { Deadline::NOW };
                control.pending_decrefs.push_back(ident.to_owned());
                control.send_pending(limit);
            }
            Kind::Python => {
                drop(link);
                let _ = self.once(decref(ident), Deadline::after(SHORT)); // a server that is gone counts no more
            }
        }
    }

    /// Requests the end of the server; returns whether the server agreed.
    pub(super) fn shut_down(&self, patience: Duration) -> bool {
        let request = Request::to_server("shutdown", Vec::new());
        self.once(request, Deadline::after(patience)).is_ok()
    }
}

/// Sends over a connection whose server may have ended since the last call. `None` if it has: the server has not seen
/// this call, because not a byte of it could be sent.
fn send_by(
    line: Option<Box<CallConnection>>,
    send: impl Fn(&CallConnection) -> Result<Sent>,
) -> Result<Option<(Box<CallConnection>, Sent)>> {
    let Some(mut line) = line else { return Ok(None) };
    let tells_by_send = line.tells_by_send();
    if !tells_by_send && !line.is_idle() {
        return Ok(None);
    }
    match send(&line) {
        Err(error) if tells_by_send && error.kind() == ErrorKind::Closed => Ok(None),
        sent => Ok(Some((line, sent?))),
    }
}

/// A call whose reply was not received yet.
pub(super) struct PendingCall {
    pub(super) client: Arc<Client>,
    /// The connection, until the reply has come.
    line: Option<Box<CallConnection>>,
}

impl PendingCall {
    /// The connection, if this process made the call.
    fn own(&self) -> Result<&CallConnection> {
        let over = || {
            Error::new(ErrorKind::NoResult, "the call has no result: an earlier call returned the result or the error")
        };
        let line = self.line.as_ref().ok_or_else(over)?;
        if line.is_own() {
            return Ok(line);
        }
        Err(Error::new(ErrorKind::NotAllowed, "the result of this call belongs to the process that made the call"))
    }

    /// Whether the reply has begun to arrive, or the server has ended.
    pub(super) fn is_readable(&self) -> Result<bool> {
        Ok(self.own()?.is_readable())
    }

    /// Waits for the reply; `None` when the time ran out; the call is still in flight.
    ///
    /// # Errors
    /// Any error ends the call.
    pub(super) fn wait(&mut self, until: Deadline) -> Result<Option<Reply>> {
        self.own()?;
        let Some(mut line) = self.line.take() else { return Ok(None) };
        match line.reply(until).map_err(|error| self.client.ended(error)) {
            Ok(Some(reply)) => {
                let mut spare = self.client.spare.lock();
                if spare.len() < SPARE {
                    spare.push(line);
                }
                Ok(Some(reply))
            }
            Ok(None) => {
                self.line = Some(line);
                Ok(None)
            }
            Err(error) => {
                line.abandon();
                Err(error)
            }
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.abandon();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Other threads close theirs at their ends.
        drop(self.take_connection());
    }
}

fn answer_of(method: &str, reply: Reply) -> Result<Value> {
    match reply {
        Reply::Return(value) => Ok(value),
        Reply::Error(exception) => Err(exception.into()),
        Reply::Traceback(text) | Reply::Unserializable(text) => Err(Exception::remote(text).into()),
        Reply::Proxy(..) => {
            Err(Error::new(ErrorKind::Decode, format!("the reply to {method} is a proxy instead of a value")))
        }
    }
}

/// The name of this thread for the server.
fn name() -> String {
    let process = current_process().name();
    match std::thread::current().name() {
        Some("main") | None => process,
        Some(thread) => format!("{process}|{thread}"),
    }
}
