//! The surroundings of a child that differ from its parent's: environment, directory, limits, user, and so on.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ossature_sys::errno::Errno;
use ossature_sys::process::{
    Group, Identity, Pid, Resource, Rlimit, effective_group, set_group, set_rlimit, set_umask,
};
use ossature_sys::signal::{self, Signal, SignalSet, set_mask, unblock};
use serde::{Deserialize, Serialize};

use super::ProcessBuilder;
use super::unsettled::{Step, Unsettled};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;

/// The settings of a child that differ from its parent's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// Only for a program that is started anew, so the environment is never sent.
    #[serde(skip)]
    environment: Environment,
    directory: Option<PathBuf>,
    umask: Option<u32>,
    /// The numbers of the resources, the soft and the hard limits.
    limits: Vec<(u32, Option<u64>, Option<u64>)>,
    group: Option<i32>,
    user: Option<u32>,
    main_group: Option<u32>,
    groups: Option<Vec<u32>>,
    /// The numbers of the blocked signals.
    blocked: Option<Vec<i32>>,
}

/// Changes of the environment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Environment {
    cleared: bool,
    /// `None` for a removed variable.
    changes: BTreeMap<OsString, Option<OsString>>,
}

/// All resources of setrlimit(2).
const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// The signals by which a parent asks a child to end. A child begins with these unblocked, unless `signal_mask` was
/// called.
const ENDING: [Signal; 2] = [Signal::TERM, Signal::INT];

impl ProcessBuilder {
    /// Sets a variable of the child's environment, as [`std::process::Command::env`]. For [`Context::Spawn`] only; with
    /// other contexts the start fails with [`ErrorKind::Unsupported`].
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

    /// Sets several variables of the child's environment, as [`env`](Self::env) sets one.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        variables.into_iter().fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Removes a variable from the child's environment, as [`std::process::Command::env_remove`]. For
    /// [`Context::Spawn`] only.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.surroundings.environment.changes.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Gives the child an empty environment, as [`std::process::Command::env_clear`]. Later calls of [`env`](Self::env)
    /// add to it. For [`Context::Spawn`] only.
    pub fn env_clear(mut self) -> Self {
        self.surroundings.environment = Environment { cleared: true, changes: BTreeMap::new() };
        self
    }

    /// Sets the child's working directory, as [`std::process::Command::current_dir`]. The child enters the directory
    /// with the rights of this process, before [`uid`](Self::uid) and [`gid`](Self::gid) take effect.
    ///
    /// A relative path begins at the working directory of this process. If that directory was removed, the start fails
    /// with `ENOENT`. With [`Context::Forkserver`] it does not: the child begins in the working directory of the
    /// server, and a relative path begins there. Give an absolute path if the directory of this process may be removed.
    #[doc(alias = "chdir")]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.surroundings.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets the child's umask: the permission bits that new files of the child do not get.
    ///
    /// A mask above `0o777` makes the start fail with [`ErrorKind::InvalidInput`]. umask(2) would drop the other bits.
    pub fn umask(mut self, mask: u32) -> Self {
        self.surroundings.umask = Some(mask);
        self
    }

    /// Sets a resource limit of the child; several calls set several.
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

    /// Puts the child into a process group, as `std`'s `CommandExt::process_group`; 0 makes a new group, which the
    /// child leads. A signal from the keyboard goes only to the foreground process group.
    #[doc(alias = "setpgid")]
    pub fn process_group(mut self, group: i32) -> Self {
        self.surroundings.group = Some(group);
        self
    }

    /// Sets the child's user, as `std`'s `CommandExt::uid`: the real, the effective and the saved one. Without
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

    /// Sets the child's main group, as `std`'s `CommandExt::gid`.
    ///
    /// # Examples
    /// See the example of [`uid`](Self::uid).
    #[doc(alias = "setgid")]
    pub fn gid(mut self, group: u32) -> Self {
        self.surroundings.main_group = Some(group);
        self
    }

    /// Sets the child's supplementary groups, as `std`'s `CommandExt::groups`.
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
    /// Whether no option was set.
    pub(crate) fn are_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the child has other rights than its parent.
    pub(crate) fn change_rights(&self) -> bool {
        !self.identity().is_empty()
    }

    /// The options that were set, by the names of the builder's methods.
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

