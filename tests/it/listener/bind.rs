//! Listening, and what is left of it.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, Client, Family, Listener};
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
    Client::connect(listener.address()).unwrap();
    let listener = Listener::bind(("", 0)).unwrap();
    let Address::Inet(host, port) = listener.address() else { panic!("{listener:?}") };
    assert_eq!(host, "0.0.0.0", "no host is every interface");
    Client::connect(("", *port)).unwrap();
    let named = in_no_file_system("named");
    let Address::Abstract(name) = &named else { panic!("{named}") };
    let with_zero = [b"\0", &name[..]].concat();
    let listener = Listener::bind(&with_zero[..]).unwrap();
    assert_eq!(listener.address(), &named);
    Client::connect(String::from_utf8(with_zero).unwrap()).unwrap();
}

#[test]
fn ipv6_can_be_asked_for() {
    match Listener::bind(Address::arbitrary(Family::Inet6).unwrap()) {
        Ok(listener) => {
            let Address::Inet6(host, port) = listener.address() else { panic!("{listener:?}") };
            assert_eq!((host.as_str(), *port != 0), ("::1", true));
            let client = Client::connect(listener.address()).unwrap();
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
    let error = Client::connect(path.as_path()).unwrap_err();
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
        assert_eq!(error.kind(), if errno.is_some() { ErrorKind::Os } else { ErrorKind::InvalidInput });
    }
    assert_eq!(Listener::bind("").unwrap_err().kind(), ErrorKind::InvalidInput);
    let error = Listener::bind((String::from("no.such.host.invalid"), 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Os, "{error}");
    let error = Listener::bind((String::from("::1"), 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(Listener::bind("\0").is_ok(), "an abstract name may be empty");
}

// _TestListenerClient.test_issue16955
#[test]
fn a_listener_can_be_waited_for() {
    let listener = Listener::bind(fresh()).unwrap();
    let wait = |timeout| ossature::multiprocessing::connection::wait(&[&listener], timeout).unwrap();
    assert!(wait(Duration::ZERO).is_empty());
    let client = Client::connect(listener.address()).unwrap();
    assert_eq!(soon(|| wait(Duration::from_secs(60))), [0]);
    let server = listener.accept().unwrap();
    client.send_bytes(b"hello").unwrap();
    assert!(server.poll(Duration::from_secs(60)).unwrap());
}
