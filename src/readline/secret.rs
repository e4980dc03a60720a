//! The type [`Secret`]: bytes that leave no copy in memory.

use std::fmt;
use std::ops::Deref;

use zeroize::{Zeroize, Zeroizing};

/// Bytes that are overwritten when they are removed, dropped, or moved to a larger place.
#[derive(Default)]
pub(super) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Makes room for `more` further bytes. Overwrites the old memory.
    fn reserve(&mut self, more: usize) {
        let wanted = self.0.len() + more;
        if wanted > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted.max(2 * self.0.capacity()).max(64)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn pop(&mut self) -> Option<u8> {
        let last = self.0.last_mut()?;
        let byte = std::mem::take(last);
        self.0.pop();
        Some(byte)
    }

    /// Overwrites and removes all bytes.
    pub(super) fn clear(&mut self) {
        self.0.as_mut_slice().zeroize();
        self.0.clear();
    }

    /// Takes the first bytes out. The caller must overwrite them.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.0.len());
        let taken = self.0[..count].to_vec();
        let mut rest = Self::default();
        rest.extend(&self.0[count..]);
        *self = rest;
        taken
    }

    /// Appends the bytes that `read` puts into its buffer of `most` bytes; `read` returns their number.
    pub(super) fn read<E>(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let before = self.0.len();
        self.reserve(most);
        self.0.resize(before + most, 0);
        let done = read(&mut self.0[before..]);
        self.0.truncate(before + done.as_ref().map_or(0, |&count| count.min(most)));
        done
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn bytes_come_and_go_in_order() {
        let mut secret = Secret::default();
        for n in 0..200 {
            secret.push(n);
        }
        assert_eq!(secret.pop(), Some(199));
        assert_eq!(secret.take(3), [0, 1, 2]);
        assert_eq!((secret.len(), secret[0]), (196, 3));
        let read = secret.read(10, |room| {
            room[..2].copy_from_slice(b"xy");
            Ok::<_, ()>(2)
        });
        assert_eq!((read, secret.len(), secret.pop()), (Ok(2), 198, Some(b'y')));
        assert_eq!(secret.read(10, |_| Err::<usize, _>(())), Err(()));
        assert_eq!(secret.take(500).len(), 197);
        secret.push(7);
        secret.clear();
        assert!(secret.is_empty() && secret.pop().is_none());
        assert!(!format!("{secret:?}").contains('7'));
    }
}
