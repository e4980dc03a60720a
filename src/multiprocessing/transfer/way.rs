//! A pair of sockets over which processes of the same program send each other datagrams with descriptors, in one
//! direction.
//!
//! Each process has both ends, so that a datagram is kept while no process receives. Only this library writes and reads
//! there: like an end of a connection within the same program, a `Way` is sent only to processes of the same program.

use std::os::fd::{BorrowedFd, OwnedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Result;
use ossature_sys::fd::AboveStandard;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::socket::{Kind, MOST_DESCRIPTORS, Socket};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FdKind, put, refuse_to_receive, take};
use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Way {
    near: Socket,
    far: Socket,
}

/// A received datagram: its length, its descriptors, and whether these were lost.
pub(crate) type Came = (usize, Vec<OwnedFd>, bool);

impl Way {
    /// Makes a new pair of sockets.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let (near, far) = Socket::pair(Kind::Datagram)?;
        Ok(Self { near: near.above_standard()?, far: far.above_standard()? })
    }

    /// Sends a datagram; returns false if there is no room.
    ///
    /// # Errors
    /// `ETOOMANYREFS` when too many descriptors of this user are in transit, `ENOBUFS`, `ENOMEM`.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<bool> {
        self.near.send_with(bytes, descriptors, Deadline::NOW).map(|sent| sent.is_some())
    }

    /// Waits until there is room, for at most `moment`.
    pub(crate) fn wait_for_room(&self, moment: std::time::Duration) {
        let began = std::time::Instant::now();
        let ready = poll(&mut [PollFd::new(&self.near, PollFlags::OUT)], Deadline::after(moment));
        if ready.is_ok_and(|ready| ready > 0) {
            // A datagram that was refused although there is room waits for another resource.
            std::thread::sleep(moment.saturating_sub(began.elapsed()).min(moment / 10));
        }
    }

    /// Receives all datagrams and drops them.
    pub(crate) fn clear(&self) {
        while let Ok(Some(_)) = self.far.recv(&mut [0; 1], Deadline::NOW) {}
    }

    /// Receives a datagram, if there is one.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOBUFS`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<Came>> {
        let came = self.far.recv_with::<MOST_DESCRIPTORS>(buffer, Deadline::NOW)?;
        Ok(came.map(|came| (came.len, came.descriptors.into_iter().collect(), came.descriptors_lost)))
    }
}

impl Serialize for Way {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let ends: (u32, u32) = (put(&self.near, FdKind::End)?, put(&self.far, FdKind::End)?);
        ends.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Way {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (near, far): (u32, u32) = Deserialize::deserialize(deserializer)?;
        let end = |place: u32| {
            let socket =
                Socket::try_from(take::<D::Error>(place, FdKind::End)?).and_then(AboveStandard::above_standard);
            socket.map_err(|errno| {
                refuse_to_receive(Error::os(errno, "a socket that came in a message cannot be opened"))
            })
        };
        Ok(Self { near: end(near)?, far: end(far)? })
    }
}
