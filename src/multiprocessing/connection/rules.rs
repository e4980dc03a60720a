//! The rules of a handshake, which both builders share.
//!
//! Each builder has its own setters, because their docs differ: a listener demands the key, a client proves it.

use std::time::Duration;

use super::{AuthKey, Digest, Handshake};

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) key: Option<AuthKey>,
    pub(super) digest: Digest,
    pub(super) minimum: Digest,
    pub(super) timeout: Option<Duration>,
    pub(super) most: usize,
}

impl Default for Rules {
    fn default() -> Self {
        let timeout = Some(Duration::from_secs(10));
        Self { key: None, digest: Digest::default(), minimum: Digest::Md5, timeout, most: 128 }
    }
}

impl Rules {
    pub(super) fn apply(&self, handshake: Handshake) -> Handshake {
        handshake.digest(self.digest).minimum_digest(self.minimum)
    }
}
