//! Servers and workers of the tests' own, and a runner of tests.

#![allow(dead_code, reason = "the tests and the storm each use their part")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature::sys::fd::OwnedFd;
use ossature::sys::process::{Pid, pidfd_open, pidfd_send_signal};
use ossature::sys::signal::Signal;

/// How long anything may take that is not meant to.
pub const LONG: Duration = Duration::from_secs(60);

/// A process of the test's own. It is killed when it is dropped.
pub struct Owned {
    child: Child,
    pidfd: OwnedFd,
}

impl Owned {
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).process_group(0).spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; on Debian: apt-get install -y redis-server", command.get_program().to_string_lossy())
        });
        let pidfd = pidfd_open(Pid::from_raw(child.id() as i32).unwrap()).unwrap();
        Self { child, pidfd }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal); // it may have ended
    }

    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Waits for its end by itself.
    pub fn join(&mut self) -> Option<i32> {
        until("the process ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder that goes with its value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ossature-redis-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port of loopback that nobody has.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server on a Unix socket and, for its replicas, on a port of loopback.
pub struct Server {
    folder: Folder,
    pub port: u16,
    options: Vec<String>,
    process: Option<Owned>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With more options of its command line.
    pub fn with(options: &[&str]) -> Self {
        let port = free_port();
        let options = options.iter().map(|option| option.to_string()).collect();
        let mut server = Self { folder: Folder::new(), port, options, process: None };
        server.restart(&[]);
        server
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.0.join("s")
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn tcp(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Starts it, over the data that are there.
    pub fn restart(&mut self, more: &[&str]) {
        self.launch(more);
        let ready = || matches!(self.try_say(&["PING"]), Ok(text) if text == "PONG" || text.starts_with("NOAUTH"));
        until("the server answers", ready);
    }

    fn launch(&mut self, more: &[&str]) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(&self.folder.0);
        command.args(["--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0", "--daemonize", "no"]);
        command.args(&self.options).args(more).stdout(Stdio::null());
        self.process = Some(Owned::start(&mut command));
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        let _ = fs::remove_file(self.socket());
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// A command and its answer, as text.
    pub fn say(&self, words: &[&str]) -> String {
        self.try_say(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub fn try_say(&self, words: &[&str]) -> Result<String, String> {
        let said = Command::new("redis-cli").arg("-s").arg(self.socket()).args(words).stderr(Stdio::null()).output();
        let said = said.map_err(|error| error.to_string())?;
        if !said.status.success() {
            return Err(format!("redis-cli ended with {}", said.status));
        }
        Ok(String::from_utf8_lossy(&said.stdout).trim_end().to_owned())
    }

    /// The keys of a pool, in order.
    pub fn keys(&self, name: &str) -> Vec<String> {
        let mut keys: Vec<_> = self.say(&["KEYS", &format!("{{{name}}}*")]).lines().map(str::to_owned).collect();
        keys.retain(|key| !key.is_empty());
        keys.sort();
        keys
    }
}

/// This program as a worker.
pub fn worker(url: &str, name: &str, processes: usize, more: &[&str]) -> Owned {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["worker", "--url", url, "--pool", name, "--lease", "2", "-j", &processes.to_string()]).args(more);
    Owned::start(&mut command)
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "not within {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Adds a line to a file, at once whole.
pub fn note(path: &Path, line: &str) {
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

pub fn notes(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

pub type Test = (&'static str, fn());

/// Runs the tests whose names have the word that the command line has.
pub fn run(tests: &[Test]) {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in tests.iter().filter(|(name, _)| words.iter().all(|word| name.contains(word.as_str()))) {
        let begun = Instant::now();
        let (tell, hear) = std::sync::mpsc::channel::<()>();
        let watched = *name;
        let watch = std::thread::spawn(move || {
            if hear.recv_timeout(LONG * 3) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("test {watched} ... hangs");
                std::process::exit(101);
            }
        });
        match catch_unwind(test) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(*name),
        }
        drop(tell);
        watch.join().unwrap();
        let word = if failed.last() == Some(name) { "FAILED" } else { "ok" };
        println!("test {name} ... {word} ({:.1} s)", begun.elapsed().as_secs_f64());
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out", failed.len());
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
        std::process::exit(101);
    }
}
