//! The memory that a pool's parent, supervisor and workers share, and the descriptors that wake the parent and the
//! supervisor.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{self, AboveStandard, AsFd};
use ossature_sys::mmap::{Memfd, Region};
use ossature_sys::sched;
use ossature_sys::signal::{self, Signal, SignalSet};
use ossature_sys::sync::interrupt;
use serde::{Deserialize, Serialize};

use super::arena;
use super::board::{self, Board, Slot, WorkerEntry};
use super::stream::{self, Stream};
use crate::error::{Error, Result};
use crate::multiprocessing::tasks::max_argument_depth;
use crate::multiprocessing::transfer::{Handle, Memory, Way};

/// The minimum number of slots.
const SLOTS: usize = 1024;

/// The parts that are sent to a process that is not a copy of the parent.
#[derive(Serialize, Deserialize)]
pub(in crate::multiprocessing) struct Parts {
    board: Memory<Board>,
    slots: Memory<[Slot]>,
    entries: Memory<[WorkerEntry]>,
    pub(super) arena: Handle<OwnedFd>,
    arena_length: usize,
    streams: Handle<OwnedFd>,
    /// The eventfd that wakes the parent.
    news: Handle<OwnedFd>,
    /// The eventfd that wakes the supervisor.
    nudge: Handle<OwnedFd>,
    /// The pipe to which workers write their log records, if the parent wants them.
    pub(super) logs: Option<Handle<OwnedFd>>,
    /// The channels for descriptors, to the workers and from them.
    calls: Way,
    results: Way,
}

/// The parts, mapped into this process.
pub(super) struct Ground {
    pub(super) parts: Parts,
    pub(super) arena: Region,
    streams: Region,
}

/// The settings of the workers of a pool.
#[derive(Serialize, Deserialize)]
pub(in crate::multiprocessing) struct Setup {
    /// The beginning of the workers' names.
    pub(super) prefix: String,
    /// The name of the task that each worker runs first.
    pub(super) initializer: Option<String>,
    /// The number of chunks after which a worker ends.
    pub(super) max_chunks: Option<u32>,
    /// The maximum time of one call.
    pub(super) timeout: Option<Duration>,
    /// The maximum nesting of the arguments of a call.
    pub(super) depth: usize,
    /// Whether the arguments come from untrusted peers, so that their memory is limited, too.
    pub(super) for_strangers: bool,
    /// The numbers of the signals that interrupt the parent's waits, and to which only the parent reacts.
    pub(super) held: Vec<i32>,
    /// The processors on which the workers run, a set for each worker in turn; without sets they run anywhere.
    pub(super) affinity: Vec<Vec<u32>>,
    /// The memory in bytes after which a worker ends.
    pub(super) max_memory: Option<u64>,
    /// The time without a chunk after which a worker ends.
    pub(super) idle: Option<Duration>,
    /// The level of the log records that the parent wants; `None` for none.
    pub(super) log: Option<u8>,
}

impl Setup {
    /// Makes settings for workers without a limit on their life, their calls or their memory.
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

    /// Returns the signals to which only the parent of a new pool reacts. `SIGTERM` ends workers.
    fn held_now() -> Vec<i32> {
        interrupt::interrupting().0.without(Signal::TERM).iter().map(Signal::as_raw).collect()
    }

    pub(super) fn held(&self) -> SignalSet {
        self.held.iter().filter_map(|number| signal::numbered(*number)).collect()
    }
}

impl Ground {
    /// Makes the memory of a new pool.
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

    /// Maps the parts that came from the parent.
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

    /// Duplicates the memory file of the arena, for its pages.
    pub(super) fn arena_file(&self) -> Result<Memfd> {
        let again = fd::duplicate(&self.parts.arena.0).and_then(Memfd::from_fd);
        again.map_err(|errno| Error::os(errno, "cannot make room for the arguments of a pool's tasks"))
    }

    /// Wakes the parent, if it sleeps and must be woken for an outcome that was stored before.
    pub(super) fn tell_parent(&self) {
        if self.board().is_heard() {
            raise(&self.parts.news.0);
        }
    }

    /// Wakes the parent for a worker that has found no chunk, if the parent waits for chunks to be claimed.
    pub(super) fn tell_parent_of_rest(&self) {
        if self.board().is_heard_at_rest() {
            raise(&self.parts.news.0);
        }
    }

    /// Wakes the parent, if it sleeps, so that it reads a stream before the stream is full.
    #[cold]
    pub(super) fn call_parent(&self) {
        if self.board().is_heard_in_any_case() {
            raise(&self.parts.news.0);
        }
    }

    /// Wakes up to `count` idle workers, after chunks for them were published.
    pub(super) fn wake_workers(&self, count: u32) {
        self.board().wake_workers(self.entries(), count);
    }

    /// Wakes a worker if a chunk may be unclaimed, before a sleep until that chunk is done.
    pub(super) fn wake_for_unclaimed(&self) {
        if self.board().has_unclaimed() {
            self.wake_workers(1);
        }
    }

    /// Wakes every sleeping worker, for a change that all must see. The process that was to wake a worker may have been
    /// killed, so the workers' bits are not reliable here.
    pub(super) fn wake_all_workers(&self) {
        for entry in self.entries() {
            entry.wake();
        }
    }

    /// Whether a worker ran on this processor when it last looked for a chunk. Tells the workers where the parent runs.
    pub(super) fn parent_shares_processor(&self) -> bool {
        let here = sched::current_cpu() as u32;
        self.board().cpu.store(here, Relaxed);
        self.entries().iter().any(|entry| entry.cpu.load(Relaxed) == here)
    }

    pub(super) fn news(&self) -> &OwnedFd {
        &self.parts.news.0
    }

    pub(super) fn nudge(&self) -> &OwnedFd {
        &self.parts.nudge.0
    }

    /// The channel for the descriptors of arguments.
    pub(super) fn calls(&self) -> &Way {
        &self.parts.calls
    }

    /// The channel for the descriptors of results.
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
