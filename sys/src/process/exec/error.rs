//! The step at which a start failed.

use core::fmt;

use crate::errno::Errno;

/// The step of a [`Plan`](super::Plan) that failed.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Argument, Plan, Stage};
///
/// let arguments = [Argument::new(c"true"), Argument::END];
/// let error = Plan::new(c"/bin/true", &arguments)?.directory(c"/no/such/place").start().unwrap_err();
/// assert_eq!(error.stage(), Stage::Directory);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Stage {
    /// Creating the new process, before it ran.
    Clone,
    /// Setting the signal actions and the mask.
    Signals,
    /// Entering the cgroup.
    Cgroup,
    /// Setting the process group or session.
    Group,
    /// Setting the parent-death signal, or the parent died before it took effect (`ESRCH`).
    ParentDeath,
    /// Becoming a subreaper.
    Subreaper,
    /// Changing the working directory.
    Directory,
    /// Placing the descriptors under their numbers.
    Descriptors,
    /// Setting a resource limit.
    Limits,
    /// Setting the users or the groups.
    Identity,
    /// Running the program.
    Exec,
}

impl Stage {
    const ALL: [Self; 11] = [
        Self::Clone,
        Self::Signals,
        Self::Cgroup,
        Self::Group,
        Self::ParentDeath,
        Self::Subreaper,
        Self::Directory,
        Self::Descriptors,
        Self::Limits,
        Self::Identity,
        Self::Exec,
    ];

    fn named(self) -> &'static str {
        match self {
            Self::Clone => "making the process",
            Self::Signals => "setting signals",
            Self::Cgroup => "entering the cgroup",
            Self::Group => "setting the process group",
            Self::ParentDeath => "setting the parent-death signal",
            Self::Subreaper => "becoming a subreaper",
            Self::Directory => "changing the directory",
            Self::Descriptors => "handing over descriptors",
            Self::Limits => "setting limits",
            Self::Identity => "setting user and groups",
            Self::Exec => "running the program",
        }
    }
}

/// A program that did not start: the step that failed, and the error. No process is left.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, process::{Argument, Plan, Stage}};
///
/// let arguments = [Argument::new(c"missing"), Argument::END];
/// let error = Plan::new(c"/no/such/program", &arguments)?.start().unwrap_err();
/// assert_eq!((error.stage(), error.errno(), error.limit()), (Stage::Exec, Errno::NOENT, None));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartError {
    pub(super) stage: Stage,
    /// The position of the limit in the plan's list; 0 for another stage.
    pub(super) limit: u8,
    pub(super) errno: Errno,
}

impl StartError {
    /// An error at any stage but [`Stage::Limits`].
    pub(super) fn at(stage: Stage, errno: Errno) -> Self {
        Self { stage, limit: 0, errno }
    }

    /// The step that failed.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// For [`Stage::Limits`], the position of the limit that failed in the plan's list (255 also for a later one).
    pub fn limit(&self) -> Option<usize> {
        (self.stage == Stage::Limits).then_some(usize::from(self.limit))
    }

    /// The error of the call that failed.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The bytes that the child sends before it ends with an error.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.errno.raw_os_error().to_ne_bytes();
        [self.stage as u8, self.limit, 0, 0, a, b, c, d]
    }

    pub(super) fn from_bytes([stage, limit, _, _, a, b, c, d]: [u8; 8]) -> Self {
        let errno = Errno::from_raw_os_error(i32::from_ne_bytes([a, b, c, d]));
        Self { stage: Stage::ALL.get(usize::from(stage)).copied().unwrap_or(Stage::Exec), limit, errno }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start the program: {}: {}", self.stage.named(), self.errno)
    }
}

impl core::error::Error for StartError {}

impl From<StartError> for Errno {
    fn from(error: StartError) -> Self {
        error.errno
    }
}
