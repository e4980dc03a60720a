//! The new process's side of a start: from `freeze_support` to its end.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ossature_sys::errno::Errno;
use ossature_sys::fd::AsFd;
use ossature_sys::process::{detach_stdin, effective_user, exit, is_privileged_by_exec, parent_id, replace_stdout};
use ossature_sys::socket::Socket;

use super::bootstrap;
use super::forkserver::ParentsServer;
use super::parent_death::die_with_parent;
use super::spawn::is_launched;
use super::spawn::proof::{self, Unproven};
use super::wire::{StartReply, StartRequest, message};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::state::ChildConfig;
use crate::multiprocessing::state::process_state;
use crate::multiprocessing::state::unapplied::Unapplied;
use crate::multiprocessing::tasks::{self, Body, Form, Task};
use crate::multiprocessing::transfer::{self, Bounds, Handle, Packed, Trust};
use crate::thread;

/// The exit code of a process that another program started in this way, or whose parent has ended.
const EXIT_ORPHAN: u8 = 2;

/// The user that has every right over this process.
const ROOT: u32 = 0;

/// In a process that was started to run a task, runs it and never returns. Returns at once in any other process.
pub(crate) fn run_task_if_child() {
    /// A task may call `freeze_support` too, for example if the task is `main` itself.
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if !is_launched() || TAKEN.swap(true, Relaxed) {
        return;
    }
    let control = std::io::stdin().as_fd().try_clone_to_owned();
    // From here on descriptor 0 is not the control socket, so processes that the task starts do not inherit the socket.
    let detached = detach_stdin();
    let control = control.map_err(|_| Errno::BADF).and_then(Socket::try_from);
    let Ok(control) = control else { started_by_hand() };
    let Ok(Some(peer)) = control.peer_credentials() else { started_by_hand() };
    if let Err(errno) = detached {
        refuse(&control, format!("its standard input cannot be replaced: {errno}"));
    }
    // The process at the other end chooses the task and its arguments, and is trusted. Rights that came with the
    // program's file need a proof, because any user can start the program with the mark and a socket.
    if is_privileged_by_exec() {
        match proof::demand(&control) {
            Ok(line) => {
                drop(control);
                run_task(line)
            }
            Err(Unproven::Gone) => exit(EXIT_ORPHAN),
            Err(Unproven::Report(reason)) => refuse(&control, reason),
        }
    }
    // The number is that of the process that made the pair, as seen here. `None` for both is a parent outside this
    // namespace.
    if peer.pid != parent_id() {
        refuse(&control, "its standard input was not made by its parent, or the parent has ended".into());
    }
    // A privileged parent may have given this process another user.
    if ![effective_user(), ROOT].contains(&peer.uid) {
        refuse(
            &control,
            format!("its standard input was made by user {}, but the child runs as another user", peer.uid),
        );
    }
    match proof::decline(&control) {
        Ok(()) => run_task(control),
        Err(Errno::PIPE | Errno::CONNRESET) => exit(EXIT_ORPHAN),
        Err(errno) => refuse(&control, format!("its standard input is not the socket of a task: {errno}")),
    }
}

/// Receives the request at the other end of `control`, runs its task, and ends.
pub(super) fn run_task(control: Socket) -> ! {
    run_request(control, |control| Request::open(message::receive(control)?))
}

/// Runs the task of the request that `receive` returns, and ends.
pub(super) fn run_request(control: Socket, receive: impl FnOnce(&Socket) -> Result<Request, Refusal>) -> ! {
    let (config, body) = begun(&control, || receive(&control)?.enter());
    let code = match config {
        Some(config) => bootstrap::run(config, control.into(), body),
        None => {
            drop(control);
            body()
        }
    };
    exit(code)
}

/// Prepares the work of this process by `prepare`, and replies that it begins. If it cannot, replies why and ends.
pub(super) fn begun<W>(control: &Socket, prepare: impl FnOnce() -> Result<W, Refusal>) -> W {
    // A panic of a `Deserialize` is the program's own, and is reported like any other reason.
    let prepared = catch_unwind(AssertUnwindSafe(prepare));
    let prepared = prepared.unwrap_or_else(|payload| {
        let text = thread::text(&*payload).unwrap_or("with no text");
        Err(Refusal::Report(format!("decoding the arguments panicked: {text}")))
    });
    let work = match prepared {
        Ok(work) => work,
        Err(Refusal::PeerGone) => exit(EXIT_ORPHAN),
        Err(Refusal::Report(reason)) => refuse(control, reason),
        Err(Refusal::Unapplied(unapplied)) => {
            let _ = StartReply::Unapplied(unapplied).send(control); // a parent that has ended needs no answer
            exit(EXIT_ORPHAN)
        }
    };
    if StartReply::Begun.send(control).is_err() {
        exit(EXIT_ORPHAN);
    }
    work
}

/// The reason why the child does not run a task.
pub(super) enum Refusal {
    /// The parent has ended.
    PeerGone,
    /// The reason, for the parent.
    Report(String),
    /// The option that failed, for the parent.
    Unapplied(Unapplied),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        match errno {
            // Also if the parent ended within a message.
            Errno::PIPE | Errno::CONNRESET | Errno::PROTO => Self::PeerGone,
            other => Self::Report(format!("it could not receive its task: {other}")),
        }
    }
}

