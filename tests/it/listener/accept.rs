//! Accepting: with and without a key, by a deadline, by several threads.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, AuthKey, CancelFd, ConnectBuilder, Digest, Listener, connect};
use ossature::multiprocessing::transfer::Trust;
use ossature::sys::deadline::Deadline;

use super::{client, fresh, in_no_file_system, key, keyed, raw};
use crate::support::soon;

// _TestListenerClient.test_listener_client
#[test]
fn what_the_client_sends_the_listener_gets() {
    for address in [fresh(), ("localhost", 0).into(), in_no_file_system("accept")] {
        for builder in [Listener::builder(), keyed()] {
            let has_key = format!("{builder:?}").contains("AuthKey");
            soon(|| {
                let listener = builder.bind(&address).unwrap();
                let address = listener.address().clone();
                let client = std::thread::spawn(move || {
                    let builder = ConnectBuilder::new();
                    let builder = if has_key { builder.authkey(&key()) } else { builder };
                    let connection = builder.connect(address).unwrap();
                    connection.send_bytes(b"hello").unwrap();
                    (connection.recv_bytes().unwrap(), connection.trust())
                });
                let server = listener.accept().unwrap();
                assert_eq!(server.recv_bytes().unwrap(), b"hello");
                server.send_bytes(b"bye").unwrap();
                let same_program = has_key && !matches!(address_of(&listener), Address::Inet(..));
                let trust = if same_program { Trust::SameProgram } else { Trust::Untrusted };
                assert_eq!((client.join().unwrap(), server.trust()), ((b"bye".to_vec(), trust), trust));
            });
        }
    }
}

fn address_of(listener: &Listener) -> Address {
    listener.address().clone()
}

// _TestListenerClient.test_issue14725: who was there before accept was called is accepted, too.
#[test]
fn who_has_sent_and_gone_before_is_still_heard() {
    let listener = Listener::bind(fresh()).unwrap();
    let connection = connect(listener.address()).unwrap();
    connection.send_bytes(b"hello").unwrap();
    drop(connection);
    let server = listener.accept().unwrap();
    assert_eq!(server.recv_bytes().unwrap(), b"hello");
    assert_eq!(server.recv_bytes().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn accepting_ends_when_it_is_cancelled() {
    for builder in [Listener::builder(), keyed()] {
        soon(|| {
            let listener = builder.bind(fresh()).unwrap();
            let _silent = raw(&listener); // with a key, at its handshake
            let stop = CancelFd::new().unwrap();
            std::thread::scope(|scope| {
                let accepting = scope.spawn(|| while listener.accept_timeout(&stop).unwrap().is_some() {});
                std::thread::sleep(Duration::from_millis(5));
                assert!(!accepting.is_finished());
                stop.cancel().unwrap();
                accepting.join().unwrap();
            });
            let within = stop.within(Duration::from_secs(60));
            assert!(listener.accept_timeout(within).unwrap().is_none());
            assert!(listener.incoming(drop).next_timeout(within).unwrap().is_none());
        });
    }
}

#[test]
fn nobody_by_the_deadline_is_none() {
    for builder in [Listener::builder(), keyed()] {
        let listener = builder.bind(fresh()).unwrap();
        assert!(listener.accept_timeout(Deadline::NOW).unwrap().is_none());
        let start = Instant::now();
        assert!(listener.accept_timeout(Duration::from_millis(20)).unwrap().is_none());
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}

#[test]
fn a_handshake_goes_on_with_the_next_accept() {
    soon(|| {
        let listener = keyed().bind(fresh()).unwrap();
        let client = client(listener.address());
        let mut calls = 0;
        // Each call has time for nothing but what is ready.
        let server = loop {
            calls += 1;
            if let Some(server) = listener.accept_timeout(Deadline::NOW).unwrap() {
                break server;
            }
        };
        server.send_bytes(b"in").unwrap();
        assert_eq!(client.join().unwrap().unwrap().recv_bytes().unwrap(), b"in");
        assert!(calls >= 2, "a call with no time hears the client once at most");
    });
}

#[test]
fn the_last_accepted_is_told_while_another_thread_accepts() {
    soon(|| {
        let listener = keyed().bind(fresh()).unwrap();
        std::thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept().map(drop));
            // A peer that has its challenge and says nothing shows that the other thread is in the midst of it.
            let mut silent = raw(&listener);
            silent.read_exact(&mut [0; 4]).unwrap();
            assert_eq!(listener.last_accepted(), None);
            client(listener.address()).join().unwrap().unwrap();
            accepting.join().unwrap().unwrap();
        });
    });
}

