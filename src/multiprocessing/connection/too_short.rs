//! The error that contains a whole message.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// The error of a message that is longer than the buffer; the error contains the message: Python's `BufferTooShort`.
///
/// ```
/// use std::error::Error;
/// use ossature::multiprocessing::connection::{BufferTooShort, pipe};
///
/// let (near, far) = pipe()?;
/// near.send_bytes(b"longer than four")?;
/// let error = far.recv_bytes_into(&mut [0; 4]).unwrap_err();
/// assert_eq!(error.kind(), ossature::ErrorKind::TooLong);
/// let short: &BufferTooShort = error.source().unwrap().downcast_ref().unwrap();
/// assert_eq!(short.message(), b"longer than four");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BufferTooShort {
    message: Vec<u8>,
    room: usize,
}

impl BufferTooShort {
    pub(super) fn new(message: Vec<u8>, room: usize) -> Self {
        Self { message, room }
    }

    /// The whole message.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Converts the error to the whole message.
    ///
    /// # Examples
    /// ```
    /// use std::error::Error;
    /// use ossature::multiprocessing::connection::{BufferTooShort, pipe};
    ///
    /// let (near, far) = pipe()?;
    /// near.send_bytes(b"longer than four")?;
    /// let error = far.recv_bytes_into(&mut [0; 4]).unwrap_err();
    /// let short = error.source().and_then(|source| source.downcast_ref::<BufferTooShort>()).cloned();
    /// assert_eq!(short.map(BufferTooShort::into_message), Some(b"longer than four".to_vec()));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn into_message(self) -> Vec<u8> {
        self.message
    }
}

impl fmt::Display for BufferTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes does not fit into a buffer of {}", self.message.len(), self.room)
    }
}

impl fmt::Debug for BufferTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for BufferTooShort {}

impl From<BufferTooShort> for Error {
    fn from(error: BufferTooShort) -> Self {
        Self::caused(ErrorKind::TooLong, None, error)
    }
}
