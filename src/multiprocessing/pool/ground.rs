//! What a pool's parent, supervisor and workers share: the memory, and the descriptors that wake parent and supervisor.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{self, AboveStandard, AsFd};
use ossature_sys::mmap::{Memfd, Region};
use ossature_sys::signal::{self, Signal, SignalSet};
use ossature_sys::sync::interrupt;
use serde::{Deserialize, Serialize};

use super::arena;
use super::board::{self, Board, Slot, WorkerEntry};
use super::stream::{self, Stream};
use crate::error::{Error, Result};
use crate::multiprocessing::tasks::max_argument_depth;
use crate::multiprocessing::transfer::{Handle, Memory, Way};

/// How many slots there are at least.
const SLOTS: usize = 1024;

/// What goes to a process that is not a copy of the parent.
#[derive(Serialize, Deserialize)]
pub(in crate::multiprocessing) struct Parts {
    board: Memory<Board>,
    slots: Memory<[Slot]>,
    entries: Memory<[WorkerEntry]>,
    pub(super) arena: Handle<OwnedFd>,
    arena_length: usize,
    streams: Handle<OwnedFd>,
    /// Raised for the parent, which sleeps on it.
    news: Handle<OwnedFd>,
    /// Raised for the supervisor.
    nudge: Handle<OwnedFd>,
    /// Where workers write their log records, if the parent wants them.
    pub(super) logs: Option<Handle<OwnedFd>>,
    /// The ways of descriptors, to the workers and from them.
    calls: Way,
    results: Way,
}

/// The parts, mapped.
pub(super) struct Ground {
    pub(super) parts: Parts,
    pub(super) arena: Region,
    streams: Region,
}

/// How the workers of a pool live.
#[derive(Serialize, Deserialize)]
pub(in crate::multiprocessing) struct Setup {
    /// The beginning of the workers' names.
    pub(super) prefix: String,
    /// The name of the task that each worker runs first.
    pub(super) initializer: Option<String>,
    /// After how many chunks a worker ends.
    pub(super) max_chunks: Option<u32>,
    /// How long one call may take.
    pub(super) timeout: Option<Duration>,
    /// How deep the arguments of a call may be nested.
    pub(super) depth: usize,
    /// Whether the arguments come from strangers, so that their memory is bounded too.
    pub(super) for_strangers: bool,
    /// The numbers of the signals that interrupt the parent's waits, and that the parent alone reacts to.
    pub(super) held: Vec<i32>,
    /// The processors that the workers run on, a set for each worker in turn; without sets they run anywhere.
    pub(super) affinity: Vec<Vec<u32>>,
    /// The bytes of memory after which a worker ends.
    pub(super) max_memory: Option<u64>,
    /// How long a worker waits for a chunk until it ends.
    pub(super) idle: Option<Duration>,
    /// The level of the log records that the parent wants; `None` for none.
    pub(super) log: Option<u8>,
}

impl Setup {
    /// Workers that live for ever, and calls without a limit.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            initializer: None,
            max_chunks: None,
            timeout: None,
            depth: max_argument_depth(),
            for_strangers: false,
            held: Self::held_now(),
            affinity: Vec::new(),
            max_memory: None,
            idle: None,
            log: None,
        }
    }

    /// What the parent of a new pool reacts to alone. `SIGTERM` ends workers.
    fn held_now() -> Vec<i32> {
        interrupt::interrupting().0.without(Signal::TERM).iter().map(Signal::as_raw).collect()
    }

    pub(super) fn held(&self) -> SignalSet {
        self.held.iter().filter_map(|number| signal::numbered(*number)).collect()
    }
}

