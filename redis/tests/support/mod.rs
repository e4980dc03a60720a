//! The tests' own servers and workers, and a runner of tests.

#![allow(dead_code, reason = "the tests and the storm each use their part")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use ossature::sys::fd::OwnedFd;
use ossature::sys::process::{Pid, pidfd_open, pidfd_send_signal};
use ossature::sys::signal::Signal;

/// The maximum time of any operation that should end.
pub const LONG: Duration = Duration::from_secs(60);

/// A command to start, and the channel for its result.
type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The thread that starts processes. The kernel kills each when the thread that started it ends, and this thread ends
/// with the process of the tests.
static STARTER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (tell, hear) = mpsc::channel::<Order>();
    std::thread::spawn(move || hear.into_iter().for_each(|(mut command, answer)| drop(answer.send(command.spawn()))));
    Mutex::new(tell)
});

/// A program for [`Owned::start`]: the kernel kills it when this process ends, for whatever reason.
pub fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(name);
    command
}

/// This program, for [`Owned::start`].
pub fn itself() -> Command {
    program(std::env::current_exe().unwrap())
}

/// A process that the test owns; dropping the value kills it.
pub struct Owned {
    child: Child,
    pidfd: OwnedFd,
}

impl Owned {
    /// Starts a [`program`], in its own process group.
    pub fn start(command: Command) -> Self {
        Self::start_in(command, 0)
    }

    /// Starts a [`program`] in the process group of `leader`.
    pub fn start_in(mut command: Command, leader: u32) -> Self {
        command.stdin(Stdio::null()).process_group(leader as i32);
        let (tell, hear) = mpsc::channel();
        STARTER.lock().unwrap().send((command, tell)).unwrap();
        let child = hear.recv().unwrap().unwrap_or_else(|error| panic!("setpriv: {error}"));
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

    /// Waits until the process ends by itself.
    pub fn join(&mut self) -> Option<i32> {
        self.join_within(LONG)
    }

    pub fn join_within(&mut self, limit: Duration) -> Option<i32> {
        until_within(limit, "the process ends", || self.child.try_wait().unwrap().is_some());
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

/// A folder; dropping the value removes it.
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

/// A free port of loopback.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server on a Unix socket and, for its replicas, on a port of loopback.
pub struct Server {
    process: Option<Owned>,
    /// The folder, dropped after the process that writes in it.
    folder: Folder,
    pub port: u16,
    options: Vec<String>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with more options of its command line.
    pub fn with(options: &[&str]) -> Self {
        let port = free_port();
        let options = options.iter().map(|option| option.to_string()).collect();
        let mut server = Self { process: None, folder: Folder::new(), port, options };
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

    /// Starts the server again, over its existing data.
    pub fn restart(&mut self, more: &[&str]) {
        self.launch(more);
        let ready = || matches!(self.try_say(&["PING"]), Ok(text) if text == "PONG" || text.starts_with("NOAUTH"));
        until("the server answers", ready);
    }

    fn launch(&mut self, more: &[&str]) {
        let installed = Command::new("redis-server").arg("--version").output().is_ok();
        assert!(installed, "there is no redis-server; on Debian: apt-get install -y redis-server");
        let mut command = program("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(&self.folder.0);
        command.args(["--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0", "--daemonize", "no"]);
        command.args(&self.options).args(more).stdout(Stdio::null());
        self.process = Some(Owned::start(command));
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        let _ = fs::remove_file(self.socket());
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Sends a command and returns its reply, as text.
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

    /// The number of clients that wait in a call.
    pub fn waiting(&self) -> usize {
        self.info("clients", "blocked_clients:").parse().unwrap()
    }

    /// The rest of the INFO line that begins with `words`.
    pub fn info(&self, section: &str, words: &str) -> String {
        let info = self.say(&["INFO", section]);
        let line = info.lines().find_map(|line| line.trim().strip_prefix(words));
        line.unwrap_or_else(|| panic!("{words} in {info}")).to_owned()
    }

    /// The number of replies of the server with an error that begins with `word`.
    pub fn errors(&self, word: &str) -> u64 {
        let info = self.say(&["INFO", "errorstats"]);
        let line = info.lines().find_map(|line| line.trim().strip_prefix(&format!("errorstat_{word}:count=")));
        line.map_or(0, |count| count.parse().unwrap())
    }

    /// The keys of a pool, in order.
    pub fn keys(&self, name: &str) -> Vec<String> {
        let mut keys: Vec<_> = self.say(&["KEYS", &format!("{{{name}}}*")]).lines().map(str::to_owned).collect();
        keys.retain(|key| !key.is_empty());
        keys.sort();
        keys
    }
}

/// A proxy in front of a server that passes on the traffic, except for the answers that it steals.
pub struct Thief {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// The connection whose answer the proxy steals, and the number of answers before.
    wants: Mutex<Option<(usize, usize)>>,
    stolen: Condvar,
}

impl Thief {
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Seen::default()));
        let theirs = seen.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                let (number, theirs) = (theirs.connections.fetch_add(1, SeqCst), theirs.clone());
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || pass_answers(number, server, client, &theirs));
            }
        });
        Self { port, seen }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// Waits until the answer is stolen, or for `limit`: that connection may have broken before.
    pub fn wait_within(&self, limit: Duration) {
        let wants = self.seen.wants.lock().unwrap();
        drop(self.seen.stolen.wait_timeout_while(wants, limit, |wants| wants.is_some()).unwrap());
    }

    /// Steals an answer to this connection after `after` others, and closes the connection.
    pub fn steal(&self, connection: usize, after: usize) {
        *self.seen.wants.lock().unwrap() = Some((connection, after));
    }
}

/// Passes on the answers of one connection, each as a whole.
fn pass_answers(number: usize, mut server: TcpStream, mut client: TcpStream, seen: &Seen) {
    let mut bytes = [0; 1 << 16];
    while let Ok(count @ 1..) = server.read(&mut bytes) {
        let mut wants = seen.wants.lock().unwrap();
        if let Some((wanted, after)) = *wants {
            if wanted == number {
                *wants = after.checked_sub(1).map(|after| (number, after));
                if after == 0 {
                    seen.stolen.notify_all();
                    break;
                }
            }
        }
        drop(wants);
        if client.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

/// Starts this program as a worker.
pub fn worker(url: &str, name: &str, processes: usize, more: &[&str]) -> Owned {
    let mut command = itself();
    command.args(["worker", "--url", url, "--pool", name, "--lease", "2", "-j", &processes.to_string()]).args(more);
    Owned::start(command)
}

/// Waits until `is_so` returns true.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(LONG, what, is_so);
}

#[track_caller]
pub fn until_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Appends a line to a file in one write.
pub fn note(path: &Path, line: &str) {
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

pub fn notes(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

pub type Test = (&'static str, fn());

/// Runs the tests whose names contain the word on the command line.
pub fn run(tests: &[Test]) {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::args().any(|word| word == "--list") {
        return tests.iter().for_each(|(name, _)| println!("{name}: test"));
    }
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in tests.iter().filter(|(name, _)| words.iter().all(|word| name.contains(word.as_str()))) {
        let begun = Instant::now();
        let (tell, hear) = mpsc::channel::<()>();
        let watched = *name;
        let watch = std::thread::spawn(move || {
            if hear.recv_timeout(LONG * 3) == Err(mpsc::RecvTimeoutError::Timeout) {
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
