//! What a child with rights by the program's file asks of its parent before it takes orders: to prove that the parent might do
//! with the child whatever it likes, by the kernel's own rule.
//!
//! ```text
//! parent                                      child, privileged by its exec
//!   preface: its permitted capabilities   -->
//!                                         <--  prove: the number of a socket here
//!   pidfd_getfd of that number
//!   order, arguments, over that socket    -->
//! ```
//!
//! Anybody may start such a program with any argument and any socket, so whoever holds the other end of its standard input proves
//! nothing. But a descriptor is had out of a process only by one that may trace it: with the same users and groups and no fewer
//! capabilities, and past whatever a security module says. So the child first lets go of the capabilities that its parent has let
//! go of, which any process may ask of it, because that gives nobody anything; then it makes a pair of sockets and believes what
//! comes over them.
//!
//! Letting go is for one thread only. Beside another, which would keep its capabilities and shares the memory, it is refused.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{AsFd, AsRawFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{is_dumpable, prove_single_thread, set_dumpable};
use ossature_sys::socket::{Kind, Socket};

use super::letter::{self, Answer};
use crate::multiprocessing::start::private;
use crate::multiprocessing::start::rights::Sets;

/// What a preface begins with, with its first byte no letter; the capability sets follow, 8 bytes each.
const MAGIC: [u8; 4] = *b"Cos1";
const LEN: usize = MAGIC.len() + 3 * 8;

/// Says what capabilities the parent has, and so asks the child whether it wants proof.
pub(super) fn ask(control: &Socket, sets: Sets) -> Result<()> {
    let mut bytes = MAGIC.to_vec();
    for set in sets.to_bits() {
        bytes.extend_from_slice(&set.to_le_bytes());
    }
    letter::send_all(control, &bytes)
}

/// Takes a preface, if that is what comes; `Some` is the parent's capabilities.
fn asked(control: &Socket) -> Result<Option<Sets>> {
    match letter::is_next(control)? {
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

/// For a child whose rights are those of its parent's own making: nothing needs a proof.
///
/// # Errors
/// `EPIPE` when the parent is gone, `EPROTO` for something else on the socket.
pub(super) fn forgo(control: &Socket) -> Result<()> {
    match asked(control)? {
        Some(_) => Answer::Ready.send(control),
        None => Ok(()),
    }
}

/// Why a child takes no orders.
pub(super) enum Unproven {
    /// The parent is gone.
    Gone,
    /// The parent is to hear this.
    Told(String),
}

impl From<Errno> for Unproven {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Gone,
            other => Self::Told(format!("{PRIVILEGED}, and cannot have its parent prove that it may: {other}")),
        }
    }
}

const PRIVILEGED: &str =
    "it has rights by its file (set-user-ID, set-group-ID, capabilities, or a security module's rule)";

/// The socket over which only a process that might trace this one speaks.
pub(super) fn demand(control: &Socket) -> std::result::Result<Socket, Unproven> {
    let Some(sets) = asked(control)? else {
        return Err(Unproven::Told(format!("{PRIVILEGED} that the process which started it may not have")));
    };
    if prove_single_thread().is_err() {
        return Err(Unproven::Told(format!(
            "{PRIVILEGED}, and such a program calls freeze_support in the one thread of its main"
        )));
    }
    sets.limit()?;
    let (near, far) = private::pair(Kind::Stream)?;
    let before = is_dumpable()?;
    set_dumpable(true)?;
    Answer::Prove(far.as_fd().as_raw_fd()).send(control)?;
    let mut list = [PollFd::new(&near, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
    poll(&mut list, Deadline::NEVER)?;
    let [taken, _] = list;
    set_dumpable(before)?;
    drop(far);
    if taken.revents().is_empty() { Err(Unproven::Gone) } else { Ok(near) }
}
