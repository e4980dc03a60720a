//! A started process, for the threads that wait for it.

use std::borrow::Cow;
use std::fmt;
use std::io::Stdin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::eventfd::{EventFd, Until};
use ossature_sys::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{ExitStatus, Pid, Signal, generation, id};
use ossature_sys::signal::{name, numbered};
use ossature_sys::sync::lock::Lock;

use super::child::{ChildHandle, Started};
use super::panic_report::PanicReport;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::thread::joins_itself;

/// A child of this process, or a thread that represents a process. Clones refer to the same child. Any number of
/// threads may wait for the child, each with its own deadline.
///
/// As a descriptor it is Python's *sentinel*, readable once the child has ended. So it can stand in a poll, an epoll or
/// a [`Selector`](crate::select::selectors) beside anything else.
///
/// The handles close their descriptors once the child's end was seen. Only a descriptor that was lent (`AsFd`) stays
/// open.
///
/// Dropping all handles neither waits nor ends anything: the child continues. [`active_children`] or the next start
/// reaps it, or the end of this process, which waits for it.
///
/// # Examples
/// Queries of a child, a wait for it, and its close:
///
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::{Process, current_process};
///
/// let process = Process::builder().name("clerk").daemon(true).fork(|| 3_u8)?;
/// assert_eq!(process.name(), "clerk");
/// assert!(process.daemon() && process.pid() != Some(current_process().pid()));
/// process.set_name("the clerk"); // here only
/// assert_eq!(process.identity(), [1], "the first child of this process");
///
/// let exit = process.join_timeout(Duration::from_secs(60))?.expect("the child ends at once");
/// assert_eq!((exit.code(), process.exit_status()?), (Some(3), Some(exit)));
/// assert!(!process.is_alive()? && process.panic()?.is_none());
/// process.close()?;
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// A child that does not end by itself is ended by a signal:
///
/// ```standalone_crate
/// use ossature::multiprocessing::Process;
/// use ossature::sys::process::Signal;
///
/// # ossature::sys::signal::restore_default(Signal::INT)?; // a shell ignores it for what runs beside it
/// let sleeper = || Process::fork(|| -> u8 { loop { std::thread::park() } });
/// let ended: [fn(&Process) -> ossature::Result<()>; 4] =
///     [Process::terminate, Process::kill, Process::interrupt, |process| process.signal(Signal::USR1)];
/// for end in ended {
///     let process = sleeper()?;
///     assert!(process.is_alive()?);
///     end(&process)?;
///     assert!(!process.join()?.success());
///     assert!(process.exit_code().is_some_and(|code| code < 0), "the number of the signal");
/// }
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// [`active_children`]: super::active_children
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    name: Lock<String>,
    identity: Identity,
    /// The list of children of the process that started the child, and the generation of that process.
    siblings: &'static Children,
    generation: u32,
    parent: Pid,
    pid: Option<Pid>,
    state: Lock<ChildState>,
    /// The descriptor that was lent to callers. Other threads may be polling it, so the last handle closes it.
    lent: OnceLock<Sentinel>,
}

/// The children of a process that are not reaped, in the order of their starts.
pub(crate) struct Children(Lock<Vec<Process>>);

impl Children {
    pub(super) const fn new() -> Self {
        Self(Lock::new(Vec::new()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub(super) fn living(&self) -> Vec<Process> {
        self.0.lock().clone()
    }

    /// Closes, in a forked child, the handles of its parent's children, except for those at the addresses that it
    /// `keeps`.
    pub(super) fn let_go_in_child(&self, keeps: impl Fn(usize) -> bool) {
        for child in self.0.try_lock().iter().flat_map(|children| children.iter()) {
            if !keeps(child.place()) {
                child.let_go_in_child();
            }
        }
    }
}

/// The attributes of a child that are fixed at its start.
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) numbers: Vec<u32>,
    pub(crate) named: Option<Context>,
    pub(crate) daemon: bool,
}

struct ChildState {
    /// The handle of the child; `None` once the end was seen, and in a forked child that was not given this handle.
    child: Option<Arc<dyn ChildHandle>>,
    report: Option<OwnedFd>,
    end: Option<ExitStatus>,
    panic: Option<PanicReport>,
    closed: bool,
}

/// The descriptor that represents the child for a poll.
enum Sentinel {
    Child(Arc<dyn ChildHandle>),
    /// Always readable, because the child's end was seen before.
    Ended(EventFd),
    /// Standard input, because no descriptor was free. It is always open, and readable in most processes.
    Stdin(Stdin),
}

/// The current knowledge of this process about the child.
enum Now {
    Ended(ExitStatus),
    /// The child lives. A waiter holds this value while it waits.
    Alive(Arc<dyn ChildHandle>),
    /// The state is unknown: the child is not a child of this process, and this process was not given the handle.
    Unknown,
}

impl Process {
    /// Makes the handle of a child that was just started, and adds the child to the list of children.
    pub(crate) fn started(siblings: &'static Children, mut identity: Identity, started: Started) -> Self {
        let Started { handle, report } = started;
        let child_pid = handle.pid();
        let state = ChildState { child: Some(handle), report, end: None, panic: None, closed: false };
        let process = Self(Arc::new(Inner {
            name: Lock::new(std::mem::take(&mut identity.name)),
            identity,
            siblings,
            generation: generation(),
            parent: id(),
            pid: child_pid,
            state: Lock::new(state),
            lent: OnceLock::new(),
        }));
        siblings.0.lock().push(process.clone());
        process
    }

