//! Descriptors with failing system calls: duplicating, flags, reading and writing.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd;
use ossature_sys::stream::Stream;

use crate::sweep::{alone, fails_with, survives, sweep};

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").expect("/dev/null is there")
}

#[test]
fn everything_about_a_descriptor_ends_and_leaks_nothing() {
    let _alone = alone();
    let null = null();
    let seen = sweep("fd", &["read", "write"], || -> Result<()> {
        let copy = fd::duplicate(&null)?;
        fd::clear_cloexec(&copy)?;
        fd::is_cloexec(&copy)?;
        fd::access(&copy)?;
        fd::write(&copy, b"gone")?;
        fd::read(&copy, &mut [0; 4])?;
        Ok(())
    });
    assert_eq!(seen.calls, 6);
    // Five errnos for each of six calls; only EINTR of the copy, the read and the write is not an answer.
    assert_eq!((seen.refused, seen.survived), (27, 3));
}

#[test]
fn no_descriptor_left_is_an_error() {
    let _alone = alone();
    fails_with("fcntl", Errno::MFILE, || fd::duplicate(null()));
}

#[test]
fn interrupted_read_and_write_are_made_again() {
    let _alone = alone();
    let null = null();
    survives("read", Errno::INTR, || fd::read(&null, &mut [0; 4]));
    survives("write", Errno::INTR, || fd::write(&null, b"gone"));
}

#[test]
fn shortened_write_says_how_many_bytes_went() {
    let _alone = alone();
    let (_reader, writer) = UnixStream::pair().expect("a pair of sockets");
    let rule = Rule::on("write", Fault::Shorten(3)).arm().expect("a rule is free");
    assert_eq!(fd::write(&writer, b"ossature"), Ok(3));
    assert_eq!(rule.hits(), 1);
}

#[test]
fn shortened_and_interrupted_writes_go_on_until_all_is_written() {
    let _alone = alone();
    let bytes = b"ossature";
    for deadline in [Deadline::NEVER, Deadline::after(Duration::from_secs(60))] {
        let (mut reader, writer) = UnixStream::pair().expect("a pair of sockets");
        let short = Rule::on("write", Fault::Shorten(3)).arm().expect("a rule is free");
        assert_eq!(fd::write_all(&writer, bytes, deadline), Ok(8));
        assert_eq!(short.hits(), 3);
        let stream = Stream::new(writer.into()).expect("a stream");
        let short = Rule::on("send", Fault::Shorten(3)).arm().expect("a rule is free");
        assert_eq!(stream.write_all(bytes, deadline), Ok(8));
        assert_eq!(short.hits(), 3);
        drop(stream);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("bytes");
        assert_eq!(read, b"ossatureossature");
    }
    let null = null();
    let second = Deadline::after(Duration::from_secs(60));
    sweep("write_all", &["write", "ppoll"], || fd::write_all(&null, bytes, second).map(drop));
    let (_reader, writer) = UnixStream::pair().expect("a pair of sockets");
    let stream = Stream::new(writer.into()).expect("a stream");
    sweep("write_all of a stream", &["send"], || stream.write_all(b"x", second).map(drop));
}

#[test]
fn everything_about_a_placeholder_ends_and_leaks_nothing() {
    let _alone = alone();
    // A stream of its own each time: what was let go leads to another socket afterwards.
    let detach = || {
        let (one, _other) = UnixStream::pair().expect("a pair of sockets");
        let stream = Stream::new(one.into())?;
        stream.detach(&fd::Placeholder::new()?)
    };
    let seen = sweep("placeholder", &[], detach);
    assert!(seen.calls >= 2, "{} calls", seen.calls);
    survives("dup3", Errno::INTR, detach);
}
