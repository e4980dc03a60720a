//! The replies of a child over the socket before its work begins.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::process::Pid;
use ossature_sys::socket::Socket;

use super::message::send_all;
use crate::multiprocessing::state::unapplied::{self, Unapplied};

/// The reply of a child before its work, or instead of its work.
pub(in crate::multiprocessing::start) enum StartReply {
    /// The child takes its request over the present socket.
    Ready,
    /// The child takes its request only over the socket that has this descriptor number in the child.
    Prove(i32),
    /// The child has begun; the child's report follows on the socket.
    Begun,
    /// The work cannot be done, for this reason.
    Refused(String),
    /// An option of the builder failed. The parent writes the error text.
    Unapplied(Unapplied),
    /// The other side has closed the socket and sent nothing.
    Nothing,
}

const READY: u8 = b'G';
const PROVE: u8 = b'P';
const BEGUN: u8 = b'B';
const REFUSED: u8 = b'R';
const UNAPPLIED: u8 = b'U';

impl StartReply {
    /// Sends the reply. The parent waits for nothing else, so if the send fails, the parent has ended.
    pub(in crate::multiprocessing::start) fn send(&self, socket: &Socket) -> Result<()> {
        let (number, report);
        let (tag, rest) = match self {
            Self::Ready => (READY, &[][..]),
            Self::Prove(descriptor) => {
                number = descriptor.to_le_bytes();
                (PROVE, &number[..])
            }
            // Without an allocation, because a child that was just forked would pay for it.
            Self::Begun => return send_all(socket, &[BEGUN]),
            Self::Refused(reason) => (REFUSED, reason.as_bytes()),
            Self::Unapplied(unapplied) => {
                report = unapplied.to_bytes();
                (UNAPPLIED, &report[..])
            }
            Self::Nothing => return Ok(()),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(rest);
        send_all(socket, &bytes)
    }

    /// Receives the first byte of the reply, and the process ID of its sender, as the kernel names it on a socket that
    /// passes credentials. Returns whether the child has begun; `None` when the child has not begun and will not, or
    /// when the time ran out.
    pub(in crate::multiprocessing::start) fn receive_sender(
        socket: &Socket,
        deadline: Deadline,
    ) -> Option<Option<Pid>> {
        let mut tag = [0];
        let got = socket.recv_with::<0>(&mut tag, deadline).ok()??;
        (got.len == 1 && tag == [BEGUN]).then(|| got.credentials.and_then(|sender| sender.pid))
    }

    /// Receives the reply; `None` when the time ran out. Never takes a byte of the report.
    pub(in crate::multiprocessing::start) fn receive(socket: &Socket, deadline: Deadline) -> Result<Option<Self>> {
        /// The maximum length of a reason; a longer one is cut.
        const LONGEST: usize = 16 << 10;
        let mut tag = [0];
        match socket.recv(&mut tag, deadline) {
            Ok(Some(1..)) if tag == [BEGUN] => return Ok(Some(Self::Begun)),
            Ok(Some(1..)) if tag == [READY] => return Ok(Some(Self::Ready)),
            Ok(Some(1..)) if tag == [PROVE] => {
                let mut number = [0; 4];
                return match socket.recv(&mut number, deadline)? {
                    Some(4) => Ok(Some(Self::Prove(i32::from_le_bytes(number)))),
                    Some(_) => Err(Errno::PROTO),
                    None => Ok(None),
                };
            }
            Ok(Some(1..)) if tag == [UNAPPLIED] => {
                let mut report = [0; unapplied::LEN];
                return match socket.recv(&mut report, deadline)? {
                    Some(unapplied::LEN) => Ok(Some(Self::Unapplied(Unapplied::from_bytes(report)))),
                    Some(_) => Err(Errno::PROTO),
                    None => Ok(None),
                };
            }
            Ok(Some(1..)) if tag == [REFUSED] => {}
            Ok(Some(_)) | Err(Errno::CONNRESET) => return Ok(Some(Self::Nothing)),
            Ok(None) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let mut reason = Vec::new();
        let mut some = [0; 512];
        while reason.len() < LONGEST {
            match socket.recv(&mut some, deadline) {
                Ok(Some(got @ 1..)) => reason.extend_from_slice(some.get(..got).unwrap_or_default()),
                _ => break,
            }
        }
        Ok(Some(Self::Refused(String::from_utf8_lossy(&reason).into_owned())))
    }
}
