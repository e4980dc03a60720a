//! Listeners of several processes: killed listeners, many that start at once, and listeners without free descriptors.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::Event;
use ossature::multiprocessing::connection::{
    Access, Address, AuthKey, Connection, Family, Handshake, Listener, ListenerBuilder, connect, pipe_one_way,
};
use ossature::sys::deadline::Deadline;
use ossature::sys::errno::Errno;
use ossature::sys::process::{Child, Resource, Rlimit, Signal, fork, rlimit, set_parent_death_signal, set_rlimit};

use crate::{LONG, child, set_most_descriptors, well};

fn fresh() -> PathBuf {
    let Address::Unix(path) = Address::arbitrary(Family::Unix).unwrap() else { panic!("not a path") };
    path
}

pub fn path_of_a_killed_listener_is_the_next_ones() {
    let path = fresh();
    let (mut killed, near) = child(|far| {
        let _listener = Listener::bind(path.as_path())?;
        far.send(&true)?;
        far.recv_bytes().map(drop)
    });
    near.recv::<bool>().unwrap();
    let error = Listener::bind(path.as_path()).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ADDRINUSE), "it lives");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(path.exists());
    assert_eq!(connect(path.as_path()).unwrap_err().errno(), Some(Errno::CONNREFUSED));
    let listener = Listener::bind(path.as_path()).unwrap();
    assert!(listener.removed_stale_file());
    let client = connect(path.as_path()).unwrap();
    listener.accept().unwrap().send_bytes(b"the next one").unwrap();
    assert_eq!(client.recv_bytes().unwrap(), b"the next one");
    drop(listener);
    assert!(!path.exists());
}

const STARTERS: usize = 6;
const ROUNDS: usize = 24;

/// One of several processes that bind to the path. The process reports whether it got the path, and sends its number to
/// each client.
fn start(path: &Path, go: &Event, told: &Connection, number: usize) -> u8 {
    set_parent_death_signal(Some(Signal::KILL)).unwrap();
    go.wait().unwrap();
    match Listener::bind(path) {
        Ok(listener) => {
            told.send(&(number, true)).unwrap();
            loop {
                let _ = listener.accept().unwrap().send(&number);
            }
        }
        Err(error) => {
            assert_eq!(error.errno(), Some(Errno::ADDRINUSE), "{error}");
            told.send(&(number, false)).unwrap();
            0
        }
    }
}

pub fn of_many_that_start_at_once_one_gets_the_path() {
    let path = fresh();
    let rounds = std::env::var("OSSATURE_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    let mut below = move |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    };
    for round in 0..rounds {
        let (reports, told) = pipe_one_way().unwrap();
        let go = Event::new().unwrap();
        let mut starters: Vec<Option<Child>> =
            (0..STARTERS).map(|number| Some(fork(|| start(&path, &go, &told, number)).unwrap())).collect();
        drop(told);
        go.set();
        // In every other round some are killed: at the beginning, or about when the dead file is old enough.
        for starter in starters.iter_mut().take(if round % 2 == 0 { 0 } else { STARTERS / 2 }) {
            let base = if below(2) == 0 { 0 } else { 99_000 };
            thread::sleep(Duration::from_micros(base + below(2_500)));
            let mut killed = starter.take().unwrap();
            killed.kill().unwrap();
            killed.wait().unwrap();
        }
        let (mut heard, mut winners) = (0, Vec::new());
        while heard < starters.iter().flatten().count() {
            let (number, won): (usize, bool) = reports.recv_timeout(LONG).unwrap().expect("each tells how it ended");
            if starters[number].is_some() {
                heard += 1;
                winners.extend(won.then_some(number));
            }
        }
        assert!(winners.len() <= 1, "round {round}: {winners:?} have it");
        match winners.first() {
            Some(winner) => {
                assert_eq!(connect(path.as_path()).unwrap().recv::<usize>().unwrap(), *winner);
                assert_eq!(Listener::bind(path.as_path()).unwrap_err().errno(), Some(Errno::ADDRINUSE));
            }
            // The one that had it was killed.
            None => {
                assert_eq!(round % 2, 1, "one gets it");
                drop(Listener::bind(path.as_path()).unwrap());
            }
        }
        for mut starter in starters.into_iter().flatten() {
            starter.kill().unwrap();
            starter.wait().unwrap();
        }
    }
    drop(Listener::bind(path.as_path()).unwrap());
}

fn builders() -> [ListenerBuilder; 2] {
    [Listener::builder(), Listener::builder().authkey(&key()).handshake_timeout(LONG)]
}

fn key() -> AuthKey {
    AuthKey::from("peekaboo")
}

fn bare_client(listener: &Listener) -> TcpStream {
    let Address::Inet(host, port) = listener.address() else { panic!("{listener:?}") };
    let address = format!("{host}:{port}").parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap()
}

/// The client's side of a handshake, over a socket that is connected already.
fn prove(socket: TcpStream) -> bool {
    let connection = Connection::from_fd(socket.into(), Access::Both).unwrap();
    Handshake::client(&key()).unwrap().run(&connection, LONG).unwrap()
}

/// The processor time of this process.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place has room for the answer.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

pub fn accept_without_a_descriptor_backs_off() {
    // A listener with a key has descriptors of its own from the first accept on: before that and after it.
    let cases = builders().into_iter().flat_map(|builder| [(builder.clone(), false), (builder, true)]);
    for (builder, has_accepted) in cases {
        let has_key = format!("{builder:?}").contains("AuthKey");
        let (child, _near) = child(|_| {
            let listener = builder.bind(("127.0.0.1", 0))?;
            if has_accepted {
                assert!(listener.accept_timeout(Deadline::NOW)?.is_none());
            }
            let clients = [(); 3].map(|()| bare_client(&listener));
            let limit = set_most_descriptors(0);
            let start = Instant::now();
            for refused in [
                pipe_one_way().map(drop),
                Listener::bind(("127.0.0.1", 0)).map(drop),
                connect(listener.address()).map(drop),
            ] {
                let error = refused.unwrap_err();
                assert!(error.errno() == Some(Errno::MFILE) && error.to_string().contains("RLIMIT_NOFILE"), "{error}");
            }
            let mut refusals = 0;
            while start.elapsed() < Duration::from_millis(300) {
                let error = listener.accept_timeout(Duration::from_millis(100)).unwrap_err();
                assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::MFILE)));
                assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
                refusals += 1;
            }
            assert!((1..=3).contains(&refusals), "{refusals}");
            assert_eq!(listener.accept_timeout(Deadline::NOW).unwrap_err().errno(), Some(Errno::MFILE), "at once");
            let (start, worked) = (Instant::now(), processor_time());
            assert_eq!(listener.accept().unwrap_err().errno(), Some(Errno::MFILE));
            assert!(processor_time() - worked < Duration::from_millis(60), "it sleeps meanwhile");
            assert!(start.elapsed() >= Duration::from_secs(1), "it may be over by then: {:?}", start.elapsed());
            thread::scope(|scope| {
                // A descriptor becomes free while the listener waits.
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(100));
                    limit.put_back();
                });
                let [first, ..] = clients;
                let first = scope.spawn(move || !has_key || prove(first));
                assert!(listener.accept_timeout(LONG).unwrap().is_some());
                assert!(first.join().unwrap());
            });
            Ok(())
        });
        well(child);
    }
}

