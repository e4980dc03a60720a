//! The image that a process runs, and the identity of a type in it, which processes of the same program can compare.
//!
//! A [`Fingerprint`](super::Fingerprint) distinguishes layouts. Two types with the same layout and name can still mean
//! different things. Within one image the compiler's own identity of a type distinguishes such types. Each build
//! numbers its types again, so the header records the image beside the identity.

use core::any::TypeId;
use core::hash::{Hash, Hasher};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use sha2_const_stable::Sha256;

use crate::raw;

/// The compiler's identity of a type in this image.
pub(super) fn identity<T: ?Sized + 'static>() -> u64 {
    let mut words = Words(0);
    TypeId::of::<T>().hash(&mut words);
    words.finish()
}

/// A hasher that keeps its input, because a type's identity is a digest already.
struct Words(u64);

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(23) ^ word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A digest of the image that holds this code: computed from its program headers and its notes, which include the
/// linker's build id. 0 if they cannot be read.
///
/// Needs neither /proc nor the file. The digest is the same in every process that runs the file, at any address.
pub(super) fn image() -> u64 {
    static IMAGE: AtomicU64 = AtomicU64::new(0);
    let known = IMAGE.load(Relaxed);
    if known != 0 {
        return known;
    }
    let mut digest = Sha256::new();
    let mut found = false;
    let seen = raw::image::for_each_part(&mut |part| {
        found = true;
        // The hash context is a builder: `update` takes the context and returns it.
        digest = core::mem::replace(&mut digest, Sha256::new()).update(part);
    });
    if seen.is_err() || !found {
        return 0;
    }
    let [a, b, c, d, e, f, g, h, ..] = digest.finalize();
    // A second thread writes the same value.
    IMAGE.store(u64::from_le_bytes([a, b, c, d, e, f, g, h]), Relaxed);
    IMAGE.load(Relaxed)
}
