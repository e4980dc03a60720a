//! Callbacks at the normal end of the process.

use crate::errno::Result;
use crate::raw::process as raw;

/// `atexit(callback)`: registers `callback` for the normal end of the process: a return from `main`, or exit(3) (Rust's
/// `std::process::exit`). The thread that ends the process calls it, the last registered first.
///
/// Not at the end by [`exit`](super::exit()), by a signal or by an abort. Other threads run on meanwhile. A forked
/// child has its parent's callbacks, and [`fork`](super::fork()) ends it without them. A panic that leaves the callback
/// aborts.
///
/// # Errors
/// `ENOMEM`: it was not registered.
///
/// # Examples
/// ```
/// extern "C" fn last() {
///     println!("goodbye");
/// }
/// ossature_sys::process::at_exit(last)?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "atexit")]
pub fn at_exit(callback: extern "C" fn()) -> Result<()> {
    raw::atexit(callback)
}
