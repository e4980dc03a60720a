//! The new process's side: from `freeze_support` to its end.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ossature_sys::errno::Errno;
use ossature_sys::fd::AsFd;
use ossature_sys::process::{detach_stdin, effective_user, exit, is_privileged_by_exec, parent_id, replace_stdout};
use ossature_sys::socket::Socket;

use super::launch;
use super::letter::{self, Answer};
use super::order::Order;
use super::proof::{self, Unproven};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::process::bootstrap;
use crate::multiprocessing::process::era::era;
use crate::multiprocessing::process::lifeline::end_with;
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::process::unsettled::Unsettled;
use crate::multiprocessing::start::forkserver;
use crate::multiprocessing::tasks::{self, Body};
use crate::multiprocessing::transfer::{self, Bounds, Handle, Trust};
use crate::thread;

/// What a process leaves with that was started in this way by a stranger, or whose parent is gone.
const FORLORN: u8 = 2;

/// The user that has every right over this process.
const ROOT: u32 = 0;

/// Where a process that was started for a task does it and ends. Comes back in any other.
pub(crate) fn take_over() {
    /// A task may call `freeze_support` too, if it is `main` itself, say.
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if !launch::is_launched() || TAKEN.swap(true, Relaxed) {
        return;
    }
    let control = std::io::stdin().as_fd().try_clone_to_owned();
    // From here on nothing of it is left under the number 0, for whoever the task may start.
    let detached = detach_stdin();
    let control = control.map_err(|_| Errno::BADF).and_then(Socket::try_from);
    let Ok(control) = control else { by_hand() };
    let Ok(Some(peer)) = control.peer_credentials() else { by_hand() };
    if let Err(errno) = detached {
        refuse(&control, format!("its standard input cannot be replaced: {errno}"));
    }
    // The process at the other end chooses the task and its arguments, and is trusted. Rights that came with the
    // program's file need a proof, because anybody can start the program with the mark and a socket.
    if is_privileged_by_exec() {
        match proof::demand(&control) {
            Ok(line) => {
                drop(control);
                obey(line)
            }
            Err(Unproven::Gone) => exit(FORLORN),
            Err(Unproven::Told(reason)) => refuse(&control, reason),
        }
    }
    // The number is that of the process that made the pair, as seen here. `None` for both is a parent outside this
    // namespace.
    if peer.pid != parent_id() {
        refuse(&control, "the process that made its standard input is not its parent, or has ended".into());
    }
    // A privileged parent may have given this process another user.
    if ![effective_user(), ROOT].contains(&peer.uid) {
        refuse(&control, format!("its parent made its standard input as user {}, and it is another user", peer.uid));
    }
    match proof::forgo(&control) {
        Ok(()) => obey(control),
        Err(Errno::PIPE | Errno::CONNRESET) => exit(FORLORN),
        Err(errno) => refuse(&control, format!("its standard input is not that of a task: {errno}")),
    }
}

/// Does what the other end of `control` says, and ends.
pub(in crate::multiprocessing::start) fn obey(control: Socket) -> ! {
    // A panic of a `Deserialize` is the program's own, and is told like any other reason.
    let received = catch_unwind(AssertUnwindSafe(|| receive(&control)));
    let received = received.unwrap_or_else(|payload| {
        let text = thread::text(&*payload).unwrap_or("with no text");
        Err(Refusal::Told(format!("decoding the arguments panicked: {text}")))
    });
    let work = match received {
        Ok(work) => work,
        Err(Refusal::Gone) => exit(FORLORN),
        Err(Refusal::Told(reason)) => refuse(&control, reason),
        Err(Refusal::Unsettled(unsettled)) => {
            let _ = Answer::Unsettled(unsettled).send(&control); // a parent that is gone wants no answer
            exit(FORLORN)
        }
    };
    if Answer::Begun.send(&control).is_err() {
        exit(FORLORN);
    }
    let (passport, body) = work;
    let code = match passport {
        Some(passport) => bootstrap::run(passport, control.into(), body),
        None => {
            drop(control);
            body()
        }
    };
    exit(code)
}

