//! Listening at an address, including a path where a dead listener left its file.
//!
//! A socket file names a socket only while the socket is open. Afterwards the file prevents a bind to the path. A
//! connect of a datagram socket distinguishes the two states, and a listener does not notice this connect:
//!
//! | connect of a datagram socket | the file's socket |
//! | --- | --- |
//! | `EPROTOTYPE` | is open, and is a stream; it may not listen yet |
//! | success, `EPERM` | is open, and accepts datagrams |
//! | `ECONNREFUSED` | is closed, or not bound yet during a bind(2) |
//! | any other error | is unknown |
//!
//! **If two listeners start at once, one gets the path.** Files are removed by name, so a listener must not remove a
//! file that another has just bound. Every listener of this crate holds a lock over bind(2), listen(2) and removal.
//! Within the lock a dead file stays dead, and a free path stays free. The lock is flock(2) on a file beside the path.
//! The kernel releases the lock when the process ends, however the process ends. The holder removes the lock file at
//! the end. So the next holder checks that the locked file is still there under its name. A listener removes its own
//! socket file while its socket still lives, so another listener never mistakes the file for dead.
//!
//! **A process that may remove the lock file** can end the exclusion: a second listener then makes and locks another
//! file. Before a removal the holder compares the locked file with the file of that name once more. Between that check
//! and the removal another program can still interfere. It needs write permission in the directory, which also permits
//! it to remove the socket file itself.
//!
//! **Other programs** do not lock. Their bind(2) makes the file a moment before the file names the socket. So a file
//! counts as dead only from an age of [`YOUNG`] on.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result as SysResult};
use ossature_sys::fd::{AboveStandard, AsFd};
use ossature_sys::flock::FileLock;
use ossature_sys::socket::{self, Kind, Socket, UnixAddress};

use super::Address;
use crate::error::{Error, Result};
use crate::multiprocessing::logging::info;
use crate::multiprocessing::util::Finalize;

/// The maximum wait for another listener that binds to the same path. A bind takes microseconds, unless its process is
/// stopped.
const PATIENCE: Duration = Duration::from_secs(1);
/// The maximum time of another program's bind(2) between creating the file and binding the socket.
const YOUNG: Duration = Duration::from_millis(100);
/// How often other listeners may take the path meanwhile.
const TRIES: usize = 8;

/// A listening socket.
pub(super) struct Bound {
    pub(super) socket: Socket,
    /// The address that the system reports.
    pub(super) address: socket::Address,
    pub(super) removed_stale_file: bool,
}

/// Listens at `candidate`, one of the system's addresses for `address`.
pub(super) fn listen(address: &Address, candidate: &socket::Address, backlog: u32) -> Result<Bound> {
    let bound = match candidate {
        socket::Address::Unix(unix) => match unix.as_path() {
            Some(path) => {
                return listen_at_path(address, candidate, unix, Path::new(OsStr::from_bytes(path)), backlog);
            }
            None => bind(candidate, backlog),
        },
        _ => bind(candidate, backlog),
    };
    bound.map_err(|errno| refused(address, errno))
}

fn refused(address: &Address, errno: Errno) -> Error {
    Error::os(errno, format!("cannot listen at {address}"))
}

fn in_use(address: &Address, why: &str) -> Error {
    Error::os(Errno::ADDRINUSE, format!("cannot listen at {address}: {why}"))
}

fn bind(candidate: &socket::Address, backlog: u32) -> SysResult<Bound> {
    let family = match candidate {
        socket::Address::Ip(address) if address.is_ipv4() => socket::Family::V4,
        socket::Address::Ip(_) => socket::Family::V6,
        _ => socket::Family::Unix,
    };
    let socket = Socket::new(family, Kind::Stream)?.above_standard()?;
    if family != socket::Family::Unix {
        socket.set_reuse_address()?;
    }
    socket.bind(candidate)?;
    let listening = socket.listen(backlog).and_then(|()| socket.local_address());
    if let (Err(_), socket::Address::Unix(unix)) = (&listening, candidate) {
        if let Some(path) = unix.as_path() {
            let _ = fs::remove_file(OsStr::from_bytes(path)); // this bind made it
        }
    }
    Ok(Bound { socket, address: listening?, removed_stale_file: false })
}

/// The file at a path, and its owner.
enum Occupant {
    Living,
    NotASocket,
    Dead { file: (u64, u64), age: Duration },
    Unknown(Errno),
    Nothing,
}

