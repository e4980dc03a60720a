//! Which arenas this process has, and how many owners each has here.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ossature_sys::errno::Errno;
use ossature_sys::shm::FileId;
use ossature_sys::sync::arena::{self, HOLDERS};

use crate::error::{Error, Result};
use crate::per_process::PerProcess;

/// The arena of this process, which all its objects here have.
#[derive(Debug)]
pub(super) struct Kept(pub(super) arena::Arena);

/// The memory has to be opened anew for a message, for a process that gets one, and after a fork.
#[cold]
pub(super) fn forked(errno: Errno, what: &str) -> Error {
    let why = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::ACCESS => {
            ": its memory is opened anew by /proc, which must be mounted".to_owned()
        }
        Errno::TOOMANYREFS => format!(": {HOLDERS} processes and messages under way hold objects of it already"),
        _ => String::new(),
    };
    Error::os(errno, format!("{what}{why}"))
}

/// The arenas of this process, as long as somebody has them.
#[derive(Default)]
pub(super) struct Known {
    arenas: HashMap<FileId, Weak<Kept>>,
    /// At this many arenas those that nobody has any more are removed.
    next_sweep: usize,
}

static KNOWN: PerProcess<Mutex<Known>> = PerProcess::new();

pub(super) fn known() -> MutexGuard<'static, Known> {
    KNOWN.get_or_init(|_| Mutex::default()).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    pub(super) fn note(&mut self, id: FileId, arena: &Arc<Kept>) {
        if self.arenas.len() >= self.next_sweep {
            self.arenas.retain(|_, arena| arena.strong_count() > 0);
            self.next_sweep = 2 * self.arenas.len() + 16;
        }
        self.arenas.insert(id, Arc::downgrade(arena));
    }
}

/// The arena that this process has behind such a descriptor; or else what `attach` makes of it.
pub(super) fn find_or(memory: &OwnedFd, attach: impl FnOnce(&OwnedFd) -> Result<arena::Arena>) -> Result<Arc<Kept>> {
    let id = FileId::of(memory)?;
    let mut known = known();
    if let Some(arena) = known.arenas.get(&id).and_then(Weak::upgrade) {
        return Ok(arena);
    }
    let arena = Arc::new(Kept(attach(memory)?));
    known.note(id, &arena);
    Ok(arena)
}
