//! The connections of a process to one server.
//!
//! | connection | carries |
//! | --- | --- |
//! | control, one for the process | the session: when it ends, the server takes back what the process had. References that are given back go by it, without replies; questions about the objects go by it too, with replies |
//! | one for each thread that calls | calls and replies, by turns; locks belong to it |
//!
//! A server in Python knows no sessions: there a reference is counted by a connection of its own, as its own clients do. A
//! forked child begins anew, with a session of its own. A thread's connection is closed with the thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::process::generation;
use ossature_sys::sync::lock::Lock;

use super::Exception;
use super::server::hall::VERSION;
use super::wire::{Reply, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Connection, Until};
use crate::multiprocessing::process::current_process;

/// How long a server may take to let a connection in.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long giving back a reference may take.
const SHORT: Duration = Duration::from_secs(1);

pub(super) struct Client {
    id: u64,
    address: Address,
    key: AuthKey,
    link: Lock<Link>,
}

struct Link {
    generation: u32,
    kind: Kind,
}

/// What the server is, as far as is known.
enum Kind {
    Unknown,
    Rust { secret: String, control: Box<Connection> },
    Python,
}

thread_local! {
    /// This thread's connections, by the number of the client and the generation of the process.
    static MINE: RefCell<HashMap<u64, (u32, Connection)>> = RefCell::default();
}

impl Client {
    pub(super) fn new(address: Address, key: AuthKey) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let link = Lock::new(Link { generation: generation(), kind: Kind::Unknown });
        Self { id: NEXT.fetch_add(1, Relaxed), address, key, link }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    fn dial(&self, patience: Duration) -> Result<Connection> {
        let builder = ConnectBuilder::new().authkey(&self.key);
        builder.connect_timeout(&self.address, patience)?.ok_or_else(|| self.late(patience))
    }

    fn late(&self, patience: Duration) -> Error {
        let message = format!("the manager at {} did not answer within {patience:?}", self.address);
        Error::with_errno(ErrorKind::Os, Errno::TIMEDOUT, message)
    }

    /// One request on a new connection, which the server closes after the reply.
    fn once(&self, request: Request, patience: Duration) -> Result<Reply> {
        let connection = self.dial(patience)?;
        self.exchange(&connection, &request.encode()?, Deadline::after(patience).into())?
            .ok_or_else(|| self.late(patience))
    }

    /// Sends a request and waits for the reply; `None` when the time is over.
    fn exchange(&self, connection: &Connection, request: &[u8], until: Until<'_>) -> Result<Option<Reply>> {
        if !connection.send_bytes_timeout(request, until)?.is_complete() {
            return Ok(None);
        }
        let reply = connection.recv_bytes_timeout(until).map_err(|error| match error.kind() {
            ErrorKind::Closed => {
                let message = format!("the manager at {} has ended, or closed the connection", self.address);
                Error::caused(ErrorKind::Closed, error.errno(), error).with_message(message)
            }
            _ => error,
        })?;
        reply.map(|bytes| Reply::decode(&bytes)).transpose()
    }

    fn hello(&self, secret: Option<&str>) -> Request {
        let args = vec![VERSION.into(), name().into(), secret.map(str::to_owned).into()];
        Request { method: "ossature".to_owned(), args, ..Request::default() }
    }

