//! The life cycle of a named object: made under a private name, published, locked while in use, removed.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed; // says nothing about other memory: the mode of the file decides
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{self, Errno};
use ossature_sys::flock::try_lock_shared;
use ossature_sys::posix_ipc::{self, Name, Semaphore, Status};
use ossature_sys::process::{Resource, effective_user, rlimit};
use ossature_sys::random;

use super::sweep::{Id, MODE, TRACKED, private_name, remove_if_unused, remove_unused, take_away};
use crate::error::{Error, ErrorKind, Result};

/// The maximum number of tries with names that other objects have.
const TRIES: usize = 100;
/// The maximum time of a wait for an object that another process is removing.
const PATIENCE: Duration = Duration::from_secs(1);
/// The user whose objects every user accepts.
const ROOT: u32 = 0;

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Memory,
    Semaphore,
}

impl ObjectKind {
    /// Returns the file of an object with this name.
    fn file(self, name: &Name) -> errno::Result<Name> {
        match self {
            Self::Memory => Ok(*name),
            Self::Semaphore => Semaphore::file(name),
        }
    }

    /// Makes a random name in CPython's form.
    fn random_name(self) -> errno::Result<String> {
        const LETTERS: &[u8; 37] = b"abcdefghijklmnopqrstuvwxyz0123456789_";
        match self {
            Self::Memory => {
                let mut bytes = [0; 4];
                random::fill(&mut bytes)?;
                Ok(format!("psm_{:08x}", u32::from_ne_bytes(bytes)))
            }
            Self::Semaphore => {
                let mut bytes = [0; 8];
                random::fill(&mut bytes)?;
                let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
                Ok(format!("mp-{}", bytes.iter().map(letter).collect::<String>()))
            }
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "shared memory",
            Self::Semaphore => "semaphore",
        })
    }
}

/// The choice of an object's name.
#[derive(Clone, Copy)]
pub(crate) enum Naming<'n> {
    Given(&'n str),
    Random,
}

/// A name in `/dev/shm` that is removed with its last user, if it is tracked. The owner holds the lock, through a
/// mapping or a descriptor, and releases it before it drops this value.
#[derive(Debug)]
pub(crate) struct Object {
    kind: ObjectKind,
    name: String,
    file: Name,
    id: Id,
    tracked: AtomicBool,
}

/// An unpublished object: its private name is removed when this is dropped.
struct Unfinished(Name);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // The private name does not exist any more if the object was published.
        let _ = posix_ipc::unlink(&self.0);
    }
}

