//! The settings of a process before its start.

use std::fmt;
use std::time::Duration;

use ossature_sys::sched::thread_id;

use super::{Ends, Process, Termination};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::authkey::AuthKey;
use crate::multiprocessing::context::{self, Context};
use crate::multiprocessing::logging::warning;
use crate::multiprocessing::start::{self, Patience};
use crate::multiprocessing::state::ends::LettingGo;
use crate::multiprocessing::state::log_setup::LogSetup;
use crate::multiprocessing::state::surroundings::Surroundings;
use crate::multiprocessing::state::{ChildConfig, Identity, OwnState, Started, pid, process_state};
use crate::multiprocessing::util;

/// A process that is not started yet: its name, and settings that it otherwise inherits.
///
/// Making one uses up a number of this process's children, started or not.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::AuthKey;
/// use ossature::multiprocessing::process::ProcessBuilder;
/// use ossature::multiprocessing::{Context, Process, current_process, pipe};
///
/// let (near, far) = pipe()?;
/// let builder: ProcessBuilder = Process::builder();
/// let child = builder
///     .name("clerk")
///     .daemon(true)
///     .context(Context::Fork)
///     .authkey(AuthKey::from("between the two of us"))
///     .start_timeout(Duration::from_secs(60))
///     .fork_with(far, |far| far.send(&current_process().name()))?;
/// assert_eq!(near.recv::<String>()?, "clerk");
/// assert!(child.join()?.success());
///
/// let thread = Process::builder().thread(|| 5_u8)?; // under the handle of a process
/// thread.join()?;
/// assert_eq!((thread.exit_code(), thread.pid()), (Some(5), None));
/// # Ok::<(), ossature::Error>(())
/// ```
#[must_use = "nothing runs until the process is started"]
#[doc(alias = "Builder")]
pub struct ProcessBuilder {
    name: Option<String>,
    number: u32,
    context: Option<Context>,
    daemon: Option<bool>,
    authkey: Option<AuthKey>,
    pub(super) ends_with_parent: bool,
    /// Whether the process may have children although it ends with this process: the supervisor of a pool.
    supervises: bool,
    pub(super) surroundings: Surroundings,
    /// The time limit of the start, if [`start_timeout`](Self::start_timeout) set one.
    patience: Option<Option<Duration>>,
    /// The state of the process that made the builder.
    state: &'static OwnState,
}

impl ProcessBuilder {
    pub(super) fn new() -> Self {
        let state = process_state();
        Self {
            name: None,
            number: state.count(),
            context: None,
            daemon: None,
            authkey: None,
            ends_with_parent: false,
            supervises: false,
            surroundings: Surroundings::default(),
            patience: None,
            state,
        }
    }

    /// Sets the name of the process. The default is `Process-` and numbers, as in `Process-3:2` for the second child of
    /// the third child.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Makes the new process a daemon, which ends with this process and may not have children. Without this call the
    /// new process is a daemon if this process is a daemon.
    ///
    /// A daemon gets `SIGTERM` at the normal end of this process. The daemon is killed when this process ends in any
    /// other way, whatever signals the daemon blocks or handles. A daemon is not a daemon in the sense of Unix.
    ///
    /// If the main thread started the daemon by fork or spawn, the kernel kills it (`PR_SET_PDEATHSIG`). A change of
    /// the daemon's effective user or group clears that: call
    /// [`end_with_parent`](ossature_sys::process::end_with_parent) after the change. Every other daemon has a small
    /// thread that watches the parent.
    ///
    /// Differs from Python, which waits forever for a daemon that ignores `SIGTERM` or is stopped. Python lets the
    /// daemon live on when its parent is killed. Here the daemon is killed 5 s after the `SIGTERM`, or after the time
    /// set by [`set_daemon_grace`](crate::multiprocessing::util::set_daemon_grace).
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// Sets an authentication key for the child other than this process's key. A thread has the key of its process, so
    /// the start of a [thread](Self::thread) with this option fails with [`ErrorKind::Unsupported`].
    pub fn authkey(mut self, key: AuthKey) -> Self {
        self.authkey = Some(key);
        self
    }