pub fn thousand_clients_at_once_are_let_in() {
    const CLIENTS: usize = 1000;
    let most = rlimit(Resource::Nofile).unwrap();
    let enough = 2 * CLIENTS as u64 + 100;
    let longest =
        std::fs::read_to_string("/proc/sys/net/core/somaxconn").map_or(4096, |text| text.trim().parse().unwrap());
    if most.maximum.is_some_and(|maximum| maximum < enough) || longest < CLIENTS {
        println!("SKIPPED: {most:?} descriptors and a backlog of {longest} are too few");
        return;
    }
    for builder in builders() {
        let has_key = format!("{builder:?}").contains("AuthKey");
        let (child, _near) = child(|_| {
            set_rlimit(Resource::Nofile, Rlimit { current: most.current.max(Some(enough)), ..most })?;
            // One thread proves for all clients, so on a slow machine the later ones are slow peers.
            let listener = builder.handshakes(CLIENTS).bind(("127.0.0.1", 0))?;
            // All are there before one is accepted.
            let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| bare_client(&listener)).collect();
            thread::scope(|scope| {
                let proving = scope.spawn(move || clients.into_iter().map(|it| !has_key || prove(it)).collect());
                let servers: Vec<Connection> = (0..CLIENTS).map(|_| listener.accept().unwrap()).collect();
                let proved: Vec<bool> = proving.join().unwrap();
                assert_eq!((servers.len(), proved.iter().filter(|it| **it).count()), (CLIENTS, CLIENTS));
            });
            Ok(())
        });
        well(child);
    }
}

/// A peer that has connected to the listener with the key, and has received its challenge.
fn welcomed(listener: &Listener) -> Connection {
    let Address::Unix(path) = listener.address() else { panic!("{listener:?}") };
    let peer = Connection::from_fd(UnixStream::connect(path).unwrap().into(), Access::Both).unwrap();
    assert!(listener.accept_timeout(Duration::from_millis(1)).unwrap().is_none());
    peer
}

/// Answers the challenge, and sends another one.
fn answer(peer: &Connection) -> Handshake {
    let mut handshake = Handshake::client(&key()).unwrap();
    handshake.incoming(&peer.recv_bytes_timeout(LONG).unwrap().unwrap()).unwrap();
    while let Some(message) = handshake.outgoing() {
        peer.send_bytes(&message).unwrap();
    }
    handshake
}

fn keyed() -> Listener {
    Listener::builder().authkey(&key()).handshake_timeout(LONG).bind(fresh()).unwrap()
}

pub fn forked_child_leaves_handshakes_to_its_parent() {
    let listener = keyed();
    let peer = welcomed(&listener);
    let mut handshake = answer(&peer);
    let child = fork(|| match listener.accept_timeout(Duration::from_millis(50)) {
        Ok(None) => 0,
        other => panic!("{other:?}"),
    });
    well(child.unwrap());
    thread::scope(|scope| {
        let accepting = scope.spawn(|| listener.accept());
        while !handshake.is_done() {
            handshake.incoming(&peer.recv_bytes_timeout(LONG).unwrap().unwrap()).unwrap();
            while let Some(message) = handshake.outgoing() {
                peer.send_bytes(&message).unwrap();
            }
        }
        accepting.join().unwrap().unwrap().send_bytes(b"in").unwrap();
    });
    assert_eq!(peer.recv_bytes().unwrap(), b"in");
}

pub fn accept_without_time_goes_on_with_everybody_who_is_ready() {
    let listener = keyed();
    let peers = [(); 3].map(|()| welcomed(&listener));
    let _handshakes = peers.each_ref().map(answer);
    assert!(listener.accept_timeout(Deadline::NOW).unwrap().is_none());
    for peer in &peers {
        assert!(peer.poll(Duration::ZERO).unwrap(), "each has its welcome");
    }
}
