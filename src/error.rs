//! The one error of the upper half: what kind it is, a message that names the object and the remedy, and the kernel's
//! number behind it if there is one.
//!
//! ```
//! use ossature::error::ErrorKind;
//! use ossature::select::{Poll, PollFlags};
//!
//! let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
//! let error = Poll::new().unregister(&reader).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::NotRegistered);
//! let error: std::io::Error = error.into(); // for functions that speak io::Error
//! assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
//! ```

use std::borrow::Cow;
use std::{error, fmt, io};

use ossature_sys::errno::Errno;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, coarsely: what a program can decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel said no; [`Error::errno`] says how.
    Os,
    /// An argument that no call could make sense of.
    InvalidInput,
    /// The object was never registered there, or is no longer (Python's `KeyError`).
    NotRegistered,
    /// The object is registered there already.
    AlreadyRegistered,
}

/// A failed call: its [kind](ErrorKind), and a message that says what failed on what object and what to do about it.
pub struct Error(Box<Inner>); // one word wide, because the good way should not pay for it

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    errno: Option<Errno>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), errno: None }))
    }

    pub(crate) fn os(errno: Errno, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind: ErrorKind::Os, message: message.into(), errno: Some(errno) }))
    }

    /// What went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kernel's number, where the kernel said no.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.errno {
            None => f.write_str(&self.0.message),
            Some(errno) if self.0.message.is_empty() => errno.fmt(f),
            Some(errno) => write!(f, "{}: {errno}", self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.errno.as_ref().map(|errno| errno as _)
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::os(errno, "")
    }
}

impl From<Error> for io::Error {
    /// Keeps the message and the source: the [`Error`] can be had back by `downcast`.
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Os => error.errno().map_or(io::ErrorKind::Other, io_kind),
            ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::NotRegistered => io::ErrorKind::NotFound,
            ErrorKind::AlreadyRegistered => io::ErrorKind::AlreadyExists,
        };
        Self::new(kind, error)
    }
}

fn io_kind(errno: Errno) -> io::ErrorKind {
    io::Error::from_raw_os_error(errno.raw_os_error()).kind()
}
