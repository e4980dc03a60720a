//! The time limit for replies, and the keep-alive probes for other machines.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::socket;

use crate::error::{Error, Result};
use crate::multiprocessing::connection::Connection;

/// The limit of [`set_reply_timeout`], in nanoseconds.
static REPLY_TIMEOUT: AtomicU64 = AtomicU64::new(30_000_000_000);

/// Returns the maximum time for which this process waits for a server that should answer at once.
///
/// # Examples
/// See the example of [`set_reply_timeout`].
#[inline]
pub fn reply_timeout() -> Duration {
    Duration::from_nanos(REPLY_TIMEOUT.load(Relaxed))
}

/// Sets the maximum time for which this process waits for a server that should answer at once: 30 seconds without this
/// call.
///
/// The limit is for every wait of a manager and of a proxy whose end does not depend on other clients:
/// * connecting, and the questions of a [`Manager`](super::Manager), such as [`create`](super::Manager::create);
/// * counting a reference, when a proxy is cloned in a child, sent or received;
/// * methods of built-in objects that never wait, such as those of a list.
///
/// A method with a limit of its own, such as `get_timeout`, may take that limit and this one together. A method that
/// waits for other clients, such as `get`, and a method of the program's own types have no limit, see
/// [`Proxy::call_timeout`](super::Proxy::call_timeout). A wait beyond the limit is an error of the kind
/// [`Os`](crate::ErrorKind::Os) with `ETIMEDOUT`. Children that are forked inherit the limit.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::managers::{reply_timeout, set_reply_timeout};
///
/// assert_eq!(reply_timeout(), Duration::from_secs(30));
/// set_reply_timeout(Duration::from_secs(5));
/// assert_eq!(reply_timeout(), Duration::from_secs(5));
/// ```
pub fn set_reply_timeout(limit: Duration) {
    REPLY_TIMEOUT.store(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Relaxed);
}

/// Enables the kernel's keep-alive probes: after a minute of silence, then every ten seconds. After six probes without
/// an answer the connection has ended.
pub(super) fn keep_alive(connection: &Connection) -> Result<()> {
    socket::set_keep_alive(connection, Duration::from_secs(60), Duration::from_secs(10), 6)
        .map_err(|errno| Error::os(errno, "cannot keep a connection alive"))
}
