//! A scheduler in user space: runs commands on one processor, one at a time, and decides who is next.
//!
//! ```console
//! cargo run --example scheduler -- --policy lottery --for 5 '3:exec yes >/dev/null' '1:exec yes >/dev/null'
//! cargo run --example scheduler -- --policy deadline '30/100:exec yes >/dev/null' '20/50:exec yes >/dev/null'
//! ```
//!
//! `--policy` is `round-robin` (the default), `lottery` (a number before a command is its tickets) or `deadline` (so many
//! milliseconds of every so many; the earliest deadline goes first). `--quantum MS` is the length of a turn, `--cpu N` the
//! processor, `--for SECONDS` the end, which is otherwise that of the last command, or control-C. With `--self-test` it checks what
//! it prints.
//!
//! A turn is `SIGCONT` at its beginning and `SIGSTOP` at its end, to the command's process group. One wait covers the
//! timer of the turn, the pidfds of all commands and the signals: nothing is polled, and no number is signalled that could have become
//! another's.
#![deny(unsafe_code)]

#[path = "family/own.rs"]
mod own;
#[path = "scheduler/policy.rs"]
mod policy;
#[path = "scheduler/table.rs"]
mod table;
#[path = "scheduler/task.rs"]
mod task;

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use ossature::sys::epoll::{Epoll, Interest};
use ossature::sys::process::Signal;
use ossature::sys::sched::{CpuSet, affinity, set_affinity};
use ossature::sys::signal::{self, SignalSet};
use ossature::sys::signalfd::SignalFd;
use ossature::sys::timerfd::{Clock, TimerFd};
use own::{Outcome, option, self_test};
use policy::{Policy, Turn};
use table::Table;
use task::Task;

/// The tokens of what is not a command.
const TIMER: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;

/// What is waited for.
struct Waits {
    epoll: Epoll,
    timer: TimerFd,
    _signals: SignalFd,
}

/// Why a wait came back.
struct Woken {
    /// Somebody wants the end.
    to_end: bool,
    /// These commands have ended.
    ended: Vec<usize>,
}

impl Waits {
    fn new(tasks: &[Task]) -> Outcome<Self> {
        let asked = SignalSet::from([Signal::INT, Signal::TERM]);
        signal::block(asked)?.keep();
        let signals = SignalFd::new(asked)?;
        let (epoll, timer) = (Epoll::new()?, TimerFd::new(Clock::Monotonic)?);
        epoll.register(&timer, Interest::IN, TIMER)?;
        epoll.register(&signals, Interest::IN, SIGNALS)?;
        for (index, task) in tasks.iter().enumerate() {
            epoll.register(task.child(), Interest::IN, index as u64)?;
        }
        Ok(Self { epoll, timer, _signals: signals })
    }

    /// Waits for the end of a turn of `span`, of a command, or of everything.
    fn wait(&self, span: Duration, tasks: &[Task]) -> Outcome<Woken> {
        self.timer.set_once(span.max(Duration::from_nanos(1)))?;
        let mut room = [MaybeUninit::uninit(); 16];
        let mut woken = Woken { to_end: false, ended: Vec::new() };
        for event in self.epoll.poll(&mut room, None)? {
            match event.token() {
                TIMER => {}
                SIGNALS => woken.to_end = true,
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

/// Gives turns until all have ended, or the end has come.
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

/// The commands on the command line: what belongs to no option.
fn commands() -> Vec<String> {
    let mut arguments = std::env::args().skip(1);
    let mut commands = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument.starts_with("--") {
            arguments.next();
        } else {
            commands.push(argument);
        }
    }
    commands
}

fn main() -> Outcome {
    if check()? {
        return Ok(());
    }
    let commands = commands();
    if commands.is_empty() {
        return Err("no command: try '3:exec yes >/dev/null' '1:exec yes >/dev/null' behind --policy lottery".into());
    }
    let milliseconds = option("quantum").map_or(Ok(20), |number| number.parse())?;
    let seconds = option("for").map(|number| number.parse().map(Duration::from_secs_f64)).transpose()?;
    // What is started now stays on one processor; this process goes back to all.
    let before = affinity(None)?;
    let cpu = option("cpu").map_or(Ok(before.iter().next().unwrap_or(0)), |number| number.parse())?;
    set_affinity(None, &CpuSet::of([cpu]))?;
    let mut tasks = Vec::new();
    for command in &commands {
        tasks.push(Task::start(command)?);
    }
    set_affinity(None, &before)?;
    let name = option("policy").unwrap_or_else(|| "round-robin".into());
    let mut policy = policy::named(&name, Duration::from_millis(milliseconds), &tasks)?;
    schedule(&mut tasks, &mut *policy, seconds.map(|span| Instant::now() + span))
}

/// With `--self-test`, looks at the shares under each policy.
fn check() -> Outcome<bool> {
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
        let Some(text) = self_test(&arguments)? else { return Ok(false) };
        // A header, and the command that ends by itself.
        let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert!(lines[0].ends_with(&["[exit", "code", "0]"]), "{text}");
        for (fields, share) in lines[1..].iter().zip(shares) {
            let number = |field: &str| field.trim_end_matches(['%', 's']).parse::<f64>();
            let (got, granted, used) = (number(fields[0])?, number(fields[1])?, number(fields[2])?);
            assert!((got - share).abs() < 12.0, "{policy}: {got} % instead of {share}\n{text}");
            assert!(used <= granted * 1.1 + 0.1, "{policy}: used more than it was granted\n{text}");
            assert!(fields.ends_with(&["[signal", "9]"]), "{text}");
        }
        assert_eq!(lines.len(), 4, "{text}");
    }
    Ok(true)
}
