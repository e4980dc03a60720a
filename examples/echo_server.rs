//! A server of one thread: clients, a timer and signals in one epoll set.

#[path = "family/guided.rs"]
mod guided;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use guided::{Outcome, Running, expect, run, unknown};
use ossature::sys::epoll::{Epoll, Interest};
use ossature::sys::signal::{self, Signal, SignalSet};
use ossature::sys::signalfd::SignalFd;
use ossature::sys::timerfd::{Clock, TimerFd};

const USAGE: &str = "\
usage: echo_server [PORT [IDLE]]
Sends back what each client sends, on the port PORT of this machine (default: any free one). A client that is silent for
IDLE seconds (default: 60) is closed. Ctrl-C or SIGTERM ends the server.
  --self-test  is the clients of itself";

/// The tokens of the objects that are not clients. Clients have the tokens from 3 up, and no token is used twice.
const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const TICK: u64 = 2;

struct Client {
    stream: TcpStream,
    /// The bytes that the client has not received yet.
    unsent: Vec<u8>,
    last_heard: Instant,
}

impl Client {
    /// Reads or writes once; returns `false` if the client has closed the connection.
    fn turn(&mut self, epoll: &Epoll, token: u64) -> Outcome<bool> {
        let mut room = [0; 16 << 10];
        let moved = if self.unsent.is_empty() {
            self.stream.read(&mut room).inspect(|&len| self.unsent.extend_from_slice(&room[..len]))
        } else {
            self.stream.write(&self.unsent).inspect(|&len| drop(self.unsent.drain(..len)))
        };
        match moved {
            Ok(0) => return Ok(false),
            Ok(_) => self.last_heard = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Ok(false), // reset: the end of this client, not of the server
        }
        // A client that does not read is not read from either, so it cannot fill this process's memory.
        epoll.modify(&self.stream, if self.unsent.is_empty() { Interest::IN } else { Interest::OUT }, token)?;
        Ok(true)
    }
}

fn serve(port: u16, idle: Duration) -> Outcome {
    let wanted = SignalSet::from([Signal::INT, Signal::TERM]);
    signal::block(wanted)?.keep(); // before any thread starts: threads inherit the mask
    let signals = SignalFd::new(wanted)?;
    let timer = TimerFd::new(Clock::Monotonic)?;
    timer.set_every(idle / 4, idle / 4)?;
    let listener = TcpListener::bind(("localhost", port))?;
    listener.set_nonblocking(true)?;
    println!("listening at {}", listener.local_addr()?);

    let epoll = Epoll::new()?;
    epoll.register(&listener, Interest::IN, LISTENER)?;
    epoll.register(&signals, Interest::IN, SIGNALS)?;
    epoll.register(&timer, Interest::IN, TICK)?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut next = TICK;
    let mut events = [MaybeUninit::uninit(); 256];
    loop {
        for event in epoll.poll(&mut events, None)? {
            match event.token() {
                SIGNALS => {
                    println!("ended with {} clients", clients.len());
                    return Ok(());
                }
                TICK => {
                    timer.expirations(Duration::ZERO)?; // read, or the timer stays ready
                    epoll.modify(&listener, Interest::IN, LISTENER)?;
                    let now = Instant::now();
                    clients.retain(|_, client| now.duration_since(client.last_heard) < idle); // a drop closes and unregisters
                }
                LISTENER => match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(true)?;
                        next += 1;
                        epoll.register(&stream, Interest::IN, next)?;
                        clients.insert(next, Client { stream, unsent: Vec::new(), last_heard: Instant::now() });
                    }
                    // The client gave up, or no descriptor is left: the next tick makes room and tries again.
                    Err(error) => {
                        eprintln!("echo_server: {error}");
                        epoll.modify(&listener, Interest::empty(), LISTENER)?;
                    }
                },
                token => {
                    // An event before this one may have closed the client.
                    let Some(client) = clients.get_mut(&token) else { continue };
                    if !client.turn(&epoll, token)? {
                        clients.remove(&token);
                    }
                }
            }
        }
    }
}

fn program(arguments: &[&str]) -> Outcome {
    let (port, idle) = match *arguments {
        [] => ("0", "60"),
        [port] => (port, "60"),
        [port, idle] => (port, idle),
        _ => return unknown(arguments),
    };
    let port = port.parse().map_err(|_| format!("the port is a number up to 65535, not {port:?}"))?;
    let idle: u64 = idle.parse().map_err(|_| format!("the idle time is a number of seconds, not {idle:?}"))?;
    serve(port, Duration::from_secs(idle.max(1)))
}

fn self_test() -> Outcome {
    let mut server = Running::start(&["0", "1"])?;
    let text = server.until("\n", 1)?;
    let address = text.trim_end().strip_prefix("listening at ").ok_or("the server printed no address")?.to_owned();
    let connect = || -> Outcome<TcpStream> {
        let stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(stream)
    };
    let (mut busy, mut idle) = (connect()?, connect()?);
    // Much more than one turn moves, sent and received at the same time.
    let sent: Vec<u8> = (0..=250).cycle().take(4 << 20).collect();
    let mut writer = busy.try_clone()?;
    let (to_send, mut received) = (sent.clone(), Vec::new());
    let writing = std::thread::spawn(move || {
        writer.write_all(&to_send)?;
        writer.shutdown(Shutdown::Write)
    });
    busy.read_to_end(&mut received)?;
    writing.join().map_err(|_| "the writer panicked")??;
    expect(received == sent, "every byte comes back", &format!("{} of {} bytes", received.len(), sent.len()))?;
    expect(idle.read(&mut [0])? == 0, "a silent client is closed", "it sent something")?;
    let last = connect()?;
    server.signal(Signal::TERM)?;
    let text = server.finish()?;
    drop(last);
    expect(text.contains("ended with "), "SIGTERM stops the server", &text)?;
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    run(USAGE, program, self_test)
}
