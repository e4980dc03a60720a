//! A server and a client in two terminals:
//!
//! ```text
//! cargo run --example talk -- server localhost:6000
//! cargo run --example talk -- client localhost:6000
//! ```
//!
//! The client sends each line of its standard input and prints what comes back. The address may be a path as well, or
//! `@name` for an abstract one; without one it is `/tmp/ossature-talk`. Either side may be CPython: the messages are
//! bytes, and the key is `b"secret password"`. The server ends when a client says `stop`. With `--self-test` it talks
//! to itself.

#[path = "family/front.rs"]
mod front;

use std::error::Error;
use std::io::{BufRead, stdin};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Connection, Family, Listener};

const USAGE: &str = "\
usage: talk server|client [HOST:PORT | PATH | @NAME] [--self-test]
The client sends each line of its standard input to the server and prints the answer. Without an address both
use /tmp/ossature-talk. The server ends when a client says stop, or by Ctrl-C.
  --self-test  talks to itself";

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn key() -> AuthKey {
    AuthKey::from("secret password")
}

/// Accepts clients and serves each in its own thread, until one of them sends `stop`; then waits for the others.
fn serve(listener: &Listener) -> Outcome {
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        while !stop.load(Relaxed) {
            match listener.accept_timeout(Duration::from_millis(100)) {
                Ok(None) => {}
                Ok(Some(connection)) => drop(scope.spawn(move || match answer(&connection, stop) {
                    // The client has gone.
                    Err(error) if error.kind() == ErrorKind::Closed => {}
                    Err(error) => eprintln!("server: {error}"),
                    Ok(()) => {}
                })),
                // Somebody with another key is no reason to stop.
                Err(error) if error.kind() == ErrorKind::Auth => eprintln!("server: {error}"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

/// Answers one client, line by line.
fn answer(connection: &Connection, stop: &AtomicBool) -> ossature::Result<()> {
    for number in 1.. {
        let line = connection.recv_bytes_max(4096)?;
        if line == b"stop" {
            stop.store(true, Relaxed);
            return connection.send_bytes(b"good bye");
        }
        let line = String::from_utf8_lossy(&line);
        connection.send_bytes(format!("{number}: {}", line.to_uppercase()).as_bytes())?;
    }
    Ok(())
}

/// Sends each line, and passes each answer on.
fn ask(address: &Address, lines: impl Iterator<Item = String>, mut tell: impl FnMut(&str)) -> Outcome {
    let connection = ConnectBuilder::new().authkey(&key()).connect(address)?;
    for line in lines {
        connection.send_bytes(line.as_bytes())?;
        tell(&String::from_utf8_lossy(&connection.recv_bytes()?));
    }
    Ok(())
}

fn address(text: Option<&str>) -> Outcome<Address> {
    let text = text.unwrap_or("/tmp/ossature-talk");
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Address::Abstract(name.into()));
    }
    match text.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => Ok((host, port).into()),
        _ => Ok(text.try_into()?),
    }
}

fn self_test() -> Outcome {
    for family in Family::ALL {
        let listener = match Listener::builder().authkey(&key()).bind(Address::arbitrary(family)?) {
            Err(_) if family == Family::Inet6 => continue, // not every machine has it
            listener => listener?,
        };
        let address = listener.address().clone();
        let server = thread::spawn(move || serve(&listener));
        let mut said = Vec::new();
        ask(&address, ["one".to_owned(), "two".to_owned()].into_iter(), |line| said.push(line.to_owned()))?;
        let stranger = ConnectBuilder::new().authkey(&AuthKey::from("guess")).connect(&address).map(drop);
        assert_eq!(stranger.map_err(|error| error.kind()), Err(ErrorKind::Auth));
        ask(&address, ["three".to_owned(), "stop".to_owned()].into_iter(), |line| said.push(line.to_owned()))?;
        assert_eq!(said, ["1: ONE", "2: TWO", "1: THREE", "good bye"]);
        server.join().map_err(|_| "the server panicked")??;
    }
    Ok(())
}

fn program() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--self-test"] => self_test(),
        ["server", ref rest @ ..] if rest.len() < 2 => server(rest.first().copied()),
        ["client", ref rest @ ..] if rest.len() < 2 => {
            let lines = stdin().lock().lines().map_while(Result::ok);
            address(rest.first().copied()).and_then(|address| ask(&address, lines, |line| println!("{line}")))
        }
        _ => Err("unknown arguments; give server or client, and at most one address: talk --help".into()),
    }
}

fn server(text: Option<&str>) -> Outcome {
    let listener = Listener::builder().authkey(&key()).bind(address(text)?)?;
    println!("server: at {}", listener.address());
    serve(&listener)
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
