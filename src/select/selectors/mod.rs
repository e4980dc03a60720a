//! Readiness with your own objects and data attached: Python's `selectors` module.
//!
//! A selector **owns** what is registered. An object is anything `AsFd`: a socket itself, an `Arc` of one, a `&socket`
//! or a `BorrowedFd`, as the program likes. An event loop that accepts connections needs that: a selector that only
//! borrowed could never let a connection go. The object keeps the descriptor open, as in Python's keys, and
//! [`unregister`](Selector::unregister) gives the object back. Events come as [`Token`]s, which are never used twice.
//! The token of an object that was taken out finds nothing, even if its number has been opened again.
//!
//! A forked child may use the selector that it inherits: its changes do not affect the parent. If the selector has an
//! epoll set, the child makes another set at its first call. The descriptor that an [`EpollSelector`] lends is shared
//! until then; the objects themselves are shared forever.
//!
//! | Python | here |
//! | --- | --- |
//! | `EVENT_READ`, `EVENT_WRITE` | [`Interest::READ`], [`Interest::WRITE`] |
//! | `SelectorKey` | [`Key`] |
//! | `get_map()`, `get_key(obj)` | [`Selector::map`] with [`Map::get`], [`Map::find`] |
//! | `DefaultSelector` | [`DefaultSelector`]: epoll, or poll if no epoll set can be made |
//!
//! ```
//! use ossature::select::selectors::{DefaultSelector, Interest, Selector};
//! use std::{io::{Read, Write}, os::unix::net::UnixStream, time::Duration};
//!
//! let (mut client, server) = UnixStream::pair().unwrap();
//! let mut selector = DefaultSelector::new().unwrap();
//! selector.register(server, Interest::READ, "the peer").unwrap();
//! client.write_all(b"hello").unwrap();
//! for (token, ready) in selector.select(Duration::from_secs(1)).unwrap() {
//!     assert_eq!(ready, Interest::READ);
//!     let key = selector.unregister(token).unwrap();
//!     let (mut server, name) = key.into_parts();
//!     let mut buffer = [0; 16];
//!     let len = server.read(&mut buffer).unwrap();
//!     assert_eq!((&buffer[..len], name), (&b"hello"[..], "the peer"));
//! }
//! ```
//!
//! # Python's event loop, with the callback in the data
//!
//! Python's own example attaches a function to each object, and the loop calls it. The function needs the selector's
//! type, and the selector's type names the function. Two type aliases would be a cycle, which the compiler refuses
//! (E0391). A struct around the function pointer ends the cycle:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::os::fd::{AsFd, BorrowedFd};
//! use std::time::Duration;
//! use ossature::select::selectors::{DefaultSelector, Interest, Selector, Token};
//!
//! type Outcome = Result<(), Box<dyn std::error::Error>>;
//! type Loop = DefaultSelector<Socket, Callback>;
//!
//! /// What the loop calls when the object is ready.
//! #[derive(Clone, Copy)]
//! struct Callback(fn(&mut Loop, Token) -> Outcome);
//!
//! enum Socket {
//!     Listener(TcpListener),
//!     Stream(TcpStream),
//! }
//!
//! impl AsFd for Socket {
//!     fn as_fd(&self) -> BorrowedFd<'_> {
//!         match self {
//!             Self::Listener(listener) => listener.as_fd(),
//!             Self::Stream(stream) => stream.as_fd(),
//!         }
//!     }
//! }
//!
//! fn accept(sel: &mut Loop, token: Token) -> Outcome {
//!     let Some(Socket::Listener(listener)) = sel.file_mut(token) else { return Ok(()) };
//!     let (stream, _) = listener.accept()?;
//!     stream.set_nonblocking(true)?;
//!     sel.register(Socket::Stream(stream), Interest::READ, Callback(read))?;
//!     Ok(())
//! }
//!
//! fn read(sel: &mut Loop, token: Token) -> Outcome {
//!     let Some(Socket::Stream(stream)) = sel.file_mut(token) else { return Ok(()) };
//!     let mut buffer = [0; 1000];
//!     match stream.read(&mut buffer)? {
//!         0 => drop(sel.unregister(token)?), // the client has disconnected
//!         len => stream.write_all(&buffer[..len])?,
//!     }
//!     Ok(())
//! }
//!
//! let listener = TcpListener::bind("localhost:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let mut sel = Loop::new()?;
//! sel.register(Socket::Listener(listener), Interest::READ, Callback(accept))?;
//! client.write_all(b"hello")?;
//! for _ in 0..2 {
//!     for (token, _ready) in sel.select(Duration::from_secs(60))? {
//!         // A callback before this one may have unregistered the object.
//!         let Some(&Callback(call)) = sel.map().get(token).map(|key| key.data()) else { continue };
//!         call(&mut sel, token)?;
//!     }
//! }
//! let mut answer = [0; 5];
//! client.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"hello");
//! # Outcome::Ok(())
//! ```

