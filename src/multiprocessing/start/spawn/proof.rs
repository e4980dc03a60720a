//! The proof that a child with rights by the program's file demands before it takes a request: the parent proves that
//! the kernel would let it trace the child.
//!
//! ```text
//! parent                                      child, privileged by its exec
//!   preface: its permitted capabilities   -->
//!                                         <--  prove: the number of a socket here
//!   pidfd_getfd of that number
//!   request, arguments, over that socket  -->
//! ```
//!
//! Any user may start such a program with any argument and any socket. So the other end of standard input proves
//! nothing. But only a process that may trace another process can copy a descriptor of it. Such a process has the same
//! users and groups and no fewer capabilities, and the security modules allow the access. So the child first drops the
//! capabilities that its parent does not have. Any process may request that, because no process gains a right by it.
//! Then the child makes a pair of sockets, and trusts the request that comes over them.
//!
//! Capabilities belong to a thread. A second thread would keep its capabilities and shares the memory, so the child
//! refuses then.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{AsFd, AsRawFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{clear_dumpable, is_dumpable, prove_single_thread, set_dumpable};
use ossature_sys::socket::{Kind, Socket};

use crate::multiprocessing::start::private;
use crate::multiprocessing::start::rights::Sets;
use crate::multiprocessing::start::wire::{StartReply, message};

/// The beginning of a preface, whose first byte never begins a message. The capability sets follow, 8 bytes each.
const MAGIC: [u8; 4] = *b"Cos1";
const LEN: usize = MAGIC.len() + 3 * 8;

/// Sends the parent's capabilities, and with them the question whether the child demands a proof.
pub(super) fn ask(control: &Socket, sets: Sets) -> Result<()> {
    let mut bytes = MAGIC.to_vec();
    for set in sets.to_bits() {
        bytes.extend_from_slice(&set.to_le_bytes());
    }
    message::send_all(control, &bytes)
}

/// Receives a preface if the parent sends one; `Some` holds the parent's capabilities.
fn asked(control: &Socket) -> Result<Option<Sets>> {
    match message::is_next(control)? {
        Some(true) => return Ok(None),
        Some(false) => {}
        None => return Err(Errno::PIPE),
    }
    let mut bytes = [0; LEN];
    let mut len = 0;
    while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
        match control.recv(room, Deadline::NEVER)? {
            Some(more @ 1..) => len += more,
            _ => return Err(Errno::PIPE),
        }
    }
    let Some(sets) = bytes.strip_prefix(&MAGIC) else { return Err(Errno::PROTO) };
    let mut sets = sets.chunks_exact(8).map(|set| set.try_into().map_or(0, u64::from_le_bytes));
    Ok(Some(Sets::from_bits(std::array::from_fn(|_| sets.next().unwrap_or_default()))))
}

/// Waives the proof, for a child that has no rights by the program's file.
///
/// # Errors
/// `EPIPE` when the parent has ended, `EPROTO` for any other message on the socket.
pub(in crate::multiprocessing::start) fn decline(control: &Socket) -> Result<()> {
    match asked(control)? {
        Some(_) => StartReply::Ready.send(control),
        None => Ok(()),
    }
}

/// The reason why a child takes no request.
pub(in crate::multiprocessing::start) enum Unproven {
    /// The parent has ended.
    Gone,
    /// The reason, for the parent.
    Report(String),
}

impl From<Errno> for Unproven {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Gone,
            other => Self::Report(format!("{PRIVILEGED}, and it cannot check its parent's proof: {other}")),
        }
    }
}

const PRIVILEGED: &str =
    "it has rights by its file (set-user-ID, set-group-ID, capabilities, or a security module's rule)";

/// Returns the socket over which only a process that may trace this process can send.
pub(in crate::multiprocessing::start) fn demand(control: &Socket) -> std::result::Result<Socket, Unproven> {
    let Some(sets) = asked(control)? else {
        return Err(Unproven::Report(format!("{PRIVILEGED}, and the process that started it may lack these rights")));
    };
    if prove_single_thread().is_err() {
        return Err(Unproven::Report(format!(
            "{PRIVILEGED}, so its main must call freeze_support before it starts a second thread"
        )));
    }
    sets.limit()?;
    let (near, far) = private::pair(Kind::Stream)?;
    let before = is_dumpable()?;
    set_dumpable()?;
    StartReply::Prove(far.as_fd().as_raw_fd()).send(control)?;
    let mut list = [PollFd::new(&near, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
    poll(&mut list, Deadline::NEVER)?;
    let [taken, _] = list;
    if !before {
        clear_dumpable()?;
    }
    drop(far);
    if taken.revents().is_empty() { Err(Unproven::Gone) } else { Ok(near) }
}