impl Ground {
    /// The memory of a new pool.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`, `ENOSPC`, `EFBIG`.
    pub(super) fn new(workers: usize, logs: Option<OwnedFd>) -> Result<Self> {
        let made = |errno| Error::os(errno, "cannot make the memory and events of a pool");
        let (arena, arena_length) = arena::file().map_err(made)?;
        let slots = (workers * 4).next_power_of_two().max(SLOTS);
        let event = || EventFd::counter(0).and_then(AboveStandard::above_standard).map(|event| Handle(event.into()));
        let parts = Parts {
            board: Memory(board::board().map_err(made)?),
            slots: Memory(board::slots(slots).map_err(made)?),
            entries: Memory(board::entries(workers).map_err(made)?),
            arena: Handle(arena.above_standard().map_err(made)?.into()),
            arena_length,
            streams: Handle(
                arena::fixed(workers * stream::LENGTH).map_err(made)?.above_standard().map_err(made)?.into(),
            ),
            news: event().map_err(made)?,
            nudge: event().map_err(made)?,
            logs: logs.map(Handle),
            calls: Way::new().map_err(made)?,
            results: Way::new().map_err(made)?,
        };
        Self::open(parts)
    }

    /// Maps what came from the parent.
    pub(super) fn open(parts: Parts) -> Result<Self> {
        let mapped = |errno| Error::os(errno, "cannot map the memory of a pool");
        let arena = Region::shared(&parts.arena.0, parts.arena_length).map_err(mapped)?;
        let streams = Region::shared(&parts.streams.0, parts.entries.0.len() * stream::LENGTH).map_err(mapped)?;
        Ok(Self { parts, arena, streams })
    }

    pub(super) fn board(&self) -> &Board {
        &self.parts.board.0
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.parts.slots.0
    }

    pub(super) fn entries(&self) -> &[WorkerEntry] {
        &self.parts.entries.0
    }

    pub(super) fn stream(&self, place: usize) -> Option<Stream<'_>> {
        self.entries().get(place).map(|entry| Stream::new(&self.streams, entry, place))
    }

    /// The memory file of the arena, for its pages.
    pub(super) fn arena_file(&self) -> Result<Memfd> {
        let again = fd::duplicate(&self.parts.arena.0).and_then(Memfd::from_fd);
        again.map_err(|errno| Error::os(errno, "cannot make room for the arguments of a pool's tasks"))
    }

    /// Wakes the parent, if it sleeps and wants to hear of an outcome that was stored before.
    pub(super) fn tell_parent(&self) {
        if self.board().is_heard() {
            raise(&self.parts.news.0);
        }
    }

    /// The same for a worker that has found no chunk.
    pub(super) fn tell_parent_of_rest(&self) {
        if self.board().is_heard_at_rest() {
            raise(&self.parts.news.0);
        }
    }

    /// Wakes the parent, if it sleeps, so that it reads a stream before that is full.
    #[cold]
    pub(super) fn call_parent(&self) {
        if self.board().is_heard_in_any_case() {
            raise(&self.parts.news.0);
        }
    }

    /// Wakes as many idle workers, after chunks for them were published.
    pub(super) fn wake_workers(&self, count: u32) {
        self.board().wake_workers(self.entries(), count);
    }

    /// Wakes a worker if a chunk may be unclaimed, before a sleep until that chunk is done.
    pub(super) fn wake_for_unclaimed(&self) {
        if self.board().has_unclaimed() {
            self.wake_workers(1);
        }
    }

    /// Wakes every worker that sleeps, for a change that all must see. Whoever was to wake a worker may have been
    /// killed, so nobody's bit says enough.
    pub(super) fn wake_all_workers(&self) {
        for entry in self.entries() {
            entry.wake();
        }
    }

    pub(super) fn news(&self) -> &OwnedFd {
        &self.parts.news.0
    }

    pub(super) fn nudge(&self) -> &OwnedFd {
        &self.parts.nudge.0
    }

    /// The way of the descriptors of arguments.
    pub(super) fn calls(&self) -> &Way {
        &self.parts.calls
    }

    /// The way of the descriptors of results.
    pub(super) fn results(&self) -> &Way {
        &self.parts.results
    }
}

/// Makes an eventfd readable.
pub(super) fn raise(event: impl AsFd) {
    let _ = fd::write(event, &1_u64.to_ne_bytes()); // a counter that is full is readable already
}

/// Makes an eventfd unreadable.
pub(super) fn lower(event: impl AsFd) {
    let _ = fd::read(event, &mut [0; 8]); // it was not readable
}
