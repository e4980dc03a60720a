//! A pool of server processes: all accept on one inherited socket, and the kernel gives each client to a free process.
//!
//! `cargo run --example server_pool -- [PORT]` serves until it is interrupted; each connection receives the name of its
//! server process, and its messages come back. With `--self-test` the parent also runs the clients.

#[path = "family/front.rs"]
mod front;

use std::error::Error;
use std::process::ExitCode;
use std::thread;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{AuthKey, ConnectBuilder, Connection, Listener};
use ossature::multiprocessing::{Process, current_process};

const USAGE: &str = "\
usage: server_pool [PORT] [--self-test]
Four processes serve one port, and send back what a client sends. Ctrl-C ends them.
  --self-test  starts clients as well, and kills a server";

const SERVERS: usize = 4;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Serves one client after the other, in each of the processes.
fn serve(listener: &Listener) -> ossature::Result<()> {
    loop {
        match listener.accept() {
            Ok(connection) => {
                // A client that goes is the usual end of a connection, in whatever way it goes.
                if let Err(error) = serve_one(&connection) {
                    if error.kind() != ErrorKind::Closed {
                        eprintln!("{}: {error}", current_process().name());
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Auth => eprintln!("{}: {error}", current_process().name()),
            Err(error) => return Err(error),
        }
    }
}

fn serve_one(connection: &Connection) -> ossature::Result<()> {
    connection.send_bytes(current_process().name().as_bytes())?;
    loop {
        connection.send_bytes(&connection.recv_bytes_max(1 << 20)?)?;
    }
}

/// Starts the pool. Its processes are daemons: they end with this process.
fn start(listener: &Listener) -> ossature::Result<Vec<Process>> {
    (1..=SERVERS)
        .map(|number| Process::builder().name(format!("server-{number}")).daemon(true).fork(|| serve(listener)))
        .collect()
}

fn name(client: &Connection) -> Outcome<String> {
    Ok(String::from_utf8(client.recv_bytes()?)?)
}

fn self_test(listener: &Listener, key: &AuthKey, servers: &[Process]) -> Outcome {
    let connect = || ConnectBuilder::new().authkey(key).connect(listener.address());
    let all_at_once = || {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..SERVERS).map(|_| scope.spawn(connect)).collect();
            clients.into_iter().map(|client| client.join().expect("no panic")).collect::<Result<Vec<_>, _>>()
        })
    };
    for _ in 0..10 {
        // As many clients at once as there are servers: each gets one of its own.
        let clients = all_at_once()?;
        let mut names = clients.iter().map(name).collect::<Outcome<Vec<_>>>()?;
        names.sort();
        assert_eq!(names, ["server-1", "server-2", "server-3", "server-4"]);
        for client in &clients {
            client.send_bytes(b"hello")?;
            assert_eq!(client.recv_bytes()?, b"hello");
        }
    }
    // One that dies takes its client along, and nobody else.
    let clients = all_at_once()?;
    let names = clients.iter().map(name).collect::<Outcome<Vec<_>>>()?;
    let victim = servers.iter().find(|server| server.name() == names[0]).ok_or("no process has that name")?;
    victim.kill()?;
    assert_eq!(clients[0].recv_bytes().map_err(|error| error.kind()), Err(ErrorKind::Closed));
    clients[1].send_bytes(b"still there?")?;
    assert_eq!(clients[1].recv_bytes()?, b"still there?");
    drop(clients);
    let client = connect()?;
    assert!(name(&client)? != names[0]);
    drop(client);
    for server in servers {
        server.terminate()?;
        server.join()?;
    }
    Ok(())
}

fn program() -> Outcome {
    let argument = std::env::args().nth(1);
    let is_self_test = argument.as_deref() == Some("--self-test");
    let port = argument.filter(|_| !is_self_test).map_or(Ok(0), |port| port.parse())?;
    let key = AuthKey::from("secret password");
    // One handshake at a time, because a process cannot hand a connection that it has accepted to an idle process.
    let listener = Listener::builder().authkey(&key).handshakes(1).bind(("localhost", port))?;
    let servers = start(&listener)?;
    if is_self_test {
        return self_test(&listener, &key, &servers);
    }
    println!("{SERVERS} processes serve at {}", listener.address());
    for server in servers {
        server.join()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
