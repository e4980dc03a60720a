//! The parts that the examples of docs/guide.md share: the command line, errors as text, and a run that is checked from
//! outside.
#![allow(dead_code, reason = "not every example uses all of it")]

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use ossature::multiprocessing::connection::wait;
use ossature::sys::deadline::Deadline;
use ossature::sys::process::{Pid, Signal, pidfd_open, pidfd_send_signal, signal_group};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Prints `usage` for `--help`, runs `check` for `--self-test`, and runs `program` with all other arguments. An error
/// becomes a line `NAME: TEXT` on standard error and the exit code 1.
pub fn run(usage: &str, program: fn(&[&str]) -> Outcome, check: fn() -> Outcome) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--help" | "-h"] => writeln!(std::io::stdout(), "{usage}").map_err(Into::into),
        ["--self-test"] => check(),
        ref arguments => program(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let name = usage.split_whitespace().nth(1).unwrap_or_default();
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The error of a command line that the program does not understand.
pub fn unknown(arguments: &[&str]) -> Outcome {
    Err(format!("cannot use the arguments {:?}; --help lists the arguments", arguments.join(" ")).into())
}

/// This program, started once more with other arguments in a process group of its own, as a shell starts a program.
pub struct Running {
    child: Child,
    out: ChildStdout,
    text: String,
    until: Deadline,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let out = child.stdout.take().ok_or("the program has no output")?;
        Ok(Self { child, out, text: String::new(), until: Deadline::after(Duration::from_secs(8)) })
    }

    /// Waits until the program has printed this text this many times; returns all that it has printed.
    pub fn until(&mut self, text: &str, times: usize) -> Outcome<&str> {
        while self.text.matches(text).count() < times {
            if !self.more()? {
                return Err(
                    format!("the program ended and did not print {text:?} {times} times:\n{}", self.text).into()
                );
            }
        }
        Ok(&self.text)
    }

    /// Sends the program a signal, as `kill` does.
    pub fn signal(&self, signal: Signal) -> Outcome {
        Ok(pidfd_send_signal(pidfd_open(self.pid()?)?, signal)?)
    }

    /// Sends the program and its children a signal, as the terminal does for Ctrl-C.
    pub fn signal_group(&self, signal: Signal) -> Outcome {
        Ok(signal_group(self.pid()?, signal)?)
    }

    /// Waits until the program ends; returns all that it printed, or an error if it failed.
    pub fn finish(mut self) -> Outcome<String> {
        while self.more()? {}
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the program failed ({status}):\n{}", self.text).into());
        }
        Ok(std::mem::take(&mut self.text))
    }

    fn pid(&self) -> Outcome<Pid> {
        Ok(Pid::from_raw(self.child.id().try_into()?).ok_or("the program has no process id")?)
    }

    /// Reads what the program prints next; `false` at the end of its output.
    fn more(&mut self) -> Outcome<bool> {
        if wait(&[&self.out], self.until)?.is_empty() {
            return Err(format!("the program printed nothing more in time:\n{}", self.text).into());
        }
        let mut room = [0; 4096];
        let len = self.out.read(&mut room)?;
        self.text.push_str(&String::from_utf8_lossy(&room[..len]));
        Ok(len > 0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if the program has ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns an error with the whole output, unless `holds`.
pub fn expect(holds: bool, what: &str, text: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("{what} does not hold for this output:\n{text}").into()) }
}
