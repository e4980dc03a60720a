//! The handle of a thread, and the life of a thread from start to end.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ossature_sys::futex::Limit;
use ossature_sys::sync::lock::Lock;

use super::current::current_registered;
use super::inner::{Inner, Kind, Left, Thread, inherited, set_current, take_current};
use super::registry::registry;
use super::{hooks, init, local};
use crate::error::{Error, ErrorKind, Result};
use crate::thread::{
    self, Counted, Ident, Native, Pid, Plan, catch, checked, get_ident, joins_itself, result_of, stack_size,
};

impl<T: Send + 'static> Thread<T> {
    /// A thread that will run `work` once it is [started](Self::start). The thread is named `Thread-N`, counted from 1.
    /// It is a daemon if the calling thread is a daemon.
    pub fn new(work: impl FnOnce() -> T + Send + 'static) -> Self {
        ThreadBuilder::default().prepare(work)
    }

    /// Calls [`new`](Self::new) and [`start`](Self::start).
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn spawn(work: impl FnOnce() -> T + Send + 'static) -> Result<Self> {
        ThreadBuilder::default().spawn(work)
    }
}

impl Thread {
    /// A builder for a thread with its own name, stack size or daemon flag.
    ///
    /// ```
    /// use ossature::threading::Thread;
    ///
    /// let reader = Thread::builder().name("reader").daemon(true).stack_size(64 * 1024).spawn(|| ())?;
    /// assert_eq!(reader.name(), "reader");
    /// # reader.join()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn builder() -> ThreadBuilder {
        ThreadBuilder::default()
    }
}

impl<T> Thread<T> {
    /// Starts the thread. On return the thread is listed and has its [`ident`](Self::ident), though it may not have run
    /// yet.
    ///
    /// # Errors
    /// * [`ErrorKind::AlreadyStarted`] the second time, after its end too.
    /// * `EAGAIN` when the system has no room for another thread, or for its stack. It is not listed then, and may be
    ///   started again later.
    /// * [`ErrorKind::ShuttingDown`] after [`shutdown`](super::shutdown()).
    ///
    /// The standard library maps a signal stack in each new thread, and aborts the process when that fails. So a
    /// program with tens of thousands of threads must stay below the limit of maps (`vm.max_map_count`), at four maps a
    /// thread.
    pub fn start(&self) -> Result<()> {
        let inner = &self.inner;
        let (name, stack) = (inner.given_name(), inner.stack.unwrap_or_else(stack_size));
        let plan = Plan { name: name.map(|name| name.as_ref().to_owned()), stack };
        let (mut counted, this) = (Counted::new(), Thread::of(inner.clone()));
        let (registry, mut listed) = (registry(), None);
        thread::install();
        let admit = |ident| {
            registry.enlist(inner.clone(), ident)?;
            listed = Some(ident);
            Ok(())
        };
        let started = inner.native.start(plan, admit, move || {
            counted.enter();
            this.run(counted);
        });
        match (started, listed) {
            (Ok(_), _) => Ok(()),
            (Err(error), None) => Err(error),
            (Err(error), Some(ident)) => {
                registry.forget(ident);
                Err(error)
            }
        }
    }

