//! The surroundings of a child that differ from its parent's: environment, directory, limits, user, and so on.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ossature_sys::errno::Errno;
use ossature_sys::process::{
    Group, Identity, Pid, Resource, Rlimit, Stage, StartError, effective_group, set_group, set_rlimit, set_umask,
};
use ossature_sys::signal::{self, Signal, SignalSet, set_mask, unblock};
use serde::{Deserialize, Serialize};

use super::unapplied::{Step, Unapplied};
use crate::error::{Error, ErrorKind, Result};

/// The settings of a child that differ from its parent's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// The environment, for a program that is started anew only, so it is never sent.
    #[serde(skip)]
    pub(crate) environment: Environment,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) umask: Option<u32>,
    /// The numbers of the resources, the soft and the hard limits.
    pub(crate) limits: Vec<(u32, Option<u64>, Option<u64>)>,
    pub(crate) group: Option<i32>,
    pub(crate) user: Option<u32>,
    pub(crate) main_group: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    /// The numbers of the blocked signals.
    pub(crate) blocked: Option<Vec<i32>>,
}

/// Changes of the environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Environment {
    pub(crate) cleared: bool,
    /// The changes by name; `None` removes a variable.
    pub(crate) changes: BTreeMap<OsString, Option<OsString>>,
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

/// The signals with which a parent ends a child. A child starts with these unblocked, unless `signal_mask` was called.
const ENDING: [Signal; 2] = [Signal::TERM, Signal::INT];

impl Surroundings {
    /// Whether no option is set.
    pub(crate) fn are_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Whether [`apply`](Self::apply) would change nothing in a copy of this process, made by the calling thread.
    pub(crate) fn are_in_effect(&self) -> bool {
        let unblocked = |mask: SignalSet| !ENDING.into_iter().any(|signal| mask.contains(signal));
        self.are_usual() && signal::mask().is_ok_and(unblocked)
    }

    /// Whether the child has other rights than its parent.
    pub(crate) fn change_rights(&self) -> bool {
        !self.identity().is_empty()
    }

    /// Whether the child gives up root's user ID but keeps root's group ID.
    pub(crate) fn keeps_group_of_root(&self) -> bool {
        self.user.is_some_and(|user| user != 0) && self.main_group.is_none() && effective_group() == 0
    }

    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Returns the environment for a program that is started anew, as `NAME=value`; `None` if it is this process's.
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
                let message = format!("{name:?} cannot be the name of an environment variable");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            all.insert(name.clone(), value.clone());
        }
        let set = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let lines = set.map(|(name, value)| {
            let line = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(line)
                .map_err(|_| Error::new(ErrorKind::InvalidInput, format!("the value of {name:?} contains a zero byte")))
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

    /// Describes the requested group, for the error of a start.
    pub(crate) fn group_text(&self) -> String {
        match self.group {
            None | Some(0) => "make a process group of its own".to_owned(),
            Some(group) => format!("join process group {group}"),
        }
    }

    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity { user: self.user, group: self.main_group, groups: self.groups.as_deref() }
    }

    /// Returns the signals that are blocked when a program that is started anew begins.
    pub(crate) fn blocked(&self) -> Result<SignalSet> {
        Ok(match self.wanted_mask() {
            Some(mask) => mask,
            None => ENDING.into_iter().fold(signal::mask()?, SignalSet::without),
        })
    }

    fn wanted_mask(&self) -> Option<SignalSet> {
        self.blocked.as_ref().map(|numbers| numbers.iter().filter_map(|&number| signal::numbered(number)).collect())
    }

    /// Applies the surroundings to this process, which was just forked and has one thread. The order is the order in a
    /// program that is started anew.
    pub(crate) fn apply(&self) -> std::result::Result<(), Unapplied> {
        let at = |step: Step| move |errno: Errno| Unapplied { step, errno };
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

    /// Returns the failed option of a program that is started anew, if the failed step belongs to an option.
    pub(crate) fn unapplied_by(&self, error: StartError) -> Option<Unapplied> {
        let step = match error.stage() {
            Stage::Group => Step::Group,
            Stage::Directory => Step::Directory,
            Stage::Limits => Step::Limit(u8::try_from(error.limit()?).unwrap_or(u8::MAX)),
            Stage::Identity if self.change_rights() => Step::Identity,
            _ => return None,
        };
        Some(Unapplied { step, errno: error.errno() })
    }

    /// Returns the error of the start.
    pub(crate) fn explain(&self, Unapplied { step, errno }: Unapplied) -> Error {
        let identity = self.identity();
        let (what, hint) = match step {
            Step::Group => {
                let hint = "a process can only join a group of its session";
                (self.group_text(), (errno == Errno::PERM).then_some(hint))
            }
            Step::Directory => {
                let path = self.directory().unwrap_or("".as_ref());
                (format!("change to directory `{}`", path.display()), None)
            }
            Step::Limit(position) => match self.limits().get(usize::from(position)) {
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

/// Describes the limit that could not be set, and the cause.
fn limit_text(resource: Resource, limit: Rlimit, errno: Errno) -> (String, Option<&'static str>) {
    let number = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let Rlimit { current, maximum } = limit;
    let above = maximum.is_some_and(|maximum| current.is_none_or(|current| current > maximum));
    let hint = match errno {
        Errno::INVAL if above => Some("the soft limit is above the hard limit"),
        Errno::PERM => Some("CAP_SYS_RESOURCE allows a process to raise a hard limit"),
        _ => None,
    };
    let name = format!("{resource:?}").to_uppercase();
    (format!("set RLIMIT_{name} to {} (soft) and {} (hard)", number(current), number(maximum)), hint)
}
