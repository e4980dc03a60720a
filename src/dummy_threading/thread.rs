//! The handle of a thread that runs inside `start`.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use ossature_sys::futex::Limit;

use super::frames::{Inner, Left, Phase, Thread, frames};
use super::{hooks, shutdown};
use crate::dummy_thread::{self, Ident, get_ident};
use crate::error::{Error, ErrorKind, Result};
use crate::thread::{Pid, catch, get_native_id, install, result_of};

impl<T: 'static> Thread<T> {
    /// Creates a thread that will run `work` in [`start`](Self::start). Its name is `Thread-N`, counted from 1 in each
    /// OS thread; it is a daemon if the current thread is.
    pub fn new(work: impl FnOnce() -> T + 'static) -> Self {
        ThreadBuilder::default().prepare(work)
    }

    /// Calls [`new`](Self::new) and [`start`](Self::start).
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn spawn(work: impl FnOnce() -> T + 'static) -> Result<Self> {
        ThreadBuilder::default().spawn(work)
    }
}

impl Thread {
    /// Returns a builder for a thread with its own name or daemon flag.
    pub fn builder() -> ThreadBuilder {
        ThreadBuilder::default()
    }
}

impl<T> Thread<T> {
    /// Runs the work and returns when it has ended. The [`excepthook`](super::set_excepthook) reports a panic, which
    /// goes no further.
    ///
    /// # Errors
    /// * [`ErrorKind::AlreadyStarted`] the second time, after its end too.
    /// * [`ErrorKind::Interrupted`] when [`interrupt_main`](dummy_thread::interrupt_main) was called during the work.
    ///   The work has ended.
    /// * [`ErrorKind::Unsupported`] for a stack size other than 0.
    /// * [`ErrorKind::ShuttingDown`] after [`shutdown`](super::shutdown()).
    pub fn start(&self) -> Result<()> {
        let inner = &self.inner;
        if inner.phase.get() != Phase::Initial {
            return Err(Error::new(ErrorKind::AlreadyStarted, "the thread was already started: make a new thread"));
        }
        checked(inner.stack)?;
        shutdown::admit()?;
        install();
        dummy_thread::start_new_thread(|| frames().within(inner.clone(), || run(&Thread::of(inner.clone())))).map(drop)
    }

    /// Returns at once, because the thread has ended.
    ///
    /// # Errors
    /// * [`ErrorKind::NotStarted`] before its start.
    /// * [`ErrorKind::WouldDeadlock`] in the thread itself and in those that it started: they are part of it.
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Limit::NEVER).map(drop)
    }

    /// Returns at once whether the thread has ended.
    ///
    /// # Errors
    /// As for [`join`](Self::join); but with a limit, a call in a thread that this thread started returns `false`.
    pub fn join_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        let name = || self.inner.name();
        match self.inner.phase.get() {
            Phase::Stopped => Ok(true),
            Phase::Initial => {
                let message = format!("thread {} cannot be joined: start it first", name());
                Err(Error::new(ErrorKind::NotStarted, message))
            }
            Phase::Started if limit.into().is_never() || Rc::ptr_eq(&self.inner, &frames().current()) => {
                let message =
                    format!("thread {} would wait for its own end: join it after `start` has returned", name());
                Err(Error::new(ErrorKind::WouldDeadlock, message))
            }
            Phase::Started => Ok(false),
        }
    }

    /// Takes the returned value.
    ///
    /// # Errors
    /// * [`ErrorKind::Panicked`] with the words of the panic, which was reported already.
    /// * [`ErrorKind::NoResult`] when it was taken before, when the thread left by [`exit`](super::exit), and for a
    ///   handle from [`current_thread`](super::current_thread) and the like.
    /// * As for [`join`](Self::join).
    pub fn result(&self) -> Result<T> {
        self.join()?;
        result_of(self.take(), || self.inner.name())
    }

    /// Takes the result, a value or the payload of a panic; `None` before the end or after an earlier call.
    pub fn take(&self) -> Option<std::thread::Result<T>> {
        self.left.as_ref()?.borrow_mut().take()
    }

    /// Returns a handle to the same thread, without a result.
    pub fn handle(&self) -> Thread {
        Thread::of(self.inner.clone())
    }

    /// The thread's name, for display only.
    #[doc(alias = "getName")]
    pub fn name(&self) -> String {
        self.inner.name()
    }

    /// Sets the name, which the kernel does not see.
    #[doc(alias = "setName")]
    pub fn set_name(&self, name: impl Into<Arc<str>>) {
        self.inner.set_name(name.into());
    }

    /// The thread's identifier, which all threads here share; `None` before its start.
    pub fn ident(&self) -> Option<Ident> {
        (self.inner.phase.get() != Phase::Initial).then(get_ident)
    }

    /// The kernel's thread id of the OS thread that it runs in; `None` before its start.
    pub fn native_id(&self) -> Option<Pid> {
        self.ident().map(|_| get_native_id())
    }

    /// Whether the thread was started and has not ended: true only inside its work.
    #[doc(alias = "isAlive")]
    pub fn is_alive(&self) -> bool {
        self.inner.phase.get() == Phase::Started
    }

    /// Whether the thread is a daemon, for which shutdown need not wait; here shutdown never waits.
    #[doc(alias = "isDaemon")]
    pub fn daemon(&self) -> bool {
        self.inner.daemon.get()
    }

    /// Sets the daemon flag, before the start.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyStarted`] after its start.
    #[doc(alias = "setDaemon")]
    pub fn set_daemon(&self, daemon: bool) -> Result<()> {
        if self.inner.phase.get() != Phase::Initial {
            let message = format!("thread {} was already started: set `daemon` before `start`", self.inner.name());
            return Err(Error::new(ErrorKind::AlreadyStarted, message));
        }
        self.inner.daemon.set(daemon);
        Ok(())
    }
}