    /// Waits until the thread ends, by return or by panic. Any number of threads may wait, any number of times. All
    /// effects of the thread are visible afterwards.
    ///
    /// As in Python this does not return the outcome: use [`result`](Self::result) for that.
    ///
    /// # Errors
    /// * [`ErrorKind::NotStarted`] before its start.
    /// * [`ErrorKind::WouldDeadlock`] in the thread itself, and when it waits for an
    ///   [initialisation](super::init) that the calling thread is at.
    /// * [`ErrorKind::InvalidInput`] for a thread that was started elsewhere.
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Limit::NEVER).map(drop)
    }

    /// Waits until the thread ends, at most until the limit; returns whether the thread has ended.
    ///
    /// With a limit this ends when the thread's own work and its [local values](super::local) are over, a moment before
    /// the kernel is done with it.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub fn join_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        let native = &self.inner.native;
        if !native.is_started() {
            let message = format!("thread {} cannot be joined: start it first", self.inner.name());
            return Err(Error::new(ErrorKind::NotStarted, message));
        }
        let limit = limit.into();
        let is_here = native.is_here() && native.ident() == Some(get_ident());
        // The thread's work may be over while it drops its thread-local values. Only a wait without a limit would never
        // end.
        if is_here && (native.is_alive() || limit.is_never()) {
            return Err(joins_itself(&format!("thread {}", self.inner.name())));
        }
        if native.is_alive() && self.inner.is(Kind::Dummy) {
            let message = format!("thread {} was started elsewhere: join it there", self.inner.name());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let _edge = match native.ident() {
            Some(ident) if limit.is_never() => init::joining(ident)?,
            _ => None,
        };
        Ok(native.join(limit))
    }

    /// Waits until the thread ends and takes its return value.
    ///
    /// # Errors
    /// * [`ErrorKind::Panicked`] with the words of the panic. It was reported by the
    ///   [`excepthook`](super::set_excepthook) already.
    /// * [`ErrorKind::NoResult`] when it was taken before, and when the thread left by [`exit`](super::exit) or stayed
    ///   in the parent of a forked child. Also for a handle from [`enumerate`](super::enumerate) and the like.
    /// * As for [`join`](Self::join).
    pub fn result(&self) -> Result<T> {
        self.join()?;
        result_of(self.take(), || self.inner.name())
    }

    /// Takes the return value or the payload of the panic, in the form of std's `join`. `None` while the thread runs,
    /// or when the result was already taken. Does not wait.
    pub fn take(&self) -> Option<std::thread::Result<T>> {
        self.left.as_ref()?.lock().take()
    }

    /// A handle of the same thread without its result.
    pub fn handle(&self) -> Thread {
        Thread::of(self.inner.clone())
    }

    /// The thread's name, for display only. Another thread may have the same name.
    #[doc(alias = "getName")]
    pub fn name(&self) -> String {
        self.inner.name()
    }

    /// Sets the thread's name. A thread that names itself, or starts with a name, gets the name in the kernel too, cut
    /// to 15 bytes.
    #[doc(alias = "setName")]
    pub fn set_name(&self, name: impl Into<Arc<str>>) {
        let name = name.into();
        if self.inner.native.is_alive() && self.inner.native.ident() == Some(get_ident()) {
            let _ = thread::set_name(&name); // a sandbox may forbid it, and the name is for the eye only
        }
        self.inner.set_name(name);
    }

    /// The thread's number in this process; `None` before its start.
    pub fn ident(&self) -> Option<Ident> {
        self.inner.native.ident()
    }

    /// The kernel's number of the thread, `gettid()`; `None` before its start. After the thread ends, another thread
    /// may get the same number.
    pub fn native_id(&self) -> Option<Pid> {
        self.look();
        self.inner.native.native_id()
    }

    /// Whether the thread was started and has not ended. In a forked child only the thread that called fork is alive.
    #[doc(alias = "isAlive")]
    pub fn is_alive(&self) -> bool {
        self.look();
        self.inner.native.is_alive()
    }

    /// In a forked child, adopts the calling thread's own handle for this process.
    fn look(&self) {
        if !self.inner.native.is_here() {
            drop(current_registered());
        }
    }

    /// Whether [`shutdown`](super::shutdown()) does not wait for the thread.
    #[doc(alias = "isDaemon")]
    pub fn daemon(&self) -> bool {
        self.inner.daemon.load(Relaxed)
    }

    /// Sets whether [`shutdown`](super::shutdown()) does not wait for the thread. A process that ends by the return of
    /// `main` stops all of its threads, daemons or not.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyStarted`] after its start.
    #[doc(alias = "setDaemon")]
    pub fn set_daemon(&self, daemon: bool) -> Result<()> {
        if self.inner.native.is_started() {
            let message = format!("thread {} was already started: set `daemon` before `start`", self.inner.name());
            return Err(Error::new(ErrorKind::AlreadyStarted, message));
        }
        self.inner.daemon.store(daemon, Relaxed);
        Ok(())
    }
}

