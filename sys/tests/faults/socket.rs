//! Sockets with failing system calls.

use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd::AsFd;
use ossature_sys::socket::{Address, Family, Kind, Shutdown, Socket, UnixAddress, set_keep_alive};

use crate::sweep::{alone, fails_with, survives, sweep, sweep_with};

const SPAN: Duration = Duration::from_millis(3);

fn name() -> Address {
    UnixAddress::abstract_name(format!("ossature-faults-{}", std::process::id()).as_bytes()).unwrap().into()
}

/// Errnos of connections beside the usual ones.
const CONNECTIONS: [Errno; 5] = [Errno::INTR, Errno::MFILE, Errno::CONNABORTED, Errno::CONNREFUSED, Errno::NOBUFS];

fn connection(address: &Address, family: Family) -> Result<()> {
    let listener = Socket::new(family, Kind::Stream)?;
    listener.set_reuse_address()?;
    listener.bind(address)?;
    listener.listen(1)?;
    let client = Socket::new(family, Kind::Stream)?;
    client.connect(&listener.local_address()?, SPAN * 100)?;
    let Some((server, _)) = listener.accept(SPAN * 100)? else { return Ok(()) };
    if family != Family::Unix {
        server.set_no_delay()?;
        set_keep_alive(&server, Duration::from_secs(60), Duration::from_secs(10), 6)?;
    }
    server.send(b"x", SPAN)?;
    client.recv(&mut [0; 4], SPAN)?;
    client.peer_address()?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn every_way_to_connect_ends_and_leaks_nothing() {
    for errnos in [&CONNECTIONS, &crate::sweep::USUAL] {
        sweep_with("unix", &["accept4", "connect", "send", "recv"], errnos, || connection(&name(), Family::Unix));
        let loopback = Address::Ip("127.0.0.1:0".parse().unwrap());
        sweep_with("tcp", &["connect", "ppoll", "send", "recv"], errnos, || connection(&loopback, Family::V4));
    }
}

#[test]
fn everything_about_a_pair_ends_and_leaks_nothing() {
    sweep("pair", &["send", "sendmsg", "recv", "recvmsg", "sendto", "recvfrom", "ppoll"], || {
        let (one, other) = Socket::pair(Kind::SeqPacket)?;
        other.set_pass_credentials()?;
        one.peer_credentials()?;
        one.send(b"x", SPAN)?;
        other.peek(&mut [0; 4], SPAN)?;
        other.recv(&mut [0; 4], SPAN)?;
        one.send_with(b"x", &[one.as_fd(), other.as_fd()], SPAN)?;
        other.recv_with::<2>(&mut [0; 4], SPAN)?;
        one.send_with(b"x", &[one.as_fd(), other.as_fd()], SPAN)?;
        other.recv_with::<1>(&mut [0; 4], SPAN)?;
        other.recv_with::<1>(&mut [0; 4], SPAN)?;
        let datagrams = Socket::new(Family::Unix, Kind::Datagram)?;
        datagrams.bind(&UnixAddress::UNNAMED.into())?;
        datagrams.send_to(b"x", &datagrams.local_address()?, SPAN)?;
        datagrams.recv_from(&mut [0; 4], SPAN).map(drop)
    });
}

#[test]
fn full_listener_is_waited_for_without_a_leak() {
    let _alone = alone();
    let address = name();
    let listener = Socket::new(Family::Unix, Kind::Stream).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let waiting = Socket::new(Family::Unix, Kind::Stream).unwrap();
    assert_eq!(waiting.connect(&address, Deadline::NOW), Ok(true));
    sweep("full", &["connect"], || Socket::new(Family::Unix, Kind::Stream)?.connect(&address, SPAN * 5).map(drop));
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        fails_with("socket", errno, || Socket::new(Family::V4, Kind::Stream));
        fails_with("socketpair", errno, || Socket::pair(Kind::Stream));
    }
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    one.send(b"text", SPAN).unwrap();
    fails_with("accept4", Errno::MFILE, || one.accept(SPAN).map(drop));
    fails_with("send", Errno::CONNRESET, || one.send(b"x", SPAN));
    fails_with("sendmsg", Errno::TOOMANYREFS, || one.send_with(b"x", &[one.as_fd()], SPAN));
    fails_with("recv", Errno::CONNRESET, || other.recv(&mut [0; 1], SPAN));
    fails_with("recvmsg", Errno::NOMEM, || other.recv_with::<1>(&mut [0; 1], SPAN).map(drop));
    fails_with("getsockname", Errno::NOBUFS, || one.local_address());
    fails_with("getsockopt", Errno::NOMEM, || one.peer_credentials());
    fails_with("bind", Errno::ADDRINUSE, || one.bind(&name()));
}

