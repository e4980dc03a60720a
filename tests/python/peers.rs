//! The CPythons of this machine, each of which can run `peer.py`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// An interpreter with a working `multiprocessing.connection`.
#[derive(Debug)]
pub(crate) struct Python {
    path: PathBuf,
    pub(crate) version: (u32, u32, u32),
}

impl Python {
    /// Whether the CPython knows only the old handshake.
    pub(crate) fn is_old(&self) -> bool {
        self.version < (3, 12, 0)
    }

    /// A command that runs the CPython.
    #[allow(dead_code, reason = "for the tests of another binary")]
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.path)
    }
}

/// One CPython of each installed version, oldest first. The first call prints the list to stderr.
pub(crate) fn installed() -> &'static [Python] {
    static FOUND: OnceLock<Vec<Python>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut found = BTreeMap::new();
        for path in candidates() {
            if let Some(version) = version(&path) {
                found.entry(version).or_insert(path);
            }
        }
        let found: Vec<_> = found.into_iter().map(|(version, path)| Python { path, version }).collect();
        let names: Vec<_> =
            found.iter().map(|it| format!("{}.{}.{}", it.version.0, it.version.1, it.version.2)).collect();
        let said = match names.is_empty() {
            true => "no CPython is installed: only the recorded handshakes are replayed".to_owned(),
            false => format!("CPython as the peer: {}", names.join(", ")),
        };
        // Not eprintln!, which the harness would keep to itself when all is well.
        let _ = writeln!(std::io::stderr(), "{said}");
        found
    })
}

fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names: Vec<_> = ["python2.7", "python3"]
        .map(String::from)
        .into_iter()
        .chain((6..=14).map(|minor| format!("python3.{minor}")))
        .collect();
    let on_path = std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>());
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = std::fs::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten().flatten();
    on_path.chain(versions.map(|version| version.path().join("bin/python"))).filter(|path| path.is_file()).collect()
}

fn version(path: &Path) -> Option<(u32, u32, u32)> {
    let ask = "import sys, multiprocessing.connection; print('CPython %d %d %d' % sys.version_info[:3])";
    let said = Command::new(path).args(["-c", ask]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let mut numbers = said.trim().strip_prefix("CPython ")?.split(' ').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// `peer.py`, run by one CPython. Its commands are described there.
pub(crate) struct Peer {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    last: String,
}

impl Peer {
    pub(crate) fn start(python: &Python) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/peer.py");
        let arguments = [OsStr::new("-B"), script.as_os_str()];
        let mut child =
            Command::new(&python.path).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (say, answers) = channel();
        let hear = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || hear.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { commands: child.stdin.take().unwrap(), child, answers, last: String::new() }
    }

    /// Sends a command and does not wait for its reply.
    #[track_caller]
    pub(crate) fn tell(&mut self, command: &str) {
        self.last = command.to_owned();
        writeln!(self.commands, "{command}").expect("the peer lives");
    }

    /// The next reply, unchanged.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        match self.answers.recv_timeout(Duration::from_secs(60)) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer to {:?}: {error}", self.last),
        }
    }

    /// The next reply, which must be a success; without the `ok`.
    #[track_caller]
    pub(crate) fn done(&mut self) -> String {
        let answer = self.hear();
        match answer.strip_prefix("ok") {
            Some(rest) => rest.trim().to_owned(),
            None => panic!("{:?} got {answer:?}", self.last),
        }
    }

    /// Sends a command and returns its reply, which must be a success.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.done()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Killed and reaped here; if that fails it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
