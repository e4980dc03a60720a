//! Registering names with the resource tracker of a Python program: Python's `multiprocessing.resource_tracker`.
//!
//! CPython runs a second process that removes, at the program's end, the names that were registered and not
//! unregistered. A Rust program that a Python program starts can register names there, too. The Python program lets it
//! inherit the tracker's pipe and passes its number:
//!
//! ```python
//! fd = resource_tracker.getfd()
//! subprocess.run(["program", str(fd)], pass_fds=[fd])
//! ```
//!
//! This library starts no tracker: it removes its own names when the kernel's locks show that they have no users, see
//! [`shared_memory`](super::shared_memory).
//!
//! ```
//! use std::os::fd::AsRawFd;
//! use ossature::multiprocessing::resource_tracker::{ResourceTracker, ResourceType};
//! use ossature::sys::{fd, pipe};
//!
//! // A pipe in the place of the one that a Python program lets this one inherit.
//! let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
//! let tracker = ResourceTracker::inherited(writer.as_raw_fd() as u32)?;
//! tracker.register("psm_0a1b2c3d", ResourceType::SharedMemory)?;
//! tracker.unregister("psm_0a1b2c3d", ResourceType::SharedMemory)?;
//! let mut said = [0; 100];
//! let len = fd::read(&reader, &mut said)?;
//! let lines = "PROBE:0:noop\nREGISTER:/psm_0a1b2c3d:shared_memory\nUNREGISTER:/psm_0a1b2c3d:shared_memory\n";
//! assert_eq!(&said[..len], lines.as_bytes());
//! assert!(tracker.is_alive()?);
//! drop(reader);
//! assert!(!tracker.is_alive()?);
//! assert_eq!(ResourceTracker::from_fd(writer)?.register("x", ResourceType::Dummy).unwrap_err().kind(), ossature::ErrorKind::Closed);
//! # Ok::<(), ossature::Error>(())
//! ```

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::pipe::open_writer;
use ossature_sys::stream::Stream;

use crate::error::{Error, ErrorKind, Result};

/// The maximum length of a line, which POSIX writes to a pipe in one piece.
const MOST: usize = 512;
/// The maximum time of a wait for room in the pipe.
const PATIENCE: Duration = Duration::from_secs(10);

/// The type of the resource with a name.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::resource_tracker::ResourceType;
///
/// assert_eq!(ResourceType::SharedMemory.to_string(), "shared_memory");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResourceType {
    /// A block of memory or a list, removed by `shm_unlink`.
    SharedMemory,
    /// A lock or a semaphore, removed by `sem_unlink`.
    Semaphore,
    /// No resource: for tests (CPython 3.13).
    Dummy,
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedMemory => "shared_memory",
            Self::Semaphore => "semaphore",
            Self::Dummy => "dummy",
        })
    }
}

/// The pipe to a resource tracker of CPython.
///
/// The tracker runs as long as any process has the pipe, so this value keeps it running. Registered names stay
/// registered when this value is dropped.
///
/// # Examples
/// See the example of the [module](self).
#[derive(Debug)]
#[doc(alias = "getfd")]
pub struct ResourceTracker(Stream);

impl ResourceTracker {
    /// Makes a handle to the tracker whose pipe this process inherited as descriptor `number`. The pipe is opened
    /// again, through `/proc`.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) if the tracker has ended. [`InvalidInput`](ErrorKind::InvalidInput) if the number
    /// is not open or not a pipe. [`Os`](ErrorKind::Os) with `EMFILE` or `ENFILE` without a descriptor, `EACCES`.
    pub fn inherited(number: u32) -> Result<Self> {
        let told = |errno| match errno {
            Errno::NOENT | Errno::INVAL => {
                let message = format!(
                    "descriptor {number} is not a pipe: the Python program must pass it on, `subprocess.run(.., pass_fds=[{number}])`"
                );
                Error::with_errno(ErrorKind::InvalidInput, errno, message)
            }
            errno => Error::os(errno, format!("cannot open the pipe of the resource tracker, descriptor {number}")),
        };
        let tracker = Self::from_fd(open_writer(number).map_err(told)?)?;
        if tracker.is_alive()? { Ok(tracker) } else { Err(ended()) }
    }

    /// Makes a handle to the tracker at the other end of this pipe.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) if the kernel does not report what the descriptor is.
    pub fn from_fd(pipe: OwnedFd) -> Result<Self> {
        Ok(Self(Stream::new(pipe)?))
    }

    /// Registers a name, which the tracker removes when it ends. A name that is registered several times counts once.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) if the tracker has ended. [`InvalidInput`](ErrorKind::InvalidInput) for a name
    /// that no tracker of CPython 3.8 to 3.13 can read. Such a name is not ASCII, has a colon or the end of a line in
    /// it, or is too long for a line of 512 bytes. [`Os`](ErrorKind::Os) with `ETIMEDOUT` if the tracker does not read
    /// for ten seconds.
    pub fn register(&self, name: &str, kind: ResourceType) -> Result<()> {
        self.tell("REGISTER", name, kind)
    }

    /// Undoes [`register`](Self::register). A tracker that does not know the name prints an error and continues.
    ///
    /// # Errors
    /// As for [`register`](Self::register).
    pub fn unregister(&self, name: &str, kind: ResourceType) -> Result<()> {
        self.tell("UNREGISTER", name, kind)
    }

    /// Whether the tracker still reads.
    ///
    /// # Errors
    /// As for [`register`](Self::register), but never `Closed`.
    pub fn is_alive(&self) -> Result<bool> {
        match self.write("PROBE:0:noop\n") {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn tell(&self, command: &str, name: &str, kind: ResourceType) -> Result<()> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        let line = format!("{command}:/{bare}:{kind}\n");
        let readable = bare.bytes().all(|byte| byte.is_ascii() && !matches!(byte, b':' | b'\n' | b'\r'));
        if bare.is_empty() || !readable || line.len() > MOST {
            let message = format!(
                "cannot register the name {name:?}: a resource tracker reads only short ASCII names without colons"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.write(&line)
    }

    /// Writes a line in one piece, so that lines of several processes do not mix.
    fn write(&self, line: &str) -> Result<()> {
        match self.0.write([line.as_bytes(), &[]], PATIENCE) {
            Ok(Some(len)) if len == line.len() => Ok(()),
            Ok(Some(_)) => {
                Err(Error::os(Errno::IO, "a line to the resource tracker was cut: its descriptor is not a pipe"))
            }
            Ok(None) => Err(Error::os(Errno::TIMEDOUT, "the resource tracker does not read its pipe")),
            Err(Errno::PIPE) => Err(ended()),
            Err(errno) => Err(Error::os(errno, "cannot write to the resource tracker")),
        }
    }
}

impl AsFd for ResourceTracker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

as_raw_fd!(ResourceTracker);

fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the resource tracker has ended and has removed the registered names")
}
