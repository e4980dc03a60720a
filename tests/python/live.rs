//! A running CPython at the other end, in both roles, over every kind of address.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use ossature::multiprocessing::connection::Handshake;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::connection::{
    Address, AuthKey, ConnectBuilder, Connection, Digest, Family, Listener, answer_challenge, deliver_challenge,
};
use ossature::{ErrorKind, Result};

use crate::peers::{Peer, Python, installed};
use crate::support::within;

const KEY: &str = "key 7065656b61626f6f"; // peekaboo
const WRONG: &str = "key 77726f6e67";

fn key() -> AuthKey {
    AuthKey::from("peekaboo")
}

/// Runs a scenario with each CPython.
fn with_each(scenario: impl Fn(&Python, &mut Peer)) {
    for python in installed() {
        within(Duration::from_secs(120), || scenario(python, &mut Peer::start(python)));
    }
}

/// An address of each kind that this CPython supports.
fn kinds(python: &Python) -> Vec<Address> {
    let mut kinds = vec![Address::arbitrary(Family::Inet).unwrap(), Address::arbitrary(Family::Unix).unwrap()];
    // Before 3.7 its listeners try to remove the file of an abstract name.
    if python.version >= (3, 7, 0) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ossature-python-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        kinds.push(Address::Abstract(name.into()));
    }
    kinds
}

/// The address in the notation of peer.py.
fn words(address: &Address) -> String {
    match address {
        Address::Inet(host, port) => format!("inet {host} {port}"),
        Address::Unix(path) => format!("unix {}", path.display()),
        Address::Abstract(name) => format!("abstract {}", name.escape_ascii()),
        other => panic!("{other}"),
    }
}

/// Makes the peer listen at the address. Returns the address with its port.
fn let_it_listen(peer: &mut Peer, address: &Address) -> Address {
    let command =
        if let Address::Inet(..) = address { "listen inet".into() } else { format!("listen {}", words(address)) };
    let answer = peer.ask(&command);
    match address {
        Address::Inet(..) => {
            let mut parts = answer.rsplit(' ');
            let port = parts.next().unwrap().parse().unwrap();
            (parts.next().unwrap(), port).into()
        }
        other => other.clone(),
    }
}

/// The bytes that peer.py calls the pattern.
fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

/// Every exchange of bytes between two ends.
fn talk(ours: Connection, peer: &mut Peer) {
    peer.tell("recv_bytes");
    ours.send_bytes(b"").unwrap();
    assert_eq!(peer.done(), "");
    // 16 KiB is where CPython begins to write header and payload apart.
    for length in [0, 1, 16383, 16384, 16385, 70_000, (1 << 20) + 1, 5 << 20] {
        peer.tell(&format!("recv_pattern {length}"));
        ours.send_bytes(&pattern(length)).unwrap();
        peer.done();
        peer.tell(&format!("send_pattern {length}"));
        assert!(ours.recv_bytes().unwrap() == pattern(length), "{length} bytes");
        peer.done();
    }
    assert!(!ours.poll(Duration::ZERO).unwrap());
    assert_eq!(peer.ask("poll 0"), "False");
    peer.ask("send_bytes 01");
    assert!(ours.poll(Duration::from_secs(60)).unwrap());
    assert_eq!(ours.recv_bytes().unwrap(), [1]);
    peer.tell("poll 60");
    ours.send_bytes(&[2]).unwrap();
    assert_eq!(peer.done(), "True");
    assert_eq!(peer.ask("recv_bytes"), "02");
    ours.send_bytes(&[3; 9]).unwrap();
    let answer = {
        peer.tell("recv_bytes 8");
        peer.hear()
    };
    assert!(answer.starts_with("error"), "a limit is a limit: {answer}");
    drop(ours);
}

fn we_go_first(ours: Connection, peer: &mut Peer) {
    drop(ours);
    assert_eq!(peer.ask("poll 60"), "True", "the end of file is something to be read");
    peer.tell("recv_bytes");
    assert!(peer.hear().starts_with("error EOFError"));
}

fn it_goes_first(ours: Connection, peer: &mut Peer) {
    peer.ask("close");
    assert!(ours.poll(Duration::from_secs(60)).unwrap());
    assert_eq!(ours.recv_bytes().unwrap_err().kind(), ErrorKind::Closed);
}

/// The scenarios for a connection.
const MEETINGS: [fn(Connection, &mut Peer); 3] = [talk, we_go_first, it_goes_first];

#[test]
fn its_clients_come_to_our_listener() {
    with_each(|python, peer| {
        for keyed in [true, false] {
            for address in kinds(python) {
                let builder = Listener::builder();
                let listener = if keyed { builder.authkey(&key()) } else { builder }.bind(&address).unwrap();
                peer.ask(if keyed { KEY } else { "key none" });
                for meeting in MEETINGS {
                    let connect = format!("connect {}", words(listener.address()));
                    peer.tell(&connect);
                    let ours = listener.accept().unwrap_or_else(|error| panic!("{python:?}, {address}: {error}"));
                    peer.done();
                    meeting(ours, peer);
                }
            }
        }
    });
}

#[test]
fn our_client_comes_to_its_listeners() {
    with_each(|python, peer| {
        for address in kinds(python) {
            for keyed in [true, false] {
                peer.ask(if keyed { KEY } else { "key none" });
                let address = let_it_listen(peer, &address);
                for meeting in MEETINGS {
                    peer.tell("accept");
                    let builder = ConnectBuilder::new();
                    let builder = if keyed { builder.authkey(&key()) } else { builder };
                    let ours =
                        builder.connect(&address).unwrap_or_else(|error| panic!("{python:?}, {address}: {error}"));
                    peer.done();
                    meeting(ours, peer);
                }
                peer.ask("unlisten");
            }
        }
    });
}

