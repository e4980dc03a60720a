//! Taking connections.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd, set_cloexec};
use ossature_sys::socket::{self, Kind, Socket};
use ossature_sys::sync::lock::Lock;

use super::lobby::{Lobby, cannot_accept};
use super::rules::Rules;
use super::{Access, Address, AuthKey, Connection, Digest, Family};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::Trust;
use crate::multiprocessing::util::{Finalize, Listed};

/// An address at which others can connect.
///
/// With a key, everyone who connects must prove to know it, and gets the same proof, as with CPython's. The handshakes of
/// many go on side by side inside [`accept`](Self::accept): one who says nothing, or little and slowly, keeps nobody waiting.
/// Each has [its time](ListenerBuilder::handshake_timeout) for it and their number [has a limit](ListenerBuilder::handshakes).
///
/// Differs from Python, where a silent peer blocks `accept` for ever. Several threads may accept on one listener, and so may
/// several forked processes; these should have [one handshake](ListenerBuilder::handshakes) at a time, since whom a process has
/// let in, it cannot leave to another that is free.
///
/// Dropping it closes it. The file of a [path](Address::Unix) is removed then, or at the end of the process, by the process that
/// made it.
///
/// **Several processes** accept on one listener, each whom it gets first. A forked child has the listener as it is. To a child
/// that was started in any other way its descriptor is given, as an argument or in a message, of which
/// [`adopt`](ListenerBuilder::adopt) makes a listener again; so it does of the socket of a service manager, or of one that was
/// handed on before an upgrade. The path goes with the listener that was bound to it, so that one is to live longest.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{AuthKey, Client, Listener};
///
/// let key = AuthKey::from("secret password");
/// let listener = Listener::builder().authkey(&key).bind(("localhost", 0))?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || {
///     let connection = Client::builder().authkey(&key).connect(address)?;
///     connection.send_bytes(b"hello")
/// });
/// assert_eq!(listener.accept()?.recv_bytes()?, b"hello");
/// client.join().unwrap()?;
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Workers that share one, under every way to start them:
/// ```standalone_crate
/// use std::os::fd::{AsFd, OwnedFd};
/// use ossature::multiprocessing::connection::{Client, Listener};
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
///         let pid: u32 = Client::connect(listener.address())?.recv()?;
///         assert_eq!(Some(pid as i32), worker.pid().map(|pid| pid.as_raw_nonzero().get()));
///         worker.join()?;
///     }
///     Ok(())
/// }
/// ```
#[doc(alias = "multiprocessing.connection.Listener")]
pub struct Listener {
    socket: Listed<Socket>,
    address: Address,
    rules: Rules,
    _file: Option<Finalize>, // dropped after the socket: nobody can connect in between
    /// Held by who accepts with a key, for as long as that takes.
    lobby: Lock<Lobby>,
    last_accepted: Lock<Option<Address>>,
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