/// A request that this process understands: it is of this build, and asks for a task of this program.
pub(super) struct Request {
    pub(super) start: StartRequest,
    pub(super) call: Call,
}

/// The task of a request, and its arguments.
pub(super) struct Call {
    task: Task,
    form: Form,
    arguments: Packed,
}

impl Call {
    /// Decodes the arguments. Runs code of the program.
    pub(super) fn open(self) -> Result<Body, Refusal> {
        let name = self.task.name();
        self.task
            .open(self.arguments, self.form)
            .map_err(|error| Refusal::Report(format!("the arguments of {name} cannot be decoded: {error}")))
    }
}

impl Request {
    /// Decodes the request, without its arguments. Runs no code of the program.
    pub(super) fn open([request, arguments]: [Packed; 2]) -> Result<Self, Refusal> {
        let refused = |reason: String| Err(Refusal::Report(reason));
        let start: StartRequest = match transfer::unpack(request, Trust::SameProgram, Bounds::SAME_PROGRAM) {
            Ok(start) => start,
            Err(error) => return refused(format!("{OTHER_BUILD} ({error})")),
        };
        if !start.build.is_own() {
            let advice = if start.build.is_known_anywhere() { "" } else { NO_BUILD_ID };
            return refused(format!("{OTHER_BUILD}{advice}"));
        }
        let Some(task) = tasks::look_up(&start.task) else {
            return refused(format!(
                "it does not know the task {}: pass every task to the first freeze_support call of the program",
                start.task
            ));
        };
        let call = Call { task, form: start.form, arguments };
        Ok(Self { start, call })
    }

    /// Prepares the process as the request says.
    fn enter(self) -> Result<(Option<ChildConfig>, Body), Refusal> {
        let Self { start, call } = self;
        apply_environment(&start)?;
        if let Some((Handle(server), rights)) = start.server {
            ParentsServer::new(server, rights).map_err(no_server)?.enter();
        }
        tasks::set_max_argument_depth(start.depth);
        if let Some(config) = &start.config {
            // A proxy among the arguments connects to its manager while it is decoded.
            process_state().set_authkey(config.authkey.clone());
        }
        let body = call.open()?;
        if let (Some(config @ ChildConfig { bound: true, .. }), Some(Handle(parent))) = (&start.config, &start.parent) {
            let ends = die_with_parent(parent.as_fd(), config.child_of());
            ends.map_err(|error| Refusal::Report(format!("it cannot be bound to end with its parent: {error}")))?;
        }
        let config = start.config.map(|config| ChildConfig { sentinel: start.parent.map(|Handle(fd)| fd), ..config });
        Ok((config, body))
    }
}

/// The reason of a child that cannot use the server of its parent.
pub(super) fn no_server(errno: Errno) -> Refusal {
    Refusal::Report(format!("it could not take over the fork server's socket: {errno}"))
}

const OTHER_BUILD: &str = "it is another build of the program: give set_executable a copy of this program's own file";

const NO_BUILD_ID: &str = ", and can tell a copy by its build id only, which the linker has not written into this program \
                      (-C link-arg=-Wl,--build-id)";

/// Applies the surroundings in the request to this process.
fn apply_environment(request: &StartRequest) -> Result<(), Refusal> {
    let failed =
        |what: &'static str| move |error: std::io::Error| Refusal::Report(format!("it cannot {what}: {error}"));
    // An exec by the superuser, or of a file with capabilities, restores capabilities that the parent may have given
    // up.
    request.capabilities.limit().map_err(|errno| failed("give up capabilities")(errno.into()))?;
    if let Some(Handle(stdout)) = &request.stdout {
        // The earlier output of libtest goes to the old standard output.
        std::io::stdout().flush().map_err(failed("flush its standard output"))?;
        replace_stdout(stdout).map_err(|errno| failed("take over the standard output of its parent")(errno.into()))?;
    }
    if let Some(directory) = &request.directory {
        enter_directory(directory)?;
    }
    // A program that was started anew has had its surroundings from the beginning.
    if let Some(config) = request.config.as_ref().filter(|config| config.method == Context::Forkserver) {
        config.surroundings.apply().map_err(Refusal::Unapplied)?;
    }
    Ok(())
}

/// Changes to the directory of the parent.
pub(super) fn enter_directory(directory: &Path) -> Result<(), Refusal> {
    std::env::set_current_dir(directory).map_err(|error| {
        Refusal::Report(format!("it cannot change to its parent's directory `{}`: {error}", directory.display()))
    })
}

/// Ends a process that cannot take its task, and reports the reason to the parent.
fn refuse(control: &Socket, reason: String) -> ! {
    // If the parent has ended, the send fails, and the reason is lost.
    let _ = StartReply::Refused(reason).send(control);
    exit(EXIT_ORPHAN)
}

/// Ends a process that a user started by hand, so that there is no parent to report to.
fn started_by_hand() -> ! {
    let text = "started as a worker, but there is no parent: do not pass --multiprocessing-fork by hand\n";
    let _ = std::io::stderr().write_all(text.as_bytes());
    exit(EXIT_ORPHAN)
}
