//! Connections that send values between threads, and listeners with names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ossature_sys::deadline::Deadline;

use super::Queue;
use crate::error::{Error, ErrorKind, Result};

/// One of two connected ends. Values are moved, not serialised.
///
/// Differs from Python: the other end sees a drop. In Python the close of an end does nothing.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::dummy::{Connection, pipe};
///
/// let (near, far): (Connection<u32>, _) = pipe();
/// near.send(1)?;
/// assert!(far.poll(Duration::ZERO) && !near.poll(Duration::ZERO));
/// assert_eq!((far.recv()?, far.recv_timeout(Duration::ZERO)?), (1, None));
/// near.send(2)?;
/// drop(near);
/// assert_eq!(far.recv()?, 2, "what was sent before");
/// assert_eq!(far.recv().unwrap_err().kind(), ErrorKind::Closed);
/// assert_eq!(far.send(3).unwrap_err().kind(), ErrorKind::Closed);
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct Connection<T> {
    /// The queue of incoming values. It is shut down when its sender is dropped.
    incoming: Queue<T>,
    outgoing: Queue<T>,
}

/// Makes two connected ends, each of which sends and receives. (Python's `duplex` changes nothing here either.)
///
/// # Examples
/// See the example of [`Connection`].
#[doc(alias = "Pipe")]
pub fn pipe<T>() -> (Connection<T>, Connection<T>) {
    let (one, other) = (Queue::new(), Queue::new());
    let near = Connection { incoming: one.clone(), outgoing: other.clone() };
    (near, Connection { incoming: other, outgoing: one })
}

impl<T> Connection<T> {
    /// Sends a value.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) when the other end was dropped; the value is dropped then.
    pub fn send(&self, value: T) -> Result<()> {
        if self.incoming.is_shut_down() {
            return Err(closed());
        }
        self.outgoing.put(value).map_err(|_| closed()) // this end lives, so nobody has shut its queue down
    }

    /// Waits for a value and returns it.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) when the other end was dropped and nothing is left.
    pub fn recv(&self) -> Result<T> {
        self.recv_timeout(Deadline::NEVER)?.ok_or_else(closed)
    }

    /// Waits for a value until the deadline. Returns `None` when no value came.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<T>> {
        self.incoming.get_timeout(timeout).map_err(|_| closed())
    }

    /// Waits for a value or the end of the connection until the deadline. Returns whether one of them came.
    pub fn poll(&self, timeout: impl Into<Deadline>) -> bool {
        self.incoming.wait_for_change(timeout)
    }
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.outgoing.shutdown();
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("waiting", &self.incoming.len()).finish()
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the other end of the pipe is closed")
}

/// The queue of a listener: the ends of new connections, which send bytes.
type Waiting = Queue<Connection<Vec<u8>>>;

static LISTENERS: Mutex<BTreeMap<String, Waiting>> = Mutex::new(BTreeMap::new());

fn listeners() -> MutexGuard<'static, BTreeMap<String, Waiting>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
}

/// A place in this process where other threads [connect].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::dummy::connection::{Listener, connect};
///
/// let listener = Listener::bind("clerk")?;
/// assert_eq!(listener.address(), "clerk");
/// assert_eq!(Listener::bind("clerk").unwrap_err().kind(), ErrorKind::AlreadyRegistered);
/// let client = connect("clerk")?;
/// client.send(b"hello".to_vec())?;
/// let server = listener.accept_timeout(Duration::from_secs(60)).expect("a client has come");
/// assert_eq!(server.recv()?, b"hello");
/// drop(listener);
/// assert_eq!(connect("clerk").unwrap_err().kind(), ErrorKind::NotRegistered);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    address: String,
    waiting: Waiting,
}

impl Listener {
    /// Makes a listener with the given name.
    ///
    /// # Errors
    /// [`AlreadyRegistered`](ErrorKind::AlreadyRegistered) when another listener has the name.
    pub fn bind(address: impl Into<String>) -> Result<Self> {
        let (address, waiting) = (address.into(), Queue::new());
        let mut listeners = listeners();
        if listeners.contains_key(&address) {
            let text = format!("a listener at {address:?} exists already: drop it, or choose another name");
            return Err(Error::new(ErrorKind::AlreadyRegistered, text));
        }
        listeners.insert(address.clone(), waiting.clone());
        Ok(Self { address, waiting })
    }

    /// Returns the name.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits for a client. Returns the connection to the client.
    ///
    /// # Examples
    /// See the example of [`accept_timeout`](Self::accept_timeout).
    pub fn accept(&self) -> Connection<Vec<u8>> {
        loop {
            if let Some(client) = self.accept_timeout(Deadline::NEVER) {
                return client;
            }
        }
    }

    /// Waits for a client until the deadline. Returns `None` when no client came.
    ///
    /// # Examples
    /// See the example of [`Listener`].
    pub fn accept_timeout(&self, timeout: impl Into<Deadline>) -> Option<Connection<Vec<u8>>> {
        self.waiting.get_timeout(timeout).ok().flatten() // nobody shuts that queue down
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        listeners().remove(&self.address);
    }
}

/// Connects to the listener with the given name.
///
/// # Errors
/// [`NotRegistered`](ErrorKind::NotRegistered) when there is none.
///
/// # Examples
/// See the example of [`Listener`].
#[doc(alias = "Client")]
pub fn connect(address: &str) -> Result<Connection<Vec<u8>>> {
    let (near, far) = pipe();
    match listeners().get(address) {
        Some(waiting) => {
            let _ = waiting.put(far); // nobody shuts that queue down
            Ok(near)
        }
        None => {
            let text = format!("no listener at {address:?} in this process");
            Err(Error::new(ErrorKind::NotRegistered, text))
        }
    }
}
