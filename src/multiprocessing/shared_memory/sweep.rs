//! Removing names: unused names, and single names on request.

use std::os::unix::ffi::OsStrExt;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::flock::try_lock_exclusive;
use ossature_sys::posix_ipc::{self, Name, Status};
use ossature_sys::process::effective_user;
use ossature_sys::random;

/// The prefix of the name that an object has before it is published, and after it has lost its name.
const PRIVATE: &[u8] = b".ossature-";
/// The number of digits after the prefix.
const DIGITS: usize = 16;

/// The identity of a file: its file system and its number.
pub(super) type Id = (u64, u64);

/// The permissions of an object, and the sticky bit of an object whose name is removed with its last user.
pub(super) const MODE: u32 = 0o600;
pub(super) const TRACKED: u32 = 0o1000;

/// Makes a unique private name.
pub(super) fn private_name() -> Result<Name> {
    let mut bytes = [0; DIGITS / 2];
    random::fill(&mut bytes)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Name::new(&[PRIVATE, digits.as_bytes()].concat())
}

/// Whether a file has a private name. The name of a semaphore has a prefix before it.
fn is_private(file: &[u8]) -> bool {
    let name = file.strip_prefix(b"sem.").unwrap_or(file);
    let digits = name.strip_prefix(PRIVATE).unwrap_or_default();
    digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Removes the names of this user's objects that no process with this library uses. Names that cannot be removed stay.
pub(crate) fn remove_unused() {
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            if let Ok(name) = Name::new(entry.file_name().as_bytes()) {
                let _ = remove_if_unused(&name, None);
            }
        }
    }
}

/// Removes a name if its object is unused, is private or tracked, and has the given id, if any. Returns whether the
/// name was removed.
pub(super) fn remove_if_unused(name: &Name, id: Option<Id>) -> Result<bool> {
    let is_private = is_private(name.as_bytes());
    let is_ours = |it: &Status| {
        let is_marked = is_private || it.mode & TRACKED != 0;
        it.is_file && it.user == effective_user() && is_marked && id.is_none_or(|id| id == it.id)
    };
    // Without a descriptor first, because most files are other people's.
    if !is_ours(&Status::of_name(name)?) {
        return Ok(false);
    }
    let object = posix_ipc::open(name)?;
    let status = Status::of(&object)?;
    if !is_ours(&status) || !try_lock_exclusive(&object)? {
        return Ok(false);
    }
    // The process that had the lock before may have removed the name, and another object may have it by now.
    if Status::of_name(name)?.id != status.id {
        return Ok(false);
    }
    // No process uses the object, and no process can begin to use it until the lock is released.
    match is_private {
        // No private name is ever given twice.
        true => posix_ipc::unlink(name).map(|()| true),
        false => take_away(name, status.id),
    }
}

/// Removes a name if this object has it, and returns whether the object had it. Another object that took the name
/// meanwhile keeps it.
pub(super) fn take_away(name: &Name, id: Id) -> Result<bool> {
    let private = private_name()?;
    match posix_ipc::rename(name, &private) {
        Err(Errno::NOENT) => return Ok(false),
        done => done?,
    }
    if Status::of_name(&private)?.id == id {
        return posix_ipc::unlink(&private).map(|()| true);
    }
    posix_ipc::rename(&private, name).map(|()| false)
}
