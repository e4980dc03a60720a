//! Connections inside values that are sent: afterwards both processes hold the same end.

use ossature_sys::fd::AboveStandard;
use std::os::fd::AsFd;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{Access, Connection, Receiver, Sender};
use crate::error::{Error, ErrorKind};
use crate::multiprocessing::transfer::{self, FdKind, Trust, received_trust, refuse_to_receive, refuse_to_send};

/// The serialised form of an end: the descriptor's place, whether the end receives, whether it sends, and whether the
/// other end belongs to the same program.
///
/// The last field only selects the list that contains the descriptor. Nothing else can put a descriptor into the list
/// of ends of the same program.
type Wire = (u32, bool, bool, bool);

fn kind(same_program: bool) -> FdKind {
    if same_program { FdKind::End } else { FdKind::Handle }
}

fn put<S: Serializer>(
    end: &impl AsFd,
    receives: bool,
    sends: bool,
    trust: Trust,
    within: bool,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if within {
        let message =
            "cannot pass this end: it has received or sent only a part of a message; finish that message first";
        return Err(refuse_to_send(Error::new(ErrorKind::InvalidInput, message)));
    }
    let same_program = trust == Trust::SameProgram;
    let wire: Wire = (transfer::put(end, kind(same_program))?, receives, sends, same_program);
    wire.serialize(serializer)
}

fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Connection, D::Error> {
    let (place, receives, sends, same_program): Wire = Deserialize::deserialize(deserializer)?;
    let fd = transfer::take(place, kind(same_program))?;
    let fd = fd
        .above_standard()
        .map_err(|errno| refuse_to_receive(Error::os(errno, "cannot open a connection received in a message")))?;
    let access = match (receives, sends) {
        (true, true) => Access::Both,
        (true, false) => Access::Receive,
        (false, true) => Access::Send,
        (false, false) => return Err(de::Error::custom("a received connection neither receives nor sends")),
    };
    // A stranger's word for another is a stranger's.
    let trust = if same_program { received_trust() } else { Trust::Untrusted };
    Connection::with_trust(fd, access, trust).map_err(refuse_to_receive)
}

impl Serialize for Connection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_closed() {
            return Err(ser::Error::custom("cannot pass this end: the connection is closed"));
        }
        put(self, self.readable(), self.writable(), self.trust(), self.is_within_a_message(), serializer)
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        take(deserializer)
    }
}

impl Serialize for Receiver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        put(self, true, false, self.trust(), self.receiving.is_within_a_message(), serializer)
    }
}

impl<'de> Deserialize<'de> for Receiver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        take(deserializer).map(|connection| connection.split().0)
    }
}

impl Serialize for Sender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        put(self, false, true, self.trust(), self.sending.is_within_a_message(), serializer)
    }
}

impl<'de> Deserialize<'de> for Sender {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        take(deserializer).map(|connection| connection.split().1)
    }
}
