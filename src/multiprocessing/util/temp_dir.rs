//! A directory for what the processes of one program call by names.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ossature_sys::errno::Errno;
use ossature_sys::random;

use super::Finalize;
use crate::error::{Error, Result};
use crate::multiprocessing::logging::info;
use crate::multiprocessing::process::era::era;

/// How many bytes the address of a Unix socket holds, the null at its end included.
const SUN_PATH: usize = 108;
/// The longest that is put below the base: the directory, and a socket in it.
const BELOW: usize = "/pymp-XXXXXXXX/listener-XXXXXXXX".len() + 1;

/// The directory of this process and of the children that it starts from now on: `pymp-` and eight letters below
/// [`std::env::temp_dir`], for this user only. Made when it is first asked for; removed with all that is in it at
/// the end of the process that made it, among the last things.
///
/// Where the path of a socket in it would be longer than an address holds, it lies below `/tmp`, `/var/tmp` or
/// `/usr/tmp` instead.
///
/// # Errors
/// What making a directory may answer: `EACCES`, `ENOSPC`, `EROFS`.
#[doc(alias = "get_temp_dir")]
pub fn temp_dir() -> Result<PathBuf> {
    let mut made = era().temp_dir.lock();
    if let Some(path) = made.as_ref() {
        return Ok(path.clone());
    }
    let base = base(std::env::temp_dir());
    let path = make(&base).map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Error::os(errno, format!("cannot make a directory below {}", base.display()))
    })?;
    let doomed = path.clone();
    // What cannot be removed, because another user's file is in it, stays.
    Finalize::at_exit(-100, move || drop(fs::remove_dir_all(doomed))).leave();
    *made = Some(path.clone());
    drop(made); // a logger of the program may want the directory, too
    info!("created temp directory {}", path.display());
    Ok(path)
}

fn base(wanted: PathBuf) -> PathBuf {
    let fits = |path: &Path| path.as_os_str().as_bytes().len() + BELOW <= SUN_PATH;
    if fits(&wanted) {
        return wanted;
    }
    let short = ["/tmp", "/var/tmp", "/usr/tmp"].map(Path::new);
    short.into_iter().find(|path| path.is_dir()).map_or(wanted, Path::to_path_buf)
}

fn make(base: &Path) -> io::Result<PathBuf> {
    loop {
        let path = base.join(format!("pymp-{}", letters()?));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(path),
        }
    }
}

/// Eight letters that nobody has guessed.
pub(crate) fn letters() -> std::result::Result<String, Errno> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 32))).map(|letter| char::from(*letter)).collect())
}
