//! Sockets: addresses, connections, transfers, descriptors and credentials, hostile control buffers.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, is_cloexec, read, set_blocking};
use ossature_sys::pipe;
use ossature_sys::signal::Pid;
use ossature_sys::socket::{
    self, Address, ControlMessages, Credentials, Family, Kind, Received, Shutdown, Socket, UnixAddress,
};

use crate::interrupt::keeps_its_deadline;
use crate::support::soon;

const KINDS: [Kind; 3] = [Kind::Stream, Kind::Datagram, Kind::SeqPacket];
const SPAN: Duration = Duration::from_millis(20);

/// An abstract name that no other test and no other run uses.
fn name() -> Address {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("ossature-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
    UnixAddress::abstract_name(name.as_bytes()).unwrap().into()
}

fn listener(address: &Address, backlog: u32) -> Socket {
    let family = match address {
        Address::Ip(SocketAddr::V4(_)) => Family::V4,
        Address::Ip(SocketAddr::V6(_)) => Family::V6,
        _ => Family::Unix,
    };
    let socket = Socket::new(family, Kind::Stream).unwrap();
    socket.bind(address).unwrap();
    socket.listen(backlog).unwrap();
    socket
}

fn ip(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

fn me() -> Credentials {
    // SAFETY: getuid takes nothing and cannot fail.
    let uid = unsafe { libc::getuid() };
    // SAFETY: getgid takes nothing and cannot fail.
    let gid = unsafe { libc::getgid() };
    Credentials { pid: Pid::from_raw(std::process::id() as i32), uid, gid }
}

/// Fills the buffer to the peer until no more data fits.
fn fill(socket: &Socket) {
    while socket.send(&[0; 4096], Deadline::NOW).unwrap().is_some() {}
}

// ---- addresses ----------------------------------------------------------------------------------------------------

#[test]
fn unix_addresses_say_what_they_are() {
    let path = UnixAddress::path(b"/tmp/x").unwrap();
    assert_eq!((path.as_path(), path.as_abstract()), (Some(&b"/tmp/x"[..]), None));
    let hidden = UnixAddress::abstract_name(b"a\0b").unwrap();
    assert_eq!((hidden.as_path(), hidden.as_abstract()), (None, Some(&b"a\0b"[..])));
    assert!(UnixAddress::UNNAMED.is_unnamed());
    assert!(!UnixAddress::abstract_name(b"").unwrap().is_unnamed());
    assert_eq!(format!("{path:?} {hidden:?}"), r#""/tmp/x" abstract "a\x00b""#);
}

#[test]
fn unix_addresses_that_do_not_fit_are_errors() {
    assert!(UnixAddress::path(&[b'x'; 107]).is_ok());
    assert_eq!(UnixAddress::path(&[b'x'; 108]), Err(Errno::NAMETOOLONG));
    assert_eq!(UnixAddress::path(&[b'x'; 5000]), Err(Errno::NAMETOOLONG));
    assert_eq!(UnixAddress::path(b""), Err(Errno::INVAL));
    assert_eq!(UnixAddress::path(b"a\0b"), Err(Errno::INVAL));
    assert!(UnixAddress::abstract_name(&[0; 107]).is_ok());
    assert_eq!(UnixAddress::abstract_name(&[0; 108]), Err(Errno::NAMETOOLONG));
}

#[test]
fn bound_addresses_come_back_as_they_were() {
    for address in [name(), UnixAddress::abstract_name(&[7; 107]).unwrap().into()] {
        let socket = Socket::new(Family::Unix, Kind::Stream).unwrap();
        socket.bind(&address).unwrap();
        assert_eq!(socket.local_address(), Ok(address));
    }
    for (family, text) in [(Family::V4, "127.0.0.1:0"), (Family::V6, "[::1]:0")] {
        let Ok(socket) = Socket::new(family, Kind::Datagram) else { continue };
        match socket.bind(&ip(text)) {
            Ok(()) => {}
            // A machine without version 6.
            Err(Errno::ADDRNOTAVAIL) if family == Family::V6 => continue,
            Err(errno) => panic!("{text}: {errno:?}"),
        }
        let Ok(Address::Ip(bound)) = socket.local_address() else { panic!("{text}") };
        assert_eq!(bound.ip(), text.parse::<SocketAddr>().unwrap().ip());
        assert_ne!(bound.port(), 0);
    }
}

#[test]
fn longest_path_of_a_hostile_peer_is_told() {
    // 108 bytes without a zero at the end, which the kernel accepts and answers with one byte more than it has.
    let mut path = std::env::temp_dir().as_os_str().as_bytes().to_vec();
    path.extend(format!("/ossature-{}-", std::process::id()).bytes());
    path.resize(108, b'p');
    // SAFETY: all zeros are a valid sockaddr_un.
    let mut un: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    un.sun_family = libc::AF_UNIX as _;
    for (to, from) in un.sun_path.iter_mut().zip(&path) {
        *to = *from as _;
    }
    let socket = Socket::new(Family::Unix, Kind::Stream).unwrap();
    let place = (&raw const un).cast();
    // SAFETY: the address is whole and outlives the call.
    let bound = unsafe { libc::bind(socket.as_fd().as_raw_fd(), place, size_of_val(&un) as _) };
    assert_eq!(bound, 0);
    let told = socket.local_address();
    std::fs::remove_file(std::path::Path::new(std::ffi::OsStr::from_bytes(&path))).unwrap();
    let Ok(Address::Unix(told)) = told else { panic!("{told:?}") };
    assert_eq!(told.as_path(), Some(&path[..]));
}

#[test]
fn address_bytes_that_are_cut_short_are_another_family() {
    for bytes in [&[][..], &[1], &[2, 0, 1], &[10, 0, 1, 2, 3]] {
        assert!(matches!(Address::from_bytes(bytes), Address::Other(_)), "{bytes:?}");
    }
    let unix = (libc::AF_UNIX as u16).to_ne_bytes();
    let long = [&unix[..], &[b'x'; 200]].concat();
    assert_eq!(Address::from_bytes(&long), Address::Other(libc::AF_UNIX as u16));
    assert_eq!(Address::from_bytes(&unix), Address::Unix(UnixAddress::UNNAMED));
}

#[test]
fn address_of_another_family_is_an_error() {
    let socket = Socket::new(Family::Unix, Kind::Stream).unwrap();
    assert_eq!(socket.bind(&ip("127.0.0.1:0")), Err(Errno::INVAL));
    assert_eq!(socket.bind(&Address::Other(16)), Err(Errno::INVAL));
}

// ---- connections --------------------------------------------------------------------------------------------------

#[test]
fn pair_is_connected_and_closed_on_exec() {
    for kind in KINDS {
        let (one, other) = Socket::pair(kind).unwrap();
        assert!(is_cloexec(&one).unwrap() && is_cloexec(&other).unwrap());
        assert_eq!(one.send(b"to you", Deadline::NEVER), Ok(Some(6)), "{kind:?}");
        assert_eq!(other.recv(&mut [0; 9], Deadline::NEVER), Ok(Some(6)), "{kind:?}");
        assert_eq!(one.peer_credentials(), Ok(Some(me())));
    }
}

#[test]
fn connection_is_made_over_every_family() {
    for address in [name(), ip("127.0.0.1:0")] {
        let listener = listener(&address, 4);
        let address = listener.local_address().unwrap();
        let family = if matches!(address, Address::Ip(_)) { Family::V4 } else { Family::Unix };
        let client = Socket::new(family, Kind::Stream).unwrap();
        soon(|| {
            assert_eq!(client.connect(&address, Deadline::NEVER), Ok(true));
            let (server, peer) = listener.accept(Deadline::NEVER).unwrap().unwrap();
            assert!(is_cloexec(&server).unwrap());
            assert_eq!(Ok(peer), client.local_address());
            assert_eq!(client.peer_address(), Ok(address));
            server.send(b"welcome", Deadline::NEVER).unwrap();
            let mut buffer = [0; 16];
            assert_eq!(client.recv(&mut buffer, Deadline::NEVER), Ok(Some(7)));
            // The first call after an internet connection was made in the background is still told of it.
            let again = client.connect(&address, Deadline::NOW);
            assert!(matches!(again, Ok(true) | Err(Errno::ISCONN)), "{again:?}");
            assert_eq!(client.connect(&address, Deadline::NOW), Err(Errno::ISCONN));
        });
    }
}

#[test]
fn nobody_listening_is_an_error() {
    let unix = Socket::new(Family::Unix, Kind::Stream).unwrap();
    assert_eq!(soon(|| unix.connect(&name(), Deadline::NEVER)), Err(Errno::CONNREFUSED));
    let missing = UnixAddress::path(b"/ossature/is/not/here").unwrap();
    assert_eq!(unix.connect(&missing.into(), Deadline::NEVER), Err(Errno::NOENT));
    // A port that is bound and does not listen.
    let silent = Socket::new(Family::V4, Kind::Stream).unwrap();
    silent.bind(&ip("127.0.0.1:0")).unwrap();
    let tcp = Socket::new(Family::V4, Kind::Stream).unwrap();
    let address = silent.local_address().unwrap();
    assert_eq!(soon(|| tcp.connect(&address, Deadline::NEVER)), Err(Errno::CONNREFUSED));
}

/// A listener whose queue is full, and the connections that fill it.
fn full(address: &Address) -> (Socket, Vec<Socket>) {
    let listener = listener(address, 0);
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Family::Unix, Kind::Stream).unwrap();
        if !client.connect(address, Deadline::NOW).unwrap() {
            return (listener, waiting);
        }
        waiting.push(client);
    }
}

#[test]
fn full_listener_is_waited_for_until_the_deadline() {
    let address = name();
    let (_listener, _waiting) = full(&address);
    let client = Socket::new(Family::Unix, Kind::Stream).unwrap();
    let start = Instant::now();
    assert_eq!(soon(|| client.connect(&address, SPAN)), Ok(false));
    assert!(start.elapsed() >= SPAN);
    // The socket is as it was: not blocking, and without a send timeout.
    assert_eq!(client.recv(&mut [0; 1], Deadline::NOW), Err(Errno::INVAL));
    let start = Instant::now();
    assert_eq!(keeps_its_deadline(|span| client.connect(&address, span)), Ok(false));
    assert!(start.elapsed() >= SPAN);
}

#[test]
fn connecting_goes_on_when_the_listener_has_room() {
    let address = name();
    let (listener, _waiting) = full(&address);
    soon(|| {
        thread::scope(|scope| {
            let late = scope.spawn(|| {
                let client = Socket::new(Family::Unix, Kind::Stream).unwrap();
                client.connect(&address, Deadline::NEVER).map(|done| (done, client))
            });
            thread::sleep(Duration::from_millis(5));
            listener.accept(Deadline::NEVER).unwrap().unwrap();
            let (done, client) = late.join().unwrap().unwrap();
            assert!(done);
            // It does not block: there is nothing to read yet and the read says so.
            assert_eq!(read(&client, &mut [0; 1]), Err(Errno::AGAIN));
        });
    });
}

#[test]
fn accepting_ends_at_the_deadline_and_not_before() {
    let listener = listener(&name(), 1);
    assert!(soon(|| listener.accept(Deadline::NOW)).unwrap().is_none());
    assert!(keeps_its_deadline(|span| listener.accept(span)).unwrap().is_none());
}

#[test]
fn accepting_without_listening_is_an_error() {
    let socket = Socket::new(Family::Unix, Kind::Stream).unwrap();
    assert_eq!(socket.accept(Deadline::NEVER).map(drop), Err(Errno::INVAL));
    assert_eq!(Socket::new(Family::Unix, Kind::Datagram).unwrap().listen(1), Err(Errno::OPNOTSUPP));
}

#[test]
fn taken_port_is_free_again_with_reuse() {
    let first = Socket::new(Family::V4, Kind::Stream).unwrap();
    first.set_reuse_address().unwrap();
    first.bind(&ip("127.0.0.1:0")).unwrap();
    first.listen(1).unwrap();
    let address = first.local_address().unwrap();
    let second = Socket::new(Family::V4, Kind::Stream).unwrap();
    assert_eq!(second.bind(&address), Err(Errno::ADDRINUSE));
    // A connection whose accepted side closes first keeps the port in TIME_WAIT.
    let client = Socket::new(Family::V4, Kind::Stream).unwrap();
    soon(|| client.connect(&address, Deadline::NEVER)).unwrap();
    drop(soon(|| first.accept(Deadline::NEVER)).unwrap());
    assert_eq!(soon(|| client.recv(&mut [0; 1], Deadline::NEVER)), Ok(Some(0)));
    drop((client, first));
    second.set_reuse_address().unwrap();
    second.bind(&address).unwrap();
    second.listen(1).unwrap();
}

// ---- transfers ----------------------------------------------------------------------------------------------------

#[test]
fn end_of_a_stream_is_zero_and_nothing_yet_is_none() {
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    assert_eq!(other.recv(&mut [0; 4], Deadline::NOW), Ok(None));
    one.shutdown(Shutdown::Write).unwrap();
    assert_eq!(other.recv(&mut [0; 4], Deadline::NEVER), Ok(Some(0)));
    assert_eq!(one.send(b"x", Deadline::NOW), Err(Errno::PIPE), "and no SIGPIPE");
    assert_eq!(other.send(b"back", Deadline::NOW), Ok(Some(4)), "the other way is open");
}

#[test]
fn sending_to_nobody_is_an_error_and_no_signal() {
    for kind in [Kind::Stream, Kind::SeqPacket] {
        let (one, other) = Socket::pair(kind).unwrap();
        drop(other);
        assert_eq!(one.send(b"x", Deadline::NEVER), Err(Errno::PIPE));
        assert_eq!(one.send_with(b"x", &[one.as_fd()], Deadline::NEVER), Err(Errno::PIPE));
    }
}

#[test]
fn full_way_is_waited_for_until_the_deadline() {
    let (one, _other) = Socket::pair(Kind::Stream).unwrap();
    fill(&one);
    assert_eq!(keeps_its_deadline(|span| one.send(b"x", span)), Ok(None));
    assert_eq!(keeps_its_deadline(|span| one.send_with(b"x", &[], span)), Ok(None));
}

#[test]
fn sender_is_woken_when_there_is_room() {
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    fill(&one);
    soon(|| {
        thread::scope(|scope| {
            let sender = scope.spawn(|| one.send(b"last", Deadline::NEVER));
            let mut buffer = vec![0; 1 << 16];
            while !sender.is_finished() {
                other.recv(&mut buffer, Deadline::NOW).unwrap();
            }
            assert_eq!(sender.join().unwrap(), Ok(Some(4)));
        });
    });
}

#[test]
fn receiving_ends_at_the_deadline_and_not_before() {
    let (one, _other) = Socket::pair(Kind::SeqPacket).unwrap();
    assert_eq!(keeps_its_deadline(|span| one.recv(&mut [0; 1], span)), Ok(None));
    assert!(keeps_its_deadline(|span| one.recv_with::<1>(&mut [0; 1], span)).unwrap().is_none());
    assert!(soon(|| one.recv_with::<1>(&mut [0; 1], Deadline::NOW)).unwrap().is_none());
}

#[test]
fn peeked_bytes_stay() {
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    one.send(b"stay", Deadline::NEVER).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(other.peek(&mut buffer, Deadline::NEVER), Ok(Some(4)));
    assert_eq!(other.recv(&mut buffer, Deadline::NEVER), Ok(Some(4)));
    assert_eq!(other.peek(&mut buffer, Deadline::NOW), Ok(None));
}

#[test]
fn datagrams_tell_where_they_came_from() {
    let (here, there) = (name(), name());
    let receiver = Socket::new(Family::Unix, Kind::Datagram).unwrap();
    receiver.bind(&here).unwrap();
    let sender = Socket::new(Family::Unix, Kind::Datagram).unwrap();
    sender.bind(&there).unwrap();
    assert_eq!(sender.send_to(b"letter", &here, Deadline::NEVER), Ok(Some(6)));
    let mut buffer = [0; 16];
    assert_eq!(soon(|| receiver.recv_from(&mut buffer, Deadline::NEVER)), Ok(Some((6, there))));
    assert_eq!(receiver.recv_from(&mut buffer, Deadline::NOW), Ok(None));
    assert_eq!(sender.send_to(b"x", &name(), Deadline::NOW), Err(Errno::CONNREFUSED));
}

#[test]
fn socket_from_elsewhere_is_made_nonblocking() {
    let (one, _other) = Socket::pair(Kind::Stream).unwrap();
    set_blocking(&one).unwrap();
    let one = Socket::try_from(OwnedFd::from(one)).unwrap();
    assert_eq!(soon(|| read(&one, &mut [0; 1])), Err(Errno::AGAIN));
}

#[test]
fn socket_from_elsewhere_says_what_it_is_and_stays_as_it_was() {
    let listener = listener(&name(), 1);
    set_blocking(&listener).unwrap();
    assert_eq!(socket::is_listening(&listener), Ok(true));
    assert_eq!(socket::kind_of(&listener), Ok(Some(Kind::Stream)));
    assert_eq!(socket::address_of(&listener), listener.local_address());
    assert!(!rustix::fs::fcntl_getfl(&listener).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    for kind in [Kind::Stream, Kind::Datagram, Kind::SeqPacket] {
        let (one, _other) = Socket::pair(kind).unwrap();
        assert_eq!((socket::kind_of(&one), socket::is_listening(&one)), (Ok(Some(kind)), Ok(false)));
    }
    let (reader, _writer) = pipe::pipe(pipe::Flags::empty()).unwrap();
    assert_eq!(socket::kind_of(&reader), Err(Errno::NOTSOCK));
    assert_eq!(socket::is_listening(&reader), Err(Errno::NOTSOCK));
    assert_eq!(socket::address_of(&reader), Err(Errno::NOTSOCK));
}

// ---- descriptors and credentials ----------------------------------------------------------------------------------

/// A pipe whose reader sees the end of file once no descriptor for the writer is left anywhere.
struct Witness {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Witness {
    fn new() -> Self {
        let (reader, writer) = pipe::pipe(pipe::Flags::NONBLOCK).unwrap();
        Self { reader, writer }
    }

    /// Drops its own writer. Returns whether that was the last.
    fn was_the_last(self) -> bool {
        drop(self.writer);
        read(&self.reader, &mut [0; 1]) == Ok(0)
    }
}

fn get<const N: usize>(socket: &Socket) -> Received<N> {
    soon(|| socket.recv_with::<N>(&mut [0; 64], Deadline::NEVER)).unwrap().unwrap()
}

#[test]
fn descriptor_arrives_as_an_own_one_for_the_same_file() {
    for kind in KINDS {
        let (one, other) = Socket::pair(kind).unwrap();
        let mut file = tempfile();
        file.write_all(b"content").unwrap();
        assert_eq!(one.send_with(b"take", &[file.as_fd()], Deadline::NEVER), Ok(Some(4)));
        let got = get::<2>(&other);
        assert_eq!((got.len, got.descriptors.len(), got.descriptors_lost, got.truncated), (4, 1, false, false));
        let descriptor = got.descriptors.into_iter().next().unwrap();
        assert!(is_cloexec(&descriptor).unwrap());
        assert_ne!(descriptor.as_raw_fd(), file.as_raw_fd());
        let mut arrived = File::from(descriptor);
        arrived.rewind().unwrap();
        let mut text = String::new();
        arrived.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
    }
}

/// Makes a file without a name.
fn tempfile() -> File {
    // SAFETY: the name is a C string; the flags are those of memfd_create.
    let fd = unsafe { libc::memfd_create(c"ossature".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: memfd_create just opened it and nobody else owns it.
    unsafe { <File as ossature_sys::fd::FromRawFd>::from_raw_fd(fd) }
}

#[test]
fn many_descriptors_come_in_order() {
    let (one, other) = Socket::pair(Kind::SeqPacket).unwrap();
    let events: Vec<_> = (1..=253).map(|start| EventFd::counter(start).unwrap()).collect();
    let borrowed: Vec<BorrowedFd<'_>> = events.iter().map(AsFd::as_fd).collect();
    assert_eq!(one.send_with(b"all", &borrowed, Deadline::NEVER), Ok(Some(3)));
    let got = get::<253>(&other);
    assert_eq!((got.descriptors.len(), got.descriptors_lost), (253, false));
    for (descriptor, start) in got.descriptors.into_iter().zip(1..) {
        assert_eq!(EventFd::try_from(descriptor).unwrap().try_take(), Ok(Some(start)));
    }
    let more: Vec<BorrowedFd<'_>> = borrowed.iter().copied().chain([one.as_fd()]).collect();
    assert_eq!(one.send_with(b"more", &more, Deadline::NEVER), Err(Errno::INVAL));
}

#[test]
fn more_descriptors_than_room_are_all_closed_and_that_is_told() {
    fn refused<const N: usize>(sent: usize) {
        let (one, other) = Socket::pair(Kind::Stream).unwrap();
        let witness = Witness::new();
        one.send_with(b"flood", &vec![witness.writer.as_fd(); sent], Deadline::NEVER).unwrap();
        let got = get::<N>(&other);
        assert_eq!((got.len, got.descriptors.len(), got.descriptors_lost), (5, 0, true), "{sent} into {N}");
        assert!(witness.was_the_last(), "{sent} into {N}");
        // The socket goes on.
        one.send(b"next", Deadline::NEVER).unwrap();
        assert!(!get::<N>(&other).descriptors_lost);
    }
    for sent in [1, 2, 3, 5, 8, 9, 253] {
        refused::<0>(sent);
    }
    for sent in [2, 3, 4, 9, 10, 11, 253] {
        refused::<1>(sent);
    }
    for sent in [5, 6, 12, 13, 253] {
        refused::<4>(sent);
    }
}

#[test]
fn descriptors_nobody_takes_are_closed() {
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    let witness = Witness::new();
    one.send_with(b"a", &[witness.writer.as_fd()], Deadline::NEVER).unwrap();
    drop(get::<3>(&other));
    one.send_with(b"b", &[witness.writer.as_fd()], Deadline::NEVER).unwrap();
    assert_eq!(soon(|| other.recv(&mut [0; 8], Deadline::NEVER)), Ok(Some(1)), "a plain receive");
    one.send_with(b"c", &[witness.writer.as_fd()], Deadline::NEVER).unwrap();
    drop((one, other));
    assert!(witness.was_the_last());
}

#[test]
fn descriptors_without_a_byte_are_an_error() {
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    assert_eq!(one.send_with(b"", &[one.as_fd()], Deadline::NEVER), Err(Errno::INVAL));
    assert!(other.recv_with::<1>(&mut [0; 4], Deadline::NOW).unwrap().is_none());
}

#[test]
fn cut_message_is_told_and_keeps_its_descriptors() {
    let (one, other) = Socket::pair(Kind::SeqPacket).unwrap();
    one.send_with(b"a long message", &[one.as_fd()], Deadline::NEVER).unwrap();
    let got = soon(|| other.recv_with::<1>(&mut [0; 6], Deadline::NEVER)).unwrap().unwrap();
    assert_eq!((got.len, got.truncated, got.descriptors.len()), (6, true, 1));
}

#[test]
fn sender_of_each_message_is_told_beside_its_descriptors() {
    let (one, other) = Socket::pair(Kind::Stream).unwrap();
    one.send(b"before", Deadline::NEVER).unwrap();
    assert_eq!(get::<1>(&other).credentials, None);
    other.set_pass_credentials().unwrap();
    one.send_with(b"x", &[one.as_fd(), other.as_fd()], Deadline::NEVER).unwrap();
    let got = get::<2>(&other);
    assert_eq!((got.credentials, got.descriptors.len(), got.descriptors_lost), (Some(me()), 2, false));
    one.send_with(b"x", &[one.as_fd(), other.as_fd()], Deadline::NEVER).unwrap();
    let got = get::<1>(&other);
    assert_eq!((got.credentials, got.descriptors.len(), got.descriptors_lost), (Some(me()), 0, true));
}

#[test]
fn unconnected_socket_has_no_peer() {
    let socket = Socket::new(Family::Unix, Kind::Stream).unwrap();
    assert_eq!(socket.peer_credentials(), Ok(None));
    assert_eq!(socket.peer_address(), Err(Errno::NOTCONN));
    let socket = Socket::new(Family::V4, Kind::Stream).unwrap();
    assert_eq!(socket.peer_credentials(), Ok(None));
    assert_eq!(socket.shutdown(Shutdown::Both), Err(Errno::NOTCONN));
}

// ---- hostile control buffers --------------------------------------------------------------------------------------

/// A control message in the kernel's layout, whose length field says `claimed` bytes.
fn control(claimed: usize, level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = claimed.to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
    bytes
}

const HEADER: usize = size_of::<usize>() + 8;

#[test]
fn control_messages_follow_each_other_aligned() {
    let bytes = [control(HEADER + 5, 1, 2, b"abcde"), control(HEADER, 3, 4, b"")].concat();
    let seen: Vec<_> = ControlMessages::new(&bytes).collect();
    assert_eq!((seen[0].level, seen[0].kind, seen[0].data), (1, 2, &b"abcde"[..]));
    assert_eq!((seen[1].level, seen[1].kind, seen[1].data), (3, 4, &b""[..]));
    assert_eq!(seen.len(), 2);
}

#[test]
fn last_control_message_may_do_without_its_padding() {
    let bytes = control(HEADER + 1, 1, 2, b"a");
    assert_eq!(ControlMessages::new(&bytes[..HEADER + 1]).next().unwrap().data, b"a");
    for len in 0..=HEADER {
        assert_eq!(ControlMessages::new(&bytes[..len]).count(), 0, "{len} bytes");
    }
}

#[test]
fn claimed_lengths_are_not_believed() {
    for claimed in [0, 1, HEADER - 1, HEADER + 9, 1 << 30, usize::MAX, usize::MAX - 7] {
        assert_eq!(ControlMessages::new(&control(claimed, 1, 1, b"12345678")).count(), 0, "{claimed}");
    }
}
