//! Explains why the system does not support a change.

use super::event::Kevent;
#[cfg(target_os = "linux")]
use super::event::{Filter, Flags, Notes};

/// The reason why the system does not support a change; `None` if it does.
///
/// [`Kqueue::change`](super::Kqueue::change) returns `EOPNOTSUPP` for such a change; FORK, EXEC and TRACK are possible
/// once they are enabled.
///
/// # Examples
/// ```
/// use ossature_sys::kqueue::{Filter, Kevent, Notes, refusal};
///
/// let fork = Kevent::new(1, Filter::PROC).with_notes(Notes::FORK);
/// assert!(refusal(&fork).expect("not requested").contains("follow_processes"));
/// assert_eq!(refusal(&Kevent::user(1)), None);
/// ```
#[cfg(target_os = "linux")]
pub fn refusal(change: &Kevent) -> Option<&'static str> {
    const FORKS: Notes = Notes::FORK.union(Notes::EXEC).union(Notes::TRACK).union(Notes::TRACKERR).union(Notes::CHILD);
    // EOF and ERROR are what is left of the event whose record a program uses again.
    const STRANGE: Flags = Flags::SYSFLAGS.difference(Flags::EOF).difference(Flags::ERROR);
    let (filter, flags, notes) = (change.filter(), change.flags(), change.notes());
    if flags.contains(Flags::DELETE) {
        return None;
    }
    match filter {
        Filter::AIO => {
            Some("AIO: Linux reports the end of asynchronous I/O by an eventfd (io_uring, aio): watch it by READ")
        }
        Filter::FS => Some("FS: poll /proc/self/mountinfo for an exceptional condition instead"),
        Filter::NETDEV => Some("NETDEV: read the state of links from a netlink socket instead"),
        Filter::EMPTY => Some("EMPTY: Linux does not report an empty write buffer"),
        _ if flags.contains(Flags::UDATA_SPECIFIC) => {
            Some("DISPATCH2, UDATA_SPECIFIC: use DISPATCH, and an ident for each knote")
        }
        _ if flags.intersects(STRANGE) => Some("FLAG1 and the other bits of SYSFLAGS belong to the system"),
        Filter::PROC if notes.intersects(FORKS) => Some(
            "FORK, EXEC, TRACK: Linux reports a fork or an exec only to a tracer or to the superuser: call \
             Kqueue::follow_processes first. EXIT needs no such call; TRACKERR and CHILD are only reported",
        ),
        Filter::PROC if !notes.difference(Notes::EXIT).is_empty() => {
            Some("PROC: Linux supports only EXIT, FORK, EXEC and TRACK")
        }
        Filter::VNODE if notes.contains(Notes::REVOKE) => Some("REVOKE: Linux does not revoke files"),
        _ => None,
    }
}

/// The reason why the system does not support a change: always `None`, because the system reports it itself.
#[cfg(not(target_os = "linux"))]
pub fn refusal(_change: &Kevent) -> Option<&'static str> {
    None
}
