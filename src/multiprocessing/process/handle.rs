//! A process that was started, for those who wait for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{Exit, Pid, Signal, generation};
use ossature_sys::sync::lock::Lock;

use super::builder::Builder;
use super::era::{Era, pid};
use super::{PanicReport, Report};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::start::{Life, Started};
use crate::thread::joins_itself;

/// A child of this process, or a thread in the guise of one. All copies of a handle speak of the same child, and as many threads
/// as like to may wait for it, each with its own deadline.
///
/// As a descriptor it is Python's *sentinel*: readable once the child has ended, so it can stand in a poll, an epoll or a
/// [`Selector`](crate::select::selectors) beside anything else.
///
/// Dropping all handles neither waits nor ends anything: the child goes on, and is reaped by [`active_children`], by the next
/// start, or at this process's end, which waits for it.
///
/// [`active_children`]: super::active_children
#[derive(Clone)]
pub struct Process(Arc<Core>);

struct Core {
    name: Lock<String>,
    birth: Birth,
    /// What it is a child of.
    era: &'static Era,
    parent: Pid,
    life: Life,
    state: Lock<State>,
}

/// What a child was at its start.
pub(crate) struct Birth {
    pub(crate) name: String,
    pub(crate) identity: Vec<u32>,
    pub(crate) named: Option<Context>,
    pub(crate) daemon: bool,
}

struct State {
    report: Option<OwnedFd>,
    end: Option<Exit>,
    panic: Option<PanicReport>,
    closed: bool,
}

