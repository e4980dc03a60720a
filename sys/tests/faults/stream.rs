//! Streams with failing system calls.

use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd::{AsFd, set_blocking};
use ossature_sys::pipe;
use ossature_sys::socket::{Kind, Shutdown, Socket};
use ossature_sys::stream::Stream;

use crate::sweep::{alone, fails_with, sweep};

const SPAN: Duration = Duration::from_millis(3);

fn pair() -> Result<(Stream, Stream)> {
    let (one, other) = Socket::pair(Kind::Stream)?;
    for socket in [&one, &other] {
        set_blocking(socket)?;
    }
    Ok((Stream::new(one.into())?, Stream::new(other.into())?))
}

fn piped() -> Result<(Stream, Stream)> {
    let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
    Ok((Stream::new(reader)?, Stream::new(writer)?))
}

#[test]
fn everything_ends_and_leaks_nothing() {
    sweep("socket", &["send", "sendmsg", "recv", "recvmsg", "ppoll"], || {
        let (one, other) = pair()?;
        one.peer_credentials()?;
        one.write([b"x", b""], SPAN)?;
        other.read(&mut [0; 4], SPAN)?;
        one.write([b"x", b"y"], SPAN)?;
        other.read(&mut [0; 4], SPAN)?;
        one.write_with(b"x", &[one.as_fd()], SPAN)?;
        other.read_with::<1>(&mut [0; 4], SPAN)?;
        one.write_with_credentials(b"x", &[one.as_fd()], SPAN)?;
        other.read_with_credentials::<1>(&mut [0; 4], SPAN)?;
        other.read(&mut [0; 4], SPAN)?;
        other.set_receive_timeout(Some(SPAN))?;
        other.read_in_one_call(&mut [0; 4])?;
        one.shutdown(Shutdown::Both)
    });
    sweep("pipe", &["read", "pwritev2", "ppoll"], || {
        let (reader, writer) = piped()?;
        writer.write([b"x", b"y"], SPAN)?;
        reader.read(&mut [0; 4], SPAN)?;
        reader.read(&mut [0; 4], SPAN).map(drop)
    });
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    let (one, other) = pair().unwrap();
    let (reader, writer) = piped().unwrap();
    fails_with("getsockopt", Errno::NOMEM, || piped().map(drop));
    fails_with("getsockopt", Errno::NOMEM, || one.peer_credentials());
    fails_with("send", Errno::CONNRESET, || one.write([b"x", b""], None));
    fails_with("sendmsg", Errno::NOBUFS, || one.write([b"x", b"y"], None));
    fails_with("sendmsg", Errno::TOOMANYREFS, || one.write_with(b"x", &[one.as_fd()], None));
    fails_with("recv", Errno::CONNRESET, || other.read(&mut [0; 1], None));
    fails_with("recv", Errno::CONNRESET, || other.read_in_one_call(&mut [0; 1]));
    fails_with("setsockopt", Errno::NOMEM, || other.set_receive_timeout(None));
    {
        let _signal = Rule::on("recv", Fault::Fail(Errno::INTR)).arm().unwrap();
        assert_eq!(other.read_in_one_call(&mut [0; 1]), Ok(None), "the caller knows how much time is left");
    }
    fails_with("recvmsg", Errno::NOMEM, || other.read_with::<1>(&mut [0; 1], None).map(drop));
    fails_with("sendmsg", Errno::PERM, || one.write_with_credentials(b"x", &[], None));
    for call in ["getsockopt", "setsockopt", "recvmsg"] {
        fails_with(call, Errno::NOMEM, || other.read_with_credentials::<1>(&mut [0; 1], None).map(drop));
    }
    fails_with("pwritev2", Errno::PIPE, || writer.write([b"x", b"y"], None));
    {
        let (_reader, writer) = piped().unwrap(); // it remembers that it has no flag
        let _old = Rule::on("pwritev2", Fault::Fail(Errno::OPNOTSUPP)).arm().unwrap();
        for call in ["pthread_sigmask", "writev"] {
            fails_with(call, Errno::NOMEM, || writer.write([b"x", b"y"], None));
        }
        let _broken = Rule::on("writev", Fault::Fail(Errno::PIPE)).arm().unwrap();
        fails_with("sigtimedwait", Errno::INVAL, || writer.write([b"x", b"y"], None).or(Err(Errno::INVAL)));
    }
    fails_with("read", Errno::IO, || reader.read(&mut [0; 1], None));
    fails_with("ppoll", Errno::NOMEM, || reader.read(&mut [0; 1], SPAN));
    fails_with("shutdown", Errno::NOTCONN, || one.shutdown(Shutdown::Both));
}

#[test]
fn shortened_transfers_say_how_much_went() {
    let _alone = alone();
    let (one, other) = pair().unwrap();
    let (reader, writer) = piped().unwrap();
    let mut buffer = [0; 16];
    for (call, from, to, parts) in [
        ("send", &one, &other, [&b"bytes"[..], b""]),
        ("sendmsg", &one, &other, [b"by", b"tes"]),
        ("sendmsg", &one, &other, [b"bytes", b"tes"]),
        ("writev", &writer, &reader, [b"by", b"tes"]),
    ] {
        let rule = Rule::on(call, Fault::Shorten(3)).arm().unwrap();
        assert_eq!(from.write(parts, None), Ok(Some(3)), "{call}");
        assert_ne!(rule.hits(), 0);
        drop(rule);
        assert_eq!((to.read(&mut buffer, None), &buffer[..3]), (Ok(Some(3)), &b"byt"[..]), "{call}");
    }
    for (call, from, to) in [("recv", &one, &other), ("read", &writer, &reader)] {
        from.write([b"bytes", b""], None).unwrap();
        let rule = Rule::on(call, Fault::Shorten(3)).arm().unwrap();
        assert_eq!(to.read(&mut buffer, None), Ok(Some(3)), "{call}");
        drop(rule);
        assert_eq!(to.read(&mut buffer, None), Ok(Some(2)), "{call}");
    }
}

#[test]
fn wait_without_an_end_on_a_blocking_descriptor_is_one_call() {
    let _alone = alone();
    let (one, other) = pair().unwrap();
    let (reader, writer) = piped().unwrap();
    let polls = Rule::on("ppoll", Fault::Count).everywhere().arm().unwrap();
    for (from, to) in [(&one, &other), (&writer, &reader)] {
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| to.read(&mut [0; 4], Deadline::NEVER));
            std::thread::sleep(SPAN);
            from.write([b"x", b""], Deadline::NEVER).unwrap();
            assert_eq!(reading.join().unwrap(), Ok(Some(1)));
        });
    }
    assert_eq!(polls.seen(), 0);
}

#[test]
fn interrupted_waits_go_on_with_what_is_left() {
    let _alone = alone();
    let (_one, other) = pair().unwrap();
    let rule = Rule::on("ppoll", Fault::Fail(Errno::INTR)).times(1000).arm().unwrap();
    let start = Instant::now();
    assert_eq!(other.read(&mut [0; 1], SPAN), Ok(None));
    assert!(start.elapsed() >= SPAN && rule.hits() > 0);
}
