//! The builder's options for the surroundings of a child.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ossature_sys::process::{Resource, Rlimit};
use ossature_sys::signal::{Signal, SignalSet};

use super::ProcessBuilder;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::state::surroundings::{Environment, Surroundings};

impl ProcessBuilder {
    /// Sets a variable of the child's environment, as [`std::process::Command::env`] does. For [`Context::Spawn`] only;
    /// with other contexts the start fails with [`ErrorKind::Unsupported`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Process, Tasks, freeze_support, tasks};
    /// use ossature::sys::{process::Signal, signal::SignalSet};
    ///
    /// fn check() -> u8 {
    ///     let here = std::env::current_dir().is_ok_and(|directory| directory.as_os_str() == "/");
    ///     let has = |name, value: Option<&str>| std::env::var(name).ok().as_deref() == value;
    ///     u8::from(!(here && has("A", Some("1")) && has("B", Some("2")) && has("C", None)))
    /// }
    ///
    /// static TASKS: Tasks = tasks![check];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let process = Process::builder()
    ///         .context(Context::Spawn)
    ///         .env_clear()
    ///         .env("A", "1")
    ///         .envs([("B", "2"), ("C", "3")])
    ///         .env_remove("C")
    ///         .current_dir("/")
    ///         .umask(0o077)
    ///         .process_group(0) // a new one, which the child leads
    ///         .signal_mask(SignalSet::EMPTY.with(Signal::HUP))
    ///         .end_with_parent()
    ///         .start(check, ())?;
    ///     assert_eq!(process.join()?.code(), Some(0));
    ///     Ok(())
    /// }
    /// ```
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = Some(value.as_ref().to_owned());
        self.surroundings.environment.changes.insert(name.as_ref().to_owned(), value);
        self
    }

    /// Sets several variables of the child's environment, each as [`env`](Self::env) does.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        variables.into_iter().fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Removes a variable from the child's environment, as [`std::process::Command::env_remove`] does. For
    /// [`Context::Spawn`] only.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.surroundings.environment.changes.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Gives the child an empty environment, as [`std::process::Command::env_clear`] does. Later calls of
    /// [`env`](Self::env) add to it. For [`Context::Spawn`] only.
    pub fn env_clear(mut self) -> Self {
        self.surroundings.environment = Environment { cleared: true, changes: BTreeMap::new() };
        self
    }

    /// Sets the child's working directory, as [`std::process::Command::current_dir`] does. The child enters the
    /// directory with the rights of this process, before [`uid`](Self::uid) and [`gid`](Self::gid) take effect.
    ///
    /// A relative path begins at the working directory of this process. If that directory was removed, the start fails
    /// with `ENOENT`. With [`Context::Forkserver`] it does not: the child begins in the working directory of the
    /// server, and a relative path begins there. Give an absolute path if the directory of this process may be removed.
    #[doc(alias = "chdir")]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.surroundings.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets the child's umask: the permission bits that the child's new files do not have.
    ///
    /// A mask above `0o777` makes the start fail with [`ErrorKind::InvalidInput`]. umask(2) would drop the other bits.
    pub fn umask(mut self, mask: u32) -> Self {
        self.surroundings.umask = Some(mask);
        self
    }

    /// Sets a resource limit of the child; several calls set several limits.
    ///
    /// # Examples
    /// ```standalone_crate
    /// # use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
    /// use ossature::sys::process::{Resource, Rlimit};
    ///
    /// # fn work() {}
    /// # static TASKS: Tasks = tasks![work];
    /// # fn main() -> ossature::Result<()> {
    /// # freeze_support(TASKS);
    /// // At most 1 GiB of memory.
    /// let limit = Rlimit { current: Some(1 << 30), maximum: Some(1 << 30) };
    /// let process = Process::builder().rlimit(Resource::As, limit).start(work, ())?;
    /// assert!(process.join()?.success());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "setrlimit")]
    pub fn rlimit(mut self, resource: Resource, limit: Rlimit) -> Self {
        self.surroundings.limits.push((resource as u32, limit.current, limit.maximum));
        self
    }

    /// Puts the child into a process group, as `std`'s `CommandExt::process_group` does; 0 makes a new group, which the
    /// child leads. A signal from the keyboard goes only to the foreground process group.
    #[doc(alias = "setpgid")]
    pub fn process_group(mut self, group: i32) -> Self {
        self.surroundings.group = Some(group);
        self
    }

    /// Sets the child's real, effective and saved user, as `std`'s `CommandExt::uid` does. Without
    /// [`groups`](Self::groups) the child loses all supplementary groups, if this process may change them.
    ///
    /// The main group stays that of this process, as with `CommandExt::uid`. So a child of root stays in group 0 unless
    /// [`gid`](Self::gid) is called too; such a start logs a warning.
    ///
    /// The program's file must be readable and executable for that user.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::Process;
    /// use ossature::sys::process::{effective_group, effective_user};
    ///
    /// fn main() -> ossature::Result<()> {
    ///     // A server that root starts gives its workers up here; another user can only stay the same.
    ///     let (user, group) = if effective_user() == 0 { (65534, 65534) } else { (effective_user(), effective_group()) };
    ///     let mut builder = Process::builder().gid(group).uid(user);
    ///     if effective_user() == 0 {
    ///         builder = builder.groups(&[]);
    ///     }
    ///     let process = builder.fork(move || u8::from((effective_user(), effective_group()) != (user, group)))?;
    ///     assert!(process.join()?.success());
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "setuid")]
    pub fn uid(mut self, user: u32) -> Self {
        self.surroundings.user = Some(user);
        self
    }

    /// Sets the child's main group, as `std`'s `CommandExt::gid` does.
    ///
    /// # Examples
    /// See the example of [`uid`](Self::uid).
    #[doc(alias = "setgid")]
    pub fn gid(mut self, group: u32) -> Self {
        self.surroundings.main_group = Some(group);
        self
    }

    /// Sets the child's supplementary groups, as `std`'s `CommandExt::groups` does.
    ///
    /// # Examples
    /// See the example of [`uid`](Self::uid).
    #[doc(alias = "setgroups")]
    pub fn groups(mut self, groups: &[u32]) -> Self {
        self.surroundings.groups = Some(groups.to_vec());
        self
    }

    /// Blocks exactly these signals in the child's first thread.
    ///
    /// By default the child has the mask of the thread that starts it ([`Context::Forkserver`]: the mask of the
    /// server), but `SIGTERM` and `SIGINT` are unblocked. A parent that reads these signals from a descriptor has them
    /// blocked. With the same mask, its children would not end by [`terminate`](super::Process::terminate).
    ///
    /// Differs from Python, whose children have the parent's mask.
    #[doc(alias = "sigprocmask")]
    pub fn signal_mask(mut self, blocked: impl Into<SignalSet>) -> Self {
        self.surroundings.blocked = Some(blocked.into().iter().map(Signal::as_raw).collect());
        self
    }

    /// Kills the child when this process is killed, or ends without its last steps (`_exit`, an abort). A
    /// [daemon](Self::daemon) ends in the same way. Unlike a daemon, the child may have children, and the normal end of
    /// this process waits for the child.
    ///
    /// A [thread](Self::thread) ends with its process in any case, so this option changes nothing there.
    pub fn end_with_parent(mut self) -> Self {
        self.ends_with_parent = true;
        self
    }
}

