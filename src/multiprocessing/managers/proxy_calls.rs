//! Calls of methods through a proxy.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::process::generation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{ByMemory, PendingCall};
use super::compact::Unfit;
use super::outgoing::{Outgoing, arguments};
use super::proxy::{Proxy, Referent, arrive};
use super::room::with_room;
use super::served::{Arrived, Returned};
use super::timing::reply_timeout;
use super::wire::{Reply, Request};
use super::{Exception, arguments_form};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::pickle::Value;

#[cold]
fn no_end() -> Error {
    Error::new(ErrorKind::Closed, "the wait for a reply ended without a reply")
}

impl Proxy {
    /// Calls a method with a tuple of arguments, and waits for its result.
    ///
    /// The wait has no limit, because a method may wait for other clients: see [`call_timeout`](Self::call_timeout).
    /// Arguments that hold a proxy, or are longer than a message through shared memory, may be serialised twice.
    ///
    /// # Errors
    /// * [`Remote`](ErrorKind::Remote) when the method failed, or could not be called; the source is the [`Exception`].
    /// * [`Closed`](ErrorKind::Closed) at once when the server ends.
    /// * [`InvalidInput`](ErrorKind::InvalidInput) for an argument that cannot be sent.
    /// * [`Decode`](ErrorKind::Decode) when the method returns a value of another type.
    /// * Those of a [connect](crate::multiprocessing::connection::ConnectBuilder::connect) for the first call of a
    ///   thread;
    ///   [`Os`](ErrorKind::Os) with `ETIMEDOUT` for a server that does not answer within the
    ///   [`reply_timeout`](super::reply_timeout).
    #[doc(alias = "_callmethod")]
    pub fn call<R: Returned>(&self, method: &str, args: impl Serialize) -> Result<R::There> {
        let reply = self.call_args::<R>(method, &args, Deadline::NEVER)?;
        reply.ok_or_else(no_end)
    }

    /// Calls a method with positional and named arguments.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let list = manager.create("list", (vec![3, 1, 2],))?;
    /// list.call_with::<()>("sort", Vec::new(), vec![("reverse".to_owned(), true.into())])?;
    /// assert_eq!(list.get_value::<Vec<i64>>()?, [3, 2, 1]);
    /// # Ok(()) }
    /// ```
    pub fn call_with<R: Returned>(
        &self,
        method: &str,
        args: Vec<Value>,
        kwds: Vec<(String, Value)>,
    ) -> Result<R::There> {
        let reply = self.call_until::<R>(method, args, kwds, Deadline::NEVER, None)?;
        reply.ok_or_else(no_end)
    }

    /// Calls a method as [`call`](Self::call) does, and waits at most `limit`; `None` when the time ran out.
    ///
    /// Then the thread's connection to the server is closed. The server cancels a call that waits, and releases the
    /// locks that this thread has acquired there. A method of the program's own type continues, and its result is
    /// dropped.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let queue = manager.create("Queue", ())?;
    /// assert_eq!(queue.call_timeout::<String>("get", (), Duration::from_millis(20))?, None);
    /// queue.call::<()>("put", ("here",))?;
    /// assert_eq!(queue.call_timeout::<String>("get", (), Duration::from_secs(20))?.as_deref(), Some("here"));
    /// # Ok(()) }
    /// ```
    pub fn call_timeout<R: Returned>(
        &self,
        method: &str,
        args: impl Serialize,
        limit: Duration,
    ) -> Result<Option<R::There>> {
        let until = Deadline::after(limit);
        match self.call_args::<R>(method, &args, until) {
            // The connection could not be made in time.
            Err(error) if error.errno() == Some(Errno::TIMEDOUT) && until.has_passed() => Ok(None),
            done => done,
        }
    }

    /// Calls a method that waits at most `limit` at the server.
    pub(super) fn call_within<R: Returned>(
        &self,
        method: &str,
        args: impl Serialize,
        limit: Duration,
    ) -> Result<R::There> {
        let until = Deadline::after(limit.saturating_add(reply_timeout()));
        let reply = self.call_args::<R>(method, &args, until)?;
        reply.ok_or_else(|| self.0.client.timeout_error())
    }

