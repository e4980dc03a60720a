//! A standard input from which nothing comes.

use rustix::fs::{Mode, OFlags};

use crate::errno::{Result, retry};
use crate::fd::{AsRawFd, IntoRawFd, set_cloexec};
use crate::raw;

/// `dup2(open("/dev/null"), 0)`: reading from standard input finds its end at once, for this process and those that it
/// starts.
///
/// For a child that must not take away what is typed for its parent. What a library has read ahead it keeps: std's `Stdin`
/// does, and a forked child has a copy of that.
///
/// # Errors
/// `ENOENT` where there is no `/dev`, `EMFILE` when no descriptor is left: standard input is what it was.
pub fn detach_stdin() -> Result<()> {
    const STDIN: i32 = 0;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let null = retry(|| raw::call("open", || rustix::fs::open(c"/dev/null", flags, Mode::empty())))?;
    if null.as_raw_fd() == STDIN {
        // It was closed, so this is it already.
        set_cloexec(&null, false)?;
        let _ = null.into_raw_fd();
        return Ok(());
    }
    // SAFETY: number 0 is standard input, which is only ever borrowed by its number: what read from it reads from the
    // other file now. It can be nobody's own, because a Rust program that is started without one opens /dev/null there.
    retry(|| unsafe { raw::process::dup_onto(null.as_raw_fd(), STDIN) })
}
