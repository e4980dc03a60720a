//! An iterator of connections that continues after failed handshakes.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Listener, connect};
use ossature::sys::deadline::Deadline;
use ossature::{Error, ErrorKind};

use super::{client, fresh, keyed};
use crate::support::soon;

#[test]
fn probes_end_no_server_and_each_is_told_with_its_address() {
    soon(|| {
        let listener = keyed().handshake_timeout(Duration::from_millis(50)).bind(("127.0.0.1", 0)).unwrap();
        let Address::Inet(host, port) = listener.address().clone() else { panic!("{listener:?}") };
        let probe = || TcpStream::connect((host.as_str(), port)).unwrap();
        drop(probe());
        let silent = probe();
        let mut scanner = probe();
        scanner.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let wrong = std::thread::spawn({
            let address = listener.address().clone();
            move || ConnectBuilder::new().authkey(&AuthKey::from("wrong")).connect(address).map(drop)
        });
        let mut told: Vec<Error> = Vec::new();
        {
            let mut incoming = listener.incoming(|error| told.push(error));
            // Nobody gets in until all four have failed.
            let start = Instant::now();
            assert!(incoming.next_timeout(Duration::from_millis(400)).unwrap().is_none());
            assert!(start.elapsed() >= Duration::from_millis(400), "it went on until the deadline");
            assert_eq!(wrong.join().unwrap().unwrap_err().kind(), ErrorKind::Auth);
            let honest = client(listener.address());
            incoming.next().unwrap().unwrap().send_bytes(b"in").unwrap();
            assert_eq!(honest.join().unwrap().unwrap().recv_bytes().unwrap(), b"in");
        }
        assert_eq!(told.len(), 4, "{told:?}");
        for error in &told {
            assert_eq!(error.kind(), ErrorKind::Auth);
            assert!(error.to_string().starts_with("127.0.0.1:"), "{error}");
        }
        let of_the_silent = silent.local_addr().unwrap().to_string();
        assert!(told.iter().any(|error| error.to_string().starts_with(&of_the_silent)), "{told:?}");
    });
}

#[test]
fn nobody_by_the_deadline_is_none_with_and_without_a_key() {
    for builder in [Listener::builder(), keyed()] {
        let listener = builder.bind(fresh()).unwrap();
        let mut incoming = listener.incoming(|error| panic!("{error}"));
        assert!(incoming.next_timeout(Deadline::NOW).unwrap().is_none());
        assert!(incoming.next_timeout(Duration::from_millis(5)).unwrap().is_none());
    }
    let listener = Listener::bind(fresh()).unwrap();
    let _clients = [0, 1].map(|_| connect(listener.address()).unwrap());
    let taken = listener.incoming(drop).take(2).filter_map(Result::ok).count();
    assert_eq!(taken, 2);
}

#[test]
fn a_flood_of_failures_does_not_outlast_the_deadline() {
    let listener = keyed().bind(fresh()).unwrap();
    for _ in 0..3 {
        drop(connect(listener.address()).unwrap());
    }
    let mut told = 0;
    let mut incoming = listener.incoming(|_| told += 1);
    assert!(incoming.next_timeout(Deadline::NOW).unwrap().is_none());
    drop(incoming);
    assert_eq!(told, 1, "the others are left to the next call");
}
