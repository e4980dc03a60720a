//! A connection with the proof of the key on both sides, and its close: beside CPython's client and listener. The
//! server is another process on the same core.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Family, Listener};
use ossature_benches::bench::Bench;
use ossature_benches::python::Pythons;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

use crate::Partner;

/// The key, a listener in another interpreter, and the listener's address.
const PYTHON: [&str; 4] = [
    "import os; from multiprocessing.connection import Client, Listener",
    "key = b'k' * 32; listener = Listener(FAMILY, backlog=128, authkey=key); address = listener.address",
    "exec('def serve():\\n while True: listener.accept().close()')",
    "child = os.fork() or serve()",
];

/// The length of one burst.
const SPAN: Duration = Duration::from_millis(1);

/// The number of bytes in each of the four turns between a client and a listener of this crate. The listener sends
/// first.
const TURNS: [usize; 4] = [63, 107, 57, 13];

/// Sends and receives the turns and does nothing else: the same number of bytes, without their computation.
fn turns(mut stream: impl Read + Write, listens: bool) -> io::Result<()> {
    let mut bytes = [0; 128];
    for (turn, len) in TURNS.into_iter().enumerate() {
        match (turn % 2 == 0) == listens {
            true => stream.write_all(&bytes[..len])?,
            false => stream.read_exact(&mut bytes[..len])?,
        }
    }
    Ok(())
}

/// Sends and receives the turns over TCP, with `TCP_NODELAY`.
fn turns_by_tcp(stream: TcpStream, listens: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    turns(stream, listens)
}

/// A server that only sends and receives the turns, and a client that connects to the server and does the same.
fn by_hand(family: Family) -> (Partner, Box<dyn Fn() -> io::Result<()>>) {
    if family == Family::Inet {
        let bare = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let at = bare.local_addr().expect("an address");
        let serve = move || bare.incoming().flatten().for_each(|stream| drop(turns_by_tcp(stream, true)));
        return (Partner::start(serve), Box::new(move || turns_by_tcp(TcpStream::connect(at)?, false)));
    }
    let name = format!("ossature-bench-turns-{}", std::process::id());
    let at = SocketAddr::from_abstract_name(name).expect("a short name");
    let bare = UnixListener::bind_addr(&at).expect("a listener");
    let serve = move || bare.incoming().flatten().for_each(|stream| drop(turns(stream, true)));
    (Partner::start(serve), Box::new(move || turns(UnixStream::connect_addr(&at)?, false)))
}

pub(crate) fn rows(bench: &Bench) {
    let arbitrary = |family| Address::arbitrary(family).expect("an address");
    authenticate(bench, "authenticate-unix", &arbitrary(Family::Unix), "None, 'AF_UNIX'");
    // Most of it is the kernel's: what the bare turns take beside CPython is the floor.
    authenticate(bench, "authenticate-tcp", &arbitrary(Family::Inet), "('localhost', 0)");
}

fn authenticate(bench: &Bench, row: &str, address: &Address, family: &str) {
    if !bench.wants(row) {
        return;
    }
    let key = AuthKey::from(&[b'k'; 32]);
    let listener = Listener::builder().authkey(&key).bind(address).expect("a listener");
    let _server = Partner::start(|| {
        loop {
            drop(listener.accept());
        }
    });
    let client = ConnectBuilder::new().authkey(&key);
    let connect = || drop(client.clone().connect(listener.address()).expect("the same key"));
    let bar = Bar::AtMost(0.55);
    let setup = PYTHON.map(|line| line.replace("FAMILY", family));
    let python = Pythons::start(&setup.each_ref().map(String::as_str));
    let is_tcp = matches!(listener.address(), Address::Inet(..));
    let (_bare, bare) = by_hand(if is_tcp { Family::Inet } else { Family::Unix });
    let mut rounds = Rounds::new();
    rounds.add("ours", connect);
    rounds.add("bare", || bare().expect("the bare server answers"));
    python.add(&mut rounds, "Client(address, authkey=key).close()");
    let samples = rounds.run(bench.scaled(300), SPAN);
    python.compare(bench, row, &samples, "ours", bar);
    python.compare(bench, &format!("{row}-floor"), &samples, "bare", bar);
    bench.compare(row, &samples, "ours", "bare", Bar::AtMost(1.15));
}
