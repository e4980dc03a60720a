//! A scheduler in user space: runs commands on one processor, one at a time, and decides which command is next.
//!
//! ```console
//! cargo run --example scheduler -- --policy lottery --for 5 '3:exec yes >/dev/null' '1:exec yes >/dev/null'
//! cargo run --example scheduler -- --policy deadline '30/100:exec yes >/dev/null' '20/50:exec yes >/dev/null'
//! ```
//!
//! `--help` lists the options, and docs/guide/scheduler.md walks through this program.
//!
//! A turn is `SIGCONT` at its beginning and `SIGSTOP` at its end, to the command's process group. One wait covers the
//! timer of the turn, the pidfds of all commands and the signals: nothing is polled, and no number is signalled that
//! could have become another's.
#![deny(unsafe_code)]

#[path = "family/own.rs"]
mod own;
#[path = "scheduler/policy.rs"]
mod policy;
#[path = "scheduler/table.rs"]
mod table;
#[path = "scheduler/task.rs"]
mod task;

use std::io::{BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ossature::sys::epoll::{Epoll, Interest};
use ossature::sys::process::{Pid, Signal, signal_group};
use ossature::sys::sched::{CpuSet, affinity, set_affinity};
use ossature::sys::signal::{self, SignalSet};
use ossature::sys::signalfd::SignalFd;
use ossature::sys::timerfd::{Clock, TimerFd};
use own::{Outcome, self_test};
use policy::{Policy, Turn};
use table::Table;
use task::Task;

const USAGE: &str = "\
usage: scheduler [--policy NAME] [--quantum MS] [--cpu N] [--for SECONDS] COMMAND...
Runs shell commands on one processor, one at a time. Prints who got how much; on a terminal, a table that changes.
  --policy NAME  round-robin (the default): one after the other
                 lottery: by lot; 3:COMMAND has three tickets, COMMAND has one
                 deadline: 20/100:COMMAND gets 20 ms of every 100 ms; the earliest deadline goes first
  --quantum MS   the length of a turn in milliseconds (default: 20)
  --cpu N        the processor (default: the first one that this process may use)
  --for SECONDS  ends all commands after this time (default: when all have ended, or at Ctrl-C)
  --self-test    checks the shares under each policy, and what Ctrl-C leaves
for example: scheduler --policy lottery --for 5 '3:exec yes >/dev/null' '1:exec yes >/dev/null'";

/// The tokens of the objects that are not commands.
const TIMER: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;

/// The signals that end the program: that of Ctrl-C, and that of `kill`.
fn ending() -> SignalSet {
    SignalSet::from([Signal::INT, Signal::TERM])
}

/// The objects of the wait.
struct Waits {
    epoll: Epoll,
    timer: TimerFd,
    signals: SignalFd,
}

/// The reasons why a wait returned.
struct Woken {
    /// Whether a signal or the time limit requests the end.
    to_end: bool,
    /// The commands that have ended.
    ended: Vec<usize>,
}

impl Waits {
    fn new(tasks: &[Task]) -> Outcome<Self> {
        let signals = SignalFd::new(ending())?;
        let (epoll, timer) = (Epoll::new()?, TimerFd::new(Clock::Monotonic)?);
        epoll.register(&timer, Interest::IN, TIMER)?;
        epoll.register(&signals, Interest::IN, SIGNALS)?;
        for (index, task) in tasks.iter().enumerate() {
            epoll.register(task.child(), Interest::IN, index as u64)?;
        }
        Ok(Self { epoll, timer, signals })
    }

    /// Waits for the end of a turn of `span`, of a command, or of the program.
    fn wait(&self, span: Duration, tasks: &[Task]) -> Outcome<Woken> {
        self.timer.set_once(span.max(Duration::from_nanos(1)))?;
        let mut room = [MaybeUninit::uninit(); 16];
        let mut woken = Woken { to_end: false, ended: Vec::new() };
        for event in self.epoll.poll(&mut room, None)? {
            match event.token() {
                TIMER => {}
                SIGNALS => woken.to_end |= self.signals.read_one(Duration::ZERO)?.is_some(),
                index => {
                    let index = index as usize;
                    self.epoll.unregister(tasks[index].child())?;
                    woken.ended.push(index);
                }
            }
        }
        self.timer.disarm()?;
        Ok(woken)
    }
}

/// Runs commands in turn until all have ended, or the end is requested.
fn schedule(tasks: &mut [Task], policy: &mut dyn Policy, end: Option<Instant>) -> Outcome {
    let (waits, mut table) = (Waits::new(tasks)?, Table::new());
    while tasks.iter().any(Task::is_ready) && end.is_none_or(|end| Instant::now() < end) {
        let begin = Instant::now();
        let left = end.map_or(Duration::MAX, |end| end - begin.min(end));
        let woken = match policy.next(tasks, begin) {
            Turn::Nobody(span) => waits.wait(span.min(left), tasks)?,
            Turn::Of(index, span) => {
                tasks[index].go_on()?;
                let woken = waits.wait(span.min(left), tasks)?;
                tasks[index].stop()?;
                let ran = begin.elapsed();
                tasks[index].granted += ran;
                tasks[index].turns += 1;
                policy.ran(index, ran);
                woken
            }
        };
        for index in woken.ended {
            tasks[index].look()?;
        }
        if woken.to_end {
            break;
        }
        table.show(tasks)?;
    }
    for task in &mut *tasks {
        task.end()?;
    }
    Ok(table.draw(tasks)?)
}

/// The arguments on the command line.
struct Arguments {
    policy: String,
    quantum: Duration,
    cpu: Option<usize>,
    span: Option<Duration>,
    self_test: bool,
    commands: Vec<String>,
}

/// Reads the command line; `None` if it requests help.
fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut found = Arguments {
        policy: "round-robin".into(),
        quantum: Duration::from_millis(20),
        cpu: None,
        span: None,
        self_test: false,
        commands: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("policy") => found.policy = parser.value()?.string()?,
            Long("quantum") => found.quantum = Duration::from_millis(parser.value()?.parse()?),
            Long("cpu") => found.cpu = Some(parser.value()?.parse()?),
            Long("for") => {
                let span = Duration::try_from_secs_f64(parser.value()?.parse()?);
                found.span = Some(span.map_err(|error| format!("--for: {error}"))?);
            }
            Long("self-test") => found.self_test = true,
            Short('h') | Long("help") => return Ok(None),
            Value(command) => found.commands.push(command.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if found.commands.is_empty() && !found.self_test {
        return Err("no command was given".into());
    }
    Ok(Some(found))
}

/// Starts the commands stopped, on one processor, and runs them in turn.
fn run(arguments: &Arguments) -> Outcome {
    // From here on the signals wait in a descriptor, so that none of them ends this process before its commands.
    signal::block(ending())?.keep();
    // What is started now stays on one processor; this process goes back to all.
    let before = affinity(None)?;
    let cpu = arguments.cpu.unwrap_or_else(|| before.iter().next().unwrap_or(0));
    if !before.contains(cpu) {
        let usable: Vec<_> = before.iter().map(|cpu| cpu.to_string()).collect();
        return Err(format!("--cpu {cpu}: this process may use the processors {}", usable.join(", ")).into());
    }
    set_affinity(None, &CpuSet::of([cpu]))?;
    let tasks: Outcome<Vec<Task>> = arguments.commands.iter().map(|command| Task::start(command)).collect();
    set_affinity(None, &before)?;
    let mut tasks = tasks?;
    let mut policy = policy::named(&arguments.policy, arguments.quantum, &tasks)?;
    schedule(&mut tasks, &mut *policy, arguments.span.map(|span| Instant::now() + span))
}

fn main() -> ExitCode {
    let done = match arguments() {
        Ok(Some(arguments)) if arguments.self_test => check(),
        Ok(Some(arguments)) => run(&arguments),
        Ok(None) => writeln!(std::io::stdout(), "{USAGE}").map_err(Into::into),
        Err(error) => {
            eprintln!("scheduler: {error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scheduler: {error}");
            ExitCode::FAILURE
        }
    }
}

/// With `--self-test`, checks the shares under each policy.
fn check() -> Outcome {
    const BUSY: &str = "while :; do :; done";
    let runs: [(&str, [&str; 3], [f64; 3]); 3] = [
        ("round-robin", ["", "", ""], [33.3, 33.3, 33.3]),
        ("lottery", ["3:", "2:", "1:"], [50.0, 33.3, 16.7]),
        ("deadline", ["25/50:", "20/100:", "10/100:"], [62.5, 25.0, 12.5]),
    ];
    for (policy, wishes, shares) in runs {
        let commands = wishes.map(|wish| format!("{wish}{BUSY}"));
        let mut arguments = vec!["--policy", policy, "--quantum", "4", "--for", "2", "true"];
        arguments.extend(commands.iter().map(String::as_str));
        let text = self_test(&arguments)?.ok_or("no self-test was asked for")?;
        // A header, and the command that ends by itself.
        let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert!(lines[0].ends_with(&["[exit", "code", "0]"]), "{text}");
        for (fields, share) in lines[1..].iter().zip(shares) {
            let number = |field: &str| field.trim_end_matches(['%', 's']).parse::<f64>();
            let (got, granted, used) = (number(fields[0])?, number(fields[1])?, number(fields[2])?);
            assert!((got - share).abs() < 12.0, "{policy}: {got} % instead of {share}\n{text}");
            assert!(used <= granted * 1.1 + 0.1, "{policy}: used more than it was granted\n{text}");
            assert!(fields.ends_with(&["[signal", "9", "(SIGKILL)]"]), "{text}");
        }
        assert_eq!(lines.len(), 4, "{text}");
    }
    interrupted()
}

/// Interrupts the program as a terminal does, and checks that no command is left.
fn interrupted() -> Outcome {
    let mut running = Command::new(std::env::current_exe()?)
        .args(["--quantum", "4", "echo $$; while :; do :; done", "echo $$; exec sleep 1000"])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut lines = BufReader::new(running.stdout.take().ok_or("no output")?).lines();
    let mut next = || -> Outcome<String> { Ok(lines.next().ok_or("the program ended before the interrupt")??) };
    let commands = [next()?, next()?];
    let group = Pid::from_raw(running.id().try_into()?).ok_or("no process id")?;
    signal_group(group, Signal::INT)?;
    let began = Instant::now();
    assert!(running.wait()?.success());
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?} to end", began.elapsed());
    for command in commands {
        assert!(!Path::new("/proc").join(&command).exists(), "process {command} is left");
    }
    Ok(())
}
