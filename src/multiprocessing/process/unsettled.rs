//! A setting of the [`ProcessBuilder`](super::ProcessBuilder) that the child could not take: what the child reports,
//! and the parent's error.
//!
//! The child sends the step and the errno. The parent knows the values and words the error, so the error is the same
//! with every start method.

use ossature_sys::errno::Errno;
use ossature_sys::process::{Resource, Rlimit, Stage, StartError};

use super::surroundings::Surroundings;
use crate::error::Error;

/// A step that failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(super) step: Step,
    pub(super) errno: Errno,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Group,
    Directory,
    /// The position of the limit in the list.
    Limit(u8),
    Identity,
    SignalMask,
}

/// The length of a report.
pub(crate) const LEN: usize = 6;

impl Unsettled {
    pub(crate) fn to_bytes(self) -> [u8; LEN] {
        let [a, b, c, d] = self.errno.raw_os_error().to_ne_bytes();
        let (step, position) = match self.step {
            Step::Group => (0, 0),
            Step::Directory => (1, 0),
            Step::Limit(position) => (2, position),
            Step::Identity => (3, 0),
            Step::SignalMask => (4, 0),
        };
        [step, position, a, b, c, d]
    }

    pub(crate) fn from_bytes([step, position, a, b, c, d]: [u8; LEN]) -> Self {
        let step = match step {
            0 => Step::Group,
            1 => Step::Directory,
            2 => Step::Limit(position),
            3 => Step::Identity,
            _ => Step::SignalMask,
        };
        Self { step, errno: Errno::from_raw_os_error(i32::from_ne_bytes([a, b, c, d])) }
    }

    /// The step of a program that is started anew, if an option asked for that step.
    pub(crate) fn of_start(error: StartError, surroundings: &Surroundings) -> Option<Self> {
        let step = match error.stage() {
            Stage::Group => Step::Group,
            Stage::Directory => Step::Directory,
            Stage::Limits => Step::Limit(u8::try_from(error.limit()?).unwrap_or(u8::MAX)),
            Stage::Identity if surroundings.change_rights() => Step::Identity,
            _ => return None,
        };
        Some(Self { step, errno: error.errno() })
    }

    /// The error of the start.
    pub(crate) fn explain(self, surroundings: &Surroundings) -> Error {
        let Self { step, errno } = self;
        let identity = surroundings.identity();
        let (what, hint) = match step {
            Step::Group => {
                let hint = "a process can only join a group of its session";
                (surroundings.group_text(), (errno == Errno::PERM).then_some(hint))
            }
            Step::Directory => {
                let path = surroundings.directory().unwrap_or("".as_ref());
                (format!("change to directory `{}`", path.display()), None)
            }
            Step::Limit(position) => match surroundings.limits().get(usize::from(position)) {
                Some(&(resource, limit)) => limit_text(resource, limit, errno),
                None => ("set a resource limit".to_owned(), None),
            },
            Step::Identity => {
                let user = identity.user.map(|user| format!("user {user}"));
                let group = identity.group.map(|group| format!("group {group}"));
                let groups = identity.groups.map(|groups| format!("supplementary groups {groups:?}"));
                let all: Vec<_> = [user, group, groups].into_iter().flatten().collect();
                let hint = "CAP_SETUID and CAP_SETGID allow it";
                (format!("change to {}", all.join(", ")), (errno == Errno::PERM).then_some(hint))
            }
            Step::SignalMask => ("set its signal mask".to_owned(), None),
        };
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        Error::os(errno, format!("cannot start the process: cannot {what}{hint}"))
    }
}

/// What could not be done with a limit, and the reason.
fn limit_text(resource: Resource, limit: Rlimit, errno: Errno) -> (String, Option<&'static str>) {
    let number = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let Rlimit { current, maximum } = limit;
    let above = maximum.is_some_and(|maximum| current.is_none_or(|current| current > maximum));
    let hint = match errno {
        Errno::INVAL if above => Some("the soft limit is above the hard limit"),
        Errno::PERM => Some("CAP_SYS_RESOURCE allows to raise a hard limit"),
        _ => None,
    };
    let name = format!("{resource:?}").to_uppercase();
    (format!("set RLIMIT_{name} to {} (soft) and {} (hard)", number(current), number(maximum)), hint)
}
