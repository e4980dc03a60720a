//! Clients: connections to a listener.

use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result as SysResult};
use ossature_sys::eventfd::Until;
use ossature_sys::fd::AboveStandard;
use ossature_sys::socket::{self, Kind, Socket};

use super::handshake_io::HandshakeIo;
use super::rules::Rules;
use super::{Access, Address, AuthKey, Connection, Digest, Family, Handshake};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::Trust;

/// Connects to a [`Listener`](super::Listener) of this crate or of CPython, without a key.
///
/// If the listener has a key, its first message is a challenge. The first receive then fails with
/// [`ErrorKind::Auth`](crate::ErrorKind::Auth), unless [`answer_challenge`](super::answer_challenge) takes the
/// challenge. With a key: [`ConnectBuilder`].
///
/// Differs from Python, whose client receives the challenge as a message. A refused connection is an error at once, as
/// in Python 3; Python 2.7 tries again for twenty seconds.
///
/// # Errors
/// As for [`ConnectBuilder::connect`].
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{Address, Family, Listener, connect};
///
/// let listener = Listener::bind(Address::arbitrary(Family::Unix)?)?;
/// let client = connect(listener.address())?;
/// listener.accept()?.send_bytes(b"welcome")?;
/// assert_eq!(client.recv_bytes()?, b"welcome");
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "multiprocessing.connection.Client")]
#[doc(alias = "Client")]
pub fn connect<A: TryInto<Address>>(address: A) -> Result<Connection>
where
    Error: From<A::Error>,
{
    ConnectBuilder::new().connect(address)
}

/// As [`connect()`]; `None` when the connection was not made by the deadline, or when a [`CancelFd`](super::CancelFd)
/// ended the wait.
///
/// # Errors
/// As for [`ConnectBuilder::connect`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{Listener, connect_timeout};
///
/// let listener = Listener::bind(("127.0.0.1", 0))?;
/// let client = connect_timeout(listener.address(), Duration::from_secs(60))?.expect("the listener is there");
/// listener.accept()?.send(&7_u8)?;
/// assert_eq!(client.recv::<u8>()?, 7);
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn connect_timeout<'c, A: TryInto<Address>>(address: A, timeout: impl Into<Until<'c>>) -> Result<Option<Connection>>
where
    Error: From<A::Error>,
{
    ConnectBuilder::new().connect_timeout(address, timeout)
}

/// The settings of a connection: its key, its digests, its time limit.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{AuthKey, ConnectBuilder, Listener};
///
/// let key = AuthKey::from(b"between us");
/// let listener = Listener::builder().authkey(&key).bind("127.0.0.1:0".parse::<std::net::SocketAddr>()?)?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || ConnectBuilder::new().authkey(&key).connect(address));
/// listener.accept()?.send(&"welcome")?;
/// assert_eq!(client.join().unwrap()?.recv::<String>()?, "welcome");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With every setting:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{AuthKey, ConnectBuilder, Digest, Listener};
///
/// let key = AuthKey::from(b"between us");
/// let listener = Listener::builder().authkey(&key).bind(("127.0.0.1", 0))?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || {
///     ConnectBuilder::new()
///         .authkey(&key)
///         .digest(Digest::Sha384)
///         .minimum_digest(Digest::Sha256)
///         .handshake_timeout(Duration::from_secs(30))
///         .connect_timeout(address, Duration::from_secs(60))
/// });
/// listener.accept()?.send(&"welcome")?;
/// assert_eq!(client.join().unwrap()?.expect("connected in time").recv::<String>()?, "welcome");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is connected until `connect`"]
pub struct ConnectBuilder {
    rules: Rules,
}

impl Default for ConnectBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ConnectBuilder {
    /// Creates settings without a key, and with ten seconds for a handshake.
    pub fn new() -> Self {
        Self { rules: Rules::default() }
    }

    /// Sets the key that this side proves to know, and that the listener must prove to know too.
    pub fn authkey(mut self, key: &AuthKey) -> Self {
        self.rules.key = Some(key.clone());
        self
    }

    /// Sets the digest that this side requests of the listener: [`Handshake::digest`].
    pub fn digest(mut self, digest: Digest) -> Self {
        self.rules.digest = digest;
        self
    }

    /// Sets the weakest digest that this side accepts: [`Handshake::minimum_digest`].
    pub fn minimum_digest(mut self, minimum: Digest) -> Self {
        self.rules.minimum = minimum;
        self
    }

