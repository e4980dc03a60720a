//! An iterator over connections that continues after failed handshakes.

use std::fmt;

use ossature_sys::deadline::Deadline;
use ossature_sys::eventfd::Until;

use super::{Connection, Listener};
use crate::error::{Error, ErrorKind, Result};

/// An endless iterator over the connections of a [`Listener`], from [`Listener::incoming`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{Incoming, Listener, connect};
///
/// let listener = Listener::bind(("127.0.0.1", 0))?;
/// let client = connect(listener.address())?;
/// let mut incoming: Incoming<'_, _> = listener.incoming(|error| eprintln!("{error}"));
/// let served = incoming.next_timeout(Duration::from_secs(60))?.expect("a client waits");
/// served.send(&7_u8)?;
/// assert_eq!(client.recv::<u8>()?, 7);
/// assert!(incoming.next_timeout(Duration::from_millis(1))?.is_none(), "nobody else comes");
/// # Ok::<(), ossature::Error>(())
/// ```
#[must_use = "no peer is accepted until `next`"]
pub struct Incoming<'l, F> {
    listener: &'l Listener,
    on_failure: F,
}

impl Listener {
    /// Accepts one connection after another, and continues after a failed handshake. A handshake fails if the peer does
    /// not know the key, stays silent or disconnects. The iterator reports each failure to `on_failure`. So a port
    /// scanner, or a health check that only connects, does not end a server.
    ///
    /// `on_failure` is called in the accepting thread, with the [`ErrorKind::Auth`](crate::ErrorKind::Auth) error of
    /// [`accept`](Self::accept). The error's text names the peer's address, if the peer has one. `on_failure` should
    /// return soon, because this thread accepts no peer during the call.
    ///
    /// An item is an error if the system refuses a call, as in [`accept`](Self::accept). The next item may be a
    /// connection again.
    ///
    /// Differs from Python, where each such peer raises an exception in `accept`.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::{AuthKey, ConnectBuilder, Listener, connect};
    ///
    /// let key = AuthKey::from("secret password");
    /// let listener = Listener::builder().authkey(&key).bind(("127.0.0.1", 0))?;
    /// let address = listener.address().clone();
    /// drop(connect(&address)?); // a probe
    /// let client = std::thread::spawn(move || ConnectBuilder::new().authkey(&key).connect(address)?.recv::<u8>());
    ///
    /// let mut failures = 0;
    /// for connection in listener.incoming(|error| {
    ///     eprintln!("{error}");
    ///     failures += 1;
    /// }) {
    ///     connection?.send(&7_u8)?;
    ///     break;
    /// }
    /// assert_eq!((client.join().unwrap()?, failures), (7, 1));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn incoming<F: FnMut(Error)>(&self, on_failure: F) -> Incoming<'_, F> {
        Incoming { listener: self, on_failure }
    }
}

impl<F: FnMut(Error)> Incoming<'_, F> {
    /// Returns the next connection; `None` if no peer completed its handshake by the deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) as for [`Listener::accept`], never
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth).
    pub fn next_timeout<'c>(&mut self, timeout: impl Into<Until<'c>>) -> Result<Option<Connection>> {
        let until = timeout.into();
        loop {
            match self.listener.accept_timeout(until) {
                Err(error) if error.kind() == ErrorKind::Auth => (self.on_failure)(error),
                Ok(None) if until.is_never() => {}
                done => return done,
            }
            if until.is_over()? {
                return Ok(None);
            }
        }
    }
}

impl<F: FnMut(Error)> Iterator for Incoming<'_, F> {
    type Item = Result<Connection>;

    fn next(&mut self) -> Option<Result<Connection>> {
        self.next_timeout(Deadline::NEVER).transpose()
    }
}

impl<F> fmt::Debug for Incoming<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("listener", self.listener).finish_non_exhaustive()
    }
}
