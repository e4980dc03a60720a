//! A standard input without data.

use core::ffi::CStr;

use rustix::fs::{FileType, Mode, OFlags, major, minor};

use crate::errno::{Errno, Result, retry};
use crate::fd::{AsRawFd, IntoRawFd, OwnedFd, clear_cloexec, stdin};
use crate::raw;

const STDIN: i32 = 0;

/// `dup2(open("/dev/null"), 0)`, unless standard input is `/dev/null` already. A read from standard input then returns
/// end of file at once, in this process and in the processes that it starts.
///
/// If `/dev/null` cannot be opened, as in a new root without `/dev`, the read end of a pipe without a writer is used
/// instead.
///
/// For a child that must not read the input of its parent. A library keeps the input that it has read ahead: std's
/// `Stdin` does, and a forked child has a copy of that input.
///
/// # Errors
/// `EMFILE` when no descriptor is left: standard input is unchanged then.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, process::detach_stdin};
///
/// detach_stdin()?;
/// assert_eq!(fd::read(fd::stdin(), &mut [0; 16])?, 0);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn detach_stdin() -> Result<()> {
    if is_null() {
        return Ok(()); // as in the children of children; opening costs fifty times the question
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    // On the stack: a constant is in a page that a forked child would be the first to read.
    let path = core::hint::black_box(*b"/dev/null\0");
    // SAFETY: the bytes end with zero, and no other byte is zero.
    let path = unsafe { CStr::from_bytes_with_nul_unchecked(&path) };
    let null = match retry(|| raw::call("open", || rustix::fs::open(path, flags, Mode::empty()))) {
        Ok(null) => null,
        Err(full @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => return Err(full),
        Err(_) => nothing()?,
    };
    if null.as_raw_fd() == STDIN {
        // Number 0 was closed, so this descriptor has it already.
        clear_cloexec(&null)?;
        let _ = null.into_raw_fd();
        return Ok(());
    }
    // No code owns number 0: a Rust program that is started without a standard input opens /dev/null there.
    retry(|| raw::call("dup2", || rustix::stdio::dup2_stdin(&null)))
}

/// The read end of a pipe without a writer.
fn nothing() -> Result<OwnedFd> {
    raw::call("pipe2", || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)).map(|(reader, _)| reader)
}

/// Whether standard input is /dev/null already: the character device 1, 3 (see null(4)).
fn is_null() -> bool {
    // glibc's call passes an empty path, in a page that a forked child would be the first to read. rustix's does not.
    raw::call("fstat", || rustix::fs::fstat(stdin())).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode).is_char_device() && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
    })
}