impl Object {
    /// Makes an object: runs `make` under a private name, then `fill` under the lock, and publishes the object.
    pub(crate) fn create<M, T>(
        kind: ObjectKind,
        naming: Naming<'_>,
        tracked: bool,
        make: impl Fn(&Name) -> errno::Result<(OwnedFd, M)>,
        fill: impl FnOnce(&OwnedFd, M) -> Result<T>,
    ) -> Result<(Self, OwnedFd, T)> {
        let given = match naming {
            Naming::Given(name) => Some(checked(kind, name)?),
            Naming::Random => None,
        };
        remove_unused();
        let wanted = given.as_ref().map_or("", |(name, _)| name);
        let failed = |errno| failed(errno, kind, wanted);
        let (unfinished, fd, made) = begin(kind, make).map_err(failed)?;
        let value = fill(&fd, made)?;
        let id = Status::of(&fd).map_err(failed)?.id;
        if tracked {
            posix_ipc::set_mode(&fd, MODE | TRACKED).map_err(failed)?;
        }
        let mut tries = 0;
        loop {
            let (name, file) = match &given {
                Some(given) => given.clone(),
                None => checked(kind, &kind.random_name().map_err(failed)?)?,
            };
            tries += 1;
            match posix_ipc::rename(&unfinished.0, &file) {
                Ok(()) => {
                    let tracked = tracked.into();
                    return Ok((Self { kind, name, file, id, tracked }, fd, value));
                }
                Err(Errno::EXIST) if given.is_none() && tries < TRIES => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Opens an existing object, and locks it if it is tracked.
    pub(crate) fn open(kind: ObjectKind, name: &str) -> Result<(Self, OwnedFd, Status)> {
        let (name, file) = checked(kind, name)?;
        remove_unused();
        let deadline = Deadline::after(PATIENCE);
        let failed = |errno| failed(errno, kind, &name);
        loop {
            let fd = posix_ipc::open(&file).map_err(failed)?;
            let status = Status::of(&fd).map_err(failed)?;
            if !status.is_file {
                let message =
                    format!("{name} cannot be opened as a {kind}: it is not a regular file; choose another name");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            // Any user may take a free name, and the owner of a file may cut it short. Root may do that to every file.
            if status.user != effective_user() && status.user != ROOT {
                return Err(failed(Errno::ACCESS));
            }
            let tracked = status.mode & TRACKED != 0;
            if !tracked || has_lock(&fd, &file, status.id).map_err(failed)? {
                let object = Self { kind, name, file, id: status.id, tracked: tracked.into() };
                return Ok((object, fd, status));
            }
            // Its name is being removed, or was just removed: the next attempt shows which.
            if deadline.has_passed() {
                return Err(failed(Errno::BUSY));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Opens a descriptor that keeps the object in use until another process receives it.
    pub(crate) fn keeper(&self) -> Result<OwnedFd> {
        let (again, fd, _) = Self::open(self.kind, &self.name)?;
        again.tracked.store(false, Relaxed); // it has nothing to remove: this object is in use
        if again.id == self.id { Ok(fd) } else { Err(failed(Errno::NOENT, self.kind, &self.name)) }
    }

    /// Whether this object is the file behind the descriptor.
    pub(crate) fn is_kept_by(&self, keeper: &OwnedFd) -> bool {
        Status::of(keeper).is_ok_and(|kept| kept.id == self.id)
    }

    /// Whether the name still belongs to this object, not to another object that took it.
    pub(crate) fn has_its_name(&self) -> errno::Result<bool> {
        has_name(&self.file, self.id)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked.load(Relaxed)
    }

    /// Stops tracking an object that this process made or opened: its name stays until [`unlink`](Self::unlink).
    pub(crate) fn untrack(&self, fd: &OwnedFd) -> Result<()> {
        posix_ipc::set_mode(fd, MODE).map_err(|errno| failed(errno, self.kind, &self.name))?;
        self.tracked.store(false, Relaxed);
        Ok(())
    }

    /// Removes the name, if the object still has it.
    pub(crate) fn unlink(&self) -> Result<()> {
        match take_away(&self.file, self.id) {
            Ok(true) => Ok(()),
            Ok(false) => Err(failed(Errno::NOENT, self.kind, &self.name)),
            Err(errno) => Err(failed(errno, self.kind, &self.name)),
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if self.is_tracked() {
            // An error means that another process uses the object, or that the name was removed.
            let _ = remove_if_unused(&self.file, Some(self.id));
        }
    }
}

/// Removes the name, whichever object has it.
pub(super) fn unlink(kind: ObjectKind, name: &str) -> Result<()> {
    let (name, file) = checked(kind, name)?;
    posix_ipc::unlink(&file).map_err(|errno| failed(errno, kind, &name))
}

/// Makes an object under a private name, and locks it.
fn begin<M>(
    kind: ObjectKind,
    make: impl Fn(&Name) -> errno::Result<(OwnedFd, M)>,
) -> errno::Result<(Unfinished, OwnedFd, M)> {
    for _ in 0..TRIES {
        let name = private_name()?;
        let file = kind.file(&name)?;
        let (fd, made) = match make(&name) {
            Err(Errno::EXIST) => continue,
            done => done?,
        };
        let unfinished = Unfinished(file);
        // Between these two steps it looks like an object of a killed process, and another process may have removed it.
        if has_lock(&fd, &unfinished.0, Status::of(&fd)?.id)? {
            return Ok((unfinished, fd, made));
        }
    }
    Err(Errno::BUSY)
}

/// Takes the shared lock; returns whether the object still has its name then.
fn has_lock(fd: &OwnedFd, file: &Name, id: Id) -> errno::Result<bool> {
    Ok(try_lock_shared(fd)? && has_name(file, id)?)
}

fn has_name(file: &Name, id: Id) -> errno::Result<bool> {
    match Status::of_name(file) {
        Err(Errno::NOENT) => Ok(false),
        done => Ok(done?.id == id),
    }
}

/// Refuses a file longer than this process may write. Beyond this limit the kernel sends SIGXFSZ, which by default ends
/// the program.
pub(crate) fn check_file_size(len: usize) -> errno::Result<()> {
    match rlimit(Resource::Fsize)?.current {
        Some(most) if len as u64 > most => Err(Errno::FBIG),
        _ => Ok(()),
    }
}

/// Returns a name without the slash of C, and its file.
fn checked(kind: ObjectKind, name: &str) -> Result<(String, Name)> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let file = Name::new(bare.as_bytes()).and_then(|name| kind.file(&name)).map_err(|_| {
        let most = if kind == ObjectKind::Memory { 255 } else { 251 };
        let message = format!(
            "{name:?} cannot be the name of a {kind}: a name has 1 to {most} bytes, and no slash or null after the first"
        );
        Error::new(ErrorKind::InvalidInput, message)
    })?;
    Ok((bare.to_owned(), file))
}

#[cold]
pub(crate) fn failed(errno: Errno, kind: ObjectKind, name: &str) -> Error {
    let object = if name.is_empty() { format!("a {kind}") } else { format!("the {kind} {name}") };
    let why = match errno {
        Errno::EXIST => "exists already: open it, or unlink its name first",
        Errno::NOENT => {
            "does not exist (any more): the process that makes it must keep it until others have opened it, and /dev/shm must exist"
        }
        Errno::NOSPC => {
            "has no room in /dev/shm: unlink unused names, or make it larger (`mount -o remount,size=...`, `docker run --shm-size=...`)"
        }
        Errno::NOMEM => "needs more memory than is available: free memory, or use less",
        Errno::FBIG => "is larger than the limit for files: raise RLIMIT_FSIZE (`ulimit -f`)",
        Errno::ACCESS | Errno::PERM => {
            "belongs to another user, or this user may not open it: run as its owner, or choose another name"
        }
        Errno::BUSY => "is locked exclusively by another process, which may be stopped",
        Errno::MFILE | Errno::NFILE => "needs a descriptor, and none is left (`ulimit -n`)",
        _ => "cannot be used",
    };
    Error::os(errno, format!("{object} {why}"))
}
