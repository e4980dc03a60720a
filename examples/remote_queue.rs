//! One queue for programs on several machines: the remote manager of Python's manual, with a count that other clients
//! watch.
//!
//! `cargo run --example remote_queue -- --serve`, then in other terminals `-- --port P --put TEXT`, `-- --port P --get`
//! and `-- --port P --watch`. A Python program joins as the server's output describes. With `--self-test` it checks
//! what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use ossature::managed;
use ossature::multiprocessing::Manager;
use ossature::multiprocessing::connection::AuthKey;
use own::{Outcome, option};

const USAGE: &str = "\
usage: remote_queue --serve [--port P] | --port P (--put TEXT | --get | --watch) [--self-test]
A server keeps one queue for all programs that know its key.
  --serve      serves until its standard input is closed
  --port P     where the server listens (default: 0, the system chooses)
  --put TEXT   puts an item
  --get        takes an item, waits for one for ten seconds, and prints it
  --watch      prints how many items there have been, ten times a second, five times
  --self-test  checks what it prints";

/// The only queue of this program: every client of the server has a handle to it.
static ITEMS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static TOTAL: Mutex<u64> = Mutex::new(0);
static CAME: Condvar = Condvar::new();

/// The object that the clients of the server share.
#[derive(Debug)]
pub struct Shared;

managed! {
    impl Shared as SharedProxy {
        /// Creates a handle to the queue, which is the same for all clients.
        pub fn new() -> Self {
            Self
        }

        /// Puts an item, and returns the number of items so far.
        pub fn put(&self, item: String) -> u64 {
            ITEMS.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
            CAME.notify_one();
            let mut total = TOTAL.lock().unwrap_or_else(PoisonError::into_inner);
            *total += 1;
            *total
        }

        /// Takes the oldest item. A wait occupies one thread of the server and delays no other client.
        pub fn get(&self, millis: u64) -> Option<String> {
            let items = ITEMS.lock().unwrap_or_else(PoisonError::into_inner);
            let limit = Duration::from_millis(millis);
            let waited = CAME.wait_timeout_while(items, limit, |items| items.is_empty());
            waited.unwrap_or_else(PoisonError::into_inner).0.pop_front()
        }

        /// The number of items so far.
        pub fn total(&self) -> u64 {
            *TOTAL.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}

fn is_given(name: &str) -> bool {
    std::env::args().any(|argument| argument.strip_prefix("--") == Some(name))
}

fn program() -> Outcome {
    if is_given("self-test") {
        return check();
    }
    let port: u16 = option("port").map_or(Ok(0), |port| port.parse())?;
    let key = AuthKey::from("abracadabra"); // agreed between the programs; a secret in earnest
    if is_given("serve") {
        return serve(port, &key);
    }
    let manager = Manager::connect(("127.0.0.1", port), &key)?;
    let queue = SharedProxy::new(&manager)?;
    if let Some(item) = option("put") {
        println!("item {} of all", queue.put(item)?);
    } else if is_given("get") {
        println!("{}", queue.get(10_000)?.unwrap_or_else(|| "no item came".to_owned()));
    } else {
        for _ in 0..5 {
            println!("{} items so far", queue.total()?);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

fn serve(port: u16, key: &AuthKey) -> Outcome {
    let server = Manager::builder().types::<(Shared,)>().address(("127.0.0.1", port)).authkey(key).bind()?;
    let address = server.address().to_string();
    println!("listening at {address}");
    println!("a program in Python may join:");
    println!("  from multiprocessing.managers import BaseManager");
    println!("  BaseManager.register('Shared')");
    println!("  m = BaseManager(('127.0.0.1', PORT), b'abracadabra'); m.connect(); m.Shared().put('hello')");
    let stop = server.stopper();
    let serving = std::thread::spawn(move || server.serve_forever());
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    stop.stop();
    serving.join().map_err(|_| "the server panicked")??;
    Ok(())
}

/// Runs a server and its clients, each as its own program.
fn check() -> Outcome {
    let me = std::env::current_exe()?;
    let mut server = Command::new(&me).arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut first = String::new();
    let mut output = BufReader::new(server.stdout.take().ok_or("no output")?); // open until the server has ended
    output.read_line(&mut first)?;
    let port = first.trim().rsplit(':').next().unwrap_or_default().trim_matches(|c: char| !c.is_ascii_digit());
    let run = |arguments: &[&str]| -> Outcome<String> {
        let output = Command::new(&me).args(["--port", port]).args(arguments).output()?;
        let text = String::from_utf8(output.stdout)?;
        match output.status.success() {
            true => Ok(text.trim_end().to_owned()),
            false => Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    };
    let told = [run(&["--put", "hello"])?, run(&["--put", "world"])?, run(&["--get"])?, run(&["--get"])?];
    let watched = run(&["--watch"])?;
    drop(server.stdin.take());
    let status = server.wait()?;
    println!("{first}{}\n{watched}", told.join("\n"));
    let right = told == ["item 1 of all", "item 2 of all", "hello", "world"] && watched.contains("2 items so far");
    if right && status.success() { Ok(()) } else { Err(format!("other items came back; the server: {status}").into()) }
}
