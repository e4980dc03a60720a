//! Unpredictable bytes.
//!
//! ```
//! let mut key = [0; 32];
//! ossature_sys::random::fill(&mut key)?;
//! assert_ne!(key, [0; 32]);
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: getrandom(2).

use rustix::rand::{GetRandomFlags, getrandom};

use crate::errno::{Errno, Result, retry};
use crate::raw;

/// `getrandom(bytes, len, 0)`, repeated until all are filled: fills `bytes` from the kernel's generator.
///
/// Waits only in the first moments after the machine's start, until the generator has been seeded.
///
/// # Errors
/// `ENOSYS` or `EPERM` where a sandbox forbids the call; then `bytes` must not be used.
#[doc(alias = "os.urandom")]
#[doc(alias = "getrandom")]
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let allowed = raw::allowed("getrandom", rest.len());
        let part = rest.get_mut(..allowed).unwrap_or_default();
        let filled = retry(|| raw::call("getrandom", || getrandom(&mut *part, GetRandomFlags::empty())))?;
        rest = rest.get_mut(filled..).ok_or(Errno::IO)?;
    }
    Ok(())
}