mod backend;
mod interest;
mod map;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use ossature_sys::deadline::Deadline;

use crate::error::{Error, ErrorKind, Result};
pub use backend::{Backend, EpollBackend, FirstUsable, KqueueBackend, PollBackend, SelectBackend};
pub use interest::Interest;
pub use map::{Key, Map, Token};

/// The methods of every selector.
///
/// A function may take any selector as `&mut dyn Selector<F, T>`, Python's `BaseSelector`. Such a function waits with
/// [`select_until`](Self::select_until), because [`select`](Self::select) is generic:
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use ossature::select::selectors::{Interest, PollSelector, SelectSelector, Selector};
/// use ossature::sys::deadline::Deadline;
///
/// fn count(selector: &mut dyn Selector<UnixStream, ()>) -> Result<usize, Box<dyn std::error::Error>> {
///     selector.register(UnixStream::pair()?.0, Interest::WRITE, ())?;
///     Ok(selector.select_until(Deadline::NOW)?.len())
/// }
/// assert_eq!(count(&mut PollSelector::new()?)?, 1);
/// assert_eq!(count(&mut SelectSelector::new()?)?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Selector<F: AsFd, T> {
    /// Registers `file`, to be watched for `interest`, with `data` attached.
    ///
    /// # Errors
    /// `file` and `data` are dropped, and nothing else has changed. Where the caller needs them back, the call is
    /// [`register_or_give_back`](Self::register_or_give_back).
    /// * [`ErrorKind::InvalidInput`]: `interest` is empty or has unknown bits.
    /// * [`ErrorKind::AlreadyRegistered`]: an object with the same descriptor is registered.
    /// * [`ErrorKind::Os`]: the kernel refuses, as epoll does plain files (`EPERM`).
    fn register(&mut self, file: F, interest: Interest, data: T) -> Result<Token> {
        self.register_or_give_back(file, interest, data).map_err(Error::from)
    }

    /// Registers like [`register`](Self::register); the error contains `file` and `data`.
    ///
    /// # Errors
    /// The [`RegisterError`] gives `file` and `data` back for the reasons of [`register`](Self::register), and nothing
    /// has changed.
    fn register_or_give_back(
        &mut self,
        file: F,
        interest: Interest,
        data: T,
    ) -> std::result::Result<Token, RegisterError<F, T>>;

    /// Removes an object and returns it.
    ///
    /// This also works for an object whose descriptor was closed without the selector's knowledge.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] when the token's object is no longer registered.
    fn unregister(&mut self, token: Token) -> Result<Key<F, T>>;

    /// Changes the interest and the data of an object; returns the old data.
    ///
    /// When the interest stays the same no system call is made. Differs from Python: when the kernel refuses, the entry
    /// stays as it was instead of vanishing.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`], [`ErrorKind::InvalidInput`] as for [`register`](Self::register);
    /// [`ErrorKind::Os`] when the kernel refuses.
    fn modify(&mut self, token: Token, interest: Interest, data: T) -> Result<T>;

    /// Waits until an object is ready; returns the ready objects with the events that they are ready for, out of their
    /// interest.
    ///
    /// After an error or a hang-up an object is ready for both reading and writing, so that the next operation returns
    /// it. An empty list means that the time ran out; events of unregistered objects do not end the wait.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] from the system call; in a forked child also `EMFILE` and the like, when it cannot
    /// make an epoll set of its own.
    fn select(&mut self, timeout: impl Into<Deadline>) -> Result<Vec<(Token, Interest)>>
    where
        Self: Sized,
    {
        self.select_until(timeout.into())
    }

    /// Waits like [`select`](Self::select), also for a `&mut dyn Selector<F, T>`.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    fn select_until(&mut self, deadline: Deadline) -> Result<Vec<(Token, Interest)>>;

    /// The registrations.
    fn map(&self) -> &Map<F, T>;

    /// Returns an object and its data, to be used and changed in place; `None` when the object is no longer registered.
    ///
    /// The selector continues to watch the descriptor that was registered. An object that was put in the place of the
    /// old one is not watched: unregister the old one and register the new one instead.
    fn parts_mut(&mut self, token: Token) -> Option<(&mut F, &mut T)>;

    /// Returns an object, to be used in place, as [`Read`](std::io::Read) and [`Write`](std::io::Write) need it. The
    /// rules are those of [`parts_mut`](Self::parts_mut).
    fn file_mut(&mut self, token: Token) -> Option<&mut F>;

    /// Returns the data of an object, to be changed in place.
    fn data_mut(&mut self, token: Token) -> Option<&mut T>;

    /// Frees the kernel object and returns every object. Dropping the selector drops them.
    fn close(self) -> Vec<Key<F, T>>
    where
        Self: Sized;
}

