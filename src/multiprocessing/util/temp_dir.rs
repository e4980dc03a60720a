//! A directory for what the processes of one program call by names.
//!
//! Each process that uses the directory holds a shared lock on it, which goes with the process however that ends. So the next program
//! that makes one for itself can tell which are nobody's any more, because their maker was killed, and removes them. Only a
//! directory with the mark of this library in it is ever touched: CPython's have the same names.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ossature_sys::errno::Errno;
use ossature_sys::fd::{FileLock, open_directory, try_lock_file};
use ossature_sys::process::effective_user;
use ossature_sys::random;

use super::Finalize;
use crate::error::{Error, Result};
use crate::multiprocessing::logging::info;
use crate::multiprocessing::process::era::era;

/// How many bytes the address of a Unix socket holds, the null at its end included.
const SUN_PATH: usize = 108;
/// The longest that is put below the base: the directory, and a socket in it.
const BELOW: usize = "/pymp-XXXXXXXX/listener-XXXXXXXX".len() + 1;
/// What the names begin with.
const PREFIX: &str = "pymp-";
/// The file that tells a directory of this library from one of CPython.
const MARK: &str = ".ossature";
/// How many directories of others one process removes at most, so that its start does not take long.
const MOST: usize = 16;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The directory that a process knows of.
pub(crate) struct TempDir {
    path: PathBuf,
    /// What holds the lock; a process that was told of the directory takes it at its first use.
    lock: Option<OwnedFd>,
}

impl TempDir {
    pub(crate) fn told(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    /// The same, for a child.
    pub(crate) fn again(&self) -> Self {
        Self::told(self.path.clone())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The directory of this process and of the children that it starts from now on: `pymp-` and eight letters below
/// [`std::env::temp_dir`], for this user only. Made when it is first asked for; removed with all that is in it at
/// the end of the process that made it, among the last things. What a killed process left is removed when another program first asks
/// for its own directory below the same one, unless a child of the killed process uses it still.
///
/// Where the path of a socket in it would be longer than an address holds, and where it cannot be made, it lies below `/tmp`,
/// `/var/tmp` or `/usr/tmp` instead.
///
/// Differs from Python, which leaves what a killed process made, and fails where `TMPDIR` became unusable after its first use.
///
/// # Errors
/// What making a directory may answer, if none of these places is usable: `EACCES`, `ENOSPC`, `EROFS`; `EMFILE` when no descriptor is
/// left for the lock.
#[doc(alias = "get_temp_dir")]
pub fn temp_dir() -> Result<PathBuf> {
    let mut known = era().temp_dir.lock();
    if let Some(told) = known.as_mut() {
        if told.lock.is_none() {
            told.lock = hold(&told.path).map_err(|errno| failed(errno, &told.path))?;
        }
        if told.lock.is_some() {
            return Ok(told.path.clone());
        }
        // Its maker is gone, and so is the directory: this process has one of its own from now on.
    }
    // Said when nothing is locked any more, for a logger of the program may want the directory, too.
    let mut notes = Vec::new();
    let made = make_somewhere(&mut notes)?;
    let (path, doomed) = (made.path.clone(), made.path.clone());
    // What cannot be removed, because another user's file is in it, stays.
    Finalize::at_exit(-100, move || drop(fs::remove_dir_all(doomed))).leave();
    *known = Some(made);
    drop(known);
    notes.iter().for_each(|note| info!("{note}"));
    info!("created temp directory {}", path.display());
    Ok(path)
}

fn failed(errno: Errno, path: &Path) -> Error {
    Error::os(errno, format!("cannot make a directory below {}", path.display()))
}

fn make_somewhere(notes: &mut Vec<String>) -> Result<TempDir> {
    let wanted = std::path::absolute(std::env::temp_dir()).unwrap_or_else(|_| std::env::temp_dir());
    let fits = |path: &Path| path.as_os_str().as_bytes().len() + BELOW <= SUN_PATH;
    let short = ["/tmp", "/var/tmp", "/usr/tmp"].map(PathBuf::from).into_iter().filter(|path| *path != wanted);
    let mut first = None;
    for base in [wanted.clone()].into_iter().filter(|wanted| fits(wanted)).chain(short) {
        remove_what_others_left(&base, notes);
        match make(&base) {
            Ok(made) => {
                if let Some(errno) = first {
                    let (unusable, place) = (wanted.display(), base.display());
                    notes.push(format!("{unusable} cannot be used ({errno}): {place} takes its place"));
                }
                return Ok(made);
            }
            Err(errno) => {
                first.get_or_insert(errno);
            }
        }
    }
    // Longer than an address, it may still do for other files.
    make(&wanted).map_err(|errno| failed(first.unwrap_or(errno), &wanted))
}

fn make(base: &Path) -> std::result::Result<TempDir, Errno> {
    loop {
        let path = base.join(format!("{PREFIX}{}", letters()?));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(errno)?,
        }
        // The mark comes last: without it nobody takes the directory for one that was left.
        let lock = hold(&path).and_then(|lock| File::create_new(path.join(MARK)).map(|_| lock).map_err(errno));
        return match lock {
            Ok(lock) => Ok(TempDir { path, lock }),
            Err(errno) => {
                let _ = fs::remove_dir_all(&path); // as much of it as can be
                Err(errno)
            }
        };
    }
}

/// Locks a directory against its removal by others; `None` when it is gone. Where the file system has no locks, the descriptor holds
/// nothing, and nobody else can take a lock to remove it either.
fn hold(path: &Path) -> std::result::Result<Option<OwnedFd>, Errno> {
    let directory = match open(path) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    match try_lock_file(&directory, FileLock::Shared) {
        Ok(false) => return Ok(None), // somebody is about to remove it
        Ok(true) | Err(_) => {}
    }
    Ok(is_still(path, &directory).then_some(directory))
}

fn open(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    open_directory(&path)
}

/// Whether the path leads to the open directory, a private one of this user.
fn is_still(path: &Path, directory: &OwnedFd) -> bool {
    let opened = directory.try_clone().map(File::from).and_then(|file| file.metadata());
    let (Ok(named), Ok(opened)) = (fs::symlink_metadata(path), opened) else { return false };
    let ours = opened.uid() == effective_user() && opened.mode() & 0o777 == 0o700;
    ours && (named.dev(), named.ino()) == (opened.dev(), opened.ino())
}

/// Removes the directories of this library below `base` that no process uses any more. What cannot be looked into or removed stays.
fn remove_what_others_left(base: &Path, notes: &mut Vec<String>) {
    let is_name = |name: &[u8]| {
        let letters = name.strip_prefix(PREFIX.as_bytes());
        letters.is_some_and(|letters| letters.len() == 8 && letters.iter().all(|letter| LETTERS.contains(letter)))
    };
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let named = entries.filter(|entry| is_name(entry.file_name().as_bytes())).map(|entry| entry.path());
    for path in named.filter(|path| path.join(MARK).is_file()).take(MOST) {
        let Ok(directory) = open(&path) else { continue };
        // The lock is held over the removal, so that a process which was told of the directory finds it gone, not half gone.
        if try_lock_file(&directory, FileLock::Exclusive) == Ok(true) && is_still(&path, &directory) {
            let _ = fs::remove_dir_all(&path);
            notes.push(format!("removed temp directory {}, which a process had left", path.display()));
        }
    }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Eight letters that nobody has guessed.
pub(crate) fn letters() -> std::result::Result<String, Errno> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 32))).map(|letter| char::from(*letter)).collect())
}
