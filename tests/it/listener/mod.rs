//! Keys, handshakes, addresses, listeners and clients.

mod address;
mod handshake;
