//! The error type of the upper crate. It has a kind, a message that names the object and the remedy, and the kernel's
//! errno if there is one.
//!
//! ```
//! use ossature::error::ErrorKind;
//! use ossature::select::Poll;
//!
//! let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
//! let error = Poll::<&std::os::unix::net::UnixStream>::new().unregister(&reader).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::NotRegistered);
//! let error: std::io::Error = error.into(); // for functions that speak io::Error
//! assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
//! ```
//!
//! The errors of the lower half turn into it by `?`, and stay within reach as its
//! [source](std::error::Error::source):
//!
//! ```
//! use ossature::sys::{process, scope::Shared, shm::Shm, sync::lock::Lock};
//!
//! fn count() -> ossature::Result<u32> {
//!     let counter = Shm::place(Lock::<u32, Shared>::shared(0))?;
//!     *counter.lock()? += 1;
//!     let sum = *counter.lock()?;
//!     Ok(sum)
//! }
//! assert_eq!(count().unwrap(), 1);
//! ```

use std::borrow::Cow;
use std::convert::Infallible;
use std::{error, fmt, io};

use ossature_sys::errno::Errno;
use ossature_sys::process::{ExitStatus, ForkError, MissingEnd, Pid, Resource, StartError, rlimit};
use ossature_sys::scope::Refused;
use ossature_sys::shm::{AttachError, OutOfBounds};
use ossature_sys::sync::bare::NotOwner;
use ossature_sys::sync::barrier::{Broken, WaitError};
use ossature_sys::sync::handoff::NotLocked;
use ossature_sys::sync::ring::RingError;
use ossature_sys::sync::semaphore::Overflow;

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The coarse kind of an error, on which a program can branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel refused the call, or would have; [`Error::errno`] returns the reason.
    Os,
    /// An operation of [`std::io`] failed without an errno: text that is not UTF-8, a file that ended early. The
    /// [source](std::error::Error::source) is the [`io::Error`].
    Io,
    /// An argument is invalid for the call.
    InvalidInput,
    /// An index or a range does not exist (Python's `IndexError`).
    OutOfRange,
    /// The file of a map is now shorter than the map, so the bytes are lost.
    #[doc(alias = "SIGBUS")]
    Truncated,
    /// The object was never registered there, or is not any more (Python's `KeyError`).
    NotRegistered,
    /// The object is registered there already.
    AlreadyRegistered,
    /// The process has a second thread, or may have one, where only one is allowed.
    MultiThreaded,
    /// A guard or an `acquire` holds a lock or permit in shared memory, where none may be held.
    LockHeld,
    /// The thread would wait for itself.
    WouldDeadlock,
    /// This thread does not hold the lock, so it cannot release it.
    NotOwner,
    /// The barrier is broken, or was reset during the wait (Python's `BrokenBarrierError`).
    Broken,
    /// A holder of the shared object died during its work, and the data was not repaired since.
    Abandoned,
    /// The shared object was marked as unrecoverable after its holder died.
    Unrecoverable,
    /// The shared memory was made by another program, for another type or in another place.
    Incompatible,
    /// The thread, process or timer was already started; each can be started once. Or the default was already fixed.
    AlreadyStarted,
    /// The thread or process was not started yet, so there is nothing to wait for.
    NotStarted,
    /// [`threading::shutdown`](crate::threading::shutdown()) has begun, so this operation may not begin any more.
    ShuttingDown,
    /// The queue was full until the timeout (Python's `queue.Full`).
    Full,
    /// The thread or process panicked instead of returning a value.
    Panicked,
    /// The function of a process returned an error instead of a value. The message is the text of that error.
    TaskFailed,
    /// There is no value: an earlier call took it, or the thread or process ended without one.
    NoResult,
    /// The backend or the system does not support the operation, whatever the arguments.
    Unsupported,
    /// The other side has closed the connection, and nothing is left to receive (Python's `EOFError`); or this side
    /// closed it.
    Closed,
    /// The bytes cannot be decoded: truncated, of another type, or not of this format.
    Decode,
    /// The other side does not know the key, or did not follow the handshake (Python's `AuthenticationError`).
    Auth,
    /// A message longer than the receiver allows (Python's "bad message length"), or than its buffer
    /// (`BufferTooShort`).
    TooLong,
    /// The function is in no table of tasks that was passed to `freeze_support`, or `freeze_support` was not called.
    #[doc(alias = "Unregistered")]
    UnknownTask,
    /// The new process ended before it could begin its work, or did not report in time.
    #[doc(alias = "NotBegun")]
    StartFailed,
    /// Only the process that made the object may do this, or only a process that may have children.
    NotAllowed,
    /// [`dummy_thread::interrupt_main`](crate::dummy_thread::interrupt_main) was called (Python's `KeyboardInterrupt`).
    Interrupted,
    /// The worker of a pool died while it ran the task: [`Error::pid`] returns its process id, and
    /// [`Error::exit_status`] how it ended.
    #[doc(alias = "BrokenProcessPool")]
    WorkerDied,
    /// The task of a pool panicked in its worker. The [source](std::error::Error::source) is the
    /// [`PanicReport`](crate::multiprocessing::process::PanicReport). Or a method of a served object failed, with an
    /// [`Exception`](crate::multiprocessing::managers::Exception) as the source.
    #[doc(alias = "RemoteTraceback")]
    Remote,
    /// The task was cancelled, or its pool was terminated, before it ended.
    #[doc(alias = "CancelledError")]
    Cancelled,
    /// The pool was closed or terminated and accepts no more tasks; or the queue was shut down (Python's
    /// `queue.ShutDown`).
    ShutDown,
}