#[test]
fn with_another_key_neither_gets_in_and_the_listener_goes_on() {
    with_each(|_, peer| {
        let listener = Listener::builder().authkey(&key()).bind(("localhost", 0)).unwrap();
        let connect = format!("connect {}", words(listener.address()));
        for (its_key, good) in [(WRONG, false), (KEY, true), ("key ", false)] {
            peer.tell(its_key.trim_end());
            // An empty key cannot be said in so many words; any other wrong one will do.
            if its_key == "key " {
                peer.hear();
                peer.ask("key 00");
            } else {
                peer.done();
            }
            peer.tell(&connect);
            let accepted = listener.accept().map_err(|error| error.kind());
            assert_eq!(accepted.as_ref().err(), if good { None } else { Some(&ErrorKind::Auth) });
            assert_eq!(peer.hear().starts_with("error AuthenticationError"), !good);
        }
        for (its_key, good) in [(WRONG, false), (KEY, true)] {
            peer.ask(its_key);
            let address = let_it_listen(peer, &("localhost", 0).into());
            peer.tell("accept");
            let connected = ConnectBuilder::new().authkey(&key()).connect(address).map_err(|error| error.kind());
            assert_eq!(connected.as_ref().err(), if good { None } else { Some(&ErrorKind::Auth) });
            assert_eq!(peer.hear().starts_with("error AuthenticationError"), !good);
        }
    });
}

#[test]
fn without_a_handshake_where_one_is_due_is_an_error_on_both_sides() {
    with_each(|_, peer| {
        let listener = Listener::bind(("localhost", 0)).unwrap();
        peer.ask(KEY);
        peer.tell(&format!("connect {}", words(listener.address())));
        listener.accept().unwrap().send_bytes(b"hello").unwrap();
        // 2.7 to 3.11 assert that it is a challenge.
        let answer = peer.hear();
        assert!(
            answer.starts_with("error AuthenticationError") || answer.starts_with("error AssertionError"),
            "{answer}"
        );

        peer.ask("key none");
        let address = let_it_listen(peer, &("localhost", 0).into());
        peer.tell("accept");
        let client = std::thread::spawn(move || ConnectBuilder::new().authkey(&key()).connect(address).map(drop));
        peer.done();
        peer.ask("send_bytes 68656c6c6f");
        assert_eq!(client.join().unwrap().unwrap_err().kind(), ErrorKind::Auth);
    });
}

#[test]
fn a_minimum_digest_shuts_the_old_ones_out() {
    with_each(|python, peer| {
        peer.ask(KEY);
        let listener =
            Listener::builder().authkey(&key()).minimum_digest(Digest::Sha256).bind(("localhost", 0)).unwrap();
        peer.tell(&format!("connect {}", words(listener.address())));
        assert_eq!(listener.accept().is_err(), python.is_old());
        assert_eq!(peer.hear().starts_with("error"), python.is_old());
        let address = let_it_listen(peer, &("localhost", 0).into());
        peer.tell("accept");
        let ours = ConnectBuilder::new().authkey(&key()).minimum_digest(Digest::Sha256).connect(address);
        assert_eq!(
            ours.map(drop).map_err(|error| error.kind()),
            if python.is_old() { Err(ErrorKind::Auth) } else { Ok(()) }
        );
        assert_eq!(peer.hear().starts_with("error"), python.is_old());
    });
}

#[test]
fn each_half_alone_with_each_digest() {
    with_each(|python, peer| {
        peer.ask(KEY);
        let listener = Listener::bind(Address::arbitrary(Family::Unix).unwrap()).unwrap();
        peer.tell(&format!("connect {} bare", words(listener.address())));
        let ours = listener.accept().unwrap();
        peer.done();
        let mut halves = |command: &str, half: &dyn Fn(&Connection) -> Result<()>| {
            peer.tell(command);
            half(&ours).unwrap();
            peer.done();
        };
        halves("deliver", &|ours| answer_challenge(ours, &key()));
        halves("answer", &|ours| deliver_challenge(ours, &key()));
        for digest in Digest::ALL {
            halves("answer", &|ours| {
                Handshake::deliver(&key())?.digest(digest).run(ours, None).map(|done| assert!(done))
            });
            if !python.is_old() {
                halves(&format!("deliver {digest}"), &|ours| answer_challenge(ours, &key()));
            }
        }
        assert!(!ours.is_closed());
    });
}

#[test]
fn addresses_travel_in_pickles() {
    with_each(|_, peer| {
        let listener = Listener::bind(Address::arbitrary(Family::Unix).unwrap()).unwrap();
        peer.ask(&format!("connect {}", words(listener.address())));
        let ours = listener.accept().unwrap();
        for (address, expression) in [
            (("127.0.0.1", 80).into(), "(u'127.0.0.1', 80)"),
            (Address::Unix("/run/x".into()), "u'/run/x'"),
            (Address::Abstract(b"x".into()), "u'\\0x'"),
        ] {
            peer.tell(&format!("recv {expression}"));
            ours.send_pickled(&Value::try_from(&address).unwrap()).unwrap();
            peer.done();
            peer.ask(&format!("send {expression}"));
            assert_eq!(Address::try_from(&ours.recv_pickled().unwrap()).unwrap(), address);
        }
    });
}
