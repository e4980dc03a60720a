//! Two children that never answer. Each wait has a limit, and the program prints what the children wait for.

#[path = "family/guided.rs"]
mod guided;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, Running, expect, run, unknown};
use ossature::multiprocessing::connection::Connection;
use ossature::multiprocessing::{Process, Tasks, Value, freeze_support, pipe, tasks};
use ossature::sys::process::Pid;

const USAGE: &str = "\
usage: find_the_hang
Starts a child that waits for a message and a child that waits for a lock, gives both up after a limit, and prints what
the kernel says about them.
  --self-test  checks that the report names the pipe and the lock";

const LIMIT: Duration = Duration::from_millis(300);

/// Waits for a question before it answers; the parent waits for the answer before it asks.
fn clerk(line: Connection) -> ossature::Result<()> {
    let question: String = line.recv()?;
    line.send(&question.len())
}

/// Waits for a lock that the parent holds.
fn teller(total: Value<u64>) -> ossature::Result<()> {
    total.set(1)
}

static TASKS: Tasks = tasks![clerk, teller];

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    let (near, far) = pipe()?;
    let clerk = Process::builder().name("clerk").daemon(true).start(clerk, (far,))?;
    let total = Value::new(0_u64)?;
    let held = total.lock()?;
    let teller = Process::builder().name("teller").daemon(true).start(teller, (total.try_clone()?,))?;

    if near.recv_timeout::<usize>(LIMIT)?.is_none() {
        println!("no answer within {LIMIT:?}");
        report(&clerk);
    }
    if teller.join_timeout(LIMIT)?.is_none() {
        println!("no end within {LIMIT:?}");
        report(&teller);
    }
    drop(held); // the teller goes on
    println!("teller: {}", teller.join()?);
    clerk.kill()?;
    println!("clerk: {}", clerk.join()?);
    Ok(())
}

/// Prints what the kernel knows about a process that hangs. A line that the kernel does not reveal is left out.
fn report(process: &Process) {
    let Some(pid) = process.pid().map(Pid::as_raw_nonzero) else { return };
    println!("{} (process {pid}):", process.name());
    let proc = Path::new("/proc").join(pid.to_string());
    let tasks = fs::read_dir(proc.join("task")).into_iter().flatten().flatten();
    for task in tasks.map(|entry| entry.path()) {
        let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default().trim_end().to_owned();
        let (thread, call) = (read("comm"), read("syscall"));
        let number = call.split(' ').next().unwrap_or_default();
        println!("  thread {thread} is in {} (/proc/{pid}/task/*/syscall: {number})", name_of(number));
    }
    for entry in fs::read_dir(proc.join("fd")).into_iter().flatten().flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            println!("  descriptor {} is {}", entry.file_name().to_string_lossy(), target.display());
        }
    }
    println!("  every stack: gdb -batch -p {pid} -ex 'thread apply all backtrace'");
    println!("  every call:  strace -f -p {pid}");
}

/// Describes the calls in which a program waits.
fn name_of(number: &str) -> &'static str {
    let calls = [
        (libc::SYS_futex, "futex: it waits for a lock, an event or another thread"),
        (libc::SYS_ppoll, "ppoll: it waits for one of several descriptors"),
        (libc::SYS_epoll_pwait, "epoll_pwait: it waits for its event loop"),
        (libc::SYS_read, "read: it waits for a pipe, a socket or a terminal"),
        (libc::SYS_recvfrom, "recvfrom: it waits for a message"),
        (libc::SYS_recvmsg, "recvmsg: it waits for a message"),
        (libc::SYS_write, "write: the other side does not read"),
        (libc::SYS_sendto, "sendto: the other side does not receive"),
        (libc::SYS_sendmsg, "sendmsg: the other side does not receive"),
        (libc::SYS_waitid, "waitid: it waits for a child"),
        (libc::SYS_wait4, "wait4: it waits for a child"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep: it sleeps"),
    ];
    let known = calls.into_iter().find(|(call, _)| call.to_string() == number);
    match (known, number) {
        (Some((_, text)), _) => text,
        (None, "running") => "no call: it computes",
        (None, "") => "a call that this process may not see",
        (None, _) => "another call",
    }
}

fn self_test() -> Outcome {
    let text = Running::start(&[])?.finish()?;
    let part = |name: &str| text.split(&format!("{name} (process ")).nth(1).unwrap_or_default();
    let may_see = !text.contains("may not see"); // some sandboxes have no such file
    let waits =
        ["recvfrom", "recvmsg", "read", "ppoll"].iter().any(|call| part("clerk").contains(&format!("is in {call}: ")));
    expect(waits || !may_see, "the clerk waits for a message", &text)?;
    expect(part("clerk").contains(" is socket:["), "the clerk has its end of the pipe", &text)?;
    expect(part("teller").contains("is in futex: ") || !may_see, "the teller waits for a lock", &text)?;
    expect(text.ends_with("teller: exit code 0\nclerk: signal 9 (SIGKILL)\n"), "both are ended", &text)?;
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, self_test)
}
