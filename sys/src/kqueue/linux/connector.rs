//! The kernel's events of processes (forks, executed programs and ends of the whole system), from a netlink socket.
//!
//! A message is a `struct nlmsghdr`, a `struct cn_msg` and a `struct proc_event`, in the machine's byte order and
//! without gaps between them. The kernel answers a subscription with an event of the kind `NONE`. It sends events only
//! to the superuser's sockets in the first namespaces (user, process and network), and does not reply elsewhere.
//!
//! Source: netlink(7), `Documentation/driver-api/connector.rst` and `include/uapi/linux/cn_proc.h` of Linux.

use core::ffi::c_int;
use core::mem::{MaybeUninit, size_of};
use core::time::Duration;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{AboveStandard, AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, PollFlags, ready};
use crate::process::generation;
use crate::raw;

/// `CN_IDX_PROC` and `CN_VAL_PROC`: the group of these events, and the sender within the connector.
const PROCESSES: u32 = 1;
/// `PROC_CN_MCAST_LISTEN` and `PROC_CN_MCAST_IGNORE`.
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;

/// The offsets of `struct cn_msg` and of `struct proc_event`.
const CONNECTOR: usize = size_of::<libc::nlmsghdr>();
const EVENT: usize = CONNECTOR + 20;
/// The offset of the part that depends on the kind, after the kind, the processor and the time.
const PART: usize = EVENT + 16;
/// The maximum length of a message.
const LONGEST: usize = 128;

/// An event of a process, as reported by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// An answer to the subscription; the error number is 0 for a success.
    Answer(u32),
    /// A process, not a thread, has a new child.
    Fork { parent: u32, child: u32 },
    /// The process executes another program.
    Exec { process: u32 },
    /// The first thread of the process has ended; the status is that of wait(2).
    End { process: u32, status: u32 },
    /// Any other event.
    Other,
}

/// A subscription, which ends when the value is dropped.
pub(super) struct Connector {
    socket: OwnedFd,
    /// The generation of the subscribing process: a forked child has a copy of the socket, and must not end its
    /// parent's subscription.
    generation: u32,
}

