//! Running this program anew, in such a way that it comes to `freeze_support` again.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;

use ossature_sys::errno::Errno;
use ossature_sys::process::{Argument, Child, Inherit, Plan, StartError};
use ossature_sys::socket::Socket;

use super::order::Unreadable;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context;
use crate::multiprocessing::tasks::{Entrance, IMAGE};

/// The one argument of a program that was started to run a task.
const MARK: &str = "--multiprocessing-fork";
/// The same for libtest, as the name of a test that nobody can write.
const MARK_OF_TEST: &str = "multiprocessing-fork";
/// What libtest is told beside the test's name: this very test, on its own, talking freely.
const ONE_TEST: [&str; 4] = ["--exact", "--include-ignored", "--nocapture", "--test-threads=1"];

/// Whether this process was started by [`launch`].
pub(super) fn is_launched() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == MARK => arguments.next().is_none(),
        Some(_) => {
            let as_told = ONE_TEST.iter().all(|told| arguments.next().is_some_and(|argument| argument == *told));
            as_told && arguments.next().is_some_and(|argument| argument == MARK_OF_TEST)
        }
        None => false,
    }
}

/// Starts the program. Its standard input is `control`; of all other descriptors it has standard output (unless libtest
/// would write to it) and standard error only.
pub(super) fn launch(entrance: &Entrance, control: &Socket) -> Result<Child> {
    let myself = std::env::args_os().next().unwrap_or_else(|| IMAGE.into());
    let mut strings = vec![string(myself)?];
    match entrance {
        Entrance::Main => strings.push(string(MARK.into())?),
        Entrance::Test(name) => {
            strings.push(string(OsString::from(&**name))?);
            for told in ONE_TEST.into_iter().chain([MARK_OF_TEST]) {
                strings.push(string(told.into())?);
            }
        }
    }
    let arguments: Vec<_> = strings.iter().map(|string| Argument::new(string)).chain([Argument::END]).collect();
    let mut descriptors = vec![Inherit::as_number(control, 0)?];
    let quiet = match entrance {
        Entrance::Main => None,
        Entrance::Test(_) => Some(File::options().write(true).open("/dev/null").map_err(unreadable)?),
    };
    if let Some(quiet) = &quiet {
        descriptors.push(Inherit::as_number(quiet, 1)?);
    }
    let child = match context::executable() {
        // What is open cannot be replaced or removed: it is this very program, whatever its name leads to by now.
        None => {
            let image = File::open(IMAGE).map_err(unreadable)?;
            start(Plan::of_image(&image, &arguments)?, &descriptors)?
        }
        Some(path) => {
            let path = string(path.into_os_string())?;
            start(Plan::new(&path, &arguments)?, &descriptors)?
        }
    };
    Ok(child)
}

fn start<'a>(plan: Plan<'a>, descriptors: &'a [Inherit<'a>]) -> std::result::Result<Child, StartError> {
    plan.descriptors(descriptors).close_other_descriptors().start()
}

fn string(text: OsString) -> Result<CString> {
    CString::new(text.into_vec()).map_err(|error| Error::caused(ErrorKind::InvalidInput, None, error))
}

pub(super) fn unreadable(error: std::io::Error) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    Error::caused(ErrorKind::Os, errno, Unreadable(error))
}
