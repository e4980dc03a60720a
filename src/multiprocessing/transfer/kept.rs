//! The arenas of this process, and how many owners each has here.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ossature_sys::errno::Errno;
use ossature_sys::shm::FileId;
use ossature_sys::sync::arena::{self, HOLDERS};

use crate::error::{Error, Result};
use crate::per_process::PerProcess;

/// An arena of this process, which all its objects in this process share.
#[derive(Debug)]
pub(super) struct Kept(pub(super) arena::Arena);

/// The error when an arena's memory cannot be opened again: for a message, in a receiving process, or after a fork.
#[cold]
pub(super) fn forked(errno: Errno, what: &str) -> Error {
    let why = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::ACCESS => ": opening its memory again needs /proc: mount it".to_owned(),
        Errno::TOOMANYREFS => format!(": {HOLDERS} processes and messages in flight hold its objects already"),
        _ => String::new(),
    };
    Error::os(errno, format!("{what}{why}"))
}

/// The arenas of this process that have owners.
#[derive(Default)]
pub(super) struct Known {
    arenas: HashMap<FileId, Weak<Kept>>,
    /// The number of arenas at which the next sweep removes those without owners.
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

/// Returns the arena that this process has behind this descriptor, or else the result of `attach`.
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
