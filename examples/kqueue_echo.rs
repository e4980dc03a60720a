//! An echo server on the event queue of the BSDs and macOS: clients, a tick and an end in one queue.
//!
//! `cargo run --example kqueue_echo`; with `--self-test` it is its own client.

#[path = "family/front.rs"]
mod front;

use std::collections::HashMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ossature::select::{Filter, Flags, Kevent, Kqueue};

const USAGE: &str = "\
usage: kqueue_echo [--self-test]
Sends back what each client sends, on any free port of this machine, for a minute.
  --self-test  is the clients of itself";

/// The idents of the server's own events.
const TICK: usize = 1;
const END: usize = 2;

/// Sends back the bytes of `client`; `false` if the client has closed the connection.
fn turn(client: &mut TcpStream, event: &Kevent) -> Result<bool, Box<dyn Error>> {
    let mut left = event.data().max(0) as usize; // so many bytes are there
    let mut buffer = [0; 4096];
    while left > 0 {
        let most = left.min(buffer.len());
        let len = client.read(&mut buffer[..most])?;
        if len == 0 {
            return Ok(false);
        }
        client.write_all(&buffer[..len])?;
        left -= len;
    }
    Ok(!event.flags().contains(Flags::EOF))
}

fn serve(listener: &TcpListener, queue: &Kqueue) -> Result<usize, Box<dyn Error>> {
    let (mut clients, mut served) = (HashMap::<usize, TcpStream>::new(), 0);
    let changes = [Kevent::read(listener), Kevent::timer(TICK, Duration::from_secs(60)), Kevent::user(END)];
    queue.control(changes, 0, None)?;
    loop {
        for event in queue.control([], 64, None)? {
            match (event.filter(), event.ident()) {
                (Filter::USER, _) | (Filter::TIMER, TICK) => return Ok(served),
                (Filter::READ, ident) if ident == listener.as_raw_fd() as usize => {
                    // `data` is the number of clients that wait.
                    for _ in 0..event.data() {
                        let (client, _) = match listener.accept() {
                            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                            accepted => accepted?,
                        };
                        queue.control([Kevent::read(&client)], 0, None)?;
                        clients.insert(client.as_raw_fd() as usize, client);
                        served += 1;
                    }
                }
                (_, ident) => {
                    let Some(client) = clients.get_mut(&ident) else { continue };
                    if !turn(client, &event).unwrap_or(false) {
                        queue.control([Kevent::read(&*client).with_flags(Flags::DELETE)], 0, None)?;
                        clients.remove(&ident);
                    }
                }
            }
        }
    }
}

fn program() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let (queue, address) = (Kqueue::new()?, listener.local_addr()?);
    println!("echoing on {address}");
    if !std::env::args().any(|argument| argument == "--self-test") {
        serve(&listener, &queue)?;
        return Ok(());
    }
    let served = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, &queue).map_err(|error| error.to_string()));
        for n in 0..10_u8 {
            let mut client = TcpStream::connect(address)?;
            let sent = vec![n; 5000];
            client.write_all(&sent)?;
            let mut back = vec![0; sent.len()];
            client.read_exact(&mut back)?;
            assert_eq!(back, sent);
        }
        // Any thread may trigger an event while another waits.
        queue.control([Kevent::trigger(END)], 0, None)?;
        Ok::<_, Box<dyn Error>>(server.join().map_err(|_| "the server panicked")??)
    })?;
    assert_eq!(served, 10);
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
