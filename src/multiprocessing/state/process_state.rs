//! The state of this process: its name, its key, its children, and what else belongs to one process only.
//!
//! A forked child has a copy of its parent's memory, with the parent's children and the parent's callbacks in it. It
//! also has locks held by threads that the child does not have. So all of that is in a state, and each process has its
//! own. A child that this module started enters a state that its parent has prepared with its configuration. Any other
//! forked child begins one at its first question, under the same name.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use ossature_sys::process::{self, Pid};
use ossature_sys::sync::lock::Lock;

use super::callbacks::Callbacks;
use super::child_config::ChildConfig;
use super::descriptors::List;
use super::ends::LettingGo;
use super::finalizers::Finalizers;
use super::handle::{Children, Process};
use super::leaving;
use super::parent::Parent;
use super::temp_dir::TempDir;
use crate::error::Result;
use crate::multiprocessing::authkey::AuthKey;
use crate::multiprocessing::context::Context;
use crate::per_process::{Owned, PerProcess};

/// The data that belongs to one process.
pub(crate) struct ProcessState {
    name: Lock<String>,
    pub(crate) identity: Vec<u32>,
    pub(crate) named: Option<Context>,
    /// How this process was started; `None` for the first process.
    pub(crate) method: Option<Context>,
    pub(crate) daemon: bool,
    authkey: Lock<Option<AuthKey>>,
    pub(crate) temp_dir: Lock<Option<TempDir>>,
    pub(crate) parent: Option<Parent>,
    /// The number of children requested so far.
    counter: AtomicU32,
    pub(crate) children: Children,
    pub(crate) finalizers: Lock<Finalizers>,
    pub(crate) after_fork: Lock<Callbacks>,
    /// The owners of the descriptors that this library made.
    pub(crate) descriptors: Lock<List>,
    /// The pipe over which this process reports a panic to its parent.
    pub(crate) report: Lock<Option<OwnedFd>>,
    pub(crate) exiting: AtomicBool,
}

static STATE: PerProcess<ProcessState> = PerProcess::new();

/// The state of this process.
pub(crate) fn process_state() -> &'static OwnState {
    STATE.get_or_init(|before| before.map_or_else(ProcessState::first, ProcessState::copied))
}

/// The state of one process, with a check that this is the current process.
pub(crate) type OwnState = Owned<ProcessState>;

impl ProcessState {
    fn first() -> Self {
        Self::new("MainProcess".into())
    }

    fn new(name: String) -> Self {
        Self {
            name: Lock::new(name),
            identity: Vec::new(),
            named: None,
            method: None,
            daemon: false,
            authkey: Lock::new(None),
            temp_dir: Lock::new(None),
            parent: None,
            counter: AtomicU32::new(0),
            children: Children::new(),
            finalizers: Lock::new(Finalizers::new()),
            after_fork: Lock::new(Callbacks::new()),
            descriptors: Lock::new(List::new()),
            report: Lock::new(None),
            exiting: AtomicBool::new(false),
        }
    }

    /// Prepares the state of a child before a fork. A child pays for every page of memory and of code that it is the
    /// first to access. An allocation in the child would cost more than all other work that the child does first.
    pub(crate) fn prepare(config: ChildConfig) -> Box<OwnState> {
        Owned::prepared(Self {
            identity: config.identity,
            named: config.named,
            method: Some(config.method),
            daemon: config.daemon,
            authkey: Lock::new(Some(config.authkey)),
            temp_dir: Lock::new(config.temp_dir.map(TempDir::inherited)),
            parent: Some(Parent::new(config.parent, config.sentinel)),
            ..Self::new(config.name)
        })
    }