/// A failed call: its [kind](ErrorKind), and a message that names the object, the cause and the remedy.
pub struct Error(Box<Inner>); // one word wide, because the good way should not pay for it

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    errno: Option<Errno>,
    /// The error that it was made from, if that says more than `errno`; then the message is the whole of that error's
    /// text.
    cause: Option<Cause>,
    /// How a process ended that did not begin its task, or died during it.
    exit: Option<ExitStatus>,
    /// The worker that died.
    pid: Option<Pid>,
    /// The limit of open descriptors and the remedy, if a limit was reached.
    remedy: Option<Cow<'static, str>>,
}

type Cause = Box<dyn error::Error + Send + Sync>;

/// Returns which limit prevents another descriptor, and the remedy; `None` for another error.
///
/// Every [`Error`] with such a number has this text after its own, so no caller adds one.
#[cold]
fn out_of_descriptors(errno: Errno) -> Option<Cow<'static, str>> {
    match errno {
        Errno::MFILE => Some(match rlimit(Resource::Nofile).ok().and_then(|limit| limit.current) {
            Some(most) => format!(
                "RLIMIT_NOFILE lets this process have {most} descriptors: close some, or raise the limit with `ulimit -n`"
            )
            .into(),
            None => "close some descriptors: RLIMIT_NOFILE or fs.nr_open allows no more".into(),
        }),
        Errno::NFILE => Some(
            "the system has as many open files as fs.file-max allows, or the user as many pipe pages as \
             fs.pipe-user-pages-hard allows: close some, or raise the limit with `sysctl`"
                .into(),
        ),
        _ => None,
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::made(kind, message.into(), None, None)
    }

    fn made(kind: ErrorKind, message: Cow<'static, str>, errno: Option<Errno>, cause: Option<Cause>) -> Self {
        let remedy = errno.and_then(out_of_descriptors);
        Self(Box::new(Inner { kind, message, errno, cause, exit: None, pid: None, remedy }))
    }

    /// Creates an error whose message names the object that could not be made or used. If descriptors ran out, the
    /// error adds the limit and the remedy.
    pub(crate) fn os(errno: Errno, message: impl Into<Cow<'static, str>>) -> Self {
        Self::made(ErrorKind::Os, message.into(), Some(errno), None)
    }

    /// Creates an error of another kind than [`ErrorKind::Os`], with the kernel's errno.
    pub(crate) fn with_errno(kind: ErrorKind, errno: Errno, message: impl Into<Cow<'static, str>>) -> Self {
        Self::made(kind, message.into(), Some(errno), None)
    }

    /// Returns a constructor for the error of an object that could not be placed in shared memory. `EOPNOTSUPP` then
    /// has one cause; the text names that cause.
    #[cfg(feature = "multiprocessing")]
    pub(crate) fn placing(object: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| {
            let why = match errno {
                Errno::OPNOTSUPP => {
                    ": this system has no robust list, so the death of a holder would go unnoticed; \
                     run the program under a Linux kernel instead of an emulator, or use threads and their locks"
                }
                Errno::FBIG => ": it is larger than a file may be; raise RLIMIT_FSIZE (`ulimit -f`)",
                _ => "",
            };
            Self::os(errno, format!("{object} cannot be placed in shared memory{why}"))
        }
    }

    /// Returns a constructor like [`placing`](Self::placing), for an object of a type that has `many` and a call of the
    /// arena.
    #[cfg(feature = "multiprocessing")]
    pub(crate) fn placing_alone(object: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| match errno {
            Errno::MFILE | Errno::NFILE => {
                let message = format!(
                    "{object} cannot be placed in shared memory: each object uses a descriptor; make many at once by \
                     `many`, or one after the other in an `Arena`, which use one descriptor for all"
                );
                Self::os(errno, message)
            }
            _ => Self::placing(object)(errno),
        }
    }

    /// Returns a constructor for the error of an object whose second mapping or descriptor could not be made.
    pub(crate) fn cloning(object: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::os(errno, format!("{object} cannot be cloned"))
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        errno: impl Into<Option<Errno>>,
        cause: impl error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::made(kind, cause.to_string().into(), errno.into(), Some(Box::new(cause)))
    }

    /// Replaces the message, for a cause whose own message does not name the object.
    #[cfg(feature = "multiprocessing")]
    pub(crate) fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds the exit status of a process that ended before its task began.
    #[cfg(feature = "multiprocessing")]
    pub(crate) fn with_exit(mut self, exit: Option<ExitStatus>) -> Self {
        self.0.exit = exit;
        self
    }

    /// Adds the process id of the worker that died.
    #[cfg(feature = "multiprocessing")]
    pub(crate) fn with_pid(mut self, pid: Option<Pid>) -> Self {
        self.0.pid = pid;
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kernel's errno, if the kernel refused the call.
    ///
    /// # Examples
    /// ```
    /// use ossature::ErrorKind;
    /// use ossature::multiprocessing::connection::connect;
    ///
    /// let error = connect(std::path::Path::new("/nobody/listens/here")).err().expect("no such path");
    /// assert_eq!(error.kind(), ErrorKind::Os);
    /// assert_eq!(error.errno(), Some(ossature::sys::errno::Errno::NOENT));
    /// ```
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// The exit status of the new process, for [`ErrorKind::StartFailed`]: it ended by itself, or was killed because it
    /// did not answer in time. Also the exit status of a joined process that ended without its value. `None` if there
    /// was no process, or if this process did not see the end.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::ErrorKind;
    /// use ossature::multiprocessing::{Context, Process, Tasks, freeze_support, tasks};
    ///
    /// fn work() {}
    /// static TASKS: Tasks = tasks![work];
    ///
    /// fn main() {
    ///     freeze_support(TASKS);
    ///     let builder = Process::builder().context(Context::Spawn).start_timeout(Duration::ZERO);
    ///     let error = builder.start(work, ()).unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::StartFailed);
    ///     assert!(error.exit_status().is_none_or(|exit| !exit.success()), "killed, because its time was over");
    /// }
    /// ```
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.exit
    }

    /// The process id of the worker that died, for [`ErrorKind::WorkerDied`]. Another process may have this id by now.
    ///
    /// # Examples
    /// See the example of [`Pool`](crate::multiprocessing::Pool).
    pub fn pid(&self) -> Option<Pid> {
        self.0.pid
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.errno {
            _ if self.0.cause.is_some() => f.write_str(&self.0.message),
            None => f.write_str(&self.0.message),
            Some(errno) if self.0.message.is_empty() => errno.fmt(f),
            Some(errno) => write!(f, "{}: {errno}", self.0.message),
        }?;
        self.0.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0.cause {
            Some(cause) => Some(cause.as_ref()),
            None => self.0.errno.as_ref().map(|errno| errno as _),
        }
    }
}

