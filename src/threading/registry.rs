//! The living threads: one table per process, and a new one in each forked child.
//!
//! All of this module that has a lock belongs to one process (see [`PerProcess`]). A forked child takes over what its
//! parent's threads had not locked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;

use super::graph::Graph;
use super::hook_types::OwnHooks;
use super::inner::{Inner, Kind, current_or_inherited, set_current};
use super::timer::Wheel;
use crate::error::{Error, ErrorKind, Result};
use crate::per_process::PerProcess;
use crate::thread::{Ident, Native, get_ident, is_first};

/// The state of this module for one process.
pub(super) struct Registry {
    pub(super) main: Arc<Inner>,
    pub(super) table: Lock<ThreadTable>,
    pub(super) hooks: Lock<OwnHooks>,
    /// Whether any hook is set, so that threads must look at the hooks.
    pub(super) hooked: AtomicBool,
    pub(super) end: Lock<ShutdownState>,
    /// Whether [`shutdown`](super::shutdown()) has begun.
    pub(super) ending: AtomicBool,
    pub(super) wheel: Wheel,
    pub(super) graph: Lock<Graph>,
    /// Signals the release of any init lock. All init locks share it, because a condition belongs to one process.
    pub(super) released: Condition,
}

/// The living threads, by their numbers, which is the order in which they were started.
pub(super) struct ThreadTable {
    pub(super) living: BTreeMap<Ident, Arc<Inner>>,
    /// Whether threads can no longer be started.
    pub(super) closed: bool,
}

/// The state of shutdown: whether it began, and its callbacks.
#[derive(Default)]
pub(super) struct ShutdownState {
    pub(super) began: bool,
    pub(super) callbacks: Vec<Box<dyn FnOnce() + Send>>,
}

static REGISTRY: PerProcess<Registry> = PerProcess::new();

/// The state of this process.
pub(super) fn registry() -> &'static Registry {
    REGISTRY.get_or_init(Registry::new)
}

/// The state of this process, if it was already used.
#[cfg(feature = "multiprocessing")]
pub(super) fn begun() -> Option<&'static Registry> {
    REGISTRY.get().map(|registry| &**registry)
}

impl Registry {
    fn new(before: Option<&Self>) -> Self {
        let main = match current_or_inherited().filter(|_| before.is_some() && is_first()) {
            // The thread that forked continues here, and is the first thread.
            Some(inner) => {
                inner.become_main();
                inner
            }
            None => {
                let native = if is_first() { Native::current() } else { Native::first() };
                Arc::new(Inner::new(native, Kind::Main, Some("MainThread".into()), false))
            }
        };
        if is_first() {
            // A forked child of this thread finds its own handle by this.
            set_current(main.clone());
        }
        let hooks = before.and_then(|before| Some(before.hooks.try_lock()?.clone())).unwrap_or_default();
        let living = main.native.ident().map(|ident| (ident, main.clone())).into_iter().collect();
        Self {
            main,
            table: Lock::new(ThreadTable { living, closed: false }),
            hooked: AtomicBool::new(hooks.any()),
            hooks: Lock::new(hooks),
            end: Lock::new(ShutdownState::default()),
            ending: AtomicBool::new(false),
            wheel: Wheel::new(),
            graph: Lock::new(
                before.and_then(|before| Some(before.graph.try_lock()?.of(get_ident()))).unwrap_or_default(),
            ),
            released: Condition::new(),
        }
    }

    /// Lists a thread that is about to start.
    pub(super) fn enlist(&self, inner: Arc<Inner>, ident: Ident) -> Result<()> {
        let mut table = self.table.lock();
        if table.closed {
            return Err(shutting_down("can't start new thread"));
        }
        table.living.insert(ident, inner);
        Ok(())
    }

    /// Lists a thread that runs already.
    pub(super) fn put(&self, inner: Arc<Inner>) {
        if let Some(ident) = inner.native.ident() {
            self.table.lock().living.insert(ident, inner);
        }
    }

    /// Takes a thread off the list.
    pub(super) fn forget(&self, ident: Ident) {
        let gone = self.table.lock().living.remove(&ident);
        drop(gone); // outside the lock: it may be the last handle
    }

    pub(super) fn living(&self) -> Vec<Arc<Inner>> {
        self.table.lock().living.values().cloned().collect()
    }
}

impl ThreadTable {
    /// A living thread that the process must wait for, other than the main thread and `me`.
    pub(super) fn awaited(&self, main: &Arc<Inner>, me: Option<Ident>) -> Option<Arc<Inner>> {
        use std::sync::atomic::Ordering::Relaxed;
        let waits = |inner: &&Arc<Inner>| {
            !Arc::ptr_eq(inner, main)
                && !inner.daemon.load(Relaxed)
                && inner.native.ident() != me
                && inner.native.is_alive()
        };
        self.living.values().find(waits).cloned()
    }
}

pub(super) fn shutting_down(what: &str) -> Error {
    Error::new(ErrorKind::ShuttingDown, format!("{what}: shutdown has begun"))
}