    /// Finds out what the server is, and begins a session.
    fn meet<'l>(&self, link: &'l mut Link) -> Result<&'l mut Kind> {
        if link.generation != generation() {
            *link = Link { generation: generation(), kind: Kind::Unknown }; // the session is the parent's
        }
        if let Kind::Unknown = link.kind {
            let connection = self.dial(PATIENCE)?;
            let request = self.hello(None).encode()?;
            let until = Deadline::after(PATIENCE).into();
            link.kind = match self.exchange(&connection, &request, until)?.ok_or_else(|| self.late(PATIENCE))? {
                Reply::Return(Value::Text(secret)) => Kind::Rust { secret, control: Box::new(connection) },
                _ => Kind::Python,
            };
        }
        Ok(&mut link.kind)
    }

    /// Whether the server is one of this library.
    pub(super) fn is_rust(&self) -> Result<bool> {
        Ok(matches!(self.meet(&mut self.link.lock())?, Kind::Rust { .. }))
    }

    /// A connection for a thread.
    fn join(&self) -> Result<Connection> {
        for _ in 0..2 {
            let mut link = self.link.lock();
            let request = match self.meet(&mut link)? {
                Kind::Rust { secret, .. } => self.hello(Some(secret)),
                _ => {
                    Request { method: "accept_connection".to_owned(), args: vec![name().into()], ..Request::default() }
                }
            };
            drop(link);
            let connection = self.dial(PATIENCE)?;
            let until = Deadline::after(PATIENCE).into();
            match self.exchange(&connection, &request.encode()?, until)?.ok_or_else(|| self.late(PATIENCE))? {
                Reply::Return(_) => return Ok(connection),
                _ => self.link.lock().kind = Kind::Unknown, // another server is there by now
            }
        }
        Err(Error::new(ErrorKind::Closed, format!("the manager at {} let no connection in", self.address)))
    }

    fn mine(&self) -> Option<Connection> {
        let mine = MINE.try_with(|mine| mine.borrow_mut().remove(&self.id)).ok()??;
        Some(mine.1).filter(|_| mine.0 == generation())
    }

    /// Calls a method of an object, or of the server.
    pub(super) fn call(&self, request: Request, until: Until<'_>) -> Result<Option<Reply>> {
        if request.ident.is_none() && !self.is_rust()? {
            return self.once(request, PATIENCE).map(Some);
        }
        let bytes = request.encode()?;
        let idle = self.mine();
        let was_idle = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.join()?,
        };
        // A server that ended since has not seen this call, if not a byte of it could be sent.
        let is_stale = was_idle && connection.poll(Deadline::NOW).unwrap_or(true);
        if is_stale {
            connection = self.join()?;
        }
        let reply = self.exchange(&connection, &bytes, until)?;
        if reply.is_some() {
            // Not so while the thread ends; then the connection is closed.
            let _ = MINE.try_with(|mine| mine.borrow_mut().insert(self.id, (generation(), connection)));
        }
        Ok(reply)
    }

    /// Asks the server itself, after all references that this process has given back so far.
    pub(super) fn ask_after_all(&self, method: &str) -> Result<Value> {
        let request = Request { method: method.to_owned(), ..Request::default() };
        let mut link = self.link.lock();
        if let Kind::Rust { control, .. } = self.meet(&mut link)? {
            let reply = self.exchange(control, &request.encode()?, Deadline::after(PATIENCE).into());
            if reply.is_err() {
                link.kind = Kind::Unknown; // a server that is gone, or out of step
            }
            return answer_of(method, reply?.ok_or_else(|| self.late(PATIENCE))?);
        }
        drop(link);
        self.ask(method, Vec::new(), Vec::new())
    }

    /// Asks the server itself.
    pub(super) fn ask(&self, method: &str, args: Vec<Value>, kwds: Vec<(String, Value)>) -> Result<Value> {
        let request = Request { ident: None, method: method.to_owned(), args, kwds };
        let reply = self.call(request, Until::NEVER)?.ok_or_else(|| self.late(PATIENCE))?;
        answer_of(method, reply)
    }

    /// Gives a reference back: best effort, and never for long.
    pub(super) fn give_back(&self, ident: &str) {
        let request = Request { method: "decref".to_owned(), args: vec![ident.into()], ..Request::default() };
        let mut link = self.link.lock();
        if link.generation != generation() {
            return;
        }
        match &mut link.kind {
            Kind::Unknown => {}
            Kind::Rust { control, .. } => {
                let sent = request.encode().and_then(|bytes| control.send_bytes_timeout(&bytes, SHORT));
                let _ = sent; // a server that is gone counts no more
            }
            Kind::Python => {
                drop(link);
                let _ = self.once(request, SHORT); // as above
            }
        }
    }

    /// Tells the server to end; whether it said that it will.
    pub(super) fn shut_down(&self, patience: Duration) -> bool {
        let request = Request { method: "shutdown".to_owned(), ..Request::default() };
        self.once(request, patience).is_ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Other threads close theirs at their ends.
        let _ = MINE.try_with(|mine| mine.borrow_mut().remove(&self.id));
    }
}

fn answer_of(method: &str, reply: Reply) -> Result<Value> {
    match reply {
        Reply::Return(value) => Ok(value),
        Reply::Error(exception) => Err(exception.into()),
        Reply::Traceback(text) | Reply::Unserializable(text) => Err(Exception::remote(text).into()),
        Reply::Proxy(..) => Err(Error::new(ErrorKind::Decode, format!("{method} was answered with a proxy"))),
    }
}

/// What a server may call this thread.
fn name() -> String {
    let process = current_process().name();
    match std::thread::current().name() {
        Some("main") | None => process,
        Some(thread) => format!("{process}|{thread}"),
    }
}