/// Cannot happen: exists for code that is generic over conversions that may fail.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Becomes [`ErrorKind::Os`] with an errno, or [`ErrorKind::Io`] without one. An [`Error`] of this crate that had
/// become an [`io::Error`] is returned unchanged.
///
/// # Examples
/// ```
/// fn longest_line(path: &str) -> ossature::Result<usize> {
///     let text = std::fs::read_to_string(path)?;
///     Ok(text.lines().map(str::len).max().unwrap_or(0))
/// }
/// let error = longest_line("/nonexistent").unwrap_err();
/// assert_eq!(error.errno(), Some(ossature::sys::errno::Errno::NOENT));
/// ```
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => match error.raw_os_error() {
                Some(number) => Self::os(Errno::from_raw_os_error(number), ""),
                None => Self::caused(ErrorKind::Io, None, error),
            },
        }
    }
}

/// Becomes [`ErrorKind::Os`]. The error has a message only if the errno alone does not name the limit that was reached.
impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        let message = match errno {
            Errno::FBIG => "the length is larger than a file or shared memory may be: raise RLIMIT_FSIZE (`ulimit -f`)",
            _ => "",
        };
        Self::os(errno, message)
    }
}

/// Becomes a kind of its own for a refusal by this crate, and [`ErrorKind::Os`] for a refusal by the kernel.
impl From<ForkError> for Error {
    fn from(error: ForkError) -> Self {
        match error {
            ForkError::MultiThreaded | ForkError::Unproven => Self::caused(ErrorKind::MultiThreaded, None, error),
            ForkError::LockHeld => Self::caused(ErrorKind::LockHeld, None, error),
            ForkError::Os(errno) => Self::os(errno, "cannot fork"),
            _ => Self::caused(ErrorKind::Os, error.errno(), error),
        }
    }
}

