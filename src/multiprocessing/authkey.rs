//! The key that both sides of an authenticated connection know.

use std::fmt;
use std::sync::Arc;

use ossature_sys::random;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::multiprocessing::transfer::Trust;

/// A secret of any length that both sides know and neither sends.
///
/// Clones share one copy, which is wiped from memory when the last clone is dropped. Its debug output hides the
/// bytes, and it has no serialised form, so that it cannot be sent in a message by mistake.
///
/// Differs from Python, where any byte string is a key and can be printed: this key is made from bytes explicitly. An
/// empty key is valid, but every user knows it: a peer that proves to know it stays [`Untrusted`](Trust::Untrusted).
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::AuthKey;
///
/// let agreed = AuthKey::from("peekaboo");
/// assert_eq!(agreed.as_bytes(), b"peekaboo");
/// assert_eq!(format!("{agreed:?}"), "AuthKey(..)");
/// assert_ne!(AuthKey::random()?.as_bytes(), AuthKey::random()?.as_bytes());
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// fn sendable<T: serde::Serialize>() {}
/// sendable::<ossature::multiprocessing::connection::AuthKey>();
/// ```
#[derive(Clone)]
#[doc(alias = "AuthenticationString")]
#[doc(alias = "authkey")]
pub struct AuthKey(Arc<Zeroizing<Box<[u8]>>>);

impl AuthKey {
    /// Creates a key of 32 random bytes: what Python's main process makes at its start.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with `ENOSYS` or `EPERM` where a sandbox forbids `getrandom(2)`.
    pub fn random() -> Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; 32].into_boxed_slice());
        random::fill(&mut bytes).map_err(|errno| Error::os(errno, "cannot make a key"))?;
        Ok(Self(Arc::new(bytes)))
    }

    /// The bytes of the key, for a program that passes the key on by other means.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The trust in a peer that has proved to know the key.
    pub(crate) fn trust(&self) -> Trust {
        if self.0.is_empty() { Trust::Untrusted } else { Trust::SameProgram }
    }
}

impl From<&[u8]> for AuthKey {
    fn from(bytes: &[u8]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.into())))
    }
}

impl<const N: usize> From<&[u8; N]> for AuthKey {
    fn from(bytes: &[u8; N]) -> Self {
        bytes[..].into()
    }
}

impl From<&str> for AuthKey {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}
