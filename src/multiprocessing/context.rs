//! The methods to start a process, and the default method.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// A method to start a process.
///
/// | | the child has | needs | costs |
/// | --- | --- | --- | --- |
/// | [`Fork`](Self::Fork) | everything that its parent had | one thread, no lock held | depends on the size of the parent |
/// | [`Spawn`](Self::Spawn) | its arguments | [`freeze_support`](super::freeze_support) | an exec |
/// | [`Forkserver`](Self::Forkserver) | its arguments | the same, with one thread at that line | a fork of a small process |
/// | [`Thread`](Self::Thread) | everything, because it is a thread and not a process | nothing | a thread |
///
/// In a test of libtest only `Spawn` and `Thread` work. libtest itself runs in another thread than its tests, also with
/// `--test-threads=1`. `Fork` refuses that thread, and the fork server finds it at its `freeze_support`. Tests of the
/// other two have a `main` of their own (`harness = false`).
///
/// Differs from Python: the default is `Spawn` wherever nothing else was set, because it works with other threads and
/// in tests. Python had `fork` up to 3.13 and has `forkserver` since. Locks and other objects in shared memory can be
/// sent to processes of every method, since they are sent as descriptors.
///
/// `Spawn` and `Forkserver` find the program in /proc, so /proc must be mounted when a process is started. They cannot
/// find a program that was started through its loader (`ld-linux.so ./program`); the error of the start names it.
///
/// With these two the child's real and saved users and groups are the effective ones of its parent. The child has only
/// capabilities that its parent had. So the children of a daemon that acts as another user for a while cannot change
/// back.
///
/// A child's `std::env::args()` are its parent's with `Fork` only. The signal mask is inherited with `Fork` and
/// `Spawn`; with `Forkserver` it is the server's. With all three a child begins with `SIGTERM` and `SIGINT` unblocked,
/// unless [`signal_mask`](super::process::ProcessBuilder::signal_mask) says otherwise. `Fork` is an error if `SIGCHLD`
/// is ignored.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::Context;
///
/// assert_eq!("forkserver".parse::<Context>()?, Context::Forkserver);
/// assert_eq!(Context::Spawn.to_string(), "spawn");
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "start_method")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Context {
    /// Calls `fork()`: the child is a copy of the parent, so the task may be a closure.
    Fork,
    /// Runs the same program again, with a message that names its task. Works with any number of threads.
    ///
    /// It costs a start of the program, of which the dynamic loader takes a third. With static linking
    /// (`-C target-feature=+crt-static`, or for musl) children start about a third faster, those of the fork server as
    /// well.
    Spawn,
    /// Like `Spawn`, but the new process is a fork of a server that runs the same program. The first start of this kind
    /// starts the server.
    ///
    /// A child has the users, groups and capabilities of the process that starts it. Each start compares these rights,
    /// the bounding set and `no_new_privs` with those of the server. A process whose rights have changed abandons its
    /// server and starts a new one.
    ///
    /// A child inherits everything else as it was when the server was made:
    /// * the environment, resource limits, umask, nice value, scheduling and allowed processors;
    /// * standard output, standard error, the session and its terminal;
    /// * the cgroup, namespaces and root directory;
    /// * the signal mask, ignored signals, and sandboxes (seccomp, Landlock).
    ///
    /// A program that changes one of these should then call [`stop_forkserver`](super::stop_forkserver). The next start
    /// makes a new server.
    Forkserver,
    /// Starts no process, but a thread with the interface of a process (Python's `multiprocessing.dummy`).
    Thread,
}

impl Context {
    /// The methods that make processes, the default first: Python's `get_all_start_methods()`.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::{Context, get_all_start_methods};
    ///
    /// assert_eq!(Context::start_methods().map(Context::name), ["spawn", "forkserver", "fork"]);
    /// assert_eq!(get_all_start_methods(), Context::start_methods());
    /// ```
    pub const fn start_methods() -> [Self; 3] {
        [Self::Spawn, Self::Forkserver, Self::Fork]
    }

    /// Python's name of the method.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Spawn => "spawn",
            Self::Forkserver => "forkserver",
            Self::Thread => "thread",
        }
    }

    /// The prefix of the names of processes for which the program named this method.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Fork => "ForkProcess",
            Self::Spawn => "SpawnProcess",
            Self::Forkserver => "ForkServerProcess",
            Self::Thread => "DummyProcess",
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Context {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let all = [Self::Fork, Self::Spawn, Self::Forkserver, Self::Thread];
        all.into_iter().find(|one| one.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, format!("no start method {name:?}: fork, spawn, forkserver or thread"))
        })
    }
}