    /// Sets how long the handshake may take, once connected. The default is 10 seconds; `None` means no limit.
    ///
    /// Differs from Python, where a client with a key waits forever for a listener without a key.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.rules.timeout = timeout.into();
        self
    }

    /// Connects. Waits without a limit for the connection, and for the handshake up to its [time
    /// limit](Self::handshake_timeout).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a value that is not an [address](Address).
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with `ECONNREFUSED` when no process listens, `ENOENT` for a path that
    /// does not exist, `EACCES`, `ENETUNREACH` and others as of connect(2), and `ENOMEM` or `ENOBUFS` within the
    /// handshake. [`ErrorKind::Auth`](crate::ErrorKind::Auth) when the two sides have different keys. Also when the
    /// listener does not follow the handshake or did not finish it in time, perhaps because it has no key.
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) when the listener closed the connection within the handshake.
    pub fn connect<A: TryInto<Address>>(self, address: A) -> Result<Connection>
    where
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        loop {
            if let Some(connection) = self.connect_to(&address, Until::NEVER)? {
                return Ok(connection);
            }
        }
    }

    /// As [`connect`](Self::connect). `None` when connection and handshake were not done by the deadline, if that is
    /// sooner than the end of the [handshake's time](Self::handshake_timeout). Also `None` when a
    /// [`CancelFd`](super::CancelFd) ended the wait.
    ///
    /// The lookup of a host's name has neither a deadline nor a `CancelFd`. No descriptor reports that the queue of a
    /// listener at a path has a free place. So while the queue is full, the call sees the `CancelFd` up to 10 ms late.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_timeout<'c, A: TryInto<Address>>(
        self,
        address: A,
        timeout: impl Into<Until<'c>>,
    ) -> Result<Option<Connection>>
    where
        Error: From<A::Error>,
    {
        let until = timeout.into();
        self.connect_to(&address.try_into()?, until)
    }

    fn connect_to(&self, address: &Address, until: Until<'_>) -> Result<Option<Connection>> {
        let mut last = Errno::ADDRNOTAVAIL;
        for candidate in address.resolve()? {
            match reach(&candidate, address.family(), until) {
                Ok(Some(socket)) => return self.authenticate(socket, address, until),
                Ok(None) => return Ok(None),
                Err(errno) => last = errno,
            }
        }
        Err(Error::os(last, format!("cannot connect to {address}")))
    }

    fn authenticate(&self, socket: Socket, address: &Address, until: Until<'_>) -> Result<Option<Connection>> {
        let Some(key) = &self.rules.key else {
            let connection = Connection::with_trust(socket.into(), Access::Both, Trust::Untrusted)?;
            connection.refuse_challenge();
            return Ok(Some(connection));
        };
        let handshake = self.rules.apply(Handshake::client(key)?);
        let patience = Deadline::from(self.rules.timeout);
        let ran = HandshakeIo::new(socket, handshake).run(until.or_sooner(patience));
        match ran.map_err(|error| of_peer(error, address))? {
            Some(socket) => Connection::with_trust(socket.into(), Access::Both, address.trust_with(key)).map(Some),
            None if until.deadline() <= patience || until.is_over()? => Ok(None),
            None => Err(Error::new(
                ErrorKind::Auth,
                format!("{address} did not finish the handshake in time; does it listen with a key?"),
            )),
        }
    }
}

/// Adds the address of the listener to a failed handshake. An error of this system stays as it is.
fn of_peer(error: Error, address: &Address) -> Error {
    let told = format!("{address}: {error}");
    match error.kind() {
        ErrorKind::Auth => error.with_message(told),
        ErrorKind::Closed => Error::caused(ErrorKind::Closed, error.errno(), error).with_message(told),
        _ => error,
    }
}

fn reach(address: &socket::Address, family: Family, until: Until<'_>) -> SysResult<Option<Socket>> {
    let socket = Socket::new(family.of_sockets(), Kind::Stream)?.above_standard()?;
    let connected = match family {
        Family::Unix => connect_to_path(&socket, address, until)?,
        _ => {
            let connect = |deadline| socket.connect(address, deadline).map(|connected| connected.then_some(()));
            until.when_writable(&socket, connect)?.is_some()
        }
    };
    if !connected {
        return Ok(None);
    }
    if family != Family::Unix {
        let _ = socket.set_no_delay(); // EINVAL: the other side is gone already, as it will turn out
    }
    Ok(Some(socket))
}

/// Connects to a path. No poll reports a free place in the queue of such a listener, so a wait with a
/// [`CancelFd`](super::CancelFd) consists of short waits.
fn connect_to_path(socket: &Socket, address: &socket::Address, until: Until<'_>) -> SysResult<bool> {
    const SHORT: Duration = Duration::from_millis(10);
    if until.cancel().is_none() {
        return socket.connect(address, until.deadline());
    }
    let mut deadline = Deadline::NOW;
    loop {
        if socket.connect(address, deadline)? {
            return Ok(true);
        }
        if until.is_over()? {
            return Ok(false);
        }
        deadline = until.deadline().or_sooner(Deadline::after(SHORT));
    }
}