/// Becomes [`ErrorKind::InvalidInput`]: nothing was started.
impl From<MissingEnd> for Error {
    fn from(error: MissingEnd) -> Self {
        Self::caused(ErrorKind::InvalidInput, None, error)
    }
}

/// Becomes [`ErrorKind::Os`]: the source names the step that failed.
impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::caused(ErrorKind::Os, error.errno(), error)
    }
}

/// Becomes [`ErrorKind::ShutDown`] for a closed ring, [`ErrorKind::Os`] for the sockets of packets,
/// [`ErrorKind::TooLong`] for a message or a buffer of the wrong size.
impl From<RingError> for Error {
    fn from(error: RingError) -> Self {
        match error {
            RingError::Refused(refused) => refused.into(),
            RingError::Packets(errno) => Self::caused(ErrorKind::Os, errno, error),
            RingError::Closed => Self::caused(ErrorKind::ShutDown, None, error),
            RingError::Os(errno) => Self::os(errno, "cannot change the descriptor of a queue"),
            RingError::TooLong { .. } | RingError::TooSmall { .. } => Self::caused(ErrorKind::TooLong, None, error),
            _ => Self::caused(ErrorKind::InvalidInput, None, error),
        }
    }
}

/// Becomes [`ErrorKind::Os`] with `EAGAIN` for too many participants, and with `EPERM` where a sandbox hides the robust
/// list.
impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unrecoverable => Self::caused(ErrorKind::Unrecoverable, None, refused),
            Refused::WouldDeadlock => Self::caused(ErrorKind::WouldDeadlock, None, refused),
            Refused::TooMany | Refused::TableFull => Self::caused(ErrorKind::Os, Errno::AGAIN, refused),
            Refused::Unlisted => Self::caused(ErrorKind::Os, Errno::PERM, refused),
            Refused::NoMemory => Self::caused(ErrorKind::Os, Errno::NOMEM, refused),
            Refused::NotOwner(why) => why.into(),
            _ => Self::caused(ErrorKind::Os, None, refused),
        }
    }
}

/// Becomes [`ErrorKind::InvalidInput`]: nothing was released (Python's `ValueError`).
impl From<Overflow> for Error {
    fn from(error: Overflow) -> Self {
        Self::caused(ErrorKind::InvalidInput, None, error)
    }
}

/// Becomes [`ErrorKind::InvalidInput`]: nothing was released (Python's `RuntimeError`).
impl From<NotLocked> for Error {
    fn from(error: NotLocked) -> Self {
        Self::caused(ErrorKind::InvalidInput, None, error)
    }
}

/// Becomes [`ErrorKind::NotOwner`]: nothing was released.
impl From<NotOwner> for Error {
    fn from(error: NotOwner) -> Self {
        Self::caused(ErrorKind::NotOwner, None, error)
    }
}

