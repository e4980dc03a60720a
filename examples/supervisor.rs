//! A supervisor: starts the children, and restarts those that fail.
//!
//! `cargo run --example supervisor [-- --for SECONDS]`; control-C or SIGTERM ends it and all that it has started. With
//! `--self-test` it checks what it prints.
//!
//! One wait covers the ends of all children, the signals and the pauses before the next start, so nothing is polled and
//! no child's end is missed: a child is a descriptor.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ossature::multiprocessing::process::ProcessBuilder;
use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
use ossature::select::selectors::{DefaultSelector, Interest, Selector};
use ossature::sys::process::ExitStatus;
use ossature::sys::signal::{self, Signal, SignalSet};
use ossature::sys::signalfd::SignalFd;
use own::{Outcome, option, self_test};

const USAGE: &str = "\
usage: supervisor [--for SECONDS] [--self-test]
Starts four children, and starts a child again when it ends badly. Ctrl-C or SIGTERM ends all of them.
  --for SECONDS  ends after this time (default: never)
  --self-test    checks what is printed";

/// The pause before the first restart; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(10);
/// The number of restarts after which the supervisor gives a child up.
const RESTARTS: u32 = 3;
/// The time that a child has to end after the request.
const PATIENCE: Duration = Duration::from_millis(300);

// ---- the work ----

/// Unblocks the signals, because a child inherits the signals that its supervisor blocks and this child needs them.
fn listen_to_signals() {
    signal::set_mask(SignalSet::EMPTY).expect("the mask can be set").keep();
}

fn steady() {
    listen_to_signals();
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn shaky() {
    std::thread::sleep(Duration::from_millis(20));
    panic!("lost its footing");
}

fn once() -> u8 {
    0
}

fn stubborn() {
    signal::ignore(Signal::TERM).expect("may be ignored");
    steady();
}

static TASKS: Tasks = tasks![steady, shaky, once, stubborn];

// ---- the supervision ----

struct Ward {
    name: &'static str,
    start: fn(ProcessBuilder) -> ossature::Result<Process>,
    process: Option<Process>,
    restarts: u32,
    due: Option<Instant>,
}

impl Ward {
    fn new(name: &'static str, start: fn(ProcessBuilder) -> ossature::Result<Process>) -> Self {
        Self { name, start, process: None, restarts: 0, due: Some(Instant::now()) }
    }

    /// Starts the child if it is due.
    fn start_if_due(&mut self) -> Outcome {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.due = None;
            // A daemon does not outlive its supervisor, even one that is killed.
            self.process = Some((self.start)(Process::builder().name(self.name).daemon(true))?);
            println!("{}: started", self.name);
        }
        Ok(())
    }

    /// Prints how the child ended and when it restarts.
    fn ended(&mut self, exit: ExitStatus) -> Outcome {
        let Some(process) = self.process.take() else { return Ok(()) };
        let why = match process.panic()? {
            Some(panic) => format!("panicked: {}", panic.message()),
            None => exit.to_string(),
        };
        if exit.success() {
            println!("{}: done", self.name);
        } else if self.restarts == RESTARTS {
            println!("{}: {why}; given up", self.name);
        } else {
            let pause = PAUSE * 2_u32.pow(self.restarts);
            self.restarts += 1;
            self.due = Some(Instant::now() + pause);
            println!("{}: {why}; again in {pause:?}", self.name);
        }
        Ok(())
    }
}

/// The objects that the supervisor waits for.
enum Watched {
    Child(Process),
    Signals(SignalFd),
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Child(process) => process.as_fd(),
            Self::Signals(signals) => signals.as_fd(),
        }
    }
}

fn supervise(wards: &mut [Ward], end: Option<Instant>) -> Outcome {
    let wanted = SignalSet::from([Signal::INT, Signal::TERM]);
    signal::block(wanted)?.keep();
    let mut selector = DefaultSelector::new()?;
    selector.register(Watched::Signals(SignalFd::new(wanted)?), Interest::READ, 0)?;
    loop {
        for (index, ward) in wards.iter_mut().enumerate() {
            let before = ward.process.is_some();
            ward.start_if_due()?;
            if let Some(process) = ward.process.as_ref().filter(|_| !before) {
                selector.register(Watched::Child(process.clone()), Interest::READ, index)?;
            }
        }
        let next = wards.iter().filter_map(|ward| ward.due).chain(end).min();
        for (token, _) in selector.select(next.map(|next| next.saturating_duration_since(Instant::now())))? {
            let (watched, index) = selector.unregister(token)?.into_parts();
            match watched {
                Watched::Signals(_) => return Ok(()),
                Watched::Child(process) => wards[index].ended(process.join()?)?,
            }
        }
        if end.is_some_and(|end| end <= Instant::now()) {
            return Ok(());
        }
    }
}

/// Sends all children SIGTERM, and kills those that do not end.
fn end(wards: &mut [Ward]) -> Outcome {
    let living = || wards.iter().filter_map(|ward| Some((ward.name, ward.process.as_ref()?)));
    for (_, process) in living() {
        process.terminate()?;
    }
    let deadline = ossature::sys::deadline::Deadline::after(PATIENCE);
    for (name, process) in living() {
        if process.join_timeout(deadline)?.is_none() {
            println!("{name}: does not listen");
            process.kill()?;
        }
        println!("{name}: {}", process.join()?);
    }
    Ok(())
}

fn program() -> Outcome {
    if let Some(text) = self_test(&["--for", "2"])? {
        let count = |line: &str| text.lines().filter(|other| *other == line).count();
        assert_eq!(count("shaky: started"), RESTARTS as usize + 1, "{text}");
        assert_eq!(count("shaky: panicked: lost its footing; given up"), 1, "{text}");
        assert_eq!((count("once: started"), count("once: done")), (1, 1), "{text}");
        assert_eq!((count("steady: started"), count("steady: signal 15 (SIGTERM)")), (1, 1), "{text}");
        assert_eq!((count("stubborn: does not listen"), count("stubborn: signal 9 (SIGKILL)")), (1, 1), "{text}");
        return Ok(());
    }
    let end_at = match option("for") {
        Some(seconds) => Some(Instant::now() + Duration::from_secs(seconds.parse()?)),
        None => None,
    };
    let mut wards = [
        Ward::new("steady", |builder| builder.start(steady, ())),
        Ward::new("shaky", |builder| builder.start(shaky, ())),
        Ward::new("once", |builder| builder.start(once, ())),
        Ward::new("stubborn", |builder| builder.start(stubborn, ())),
    ];
    let supervised = supervise(&mut wards, end_at);
    end(&mut wards)?;
    supervised
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    front::run(USAGE, program)
}
