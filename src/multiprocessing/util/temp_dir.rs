//! A directory for what the processes of one program call by names.
//!
//! Each process that uses the directory holds a shared lock on a file in it, which goes with the process however that ends. So the next program
//! that makes one for itself can tell which are nobody's any more, because their maker was killed, and removes them. Only a
//! directory with that file, the mark of this library, is ever touched: CPython's have the same names.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ossature_sys::errno::Errno;
use ossature_sys::flock::FileLock;
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
    /// What keeps others from removing it; a process that was told of the directory has it from its first use on.
    hold: Option<Hold>,
}

/// How a process keeps others from removing a directory.
enum Hold {
    Locked {
        _lock: FileLock,
    },
    /// The file system has no locks, so nobody else can take one to remove it either.
    Unlockable,
}

impl TempDir {
    pub(crate) fn told(path: PathBuf) -> Self {
        Self { path, hold: None }
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
        if told.hold.is_none() {
            told.hold = hold(&told.path).map_err(|errno| failed(errno, &told.path))?;
        }
        if told.hold.is_some() {
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
    let unnamed = |errno| Error::os(errno, "cannot make a name for the temporary directory");
    let (mut name, mut first) = (letters().map_err(unnamed)?, None);
    for base in [wanted.clone()].into_iter().filter(|wanted| fits(wanted)).chain(short) {
        remove_what_others_left(&base, notes);
        match make(&base, &mut name) {
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
    make(&wanted, &mut name).map_err(|errno| failed(first.unwrap_or(errno), &wanted))
}

/// Makes one of that name, or of the next that is free.
fn make(base: &Path, name: &mut String) -> std::result::Result<TempDir, Errno> {
    loop {
        let path = base.join(format!("{PREFIX}{name}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                *name = letters()?;
                continue;
            }
            made => made.map_err(errno)?,
        }
        match File::create_new(path.join(MARK)).map_err(errno).and_then(|_| hold(&path)) {
            Ok(None) => *name = letters()?, // taken for one that was left, in the moment before it was locked
            Ok(hold) => return Ok(TempDir { path, hold }),
            Err(errno) => {
                let _ = fs::remove_dir_all(&path); // as much of it as can be
                return Err(errno);
            }
        }
    }
}

/// Locks the mark of a directory against its removal by others; `None` when it is gone, or is not for this process, which has become
/// another user's.
fn hold(directory: &Path) -> std::result::Result<Option<Hold>, Errno> {
    let mark = directory.join(MARK);
    match FileLock::try_shared(&c_string(&mark)?) {
        // Without a lock somebody is about to remove it.
        Ok(lock) => Ok(lock.filter(|lock| is_still(&mark, lock)).map(|lock| Hold::Locked { _lock: lock })),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::BADF | Errno::INVAL) => Ok(Some(Hold::Unlockable)),
        Err(errno) => Err(errno),
    }
}

fn c_string(path: &Path) -> std::result::Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

/// Whether the mark is the file that was locked.
fn is_still(mark: &Path, lock: &FileLock) -> bool {
    let locked = lock.as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    let (Ok(named), Ok(locked)) = (fs::symlink_metadata(mark), locked) else { return false };
    (named.dev(), named.ino()) == (locked.dev(), locked.ino())
}

/// Removes the directories of this library below `base` that no process uses any more. What cannot be looked into or removed stays.
fn remove_what_others_left(base: &Path, notes: &mut Vec<String>) {
    let is_name = |name: &[u8]| {
        let letters = name.strip_prefix(PREFIX.as_bytes());
        letters.is_some_and(|letters| letters.len() == 8 && letters.iter().all(|letter| LETTERS.contains(letter)))
    };
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let named = entries.filter(|entry| is_name(entry.file_name().as_bytes())).map(|entry| entry.path());
    for path in named.filter(|path| is_private(path)).take(MOST) {
        let mark = path.join(MARK);
        let lock = c_string(&mark).and_then(|mark| FileLock::try_exclusive(&mark));
        // It is held over the removal, so that a process which was told of the directory finds it gone, not half gone.
        let Ok(Some(lock)) = lock else { continue };
        if is_still(&mark, &lock) {
            let _ = fs::remove_dir_all(&path);
            notes.push(format!("removed temp directory {}, which a process had left", path.display()));
        }
    }
}

/// Whether it is a directory of this user that nobody else may enter, and marked.
fn is_private(path: &Path) -> bool {
    let private = |it: fs::Metadata| it.is_dir() && it.uid() == effective_user() && it.mode() & 0o777 == 0o700;
    fs::symlink_metadata(path).is_ok_and(private) && path.join(MARK).is_file()
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
