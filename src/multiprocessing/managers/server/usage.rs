//! The resources that each client uses of a server, over all its connections and sessions.
//!
//! | over | one client is | because |
//! | --- | --- | --- |
//! | a Unix socket | a process | the kernel reports the process that connected |
//! | TCP | a host | the server cannot distinguish the processes of another machine |
//!
//! A [`Charge`] is the use by one object (a connection, a reference, a kept value), and ends with that object.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use ossature_sys::socket;

use super::super::Exception;
use crate::multiprocessing::connection::Connection;
use crate::multiprocessing::connection::pickle::Value;

/// The client at the other end of a connection, as the kernel reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in super::super) enum Who {
    /// Number 0 is a process in a pid namespace that is invisible from here.
    Process {
        process: i32,
        user: u32,
    },
    Host(IpAddr),
    #[default]
    Unknown,
}

impl Who {
    pub(super) fn of(connection: &Connection) -> Self {
        if let Ok(Some(peer)) = connection.peer_credentials() {
            return Self::Process { process: peer.pid.map_or(0, |pid| pid.as_raw_nonzero().get()), user: peer.uid };
        }
        match socket::peer_address(connection) {
            Ok(socket::Address::Ip(address)) => Self::Host(address.ip().to_canonical()),
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { process, user } => write!(f, "process {process} of user {user}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Unknown => f.write_str("an unknown client"),
        }
    }
}

/// A counted resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Resource {
    References,
    Connections,
    /// The bytes of unfinished or unanswered requests, and of unread replies.
    Buffers,
    /// The bytes of values in built-in objects.
    Kept,
}

/// The resources that one client uses. Only the loop of the server writes the counts, so they order nothing else.
#[derive(Debug, Default)]
pub(in super::super) struct Usage {
    pub(super) who: Who,
    references: AtomicUsize,
    connections: AtomicUsize,
    buffers: AtomicUsize,
    kept: AtomicUsize,
}

impl Usage {
    pub(in super::super) fn of(&self, what: Resource) -> usize {
        self.count(what).load(Relaxed)
    }

    fn count(&self, what: Resource) -> &AtomicUsize {
        match what {
            Resource::References => &self.references,
            Resource::Connections => &self.connections,
            Resource::Buffers => &self.buffers,
            Resource::Kept => &self.kept,
        }
    }
}

/// A part of the resources that a client uses.
#[derive(Debug)]
pub(in super::super) struct Charge {
    usage: Arc<Usage>,
    what: Resource,
    amount: usize,
}

impl Charge {
    pub(in super::super) fn new(usage: &Arc<Usage>, what: Resource, amount: usize) -> Self {
        usage.count(what).fetch_add(amount, Relaxed);
        Self { usage: usage.clone(), what, amount }
    }

    pub(super) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    pub(super) fn amount(&self) -> usize {
        self.amount
    }

    pub(super) fn set(&mut self, amount: usize) {
        let count = self.usage.count(self.what);
        count.fetch_add(amount, Relaxed);
        count.fetch_sub(self.amount, Relaxed);
        self.amount = amount;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The clients of a server.
#[derive(Default)]
pub(super) struct Usages {
    known: HashMap<Who, Weak<Usage>>,
    /// The number of known clients at which clients that have gone are removed.
    enough: usize,
}

impl Usages {
    pub(super) fn of(&mut self, who: Who) -> Arc<Usage> {
        if let Some(usage) = self.known.get(&who).and_then(Weak::upgrade) {
            return usage;
        }
        if self.known.len() >= self.enough {
            self.known.retain(|_, usage| usage.strong_count() > 0);
            self.enough = 2 * self.known.len() + 64;
        }
        let usage = Arc::new(Usage { who, ..Usage::default() });
        self.known.insert(who, Arc::downgrade(&usage));
        usage
    }
}

/// The approximate memory of a value.
pub(in super::super) fn cost(value: &Value) -> usize {
    let all = |items: &[Value]| items.iter().map(cost).fold(0, usize::saturating_add);
    let beside = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.len(),
        Value::BigInt(big) => big.as_le_bytes().len(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => all(items),
        Value::Dict(pairs) => {
            pairs.iter().map(|(key, value)| cost(key).saturating_add(cost(value))).fold(0, usize::saturating_add)
        }
        Value::Global(global) => global.module().len() + global.name().len(),
        Value::Object(object) => {
            let name = object.made_by.module().len() + object.made_by.name().len();
            name.saturating_add(all(&object.args)).saturating_add(cost(&object.state)) + size_of_val(&**object)
        }
        _ => 0,
    };
    beside.saturating_add(size_of::<Value>())
}

/// Makes the exception for a client that has reached a limit.
pub(in super::super) fn too_much(what: &str, most: usize, limit: &str) -> Exception {
    Exception::new("MemoryError", format!("this client {what}, and Limits::{limit} allows no more than {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_go_back_and_clients_that_are_gone_are_forgotten() {
        let mut usages = Usages::default();
        let ann = usages.of(Who::Process { process: 1, user: 0 });
        let mut charge = Charge::new(&ann, Resource::Kept, 7);
        charge.set(9);
        assert!(Arc::ptr_eq(&ann, &usages.of(Who::Process { process: 1, user: 0 })));
        drop(ann);
        let ann = usages.of(Who::Process { process: 1, user: 0 });
        assert_eq!((ann.of(Resource::Kept), ann.of(Resource::References)), (9, 0), "the charge has kept it");
        drop(charge);
        assert_eq!(ann.of(Resource::Kept), 0);
        for process in 2..1000 {
            usages.of(Who::Process { process, user: 0 });
        }
        assert!(usages.known.len() < 200, "{}", usages.known.len());
    }
}