impl Connector {
    /// Subscribes. The kernel's answer is among the first events that [`next`](Self::next) returns.
    ///
    /// # Errors
    /// `EPERM`: the process may not administrate the network. `EPROTONOSUPPORT`: the kernel is built without it.
    /// `ECONNREFUSED`: the process is in another network namespace than the first. `EMFILE`, `ENFILE`, `ENOMEM`.
    pub(super) fn open() -> Result<Self> {
        const KIND: c_int = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes numbers.
        let socket =
            raw::call_c("socket", || unsafe { libc::socket(libc::AF_NETLINK, KIND, libc::NETLINK_CONNECTOR) })?;
        // SAFETY: the result is a new descriptor that no other code owns.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) }.above_standard()?;
        // Memory that is used only while the queue does not read. A process that may administrate the network may
        // exceed the limit.
        const ROOM: usize = 8 << 20;
        for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
            if set_option(&socket, option, ROOM as c_int).is_ok() {
                break;
            }
        }
        let address = address(PROCESSES);
        raw::call_c("bind", || {
            let len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            // SAFETY: the kernel reads `len` bytes at the address, which is that long.
            unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) }
        })?;
        let connector = Self { socket, generation: generation() };
        connector.ask(LISTEN)?;
        Ok(connector)
    }

    /// Whether the kernel answers a subscription. Waits for the answer for up to a second.
    ///
    /// # Errors
    /// As [`open`](Self::open). `EOPNOTSUPP`: no answer, as in a process namespace that is not the first.
    pub(super) fn try_out() -> Result<()> {
        let connector = Self::open()?;
        let deadline = Deadline::from(Duration::from_secs(1));
        loop {
            match connector.next() {
                Ok(Some(News::Answer(0))) => return Ok(()),
                Ok(Some(News::Answer(error))) => return Err(Errno::from_raw_os_error(error as i32)), // an error number
                // Other processes fork meanwhile; their lost events do not matter.
                Ok(Some(_)) | Err(Errno::NOBUFS) if !deadline.has_passed() => {}
                Ok(None) if ready(connector.socket.as_fd(), PollFlags::IN, deadline)? => {}
                Ok(_) | Err(Errno::NOBUFS) => return Err(Errno::OPNOTSUPP),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// `send`: sends the operation to the kernel.
    fn ask(&self, operation: u32) -> Result<()> {
        const LEN: usize = EVENT + size_of::<u32>();
        let mut message = [0_u8; LEN];
        let words = [
            (0, LEN as u32),              // far below 2^32
            (4, libc::NLMSG_DONE as u32), // a type, and no flags after it
            (CONNECTOR, PROCESSES),
            (CONNECTOR + 4, PROCESSES),
            (EVENT, operation),
        ];
        for (at, word) in words {
            if let Some(place) = message.get_mut(at..at + 4) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
        // The length of the data after the connector's head has 16 bits.
        if let Some(place) = message.get_mut(CONNECTOR + 16..CONNECTOR + 18) {
            place.copy_from_slice(&(size_of::<u32>() as u16).to_ne_bytes());
        }
        let number = self.socket.as_raw_fd();
        // SAFETY: the kernel reads the message, which is `LEN` bytes long.
        let send = || unsafe { libc::send(number, message.as_ptr().cast(), LEN, libc::MSG_NOSIGNAL) };
        raw::call_c("send", || send() as c_int).map(drop) // -1, or a length below 128
    }

    /// Returns the next event, without waiting; `None` when there is none.
    ///
    /// # Errors
    /// `ENOBUFS`: the socket was full, and events were lost.
    pub(super) fn next(&self) -> Result<Option<News>> {
        let mut room = [MaybeUninit::<u8>::uninit(); LONGEST];
        let mut from = address(0);
        let number = self.socket.as_raw_fd();
        let received = raw::call_c("recvfrom", || {
            let mut len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            let (place, sender) = (room.as_mut_ptr().cast(), (&raw mut from).cast());
            // SAFETY: the kernel writes at most `LONGEST` bytes at `place` and at most `len` at `sender`, which are
            // that long, and the length.
            unsafe { libc::recvfrom(number, place, LONGEST, 0, sender, &mut len) as c_int } // at most LONGEST
        });
        let len = match received {
            Ok(len) => len as usize, // not negative: that is the error branch
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        // SAFETY: the kernel wrote the first `len` bytes.
        let message = unsafe { core::slice::from_raw_parts(room.as_ptr().cast::<u8>(), len.min(LONGEST)) };
        // Another program's message has its number; the kernel's is 0.
        Ok(Some(if from.nl_pid == 0 { parse(message) } else { News::Other }))
    }
}

impl AsFd for Connector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        if self.generation == generation() {
            // Older kernels count subscriptions, not sockets. A remaining subscription costs only kernel time.
            let _ = self.ask(IGNORE);
        }
    }
}

/// `setsockopt` with a socket option of type int.
fn set_option(socket: &OwnedFd, option: c_int, value: c_int) -> Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    let (number, place) = (socket.as_raw_fd(), (&raw const value).cast());
    // SAFETY: the kernel reads the int at `place`.
    raw::call_c("setsockopt", || unsafe { libc::setsockopt(number, libc::SOL_SOCKET, option, place, len) }).map(drop)
}

/// The address of this socket or of the kernel, with a mask of groups.
fn address(groups: u32) -> libc::sockaddr_nl {
    // SAFETY: the structure is plain numbers, for which zero is a value.
    let mut address: libc::sockaddr_nl = unsafe { core::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    address
}

/// Parses a message. A message that is too short for its kind yields [`News::Other`].
fn parse(message: &[u8]) -> News {
    /// `PROC_EVENT_NONE`, `_FORK`, `_EXEC` and `_EXIT`.
    const KINDS: [u32; 4] = [0, 1, 2, 0x8000_0000];
    let word = |at: usize| {
        let bytes = message.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let part = |n: usize| word(PART + 4 * n);
    let [none, fork, exec, exit] = KINDS;
    let is_about_processes = word(CONNECTOR) == Some(PROCESSES) && word(CONNECTOR + 4) == Some(PROCESSES);
    let news = || {
        let kind = word(EVENT).filter(|_| is_about_processes)?;
        Some(if kind == none {
            News::Answer(part(0)?)
        } else if kind == fork {
            // The number and the process of the parent, then of the child; a thread is of its parent's process.
            let (parent, child, process) = (part(1)?, part(2)?, part(3)?);
            if child == process { News::Fork { parent, child } } else { News::Other }
        } else if kind == exec {
            News::Exec { process: part(1)? }
        } else if kind == exit {
            let (thread, process, status) = (part(0)?, part(1)?, part(2)?);
            if thread == process { News::End { process, status } } else { News::Other }
        } else {
            News::Other
        })
    };
    news().unwrap_or(News::Other)
}
