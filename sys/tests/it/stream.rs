//! Streams over every kind of carrier.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, set_blocking, set_nonblocking};
use ossature_sys::process::{effective_user, id};
use ossature_sys::socket::{Credentials, Shutdown};
use ossature_sys::stream::{Stream, StreamKind};

use crate::support::{pipe, soon};

const SPAN: Duration = Duration::from_millis(10);

fn tcp() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near.into(), listener.accept().unwrap().0.into())
}

/// A writing and a reading stream for each carrier.
fn all() -> [(StreamKind, Stream, Stream); 3] {
    let (one, other) = UnixStream::pair().unwrap();
    let (near, far) = tcp();
    let (reader, writer) = pipe().unwrap();
    [
        (StreamKind::UnixSocket, one.into(), other.into()),
        (StreamKind::Socket, near, far),
        (StreamKind::File, writer.into(), reader.into()),
    ]
    .map(|(carrier, writer, reader): (_, OwnedFd, OwnedFd)| {
        (carrier, Stream::new(writer).unwrap(), Stream::new(reader).unwrap())
    })
}

#[test]
fn it_knows_what_carries_it() {
    for (carrier, writer, reader) in all() {
        assert_eq!((writer.kind(), reader.kind()), (carrier, carrier));
    }
    let null = Stream::new(std::fs::File::open("/dev/null").unwrap().into()).unwrap();
    assert_eq!((null.kind(), null.read(&mut [0; 1], None)), (StreamKind::File, Ok(Some(0))));
}

#[test]
fn two_parts_arrive_as_one() {
    soon(|| {
        for (_, writer, reader) in all() {
            for deadline in [Deadline::NEVER, Deadline::after(Duration::from_secs(5))] {
                for (parts, whole) in
                    [([&b"head"[..], b"body"], "headbody"), ([b"", b"body"], "body"), ([b"head", b""], "head")]
                {
                    assert_eq!(writer.write(parts, deadline), Ok(Some(whole.len())));
                    let mut buffer = [0; 16];
                    let len = reader.read(&mut buffer, deadline).unwrap().unwrap();
                    assert_eq!(&buffer[..len], whole.as_bytes());
                }
            }
        }
    });
}

#[test]
fn running_out_of_time_is_none_in_both_directions() {
    for (carrier, writer, reader) in all() {
        let start = Instant::now();
        assert_eq!(reader.read(&mut [0; 4], SPAN), Ok(None));
        assert!(start.elapsed() >= SPAN);
        assert_eq!(reader.read(&mut [0; 4], Deadline::NOW), Ok(None));
        let mut sent = 0;
        while let Some(n) = writer.write([&[1; 100], &[2; 99_900]], Deadline::NOW).unwrap() {
            sent += n;
        }
        // The window of a TCP socket may open once more when the other end has seen what came.
        loop {
            let start = Instant::now();
            match writer.write([&[1; 100], &[2; 99_900]], SPAN).unwrap() {
                Some(n) => sent += n,
                None => break assert!(start.elapsed() >= SPAN, "{carrier:?}"),
            }
        }
        let mut buffer = vec![0; 1 << 16];
        while let Some(n) = reader.read(&mut buffer, Duration::from_millis(50)).unwrap() {
            sent -= n;
        }
        assert_eq!(sent, 0, "{carrier:?}: as much arrived as was said to have gone");
    }
}

#[test]
fn mode_of_the_descriptor_is_kept_and_either_works() {
    soon(|| {
        for (_, writer, reader) in all() {
            for nonblocking in [true, false] {
                for end in [&writer, &reader] {
                    if nonblocking { set_nonblocking(end).unwrap() } else { set_blocking(end).unwrap() }
                }
                std::thread::scope(|scope| {
                    let reading = scope.spawn(|| {
                        let (mut sum, mut buffer) = (0, [0; 5000]);
                        while sum < 1 << 20 {
                            sum += reader.read(&mut buffer, None).unwrap().unwrap();
                        }
                        sum
                    });
                    let mut left = 1 << 20;
                    while left > 0 {
                        left -= writer.write([&vec![0; left], b""], None).unwrap().unwrap();
                    }
                    assert_eq!(reading.join().unwrap(), 1 << 20);
                });
                let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
                assert_eq!(flags.contains(rustix::fs::OFlags::NONBLOCK), nonblocking);
            }
        }
    });
}

#[test]
fn descriptors_ride_on_sockets_of_this_machine_only() {
    let [(_, one, other), (_, tcp, _far), (_, writer, reader)] = all();
    assert_eq!(one.write_with(b"xyz", &[writer.as_fd()], SPAN), Ok(Some(3)));
    let mut buffer = [0; 2];
    let got = other.read_with::<2>(&mut buffer, SPAN).unwrap().unwrap();
    assert_eq!((got.len, got.descriptors.len()), (2, 1));
    assert_eq!(other.read(&mut buffer, SPAN), Ok(Some(1)));
    let mut again = std::fs::File::from(got.descriptors.into_iter().next().unwrap());
    again.write_all(b"!").unwrap();
    assert_eq!(reader.read(&mut buffer, SPAN), Ok(Some(1)));
    assert_eq!(writer.write_with(b"x", &[one.as_fd()], SPAN), Err(Errno::NOTSOCK));
    assert_eq!(reader.read_with::<1>(&mut buffer, SPAN).unwrap_err(), Errno::NOTSOCK);
    assert_eq!(tcp.write_with(b"x", &[one.as_fd()], SPAN), Err(Errno::OPNOTSUPP));
    assert_eq!(one.write_with(b"", &[one.as_fd()], SPAN), Err(Errno::INVAL));
}