/// The settings of the program for its starts.
struct Settings {
    default: Option<Context>,
    executable: Option<PathBuf>,
    patience: Option<Duration>,
}

static SETTINGS: Mutex<Settings> =
    Mutex::new(Settings { default: None, executable: None, patience: Some(Duration::from_secs(30)) });

fn settings() -> MutexGuard<'static, Settings> {
    // No change leaves them half made.
    SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the given context, or for `None` the default context, which is then fixed.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{Context, get_context};
///
/// assert_eq!(get_context(Context::Fork), Context::Fork);
/// assert_eq!(get_context(None), Context::Spawn);
/// ```
pub fn get_context(method: impl Into<Option<Context>>) -> Context {
    match method.into() {
        Some(method) => method,
        None => get_start_method(),
    }
}

/// Sets the default method, once in a program and before the first use of the default.
///
/// # Errors
/// `AlreadyStarted` when the default was set or used before; [`force_start_method`] sets it all the same.
///
/// # Examples
/// ```standalone_crate
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::{Context, force_start_method, get_start_method, peek_start_method, set_start_method};
///
/// assert_eq!(peek_start_method(), None, "nobody has set or asked for it");
/// set_start_method(Context::Fork)?;
/// assert_eq!(get_start_method(), Context::Fork);
/// assert_eq!(set_start_method(Context::Spawn).unwrap_err().kind(), ErrorKind::AlreadyStarted);
///
/// force_start_method(Context::Forkserver); // in a test
/// assert_eq!(get_start_method(), Context::Forkserver);
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn set_start_method(method: Context) -> Result<()> {
    match &mut settings().default {
        Some(fixed) => Err(Error::new(
            ErrorKind::AlreadyStarted,
            format!("the start method is already {fixed}; set it once, at the start of main"),
        )),
        free => {
            *free = Some(method);
            Ok(())
        }
    }
}

/// Sets the default method, even if it is already set; `None` allows the program to set it again.
///
/// Differs from Python, where this is `set_start_method(method, force=True)`.
///
/// # Examples
/// See the example of [`set_start_method`].
pub fn force_start_method(method: impl Into<Option<Context>>) {
    settings().default = method.into();
}

/// Returns the default method, which is then fixed.
///
/// # Examples
/// See the example of [`set_start_method`].
pub fn get_start_method() -> Context {
    let [first, ..] = Context::start_methods();
    *settings().default.get_or_insert(first)
}

/// The default method if it was set or fixed; this call does not fix it.
///
/// Differs from Python, where this is `get_start_method(allow_none=True)`.
///
/// # Examples
/// See the example of [`set_start_method`].
pub fn peek_start_method() -> Option<Context> {
    settings().default
}

/// The methods that make processes, the default first.
///
/// # Examples
/// See the example of [`Context::start_methods`].
pub fn get_all_start_methods() -> [Context; 3] {
    Context::start_methods()
}

/// Sets the program that spawned children run, a copy of the same build, instead of the current executable. A relative
/// path is looked up from the working directory at the time of the start.
///
/// No [start timeout](set_start_timeout) bounds the kernel's exec of the program. If the file system of the file does
/// not answer (FUSE, NFS), the exec waits, and the start waits with it. Without this call the program that runs here is
/// executed, and its file is in use already.
///
/// Another build is refused when a process is started, because its tasks and types may mean something else. A copy is
/// known by its build id, which most linkers write by themselves and the others with `-C link-arg=-Wl,--build-id`.
/// Differs from Python, where any interpreter will do.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::{Context, Process, Tasks, freeze_support, set_executable, set_start_timeout, tasks};
///
/// fn work() {}
/// static TASKS: Tasks = tasks![work];
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     freeze_support(TASKS);
///     set_executable(std::env::current_exe()?);
///     set_start_timeout(Duration::from_secs(60));
///     let process = Process::builder().context(Context::Spawn).start(work, ())?;
///     assert!(process.join()?.success());
///     Ok(())
/// }
/// ```
pub fn set_executable(path: impl AsRef<OsStr>) {
    settings().executable = Some(PathBuf::from(path.as_ref()));
}

/// Sets the maximum time from the start of a child to the start of its task. The default is 30 s; `None` means no
/// limit. [`ProcessBuilder::start_timeout`](crate::multiprocessing::process::ProcessBuilder::start_timeout) sets the
/// limit of one child.
///
/// A child that takes longer is killed, and the start is an error.
///
/// # Examples
/// See the example of [`set_executable`].
pub fn set_start_timeout(timeout: impl Into<Option<Duration>>) {
    settings().patience = timeout.into();
}

pub(crate) fn executable() -> Option<PathBuf> {
    settings().executable.clone()
}

pub(crate) fn start_timeout() -> Option<Duration> {
    settings().patience
}