#[test]
fn given_up_connection_is_passed_over() {
    let _alone = alone();
    let address = name();
    let listener = Socket::new(Family::Unix, Kind::Stream).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    let client = Socket::new(Family::Unix, Kind::Stream).unwrap();
    assert_eq!(client.connect(&address, SPAN), Ok(true));
    let rule = Rule::on("accept4", Fault::Fail(Errno::CONNABORTED)).times(1).arm().unwrap();
    assert!(listener.accept(SPAN * 100).unwrap().is_some());
    assert_eq!(rule.seen(), 2);
}

#[test]
fn shortened_transfers_say_how_much_went() {
    let _alone = alone();
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    for call in ["send", "sendmsg", "recv", "recvmsg"] {
        let rule = Rule::on(call, Fault::Shorten(2)).arm().unwrap();
        let mut buffer = [0; 8];
        let sent = match call {
            "sendmsg" => one.send_with(b"bytes", &[one.as_fd()], SPAN),
            _ => one.send(b"bytes", SPAN),
        };
        let got = match call {
            "recvmsg" => other.recv_with::<1>(&mut buffer, SPAN).map(|got| got.map(|got| got.len)),
            _ => other.recv(&mut buffer, SPAN),
        };
        let expected = if call.starts_with("send") { (2, 2) } else { (5, 2) };
        assert_eq!((sent, got), (Ok(Some(expected.0)), Ok(Some(expected.1))), "{call}");
        assert_ne!(rule.hits(), 0, "{call}");
        drop(rule);
        while other.recv(&mut buffer, Deadline::NOW).unwrap().is_some() {}
    }
}

#[test]
fn interrupted_waits_go_on_with_what_is_left() {
    let _alone = alone();
    let (one, _other) = Socket::pair(Kind::Stream).unwrap();
    let rule = Rule::on("ppoll", Fault::Fail(Errno::INTR)).times(1000).arm().unwrap();
    let start = Instant::now();
    assert_eq!(one.recv(&mut [0; 1], SPAN), Ok(None));
    assert!(start.elapsed() >= SPAN && rule.hits() > 0);
    drop(rule);
    survives("recvmsg", Errno::INTR, || one.recv_with::<1>(&mut [0; 1], Deadline::NOW));
    survives("sendmsg", Errno::INTR, || one.send_with(b"x", &[], Deadline::NOW));
}

#[test]
fn looking_now_never_sleeps() {
    let _alone = alone();
    let address = name();
    let listener = Socket::new(Family::Unix, Kind::Stream).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let (one, _other) = Socket::pair(Kind::Stream).unwrap();
    let sleeps = Rule::on("ppoll", Fault::Count).arm().unwrap();
    assert!(listener.accept(Deadline::NOW).unwrap().is_none());
    assert_eq!(one.recv(&mut [0; 1], Deadline::NOW), Ok(None));
    assert!(one.recv_with::<1>(&mut [0; 1], Deadline::NOW).unwrap().is_none());
    while one.send(&[0; 4096], Deadline::NOW).unwrap().is_some() {}
    assert_eq!(sleeps.seen(), 0);
    // Nor does it turn the socket to blocking when the listener is full.
    let modes = Rule::on("ioctl", Fault::Count).arm().unwrap();
    let clients = [(); 2].map(|()| Socket::new(Family::Unix, Kind::Stream).unwrap());
    assert_eq!(clients.each_ref().map(|client| client.connect(&address, Deadline::NOW)), [Ok(true), Ok(false)]);
    assert_eq!((sleeps.seen(), modes.seen()), (0, 0));
}
