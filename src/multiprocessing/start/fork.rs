//! The child as a copy of this process.

use ossature_sys::pipe::{Flags, pipe};
use ossature_sys::process;

use super::{Life, Started, own_pidfd};
use crate::error::{Error, Result};
use crate::multiprocessing::process::bootstrap;
use crate::multiprocessing::process::ends::LettingGo;
use crate::multiprocessing::process::era::Era;
use crate::multiprocessing::process::passport::Passport;
use crate::thread;

/// Starts a copy of this process that does `body`, which may borrow: the copy has its own of everything, but for what it is
/// to let go of.
pub(crate) fn fork(
    mut passport: Passport,
    letting_go: Option<LettingGo>,
    body: impl FnOnce() -> u8,
) -> Result<Started> {
    let (reader, writer) =
        pipe(Flags::NONBLOCK).map_err(|errno| Error::os(errno, "cannot fork: no pipe for the child's report"))?;
    let parent = passport.child_of();
    // Opened here, for in a new pid namespace the child could not.
    if passport.daemon {
        passport.sentinel = Some(own_pidfd()?);
    }
    thread::install_anew(); // here, where it costs no copy of a page
    let (mut reader, era) = (Some(reader), Era::prepare(passport));
    let child = process::fork(|| {
        drop(reader.take());
        bootstrap::run_forked(era, parent, letting_go, writer, body)
    })?;
    Ok(Started { life: Life::from(child), report: reader })
}
