//! Waiting until any of several objects is ready.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use ossature_sys::errno::Result as SysResult;
use ossature_sys::eventfd::Until;
use ossature_sys::poll::{PollFd, PollFlags, poll};

use crate::error::{Error, ErrorKind, Result};

/// Waits until one of the objects has something to read, including the end of its stream. Returns the indices of all
/// ready objects, in their order: Python's `multiprocessing.connection.wait`.
///
/// Connections, listeners, sockets, processes, the [`readiness`](crate::multiprocessing::Queue::readiness) of queues:
/// every object that is `AsFd`. When the deadline is over, or a [`CancelFd`](super::CancelFd) ends the wait, the result
/// is empty. Without objects the call sleeps until then.
///
/// # Errors
/// [`AlreadyRegistered`](ErrorKind::AlreadyRegistered) for a descriptor that is listed twice (Python's `KeyError`),
/// [`Os`](ErrorKind::Os) with `EINVAL` for more than the process may have open, with `ENOMEM`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{pipe, wait};
///
/// let (one, a) = pipe()?;
/// let (two, b) = pipe()?;
/// let (stream, _peer) = std::os::unix::net::UnixStream::pair()?;
/// b.send_bytes(b"ready")?;
/// drop(a);
/// assert_eq!(wait(&[&one, &stream, &two], None)?, [0, 2]);
/// assert_eq!(wait(&[&stream], Duration::from_millis(1))?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait<'c>(objects: &[&dyn AsFd], timeout: impl Into<Until<'c>>) -> Result<Vec<usize>> {
    let mut fds: Vec<PollFd<'_>> =
        objects.iter().map(|object| PollFd::from_borrowed(object.as_fd(), PollFlags::IN)).collect();
    let mut numbers: Vec<RawFd> = fds.iter().map(|entry| entry.fd().as_raw_fd()).collect();
    numbers.sort_unstable();
    if let Some([twice, ..]) = numbers.windows(2).find(|pair| pair.first() == pair.last()) {
        let message = format!("descriptor {twice} is listed twice among the objects to wait for");
        return Err(Error::new(ErrorKind::AlreadyRegistered, message));
    }
    let until = timeout.into();
    poll_until(&mut fds, until).map_err(|errno| Error::os(errno, "cannot wait for these objects"))?;
    let ready = fds.iter().enumerate().filter(|(_, entry)| !entry.revents().is_empty());
    Ok(ready.map(|(place, _)| place).collect())
}

/// Calls poll(2) until one of these descriptors is ready or the wait ends; returns how many are ready.
pub(crate) fn poll_until<'fd>(fds: &mut [PollFd<'fd>], until: Until<'fd>) -> SysResult<usize> {
    let Some(cancel) = until.cancel() else { return poll(fds, until.deadline()) };
    let mut all = fds.to_vec();
    all.push(PollFd::from_borrowed(cancel, PollFlags::IN));
    poll(&mut all, until.deadline())?;
    all.pop();
    fds.clone_from_slice(&all);
    Ok(fds.iter().filter(|entry| !entry.revents().is_empty()).count())
}
