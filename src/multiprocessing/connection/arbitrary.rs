//! Addresses that nobody uses yet.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ossature_sys::errno::Errno;
use ossature_sys::random;

use super::{Address, Family};
use crate::error::{Error, Result};

/// How the name of a directory begins that was made here.
const DIRECTORY: &str = "pymp-";

impl Address {
    /// An address of that family that nobody uses: port 0 of this machine for the internet, and for [`Family::Unix`] a path
    /// in a new directory that only this user may enter, `<tmp>/pymp-XXXXXXXX/listener-XXXXXXXX`.
    ///
    /// A [`Listener`](super::Listener) at the path removes file and directory when it is closed.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) when the directory cannot be made.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::{Address, Family};
    ///
    /// assert_eq!(Address::arbitrary(Family::Inet)?, Address::from(("localhost", 0)));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "arbitrary_address")]
    pub fn arbitrary(family: Family) -> Result<Self> {
        match family {
            Family::Inet => Ok(Self::Inet("localhost".into(), 0)),
            Family::Inet6 => Ok(Self::Inet6("localhost".into(), 0)),
            Family::Unix => Ok(Self::Unix(new_directory()?.join(format!("listener-{}", name()?)))),
        }
    }
}

fn new_directory() -> Result<PathBuf> {
    let parent = std::env::temp_dir();
    loop {
        let path = parent.join(format!("{DIRECTORY}{}", name()?));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
                return Err(Error::os(errno, format!("cannot make the directory {}", path.display())));
            }
        }
    }
}

/// Removes the directory of a path that [`Address::arbitrary`] made, once nothing is in it.
pub(super) fn remove_directory_of(path: &Path) {
    let Some(parent) = path.parent() else { return };
    let name = parent.file_name().unwrap_or_default().to_string_lossy();
    if name.strip_prefix(DIRECTORY).is_some_and(|rest| rest.len() == LENGTH) {
        let _ = fs::remove_dir(parent); // ENOTEMPTY: another listener is there; anything else: it is gone or not ours
    }
}

/// As Python's `tempfile` has it.
const LETTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz0123456";
const LENGTH: usize = 8;

fn name() -> Result<String> {
    let mut bytes = [0; LENGTH];
    random::fill(&mut bytes).map_err(|errno| Error::os(errno, "cannot make a name"))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}
