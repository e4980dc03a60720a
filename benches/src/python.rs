//! CPython as a rival: a running interpreter that times a statement on request.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use ossature_sys::process::{Pid, pidfd_open, pidfd_wait};

use crate::bench::Bench;
use crate::report::{Bar, Line, Unit};
use crate::rounds::{Rounds, Samples};

/// Reads a line with code, or a line with a number and a statement, and answers with the seconds of that many
/// repetitions. Children read the code again. The interpreter leads a group of processes. It ends the group at its own
/// end, after Python's exit functions, and at once when the bench is killed.
const DRIVER: &str = r"
if __name__ == '__main__':
    import atexit, os, signal, sys, timeit
    names, leader = globals(), os.getpid()
    def end(*_):
        if os.getpid() == leader:
            os.killpg(leader, signal.SIGTERM)
    atexit.register(end)
    signal.signal(signal.SIGUSR2, end)
    for line in sys.stdin:
        kind, rest = line.rstrip('\n').split(' ', 1)
        if kind == 'run':
            exec(rest, names)
            print(0, flush=True)
        else:
            number, statement = rest.split(' ', 1)
            print(timeit.timeit(statement, globals=names, number=int(number)), flush=True)
";

/// The builds of CPython in the rows, and their programs: the first one in the path, and the distribution's. They
/// differ by a factor of two in some rows.
pub const BUILDS: [(&str, &str); 2] = [("cpython", "python3"), ("distribution", "/usr/bin/python3")];

/// Prints the version of each build, and the nanoseconds of an item of a loop in that build. The second shows whether
/// the build was optimised: a distribution may optimise by a profile and not record it in the configuration.
pub fn name_builds() {
    let script = "import sys, timeit; times = timeit.repeat('sum(i * i for i in range(1000))', number=200, repeat=5); \
                  print(sys.version.split()[0], 'loop=%.0f' % (min(times) / 200e3 * 1e9))";
    for (name, program) in BUILDS {
        let said = Command::new(program).args(["-c", script]).output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        println!("CPYTHON {name} {}", said.unwrap_or_else(|_| "absent".to_owned()));
    }
}

/// A running interpreter; dropping the value ends it and its children.
#[derive(Debug)]
pub struct Python {
    child: Child,
    tell: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
    script: Option<Script>,
}

/// A script file; dropping the value removes it.
#[derive(Debug)]
struct Script(PathBuf);

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Python {
    /// Starts the interpreter of the name or path `program` and runs `setup`, statements of one line each; `None` if
    /// the interpreter is not installed or the setup fails.
    pub fn start_build(program: &str, setup: &[&str]) -> Option<Self> {
        Self::run(Command::new(program).args(["-c", DRIVER]), setup)
    }

    /// Starts the interpreter `program` with a script as its main module, which first runs `definitions`, as programs
    /// do. A process that the interpreter starts anew reads the script again.
    pub fn start_script(program: &str, definitions: &str, setup: &[&str]) -> Option<Self> {
        let name = program.replace('/', "_");
        let path = std::env::temp_dir().join(format!("ossature_bench_{}_{name}.py", std::process::id()));
        std::fs::write(&path, format!("{definitions}{DRIVER}")).ok()?;
        let script = Script(path);
        let mut python = Self::run(Command::new(program).arg(&script.0), setup)?;
        python.script = Some(script);
        Some(python)
    }

    fn run(command: &mut Command, setup: &[&str]) -> Option<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        // SAFETY: between fork and exec the closure makes one system call, and needs no memory and no lock.
        unsafe { command.pre_exec(end_with_the_bench) };
        let mut child = command.spawn().ok()?;
        let (tell, hear) = (child.stdin.take(), BufReader::new(child.stdout.take()?));
        let mut python = Self { child, tell, hear, script: None };
        for line in setup {
            python.ask(&format!("run {line}"))?;
        }
        Some(python)
    }

    fn ask(&mut self, line: &str) -> Option<f64> {
        writeln!(self.tell.as_ref()?, "{line}").ok()?;
        let mut answer = String::new();
        self.hear.read_line(&mut answer).ok()?;
        answer.trim().parse().ok()
    }

    /// Returns the nanoseconds of one of `repeats` repetitions of the statement, including the loop, as in Rust.
    ///
    /// # Panics
    ///
    /// If the interpreter has died.
    pub fn time(&mut self, statement: &str, repeats: u64) -> f64 {
        let seconds = self.ask(&format!("time {repeats} {statement}")).expect("the interpreter replies");
        seconds * 1e9 / repeats as f64
    }
}

