//! A directory for the named files and sockets of one program's processes.
//!
//! Each process that uses the directory holds a shared lock on a file in it. The kernel releases the lock when the
//! process ends, however the process ends. The next program that makes such a directory removes the directories that no
//! process uses any more. This code only touches a directory with that file, the mark of this library, because
//! CPython's directories have the same names.
//!
//! | state of a directory | name | if its maker is killed in this state |
//! | --- | --- | --- |
//! | made | `.ossature-` and letters, a name of this library only | the next program removes it, if it is empty |
//! | marked, and locked | the same | the next program finds the mark without a lock, and removes it |
//! | in use | `pymp-` and letters, by rename(2) | as before |
//! | about to be removed | `.ossature-` and letters again, by rename(2) | the next program continues the removal: the mark is removed last |
//!
//! So a directory without a mark never has CPython's name. If another program removes the directory as unused between
//! two of these steps, its maker makes another directory.

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
use crate::multiprocessing::state::{Hold, TempDir, process_state};

/// The size of a Unix socket's address in bytes, with the null at its end.
const SUN_PATH: usize = 108;
/// The longest path below the base: the directory, and a socket in it.
const BELOW: usize = "/pymp-XXXXXXXX/listener-XXXXXXXX".len() + 1;
/// The beginning of the directories' names.
const PREFIX: &str = "pymp-";
/// The beginning of a directory's name until it is marked and locked.
const UNFINISHED: &str = ".ossature-";
/// The file that distinguishes a directory of this library from a directory of CPython.
const MARK: &str = ".ossature";
/// The maximum number of leftover directories that one process removes, so that its start does not take long.
const MOST: usize = 16;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The temporary directory of this process and of the children that it starts from now on. The directory is `pymp-` and
/// eight letters below [`std::env::temp_dir`], for this user only. The first call makes the directory. The process that
/// made it removes it with all its contents at its end, as one of the last steps.
///
/// A killed process leaves its directory, or a directory `.ossature-` and letters that it had begun to make. The next
/// program that makes a directory in the same place removes it, unless a child of the killed process still uses it.
///
/// If the directory cannot be made below [`std::env::temp_dir`], it is below `/tmp`, `/var/tmp` or `/usr/tmp` instead.
/// The same happens if the path of a socket in it would be too long for an address.
///
/// Differs from Python, which leaves the directory of a killed process, and fails if `TMPDIR` became unusable after its
/// first use.
///
/// # Errors
/// The errors of mkdir(2) if none of these places is usable: `EACCES`, `ENOSPC`, `EROFS`; `EMFILE` when no descriptor
/// is left for the lock.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::util::temp_dir;
///
/// let directory = temp_dir()?; // removed at the end of the process
/// std::fs::write(directory.join("socket-or-file"), b"x")?;
/// assert_eq!(temp_dir()?, directory, "one for each process");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "get_temp_dir")]
pub fn temp_dir() -> Result<PathBuf> {
    let mut known = process_state().temp_dir.lock();
    if let Some(directory) = known.as_mut() {
        if directory.hold.is_none() {
            directory.hold = hold(&directory.path).map_err(|errno| failed(errno, &directory.path))?;
        }
        if directory.hold.is_some() {
            return Ok(directory.path.clone());
        }
        // The maker of the directory has ended and removed it: this process makes its own directory.
    }
    // Logged after the lock is released, because the program's logger may ask for the directory, too.
    let mut notes = Vec::new();
    let made = make_somewhere(&mut notes)?;
    let (path, doomed) = (made.path.clone(), made.path.clone());
    // A directory that cannot be removed, because another user's file is in it, stays for the next program.
    let cleared = move || {
        remove(&doomed);
    };
    Finalize::at_exit(-100, cleared).leave();
    *known = Some(made);
    drop(known);
    notes.iter().for_each(|note| info!("{note}"));
    info!("created temp directory {}", path.display());
    Ok(path)
}

fn failed(errno: Errno, path: &Path) -> Error {
    Error::os(errno, format!("cannot make a temporary directory below {}", path.display()))
}

fn make_somewhere(notes: &mut Vec<String>) -> Result<TempDir> {
    let wanted = std::path::absolute(std::env::temp_dir()).unwrap_or_else(|_| std::env::temp_dir());
    let fits = |path: &Path| path.as_os_str().as_bytes().len() + BELOW <= SUN_PATH;
    let short = ["/tmp", "/var/tmp", "/usr/tmp"].map(PathBuf::from).into_iter().filter(|path| *path != wanted);
    let unnamed = |errno| Error::os(errno, "cannot generate a name for the temporary directory");
    let (mut name, mut first) = (letters().map_err(unnamed)?, None);
    for base in [wanted.clone()].into_iter().filter(|wanted| fits(wanted)).chain(short) {
        remove_what_others_left(&base, notes);
        match make(&base, &mut name) {
            Ok(made) => {
                if let Some(errno) = first {
                    let (unusable, place) = (wanted.display(), base.display());
                    notes.push(format!("{unusable} cannot be used ({errno}): {place} is used instead"));
                }
                return Ok(made);
            }
            Err(errno) => {
                first.get_or_insert(errno);
            }
        }
    }
    // A path that is too long for a socket's address is still usable for other files.
    make(&wanted, &mut name).map_err(|errno| failed(first.unwrap_or(errno), &wanted))
}

