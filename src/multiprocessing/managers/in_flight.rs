//! Calls that are sent now and whose results are received later.

use std::fmt;
use std::marker::PhantomData;

use ossature_sys::deadline::Deadline;
use serde::Serialize;

use super::client::PendingCall;
use super::outgoing::{Outgoing, arguments};
use super::proxy::Proxy;
use super::served::Returned;
use crate::error::{Error, ErrorKind, Result};

/// The types whose methods acquire a lock for the calling connection.
const LOCKS: [&str; 5] = ["BoundedSemaphore", "Condition", "Lock", "RLock", "Semaphore"];

/// A call in flight, made by [`Proxy::call_async`].
///
/// Many calls may be in flight from one thread. Each has a connection of its own to the server, and is executed like a
/// call of another client:
/// * the server executes them in any order, and calls that wait do not delay the others;
/// * each counts as one connection against [`Limits::connections`](super::Limits::connections) and
///   [`Limits::client_connections`](super::Limits::client_connections), and methods of the program's own types as one
///   of [`Limits::helpers`](super::Limits::helpers);
/// * the end of the server ends each of them.
///
/// If the handle is dropped, the server cancels a call that waits, as with [`Proxy::call_timeout`]. A method of the
/// program's own type continues, and its result is dropped.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::managers::CallResult;
/// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
///
/// # fn main() -> ossature::Result<()> {
/// freeze_support(tasks![]);
/// let manager = Manager::start(Context::Spawn)?;
/// let queue = manager.create("Queue", ())?;
///
/// let mut first: CallResult<String> = queue.call_async("get", ())?;
/// assert_eq!(first.get_timeout(Duration::from_millis(10))?, None, "in flight still");
/// assert!(!first.ready()?);
///
/// let puts = ["a", "b"].map(|text| queue.call_async::<()>("put", (text,)));
/// for put in puts {
///     put?.get()?;
/// }
/// let mut both = [first.get()?, queue.call::<String>("get", ())?];
/// both.sort();
/// assert_eq!(both, ["a", "b"]);
/// # Ok(()) }
/// ```
#[must_use = "the call is cancelled when this is dropped"]
pub struct CallResult<R> {
    pending: PendingCall,
    /// Keeps the called object alive.
    proxy: Proxy,
    /// Keeps the objects in the arguments alive until the reply has come.
    _sent: Vec<Proxy>,
    method: String,
    kind: PhantomData<fn() -> R>,
}

impl Proxy {
    /// Calls a method as [`call`](Self::call) does, without waiting for the result.
    ///
    /// Differs from Python, whose clients have one call at a time for each thread.
    ///
    /// # Errors
    /// * [`InvalidInput`](ErrorKind::InvalidInput) for an argument that cannot be sent, and for `acquire` of a lock: a
    ///   thread has what it acquires by its own connection only.
    /// * [`Closed`](ErrorKind::Closed) when the server has ended, or accepts no further connection.
    /// * [`Os`](ErrorKind::Os) with `ETIMEDOUT` for a server that does not take the call within the
    ///   [`reply_timeout`](super::reply_timeout).
    ///
    /// # Examples
    /// See the example of [`CallResult`].
    pub fn call_async<R: Returned>(&self, method: &str, args: impl Serialize) -> Result<CallResult<R>> {
        if method == "acquire" && LOCKS.contains(&self.typeid()) {
            let message = format!(
                "a call in flight cannot acquire a {}, which would then belong to no thread; use `call`",
                self.typeid()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let Outgoing { values, proxies } = arguments(args)?;
        let pending = self.send_async(method, values)?;
        Ok(CallResult { pending, proxy: self.clone(), _sent: proxies, method: method.to_owned(), kind: PhantomData })
    }
}

impl<R: Returned> CallResult<R> {
    /// Waits for the result of the method.
    ///
    /// # Errors
    /// * As for [`Proxy::call`].
    /// * [`NoResult`](ErrorKind::NoResult) when an earlier call returned the result, or the error.
    /// * [`NotAllowed`](ErrorKind::NotAllowed) in a forked child of the process that made the call.
    pub fn get(mut self) -> Result<R::There> {
        self.get_timeout(Deadline::NEVER)?
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the wait for a reply ended without a reply"))
    }

    /// Waits for the result of the method until the deadline. Returns `None` when the time ran out; the call is then
    /// still in flight.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<R::There>> {
        let reply = self.pending.wait(timeout.into())?;
        reply.map(|reply| self.proxy.result_of::<R>(reply)).transpose()
    }

    /// Whether the result, or the end of the server, has begun to arrive.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn ready(&self) -> Result<bool> {
        self.pending.is_readable()
    }
}

impl<R> fmt::Debug for CallResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallResult").field("proxy", &self.proxy).field("method", &self.method).finish_non_exhaustive()
    }
}
