//! Listening, and the files that it leaves.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, Family, Listener, connect};
use ossature::sys::errno::Errno;

use super::{fresh, in_no_file_system};
use crate::support::soon;

fn path(address: &Address) -> PathBuf {
    let Address::Unix(path) = address else { panic!("{address}") };
    path.clone()
}

// _TestListener.test_multiple_bind
#[test]
fn an_address_in_use_is_an_error() {
    for address in [fresh(), ("localhost", 0).into(), in_no_file_system("in-use")] {
        let listener = Listener::bind(&address).unwrap();
        let error = Listener::bind(listener.address()).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::ADDRINUSE)), "{address}");
        assert!(error.to_string().contains(&listener.address().to_string()), "{error}");
    }
}

// _TestListener.test_abstract_socket, and that names are numbers afterwards.
#[test]
fn the_address_is_the_one_that_others_can_use() {
    let listener = Listener::bind(("localhost", 0)).unwrap();
    let Address::Inet(host, port) = listener.address() else { panic!("{listener:?}") };
    assert_eq!(host, "127.0.0.1");
    assert_ne!(*port, 0);
    connect(listener.address()).unwrap();
    let listener = Listener::bind(("", 0)).unwrap();
    let Address::Inet(host, port) = listener.address() else { panic!("{listener:?}") };
    assert_eq!(host, "0.0.0.0", "no host is every interface");
    connect(("", *port)).unwrap();
    let named = in_no_file_system("named");
    let Address::Abstract(name) = &named else { panic!("{named}") };
    let with_zero = [b"\0", &name[..]].concat();
    let listener = Listener::bind(&with_zero[..]).unwrap();
    assert_eq!(listener.address(), &named);
    connect(String::from_utf8(with_zero).unwrap()).unwrap();
}

#[test]
fn ipv6_can_be_asked_for() {
    match Listener::bind(Address::arbitrary(Family::Inet6).unwrap()) {
        Ok(listener) => {
            let Address::Inet6(host, port) = listener.address() else { panic!("{listener:?}") };
            assert_eq!((host.as_str(), *port != 0), ("::1", true));
            let client = connect(listener.address()).unwrap();
            listener.accept().unwrap().send_bytes(b"six").unwrap();
            assert_eq!(client.recv_bytes().unwrap(), b"six");
        }
        // A machine without IPv6 says so.
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Os | ErrorKind::InvalidInput), "{error}"),
    }
}

// _TestListener.test_context
#[test]
fn the_file_of_a_path_lives_as_long_as_its_listener() {
    let listener = Listener::bind(fresh()).unwrap();
    let path = path(listener.address());
    let meta = path.symlink_metadata().unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    listener.close();
    assert!(!path.exists());
    let error = connect(path.as_path()).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT));
}

#[test]
fn somebody_elses_file_at_the_path_stays() {
    let listener = Listener::bind(fresh()).unwrap();
    let path = path(listener.address());
    std::fs::remove_file(&path).unwrap();
    let other = Listener::bind(path.as_path()).unwrap();
    drop(listener);
    assert!(path.exists(), "it is the other listener's");
    drop(other);
    assert!(!path.exists());
}