/// A failed registration: the error, and the object and data that were to be registered.
///
/// The `?` operator turns it into an [`Error`] or into a [`std::io::Error`]; both drop the object and the data.
///
/// # Examples
/// ```
/// use std::os::unix::net::UnixStream;
/// use ossature::select::selectors::{EpollSelector, Interest, RegisterError, Selecting, Selector};
///
/// let (one, _other) = UnixStream::pair()?;
/// let mut selector: EpollSelector<UnixStream, u32> = Selecting::new()?;
/// let Err(refused) = selector.register_or_give_back(one, Interest::empty(), 7) else { panic!("nothing to wait for") };
/// let RegisterError { error, file, data } = refused;
/// assert_eq!(error.kind(), ossature::ErrorKind::InvalidInput);
/// selector.register(file, Interest::READ, data)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RegisterError<F, T> {
    /// The error.
    pub error: Error,
    /// The object, returned to the caller.
    pub file: F,
    /// The data, returned to the caller.
    pub data: T,
}

impl<F, T> From<RegisterError<F, T>> for Error {
    fn from(refused: RegisterError<F, T>) -> Self {
        refused.error
    }
}

impl<F, T> From<RegisterError<F, T>> for std::io::Error {
    fn from(refused: RegisterError<F, T>) -> Self {
        refused.error.into()
    }
}

impl<F, T> fmt::Debug for RegisterError<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<F, T> fmt::Display for RegisterError<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<F, T> std::error::Error for RegisterError<F, T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// A selector over one of the kernel's ways to wait; use its names [`DefaultSelector`], [`EpollSelector`],
/// [`PollSelector`] and [`SelectSelector`].
///
/// # Examples
/// See the example of [`RegisterError`].
pub struct Selecting<B, F, T = ()> {
    map: Map<F, T>,
    backend: B,
}

/// The selector over the first of epoll and poll that the system can make.
pub type DefaultSelector<F, T = ()> = Selecting<FirstUsable, F, T>;
/// The selector over epoll: the cost of waiting depends on how many objects are ready. It is itself a descriptor that
/// can be waited for.
///
/// In a forked child that descriptor is the parent's set until the first call, which makes another set with another
/// descriptor. Register that descriptor again with every object that waits for the selector.
///
/// # Examples
/// See the example of [`RegisterError`].
pub type EpollSelector<F, T = ()> = Selecting<EpollBackend, F, T>;
/// The selector over the [`Kqueue`](crate::select::Kqueue) of this library: it accepts plain files, which are ready
/// unless they are at their end.
///
/// # Examples
/// ```
/// use std::{fs::File, time::Duration};
/// use ossature::select::selectors::{Interest, KqueueSelector, Selector};
///
/// let mut selector = KqueueSelector::new()?;
/// let token = selector.register(File::open(std::env::current_exe()?)?, Interest::READ, ())?;
/// assert_eq!(selector.select(Duration::from_secs(5))?, [(token, Interest::READ)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type KqueueSelector<F, T = ()> = Selecting<KqueueBackend, F, T>;
/// The selector over ppoll: any object that can be opened, at a cost that depends on how many are registered.
///
/// # Examples
/// See the example of [`Selector`].
pub type PollSelector<F, T = ()> = Selecting<PollBackend, F, T>;
/// The selector over [`select`](crate::select::select()), without its limit of 1,024.
///
/// # Examples
/// See the example of [`Selector`].
pub type SelectSelector<F, T = ()> = Selecting<SelectBackend, F, T>;

impl<B: Backend, F: AsFd, T> Selecting<B, F, T> {
    /// Makes an empty selector.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `EMFILE` or `ENFILE` when it needs a descriptor and none is left.
    pub fn new() -> Result<Self> {
        Ok(Self { map: Map::default(), backend: B::new()? })
    }
}

