//! The check whether the peer of a connection runs the same program, as far as the kernel knows.
//!
//! | must be the same | source |
//! | --- | --- |
//! | the user | the socket (`SO_PEERCRED`): the effective user of the process that connected, or that listened |
//! | the image | `/proc/PID/exe`: the file, its length and when it was last written |
//! | the pid namespace | `/proc/PID/ns/pid` |
//!
//! None of this comes from the peer. If the peer has ended, its process number may belong to another process by now. So
//! the result selects only the transport of calls, never how far they are trusted.

use std::fs::metadata;
use std::os::unix::fs::MetadataExt;

use ossature_sys::process::effective_user;

use crate::multiprocessing::connection::Connection;
use crate::multiprocessing::tasks::BuildId;

/// Whether the peer runs the same program, as the same user, in the same pid namespace. `false` when the kernel does
/// not know, and for every connection that is not a Unix socket.
pub(super) fn is_same_program(connection: &Connection) -> bool {
    let Ok(Some(peer)) = connection.peer_credentials() else { return false };
    let Some(pid) = peer.pid.map(|pid| pid.as_raw_nonzero().get()) else { return false };
    peer.uid == effective_user() && is_same_namespace(pid) && BuildId::is_of(pid)
}

fn is_same_namespace(pid: i32) -> bool {
    let namespace = |of: &str| metadata(format!("/proc/{of}/ns/pid")).map(|it| (it.dev(), it.ino()));
    matches!((namespace(&pid.to_string()), namespace("self")), (Ok(there), Ok(here)) if there == here)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::process::Command;

    use super::*;

    #[test]
    fn process_of_this_program_is_told_from_another_one() {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let connection = Connection::try_from(OwnedFd::from(near)).unwrap();
        assert!(is_same_program(&connection), "both ends are of this process");
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(other.id()).unwrap();
        assert!(is_same_namespace(pid));
        assert!(!BuildId::is_of(pid));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!is_same_namespace(pid) && !BuildId::is_of(pid), "it has gone");
    }
}
