//! The registrations of a selector: keys by token and by descriptor number.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::Interest;

/// The name of one registration; never reused by a selector, so a stale token finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Python's `SelectorKey`: an object, its interest, and the data attached to it.
///
/// # Examples
/// ```
/// use std::os::{fd::AsRawFd, unix::net::UnixStream};
/// use ossature::select::selectors::{DefaultSelector, Interest, Key, Map, Selector, Token};
///
/// let (one, _other) = UnixStream::pair()?;
/// let number = one.as_raw_fd();
/// let mut selector = DefaultSelector::new()?;
/// let token: Token = selector.register(one, Interest::WRITE, "client 1")?;
///
/// let map: &Map<UnixStream, &str> = selector.map();
/// let key: &Key<UnixStream, &str> = map.get(token).expect("it is registered");
/// assert_eq!((key.fd(), key.interest(), *key.data()), (number, Interest::WRITE, "client 1"));
/// assert_eq!((map.find(key.file()), map.len(), map.is_empty()), (Some(token), 1, false));
/// assert!(map.iter().all(|(other, _key)| other == token));
///
/// let mut key = selector.unregister(token)?; // the program's own again
/// key.file_mut().set_nonblocking(true)?;
/// let (_stream, name) = key.into_parts();
/// assert!(name == "client 1" && selector.map().get(token).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Key<F, T> {
    pub(super) file: F,
    pub(super) fd: RawFd,
    pub(super) interest: Interest,
    pub(super) data: T,
}

impl<F, T> Key<F, T> {
    /// The registered object.
    #[doc(alias = "fileobj")]
    pub fn file(&self) -> &F {
        &self.file
    }

    /// The object of a key that [`unregister`](super::Selector::unregister) or [`close`](super::Selector::close)
    /// returned. For a registered object use [`Selector::file_mut`](super::Selector::file_mut).
    pub fn file_mut(&mut self) -> &mut F {
        &mut self.file
    }

    /// The number of the object's descriptor at its registration.
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// The interest of the object.
    #[doc(alias = "events")]
    pub fn interest(&self) -> Interest {
        self.interest
    }

    /// The data attached to the object.
    pub fn data(&self) -> &T {
        &self.data
    }

    /// Returns the object and the data.
    pub fn into_parts(self) -> (F, T) {
        (self.file, self.data)
    }
}

impl<F, T> fmt::Debug for Key<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("fd", &self.fd).field("interest", &self.interest).finish_non_exhaustive()
    }
}

/// The current registrations of a selector.
///
/// # Examples
/// See the example of [`Key`].
pub struct Map<F, T> {
    keys: HashMap<Token, Key<F, T>>,
    by_fd: HashMap<RawFd, Token>,
    next: u64,
}

impl<F, T> Default for Map<F, T> {
    fn default() -> Self {
        Self { keys: HashMap::new(), by_fd: HashMap::new(), next: 0 }
    }
}

impl<F, T> Map<F, T> {
    /// The key of a token; `None` when its object is no longer registered.
    pub fn get(&self, token: Token) -> Option<&Key<F, T>> {
        self.keys.get(&token)
    }

    /// Returns the token of the object with this descriptor.
    pub fn find(&self, fd: impl AsFd) -> Option<Token> {
        self.by_fd.get(&fd.as_fd().as_raw_fd()).copied()
    }

    /// Returns every registration, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Token, &Key<F, T>)> {
        self.keys.iter().map(|(token, key)| (*token, key))
    }

    /// The number of registrations.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no registrations.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn of_number(&self, fd: RawFd) -> Option<Token> {
        self.by_fd.get(&fd).copied()
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Key<F, T>> {
        self.keys.get_mut(&token)
    }

    /// Returns the token that the next [`insert`](Self::insert) will return.
    pub(super) fn next(&self) -> Token {
        Token(self.next)
    }

    pub(super) fn insert(&mut self, file: F, fd: RawFd, interest: Interest, data: T) -> Token {
        let token = self.next();
        self.next += 1; // 2^64 registrations take longer than the machine lasts
        self.by_fd.insert(fd, token);
        self.keys.insert(token, Key { file, fd, interest, data });
        token
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Key<F, T>> {
        let key = self.keys.remove(&token)?;
        self.by_fd.remove(&key.fd);
        Some(key)
    }

    pub(super) fn into_keys(self) -> Vec<Key<F, T>> {
        self.keys.into_values().collect()
    }
}

impl<F, T> fmt::Debug for Map<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.keys).finish()
    }
}
