//! Transfer of descriptors beside bytes, by a deadline: for a [`Socket`](super::Socket) and for a
//! [`Stream`](crate::stream::Stream).

use core::mem::MaybeUninit;

use rustix::io::IoSlice;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred};
use rustix::process::{getegid, geteuid, getpid};

use super::ancillary::{self, Received};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{BorrowedFd, PollFlags, by_deadline};
use crate::raw;

/// The flags of sending: no SIGPIPE, and this crate waits itself, regardless of the mode of the descriptor.
pub(super) const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// The maximum number of descriptors per message.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{errno::Errno, fd, socket::{Kind, MOST_DESCRIPTORS, Socket}};
///
/// let (near, _far) = Socket::pair(Kind::Stream)?;
/// let too_many = [fd::stdout(); MOST_DESCRIPTORS + 1];
/// assert_eq!(near.send_with(b"x", &too_many, Duration::from_secs(1)), Err(Errno::INVAL));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "SCM_MAX_FD")]
pub const MOST_DESCRIPTORS: usize = 253;

/// Whether a message carries the credentials of its sender, which the kernel checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Unnamed,
    Named,
}

pub(crate) fn send_by(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    sender: Sender,
    deadline: Deadline,
) -> Result<Option<usize>> {
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS), ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if sender == Sender::Named {
        let own = UCred { pid: getpid(), uid: geteuid(), gid: getegid() };
        if !control.push(SendAncillaryMessage::ScmCredentials(own)) {
            return Err(Errno::INVAL);
        }
    }
    if !descriptors.is_empty() {
        let fits = !bytes.is_empty() && descriptors.len() <= MOST_DESCRIPTORS;
        if !fits || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::INVAL);
        }
    }
    by_deadline(fd, PollFlags::OUT, deadline, || {
        let part = bytes.get(..raw::allowed("sendmsg", bytes.len())).unwrap_or_default();
        raw::call("sendmsg", || rustix::net::sendmsg(fd, &[IoSlice::new(part)], &mut control, SEND))
    })
}

pub(crate) fn receive_by<const N: usize>(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    deadline: Deadline,
) -> Result<Option<Received<N>>> {
    by_deadline(fd, PollFlags::IN, deadline, || {
        let part = buffer.get_mut(..raw::allowed("recvmsg", buffer.len())).unwrap_or_default();
        ancillary::receive(fd, part)
    })
}