#[test]
fn no_listener_at_an_address_that_is_none() {
    for (address, errno) in [
        (Address::Unix("/no/such/directory/x".into()), Some(Errno::NOENT)),
        (Address::Unix("/dev/null/x".into()), Some(Errno::NOTDIR)),
        (Address::Unix("x".repeat(108).into()), None),
        (Address::Unix("".into()), None),
        (Address::Abstract(vec![b'x'; 108]), None),
    ] {
        let error = Listener::bind(&address).unwrap_err();
        assert_eq!(error.errno(), errno, "{address}: {error}");
        assert!(error.to_string().len() < 200, "{error}");
        assert_eq!(error.kind(), if errno.is_some() { ErrorKind::Os } else { ErrorKind::InvalidInput });
    }
    assert_eq!(Listener::bind("").unwrap_err().kind(), ErrorKind::InvalidInput);
    let error = Listener::bind((String::from("no.such.host.invalid"), 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Os, "{error}");
    let error = Listener::bind((String::from("::1"), 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(Listener::bind("\0").is_ok(), "an abstract name may be empty");
}

#[test]
fn an_address_that_is_none_is_told_why() {
    let texts = [
        (Address::Unix("/tmp/a\0b".into()), "\"/tmp/a\\x00b\": a path cannot contain a zero byte", ", byte 6"),
        (
            Address::Unix("x".repeat(108).into()),
            "108 bytes, and the path of a socket has at most 107",
            "working directory",
        ),
        (Address::Unix("".into()), "an address is empty", "Address::arbitrary"),
        (Address::Abstract(vec![0xff; 108]), "108 bytes, and the abstract name has at most 107", "...\""),
    ];
    for (address, what, more) in texts {
        let text = Listener::bind(&address).unwrap_err().to_string();
        assert!(text.contains(what) && text.contains(more), "{text}");
        assert_eq!(connect(&address).unwrap_err().to_string(), text);
    }
    assert!(Address::try_from("a\0b").unwrap_err().to_string().contains("zero byte"));
    assert!(Address::try_from("").unwrap_err().to_string().contains("is empty"));
}

#[test]
fn a_file_that_is_in_the_way_stays_unless_it_is_a_dead_socket() {
    use ossature::sys::socket::{Family as SocketFamily, Kind, Socket, UnixAddress};
    let path = path(&fresh());
    let address = UnixAddress::path(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())).unwrap().into();
    let refused = |why: &str| {
        let error = Listener::bind(path.as_path()).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::ADDRINUSE)));
        assert!(error.to_string().contains(why), "{error}");
        assert!(path.symlink_metadata().is_ok(), "it stays");
    };
    std::fs::write(&path, b"precious").unwrap();
    refused("not a socket");
    std::fs::remove_file(&path).unwrap();
    let target = path.with_extension("target");
    std::os::unix::fs::symlink(&target, &path).unwrap();
    refused("not a socket");
    std::fs::remove_file(&path).unwrap();
    for kind in [Kind::Stream, Kind::Datagram, Kind::SeqPacket] {
        let bound = Socket::new(SocketFamily::Unix, kind).unwrap();
        bound.bind(&address).unwrap();
        refused("a process uses this path"); // though nobody listens yet
        if kind != Kind::Datagram {
            bound.listen(1).unwrap();
            refused("a process uses this path");
        }
        drop(bound);
        let listener = soon(|| bind_when_dead(&path));
        assert!(listener.removed_stale_file());
        let client = connect(path.as_path()).unwrap();
        listener.accept().unwrap().send_bytes(b"new").unwrap();
        assert_eq!(client.recv_bytes().unwrap(), b"new");
        assert!(Listener::bind(path.as_path()).is_err(), "nor is it pushed aside itself");
        drop(listener);
        assert!(!path.exists());
    }
    assert!(!Listener::bind(path.as_path()).unwrap().removed_stale_file(), "there was none");
}

/// Another program's bind makes the file a moment before the file names a socket.
#[test]
fn a_file_that_was_made_just_now_is_not_dead_yet() {
    let path = path(&fresh());
    // The clock of the file system may be a tick of 10 ms behind.
    let made = std::time::Instant::now();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(soon(|| bind_when_dead(&path)).removed_stale_file());
    assert!(made.elapsed() >= Duration::from_millis(85), "{:?}", made.elapsed());
}

/// The connection that the server closed first keeps the port in use for a minute.
#[test]
fn a_port_can_be_bound_again_at_once() {
    let listener = Listener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.address().clone();
    let client = connect(&address).unwrap();
    drop(listener.accept().unwrap());
    assert_eq!(client.recv_bytes().unwrap_err().kind(), ErrorKind::Closed);
    drop((client, listener));
    // A process that another test starts just now has copies until it executes its program.
    soon(|| while Listener::bind(&address).is_err() {});
}

#[test]
fn where_another_holds_the_lock_of_a_path_for_long_no_file_is_removed() {
    let path = path(&fresh());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let lock_file = path.with_file_name(format!(".{}.bind-lock", path.file_name().unwrap().to_str().unwrap()));
    let name = std::ffi::CString::new(lock_file.to_str().unwrap()).unwrap();
    let held = ossature::sys::flock::FileLock::try_create(&name).unwrap().unwrap();
    soon(|| while !Listener::bind(path.as_path()).unwrap_err().to_string().contains("no lock file can be locked") {});
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    let free = Listener::bind(path.as_path()).unwrap();
    assert!(!free.removed_stale_file(), "a path that is free needs no lock");
    drop((free, held));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(soon(|| bind_when_dead(&path)).removed_stale_file());
    assert!(!lock_file.exists(), "nothing is left of it");
}

/// A process that another test is just starting has a copy of every socket until it executes its program.
fn bind_when_dead(path: &std::path::Path) -> Listener {
    loop {
        match Listener::bind(path) {
            Ok(listener) => return listener,
            Err(error) => assert!(error.to_string().contains("a process uses this path"), "{error}"),
        }
    }
}

// _TestListenerClient.test_issue16955
#[test]
fn a_listener_can_be_waited_for() {
    let listener = Listener::bind(fresh()).unwrap();
    let wait = |timeout| ossature::multiprocessing::connection::wait(&[&listener], timeout).unwrap();
    assert!(wait(Duration::ZERO).is_empty());
    let client = connect(listener.address()).unwrap();
    assert_eq!(soon(|| wait(Duration::from_secs(60))), [0]);
    let server = listener.accept().unwrap();
    client.send_bytes(b"hello").unwrap();
    assert!(server.poll(Duration::from_secs(60)).unwrap());
}
