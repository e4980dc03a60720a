//! Hostile and faulty peers: each gets an error in time, and others are served meanwhile.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Access, Address, Connection, Handshake, Listener, ListenerBuilder};
use ossature::sys::deadline::Deadline;

use super::{client, fresh, key, keyed, raw};
use crate::support::soon;

/// Accepts until a client succeeds. Returns how many handshakes failed before.
fn serve(listener: &Listener) -> usize {
    let mut failed = 0;
    loop {
        match listener.accept() {
            Ok(connection) => {
                connection.send_bytes(b"served").unwrap();
                return failed;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Auth, "{error}"),
        }
        failed += 1;
    }
}

/// Serves one honest client, beside any others. Returns how many handshakes failed before.
fn serve_one(listener: &Listener) -> usize {
    let honest = client(listener.address());
    let failed = serve(listener);
    assert_eq!(honest.join().unwrap().unwrap().recv_bytes().unwrap(), b"served");
    failed
}

fn listener() -> Listener {
    patient(Duration::from_secs(60))
}

fn patient(timeout: Duration) -> Listener {
    keyed().handshake_timeout(timeout).bind(fresh()).unwrap()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes(), payload].concat()
}

/// The challenge that the listener sends, without its frame.
fn challenge(peer: &mut UnixStream) -> Vec<u8> {
    let mut bytes = [0; 63];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes[..23], b"\0\0\0\x3b#CHALLENGE#{sha256}");
    bytes[4..].to_vec()
}

#[test]
fn the_silent_keep_nobody_waiting() {
    soon(|| {
        let listener = listener();
        let _silent: Vec<_> = (0..100).map(|_| raw(&listener)).collect();
        assert_eq!(serve_one(&listener), 0);
        assert_eq!(serve_one(&listener), 0, "nor the next one");
    });
}

#[test]
fn the_silent_are_put_out_in_time() {
    soon(|| {
        let listener = patient(Duration::from_millis(30));
        let mut silent = raw(&listener);
        let start = Instant::now();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
        assert!(start.elapsed() >= Duration::from_millis(30));
        challenge(&mut silent);
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed");
    });
}

#[test]
fn a_listener_that_is_busy_blames_nobody() {
    const TIME: Duration = Duration::from_secs(1);
    soon(|| {
        let listener = patient(TIME);
        let mut peer = raw(&listener);
        // The peer has its challenge, and has not answered yet, when the listener goes away for longer than the peer's
        // time.
        assert!(listener.accept_timeout(Duration::from_millis(1)).unwrap().is_none());
        let asked = challenge(&mut peer);
        thread::sleep(TIME + Duration::from_millis(100));
        assert!(listener.accept_timeout(Deadline::NOW).unwrap().is_none(), "that time does not count");
        let answering = thread::spawn(move || answer_by_hand(&mut peer, &asked, [b"", b""]));
        listener.accept().unwrap();
        answering.join().unwrap().unwrap();
    });
}

#[test]
fn the_time_of_a_peer_ends_though_the_thread_that_welcomed_it_left() {
    soon(|| {
        for _ in 0..10 {
            let listener = patient(Duration::from_millis(30));
            thread::scope(|scope| {
                let staying = scope.spawn(|| listener.accept());
                thread::sleep(Duration::from_millis(10)); // it waits by now, and knows of no peer
                let _silent = raw(&listener);
                // This thread does not sleep, so it is mostly the one that welcomes the peer, before it leaves for
                // good.
                if listener.accept_timeout(Duration::from_millis(1)).is_err() {
                    drop(raw(&listener)); // the peer's time was over here already
                }
                assert_eq!(staying.join().unwrap().unwrap_err().kind(), ErrorKind::Auth);
            });
        }
    });
}

#[test]
fn a_slow_drip_does_not_prolong_its_time() {
    soon(|| {
        let listener = patient(Duration::from_millis(100));
        let mut drip = raw(&listener);
        thread::scope(|scope| {
            scope.spawn(move || {
                challenge(&mut drip);
                let answer = frame(&[b'x'; 200]);
                // A byte every few milliseconds would take the better part of a second.
                answer
                    .iter()
                    .take_while(|&&byte| {
                        thread::sleep(Duration::from_millis(4));
                        drip.write_all(&[byte]).is_ok()
                    })
                    .count()
            });
            let error = listener.accept().unwrap_err();
            assert!(error.to_string().contains("in time"), "{error}");
        });
    });
}

