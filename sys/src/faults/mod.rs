//! The fault hook: fail, shorten, delay or kill at the nth call of a name.
//!
//! For tests of the behaviour of a program when system calls fail. Every foreign call of this crate passes the hook
//! under the name of its C function, and a program's own calls pass it by [`call`]. The hook does something only in a
//! program that is built with `RUSTFLAGS="--cfg ossature_faults"`. In an ordinary build [`call`] is its closure,
//! [`allowed`] is its length, and [`Rule::arm`] is an error.
//!
//! Arm a rule, run the code, drop the rule:
//!
//! ```
//! use ossature_sys::{epoll::Epoll, errno::Errno, faults::{Fault, Rule}};
//!
//! match Rule::on("epoll_create1", Fault::Fail(Errno::MFILE)).arm() {
//!     Ok(armed) => {
//!         assert_eq!(Epoll::new().unwrap_err(), Errno::MFILE);
//!         drop(armed);
//!     }
//!     Err(error) => assert_eq!(error, Errno::NOSYS), // built without the hook
//! }
//! assert!(Epoll::new().is_ok());
//! ```
//!
//! [`sweep`] does that for each call of an operation in turn, and checks what is left behind.
//!
//! Names are those of the C functions, even if the crate uses another entry point; `"*"` means every call. A rule
//! belongs to the thread that armed it, unless it is set to [`everywhere`](Rule::everywhere), so tests may run side by
//! side. Counting is exact: the nth call *of that rule* is the nth that matched it since it was armed.
//!
//! The table is a fixed array of atomics: no allocation, usable in a forked child.
//!
//! **Calls made in C.** `include/ossature_faults.h` of this crate has macros for C code that is linked into a Rust
//! program.

#[cfg(ossature_faults)]
mod c;
mod names;
mod rule;
pub mod sweep;
mod traces;

pub use rule::{Armed, ENABLED, Fault, Name, Rule};

use crate::errno::Errno;

/// Makes one call under a name, at which a [`Rule`] can fail, delay or kill. For the system calls of a program's own
/// wrappers.
///
/// In an ordinary build this is `foreign()` and nothing else. The closure should make one system call: an injected
/// error means that the closure does not run at all.
///
/// The error can be any type that is made from an [`Errno`]. `std::io::Error` is such a type if rustix has its feature
/// `std`, as with the crate `ossature`.
///
/// # Errors
/// Whatever `foreign` returns, and the error of a rule.
///
/// # Examples
/// ```
/// use std::{fs::File, io, path::Path};
/// use ossature_sys::faults;
///
/// fn open(path: &Path) -> io::Result<File> {
///     faults::call("open", || File::open(path))
/// }
/// assert!(open("/dev/null".as_ref()).is_ok());
/// ```
#[inline(always)]
pub fn call<T, E: From<Errno>>(name: &str, foreign: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    #[cfg(ossature_faults)]
    rule::before(name)?;
    #[cfg(not(ossature_faults))]
    let _ = name;
    foreign()
}

/// The number of bytes that the next call of `name` may move: `len`, or fewer if a rule [shortens](Fault::Shorten) the
/// call.
///
/// In an ordinary build this is `len`. A transfer that is not empty is never made empty, because that would read as the
/// end of a file.
///
/// # Examples
/// ```
/// use std::{fs::File, io::{self, Read}};
/// use ossature_sys::faults;
///
/// fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
///     let most = faults::allowed("read", buffer.len());
///     faults::call("read", || file.read(&mut buffer[..most]))
/// }
/// assert_eq!(read(&mut File::open("/dev/zero")?, &mut [1; 4])?, 4);
/// # Ok::<(), io::Error>(())
/// ```
#[inline(always)]
pub fn allowed(name: &str, len: usize) -> usize {
    #[cfg(ossature_faults)]
    return rule::shortened(name, len);
    #[cfg(not(ossature_faults))]
    {
        let _ = name;
        len
    }
}