    /// Whether the child gives up root's user and not root's group.
    pub(super) fn keeps_group_of_root(&self) -> bool {
        self.user.is_some_and(|user| user != 0) && self.main_group.is_none() && effective_group() == 0
    }

    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Checks that a child of that method can have these surroundings.
    pub(super) fn check(&self, method: Context) -> Result<()> {
        if method == Context::Thread && !self.are_usual() {
            let message = format!(
                "a thread has the surroundings of its process, and cannot have its own {}: start a process",
                self.options().join(", "),
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if method != Context::Spawn && self.environment != Environment::default() {
            let message = "only a spawned child can have another environment (`env`): take Context::Spawn, or give the values as arguments";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if let Some(directory) = self.directory.as_ref().filter(|path| path.as_os_str().as_bytes().contains(&0)) {
            let message = format!("the directory {directory:?} has a zero byte in it");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if let Some(mask) = self.umask.filter(|mask| *mask > 0o777) {
            let message = format!("umask {mask:#o}: a umask has the permission bits only, 0o777 at most");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if self.group.is_some_and(|group| group < 0) {
            let message = "a process group has a number above 0, and 0 makes a new one";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    /// The environment for a program that is started anew, as `NAME=value`; `None` where it is this process's.
    pub(crate) fn environment(&self) -> Result<Option<Vec<CString>>> {
        if self.environment == Environment::default() {
            return Ok(None);
        }
        let mut all = BTreeMap::new();
        if !self.environment.cleared {
            all.extend(std::env::vars_os().map(|(name, value)| (name, Some(value))));
        }
        for (name, value) in &self.environment.changes {
            let bytes = name.as_bytes();
            if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
                let message = format!("{name:?} cannot be the name of a variable of the environment");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            all.insert(name.clone(), value.clone());
        }
        let set = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let lines = set.map(|(name, value)| {
            let line = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(line).map_err(|_| {
                Error::new(ErrorKind::InvalidInput, format!("the value of {name:?} has a zero byte in it"))
            })
        });
        lines.collect::<Result<_>>().map(Some)
    }

    pub(crate) fn umask(&self) -> Option<u32> {
        self.umask
    }

    pub(crate) fn limits(&self) -> Vec<(Resource, Rlimit)> {
        let known = |number: u32| RESOURCES.into_iter().find(|resource| *resource as u32 == number);
        let limits = self.limits.iter();
        limits.filter_map(|&(number, current, maximum)| Some((known(number)?, Rlimit { current, maximum }))).collect()
    }

    pub(crate) fn group(&self) -> Group {
        match self.group {
            None => Group::Inherited,
            Some(group) => Pid::from_raw(group).map_or(Group::New, Group::Join),
        }
    }

    /// The group that was asked for, for the error of a start.
    pub(super) fn group_text(&self) -> String {
        match self.group {
            None | Some(0) => "make a process group of its own".to_owned(),
            Some(group) => format!("join process group {group}"),
        }
    }

    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity { user: self.user, group: self.main_group, groups: self.groups.as_deref() }
    }

    /// The blocked signals with which a program that is started anew begins.
    pub(crate) fn blocked(&self) -> Result<SignalSet> {
        Ok(match self.wanted_mask() {
            Some(mask) => mask,
            None => ENDING.into_iter().fold(signal::mask()?, SignalSet::without),
        })
    }

    fn wanted_mask(&self) -> Option<SignalSet> {
        self.blocked.as_ref().map(|numbers| numbers.iter().filter_map(|&number| signal::numbered(number)).collect())
    }

    /// Applies the surroundings to this process, a child that was just forked and has one thread. The order is that of
    /// a program that is started anew.
    pub(crate) fn apply(&self) -> std::result::Result<(), Unsettled> {
        let at = |step: Step| move |errno: Errno| Unsettled { step, errno };
        if let Some(group) = self.group {
            set_group(None, Pid::from_raw(group)).map_err(at(Step::Group))?;
        }
        if let Some(mask) = self.umask {
            set_umask(mask);
        }
        if let Some(directory) = &self.directory {
            let entered = std::env::set_current_dir(directory);
            let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error);
            entered.map_err(|error| at(Step::Directory)(errno(error)))?;
        }
        for (position, (resource, limit)) in self.limits().into_iter().enumerate() {
            let position = u8::try_from(position).unwrap_or(u8::MAX);
            set_rlimit(resource, limit).map_err(at(Step::Limit(position)))?;
        }
        let identity = self.identity();
        if !identity.is_empty() {
            identity.assume().map_err(at(Step::Identity))?;
        }
        let masked = match self.wanted_mask() {
            Some(mask) => set_mask(mask),
            None => unblock(SignalSet::from(ENDING)),
        };
        masked.map_err(at(Step::SignalMask))?.keep();
        Ok(())
    }
}