#[test]
fn frames_that_are_too_long_or_none_are_refused_unread() {
    for header in [
        &[0, 0, 1, 1][..], // 257
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], // 4 GiB
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xfe], // -2
        &[0x80, 0, 0, 1],          // descriptors
        &[0x80, 0, 0, 0],
    ] {
        soon(|| {
            let listener = listener();
            let mut peer = raw(&listener);
            peer.write_all(header).unwrap();
            let error = listener.accept().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
            assert!(!error.to_string().contains("set_max_message"), "nobody can, here: {error}");
            assert_eq!(serve_one(&listener), 0);
        });
    }
}

#[test]
fn wrong_answers_are_refused() {
    type Answer = fn(&[u8]) -> Vec<u8>;
    let answers: [Answer; 6] = [
        |_| vec![],
        |_| b"{sha256}".to_vec(),
        |_| [b"{sha256}", &[0; 32][..]].concat(),
        |_| vec![0; 16],
        |challenge| challenge.to_vec(), // its own challenge back
        |_| b"#WELCOME#".to_vec(),
    ];
    soon(|| {
        let listener = listener();
        for answer in answers {
            let mut peer = raw(&listener);
            let answering = thread::spawn(move || {
                let challenge = challenge(&mut peer);
                peer.write_all(&frame(&answer(&challenge))).unwrap();
                let mut rest = Vec::new();
                peer.read_to_end(&mut rest).unwrap();
                rest
            });
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
            assert_eq!(answering.join().unwrap(), frame(b"#FAILURE#"));
        }
        assert_eq!(serve_one(&listener), 0);
    });
}

#[test]
fn what_an_honest_client_said_before_opens_no_door_again() {
    soon(|| {
        let listener = listener();
        // Somebody between a client and the listener writes down what the client says.
        let Address::Unix(path) = fresh() else { panic!("not a path") };
        let middle = UnixListener::bind(&path).unwrap();
        let honest = client(&path.into());
        let (client_side, _) = middle.accept().unwrap();
        let mut server_side = raw(&listener);
        let said = thread::scope(|scope| {
            let (mut to_client, mut from_server) = (client_side.try_clone().unwrap(), server_side.try_clone().unwrap());
            scope.spawn(move || std::io::copy(&mut from_server, &mut to_client));
            let written = scope.spawn(|| {
                let (mut said, mut client_side, mut buffer) = (Vec::new(), &client_side, [0; 256]);
                loop {
                    let n = client_side.read(&mut buffer).unwrap_or(0);
                    if n == 0 || server_side.write_all(&buffer[..n]).is_err() {
                        return said;
                    }
                    said.extend_from_slice(&buffer[..n]);
                }
            });
            serve(&listener);
            assert_eq!(honest.join().unwrap().unwrap().recv_bytes().unwrap(), b"served");
            written.join().unwrap()
        });
        assert!(said.len() > 100, "an answer, a challenge and a welcome");
        let mut again = raw(&listener);
        again.write_all(&said).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
    });
}

/// Runs the client's side of a handshake by hand, with the bytes of `behind` right after its answer and challenge, or
/// after its last message.
fn by_hand(peer: &mut UnixStream, behind: [&[u8]; 2]) -> std::io::Result<()> {
    let asked = challenge(peer);
    answer_by_hand(peer, &asked, behind)
}

fn answer_by_hand(peer: &mut UnixStream, asked: &[u8], behind: [&[u8]; 2]) -> std::io::Result<()> {
    let mut client = Handshake::client(&key()).unwrap();
    client.incoming(asked).unwrap();
    for behind in behind {
        let mut turn: Vec<u8> = std::iter::from_fn(|| client.outgoing()).flat_map(|message| frame(&message)).collect();
        turn.extend_from_slice(behind);
        peer.write_all(&turn)?;
        while !client.is_done() {
            let mut header = [0; 4];
            peer.read_exact(&mut header)?;
            let mut message = vec![0; u32::from_be_bytes(header) as usize];
            peer.read_exact(&mut message)?;
            client.incoming(&message).map_err(std::io::Error::other)?;
            if message.starts_with(b"{") {
                break;
            }
        }
    }
    Ok(())
}

#[test]
fn what_follows_the_last_word_is_the_connections() {
    soon(|| {
        let listener = listener();
        let mut peer = raw(&listener);
        let client = thread::spawn(move || by_hand(&mut peer, [b"", &frame(b"first")]));
        let connection = listener.accept().unwrap();
        assert_eq!(connection.recv_bytes().unwrap(), b"first");
        client.join().unwrap().unwrap();
    });
}

