//! Listeners: the accepting side of connections.

use std::thread;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd, set_cloexec};
use ossature_sys::socket::{self, Kind, Socket};
use ossature_sys::sync::lock::Lock;

use super::pending::{Pending, accept};
use super::rules::Rules;
use super::shortage::Shortage;
use super::{Access, Address, AuthKey, Connection, Digest, bind};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::Listed;
use crate::multiprocessing::transfer::Trust;
use crate::multiprocessing::util::Finalize;

/// A listening socket, at whose address other processes can connect.
///
/// With a key, every peer must prove to know it, and receives the same proof, as with CPython's. The handshakes of many
/// peers run concurrently inside [`accept`](Self::accept): a silent or slow peer does not delay the others. Each
/// handshake has a [time limit](ListenerBuilder::handshake_timeout), and their number [has a
/// limit](ListenerBuilder::handshakes).
///
/// Differs from Python, where a silent peer blocks `accept` forever. Several threads may accept on one listener. Each
/// thread takes the next handshake that is ready, and no thread waits for another. Several forked processes may accept,
/// too. Each of them should allow only [one handshake](ListenerBuilder::handshakes) at a time, because a process cannot
/// pass a peer on to another process that is idle.
///
/// Dropping the listener closes it. The process that made it then removes the file of a [path](Address::Unix), at the
/// latest at its end. A killed listener leaves its file, and the next [`bind`](ListenerBuilder::bind) removes the file.
///
/// **Several processes** can accept on one listener; each connection goes to one of them. A forked child inherits the
/// listener. A child that was started in any other way gets the descriptor, as an argument or in a message.
/// [`adopt`](ListenerBuilder::adopt) makes a listener of that descriptor, and also of a socket that an older version of
/// the program passed on. [`from_environment`](Self::from_environment) takes the sockets of a service manager. The
/// listener that was bound to a path removes the path, so that listener should live longest.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{AuthKey, ConnectBuilder, Listener, connect};
///
/// let key = AuthKey::from("secret password");
/// let listener = Listener::builder().authkey(&key).bind(("localhost", 0))?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || {
///     let connection = ConnectBuilder::new().authkey(&key).connect(address)?;
///     connection.send_bytes(b"hello")
/// });
/// assert_eq!(listener.accept()?.recv_bytes()?, b"hello");
/// client.join().unwrap()?;
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Workers that share a listener, with every start method:
/// ```standalone_crate
/// use std::os::fd::{AsFd, OwnedFd};
/// use ossature::multiprocessing::connection::{ConnectBuilder, Listener, connect};
/// use ossature::multiprocessing::{Context, Process, Tasks, freeze_support, tasks, transfer::Handle};
///
/// static TASKS: Tasks = tasks![serve_one];
///
/// fn serve_one(Handle(socket): Handle<OwnedFd>) -> ossature::Result<()> {
///     let listener = Listener::builder().handshakes(1).adopt(socket)?; // with a key also .authkey(&current_process().authkey()?)
///     listener.accept()?.send(&std::process::id())
/// }
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let listener = Listener::bind(("localhost", 0))?;
///     for context in [Context::Spawn, Context::Fork] {
///         let socket = listener.as_fd().try_clone_to_owned().unwrap();
///         let worker = Process::builder().context(context).start(serve_one, (Handle(socket),))?;
///         let pid: u32 = connect(listener.address())?.recv()?;
///         assert_eq!(Some(pid as i32), worker.pid().map(|pid| pid.as_raw_nonzero().get()));
///         worker.join()?;
///     }
///     Ok(())
/// }
/// ```
///
/// With limits, and with the properties of the clients:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{Listener, connect};
///
/// let listener = Listener::bind(("127.0.0.1", 0))?;
/// assert!(listener.accept_timeout(Duration::from_millis(1))?.is_none(), "nobody came");
/// let client = connect(listener.address())?;
/// let served = listener.accept_timeout(Duration::from_secs(60))?.expect("a client came");
/// assert!(listener.last_accepted().is_some(), "the client's address");
/// assert!(!listener.removed_stale_file(), "it has no path");
/// listener.close(); // the connections stay
/// served.send(&"still here")?;
/// assert_eq!(client.recv::<String>()?, "still here");
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "multiprocessing.connection.Listener")]
pub struct Listener {
    /// The socket file. It is dropped before the socket, because a path with a living socket is never mistaken for the
    /// path of a dead listener.
    _file: Option<Finalize>,
    socket: Listed<Socket>,
    address: Address,
    rules: Rules,
    pending: Pending,
    last_accepted: Lock<Option<Address>>,
    removed_stale_file: bool,
}

impl Listener {
    /// Listens at an address, without a key.
    ///
    /// # Errors
    /// As for [`ListenerBuilder::bind`].
    pub fn bind<A: TryInto<Address>>(address: A) -> Result<Self>
    where
        Error: From<A::Error>,
    {
        Self::builder().bind(address)
    }