/// Makes a directory with this name, or with the next free name.
fn make(base: &Path, name: &mut String) -> std::result::Result<TempDir, Errno> {
    loop {
        let [path, unfinished] = [PREFIX, UNFINISHED].map(|prefix| base.join(format!("{prefix}{name}")));
        match DirBuilder::new().mode(0o700).create(&unfinished) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                *name = letters()?;
                continue;
            }
            made => made.map_err(errno)?,
        }
        match finish(&unfinished, &path) {
            // The name is taken, or another process has removed the directory before it was locked.
            Ok(None) | Err(Errno::NOENT | Errno::EXIST | Errno::NOTEMPTY) => *name = letters()?,
            Ok(hold) => return Ok(TempDir { path, hold }),
            Err(errno) => {
                remove_unfinished(&unfinished);
                return Err(errno);
            }
        }
        remove_unfinished(&unfinished);
    }
}

/// Marks and locks a directory, and renames it to its final name.
fn finish(unfinished: &Path, path: &Path) -> std::result::Result<Option<Hold>, Errno> {
    File::create_new(unfinished.join(MARK)).map_err(errno)?;
    let Some(hold) = hold(unfinished)? else { return Ok(None) };
    // The rename would replace an empty directory of the same name.
    if fs::symlink_metadata(path).is_ok() {
        return Err(Errno::EXIST);
    }
    fs::rename(unfinished, path).map_err(errno)?;
    Ok(Some(hold))
}

/// Removes a directory with its contents, the mark last; returns whether all is removed. If a process is killed
/// meanwhile, the next program recognises the directory as one of this library, and removes it. The same holds if
/// something in the directory cannot be removed, such as a file of another user: the mark stays as well.
fn remove(path: &Path) -> bool {
    let renamed = letters().ok().and_then(|letters| {
        let unfinished = path.with_file_name(format!("{UNFINISHED}{letters}"));
        fs::rename(path, &unfinished).ok().map(|()| unfinished)
    });
    let path = renamed.as_deref().unwrap_or(path);
    let Ok(entries) = fs::read_dir(path) else { return false };
    let removed = entries.filter(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != MARK)).map(|entry| {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    });
    // If one entry cannot be removed, the others are removed all the same.
    let is_empty = removed.fold(true, |all, removed| all & removed.is_ok());
    is_empty && remove_unfinished(path)
}

/// Removes a directory that contains at most the mark; returns whether it did. These two calls need no descriptor.
fn remove_unfinished(path: &Path) -> bool {
    let _ = fs::remove_file(path.join(MARK));
    fs::remove_dir(path).is_ok()
}

/// Locks the mark of a directory, so that others do not remove the directory. `None` if the directory no longer exists,
/// or belongs to another user because this process has changed its user.
fn hold(directory: &Path) -> std::result::Result<Option<Hold>, Errno> {
    let mark = directory.join(MARK);
    match FileLock::try_shared(&c_string(&mark)?) {
        // If the lock is taken, another process is about to remove the directory.
        Ok(Some(lock)) => Ok(is_still(&mark, &lock)?.then_some(Hold::Locked { _lock: lock })),
        Ok(None) => Ok(None),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::BADF | Errno::INVAL) => Ok(Some(Hold::Unlockable)),
        Err(errno) => Err(errno),
    }
}

fn c_string(path: &Path) -> std::result::Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

/// Whether the mark is still the file that was locked.
fn is_still(mark: &Path, lock: &FileLock) -> std::result::Result<bool, Errno> {
    let locked = lock.as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata()).map_err(errno)?;
    let named = fs::symlink_metadata(mark);
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())))
}

/// Removes the directories of this library below `base` that no process uses any more. A directory that cannot be read
/// or removed stays.
fn remove_what_others_left(base: &Path, notes: &mut Vec<String>) {
    let letters_of = |name: &[u8], prefix: &str| {
        let letters = name.strip_prefix(prefix.as_bytes());
        letters.is_some_and(|letters| letters.len() == 8 && letters.iter().all(|letter| LETTERS.contains(letter)))
    };
    let is_name = |name: &[u8]| letters_of(name, PREFIX) || letters_of(name, UNFINISHED);
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let named = entries.filter(|entry| is_name(entry.file_name().as_bytes())).map(|entry| entry.path());
    for path in named.filter(|path| is_private(path)).take(MOST) {
        let mark = path.join(MARK);
        if !mark.is_file() {
            // Only an unfinished directory has no mark here. If its maker lives, the maker makes another directory.
            if fs::remove_dir(&path).is_ok() {
                notes.push(format!("removed temp directory {}, which a process left unfinished", path.display()));
            }
            continue;
        }
        let lock = c_string(&mark).and_then(|mark| FileLock::try_exclusive(&mark));
        // The lock is held during the removal, so that a process that inherits the directory never finds it half
        // removed.
        let Ok(Some(lock)) = lock else { continue };
        if is_still(&mark, &lock) == Ok(true) && remove(&path) {
            notes.push(format!("removed temp directory {}, which a process left behind", path.display()));
        }
    }
}

/// Whether the path is a directory of this library and this user that no other user may enter.
fn is_private(path: &Path) -> bool {
    let private = |it: fs::Metadata| it.is_dir() && it.uid() == effective_user() && it.mode() & 0o777 == 0o700;
    let is_unfinished = path.file_name().is_some_and(|name| name.as_bytes().starts_with(UNFINISHED.as_bytes()));
    fs::symlink_metadata(path).is_ok_and(private) && (is_unfinished || path.join(MARK).is_file())
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Generates eight random letters.
pub(crate) fn letters() -> std::result::Result<String, Errno> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 32))).map(|letter| char::from(*letter)).collect())
}