/// Becomes [`ErrorKind::Broken`], unless the barrier is whole and only this wait was refused.
impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::WouldDeadlock => Self::caused(ErrorKind::WouldDeadlock, None, broken),
            Broken::Refused(refused) => refused.into(),
            _ => Self::caused(ErrorKind::Broken, None, broken),
        }
    }
}

/// Becomes [`ErrorKind::Broken`] with the error of the action as the source, or as for [`Broken`].
impl<E: Into<Box<dyn error::Error + Send + Sync>>> From<WaitError<E>> for Error {
    fn from(error: WaitError<E>) -> Self {
        match error {
            WaitError::Broken(broken) => broken.into(),
            WaitError::Action(error) => {
                let cause = error.into();
                let message = format!("the barrier is broken: its action returned an error: {cause}").into();
                Self::made(ErrorKind::Broken, message, None, Some(cause))
            }
        }
    }
}

/// Becomes [`ErrorKind::Incompatible`], unless a system call failed.
impl From<AttachError> for Error {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Os(errno) => Self::os(errno, "shared memory"),
            _ => Self::caused(ErrorKind::Incompatible, None, error),
        }
    }
}

/// Becomes [`ErrorKind::OutOfRange`].
impl From<OutOfBounds> for Error {
    fn from(error: OutOfBounds) -> Self {
        Self::caused(ErrorKind::OutOfRange, None, error)
    }
}

impl From<Error> for io::Error {
    /// Keeps an error that is nothing but an errno, with its `raw_os_error`. Any other error keeps the message and the
    /// source: `downcast` returns the [`Error`].
    fn from(mut error: Error) -> Self {
        if error.0.kind == ErrorKind::Io {
            return match error.0.cause.take().map(|cause| cause.downcast::<Self>()) {
                Some(Ok(io)) => *io,
                Some(Err(cause)) => Self::other(cause),
                None => Self::other(error),
            };
        }
        if let Inner { kind: ErrorKind::Os, message, errno: Some(errno), cause: None, .. } = &*error.0 {
            if message.is_empty() {
                return Self::from_raw_os_error(errno.raw_os_error());
            }
        }
        let kind = match error.kind() {
            ErrorKind::Io => io::ErrorKind::Other,
            ErrorKind::Os => error.errno().map_or(io::ErrorKind::Other, io_kind),
            ErrorKind::InvalidInput | ErrorKind::OutOfRange => io::ErrorKind::InvalidInput,
            ErrorKind::NotRegistered => io::ErrorKind::NotFound,
            ErrorKind::AlreadyRegistered => io::ErrorKind::AlreadyExists,
            ErrorKind::MultiThreaded | ErrorKind::LockHeld => io::ErrorKind::ResourceBusy,
            ErrorKind::NotOwner => io::ErrorKind::PermissionDenied,
            ErrorKind::WouldDeadlock => io::ErrorKind::Deadlock,
            ErrorKind::Abandoned | ErrorKind::Unrecoverable | ErrorKind::Broken => io::ErrorKind::Other,
            ErrorKind::Incompatible => io::ErrorKind::InvalidData,
            ErrorKind::AlreadyStarted => io::ErrorKind::AlreadyExists,
            ErrorKind::NotStarted | ErrorKind::NoResult => io::ErrorKind::NotFound,
            ErrorKind::ShuttingDown | ErrorKind::Panicked | ErrorKind::TaskFailed => io::ErrorKind::Other,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::Interrupted => io::ErrorKind::Interrupted,
            ErrorKind::Closed | ErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
            ErrorKind::Decode | ErrorKind::TooLong => io::ErrorKind::InvalidData,
            ErrorKind::Auth | ErrorKind::NotAllowed => io::ErrorKind::PermissionDenied,
            ErrorKind::UnknownTask => io::ErrorKind::NotFound,
            ErrorKind::StartFailed | ErrorKind::WorkerDied | ErrorKind::Remote => io::ErrorKind::Other,
            ErrorKind::Cancelled | ErrorKind::ShutDown => io::ErrorKind::BrokenPipe,
            ErrorKind::Full => io::ErrorKind::WouldBlock,
        };
        Self::new(kind, error)
    }
}

fn io_kind(errno: Errno) -> io::ErrorKind {
    io::Error::from_raw_os_error(errno.raw_os_error()).kind()
}