    /// Returns a builder for a listener with a key, or with other limits than the defaults.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder { backlog: 4096, rules: Rules::default() }
    }

    /// Waits for a peer to connect and, if there is a key, to prove that it knows the key.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth) when a peer failed to prove it, or disconnected. That connection is
    /// closed, and the listener can accept others. [`incoming`](Self::incoming) passes such failures to a hook, and
    /// continues by itself.
    ///
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` when no descriptor was free for a second, or
    /// until an earlier deadline. Peers that want to connect keep waiting. The same with `ENOMEM` or `ENOBUFS`; the
    /// system may have rejected a peer then. Because of that wait, a loop over this call does not spin.
    pub fn accept(&self) -> Result<Connection> {
        loop {
            if let Some(connection) = self.accept_timeout(Deadline::NEVER)? {
                return Ok(connection);
            }
        }
    }

    /// As [`accept`](Self::accept); `None` when no peer was ready by the deadline, or when a
    /// [`CancelFd`](super::CancelFd) ended the wait. Handshakes that had begun continue in the next call.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn accept_timeout<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<Option<Connection>> {
        let until = timeout.into();
        let Some(key) = &self.rules.key else {
            let Some((socket, peer)) = self.accept_socket(until)? else { return Ok(None) };
            if let socket::Address::Ip(_) = peer {
                let _ = socket.set_no_delay(); // EINVAL: it is gone already, as it will turn out
            }
            self.set_last_accepted(Address::of_socket(&peer));
            return Connection::with_trust(socket.into(), Access::Both, Trust::Untrusted).map(Some);
        };
        let Some((socket, peer)) = self.pending.serve(&self.socket, key, &self.rules, until)? else {
            return Ok(None);
        };
        self.set_last_accepted(peer);
        Connection::with_trust(socket.into(), Access::Both, self.address.trust_with(key)).map(Some)
    }

    fn accept_socket(&self, until: Until<'_>) -> Result<Option<(Socket, socket::Address)>> {
        let mut shortage = Shortage::default();
        loop {
            match until.when_readable(&*self.socket, |deadline| accept(&self.socket, deadline)) {
                Ok(accepted) => return Ok(accepted),
                Err(errno) => thread::sleep(shortage.pause(errno, until.deadline())?),
            }
        }
    }

    /// The address of the listener, as the system reports it: hosts are numeric, and a port that the system chose is
    /// known.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The address of the peer that was accepted last. `None` before the first, and for a peer whose socket has no
    /// address, as is usual for paths (there Python has an empty text). Does not wait for a thread that accepts.
    pub fn last_accepted(&self) -> Option<Address> {
        self.last_accepted.lock().clone()
    }

    fn set_last_accepted(&self, peer: Option<Address>) {
        let before = std::mem::replace(&mut *self.last_accepted.lock(), peer);
        drop(before);
    }

    /// Whether [`bind`](ListenerBuilder::bind) removed a socket file that a dead listener had left at the path.
    pub fn removed_stale_file(&self) -> bool {
        self.removed_stale_file
    }

    /// Closes the listener, as dropping it does.
    pub fn close(self) {}

    /// The socket's entry in the list of this process's descriptors.
    pub(crate) fn listed(&self) -> &Listed<Socket> {
        &self.socket
    }
}

/// The settings of a [`Listener`]: from [`Listener::builder`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{AuthKey, ConnectBuilder, Digest, Listener, ListenerBuilder};
///
/// let key = AuthKey::random()?;
/// let builder: ListenerBuilder = Listener::builder();
/// let listener = builder
///     .authkey(&key)
///     .digest(Digest::Sha384)
///     .minimum_digest(Digest::Sha256) // shuts out CPython up to 3.11
///     .handshake_timeout(Duration::from_secs(5))
///     .handshakes(16) // at a time
///     .backlog(64)
///     .bind(("127.0.0.1", 0))?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || ConnectBuilder::new().authkey(&key).connect(address)?.recv::<u8>());
/// listener.accept()?.send(&7_u8)?;
/// assert_eq!(client.join().unwrap()?, 7);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing listens until `bind` or `adopt`"]
pub struct ListenerBuilder {
    backlog: u32,
    rules: Rules,
}

impl ListenerBuilder {
    /// Sets the key that every peer must prove to know. Without it every peer is accepted.
    pub fn authkey(mut self, key: &AuthKey) -> Self {
        self.rules.key = Some(key.clone());
        self
    }

    /// Sets about how many peers may wait until they are accepted. The default is 4,096 (Python's is 1). The system's
    /// own limit is `net.core.somaxconn`, 4,096 by default.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Sets how long one handshake may take, counted while a thread accepts. The default is 10 seconds; `None` means no
    /// limit.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.rules.timeout = timeout.into();
        self
    }

    /// Sets how many handshakes may run at once: at least one, and 128 by default. Each uses a descriptor and less than
    /// a KiB. At the limit, a new handshake replaces the oldest one as soon as that has had half a second.
    pub fn handshakes(mut self, most: usize) -> Self {
        self.rules.most = most;
        self
    }

    /// Sets the digest that peers are asked to use: [`Handshake::digest`](super::Handshake::digest).
    pub fn digest(mut self, digest: Digest) -> Self {
        self.rules.digest = digest;
        self
    }

    /// Sets the weakest digest that is accepted: [`Handshake::minimum_digest`](super::Handshake::minimum_digest).
    pub fn minimum_digest(mut self, minimum: Digest) -> Self {
        self.rules.minimum = minimum;
        self
    }

    /// Listens at the address. A host's name is looked up, which takes as long as the system's resolver takes.
    ///
    /// **A path.** A killed listener leaves its socket file, to which no living socket is bound. This call removes such
    /// a file; [`removed_stale_file`](Listener::removed_stale_file) and a [log record](crate::multiprocessing::logging)
    /// report this. If several listeners of this crate start at once, exactly one gets the path. Each locks a file
    /// beside the path, `.NAME.bind-lock`, while it binds, and then removes that file. If a listener cannot lock the
    /// file within a second, the listener removes no socket file. Choose a directory in which only trusted users may
    /// write. A user who can remove the lock file, or the socket file, can take the path. This call never removes the
    /// file of a bound socket, even before that socket listens, or a file of another kind.
    ///
    /// Differs from Python, where such a file is an error until it is removed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a value that is not an [address](Address).
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with `EADDRINUSE` when a process has the address, or when a file that
    /// must stay is at the path. Also with `EADDRNOTAVAIL`, `EACCES`, `ENOENT`, `ENOTDIR` for the address, `EMFILE` and
    /// others as of socket(2).
    pub fn bind<A: TryInto<Address>>(self, address: A) -> Result<Listener>
    where
        Error: From<A::Error>,
    {
        self.bind_to(&address.try_into()?)
    }

    /// Makes a listener of a socket that already listens: one from another process as a
    /// [`Handle`](crate::multiprocessing::transfer::Handle), or one that a service manager opened. The system reports
    /// the address, and the [backlog](Self::backlog) stays unchanged. This listener never removes the file of a path.
    ///
    /// The socket is made non-blocking, for every process that has it. Of several processes that wait for the same
    /// client one gets it, and the others wait on. A program that shares it without this crate has to expect `EAGAIN`.
    /// It is closed on exec.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for what is not a socket, is not a stream, does not
    /// listen, or has an address of another family than those of [`Address`]. Then the socket is closed; otherwise it
    /// is as before. [`ErrorKind::Os`](crate::ErrorKind::Os) with `ENOBUFS`.
    ///
    /// # Examples
    /// ```
    /// use std::net::TcpListener;
    /// use ossature::multiprocessing::connection::{ConnectBuilder, Listener, connect};
    ///
    /// let listener = Listener::builder().adopt(TcpListener::bind("127.0.0.1:0")?.into())?;
    /// let client = connect(listener.address())?;
    /// listener.accept()?.send_bytes(b"welcome")?;
    /// assert_eq!(client.recv_bytes()?, b"welcome");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "from_fd")]
    #[doc(alias = "sd_listen_fds")]
    pub fn adopt(self, fd: OwnedFd) -> Result<Listener> {
        let unfit = |why| Error::new(ErrorKind::InvalidInput, format!("a listener cannot use a descriptor that {why}"));
        let failed = |errno| match errno {
            Errno::NOTSOCK => unfit("is not a socket"),
            other => Error::os(other, "cannot listen with a socket from another process"),
        };
        if socket::kind_of(&fd).map_err(failed)? != Some(Kind::Stream) {
            return Err(unfit("is not a stream socket"));
        }
        if !socket::is_listening(&fd).map_err(failed)? {
            return Err(unfit("does not listen: call listen(2) on it first, or bind() to its address in this process"));
        }
        let address = socket::address_of(&fd).map_err(failed)?;
        let address = Address::of_socket(&address).ok_or_else(|| unfit("is neither an internet nor a Unix socket"))?;
        set_cloexec(&fd).map_err(failed)?;
        let socket = Socket::try_from(fd).map_err(failed)?;
        Ok(self.over(socket, address, None))
    }

    fn over(self, socket: Socket, address: Address, file: Option<Finalize>) -> Listener {
        Listener {
            _file: file,
            socket: Listed::new(socket),
            address,
            rules: self.rules,
            pending: Pending::default(),
            last_accepted: Lock::default(),
            removed_stale_file: false,
        }
    }

    fn bind_to(self, address: &Address) -> Result<Listener> {
        let mut last = Error::from(Errno::ADDRNOTAVAIL);
        for candidate in address.resolve()? {
            match bind::listen(address, &candidate, self.backlog) {
                Ok(bound) => {
                    let address = Address::of_socket(&bound.address).unwrap_or_else(|| address.clone());
                    let file = bind::remove_at_the_end(&address);
                    return Ok(Listener {
                        removed_stale_file: bound.removed_stale_file,
                        ..self.over(bound.socket, address, file)
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl AsFd for Listener {
    /// The descriptor, readable when a peer wants to connect. (With a key, an earlier peer may still be in its
    /// handshake.)
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

as_raw_fd!(Listener);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}