    /// Calls with a tuple of arguments. Short plain data is written without a [`Value`] for each argument, if it goes
    /// through shared memory.
    fn call_args<R: Returned>(&self, method: &str, args: &impl Serialize, until: Deadline) -> Result<Option<R::There>> {
        self.count_here()?;
        let client = &self.0.client;
        let by_memory = if client.has_sharing() {
            with_room(|room| match arguments_form::write(self.ident(), method, args, room).map(<[u8]>::len) {
                Ok(length) => client.call_by_memory(room, length, until),
                Err(Unfit) => Ok(Some(ByMemory::Unsent(None))),
            })
        } else {
            Ok(Some(ByMemory::Unsent(None)))
        };
        match by_memory? {
            Some(ByMemory::Value(value)) => R::arrive(Arrived::Value(value)).map(Some), // without proxies
            Some(ByMemory::Reply(reply)) => self.result_of::<R>(*reply).map(Some),
            Some(ByMemory::Unsent(gone)) => {
                let Outgoing { values, proxies: _kept } = arguments(args)?;
                self.call_until::<R>(method, values, Vec::new(), until, gone)
            }
            None => Ok(None),
        }
    }

    fn call_until<R: Returned>(
        &self,
        method: &str,
        args: Vec<Value>,
        kwds: Vec<(String, Value)>,
        until: Deadline,
        gone: Option<Error>,
    ) -> Result<Option<R::There>> {
        let request = self.request(method, args, kwds)?;
        let reply = self.0.client.call(request, until, gone)?;
        reply.map(|reply| self.result_of::<R>(reply)).transpose()
    }

    /// Sends a call whose reply is awaited later.
    pub(super) fn send_async(&self, method: &str, args: Vec<Value>) -> Result<PendingCall> {
        let request = self.request(method, args, Vec::new())?;
        self.0.client.send_async(request)
    }

    /// Makes a request of this process.
    fn request<'n>(&'n self, method: &'n str, args: Vec<Value>, kwds: Vec<(String, Value)>) -> Result<Request<'n>> {
        self.count_here()?;
        Ok(Request { ident: Some(self.ident().into()), method: method.into(), args, kwds })
    }

    /// Counts the object for this process before its first call.
    #[inline]
    fn count_here(&self) -> Result<()> {
        if self.0.counted_in.load(Relaxed) == generation() { Ok(()) } else { self.count_first() }
    }

    #[cold]
    fn count_first(&self) -> Result<()> {
        let Referent { client, ident, counted_in, .. } = &*self.0;
        client.ask("incref", vec![ident.as_str().into()], Vec::new())?;
        counted_in.store(generation(), Relaxed);
        Ok(())
    }

    /// Converts a reply to the result for the caller.
    pub(super) fn result_of<R: Returned>(&self, reply: Reply) -> Result<R::There> {
        let client = &self.0.client;
        match reply {
            Reply::Return(value) => arrive(client, value, |value| R::arrive(Arrived::Value(value))),
            Reply::Proxy(exposed, token) => {
                R::arrive(Arrived::Proxy(Self::counted(client.clone(), token.typeid, token.ident, exposed)))
            }
            Reply::Error(exception) => Err(exception.into()),
            Reply::Traceback(text) => Err(Exception::remote(text).into()),
            Reply::Unserializable(text) => Err(Exception::remote(format!("Unserializable message: {text}")).into()),
        }
    }

    /// Returns a copy of the object.
    ///
    /// # Errors
    /// As for [`call`](Self::call); [`Remote`](ErrorKind::Remote) for an object that cannot be sent.
    #[doc(alias = "_getvalue")]
    #[doc(alias = "deepcopy")]
    pub fn get_value<T: Serialize + DeserializeOwned>(&self) -> Result<T> {
        self.call_within::<T>("#GETVALUE", (), Duration::ZERO)
    }

    /// The text that the server shows for the object.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    #[doc(alias = "__str__")]
    pub fn display(&self) -> Result<String> {
        self.call_within::<String>("__repr__", (), Duration::ZERO)
    }
}