    /// A listener with a key, or with other numbers than usual.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder { backlog: 128, rules: Rules::default() }
    }

    /// Waits for somebody to connect and, if there is a key, to prove that it knows it.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth) when somebody failed to, by going away too; that connection is closed, and the
    /// listener can go on. [`ErrorKind::Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` when no descriptor is left: who
    /// wants to connect keeps waiting; with `ENOMEM` or `ENOBUFS`, for which somebody may have been sent away.
    pub fn accept(&self) -> Result<Connection> {
        loop {
            if let Some(connection) = self.accept_timeout(Deadline::NEVER)? {
                return Ok(connection);
            }
        }
    }

    /// As [`accept`](Self::accept); `None` when nobody was there by the deadline. Handshakes that had begun go on with the next
    /// call.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn accept_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<Connection>> {
        let deadline = timeout.into();
        let Some(key) = &self.rules.key else {
            let Some((socket, peer)) = self.socket.accept(deadline).map_err(cannot_accept)? else { return Ok(None) };
            if let socket::Address::Ip(_) = peer {
                let _ = socket.set_no_delay(true); // EINVAL: it is gone already, as it will turn out
            }
            self.set_last_accepted(Address::of_socket(&peer));
            return Connection::with_trust(socket.into(), Access::Both, Trust::Stranger).map(Some);
        };
        let Some(mut lobby) = self.lobby.lock_timeout(deadline) else { return Ok(None) };
        let Some((socket, peer)) = lobby.serve(&self.socket, key, &self.rules, deadline)? else {
            return Ok(None);
        };
        self.set_last_accepted(peer);
        drop(lobby);
        Connection::with_trust(socket.into(), Access::Both, self.address.trust_with(key)).map(Some)
    }

    /// The address at which this listens, as the system says it: names are numbers there, and a port that was left to the
    /// system is known.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The address of the peer that was accepted last; `None` before the first, and for one whose socket has no address, as is
    /// usual for paths (there Python has an empty text). Does not wait for a thread that accepts.
    pub fn last_accepted(&self) -> Option<Address> {
        self.last_accepted.lock().clone()
    }

    fn set_last_accepted(&self, peer: Option<Address>) {
        let before = std::mem::replace(&mut *self.last_accepted.lock(), peer);
        drop(before);
    }

    /// Closes it; the same as dropping it.
    pub fn close(self) {}

    /// Its socket, as it stands on the list of what this process has.
    pub(crate) fn listed(&self) -> &Listed<Socket> {
        &self.socket
    }
}

/// How a [`Listener`] is to be: from [`Listener::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing listens yet"]
pub struct ListenerBuilder {
    backlog: u32,
    rules: Rules,
}

impl ListenerBuilder {
    /// Demands of everyone who connects to know this key. Without it everyone is let in.
    pub fn authkey(mut self, key: &AuthKey) -> Self {
        self.rules.key = Some(key.clone());
        self
    }

