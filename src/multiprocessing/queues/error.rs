//! The reason why an item was not put, with the item.

use std::{error, fmt};

use ossature_sys::errno::Errno;
use ossature_sys::sync::ring::RingError;

use crate::error::{Error, ErrorKind};

/// The error of [`put`](super::Queue::put). It contains the item, which is not lost, and `?` converts it into
/// [`Error`].
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{Queue, queues::PutError};
///
/// let queue = Queue::bounded(1)?;
/// queue.put("first".to_owned())?;
/// let error = queue.try_put("second".to_owned()).unwrap_err();
/// assert!(error.is_full());
/// let again: String = error.into_inner();
/// assert_eq!(again, "second");
/// queue.shutdown();
/// assert!(matches!(queue.try_put(again), Err(PutError::ShutDown(_))));
/// # Ok::<(), ossature::Error>(())
/// ```
#[non_exhaustive]
pub enum PutError<T> {
    /// The time ran out, and the queue is full (Python's `queue.Full`).
    Full(T),
    /// The queue was shut down (Python's `queue.ShutDown`).
    ShutDown(T),
    /// The item cannot be encoded or carried, or the queue cannot be used.
    Failed(T, Error),
}

impl<T> PutError<T> {
    /// Returns the item.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::ShutDown(item) | Self::Failed(item, _) => item,
        }
    }

    /// Whether the queue was full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

/// Converts the error of a queue's ring, with a text about queues.
pub(super) fn of_queue(error: RingError) -> Error {
    let text = match error {
        RingError::Closed => "the queue was shut down and has no more items: make another queue to continue".into(),
        RingError::NoMemory => {
            "the queue is empty, and the machine has no memory for the item: free some, or put smaller items".into()
        }
        RingError::Lost => {
            "the other users of the queue took this thread for dead and dropped its item: put or get it again".into()
        }
        RingError::Packets(Errno::TOOMANYREFS) => {
            "the queue cannot carry the item: this user has too many descriptors on their way; get items, raise \
             RLIMIT_NOFILE, or put no socket that holds other sockets"
                .into()
        }
        RingError::Packets(errno) => format!("the queue cannot carry the descriptors of an item: {errno}"),
        RingError::Refused(refused) => format!("the queue cannot be used by this thread: {refused}"),
        _ => return error.into(),
    };
    Error::from(error).with_message(text)
}

const FULL: &str = "the queue is full: get items, wait longer, or make a queue with a greater maxsize or capacity";
const SHUT_DOWN: &str = "the queue was shut down: it accepts no more items";

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str(FULL),
            Self::ShutDown(_) => f.write_str(SHUT_DOWN),
            Self::Failed(_, error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Full(_) => "Full",
            Self::ShutDown(_) => "ShutDown",
            Self::Failed(..) => "Failed",
        };
        write!(f, "{name}({self})")
    }
}

impl<T> error::Error for PutError<T> {}

/// Converts to an error of kind [`ErrorKind::Full`] or [`ErrorKind::ShutDown`], or to the contained error. The item is
/// dropped.
impl<T> From<PutError<T>> for Error {
    fn from(error: PutError<T>) -> Self {
        match error {
            PutError::Full(_) => Self::new(ErrorKind::Full, FULL),
            PutError::ShutDown(_) => Self::new(ErrorKind::ShutDown, SHUT_DOWN),
            PutError::Failed(_, error) => error,
        }
    }
}
