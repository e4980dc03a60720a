//! CPython as the peer: recorded handshakes, replayed always, and every CPython that is installed, alive.
//!
//! `peer.py` is the other side, `record.py` made `golden/`.

#[path = "../../sys/tests/it/support.rs"]
mod support;

mod live;
mod peers;
mod replay;
