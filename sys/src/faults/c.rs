//! The hook's interface for C: the functions that the macros of `include/ossature_faults.h` call, only under
//! `--cfg ossature_faults`.

use core::ffi::{CStr, c_char, c_int};

use super::rule;
use crate::raw;

/// # Safety
/// `name` is a string that ends in a zero byte.
unsafe fn text<'a>(name: *const c_char) -> &'a str {
    // SAFETY: the caller promises that this is a string.
    let name = unsafe { CStr::from_ptr(name) };
    // A rule's name is UTF-8, so another name matches no rule but "*".
    name.to_str().unwrap_or_default()
}

/// Returns 0, or -1 with errno set when the call of that name is to fail.
///
/// # Safety
/// `name` is a string that ends in a zero byte.
// SAFETY: no other crate defines a symbol with this prefix.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ossature_fault(name: *const c_char) -> c_int {
    // SAFETY: as the caller says.
    match rule::before(unsafe { text(name) }) {
        Ok(()) => 0,
        Err(errno) => {
            raw::set_errno(errno);
            -1
        }
    }
}

/// The number of bytes, at most `len`, that the call of that name may move.
///
/// # Safety
/// `name` is a string that ends in a zero byte.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ossature_allowed(name: *const c_char, len: usize) -> usize {
    // SAFETY: as the caller says.
    rule::shortened(unsafe { text(name) }, len)
}