fn listen_at_path(
    address: &Address,
    candidate: &socket::Address,
    unix: &UnixAddress,
    path: &Path,
    backlog: u32,
) -> Result<Bound> {
    let mut removed_stale_file = false;
    let mut waited_for = None;
    for _ in 0..TRIES {
        let lock = PathLock::of(path);
        match bind(candidate, backlog) {
            Err(Errno::ADDRINUSE) => {}
            bound => {
                let bound = bound.map_err(|errno| refused(address, errno))?;
                return Ok(Bound { removed_stale_file, ..bound });
            }
        }
        let file = match occupant(candidate, path)? {
            Occupant::Nothing => continue,
            Occupant::Living => return Err(in_use(address, "a process uses this path; choose another path")),
            Occupant::NotASocket => {
                return Err(in_use(address, "the file at this path is not a socket; choose another path"));
            }
            Occupant::Unknown(errno) => {
                let why = format!(
                    "cannot find out whether a process uses this path ({errno}); if none does, remove the file"
                );
                return Err(in_use(address, &why));
            }
            Occupant::Dead { file, age } if age < YOUNG && waited_for != Some(file) => {
                drop(lock);
                thread::sleep(YOUNG - age);
                waited_for = Some(file);
                continue;
            }
            Occupant::Dead { file, .. } => file,
        };
        if lock.as_ref().is_some_and(|lock| !lock.is_still_there()) {
            continue; // somebody removed the lock file, so another listener may hold a lock too
        }
        if lock.is_none() {
            let why = "a dead listener left its file there, and it stays because no lock file can be locked beside it; remove the file";
            return Err(in_use(address, why));
        }
        unix.remove_file().map_err(|error| {
            in_use(address, &format!("a dead listener left its file there, and it cannot be removed ({error})"))
        })?;
        info!("removed the socket file {address}, inode {}, of a dead listener", file.1);
        removed_stale_file = true;
        match bind(candidate, backlog) {
            Err(Errno::ADDRINUSE) => {} // of a program that does not lock
            bound => {
                let bound = bound.map_err(|errno| refused(address, errno))?;
                return Ok(Bound { removed_stale_file, ..bound });
            }
        }
    }
    Err(in_use(address, "the file at this path changed at each attempt; choose another path"))
}

/// The right to bind to a path, and to remove a dead file there, among the listeners of this crate.
struct PathLock {
    name: PathBuf,
    /// The identity of the locked file.
    file: (u64, u64),
    _lock: FileLock,
}

impl PathLock {
    /// Locks the file beside the path; `None` if it cannot be locked, or another process holds the lock for too long.
    fn of(path: &Path) -> Option<Self> {
        let mut name = OsString::from(".");
        name.push(path.file_name()?);
        name.push(".bind-lock");
        let name = path.with_file_name(name);
        let c_name = CString::new(name.as_os_str().as_bytes()).ok()?;
        let patience = Deadline::after(PATIENCE);
        let mut pause = Duration::from_micros(50);
        loop {
            if let Some(lock) = FileLock::try_create(&c_name).ok()? {
                let file = File::from(lock.as_fd().try_clone_to_owned().ok()?);
                let data = file.metadata().ok().filter(Metadata::is_file)?;
                let lock = Self { name: name.clone(), file: identity(&data), _lock: lock };
                if lock.is_still_there() {
                    return Some(lock);
                }
                // The previous holder removed the file.
            } else {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
            if patience.has_passed() {
                return None;
            }
        }
    }
}

impl PathLock {
    /// Whether the locked file is still the file of that name.
    fn is_still_there(&self) -> bool {
        look(&self.name).is_some_and(|data| identity(&data) == self.file)
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // The file of another holder stays.
        if self.is_still_there() {
            let _ = fs::remove_file(&self.name); // it is locked still; what cannot be removed is locked again by the next
        }
    }
}

fn occupant(candidate: &socket::Address, path: &Path) -> Result<Occupant> {
    let Some(data) = look(path) else { return Ok(Occupant::Nothing) };
    if !data.file_type().is_socket() {
        return Ok(Occupant::NotASocket);
    }
    let probe = Socket::new(socket::Family::Unix, Kind::Datagram)
        .and_then(AboveStandard::above_standard)
        .map_err(|errno| Error::os(errno, format!("cannot make a socket to check who uses {}", path.display())))?;
    Ok(match probe.connect(candidate, Deadline::NOW) {
        Err(Errno::CONNREFUSED) => match look(path) {
            // The path named the same file all the time.
            Some(now) if identity(&now) == identity(&data) => Occupant::Dead { file: identity(&data), age: age(&data) },
            _ => Occupant::Nothing,
        },
        Err(Errno::NOENT) => Occupant::Nothing,
        Ok(_) | Err(Errno::PROTOTYPE | Errno::PERM) => Occupant::Living,
        Err(errno) => Occupant::Unknown(errno),
    })
}

fn look(path: &Path) -> Option<Metadata> {
    fs::symlink_metadata(path).ok()
}

/// Device and inode.
fn identity(data: &Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

/// The age of a file; zero if the clock was set back.
fn age(data: &Metadata) -> Duration {
    let changed = Duration::new(data.ctime().try_into().unwrap_or(0), data.ctime_nsec().try_into().unwrap_or(0));
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed).unwrap_or_default()
}

/// Removes the file of a path when the value is dropped, or at the end of this process. Another process does not remove
/// the file, and a file that has replaced it is not removed.
pub(super) fn remove_at_the_end(address: &Address) -> Option<Finalize> {
    let Address::Unix(path) = address else { return None };
    // The current directory may change before then.
    let path: PathBuf = std::path::absolute(path).ok()?;
    let made = identity(&look(&path)?);
    Some(Finalize::at_exit(0, move || {
        if look(&path).is_some_and(|data| identity(&data) == made) {
            let _ = fs::remove_file(&path); // somebody was quicker
        }
    }))
}