    /// Sets the start method. The default name of the process then begins with the name of the method, as in
    /// `ForkProcess-1`.
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Sets the maximum time from the start of the process to the start of its task; `None` sets no limit. The default
    /// is the limit of [`set_start_timeout`](crate::multiprocessing::set_start_timeout). A thread ignores this setting.
    /// A fork observes it only while the child takes on an option such as [`current_dir`](Self::current_dir).
    ///
    /// A process that takes longer is killed, and the start is an error. The start waits for the end of the killed
    /// process, for at most a tenth of a second beyond the limit.
    pub fn start_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.patience = Some(timeout.into());
        self
    }

    /// Starts the process as a copy of this process, which runs `body` and ends with the exit code of its [return
    /// value](Termination).
    ///
    /// The copy also has *every* pipe end, connection and listener of this process. A child that reads a pipe to its
    /// end waits forever, because the child itself holds the other end. [`fork_with`](Self::fork_with) gives the child
    /// only the named ends. The copy closes the handles of other children.
    ///
    /// The closure may borrow: the copy has its own copy of all memory, and its changes there are invisible here. The
    /// process ends when the closure returns. `std::process::exit` ends it as well, but also runs the functions that
    /// this program registered with atexit(3). (A closure that never returns must name a return type:
    /// `|| -> u8 { ... }`.)
    ///
    /// This call first flushes std's standard output, because otherwise both processes would write the buffered text.
    /// Like every print, the flush waits while the pipe or terminal is full. No start timeout limits that wait.
    ///
    /// # Errors
    /// * [`ErrorKind::NotAllowed`] in a daemon, and in a process other than the one that the builder was made in.
    /// * [`ErrorKind::MultiThreaded`] while other threads run, [`ErrorKind::LockHeld`] with a shared lock or permit
    ///   held: see [`fork`](ossature_sys::process::fork()).
    /// * [`ErrorKind::Os`] with `ECHILD` when `SIGCHLD` is ignored, as it stays over an exec when a parent ignored it:
    ///   the child's end would be lost. Give it its default action first.
    /// * [`ErrorKind::Os`] with the kernel's errno for an option that the child could not take on, such as
    ///   [`current_dir`](Self::current_dir). The message names the value.
    /// * `EAGAIN`, `ENOMEM`, `EMFILE`: then no process remains.
    ///
    /// A child that was killed because it took too long to take on its options is [`ErrorKind::StartFailed`], with its
    /// end.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::Process;
    ///
    /// let words = ["seven", "and", "eight"];
    /// let process = Process::builder().name("clerk").fork(|| words.len() as u8)?; // it may borrow
    /// process.join()?;
    /// assert_eq!(process.exit_code(), Some(3));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn fork<R: Termination>(self, body: impl FnOnce() -> R) -> Result<Process> {
        self.begin(Context::Fork, |config, patience| start::fork::fork(config, patience, None, || body().report()))
    }

    /// Starts the process as a copy of this process that has only the given [`ends`](Ends), and passes them to `body`.
    /// The copy has no other connection, pipe end, listener or process handle that this library made. Use this call for
    /// a child that should end when its pipe ends.
    ///
    /// The child closes every other end. If the closure captured such an end, its calls report that the other side has
    /// ended. (The descriptor's number stays taken, so that the end never reaches another file.)
    ///
    /// The parent drops `ends` when this call returns, also with an error. Pass a reference to an end that the parent
    /// keeps, for example to a listener at a path. The parent made the path, so the parent removes it when its last
    /// owner there is dropped. A listener that is passed by value therefore loses its path at once. The child still has
    /// the socket, but no client can connect with the path any more.
    ///
    /// The child has everything else as with [`fork`](Self::fork): memory, locks, shared memory, and the descriptors of
    /// files and sockets that this library does not know.
    ///
    /// Differs from Python, whose forked children have everything and must close the ends of others by hand.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Process, pipe};
    ///
    /// let (near, far) = pipe()?;
    /// let child = Process::builder().name("clerk").fork_with(far, |far| {
    ///     while let Ok(text) = far.recv::<String>() { // until the pipe ends: this process has no copy of `near`
    ///         println!("{text}");
    ///     }
    /// })?;
    /// near.send("work")?;
    /// drop(near);
    /// assert!(child.join()?.success());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "close_fds")]
    pub fn fork_with<E: Ends, R: Termination>(self, ends: E, body: impl FnOnce(E) -> R) -> Result<Process> {
        let letting_go = LettingGo::of_all_but(&ends)?;
        self.begin(Context::Fork, |config, patience| {
            start::fork::fork(config, patience, Some(letting_go), || body(ends).report())
        })
    }

    /// Starts a thread of this process with the interface of a process: without a process number, signals or memory of
    /// its own.
    ///
    /// # Errors
    /// `EAGAIN` when the system has no room for another thread, `EMFILE` when no descriptor is left.
    pub fn thread<R: Termination>(self, body: impl FnOnce() -> R + Send + 'static) -> Result<Process> {
        self.begin(Context::Thread, |config, _| start::thread::thread(config, || body().report()))
    }

    /// Marks the process as the supervisor of a pool. It counts as a daemon here: it receives `SIGTERM` at the end of
    /// this process, which does not wait for it first. It may have children, and watches its parent itself.
    pub(crate) fn supervises(mut self) -> Self {
        self.supervises = true;
        self
    }

    /// Sets a name made from a class name and the process's numbers: `SyncManager-1`.
    pub(crate) fn named_as(mut self, class: &str) -> Self {
        let numbers: Vec<String> = self.identity().iter().map(u32::to_string).collect();
        self.name = Some(format!("{class}-{}", numbers.join(":")));
        self
    }

    /// The start method, if one was set.
    pub(crate) fn wanted(&self) -> Option<Context> {
        self.context
    }

    /// Starts the process with `start`, which does the part that depends on the start method.
    pub(crate) fn begin(
        self,
        method: Context,
        start: impl FnOnce(ChildConfig, Patience) -> Result<Started>,
    ) -> Result<Process> {
        let now = process_state();
        if !self.state.is_current() {
            let message = "can only start a process object created by current process";
            return Err(Error::new(ErrorKind::NotAllowed, message));
        }
        if now.daemon && method != Context::Thread {
            let message = "daemonic processes are not allowed to have children";
            return Err(Error::new(ErrorKind::NotAllowed, message));
        }
        if method == Context::Thread && self.authkey.is_some() {
            let message = "a thread cannot have an authkey of its own: start a process";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        self.surroundings.check(method)?;
        if self.surroundings.keeps_group_of_root() {
            warning!(
                "the new process has another user but keeps group 0, the group of root: set another group with ProcessBuilder::gid"
            );
        }
        now.reap();
        util::arm()?;
        let (name, identity) = (self.full_name(), self.identity());
        let daemon = self.is_daemon() && !self.supervises;
        let shown_as_daemon = daemon || self.supervises;
        let config = ChildConfig {
            name: name.clone(),
            identity: identity.clone(),
            named: self.context,
            method,
            daemon,
            bound: daemon || self.ends_with_parent,
            surroundings: self.surroundings,
            authkey: match self.authkey {
                Some(key) => key,
                None => now.authkey()?,
            },
            temp_dir: now.temp_dir.lock().as_ref().map(|known| known.path().to_owned()),
            log: LogSetup::now(),
            parent: (pid().as_raw_nonzero().get(), now.name()),
            by_first_thread: method != Context::Forkserver && thread_id() == pid(),
            sentinel: None,
        };
        let patience = Patience::from_now(self.patience.unwrap_or_else(context::start_timeout));
        let started = start(config, patience)?;
        Ok(Process::started(
            &now.children,
            Identity { name, numbers: identity, named: self.context, daemon: shown_as_daemon },
            started,
        ))
    }

    fn is_daemon(&self) -> bool {
        self.daemon.unwrap_or(self.state.daemon)
    }

    fn identity(&self) -> Vec<u32> {
        let mut identity = Vec::with_capacity(self.state.identity.len() + 1);
        identity.extend_from_slice(&self.state.identity);
        identity.push(self.number);
        identity
    }

    fn full_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let mut name = self.context.map_or("Process", Context::prefix).to_owned();
        let mut separator = '-';
        for number in self.identity() {
            use fmt::Write;
            let _ = write!(name, "{separator}{number}"); // text takes everything
            separator = ':';
        }
        name
    }
}

impl fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.context.map_or("Process", Context::prefix);
        write!(f, "<{class} name='{}' parent={} initial", self.full_name(), pid().as_raw_nonzero())?;
        f.write_str(if self.is_daemon() { " daemon>" } else { ">" })
    }
}
