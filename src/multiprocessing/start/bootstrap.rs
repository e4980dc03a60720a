//! Everything that a child does from its start to its end, whichever start method made it.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ossature_sys::fd::OwnedFd;
use ossature_sys::process::{Pid, detach_stdin};

use super::forkserver;
use super::parent_death::die_with_parent;
use crate::multiprocessing::context::{Context, force_start_method};
use crate::multiprocessing::logging::{info, warning};
use crate::multiprocessing::state::ends::LettingGo;
use crate::multiprocessing::state::{ChildConfig, OwnState, Parent, ProcessState, panic};
use crate::multiprocessing::util;
use crate::{thread, threading};

/// The exit code of a process whose work panicked.
const PANICKED: u8 = 1;

/// Makes this process the one that `config` describes, does its work and runs its cleanup. The caller must exit at once
/// with the code that this function returns. A panic of the work is written to standard error when it happens, and
/// into `report` when it has escaped.
///
/// The order is Python's. First standard input is replaced, then come the callbacks after a fork, the work, and the
/// message to the parent about its panic. The end of the threads, the finalizers and the children, and the flush
/// follow.
pub(crate) fn run(config: ChildConfig, report: OwnedFd, body: impl FnOnce() -> u8) -> u8 {
    config.log.apply();
    thread::install_anew();
    run_as(ProcessState::prepare(config), None, report, body)
}

/// Runs [`run`] in a copy of the parent, with a state and the panic hook that were prepared before the fork. The copy
/// closes the descriptors that it was not given. A copy that is bound to its parent, such as a daemon, ends with its
/// parent. The kernel reports the parent's end if the parent has a process ID in this namespace.
pub(crate) fn run_forked(
    state: Box<OwnState>,
    parent: Option<Pid>,
    letting_go: Option<LettingGo>,
    report: OwnedFd,
    body: impl FnOnce() -> u8,
) -> u8 {
    let bond = state.parent.as_ref().and_then(Parent::given);
    let bound = bond.map_or(Ok(()), |pidfd| die_with_parent(pidfd, parent));
    run_as(state, letting_go, report, || {
        bound.unwrap_or_else(|error| warning!("this process cannot be made to end with its parent: {error}"));
        body()
    })
}

/// Runs [`run`] in a child of the fork server, whose state and settings the server has prepared.
pub(crate) fn run_prepared(state: Box<OwnState>, report: OwnedFd, body: impl FnOnce() -> u8) -> u8 {
    run_as(state, None, report, body)
}

fn run_as(state: Box<OwnState>, letting_go: Option<LettingGo>, report: OwnedFd, body: impl FnOnce() -> u8) -> u8 {
    let _ = detach_stdin(); // without a descriptor left it stays what it was
    // A copy already has its parent's default, unless the start was requested by the name of another context.
    if let Some(method) = state.named.or(state.method.filter(|method| *method != Context::Fork)) {
        force_start_method(method);
    }
    *state.report.lock() = Some(report);
    let state = ProcessState::enter(state, letting_go.as_ref());
    forkserver::let_go_in_child();
    if let Some(Err(errno)) = letting_go.map(|letting_go| letting_go.of(&state.descriptors.lock())) {
        // The process must not begin with ends that it was not given.
        let _ = writeln!(std::io::stderr(), "the new process could not close its parent's descriptors: {errno}");
        return PANICKED;
    }
    thread::set_panic_label(panic::label);
    util::run_after_fork(state);
    info!("child process calling self.run()");
    let ended = thread::catch_and_report(body);
    let report = state.report.lock().take();
    let code = match ended {
        Ok(code) => code,
        Err(escaped) if thread::is_exit(&*escaped.payload) => 0,
        Err(escaped) => {
            if let Some(report) = &report {
                panic::reported(&escaped).send(report);
            }
            PANICKED
        }
    };
    drop(report);
    let orderly = catch_unwind(AssertUnwindSafe(|| {
        threading::shutdown_if_begun();
        util::exit_sequence();
        info!("process exiting with exitcode {code}");
        let _ = std::io::stdout().flush(); // nobody is left to tell
    }));
    if orderly.is_ok() { code } else { PANICKED }
}
