//! Redirection of standard output.

use crate::errno::{Result, retry};
use crate::fd::{AsFd, AsRawFd};
use crate::raw;

/// `dup2(fd, 1)`: redirects the standard output of this process, and of the processes that it starts, to the file of
/// `fd`.
///
/// Buffered output of a library also goes there: flush it before.
///
/// # Errors
/// None for an open descriptor.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::{fd, pipe, process::replace_stdout};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// let before = fd::duplicate(fd::stdout())?;
/// replace_stdout(&writer)?;
/// fd::write(fd::stdout(), b"caught")?;
/// replace_stdout(&before)?;
/// assert_eq!(pipe::unread(&reader)?, 6);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "dup2")]
pub fn replace_stdout(fd: impl AsFd) -> Result<()> {
    const STDOUT: i32 = 1;
    // SAFETY: number 1 is standard output, which is only ever borrowed by its number: code that wrote there now writes
    // to the other file. No code can own it, because a Rust program that is started without a standard output opens
    // /dev/null there.
    retry(|| unsafe { raw::process::dup_onto(fd.as_fd().as_raw_fd(), STDOUT) })
}
