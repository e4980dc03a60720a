//! Whether this program is a test program of libtest, whose threads are named after tests.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader};
use std::sync::OnceLock;

use super::IMAGE;

/// The name of a variable that libtest reads, backwards, so that the name itself is not in every program with this
/// library.
const VARIABLE: [u8; 17] = *b"SDAERHT_TSET_TSUR";

/// Whether libtest is linked into this program. Reads the image once, and only if a thread other than the first one
/// calls this.
pub(super) fn is_linked() -> bool {
    static LINKED: OnceLock<bool> = OnceLock::new();
    // An image that cannot be read starts no process either.
    *LINKED.get_or_init(|| names_the_variable().unwrap_or(false))
}

fn names_the_variable() -> io::Result<bool> {
    let mut variable = black_box(VARIABLE);
    variable.reverse();
    let (first, rest) = variable.split_first().unwrap_or((&0, &[]));
    let mut image = BufReader::with_capacity(1 << 16, File::open(IMAGE)?);
    while image.skip_until(*first)? > 0 {
        if follows(&mut image, rest)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether these bytes come next; consumes the bytes that match.
fn follows(image: &mut impl BufRead, bytes: &[u8]) -> io::Result<bool> {
    for byte in bytes {
        if image.fill_buf()?.first() != Some(byte) {
            return Ok(false);
        }
        image.consume(1);
    }
    Ok(true)
}
