//! The handshake over an existing connection.

use ossature_sys::eventfd::Until;
use ossature_sys::stream::StreamKind;

use super::payload::LIMIT;
use super::{AuthKey, Connection, Handshake};
use crate::error::Result;

/// Makes the other side prove that it knows the key: half of a handshake, for which the other side calls
/// [`answer_challenge`].
///
/// # Errors
/// [`ErrorKind::Auth`](crate::ErrorKind::Auth) when the other side does not know the key,
/// [`Closed`](crate::ErrorKind::Closed) when it closed the connection, [`TooLong`](crate::ErrorKind::TooLong) for an
/// answer of more than 256 bytes.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{AuthKey, answer_challenge, deliver_challenge, pipe};
///
/// let (near, far) = pipe()?;
/// let key = AuthKey::random()?;
/// let theirs = key.clone();
/// let answering = std::thread::spawn(move || answer_challenge(&far, &theirs));
/// deliver_challenge(&near, &key)?;
/// answering.join().unwrap()?;
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn deliver_challenge(connection: &Connection, key: &AuthKey) -> Result<()> {
    forever(connection, Handshake::deliver(key)?)
}

/// As [`deliver_challenge`]; `false` when the handshake was not done by the deadline, or when a
/// [`CancelFd`](super::CancelFd) ended the wait. Then the connection is unusable.
///
/// # Errors
/// As for [`deliver_challenge`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{AuthKey, answer_challenge_timeout, deliver_challenge_timeout, pipe};
///
/// let key = AuthKey::random()?;
/// let (near, far) = pipe()?;
/// let (theirs, minute) = (key.clone(), Duration::from_secs(60));
/// let answering = std::thread::spawn(move || answer_challenge_timeout(&far, &theirs, minute));
/// assert!(deliver_challenge_timeout(&near, &key, minute)?);
/// assert!(answering.join().unwrap()?);
///
/// let (near, _silent) = pipe()?;
/// assert!(!deliver_challenge_timeout(&near, &key, Duration::from_millis(1))?, "nobody answers");
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn deliver_challenge_timeout<'c>(
    connection: &Connection,
    key: &AuthKey,
    timeout: impl Into<Until<'c>>,
) -> Result<bool> {
    Handshake::deliver(key)?.run(connection, timeout)
}

/// Proves to the other side that this side knows the key: the other half of [`deliver_challenge`].
///
/// # Errors
/// [`ErrorKind::Auth`](crate::ErrorKind::Auth) when the other side does not accept it or sends no challenge.
/// [`Closed`](crate::ErrorKind::Closed) when the other side has disconnected.
/// [`TooLong`](crate::ErrorKind::TooLong) for a challenge of more than 256 bytes.
///
/// # Examples
/// See the example of [`deliver_challenge`].
pub fn answer_challenge(connection: &Connection, key: &AuthKey) -> Result<()> {
    forever(connection, Handshake::answer(key))
}

/// As [`answer_challenge`]; `false` when the handshake was not done by the deadline, or when a
/// [`CancelFd`](super::CancelFd) ended the wait. Then the connection is unusable.
///
/// # Errors
/// As for [`answer_challenge`].
///
/// # Examples
/// See the example of [`deliver_challenge_timeout`].
pub fn answer_challenge_timeout<'c>(
    connection: &Connection,
    key: &AuthKey,
    timeout: impl Into<Until<'c>>,
) -> Result<bool> {
    Handshake::answer(key).run(connection, timeout)
}

fn forever(connection: &Connection, mut handshake: Handshake) -> Result<()> {
    while !handshake.go_on(connection, Until::NEVER)? {}
    Ok(())
}

impl Handshake {
    /// Runs the handshake over a connection; `false` when it was not done by the deadline, or when a
    /// [`CancelFd`](super::CancelFd) ended the wait. Then the connection is unusable.
    ///
    /// # Errors
    /// As for [`deliver_challenge`] and [`answer_challenge`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use ossature::multiprocessing::connection::{AuthKey, Handshake, pipe};
    ///
    /// let key = AuthKey::from("between us");
    /// let (near, far) = pipe()?;
    /// let client = Handshake::client(&key)?;
    /// let other_side = std::thread::spawn(move || client.run(&far, Duration::from_secs(60)));
    /// assert!(Handshake::server(&key)?.run(&near, Duration::from_secs(60))?);
    /// assert!(other_side.join().unwrap()?);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn run<'c>(mut self, connection: &Connection, timeout: impl Into<Until<'c>>) -> Result<bool> {
        self.go_on(connection, timeout.into())
    }

    fn go_on(&mut self, connection: &Connection, until: Until<'_>) -> Result<bool> {
        connection.allow_challenge();
        loop {
            while let Some(message) = self.outgoing() {
                if !connection.send_bytes_timeout(&message, until)?.is_complete() {
                    return Ok(false);
                }
            }
            if self.is_done() {
                break;
            }
            let Some(message) = connection.recv_bytes_max_timeout(LIMIT, until)? else { return Ok(false) };
            if let Err(error) = self.incoming(&message) {
                if let Some(refusal) = self.outgoing() {
                    let _ = connection.send_bytes_timeout(&refusal, until); // the first error is the one to tell
                }
                return Err(error);
            }
        }
        if self.has_delivered() && connection.stream().kind() == StreamKind::UnixSocket {
            connection.set_trust(self.proved_trust());
        }
        Ok(true)
    }
}