impl Thread {
    /// Runs the work and the hooks in the new thread.
    fn run(self, counted: Counted) {
        /// Marks the thread as ended when dropped; dropped by a panic only if this file has a defect.
        struct Leave(Thread, Option<Counted>);
        impl Drop for Leave {
            fn drop(&mut self) {
                if let Some(ident) = self.0.ident() {
                    registry().forget(ident);
                }
                drop(self.1.take());
                drop(take_current());
                self.0.inner.native.leave();
            }
        }
        self.inner.native.enter();
        set_current(self.inner.clone());
        let leave = Leave(self, Some(counted));
        let this = &leave.0;
        this.inner.name_in_kernel();
        hooks::around(this, || {
            let body = this.inner.body.lock().take();
            let left = body.map(|body| catch(|| body(this)));
            if let Some(Err(escaped)) = left {
                hooks::report(this, &escaped);
            }
        });
        local::clear();
    }
}

impl<T, U> PartialEq<Thread<U>> for Thread<T> {
    fn eq(&self, other: &Thread<U>) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<T> Eq for Thread<T> {}

impl<T> fmt::Debug for Thread<T> {
    /// Formats the thread as Python does: `Thread(Thread-1, started daemon 7)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thread({}, {:?}", self.inner.name(), self.inner.native)?;
        if self.daemon() {
            f.write_str(" daemon")?;
        }
        match self.ident() {
            Some(ident) => write!(f, " {ident})"),
            None => f.write_str(")"),
        }
    }
}

/// The properties of a thread to be started: see [`Thread::builder`].
///
/// # Examples
/// ```
/// use ossature::threading::ThreadBuilder;
///
/// let kind = ThreadBuilder::default().name("worker").daemon(true).stack_size(64 * 1024);
/// let (first, second) = (kind.clone().spawn(|| 1)?, kind.prepare(|| 2));
/// second.start()?;
/// assert_eq!(first.result()? + second.result()?, 3);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "the builder starts no thread until `spawn` or `prepare`"]
pub struct ThreadBuilder {
    name: Option<Arc<str>>,
    daemon: Option<bool>,
    stack: Option<usize>,
}

impl ThreadBuilder {
    /// The thread's name, instead of `Thread-N`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether [`shutdown`](super::shutdown()) does not wait for the thread. The default is the daemon flag of the
    /// calling thread.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// The size of the thread's stack in bytes, instead of the [default](super::set_stack_size); 0 is Rust's default.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack = Some(bytes);
        self
    }

    /// A thread that will run `work` once it is [started](Thread::start).
    pub fn prepare<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
        let left = Arc::new(Lock::new(None));
        let daemon = self.daemon.unwrap_or_else(inherited);
        let mut inner = Inner::new(Native::new(), Kind::Ours, self.name, daemon);
        inner.stack = self.stack;
        let slot = left.clone();
        *inner.body.get_mut() = Some(Box::new(move |thread: &Thread| {
            let result: Left<T> = catch(work).map_err(|escaped| {
                hooks::report(thread, &escaped);
                escaped.payload as Box<dyn Any + Send>
            });
            *slot.lock() = Some(result);
        }));
        Thread { inner: Arc::new(inner), left: Some(left) }
    }

    /// Starts a thread that runs `work`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a stack below 32,768 bytes, and as for [`Thread::start`].
    pub fn spawn<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<Thread<T>> {
        checked(self.stack.unwrap_or_default())?;
        let thread = self.prepare(work);
        thread.start()?;
        Ok(thread)
    }
}
