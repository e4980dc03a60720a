//! Which program a process runs, and which of its types a value has: what two processes of one program can compare.
//!
//! A [`Fingerprint`](super::Fingerprint) tells layouts apart. Two types of one layout and one name can still mean different
//! things, and within one image the compiler's own identity of a type tells them apart. Across images the identity says
//! nothing, since every build numbers its types anew, so the image is written beside it.

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

/// Keeps what it is given: a type's identity is a digest already.
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

/// The image that holds this code, told by its program headers and its notes, among which is the linker's build id; 0 when
/// they cannot be had.
///
/// Needs neither /proc nor the file. The same for every process that runs the file, wherever it is loaded.
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
        // The context is the crate's own kind of builder: taken, and given back longer.
        digest = core::mem::replace(&mut digest, Sha256::new()).update(part);
    });
    if seen.is_err() || !found {
        return 0;
    }
    let [a, b, c, d, e, f, g, h, ..] = digest.finalize();
    // Whoever comes second writes the same.
    IMAGE.store(u64::from_le_bytes([a, b, c, d, e, f, g, h]), Relaxed);
    IMAGE.load(Relaxed)
}