/// Runs the work of the thread.
pub(super) fn run(this: &Thread) {
    hooks::around(this, || {
        let body = this.inner.body.take();
        if let Some(Err(escaped)) = body.map(|body| catch(|| body(this))) {
            hooks::report(this, &escaped);
        }
    });
}

/// Checks the stack size.
fn checked(stack: usize) -> Result<()> {
    if stack == 0 { Ok(()) } else { dummy_thread::set_stack_size(stack).map(drop) }
}

impl<T, U> PartialEq<Thread<U>> for Thread<T> {
    fn eq(&self, other: &Thread<U>) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<T> Eq for Thread<T> {}

impl<T> fmt::Debug for Thread<T> {
    /// Formats the thread as Python does: `Thread(Thread-1, stopped daemon 1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.inner.phase.get() {
            Phase::Initial => "initial",
            Phase::Started => "started",
            Phase::Stopped => "stopped",
        };
        write!(f, "Thread({}, {phase}", self.inner.name())?;
        if self.daemon() {
            f.write_str(" daemon")?;
        }
        match self.ident() {
            Some(ident) => write!(f, " {ident})"),
            None => f.write_str(")"),
        }
    }
}

/// The settings of a new thread: see [`Thread::builder`].
///
/// # Examples
/// ```
/// use ossature::dummy_threading::ThreadBuilder;
///
/// let kind = ThreadBuilder::default().name("worker").daemon(true);
/// let (first, second) = (kind.clone().spawn(|| 1)?, kind.clone().prepare(|| 2));
/// second.start()?;
/// assert_eq!(first.result()? + second.result()?, 3);
/// assert!(kind.stack_size(64 * 1024).spawn(|| ()).is_err(), "it runs on its caller's stack");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "the builder starts no thread until `spawn` or `prepare`"]
pub struct ThreadBuilder {
    name: Option<Arc<str>>,
    daemon: Option<bool>,
    stack: usize,
}

impl ThreadBuilder {
    /// The thread's name, instead of `Thread-N`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The thread's daemon flag, instead of the current thread's.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// The stack size; any size but 0 makes the start fail.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack = bytes;
        self
    }

    /// Creates a thread that will run `work` in [`start`](Thread::start).
    pub fn prepare<T: 'static>(self, work: impl FnOnce() -> T + 'static) -> Thread<T> {
        let daemon = self.daemon.unwrap_or_else(|| frames().current().daemon.get());
        let inner = Inner::new(self.name, daemon, self.stack);
        let left = Rc::new(RefCell::new(None));
        let slot = left.clone();
        inner.body.replace(Some(Box::new(move |thread: &Thread| {
            let result: Left<T> = catch(work).map_err(|escaped| {
                hooks::report(thread, &escaped);
                escaped.payload as Box<dyn Any + Send>
            });
            slot.replace(Some(result));
        })));
        Thread { inner: Rc::new(inner), left: Some(left) }
    }

    /// Runs `work`, and returns its thread.
    ///
    /// # Errors
    /// As for [`Thread::start`].
    pub fn spawn<T: 'static>(self, work: impl FnOnce() -> T + 'static) -> Result<Thread<T>> {
        let thread = self.prepare(work);
        thread.start()?;
        Ok(thread)
    }
}
