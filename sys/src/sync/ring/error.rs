//! Why a call on a ring failed.

use core::fmt;

use super::flow::{Lost, Stop};
use crate::errno::Errno;
use crate::sync::scope::Refused;

/// Why a call on a ring failed.
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
    /// The message is longer than the ring allows.
    TooLong {
        /// The message's length in bytes.
        len: usize,
        /// The ring's maximum length of a message.
        max: usize,
    },
    /// The message is longer than the buffer. It stays in the ring, and can be received again.
    TooSmall {
        /// The message's length in bytes.
        needed: usize,
    },
    /// The ring is empty, and the system has no memory for the message.
    NoMemory,
    /// The ring is closed. For a receiver: every message was received.
    Closed,
    /// The other participants took this one for dead, and its record for abandoned.
    Lost,
    /// The participant's pointer now leads to another ring.
    OtherRing,
    /// The kernel refused a call on a [`Readiness`](super::Readiness).
    Os(Errno),
    /// The call was refused, as for a lock.
    Refused(Refused),
    /// A call on the sockets of the [packets](super::Packets) failed.
    Packets(Errno),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, max } => {
                write!(
                    f,
                    "ring: the message has {len} bytes, but at most {max} fit: make the ring larger, or send the message in pieces"
                )
            }
            Self::TooSmall { needed } => {
                write!(f, "ring: the next message has {needed} bytes, more than the buffer: receive it into a larger one")
            }
            Self::NoMemory => {
                f.write_str("ring: the system has no memory for the message: free some, or send the message in pieces")
            }
            Self::Closed => f.write_str("ring: the ring is closed: make a new ring"),
            Self::Lost => f.write_str(
                "ring: the record is lost, because the other participants took this thread for dead: send or receive again",
            ),
            Self::OtherRing => f.write_str("ring: the participant joined another ring: join this one"),
            Self::Os(errno) => write!(f, "ring: cannot change the descriptor of its readiness: {errno}"),
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

/// Maps a timeout to `None`.
pub(super) fn in_time<T>(claim: Result<T, Stop>) -> Result<Option<T>, RingError> {
    match claim {
        Ok(claim) => Ok(Some(claim)),
        Err(Stop::Over) => Ok(None),
        Err(Stop::Closed) => Err(RingError::Closed),
        Err(Stop::NoMemory) => Err(RingError::NoMemory),
        Err(Stop::Refused(refused)) => Err(refused.into()),
    }
}
