//! CPython as the peer: recorded handshakes are replayed always, and every installed CPython is run.
//!
//! `peer.py` is the other side, `record.py` made `golden/`.

#[path = "../../sys/tests/it/support.rs"]
mod support;

mod live;
mod peers;
mod replay;