#[test]
fn sender_is_told_to_whoever_asks() {
    let [(_, one, other), (_, tcp, far), (_, writer, reader)] = all();
    let mut buffer = [0; 8];
    let own = Some((Some(id()), effective_user()));
    let name = |who: Option<Credentials>| who.map(|who| (who.pid, who.uid));

    assert_eq!(one.write_with_credentials(b"xyz", &[writer.as_fd()], SPAN), Ok(Some(3)));
    let got = other.read_with_credentials::<2>(&mut buffer, SPAN).unwrap().unwrap();
    assert_eq!((got.len, got.descriptors.len(), name(got.credentials)), (3, 1, own));
    // Nobody asked when this was sent, so the kernel did not note down who did.
    one.write_with(b"x", &[], SPAN).unwrap();
    let got = other.read_with_credentials::<1>(&mut buffer, SPAN).unwrap().unwrap();
    assert_eq!((got.len, got.credentials.map(|who| who.pid)), (1, Some(None)));
    // To ask once is not to ask for ever.
    one.write_with_credentials(b"x", &[], SPAN).unwrap();
    assert_eq!(other.read_with::<1>(&mut buffer, SPAN).unwrap().unwrap().credentials, None);
    assert!(other.read_with_credentials::<1>(&mut buffer, SPAN).unwrap().is_none(), "nothing is there");

    assert_eq!(writer.write_with_credentials(b"x", &[], SPAN), Err(Errno::NOTSOCK));
    assert_eq!(reader.read_with_credentials::<1>(&mut buffer, SPAN).unwrap_err(), Errno::NOTSOCK);
    assert_eq!(tcp.write_with_credentials(b"x", &[], SPAN), Err(Errno::OPNOTSUPP));
    tcp.write([b"x", b""], SPAN).unwrap();
    // Older kernels take the option and tell nothing.
    let told = far.read_with_credentials::<1>(&mut buffer, Duration::from_secs(5));
    assert!(told.is_err() || told.is_ok_and(|got| got.is_some_and(|got| got.credentials.is_none())));
}

#[test]
fn peers_ends_and_broken_pipes_are_told() {
    let [(_, one, other), (_, tcp, far), (_, writer, reader)] = all();
    let peer = one.peer_credentials().unwrap().unwrap();
    assert_eq!(peer.pid, Some(id()));
    assert_eq!((tcp.peer_credentials(), writer.peer_credentials()), (Ok(None), Ok(None)));
    assert_eq!(writer.shutdown(Shutdown::Write), Err(Errno::NOTSOCK));
    one.shutdown(Shutdown::Write).unwrap();
    assert_eq!(other.read(&mut [0; 1], None), Ok(Some(0)));
    drop(tcp);
    assert_eq!(far.read(&mut [0; 1], None), Ok(Some(0)));
    // Without a SIGPIPE: see the test of seccomp.rs.
    drop((reader, other));
    assert_eq!(writer.write([b"a", b"b"], None), Err(Errno::PIPE));
    for parts in [[&b"a"[..], b"b"], [b"a", b""]] {
        assert_eq!(one.write(parts, None), Err(Errno::PIPE));
    }
    let mut file = std::fs::File::from(OwnedFd::from(far));
    assert_eq!(file.read(&mut [0; 1]).unwrap(), 0, "the same descriptor");
}

#[test]
fn a_socket_waits_in_the_call_for_its_own_timeout() {
    soon(|| {
        for (carrier, writer, reader) in all() {
            let mut buffer = [0; 4];
            let set = reader.set_receive_timeout(Some(SPAN));
            if carrier == StreamKind::File {
                assert_eq!((set, reader.read_in_one_call(&mut buffer)), (Err(Errno::NOTSOCK), Err(Errno::NOTSOCK)));
                continue;
            }
            let begun = Instant::now();
            assert_eq!((set, reader.read_in_one_call(&mut buffer)), (Ok(()), Ok(None)));
            assert!(begun.elapsed() >= SPAN);
            // Other calls keep to their own deadlines, longer or shorter.
            let later = Deadline::after(3 * SPAN);
            assert_eq!(reader.read(&mut buffer, later), Ok(None));
            assert!(later.has_passed());
            assert_eq!(reader.set_receive_timeout(Some(Duration::ZERO)), Err(Errno::INVAL));
            reader.set_receive_timeout(None).unwrap();
            assert_eq!(reader.read(&mut buffer, Duration::ZERO), Ok(None), "at once");
            assert_eq!(writer.write([b"head", b""], None), Ok(Some(4)));
            assert_eq!(reader.read_in_one_call(&mut buffer), Ok(Some(4)));
            set_nonblocking(&reader).unwrap();
            assert_eq!(reader.read_in_one_call(&mut buffer), Ok(None), "at once");
            writer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(reader.read_in_one_call(&mut buffer), Ok(Some(0)), "the end");
        }
    });
}
