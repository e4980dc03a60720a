//! Reads and writes at an offset in a file, which do not change the position of the open file.

use super::AsFd;
use crate::errno::{Result, retry};
use crate::raw;

/// `pread(fd, ...)`: reads at most `buffer.len()` bytes from `offset` on; 0 is the end of the file. The position of the
/// open file does not change.
///
/// # Errors
/// `ESPIPE` for a file without positions, `EBADF` when the descriptor is not open for reading.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, mmap::Memfd};
///
/// let memory = Memfd::new(c"positions")?;
/// assert_eq!(fd::write_at(&memory, b"bones", 100)?, 5);
/// let mut buffer = [0; 16];
/// assert_eq!(fd::read_at(&memory, &mut buffer, 102)?, 3);
/// assert_eq!(&buffer[..3], b"nes");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "pread")]
pub fn read_at(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let fd = fd.as_fd();
    retry(|| {
        let len = raw::allowed("pread", buffer.len());
        let buffer = buffer.get_mut(..len).unwrap_or_default();
        raw::call("pread", || rustix::io::pread(fd, buffer, offset))
    })
}

/// `pwrite(fd, ...)`: writes some of `bytes` at `offset` and returns their number. The position of the open file does
/// not change. A shorter file is extended.
///
/// Linux ignores `offset` if the file is open with `O_APPEND`: the bytes go to the end of the file.
///
/// # Errors
/// `ESPIPE` for a file without positions, `EBADF` when the descriptor is not open for writing, `EFBIG` and `ENOSPC`
/// when the file may not or cannot get that long.
///
/// # Examples
/// See the example of [`read_at`](read_at()).
#[doc(alias = "pwrite")]
pub fn write_at(fd: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize> {
    let fd = fd.as_fd();
    retry(|| {
        let len = raw::allowed("pwrite", bytes.len());
        let bytes = bytes.get(..len).unwrap_or_default();
        raw::call("pwrite", || rustix::io::pwrite(fd, bytes, offset))
    })
}

/// `fcntl(fd, F_GETFL)`: whether each write appends to the end of the file, at any position.
///
/// # Errors
/// `EBADF` when `fd` is not open.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, mmap::Memfd};
///
/// assert!(!fd::is_append(Memfd::new(c"anywhere")?)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "O_APPEND")]
pub fn is_append(fd: impl AsFd) -> Result<bool> {
    let flags = raw::call("fcntl", || rustix::fs::fcntl_getfl(fd.as_fd()))?;
    Ok(flags.contains(rustix::fs::OFlags::APPEND))
}

/// `fstatfs(fd, ...)`: whether another program serves the file system (FUSE, virtiofs), and so controls the content and
/// the metadata of the file.
///
/// # Errors
/// `EBADF` when `fd` is not open.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, mmap::Memfd};
///
/// assert!(!fd::is_on_fuse(Memfd::new(c"memory")?)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "FUSE_SUPER_MAGIC")]
#[doc(alias = "fstatfs")]
pub fn is_on_fuse(fd: impl AsFd) -> Result<bool> {
    const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;
    let system = retry(|| raw::call("fstatfs", || rustix::fs::fstatfs(fd.as_fd())))?;
    Ok(system.f_type as u64 & 0xffff_ffff == FUSE_SUPER_MAGIC)
}