#[test]
fn the_last_accepted_is_told() {
    let listener = Listener::bind(("localhost", 0)).unwrap();
    assert_eq!(listener.last_accepted(), None);
    let client = std::net::TcpStream::connect(match listener.address() {
        Address::Inet(host, port) => (host.as_str(), *port),
        other => panic!("{other}"),
    });
    listener.accept().unwrap();
    assert_eq!(listener.last_accepted(), Some(client.unwrap().local_addr().unwrap().into()));
    let listener = Listener::bind(fresh()).unwrap();
    let _client = connect(listener.address()).unwrap();
    listener.accept().unwrap();
    assert_eq!(listener.last_accepted(), None, "a socket without a name");
}

#[test]
fn a_wrong_key_is_an_error_on_both_sides_and_the_listener_goes_on() {
    soon(|| {
        let listener = keyed().bind(fresh()).unwrap();
        let address = listener.address().clone();
        let wrong = std::thread::spawn(move || {
            ConnectBuilder::new()
                .authkey(&AuthKey::from("wrong"))
                .connect(address)
                .map(drop)
                .map_err(|error| error.kind())
        });
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::Auth);
        assert_eq!(wrong.join().unwrap(), Err(ErrorKind::Auth));
        let right = client(listener.address());
        listener.accept().unwrap();
        right.join().unwrap().unwrap();
    });
}

#[test]
fn digests_are_as_asked_on_either_side() {
    for digest in Digest::ALL {
        soon(|| {
            let listener = keyed().digest(digest).bind(fresh()).unwrap();
            let address = listener.address().clone();
            let client = std::thread::spawn(move || {
                ConnectBuilder::new().authkey(&key()).digest(digest).minimum_digest(digest).connect(address).map(drop)
            });
            listener.accept().unwrap();
            client.join().unwrap().unwrap();
        });
    }
}

#[test]
fn several_threads_accept_on_one_listener() {
    const CLIENTS: u32 = 24;
    for builder in [Listener::builder(), keyed()] {
        let has_key = format!("{builder:?}").contains("AuthKey");
        let listener = builder.bind(fresh()).unwrap();
        let served = AtomicU32::new(0);
        soon(|| {
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while served.load(Relaxed) < CLIENTS {
                            if let Some(server) = listener.accept_timeout(Duration::from_millis(5)).unwrap() {
                                server.send_bytes(&served.fetch_add(1, Relaxed).to_ne_bytes()).unwrap();
                            }
                        }
                    });
                }
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|_| {
                        scope.spawn(|| {
                            let builder = ConnectBuilder::new();
                            let builder = if has_key { builder.authkey(&key()) } else { builder };
                            let connection = builder.connect(listener.address()).unwrap();
                            u32::from_ne_bytes(connection.recv_bytes().unwrap().try_into().unwrap())
                        })
                    })
                    .collect();
                let mut numbers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..CLIENTS));
            });
        });
    }
}

// _TestListener.test_empty_authkey
#[test]
fn an_empty_key_lets_in_only_who_has_it() {
    soon(|| {
        let listener = Listener::builder().authkey(&AuthKey::from("")).bind(fresh()).unwrap();
        for (theirs, is_let_in) in [("not empty", false), ("", true)] {
            let address = listener.address().clone();
            let client = std::thread::spawn(move || {
                ConnectBuilder::new().authkey(&AuthKey::from(theirs)).connect(address).map(|client| client.trust())
            });
            // Everybody knows it, so the key proves no program.
            let let_in = [listener.accept().map(|connection| connection.trust()), client.join().unwrap()];
            for trust in let_in {
                assert_eq!(trust.ok(), is_let_in.then_some(Trust::Untrusted));
            }
        }
    });
}