    /// Makes the prepared state the state of this process, and closes the descriptors that only its parent uses.
    #[inline(always)] // the child would pay for another page of code
    pub(crate) fn enter(prepared: Box<OwnState>, letting_go: Option<&LettingGo>) -> &'static OwnState {
        STATE.enter(prepared, Self::first, |last, own| {
            last.clear_out(letting_go);
            let callbacks = last.hand_on();
            if callbacks.is_empty() {
                std::mem::forget(callbacks); // whatever room it has stays the parent's copy, at no price
            } else {
                *own.after_fork.lock() = callbacks;
            }
            let descriptors = last.hand_on_descriptors();
            if descriptors.is_empty() {
                std::mem::forget(descriptors); // as above
            } else {
                *own.descriptors.lock() = descriptors;
            }
        })
    }

    /// Copies the state for a child that other code forked: the same name, and none of the parent's children and
    /// finalizers.
    fn copied(&self) -> Self {
        let name = self.name.try_lock().map(|name| name.clone());
        Self {
            identity: self.identity.clone(),
            named: self.named,
            method: self.method,
            daemon: self.daemon,
            authkey: Lock::new(self.authkey.try_lock().and_then(|key| key.clone())),
            temp_dir: Lock::new(self.temp_dir.try_lock().and_then(|known| known.as_ref().map(TempDir::again))),
            parent: self.parent.as_ref().map(Parent::copied),
            counter: AtomicU32::new(self.counter.load(Relaxed)),
            after_fork: Lock::new(self.hand_on()),
            descriptors: Lock::new(self.hand_on_descriptors()),
            ..Self::new(name.unwrap_or_else(|| "Process".into()))
        }
    }

    /// Returns the callbacks of the previous process, unless another thread had the lock at the fork.
    fn hand_on(&self) -> Callbacks {
        self.after_fork.try_lock().map(|mut callbacks| std::mem::take(&mut *callbacks)).unwrap_or_default()
    }

    /// Returns the owners of the previous process's descriptors, with the same exception.
    fn hand_on_descriptors(&self) -> List {
        self.descriptors.try_lock().map(|mut list| std::mem::take(&mut *list)).unwrap_or_default()
    }

    /// Closes, in a forked child, the descriptors that only its parent uses. These belong to the parent's other
    /// children (but for kept handles), to the parent's fork server, and to the pipe through which the parent reports a
    /// panic.
    #[inline]
    fn clear_out(&self, letting_go: Option<&LettingGo>) {
        let report = self.report.try_lock().and_then(|mut report| report.take());
        drop(report);
        self.children.let_go_in_child(|child| letting_go.is_some_and(|letting_go| letting_go.keeps(child)));
        leaving::let_go_in_child();
    }

    pub(crate) fn name(&self) -> String {
        self.name.lock().clone()
    }

    pub(crate) fn set_name(&self, name: String) {
        let before = std::mem::replace(&mut *self.name.lock(), name);
        drop(before);
    }

    /// Returns the number of the next child.
    pub(crate) fn count(&self) -> u32 {
        self.counter.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// Returns the key that this program's processes share, and makes it at the first call.
    pub(crate) fn authkey(&self) -> Result<AuthKey> {
        let mut key = self.authkey.lock();
        match &*key {
            Some(key) => Ok(key.clone()),
            None => Ok(key.insert(AuthKey::random()?).clone()),
        }
    }

    pub(crate) fn set_authkey(&self, key: AuthKey) {
        let before = self.authkey.lock().replace(key);
        drop(before);
    }

    /// Reaps the children that have ended.
    pub(crate) fn reap(&self) {
        leaving::reap();
        // Outside the lock, which each that has ended takes to leave the list.
        for child in self.children.living() {
            let _ = child.try_reap(); // what cannot be learnt now is asked again
        }
    }
}

/// Returns the children of this process that have not ended, in the order of their starts. Reaps the children that have
/// ended.
///
/// A forked child begins with none.
///
/// # Examples
/// See the example of [`process`](crate::multiprocessing::process).
pub fn active_children() -> Vec<Process> {
    let state = process_state();
    state.reap();
    state.children.living()
}

/// The ID of this process.
pub(crate) fn pid() -> Pid {
    process::id()
}
