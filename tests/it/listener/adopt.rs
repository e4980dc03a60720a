//! Listeners made from sockets that already listen.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, Listener, connect};
use ossature::sys::fd::{clear_cloexec, is_cloexec};
use ossature::sys::socket::{Family, Kind, Socket};

use super::{client, fresh, in_no_file_system, keyed};
use crate::support::soon;

fn copy(fd: &impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

fn blocks(fd: &impl AsFd) -> bool {
    // SAFETY: F_GETFL takes no pointer.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK == 0 }
}

#[test]
fn what_listens_is_a_listener_at_its_own_address() {
    soon(|| {
        for address in [fresh(), ("localhost", 0).into(), in_no_file_system("adopted")] {
            let first = Listener::bind(&address).unwrap();
            let second = keyed().adopt(copy(&first)).unwrap();
            assert_eq!(second.address(), first.address());
            drop(first); // the socket lives, though the path does not
            if !matches!(address, Address::Unix(_)) {
                let client = client(second.address());
                second.accept().unwrap().send_bytes(b"hello").unwrap();
                assert_eq!(client.join().unwrap().unwrap().recv_bytes().unwrap(), b"hello");
            }
        }
    });
}

#[test]
fn the_path_of_an_adopted_socket_stays() {
    let address = fresh();
    let Address::Unix(path) = &address else { panic!("{address}") };
    let listener = Listener::builder().adopt(UnixListener::bind(path).unwrap().into()).unwrap();
    assert_eq!(listener.address(), &address);
    let client = connect(listener.address()).unwrap();
    listener.accept().unwrap().send_bytes(b"hello").unwrap();
    assert_eq!(client.recv_bytes().unwrap(), b"hello");
    drop(listener);
    assert!(path.exists());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn who_shares_a_socket_waits_on_when_another_gets_the_client() {
    soon(|| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        clear_cloexec(&socket).unwrap();
        let inherited = copy(&socket);
        clear_cloexec(&inherited).unwrap();
        let listener = Listener::builder().adopt(inherited).unwrap();
        assert!(is_cloexec(&listener).unwrap() && !blocks(&socket));
        let _client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        socket.accept().unwrap();
        assert!(listener.accept_timeout(Duration::from_millis(5)).unwrap().is_none());
    });
}

#[test]
fn what_does_not_listen_is_refused_and_left_as_it_was() {
    let reader = ossature::sys::pipe::pipe(ossature::sys::pipe::Flags::empty()).unwrap().0;
    let messages = Socket::new(Family::Unix, Kind::SeqPacket).unwrap();
    messages.bind(&ossature::sys::socket::UnixAddress::UNNAMED.into()).unwrap();
    messages.listen(1).unwrap();
    let (connected, _other) = UnixStream::pair().unwrap();
    let refused: [(OwnedFd, &str); 4] = [
        (reader, "not a socket"),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "not a stream"),
        (messages.into(), "not a stream"),
        (connected.into(), "does not listen"),
    ];
    for (fd, why) in refused {
        let (kept, mode) = (copy(&fd), blocks(&fd));
        let error = Listener::builder().adopt(fd).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(blocks(&kept), mode);
    }
}
