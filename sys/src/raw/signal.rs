//! The kernel's `siginfo_t`, as far as this crate reads and writes it.

use core::ffi::c_int;
use core::mem::size_of;

/// `siginfo_t` for signals that a process, a timer or a dying child sent.
///
/// The union after the header begins with the sender's ids in all of these; then comes a `sigval` or, for SIGCHLD, the
/// exit status.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Siginfo {
    pub(crate) signo: c_int,
    pub(crate) errno: c_int,
    pub(crate) code: c_int,
    /// A field that aligns the union like a pointer, because the union holds pointers.
    #[cfg(target_pointer_width = "64")]
    align: c_int,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) value: usize,
    rest: [c_int; REST],
}

const REST: usize = (128 - if cfg!(target_pointer_width = "64") { 32 } else { 24 }) / size_of::<c_int>();

static_assertions::assert_eq_size!(Siginfo, libc::siginfo_t);
static_assertions::const_assert_eq!(size_of::<Siginfo>(), 128);
static_assertions::const_assert_eq!(
    core::mem::offset_of!(Siginfo, code),
    core::mem::offset_of!(libc::siginfo_t, si_code)
);

impl Siginfo {
    pub(crate) const ZERO: Self = Self {
        signo: 0,
        errno: 0,
        code: 0,
        #[cfg(target_pointer_width = "64")]
        align: 0,
        pid: 0,
        uid: 0,
        value: 0,
        rest: [0; REST],
    };
}
