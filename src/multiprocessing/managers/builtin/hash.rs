//! The hash of keys that clients choose: SipHash-1-3 with two secret numbers for each table.
//!
//! The standard library's hash is the same, but it takes bytes piece by piece, and runs more code for that. A key comes
//! in one piece. Its length is part of the hash in any case, so it is not written separately.

use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip::SipHasher13;

/// The two numbers of one table.
#[derive(Clone)]
pub(super) struct Keyed([u64; 2]);

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0), random.hash_one(1)])
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyHash;

    #[inline]
    fn build_hasher(&self) -> KeyHash {
        KeyHash { numbers: self.0, hash: 0 }
    }
}

/// The hasher of one key.
pub(super) struct KeyHash {
    numbers: [u64; 2],
    hash: u64,
}

impl Hasher for KeyHash {
    /// Takes all bytes of a key.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let [first, second] = self.numbers;
        self.hash = SipHasher13::new_with_keys(first, second).hash(bytes);
    }

    /// Ignores the length, which is part of the hash.
    #[inline]
    fn write_usize(&mut self, _length: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_depends_on_each_byte_and_on_the_length() {
        let keyed = Keyed::default();
        let mut hashes: Vec<u64> = (0..40).map(|length| keyed.hash_one(vec![0_u8; length].as_slice())).collect();
        for at in 0..40 {
            let mut bytes = [0_u8; 40];
            bytes[at] = 1;
            hashes.push(keyed.hash_one(bytes.as_slice()));
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 80);
    }

    #[test]
    fn tables_have_keys_of_their_own() {
        let [one, other] = [(); 2].map(|()| Keyed::default().hash_one(b"key".as_slice()));
        assert_ne!(one, other);
        let key = Keyed::default();
        assert_eq!(key.hash_one(vec![1, 2]), key.hash_one([1, 2].as_slice()));
    }
}
