//! How much of a message has gone by a deadline.

/// What a send with a deadline answers: how much of the message has gone.
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{Sent, pipe};
///
/// let (near, far) = pipe()?;
/// assert_eq!(near.send_bytes_timeout(b"short", Duration::ZERO)?, Sent::Complete);
/// let long = vec![7; 4 << 20];
/// assert_eq!(near.send_bytes_timeout(&long, Duration::ZERO)?, Sent::Partial); // nobody reads
/// assert_eq!(near.send_bytes_timeout(b"next", Duration::ZERO)?, Sent::Nothing);
///
/// let reader = std::thread::spawn(move || (far.recv_bytes(), far.recv_bytes()));
/// assert!(near.flush(None)?); // only now the long message is on its way as a whole
/// assert_eq!(reader.join().unwrap().1?, long);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "what did not go must be flushed, or sent again"]
pub enum Sent {
    /// All of it was given to the system. (Whether the other side received it, no sender knows.)
    Complete,
    /// It began, and the rest is kept in the connection: it goes before anything else with the next call, or with `flush`. When
    /// the connection is dropped before, the rest is lost, and the other side gets
    /// [`Closed`](crate::ErrorKind::Closed) within the message.
    Partial,
    /// Nothing of it has gone, and nothing of it is kept.
    Nothing,
}

impl Sent {
    /// Whether all of the message was given to the system.
    pub fn is_complete(self) -> bool {
        self == Self::Complete
    }

    /// Whether the message is on its way, or will be by the next call or by `flush`: it must not be sent again.
    pub fn has_begun(self) -> bool {
        self != Self::Nothing
    }
}
