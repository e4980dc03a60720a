//! CPython as a rival: a running interpreter that times a statement on request.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Reads a line with code, or a line with a number and a statement, and answers with the seconds of that many
/// repetitions. Children read the code again.
const DRIVER: &str = r"
if __name__ == '__main__':
    import sys, timeit
    names = globals()
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

/// Prints the version of each build, and whether it was built with profile-guided optimisation.
pub fn name_builds() {
    let script = "import sys, sysconfig; arguments = sysconfig.get_config_var('CONFIG_ARGS') or ''; \
                  print(sys.version.split()[0], 'optimised' if '--enable-optimizations' in arguments else 'plain')";
    for (name, program) in BUILDS {
        let said = Command::new(program).args(["-c", script]).output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        println!("CPYTHON {name} {}", said.unwrap_or_else(|_| "absent".to_owned()));
    }
}

/// A running interpreter; dropping the value ends it.
#[derive(Debug)]
pub struct Python {
    child: Child,
    tell: ChildStdin,
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
    /// Starts `python3` and runs `setup`, statements of one line each; `None` if the interpreter is not installed or
    /// the setup fails.
    pub fn start(setup: &[&str]) -> Option<Self> {
        Self::start_build("python3", setup)
    }

    /// Starts the interpreter of the name or path `program` and runs `setup`, as [`start`](Self::start) does.
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
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let (tell, hear) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let mut python = Self { child, tell, hear, script: None };
        for line in setup {
            python.ask(&format!("run {line}"))?;
        }
        Some(python)
    }

    fn ask(&mut self, line: &str) -> Option<f64> {
        writeln!(self.tell, "{line}").ok()?;
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

impl Drop for Python {
    fn drop(&mut self) {
        // It is killed and reaped here; if that fails it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