/// Has the kernel send SIGUSR2 when the thread that starts this process ends, also by a kill.
fn end_with_the_bench() -> std::io::Result<()> {
    // SAFETY: with this option prctl(2) takes a number.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR2) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.tell.take()); // at the end of its input it ends itself and its children
        let pidfd = Pid::from_raw(self.child.id().cast_signed()).and_then(|pid| pidfd_open(pid).ok());
        if let Some(Ok(Some(_))) = pidfd.map(|pidfd| pidfd_wait(pidfd, Duration::from_secs(5))) {
            return;
        }
        // SAFETY: kill(2) takes numbers. The interpreter leads the group and is not reaped, so the number is its own.
        unsafe { libc::kill(-self.child.id().cast_signed(), libc::SIGKILL) };
        let _ = self.child.wait(); // if that fails it is gone already
    }
}

/// An interpreter of each installed build, each with the same setup.
#[derive(Debug)]
pub struct Pythons([Option<RefCell<Python>>; BUILDS.len()]);

impl Pythons {
    /// The names of the builds as contenders.
    const NAMES: [&str; BUILDS.len()] = [BUILDS[0].0, BUILDS[1].0];

    /// Starts the builds with `setup`, as [`Python::start_build`] does.
    pub fn start(setup: &[&str]) -> Self {
        Self::start_by(|program| Python::start_build(program, setup))
    }

    /// Starts the builds by `start`, which receives their programs.
    pub fn start_by(start: impl Fn(&str) -> Option<Python>) -> Self {
        Self(BUILDS.map(|(_, program)| start(program).map(RefCell::new)))
    }

    /// Adds the statement in each build as a contender with the name of the build.
    pub fn add<'a>(&'a self, rounds: &mut Rounds<'a>, statement: &'a str) {
        self.add_as(Self::NAMES, rounds, statement);
    }

    /// Adds the statement in each build as a contender of another name.
    pub fn add_as<'a>(&'a self, names: [&'static str; BUILDS.len()], rounds: &mut Rounds<'a>, statement: &'a str) {
        for (name, python) in names.into_iter().zip(&self.0) {
            if let Some(python) = python {
                rounds.add_burst(name, |repeats| python.borrow_mut().time(statement, repeats));
            }
        }
    }

    /// Prints the line of `ours` beside each build.
    pub fn compare(&self, bench: &Bench, row: &str, samples: &Samples, ours: &str, bar: Bar) {
        self.compare_as(Self::NAMES, bench, row, samples, ours, bar);
    }

    /// Prints the line of `ours` beside each build, whose contender has another name.
    pub fn compare_as(
        &self,
        names: [&'static str; BUILDS.len()],
        bench: &Bench,
        row: &str,
        samples: &Samples,
        ours: &str,
        bar: Bar,
    ) {
        for (name, python) in names.into_iter().zip(&self.0) {
            if python.is_some() {
                bench.compare(row, samples, ours, name, bar);
                continue;
            }
            let (row, rival, ours) = (row.to_owned(), name.to_owned(), samples.median(ours));
            bench.print(Line { row, unit: Unit::Nanoseconds, ours, rival, theirs: None, ratio: None, bar });
        }
    }
}