#[test]
fn who_speaks_out_of_turn_is_refused() {
    soon(|| {
        let listener = listener();
        for early in [frame(b"first"), [frame(b"#WELCOME#"), frame(b"first")].concat()] {
            let mut peer = raw(&listener);
            let client = thread::spawn(move || by_hand(&mut peer, [&early, b""]));
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
            drop(client.join().unwrap());
            assert_eq!(serve_one(&listener), 0);
        }
    });
}

#[test]
fn the_half_closed_and_the_gone_are_errors() {
    soon(|| {
        let listener = listener();
        let half = raw(&listener);
        half.shutdown(Shutdown::Write).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
        let deaf = raw(&listener);
        deaf.shutdown(Shutdown::Read).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
        drop(raw(&listener));
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
        let mut middle = raw(&listener);
        middle.write_all(&frame(&[0; 40])[..20]).unwrap();
        drop(middle);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
        assert_eq!(serve_one(&listener), 0);
    });
}

fn small(most: usize) -> ListenerBuilder {
    keyed().handshake_timeout(Duration::from_secs(60)).handshakes(most)
}

#[test]
fn a_flood_makes_the_oldest_go_and_not_the_honest() {
    soon(|| {
        let listener = small(4).bind(fresh()).unwrap();
        let flood: Vec<_> = (0..10).map(|_| raw(&listener)).collect();
        let failed = serve_one(&listener);
        assert!((7..=10).contains(&failed), "{failed} had to go for the rest and the honest one to be heard");
        // The first that came are those that were put out.
        for (index, peer) in flood.iter().enumerate() {
            // An end may be late: a process that another test starts just now has a copy of it until it executes its
            // program.
            peer.set_nonblocking(index >= failed).unwrap();
            let mut rest = Vec::new();
            let end = { peer }.read_to_end(&mut rest).is_ok();
            assert_eq!(end, index < failed, "{index}");
        }
    });
}

/// A peer whose last message has arrived is accepted, although its time is over and another peer waits for its place.
#[test]
fn a_peer_that_has_said_its_last_word_does_not_make_room() {
    soon(|| {
        let listener = small(1).bind(fresh()).unwrap();
        let peer = Connection::from_fd(raw(&listener).into(), Access::Both).unwrap();
        let mut handshake = Handshake::client(&key()).unwrap();
        let peer = thread::spawn(move || {
            let mut last_word = None;
            while !handshake.is_done() {
                handshake.incoming(&peer.recv_bytes().unwrap()).unwrap();
                while let Some(message) = handshake.outgoing() {
                    match handshake.is_done() {
                        true => last_word = Some(message.to_vec()),
                        false => peer.send_bytes(&message).unwrap(),
                    }
                }
            }
            (peer, last_word.unwrap())
        });
        assert!(listener.accept_timeout(Duration::from_millis(700)).unwrap().is_none());
        let (peer, last_word) = peer.join().unwrap();
        let _other = raw(&listener);
        peer.send_bytes(&last_word).unwrap();
        let server = listener.accept().unwrap();
        server.send_bytes(b"let in").unwrap();
        assert_eq!(peer.recv_bytes().unwrap(), b"let in");
    });
}

#[test]
fn the_oldest_has_half_a_second_before_it_makes_room() {
    soon(|| {
        let listener = small(1).bind(fresh()).unwrap();
        let start = Instant::now();
        let mut oldest = raw(&listener);
        let _second = raw(&listener);
        let error = listener.accept().unwrap_err();
        assert!(error.to_string().contains("too many are pending"), "{error}");
        assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
        challenge(&mut oldest);
        assert_eq!(oldest.read(&mut [0]).unwrap(), 0, "closed");
    });
}

#[test]
fn a_flood_of_the_silent_while_honest_clients_come() {
    soon(|| {
        let listener = small(8).backlog(16).bind(fresh()).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut kept = std::collections::VecDeque::new();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    kept.push_back(raw(&listener));
                    if kept.len() > 32 {
                        kept.pop_front();
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
            for _ in 0..3 {
                serve_one(&listener);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            // The flood may be waiting for room in the backlog.
            while listener.accept_timeout(Duration::from_millis(100)).map_or(true, |it| it.is_some()) {}
        });
    });
}

#[test]
fn a_peer_that_never_reads_holds_nobody_up() {
    soon(|| {
        let listener = listener();
        let mut deaf = raw(&listener);
        let mut sent = 0;
        deaf.set_nonblocking(true).unwrap();
        while let Ok(n) = deaf.write(&[0; 4096]) {
            sent += n;
        }
        assert!(sent > 4096);
        // The first four bytes are an empty message: no answer to a challenge.
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
        assert_eq!(serve_one(&listener), 0);
    });
}