/// Why there is nothing to do.
enum Refusal {
    /// Whoever had something to be done is gone.
    Gone,
    /// The parent is to hear this.
    Told(String),
    /// The parent is to hear which option failed.
    Unsettled(Unsettled),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        match errno {
            // Also in the middle of a word.
            Errno::PIPE | Errno::CONNRESET | Errno::PROTO => Self::Gone,
            other => Self::Told(format!("it could not receive its task: {other}")),
        }
    }
}

/// Receives the order and makes ready what it says.
fn receive(control: &Socket) -> Result<(Option<Passport>, Body), Refusal> {
    let told = |reason: String| Err(Refusal::Told(reason));
    let [order, arguments] = letter::receive(control)?;
    let order: Order = match transfer::unpack(order, Trust::SameProgram, Bounds::OF_KIN) {
        Ok(order) => order,
        Err(error) => return told(format!("{OTHER_BUILD} ({error})")),
    };
    if !order.build.is_own() {
        let untold = if order.build.is_told_anywhere() { "" } else { UNTOLD };
        return told(format!("{OTHER_BUILD}{untold}"));
    }
    let Some(task) = tasks::look_up(&order.task) else {
        return told(format!(
            "it knows no task {}: the first freeze_support that it comes to must be given all of them",
            order.task
        ));
    };
    settle(&order)?;
    if let Some((Handle(server), rights)) = order.server {
        forkserver::use_link(server, rights)
            .map_err(|errno| Refusal::Told(format!("it could not take over the fork server's socket: {errno}")))?;
    }
    tasks::set_max_argument_depth(order.depth);
    if let Some(passport) = &order.passport {
        // A proxy among the arguments connects to its manager while it is decoded.
        era().set_authkey(passport.authkey.clone());
    }
    let body = match task.open(arguments, order.form) {
        Ok(body) => body,
        Err(error) => return told(format!("the arguments of {} cannot be decoded: {error}", order.task)),
    };
    if let (Some(passport @ Passport { bound: true, .. }), Some(Handle(parent))) = (&order.passport, &order.parent) {
        let ends = end_with(parent.as_fd(), passport.child_of());
        ends.map_err(|error| Refusal::Told(format!("it could not be made to end with its parent: {error}")))?;
    }
    let passport = order.passport.map(|passport| Passport { sentinel: order.parent.map(|Handle(fd)| fd), ..passport });
    Ok((passport, body))
}

const OTHER_BUILD: &str = "it is another build of the program; set_executable takes a copy of this very one";

const UNTOLD: &str = ", and can tell a copy by its build id only, which the linker has not written into this program \
                      (-C link-arg=-Wl,--build-id)";

/// Makes the process's surroundings those that the order tells of.
fn settle(order: &Order) -> Result<(), Refusal> {
    let failed = |what: &'static str| move |error: std::io::Error| Refusal::Told(format!("it cannot {what}: {error}"));
    // An exec by the superuser, or of a file with capabilities, restores capabilities that the parent may have given
    // up.
    order.capabilities.limit().map_err(|errno| failed("give up capabilities")(errno.into()))?;
    if let Some(Handle(stdout)) = &order.stdout {
        // What libtest said so far goes where it was to go.
        std::io::stdout().flush().map_err(failed("write to its standard output"))?;
        replace_stdout(stdout).map_err(|errno| failed("take over the standard output of its parent")(errno.into()))?;
    }
    if let Some(directory) = &order.directory {
        std::env::set_current_dir(directory).map_err(|error| {
            Refusal::Told(format!("it cannot change to its parent's directory `{}`: {error}", directory.display()))
        })?;
    }
    // A program that was started anew has had its surroundings from the beginning.
    if let Some(passport) = order.passport.as_ref().filter(|passport| passport.method == Context::Forkserver) {
        passport.surroundings.apply().map_err(Refusal::Unsettled)?;
    }
    Ok(())
}

/// Ends a process that cannot take its task, and tells the parent the reason.
fn refuse(control: &Socket, reason: String) -> ! {
    // If the parent is gone, the send fails, and the reason is lost.
    let _ = Answer::Refused(reason).send(control);
    exit(FORLORN)
}

/// Ends a process that has no parent to tell: the program was started by hand.
fn by_hand() -> ! {
    let text = "started as a worker, but there is no parent: --multiprocessing-fork is not for use by hand\n";
    let _ = std::io::stderr().write_all(text.as_bytes());
    exit(FORLORN)
}
