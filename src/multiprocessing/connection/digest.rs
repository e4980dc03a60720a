//! The digests that answer a challenge.

use std::fmt;

use hmac::{Hmac, Mac, digest::KeyInit};
use subtle::ConstantTimeEq;

use super::AuthKey;

/// The algorithm that answers a challenge, weakest first.
///
/// CPython up to 3.11 knows only MD5. From 3.12 on it requests SHA-256 and accepts any of these.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::Digest;
///
/// assert_eq!(Digest::default().name(), "sha256");
/// assert!(Digest::Md5 < Digest::Sha256, "weaker");
/// assert_eq!(Digest::ALL.map(Digest::name), ["md5", "sha256", "sha3_256", "sha384", "sha3_384"]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// HMAC-MD5: the only digest of CPython up to 3.11.
    Md5,
    /// HMAC-SHA-256: the digest that CPython requests from 3.12 on.
    #[default]
    Sha256,
    /// HMAC-SHA3-256.
    Sha3_256,
    /// HMAC-SHA-384.
    Sha384,
    /// HMAC-SHA3-384.
    Sha3_384,
}

impl Digest {
    /// All digests, weakest first.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha256, Self::Sha3_256, Self::Sha384, Self::Sha3_384];

    /// The name on the wire, which is that of Python's `hashlib`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::Sha3_256 => "sha3_256",
            Self::Sha384 => "sha384",
            Self::Sha3_384 => "sha3_384",
        }
    }

    /// Returns the digest of that name on the wire.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|digest| digest.name().as_bytes() == name)
    }

    /// Computes the tag of `message`, which needs the key.
    pub(super) fn mac(self, key: &AuthKey, message: &[u8]) -> Tag {
        match self {
            Self::Md5 => tag::<Hmac<md5::Md5>>(key, message),
            Self::Sha256 => tag::<Hmac<sha2::Sha256>>(key, message),
            Self::Sha3_256 => tag::<Hmac<sha3::Sha3_256>>(key, message),
            Self::Sha384 => tag::<Hmac<sha2::Sha384>>(key, message),
            Self::Sha3_384 => tag::<Hmac<sha3::Sha3_384>>(key, message),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The length of the longest tag, SHA-384's.
const LONGEST: usize = 48;

/// The result of a digest. It cannot be compared with `==`, but only in constant time.
pub(super) struct Tag {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Tag {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether `other` is the same tag: takes the same time wherever the first difference is.
    pub(super) fn matches(&self, other: &[u8]) -> bool {
        self.as_bytes().ct_eq(other).into()
    }
}

fn tag<M: Mac + KeyInit>(key: &AuthKey, message: &[u8]) -> Tag {
    let Ok(mac) = <M as KeyInit>::new_from_slice(key.as_bytes()) else { unreachable!("HMAC takes keys of any length") };
    let result = mac.chain_update(message).finalize().into_bytes();
    let mut bytes = [0; LONGEST];
    bytes[..result.len()].copy_from_slice(&result);
    Tag { bytes, len: result.len() }
}
