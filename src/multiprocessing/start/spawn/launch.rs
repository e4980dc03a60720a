//! The start of this program anew, so that it reaches `freeze_support` again.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use ossature_sys::errno::Errno;
use ossature_sys::process::{
    Argument, Child, Inherit, Plan, Resource, Rlimit, Stage, StartError, effective_group, effective_user,
    is_privileged_by_exec, real_group, real_user,
};
use ossature_sys::signal::SignalSet;
use ossature_sys::socket::Socket;

use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context;
use crate::multiprocessing::start::image::{not_opened, unreadable};
use crate::multiprocessing::start::shortage;
use crate::multiprocessing::state::surroundings::Surroundings;
use crate::multiprocessing::tasks::{Entrance, IMAGE};

/// The one argument of a program that was started to run a task.
const MARK: &str = "--multiprocessing-fork";
/// The same argument for libtest, as the name of a test; no function can have this name.
const MARK_OF_TEST: &str = "multiprocessing-fork";
/// The arguments of libtest beside the test's name: this test only, on its own thread, its output not captured.
const ONE_TEST: [&str; 4] = ["--exact", "--include-ignored", "--nocapture", "--test-threads=1"];

/// Whether this process was started by [`launch`].
pub(in crate::multiprocessing::start) fn is_launched() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == MARK => arguments.next().is_none(),
        Some(_) => {
            let is_one_test =
                ONE_TEST.iter().all(|option| arguments.next().is_some_and(|argument| argument == *option));
            is_one_test && arguments.next().is_some_and(|argument| argument == MARK_OF_TEST)
        }
        None => false,
    }
}

/// Starts the program. Its standard input is `control`. Of all other descriptors the program has only standard output
/// (unless libtest would write to it) and standard error.
pub(super) fn launch(entrance: &Entrance, surroundings: &Surroundings, control: &Socket) -> Result<Child> {
    let myself = std::env::args_os().next().unwrap_or_else(|| IMAGE.into());
    let mut strings = vec![string(myself)?];
    match entrance {
        Entrance::Main | Entrance::Beside(_) => strings.push(string(MARK.into())?),
        Entrance::Test(name) => {
            strings.push(string(OsString::from(&**name))?);
            for option in ONE_TEST.into_iter().chain([MARK_OF_TEST]) {
                strings.push(string(option.into())?);
            }
        }
    }
    let arguments: Vec<_> = strings.iter().map(|string| Argument::new(string)).chain([Argument::END]).collect();
    let mut descriptors = vec![Inherit::as_number(control, 0)?];
    let quiet = match entrance {
        Entrance::Main | Entrance::Beside(_) => None,
        Entrance::Test(_) => {
            let null = File::options().write(true).open("/dev/null");
            Some(null.map_err(|error| not_opened("cannot spawn a process: cannot open /dev/null".into(), &error))?)
        }
    };
    if let Some(quiet) = &quiet {
        descriptors.push(Inherit::as_number(quiet, 1)?);
    }
    let wanted = Wanted {
        descriptors,
        environment: surroundings.environment()?,
        directory: surroundings.directory().map(|path| string(path.into())).transpose()?,
        limits: surroundings.limits(),
        blocked: surroundings.blocked()?,
        surroundings,
    };
    let child = match context::executable() {
        // An open file cannot be replaced or removed: it is this very program, even if its path has changed since.
        None => {
            let image = File::open(IMAGE).map_err(unreadable)?;
            wanted.start(Plan::of_image(&image, &arguments)?, IMAGE.as_ref())?
        }
        Some(path) => {
            // The path is relative to this process's directory, not to the child's.
            let path = std::path::absolute(&path).unwrap_or(path);
            let string = string(path.clone().into())?;
            wanted.start(Plan::new(&string, &arguments)?, &path)?
        }
    };
    Ok(child)
}

/// The data that the plan borrows.
struct Wanted<'a> {
    descriptors: Vec<Inherit<'a>>,
    environment: Option<Vec<CString>>,
    directory: Option<CString>,
    limits: Vec<(Resource, Rlimit)>,
    blocked: SignalSet,
    surroundings: &'a Surroundings,
}

impl Wanted<'_> {
    fn start(&self, plan: Plan<'_>, program: &Path) -> Result<Child> {
        let plan = plan.descriptors(&self.descriptors).close_other_descriptors();
        let mut plan = plan.limits(&self.limits).group(self.surroundings.group()).blocked_signals(self.blocked);
        plan = plan.identity(self.surroundings.identity());
        // Without this the kernel would treat the exec as privileged, because the real user differs. A program that was
        // privileged by its own exec must not hide that: its children must distrust their environment, too.
        if has_two_users() && !is_privileged_by_exec() {
            plan = plan.effective_ids_only();
        }
        if let Some(umask) = self.surroundings.umask() {
            plan = plan.umask(umask);
        }
        if let Some(directory) = &self.directory {
            plan = plan.directory(directory);
        }
        let lines = self.environment.iter().flatten();
        let lines: Vec<_> = lines.map(|line| Argument::new(line)).chain([Argument::END]).collect();
        if self.environment.is_some() {
            plan = plan.environment(&lines)?;
        }
        plan.start().map_err(|error| not_started(error, self.surroundings, program))
    }
}

/// Whether the effective user or group differs from the real one.
fn has_two_users() -> bool {
    effective_user() != real_user() || effective_group() != real_group()
}

fn string(text: OsString) -> Result<CString> {
    CString::new(text.into_vec()).map_err(|error| Error::caused(ErrorKind::InvalidInput, None, error))
}

/// The error for a program that did not start. An option that failed gives the same error as with the other start
/// methods.
fn not_started(error: StartError, surroundings: &Surroundings, program: &Path) -> Error {
    if let Some(unapplied) = surroundings.unapplied_by(error) {
        return surroundings.explain(unapplied);
    }
    let (program, errno) = (program.display(), error.errno());
    match error.stage() {
        Stage::Clone => shortage::error("cannot spawn a process", errno),
        Stage::Exec => match surroundings.identity().user.filter(|_| errno == Errno::ACCESS) {
            Some(user) => {
                let what = "the user of `uid` must be able to read and execute it";
                Error::os(errno, format!("cannot run the program `{program}` as user {user}: {what}"))
            }
            None => shortage::error(&format!("cannot run the program `{program}`"), errno),
        },
        Stage::Descriptors => {
            shortage::error("cannot spawn a process: no descriptor for a standard stream of the new process", errno)
        }
        _ => error.into(),
    }
}
