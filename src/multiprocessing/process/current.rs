//! The current process.

use std::fmt;

use ossature_sys::process::Pid;

use super::parent_process;
use crate::error::Result;
use crate::multiprocessing::authkey::AuthKey;
use crate::multiprocessing::state::{OwnState, pid, process_state};

/// Returns the current process. The name of the first process of a program is `MainProcess`.
///
/// In a [thread](super::ProcessBuilder::thread) with the interface of a process, it is the process that contains the
/// thread. Differs from Python, whose `multiprocessing.dummy.current_process` is the current thread. Here that is
/// [`threading::current_thread`](crate::threading::current_thread), under the name given to the process.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::connection::AuthKey;
/// use ossature::multiprocessing::{CurrentProcess, current_process, parent_process};
///
/// let process: CurrentProcess = current_process();
/// assert_eq!(process.name(), "MainProcess");
/// assert_eq!(process.pid().as_raw_nonzero().get() as u32, std::process::id());
/// assert!(process.identity().is_empty() && !process.daemon(), "nobody started it with this library");
/// assert!(parent_process().is_none());
///
/// process.set_name("server"); // so its children are named, and its log lines begin
/// process.set_authkey(AuthKey::from("between us"));
/// assert_eq!(process.authkey()?.as_bytes(), b"between us");
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn current_process() -> CurrentProcess {
    CurrentProcess(process_state())
}

/// The current process, from its own view. It cannot wait for itself or end itself here, so methods for that are
/// missing.
///
/// # Examples
/// See the example of [`current_process`].
#[derive(Clone, Copy)]
pub struct CurrentProcess(&'static OwnState);

impl CurrentProcess {
    /// The process's name, for display only.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Renames the process, for its messages and its children; its parent keeps the old name.
    pub fn set_name(&self, name: impl Into<String>) {
        self.0.set_name(name.into());
    }

    /// The process's number.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> Pid {
        pid()
    }

    /// The process's number among its parent's children, after those of its ancestors; empty in the first process.
    pub fn identity(&self) -> &[u32] {
        &self.0.identity
    }

    /// The key with which this process authenticates itself, and which its children inherit. The first process makes 32
    /// random bytes when the key is first needed.
    ///
    /// # Errors
    /// `ENOSYS` or `EPERM` where a sandbox forbids `getrandom(2)`.
    pub fn authkey(&self) -> Result<AuthKey> {
        self.0.authkey()
    }

    /// Sets the authentication key, for children that are started from now on.
    pub fn set_authkey(&self, key: AuthKey) {
        self.0.set_authkey(key);
    }

    /// Whether this process is a daemon, which ends with its parent and may have no children.
    pub fn daemon(&self) -> bool {
        self.0.daemon
    }
}

impl fmt::Debug for CurrentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match (&self.0.parent, self.0.named) {
            (None, _) => "_MainProcess",
            (_, Some(context)) => context.prefix(),
            (_, None) => "Process",
        };
        write!(f, "<{class} name='{}'", self.0.name())?;
        match parent_process().and_then(|parent| parent.pid()) {
            Some(parent) => write!(f, " parent={}", parent.as_raw_nonzero())?,
            None => f.write_str(" parent=None")?,
        }
        f.write_str(" started")?;
        f.write_str(if self.0.daemon { " daemon>" } else { ">" })
    }
}
