//! Descriptors of every kind, and the placeholder with the number of a closed descriptor.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd;
use ossature_sys::fd::{AsFd, AsRawFd, Placeholder, is_cloexec, set_nonblocking, stderr, stdin, stdout, write_all};
use ossature_sys::mmap::page_size;
use ossature_sys::pipe::{Flags, capacity, pipe};
use ossature_sys::socket::{Family, Kind, Socket};
use ossature_sys::stream::Stream;

use crate::support::soon;

#[test]
fn standard_streams_have_their_numbers() {
    assert_eq!([stdin(), stdout(), stderr()].map(|stream| stream.as_raw_fd()), [0, 1, 2]);
}

/// Reads slowly what `write` writes. Returns the number of bytes.
fn slow_reader(reader: OwnedFd, write: impl FnOnce()) -> usize {
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut reader, mut all) = (std::fs::File::from(reader), 0);
            let mut buffer = vec![0; 50_000];
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => return all,
                    len => all += len,
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        write();
        reading.join().unwrap()
    })
}

#[test]
fn all_is_written_however_slowly_it_is_read() {
    let bytes = vec![7; 300_000];
    for deadline in [Deadline::NEVER, Deadline::after(Duration::from_secs(60))] {
        for nonblocking in [false, true] {
            let (reader, writer) = pipe(Flags::empty()).unwrap();
            if nonblocking {
                set_nonblocking(&writer).unwrap();
            }
            let all = slow_reader(reader, || {
                assert_eq!(soon(|| write_all(&writer, &bytes, deadline)), Ok(bytes.len()));
                drop(writer);
            });
            assert_eq!(all, bytes.len());
        }
        let (near, far) = UnixStream::pair().unwrap();
        let near = Stream::new(near.into()).unwrap();
        let all = slow_reader(far.into(), || {
            assert_eq!(soon(|| near.write_all(&bytes, deadline)), Ok(bytes.len()));
            drop(near);
        });
        assert_eq!(all, bytes.len());
    }
}

#[test]
fn writing_all_ends_at_the_deadline_and_says_how_much_went() {
    let bytes = vec![7; 1 << 20];
    let span = Duration::from_millis(20);
    let (near, _far) = UnixStream::pair().unwrap();
    let near = Stream::new(near.into()).unwrap();
    for nonblocking in [false, true] {
        let (_reader, writer) = pipe(Flags::empty()).unwrap();
        if nonblocking {
            set_nonblocking(&writer).unwrap();
        }
        let start = Instant::now();
        let went = soon(|| write_all(&writer, &bytes, span)).unwrap();
        // A pipe has room for sixteen pages, and is full for who waits as soon as the last of them has a byte.
        let room = capacity(&writer).unwrap();
        assert!((room - page_size() + 1..=room).contains(&went), "{went} of {room}");
        assert!(start.elapsed() >= span);
        assert_eq!(soon(|| write_all(&writer, &bytes, Deadline::NOW)), Ok(0));
        assert_eq!(soon(|| write_all(&writer, b"", Deadline::NEVER)), Ok(0));
    }
    let sent = soon(|| near.write_all(&bytes, span)).unwrap();
    assert!(0 < sent && sent < bytes.len(), "{sent}");
    assert_eq!(soon(|| near.write_all(&bytes, Deadline::NOW)), Ok(0));
}

#[test]
fn writing_all_to_nobody_is_an_error() {
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    assert_eq!(Stream::new(near.into()).unwrap().write_all(b"lost", None), Err(Errno::PIPE));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(write_all(&full, b"lost", Duration::from_secs(5)), Err(Errno::NOSPC));
}

#[test]
fn a_detached_stream_is_at_its_end_and_keeps_its_number() {
    let (mut near, far) = UnixStream::pair().unwrap();
    let far = Stream::new(far.into()).unwrap();
    let number = far.as_fd().as_raw_fd();
    far.detach(&Placeholder::new().unwrap()).unwrap();
    assert_eq!(near.read(&mut [0; 1]).unwrap(), 0, "nobody has the other end any more");
    assert_eq!(far.as_fd().as_raw_fd(), number);
    assert!(is_cloexec(&far).unwrap());
    for deadline in [Deadline::NEVER, Deadline::NOW, Deadline::after(Duration::from_secs(60))] {
        assert_eq!(far.read(&mut [0; 1], deadline), Ok(Some(0)));
        assert_eq!(far.write([b"lost", b""], deadline), Err(Errno::PIPE));
    }
}

#[test]
fn a_detached_pipe_is_at_its_end_too() {
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    let writer = Stream::new(writer).unwrap();
    writer.detach(&Placeholder::new().unwrap()).unwrap();
    let reader = Stream::new(reader).unwrap();
    assert_eq!(reader.read(&mut [0; 1], Deadline::NEVER), Ok(Some(0)));
    reader.detach(&Placeholder::new().unwrap()).unwrap();
    assert_eq!(reader.read(&mut [0; 1], Duration::from_secs(60)), Ok(Some(0)));
}

#[test]
fn a_detached_listener_listens_no_more() {
    let listener = Socket::new(Family::V4, Kind::Stream).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_address().unwrap();
    listener.detach(&Placeholder::new().unwrap()).unwrap();
    assert_eq!(listener.accept(Deadline::NEVER).unwrap_err(), Errno::INVAL);
    let client = Socket::new(Family::V4, Kind::Stream).unwrap();
    assert_eq!(client.connect(&address, Deadline::NEVER), Err(Errno::CONNREFUSED));
}

#[test]
fn reads_and_writes_at_a_place_leave_the_position_alone() {
    let memory = ossature_sys::mmap::Memfd::new(c"places").unwrap();
    assert_eq!(fd::write(&memory, b"0123456789"), Ok(10));
    assert_eq!((fd::write_at(&memory, b"xy", 3), fd::write_at(&memory, b"z", 20)), (Ok(2), Ok(1)));
    let mut buffer = [9; 16];
    assert_eq!((fd::read_at(&memory, &mut buffer[..4], 2), &buffer[..5]), (Ok(4), &b"2xy5\x09"[..]));
    assert_eq!((fd::read_at(&memory, &mut buffer, 19), buffer[1]), (Ok(2), b'z'));
    assert_eq!(fd::read_at(&memory, &mut buffer, 21), Ok(0), "the end");
    assert_eq!((fd::write(&memory, b"!"), memory.len()), (Ok(1), Ok(21)), "at the position");
    assert_eq!(fd::read_at(&memory, &mut buffer[..1], 10), Ok(1));
    assert_eq!(buffer[0], b'!');
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    assert_eq!(fd::read_at(&reader, &mut buffer, 0), Err(Errno::SPIPE));
    assert_eq!(fd::write_at(&writer, b"x", 0), Err(Errno::SPIPE));
}

#[test]
fn a_file_says_whether_it_is_for_appending_and_who_serves_it() {
    let path = std::env::temp_dir().join(format!("ossature-append-{}", std::process::id()));
    let appending = std::fs::File::options().append(true).create(true).open(&path).unwrap();
    let plain = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!((fd::is_append(&appending), fd::is_append(&plain)), (Ok(true), Ok(false)));
    assert_eq!(fd::is_on_fuse(ossature_sys::mmap::Memfd::new(c"memory").unwrap()), Ok(false));
    assert_eq!(fd::is_on_fuse(std::fs::File::open("/proc").unwrap()), Ok(false));
}
