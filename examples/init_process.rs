//! The first process of a container: orphans are reaped, signals arrive, and the program is unaware of both.

#[path = "family/guided.rs"]
mod guided;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use guided::{Outcome, Running, expect, run, unknown};
use ossature::multiprocessing::process::reap_orphans;
use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
use ossature::sys::signal::Signal;

const USAGE: &str = "\
usage: init_process [--always | --never] [--wait]
Leaves an orphan behind, and says whether somebody reaps it. As process 1 the program starts a reaper first. Try it:
    unshare --user --map-root-user --pid --fork --mount-proc target/release/examples/init_process
  --always     starts a reaper under any process id
  --never      starts no reaper: as process 1 the orphan stays a zombie
  --wait       runs until a signal ends it
  --self-test  checks the reaper, in a process namespace of its own too where the machine allows that";

/// The maximum wait for an orphan to end.
const PATIENCE: Duration = Duration::from_secs(2);

fn work() {}

static TASKS: Tasks = tasks![work];

/// Lets a shell start a process and end before it. Returns the path of the orphan in /proc.
fn leave_an_orphan() -> Outcome<PathBuf> {
    let shell = Command::new("/bin/sh").args(["-c", "sleep 0.1 >/dev/null & echo $!"]).stdin(Stdio::null()).output()?;
    Ok(PathBuf::from("/proc").join(String::from_utf8(shell.stdout)?.trim()))
}

fn program(arguments: &[&str]) -> Outcome {
    if let Some(other) = arguments.iter().find(|other| !["--always", "--never", "--wait"].contains(other)) {
        return unknown(&[other]);
    }
    let orphan = leave_an_orphan()?;
    let worker = Process::spawn(work, ())?;
    println!("the worker ended: {}", worker.join()?); // the reaper does not take its exit code
    let begin = Instant::now();
    while orphan.exists() && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("the orphan {}", if orphan.exists() { "is a zombie" } else { "was reaped" });
    if arguments.contains(&"--wait") {
        println!("waiting");
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    Ok(())
}

fn self_test() -> Outcome {
    let text = Running::start(&["--always"])?.finish()?;
    expect(text == "the worker ended: exit code 0\nthe orphan was reaped\n", "the orphan is reaped", &text)?;
    // The reaper passes the signal on, and ends as a shell would say it.
    let mut running = Running::start(&["--always", "--wait"])?;
    running.until("waiting", 1)?;
    running.signal(Signal::TERM)?;
    let error = running.finish().err().ok_or("the program survived SIGTERM")?.to_string();
    expect(error.contains("exit status: 143"), "SIGTERM ends the program", &error)?;

    for (arguments, end) in [(&[][..], "the orphan was reaped\n"), (&["--never"], "the orphan is a zombie\n")] {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        match command.arg(std::env::current_exe()?).args(arguments).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8(output.stdout)?;
                expect(text.ends_with(end), "process 1 treats the orphan as requested", &text)?;
            }
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                // Anything that our own program says is a failure; a refusal of `unshare` is the machine's choice.
                expect(why.contains("unshare:"), "process 1 runs", &why)?;
                println!("not tried as process 1: {}", why.trim_end());
            }
            Err(error) => println!("not tried as process 1: unshare: {error}"),
        }
    }
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let is_first = std::process::id() == 1 || has("--always");
    // Before threads and everything else: this call forks, and the program goes on in the child.
    let reaper = if is_first && !has("--never") { reap_orphans() } else { Ok(()) };
    if let Err(error) = reaper {
        eprintln!("init_process: {error}");
        return ExitCode::FAILURE;
    }
    run(USAGE, program, self_test)
}