impl Process {
    /// A process to be started: its name, and what else it shall be.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts a copy of this process, which runs `body` and ends with the exit code of its [answer](Report): see
    /// [`Builder::fork`].
    ///
    /// # Errors
    /// As [`Builder::fork`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::Process;
    ///
    /// let name = String::from("bob");
    /// let process = Process::fork(|| println!("hello {name}"))?;
    /// process.join()?;
    /// assert_eq!(process.exit_code(), Some(0));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn fork<R: Report>(body: impl FnOnce() -> R) -> Result<Self> {
        Self::builder().fork(body)
    }

    /// The handle of what was just started, which stands among the children from now on.
    pub(super) fn begun(era: &'static Era, mut birth: Birth, started: Started) -> Self {
        let state = State { report: started.report, end: None, panic: None, closed: false };
        let process = Self(Arc::new(Core {
            name: Lock::new(std::mem::take(&mut birth.name)),
            birth,
            era,
            parent: pid(),
            life: started.life,
            state: Lock::new(state),
        }));
        era.children.lock().push(process.clone());
        process
    }

    /// Its name, which means nothing.
    pub fn name(&self) -> String {
        self.0.name.lock().clone()
    }

    /// Renames it, here: the child does not hear of it.
    pub fn set_name(&self, name: impl Into<String>) {
        let before = std::mem::replace(&mut *self.0.name.lock(), name.into());
        drop(before);
    }

    /// Its number among this process's children, after those of its ancestors.
    pub fn identity(&self) -> &[u32] {
        &self.0.birth.identity
    }

    /// Whether it ends with this process.
    pub fn daemon(&self) -> bool {
        self.0.birth.daemon
    }

    /// Its number: `None` for a thread. After its end was seen another process may have it.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> Option<Pid> {
        self.0.life.pid()
    }

    /// Waits for its end. Any number of threads may, and again afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::NotAllowed`] in a process that did not start it, [`ErrorKind::Closed`] after [`close`](Self::close),
    /// [`ErrorKind::WouldDeadlock`] in the thread itself that it is.
    pub fn join(&self) -> Result<Exit> {
        let unknown = || Error::new(ErrorKind::Os, "the wait ended without an end");
        self.join_timeout(Deadline::NEVER)?.ok_or_else(unknown) // without a deadline there is always an end
    }

    /// Waits for its end until the deadline; `None` when the time ran out. For a child of the fork server also when only how it
    /// ended is not known, because the server is stopped: [`is_alive`](Self::is_alive) is false then.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<Exit>> {
        /// How often to look again at what the kernel calls ended and cannot be reaped yet: while a tracer has it, or
        /// nobody has reaped what a fork server left behind.
        const PAUSE: Duration = Duration::from_millis(1);
        let deadline = timeout.into();
        self.check_parent("can only join a child process")?;
        if matches!(&self.0.life, Life::Thread(life) if life.is_here()) {
            return Err(joins_itself("the process"));
        }
        loop {
            if let Some(exit) = self.known()? {
                return Ok(Some(exit));
            }
            // Nothing is held meanwhile, so that everybody else can wait, ask and signal.
            if !self.0.life.wait_for_news(deadline)? {
                return Ok(None);
            }
            if let Some(exit) = self.look()? {
                return Ok(Some(exit));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether it has not ended yet. Reaps it if it has.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn is_alive(&self) -> Result<bool> {
        self.check_parent("can only test a child process")?;
        if self.exit()?.is_some() {
            return Ok(false);
        }
        // Of a fork server's child the end may be seen and how it came not be known.
        Ok(poll(&mut [PollFd::new(self, PollFlags::IN)], Deadline::NOW)? == 0)
    }

    /// How it ended, `None` while it runs. Reaps it if it has ended.
    ///
    /// Of a child of the fork server that has ended, `None` also while the server does not say how, which is waited for no
    /// longer than a tenth of a second; it is not lost when it comes later.
    ///
    /// In a process that did not start it, what was known when that was forked.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after [`close`](Self::close).
    pub fn exit(&self) -> Result<Option<Exit>> {
        match self.known()? {
            None if self.is_ours() => match self.look()? {
                None if self.has_ended_untold()? => self.join_timeout(Duration::from_millis(100)),
                seen => Ok(seen),
            },
            known => Ok(known),
        }
    }

    /// Whether it is a child of the fork server that has ended, of whose end the server has not spoken.
    fn has_ended_untold(&self) -> Result<bool> {
        let is_ward = matches!(self.0.life, Life::Ward(_));
        Ok(is_ward && poll(&mut [PollFd::new(self, PollFlags::IN)], Deadline::NOW)? > 0)
    }

    /// How it ended, as Python counts: the exit code, or the number of the signal below zero. `None` while it runs, after
    /// [`close`](Self::close), and in the rare case that nobody knows, which [`exit`](Self::exit) tells apart.
    #[doc(alias = "exitcode")]
    pub fn exit_code(&self) -> Option<i32> {
        self.exit().ok()??.python_code()
    }

    /// The panic that ended it, once its end was seen.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after [`close`](Self::close).
    pub fn panic(&self) -> Result<Option<PanicReport>> {
        self.exit()?;
        Ok(self.0.state.lock().panic.clone())
    }

    /// Sends it a signal, or nobody: never another process that got its number. One that has ended already is no error.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after [`close`](Self::close), [`ErrorKind::Unsupported`] for a thread, `EPERM` when it became
    /// another user's.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.known()?.is_some() {
            return Ok(());
        }
        if matches!(self.0.life, Life::Thread(_)) {
            return Err(Error::new(ErrorKind::Unsupported, "a thread cannot be signalled: start a process"));
        }
        Ok(self.0.life.signal(signal)?)
    }

    /// Asks it to end, with `SIGTERM`: by default that ends it at once, where it is. Neither destructors nor
    /// finalizers run, its own children go on, and a pipe or queue in use may be left in the middle of a message. Locks of
    /// [`sync`](crate::multiprocessing::sync) are not left locked: they tell the next holder.
    ///
    /// Better is to tell it, by an event or a closed pipe.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    #[doc(alias = "SIGTERM")]
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills it with `SIGKILL`, which it cannot refuse. See [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    #[doc(alias = "SIGKILL")]
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Interrupts it with `SIGINT`, as control-C does. Differs from Python, where that is an exception and the exit code 1:
    /// by default it ends the child like [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    #[doc(alias = "SIGINT")]
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Says that nothing is wanted of it any more: from now on all handles answer that they are closed. Closing twice is
    /// fine. The descriptor goes with the last handle, since others may be polling it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] while it runs: nothing is closed then.
    pub fn close(&self) -> Result<()> {
        if self.0.state.lock().closed {
            return Ok(());
        }
        if self.is_ours() && self.exit()?.is_none() {
            let message = "cannot close a process while it is still running: first call join() or terminate()";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut state = self.0.state.lock();
        state.closed = true;
        let rest = (state.report.take(), state.panic.take());
        drop(state);
        drop(rest);
        Ok(())
    }

    /// Whether it is a child of the process that asks.
    fn is_ours(&self) -> bool {
        self.0.era.generation() == generation()
    }

    fn check_parent(&self, message: &'static str) -> Result<()> {
        if self.is_ours() { Ok(()) } else { Err(Error::new(ErrorKind::NotAllowed, message)) }
    }

    /// Its end if that was seen before.
    fn known(&self) -> Result<Option<Exit>> {
        let state = self.0.state.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Closed, "process object is closed"));
        }
        Ok(state.end)
    }

    /// Looks whether it has ended; if so it is reaped, its report is read, and it leaves the list of the children.
    pub(super) fn look(&self) -> Result<Option<Exit>> {
        let mut state = self.0.state.lock();
        if state.end.is_some() {
            return Ok(state.end);
        }
        let Some(exit) = self.0.life.reap()? else { return Ok(None) };
        state.end = Some(exit);
        let report = state.report.take();
        if !exit.success() {
            state.panic = self.0.life.panic().or_else(|| PanicReport::receive(report.as_ref()?));
        }
        drop(state);
        drop(report);
        self.leave();
        Ok(Some(exit))
    }

    fn leave(&self) {
        let mut children = self.0.era.children.lock();
        let place = children.iter().position(|child| child == self);
        let gone = place.map(|place| children.remove(place));
        drop(children);
        drop(gone); // outside the lock: it may be the last handle
    }
}

/// Whether both speak of the same child.
impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Process {}

/// The sentinel: readable from its end on.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.life.as_fd()
    }
}

/// As Python prints it: `<Process name='Process-1' pid=71 parent=70 stopped exitcode=-SIGTERM>`.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.0.birth.named.map_or("Process", Context::prefix);
        write!(f, "<{class} name='{}'", self.name())?;
        if let Some(pid) = self.pid() {
            write!(f, " pid={}", pid.as_raw_nonzero())?;
        }
        write!(f, " parent={}", self.0.parent.as_raw_nonzero())?;
        match self.exit() {
            Err(error) if error.kind() == ErrorKind::Closed => f.write_str(" closed")?,
            _ if !self.is_ours() => f.write_str(" unknown")?,
            Ok(None) => f.write_str(" started")?,
            Ok(Some(exit)) => write!(f, " stopped exitcode={}", super::exit_name(exit))?,
            Err(_) => f.write_str(" unknown")?,
        }
        f.write_str(if self.daemon() { " daemon>" } else { ">" })
    }
}
