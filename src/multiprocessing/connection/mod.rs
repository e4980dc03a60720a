//! Messages between processes.

mod address;
mod arbitrary;
mod authkey;
mod digest;
mod handshake;
mod payload;

pub use address::{Address, Family};
pub use authkey::AuthKey;
pub use digest::Digest;
pub use handshake::Handshake;
pub use payload::{LIMIT, Payload};