    /// The child's name, for display only.
    pub fn name(&self) -> String {
        self.0.name.lock().clone()
    }

    /// Renames the child in this process; the child does not see the new name.
    pub fn set_name(&self, name: impl Into<String>) {
        let before = std::mem::replace(&mut *self.0.name.lock(), name.into());
        drop(before);
    }

    /// The child's number among this process's children, after those of its ancestors.
    pub fn identity(&self) -> &[u32] {
        &self.0.identity.numbers
    }

    /// Whether the child ends with this process.
    pub fn daemon(&self) -> bool {
        self.0.identity.daemon
    }

    /// The child's process ID; `None` for a thread. After the child's end was seen, another process may have this ID.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> Option<Pid> {
        self.0.pid
    }

    /// Waits for the child's end. Any number of threads may wait, and may wait again afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::NotAllowed`] in a process that did not start the child, [`ErrorKind::Closed`] after
    /// [`close`](Self::close), [`ErrorKind::WouldDeadlock`] when the child is the calling thread itself.
    pub fn join(&self) -> Result<ExitStatus> {
        let unknown = || Error::new(ErrorKind::Os, "internal error: a wait without a deadline returned no exit status");
        self.join_timeout(Deadline::NEVER)?.ok_or_else(unknown) // without a deadline there is always an end
    }

