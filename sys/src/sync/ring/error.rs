//! Why a ring could not be used.

use core::fmt;

use super::flow::{Lost, Stop};
use crate::errno::Errno;
use crate::sync::scope::Refused;

/// Why a ring could not be used.
///
/// # Examples
/// ```
/// use ossature_sys::sync::ring::{Ring, RingError};
///
/// let ring = Ring::new(1 << 16)?;
/// let error = ring.join()?.send(&[0; 70_000]).unwrap_err();
/// assert_eq!(error, RingError::TooLong { len: 70_000, max: 65_536 });
/// assert!(error.to_string().contains("make the ring larger"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The message is longer than the ring takes.
    TooLong {
        /// The message's length in bytes.
        len: usize,
        /// The ring's greatest length.
        max: usize,
    },
    /// The message is longer than the buffer. It can be received again.
    TooSmall {
        /// The message's length in bytes.
        needed: usize,
    },
    /// The ring is empty, and the machine has no memory for the message.
    NoMemory,
    /// The ring is closed. A receiver has received all that was sent.
    Closed,
    /// Others took this participant for dead, and its record for abandoned.
    Lost,
    /// The participant's pointer now leads to another ring.
    OtherRing,
    /// The kernel refused a call on a [`Readiness`](super::Readiness).
    Os(Errno),
    /// As for a lock.
    Refused(Refused),
    /// The sockets of the [packets](super::Packets) could not be used.
    Packets(Errno),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, max } => {
                write!(
                    f,
                    "ring: a message of {len} bytes is too long, at most {max}: make the ring larger, or send the message in pieces"
                )
            }
            Self::TooSmall { needed } => {
                write!(f, "ring: the next message has {needed} bytes: receive it into a larger buffer")
            }
            Self::NoMemory => f.write_str("ring: no memory for the message: free some, or send the message in pieces"),
            Self::Closed => f.write_str("ring: closed, so nothing can be sent: make a new ring"),
            Self::Lost => f.write_str("ring: the others took this thread for dead and gave its record up"),
            Self::OtherRing => f.write_str("ring: the participant joined another ring: join this one"),
            Self::Os(errno) => write!(f, "ring: cannot change its descriptor: {errno}"),
            Self::Refused(refused) => write!(f, "ring: {refused}"),
            Self::Packets(Errno::TOOMANYREFS) => f.write_str(
                "ring: this user has too many descriptors on their way: receive some, raise RLIMIT_NOFILE, or send no socket \
                 that holds other sockets",
            ),
            Self::Packets(errno) => write!(f, "ring: a packet with descriptors cannot be sent or received: {errno}"),
        }
    }
}

impl core::error::Error for RingError {}

impl From<Lost> for RingError {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

impl From<Refused> for RingError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// `None` if the time ran out.
pub(super) fn in_time<T>(claim: Result<T, Stop>) -> Result<Option<T>, RingError> {
    match claim {
        Ok(claim) => Ok(Some(claim)),
        Err(Stop::Over) => Ok(None),
        Err(Stop::Closed) => Err(RingError::Closed),
        Err(Stop::NoMemory) => Err(RingError::NoMemory),
        Err(Stop::Refused(refused)) => Err(refused.into()),
    }
}
