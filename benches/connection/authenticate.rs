//! A connection with the proof of the key on both sides, and its close: beside CPython's client and listener. The
//! server is another process on the same core.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use hmac::{Hmac, Mac};
use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Family, Listener};
use ossature_benches::bench::Bench;
use ossature_benches::python::Pythons;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::random;
use sha2::Sha256;

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

/// What the two sides do beside the turns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Nothing: the bytes mean nothing, and each side may wait for ever.
    Bare,
    /// Each side proves that it knows the key, and receives only what a poll with a time limit has seen. The listening
    /// side polls its listener too, because other peers must not wait for this one.
    Promises,
}

/// The time limit of a handshake.
const LIMIT: libc::c_int = 10_000;

/// Waits until `own` is readable, or another descriptor of the same loop is.
fn poll(own: RawFd, other: Option<RawFd>) {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut list = [entry(own), entry(other.unwrap_or(-1))];
    // SAFETY: poll(2) reads and writes two entries.
    assert!(unsafe { libc::poll(list.as_mut_ptr(), 2, LIMIT) } > 0, "nothing came");
}

/// The proof that this side knows the key.
fn tag(nonce: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&[b'k'; 32]).expect("a key of any length");
    mac.update(nonce);
    mac.finalize().into_bytes().into()
}

/// The place of the random bytes, and of the proof, in a turn.
const NONCE: usize = 40;

/// Sends and receives the turns: the same number of bytes as ours. `listener` is the socket of the listening side.
fn turns(mut stream: impl Read + Write + AsRawFd, listener: Option<RawFd>, care: Care) -> io::Result<()> {
    let (mut bytes, mut nonce, mut proof) = ([0; 128], [0; NONCE], [0; 32]);
    for (turn, len) in TURNS.into_iter().enumerate() {
        let sends = (turn % 2 == 0) == listener.is_some();
        if !sends {
            if care == Care::Promises {
                poll(stream.as_raw_fd(), listener);
            }
            stream.read_exact(&mut bytes[..len])?;
        }
        if care == Care::Promises {
            // The nonce comes first, and in the second turn the proof of the first nonce is behind another nonce.
            match (turn, sends) {
                (0, true) | (1, true) => {
                    if turn == 1 {
                        proof = tag(&bytes[..NONCE]);
                    }
                    random::fill(&mut nonce)?;
                    bytes[..NONCE].copy_from_slice(&nonce);
                    bytes[NONCE..NONCE + 32].copy_from_slice(&proof);
                }
                (1, false) => {
                    assert_eq!(bytes[NONCE..NONCE + 32], tag(&nonce), "the other side knows the key");
                    proof = tag(&bytes[..NONCE]);
                }
                (2, true) => bytes[..32].copy_from_slice(&proof),
                (2, false) => assert_eq!(bytes[..32], tag(&nonce), "the other side knows the key"),
                _ => {}
            }
        }
        if sends {
            stream.write_all(&bytes[..len])?;
        }
    }
    Ok(())
}

/// Sends and receives the turns over TCP, with `TCP_NODELAY`.
fn turns_by_tcp(stream: TcpStream, listener: Option<RawFd>, care: Care) -> io::Result<()> {
    stream.set_nodelay(true)?;
    turns(stream, listener, care)
}

/// A server that only sends and receives the turns, and a client that connects to the server and does the same.
fn by_hand(family: Family, care: Care) -> (Partner, Box<dyn Fn() -> io::Result<()>>) {
    if family == Family::Inet {
        let bare = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let at = bare.local_addr().expect("an address");
        let serve = move || {
            let socket = bare.as_raw_fd();
            serve(socket, care, || turns_by_tcp(bare.accept()?.0, Some(socket), care))
        };
        return (Partner::start(serve), Box::new(move || turns_by_tcp(TcpStream::connect(at)?, None, care)));
    }
    let at = match (care, Address::arbitrary(family).expect("an address")) {
        // As ours, at a path, which CPython's clients can reach too.
        (Care::Promises, Address::Unix(path)) => SocketAddr::from_pathname(path),
        _ => SocketAddr::from_abstract_name(format!("ossature-bench-turns-{}", std::process::id())),
    };
    let at = at.expect("a short name");
    let bare = UnixListener::bind_addr(&at).expect("a listener");
    let serve = move || {
        let socket = bare.as_raw_fd();
        serve(socket, care, || turns(bare.accept()?.0, Some(socket), care))
    };
    (Partner::start(serve), Box::new(move || turns(UnixStream::connect_addr(&at)?, None, care)))
}

/// Serves one client after another. An error is for the client to tell.
fn serve(listener: RawFd, care: Care, one: impl Fn() -> io::Result<()>) -> ! {
    loop {
        if care == Care::Promises {
            wait_for_a_peer(listener);
        }
        drop(one());
    }
}

fn wait_for_a_peer(listener: RawFd) {
    let mut entry = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    // SAFETY: poll(2) reads and writes one entry.
    unsafe { libc::poll(&raw mut entry, 1, -1) };
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
    let family = if is_tcp { Family::Inet } else { Family::Unix };
    let (_bare, bare) = by_hand(family, Care::Bare);
    let (_promises, promises) = by_hand(family, Care::Promises);
    let mut rounds = Rounds::new();
    rounds.add("ours", connect);
    rounds.add("bare", || bare().expect("the bare server answers"));
    rounds.add("promises", || promises().expect("the server answers"));
    python.add(&mut rounds, "Client(address, authkey=key).close()");
    let samples = rounds.run(bench.scaled(300), SPAN);
    python.compare(bench, row, &samples, "ours", bar);
    python.compare(bench, &format!("{row}-floor"), &samples, "bare", bar);
    // The bare turns prove nothing, and a silent peer stops them for ever.
    bench.compare(&format!("{row}-floor"), &samples, "promises", "bare", Bar::AtMost(1.15));
    let bar = Bar::above_floor(1.15, samples.ratio("promises", "bare"));
    bench.compare(row, &samples, "ours", "bare", bar);
    bench.compare(row, &samples, "ours", "promises", Bar::AtMost(1.15));
}