    /// About how many may wait until they are accepted: 128 unless said. (Python's is 1.)
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// How long one handshake may take, counted while somebody accepts: 10 seconds unless said; `None` is for ever.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.rules.timeout = timeout.into();
        self
    }

    /// How many handshakes go on at once: 128 unless said, and at least one. Each takes a descriptor and less than a KiB. Where
    /// there are as many, the oldest makes room for a new one as soon as it has had half a second.
    pub fn handshakes(mut self, most: usize) -> Self {
        self.rules.most = most;
        self
    }

    /// The digest that peers are asked for: [`Handshake::digest`](super::Handshake::digest).
    pub fn digest(mut self, digest: Digest) -> Self {
        self.rules.digest = digest;
        self
    }

    /// The weakest digest that counts: [`Handshake::minimum_digest`](super::Handshake::minimum_digest).
    pub fn minimum_digest(mut self, minimum: Digest) -> Self {
        self.rules.minimum = minimum;
        self
    }

    /// Listens at the address. A host's name is looked up, which may take as long as the system's resolver likes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for what is [no address](Address);
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with `EADDRINUSE` when somebody listens there, or left the file of a path behind,
    /// `EADDRNOTAVAIL`, `EACCES`, `ENOENT`, `ENOTDIR` for the address, `EMFILE` and others as of socket(2).
    pub fn bind<A: TryInto<Address>>(self, address: A) -> Result<Listener>
    where
        Error: From<A::Error>,
    {
        self.bind_to(&address.try_into()?)
    }

    /// Makes a listener of a socket that listens already: one that came from another process as a
    /// [`Handle`](crate::multiprocessing::transfer::Handle), or that a service manager opened. The address is what the system says
    /// of it, and the [backlog](Self::backlog) stays as it is. The file of a path is never removed by this listener.
    ///
    /// The socket is made non-blocking, for every process that has it: of several that wait for the same client one gets it and
    /// the others wait on. A program that shares it without this crate has to expect `EAGAIN`. It is closed on exec.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for what is no socket, or no stream, does not listen, or has
    /// an address of another family than those of [`Address`]; it is closed then, and otherwise as it was.
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with `ENOBUFS`.
    ///
    /// # Examples
    /// ```
    /// use std::net::TcpListener;
    /// use ossature::multiprocessing::connection::{Client, Listener};
    ///
    /// let listener = Listener::builder().adopt(TcpListener::bind("127.0.0.1:0")?.into())?;
    /// let client = Client::connect(listener.address())?;
    /// listener.accept()?.send_bytes(b"welcome")?;
    /// assert_eq!(client.recv_bytes()?, b"welcome");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "from_fd")]
    #[doc(alias = "sd_listen_fds")]
    pub fn adopt(self, fd: OwnedFd) -> Result<Listener> {
        let unfit =
            |why| Error::new(ErrorKind::InvalidInput, format!("no listener can be made of a descriptor that {why}"));
        let failed = |errno| match errno {
            Errno::NOTSOCK => unfit("is no socket"),
            other => Error::os(other, "cannot listen with a socket from elsewhere"),
        };
        if socket::kind_of(&fd).map_err(failed)? != Some(Kind::Stream) {
            return Err(unfit("is no stream socket"));
        }
        if !socket::is_listening(&fd).map_err(failed)? {
            return Err(unfit("does not listen: call listen(2) on it first, or bind() to its address here"));
        }
        let address = socket::address_of(&fd).map_err(failed)?;
        let address =
            Address::of_socket(&address).ok_or_else(|| unfit("is neither a socket of the internet nor a Unix one"))?;
        set_cloexec(&fd, true).map_err(failed)?;
        let socket = Socket::try_from(fd).map_err(failed)?;
        Ok(self.over(socket, address, None))
    }

    fn over(self, socket: Socket, address: Address, file: Option<Finalize>) -> Listener {
        Listener {
            socket: Listed::new(socket),
            address,
            rules: self.rules,
            _file: file,
            lobby: Lock::default(),
            last_accepted: Lock::default(),
        }
    }

    fn bind_to(self, address: &Address) -> Result<Listener> {
        let mut last = Error::from(Errno::ADDRNOTAVAIL);
        for candidate in address.resolve()? {
            match listen(&candidate, address.family(), self.backlog) {
                Ok((socket, bound)) => {
                    let address = Address::of_socket(&bound).unwrap_or_else(|| address.clone());
                    let file = remove_at_the_end(&address);
                    return Ok(self.over(socket, address, file));
                }
                Err(errno) => last = Error::os(errno, format!("cannot listen at {address}")),
            }
        }
        Err(last)
    }
}

fn listen(
    address: &socket::Address,
    family: Family,
    backlog: u32,
) -> ossature_sys::errno::Result<(Socket, socket::Address)> {
    let socket = Socket::new(family.of_sockets(), Kind::Stream)?;
    if family != Family::Unix {
        socket.set_reuse_address(true)?;
    }
    socket.bind(address)?;
    let listening = socket.listen(backlog).and_then(|()| socket.local_address());
    if let (Err(_), socket::Address::Unix(unix)) = (&listening, address) {
        if let Some(path) = unix.as_path() {
            let _ = fs::remove_file(OsStr::from_bytes(path));
        }
    }
    Ok((socket, listening?))
}

/// Removes the file of a path when it is dropped, or at the end of this process; in no other, and not if it is another file by
/// then.
fn remove_at_the_end(address: &Address) -> Option<Finalize> {
    let Address::Unix(path) = address else { return None };
    // Another directory may be the current one by then.
    let path = std::path::absolute(path).ok()?;
    let made = identity(&path)?;
    Some(Finalize::at_exit(0, move || {
        if identity(&path) == Some(made) {
            let _ = fs::remove_file(&path); // somebody was quicker
        }
    }))
}

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

impl AsFd for Listener {
    /// Readable when somebody wants to connect. (With a key, who came before may still be at its handshake.)
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}