    /// Waits for the child's end until the deadline; `None` when the time ran out, or when a
    /// [`CancelFd`](crate::multiprocessing::connection::CancelFd) ended the wait. For a child of the fork server, also
    /// `None` when the child has ended but its status is unknown, because the server was stopped:
    /// [`is_alive`](Self::is_alive) is false then.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// # Examples
    /// Another thread calls the wait away:
    ///
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Process, connection::CancelFd};
    ///
    /// let sleeper = Process::fork(|| -> u8 { loop { std::thread::park() } })?;
    /// let stop = CancelFd::new()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| stop.cancel());
    ///     assert_eq!(sleeper.join_timeout(stop.within(Duration::from_secs(60)))?, None);
    ///     ossature::Result::Ok(())
    /// })?;
    /// sleeper.kill()?;
    /// sleeper.join()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn join_timeout<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<Option<ExitStatus>> {
        /// The pause between two looks at a child that the kernel reports as ended but that cannot be reaped yet. A
        /// tracer may hold the child, or its fork server ended and no process has reaped the child.
        const PAUSE: Duration = Duration::from_millis(1);
        let until = timeout.into();
        self.check_parent("can only join a child process")?;
        loop {
            let child = match self.now()? {
                // Another thread has seen the end, and may still be waiting until the child is reaped.
                Now::Ended(exit) => return Ok(self.try_reap()?.or(Some(exit))),
                Now::Alive(child) => child,
                Now::Unknown => return Ok(None), // excluded by the first question
            };
            if child.is_this_thread() {
                return Err(joins_itself("the process"));
            }
            // This thread holds no lock here, so other threads can wait, ask and signal.
            if !child.wait_for_change(until)? {
                return Ok(None);
            }
            drop(child);
            if let Some(exit) = self.try_reap()? {
                return Ok(Some(exit));
            }
            if until.is_over()? {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether the child has not ended yet. Reaps the child if it has ended.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn is_alive(&self) -> Result<bool> {
        self.check_parent("can only test a child process")?;
        if self.exit_status()?.is_some() {
            return Ok(false);
        }
        // The end of a fork server's child may be visible before its status is known.
        match self.now()? {
            Now::Alive(child) => Ok(poll(&mut [PollFd::new(&*child, PollFlags::IN)], Deadline::NOW)? == 0),
            Now::Ended(_) | Now::Unknown => Ok(false),
        }
    }

    /// Returns how the child ended; `None` while it runs. Reaps the child if it has ended.
    ///
    /// The fork server reports the status of its children. This call waits for the report for at most a tenth of a
    /// second, and then returns `None`; a later call returns the status.
    ///
    /// In a process that did not start the child, returns what was known when that process was forked.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after [`close`](Self::close).
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        match self.known()? {
            None if self.is_ours() => match self.try_reap()? {
                None if self.has_ended_without_status()? => self.join_timeout(Duration::from_millis(100)),
                seen => Ok(seen),
            },
            known => Ok(known),
        }
    }

    /// Whether the child is of the fork server and has ended, but the server has not sent its exit status.
    fn has_ended_without_status(&self) -> Result<bool> {
        match self.now()? {
            Now::Alive(child) if child.ends_before_its_status() => {
                Ok(poll(&mut [PollFd::new(&*child, PollFlags::IN)], Deadline::NOW)? > 0)
            }
            _ => Ok(false),
        }
    }

    /// Returns how the child ended, as Python counts: the exit code, or the signal number as a negative number. `None`
    /// while the child runs and after [`close`](Self::close). In rare cases also `None` because the status is unknown;
    /// [`exit_status`](Self::exit_status) distinguishes these.
    #[doc(alias = "exitcode")]
    pub fn exit_code(&self) -> Option<i32> {
        self.exit_status().ok()??.python_code()
    }

    /// Returns the panic that ended the child, once its end was seen.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after [`close`](Self::close).
    pub fn panic(&self) -> Result<Option<PanicReport>> {
        self.exit_status()?;
        Ok(self.0.state.lock().panic.clone())
    }

    /// Sends a signal to the child, never to another process that has the same number now. A child that has ended
    /// already is not an error.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after [`close`](Self::close), [`ErrorKind::Unsupported`] for a thread, `EPERM` when the
    /// child belongs to another user by now. [`ErrorKind::NotAllowed`] in a forked child that was not
    /// [given](crate::multiprocessing::process::ProcessBuilder::fork_with) this handle.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match self.now()? {
            Now::Ended(_) => Ok(()),
            Now::Alive(child) if child.pid().is_none() => {
                Err(Error::new(ErrorKind::Unsupported, "a thread cannot be signalled: use a process instead"))
            }
            Now::Alive(child) => Ok(child.signal(signal)?),
            Now::Unknown => Err(Error::new(
                ErrorKind::NotAllowed,
                "can only signal a child process, or a process whose handle fork_with passed to this process",
            )),
        }
    }

    /// Requests the child's end with `SIGTERM`, which by default ends it at once. Neither destructors nor finalizers
    /// run, and its own children continue. A pipe or queue in use may be left in the middle of a message. Locks of
    /// [`sync`](crate::multiprocessing::sync) are not left locked: the next holder sees that they are abandoned.
    ///
    /// **A child that blocks `SIGTERM` does not end by it.** Children start with `SIGTERM` unblocked, even if this
    /// process blocks it. A child that blocks `SIGTERM` later, or by its [mask][signal_mask], has to read
    /// it from a descriptor.
    ///
    /// A better way is to request the end by an event or a closed pipe.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    ///
    /// [signal_mask]: crate::multiprocessing::process::ProcessBuilder::signal_mask
    #[doc(alias = "SIGTERM")]
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills the child with `SIGKILL`, which it cannot refuse. See [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    #[doc(alias = "SIGKILL")]
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Interrupts the child with `SIGINT`, as control-C does. Differs from Python, where that is an exception and the
    /// exit code 1: by default it ends the child like [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    #[doc(alias = "SIGINT")]
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Closes the handle and all its copies: from now on their calls fail with [`ErrorKind::Closed`]. Closing twice has
    /// no effect.
    ///
    /// This call closes the descriptors of the handles, if they were not closed when the end was seen. Only a
    /// descriptor that was lent (`AsFd`) stays open until the last handle is dropped, because others may be polling it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] while it runs: nothing is closed then.
    pub fn close(&self) -> Result<()> {
        if self.0.state.lock().closed {
            return Ok(());
        }
        if self.is_ours() && self.exit_status()?.is_none() {
            let message = "cannot close a process while it is still running: call join() or terminate() first";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut state = self.0.state.lock();
        state.closed = true;
        let rest = (state.child.take(), state.report.take(), state.panic.take());
        drop(state);
        drop(rest);
        Ok(())
    }

    /// Whether the process is a child of the calling process.
    fn is_ours(&self) -> bool {
        self.0.generation == generation()
    }

    fn check_parent(&self, message: &'static str) -> Result<()> {
        if self.is_ours() { Ok(()) } else { Err(Error::new(ErrorKind::NotAllowed, message)) }
    }

    /// Returns the child's exit status if its end was seen before, otherwise the child.
    fn now(&self) -> Result<Now> {
        let state = self.0.state.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Closed, "process object is closed"));
        }
        Ok(match (state.end, &state.child) {
            (Some(exit), _) => Now::Ended(exit),
            (None, Some(child)) => Now::Alive(child.clone()),
            (None, None) => Now::Unknown,
        })
    }

    /// Returns the child's exit status if its end was seen before.
    fn known(&self) -> Result<Option<ExitStatus>> {
        match self.now()? {
            Now::Ended(exit) => Ok(Some(exit)),
            Now::Alive(_) | Now::Unknown => Ok(None),
        }
    }

    /// The address that identifies this child.
    pub(super) fn place(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Closes the descriptors in a forked sibling that does not use them.
    pub(super) fn let_go_in_child(&self) {
        let rest = self.0.state.try_lock().map(|mut state| (state.child.take(), state.report.take()));
        drop(rest);
    }

    /// Checks whether the child has ended. If so, reaps the child, reads its report, closes its descriptors and removes
    /// it from the list of children.
    pub(super) fn try_reap(&self) -> Result<Option<ExitStatus>> {
        let mut state = self.0.state.lock();
        let Some(child) = state.child.clone() else { return Ok(state.end) };
        if state.end.is_some() {
            drop(state);
            self.release(&*child);
            return self.known();
        }
        let Some(exit) = child.reap()? else { return Ok(None) };
        state.end = Some(exit);
        let report = state.report.take();
        if !exit.success() {
            state.panic = child.panic().or_else(|| PanicReport::receive(report.as_ref()?));
        }
        drop(state);
        self.release(&*child);
        drop((report, child));
        self.leave();
        Ok(Some(exit))
    }

    /// Drops the handle of a child that was reaped.
    fn release(&self, child: &dyn ChildHandle) {
        if child.join_thread() {
            let rest = self.0.state.lock().child.take();
            drop(rest);
        }
    }

    fn leave(&self) {
        let mut children = self.0.siblings.0.lock();
        let place = children.iter().position(|child| child == self);
        let gone = place.map(|place| children.remove(place));
        drop(children);
        drop(gone); // outside the lock: it may be the last handle
    }
}

