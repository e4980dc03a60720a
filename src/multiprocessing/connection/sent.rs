//! How much of a message was sent by a deadline.

/// The result of a send with a deadline: how much of the message was sent.
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{Sent, pipe};
///
/// let (near, far) = pipe()?;
/// assert_eq!(near.send_bytes_timeout(b"short", Duration::ZERO)?, Sent::Complete);
/// let long = vec![7; 4 << 20];
/// assert_eq!(near.send_bytes_timeout(&long, Duration::ZERO)?, Sent::Partial); // no process reads
/// assert_eq!(near.send_bytes_timeout(b"next", Duration::ZERO)?, Sent::Nothing);
///
/// let reader = std::thread::spawn(move || (far.recv_bytes(), far.recv_bytes()));
/// assert!(near.flush(None)?); // only now the whole long message was sent
/// assert_eq!(reader.join().unwrap().1?, long);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use ossature::multiprocessing::connection::Sent;
///
/// assert!(Sent::Complete.is_complete() && Sent::Partial.has_begun());
/// assert!(!Sent::Partial.is_complete() && !Sent::Nothing.has_begun(), "flush the one, send the other again");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a partial message must be flushed, and an unsent message sent again"]
pub enum Sent {
    /// The system has accepted all of the message. (A sender cannot know whether the other side received the message.)
    Complete,
    /// A part of the message was sent, and the connection keeps the rest. The next call, or `flush`, sends the rest
    /// before anything else. If the connection is dropped before, the rest is lost, and the other side gets
    /// [`Closed`](crate::ErrorKind::Closed) within the message.
    Partial,
    /// Nothing of the message was sent, and the connection keeps nothing of the message.
    Nothing,
}

impl Sent {
    /// Whether the system has accepted all of the message.
    pub fn is_complete(self) -> bool {
        self == Self::Complete
    }

    /// Whether the message was sent, or its rest will be sent by the next call or `flush`. Such a message must not be
    /// sent again.
    pub fn has_begun(self) -> bool {
        self != Self::Nothing
    }
}