impl Surroundings {
    /// The names of the options that were set, which are the names of the builder's methods.
    fn options(&self) -> Vec<&'static str> {
        let all = [
            ("env", self.environment != Environment::default()),
            ("current_dir", self.directory.is_some()),
            ("umask", self.umask.is_some()),
            ("rlimit", !self.limits.is_empty()),
            ("process_group", self.group.is_some()),
            ("uid", self.user.is_some()),
            ("gid", self.main_group.is_some()),
            ("groups", self.groups.is_some()),
            ("signal_mask", self.blocked.is_some()),
        ];
        all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
    }

    /// Checks that a child of the given method can have these surroundings.
    pub(super) fn check(&self, method: Context) -> Result<()> {
        if method == Context::Thread && !self.are_usual() {
            let message = format!("a thread cannot have its own {}: start a process", self.options().join(", "));
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if method != Context::Spawn && self.environment != Environment::default() {
            let message = "only a spawned child can have another environment (`env`): use Context::Spawn, or pass the values as arguments";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if let Some(directory) = self.directory.as_ref().filter(|path| path.as_os_str().as_bytes().contains(&0)) {
            let message = format!("the directory {directory:?} contains a zero byte");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if let Some(mask) = self.umask.filter(|mask| *mask > 0o777) {
            let message = format!("umask {mask:#o} has more than the permission bits: use at most 0o777");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if self.group.is_some_and(|group| group < 0) {
            let message = "the process group is below 0: use the number of a group, or 0 for a new group";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }
}