impl<B: Backend, F: AsFd, T> Selector<F, T> for Selecting<B, F, T> {
    fn register_or_give_back(
        &mut self,
        file: F,
        interest: Interest,
        data: T,
    ) -> std::result::Result<Token, RegisterError<F, T>> {
        let added = check(interest).and_then(|()| {
            let fd = file.as_fd();
            let number = fd.as_raw_fd();
            if self.map.find(fd).is_some() {
                let message = format!("selector: descriptor {number} is registered already: use modify");
                return Err(Error::new(ErrorKind::AlreadyRegistered, message));
            }
            let token = self.map.next();
            let refused = |errno| Error::os(errno, format!("selector: cannot watch descriptor {number}"));
            self.backend.own(&self.map).and_then(|()| self.backend.add(fd, interest, token)).map_err(refused)?;
            Ok(number)
        });
        match added {
            Ok(number) => Ok(self.map.insert(file, number, interest, data)),
            Err(error) => Err(RegisterError { error, file, data }),
        }
    }

    fn unregister(&mut self, token: Token) -> Result<Key<F, T>> {
        let key = self.map.remove(token).ok_or_else(unknown)?;
        // A set that is not ours is left alone; ours will be made without this object.
        if self.backend.own(&self.map).is_ok() {
            self.backend.remove(key.file().as_fd());
        }
        Ok(key)
    }

    fn modify(&mut self, token: Token, interest: Interest, data: T) -> Result<T> {
        check(interest)?;
        let Self { map, backend } = self;
        let owned = backend.own(map);
        let key = map.get_mut(token).ok_or_else(unknown)?;
        if key.interest != interest {
            let refused = |errno| Error::os(errno, format!("selector: cannot change descriptor {}", key.fd));
            owned.and_then(|()| backend.change(key.file.as_fd(), interest, token)).map_err(refused)?;
            key.interest = interest;
        }
        Ok(std::mem::replace(&mut key.data, data))
    }

    fn select_until(&mut self, deadline: Deadline) -> Result<Vec<(Token, Interest)>> {
        self.backend.own(&self.map).map_err(|errno| Error::os(errno, "selector: cannot make an epoll set"))?;
        self.backend.wait(&self.map, deadline)
    }

    fn map(&self) -> &Map<F, T> {
        &self.map
    }

    fn parts_mut(&mut self, token: Token) -> Option<(&mut F, &mut T)> {
        self.map.get_mut(token).map(|key| (&mut key.file, &mut key.data))
    }

    fn file_mut(&mut self, token: Token) -> Option<&mut F> {
        self.map.get_mut(token).map(|key| &mut key.file)
    }

    fn data_mut(&mut self, token: Token) -> Option<&mut T> {
        self.map.get_mut(token).map(|key| &mut key.data)
    }

    fn close(self) -> Vec<Key<F, T>> {
        self.map.into_keys()
    }
}

fn check(interest: Interest) -> Result<()> {
    if interest.is_empty() || !Interest::all().contains(interest) {
        return Err(Error::new(ErrorKind::InvalidInput, "selector: the interest must be READ, WRITE or both"));
    }
    Ok(())
}

#[cold]
fn unknown() -> Error {
    Error::new(ErrorKind::NotRegistered, "selector: the token's object is not registered")
}

impl<F, T> Selecting<KqueueBackend, F, T> {
    /// Returns the descriptor of the queue, which is readable while an object is ready. In a forked child it does not
    /// exist until the first call of the selector.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `EMFILE` and the like at the first call, with `EBADF` in a forked child.
    ///
    /// # Examples
    /// ```
    /// use std::{os::unix::net::UnixStream, time::Duration};
    /// use ossature::select::{select, selectors::{Interest, KqueueSelector, Selector}};
    ///
    /// let mut selector = KqueueSelector::new()?;
    /// selector.register(UnixStream::pair()?.0, Interest::WRITE, ())?;
    /// assert_eq!(select(&[selector.descriptor()?], &[], &[], Duration::from_secs(5))?.read.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "fileno")]
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        self.backend.descriptor()
    }
}

impl<F, T> AsFd for Selecting<EpollBackend, F, T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.backend.as_fd()
    }
}

impl<B: fmt::Debug, F, T> fmt::Debug for Selecting<B, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selecting").field("backend", &self.backend).field("map", &self.map).finish()
    }
}