/// Whether both refer to the same child.
impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Process {}

/// Returns the sentinel: readable once the child has ended. In a forked child that was not given this handle, the
/// sentinel is always readable.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let sentinel = self.0.lent.get_or_init(|| match self.0.state.lock().child.clone() {
            Some(child) => Sentinel::Child(child),
            None => EventFd::counter(1)
                .and_then(AboveStandard::above_standard)
                .map_or_else(|_| Sentinel::Stdin(std::io::stdin()), Sentinel::Ended),
        });
        match sentinel {
            Sentinel::Child(child) => child.as_fd(),
            Sentinel::Ended(event) => event.as_fd(),
            Sentinel::Stdin(stdin) => stdin.as_fd(),
        }
    }
}

as_raw_fd!(Process);

/// Prints the process as Python does: `<Process name='Process-1' pid=71 parent=70 stopped exitcode=-SIGTERM>`.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.0.identity.named.map_or("Process", Context::prefix);
        write!(f, "<{class} name='{}'", self.name())?;
        if let Some(pid) = self.pid() {
            write!(f, " pid={}", pid.as_raw_nonzero())?;
        }
        write!(f, " parent={}", self.0.parent.as_raw_nonzero())?;
        match self.exit_status() {
            Err(error) if error.kind() == ErrorKind::Closed => f.write_str(" closed")?,
            _ if !self.is_ours() => f.write_str(" unknown")?,
            Ok(None) => f.write_str(" started")?,
            Ok(Some(exit)) => write!(f, " stopped exitcode={}", exit_name(exit))?,
            Err(_) => f.write_str(" unknown")?,
        }
        f.write_str(if self.daemon() { " daemon>" } else { ">" })
    }
}

/// Formats an exit as Python does: 0, 3, -SIGTERM.
fn exit_name(exit: ExitStatus) -> Cow<'static, str> {
    match exit {
        ExitStatus::Code(code) => code.to_string().into(),
        ExitStatus::Signal { signal, .. } => match numbered(signal) {
            Some(signal) => format!("-{}", name(signal)).into(),
            None => format!("-{signal}").into(),
        },
        ExitStatus::Unknown => "unknown".into(),
    }
}
