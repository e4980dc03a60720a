//! The hash of keys that clients choose: SipHash-1-3 with keys of this process, which nobody outside knows.
//!
//! It is that of the standard library for bytes that are written at once. It is shorter, because the bytes of a key
//! always are. The length is part of the hash in any case, so it is not written beside.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The keys of one table.
#[derive(Clone)]
pub(super) struct Keyed([u64; 2]);

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0), random.hash_one(1)])
    }
}

impl BuildHasher for Keyed {
    type Hasher = Sip;

    #[inline]
    fn build_hasher(&self) -> Sip {
        let Self([k0, k1]) = *self;
        Sip([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }
}

/// The state of the hash.
pub(super) struct Sip([u64; 4]);

impl Sip {
    #[inline]
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.0;
        *v0 = v0.wrapping_add(*v1);
        *v2 = v2.wrapping_add(*v3);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v1);
        *v0 = v0.wrapping_add(*v3);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.rotate_left(32);
    }

    #[inline]
    fn add(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }
}

impl Hasher for Sip {
    /// All bytes of a key.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((word, others)) = rest.split_first_chunk() {
            self.add(u64::from_le_bytes(*word));
            rest = others;
        }
        let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.add((bytes.len() as u64) << 56 | last);
    }

    /// The length, which is in the last word.
    #[inline]
    fn write_usize(&mut self, _length: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        let mut end = Self(self.0);
        end.0[2] ^= 0xff;
        (0..3).for_each(|_| end.round());
        end.0.iter().fold(0, |all, word| all ^ word)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use super::*;

    #[test]
    fn hash_is_that_of_the_standard_library() {
        let bytes: Vec<u8> = (1..=100).collect();
        for length in 0..=bytes.len() {
            let mut theirs = DefaultHasher::new(); // SipHash-1-3 with zeroes for keys
            let mut ours = Keyed([0; 2]).build_hasher();
            theirs.write(&bytes[..length]);
            ours.write(&bytes[..length]);
            assert_eq!(ours.finish(), theirs.finish(), "{length} bytes");
        }
    }

    #[test]
    fn tables_have_keys_of_their_own() {
        let [one, other] = [(); 2].map(|()| Keyed::default().hash_one(b"key".as_slice()));
        assert_ne!(one, other);
        let key = Keyed::default();
        assert_eq!(key.hash_one(vec![1, 2]), key.hash_one([1, 2].as_slice()));
    }
}
