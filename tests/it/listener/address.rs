//! Valid and invalid addresses.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::connection::{Address, Family};

#[test]
fn the_family_is_inferred_from_the_shape() {
    let path = |text: &str| Address::Unix(text.into());
    assert_eq!(Address::from(("localhost", 80)), Address::Inet("localhost".into(), 80));
    assert_eq!(Address::from((String::from("::1"), 80)).family(), Family::Inet, "a pair is IPv4's, as in Python");
    assert_eq!(Address::from("127.0.0.1:9".parse::<std::net::SocketAddr>().unwrap()), ("127.0.0.1", 9).into());
    assert_eq!(Address::from("[::1]:9".parse::<std::net::SocketAddr>().unwrap()).family(), Family::Inet6);
    assert_eq!(Address::try_from("/run/x").unwrap(), path("/run/x"));
    assert_eq!(Address::try_from("localhost:80").unwrap(), path("localhost:80"), "a text is a path");
    assert_eq!(Address::from(Path::new("x")), Address::from(PathBuf::from("x")));
    assert_eq!(Address::try_from("\0x\0y").unwrap(), Address::Abstract(b"x\0y".into()));
    assert_eq!(Address::try_from(b"\0\xff").unwrap(), Address::Abstract(vec![0xff]));
    assert_eq!(Address::try_from("\0").unwrap().family(), Family::Unix);
    assert_eq!(Family::default(), Family::Unix);
}

#[test]
fn what_is_no_address_here_is_invalid_input() {
    for text in ["", r"\\.\pipe\x", r"\\", "a\0b"] {
        let error = Address::try_from(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
    }
    let message = Address::try_from(r"\\.\pipe\x").unwrap_err().to_string();
    assert!(message.contains("AF_PIPE is not recognized"), "{message}");
    for bytes in [&b""[..], b"/run/x"] {
        assert_eq!(Address::try_from(bytes).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn arbitrary_paths_are_new_and_in_a_private_directory() {
    let (one, other) = (Address::arbitrary(Family::Unix).unwrap(), Address::arbitrary(Family::Unix).unwrap());
    assert_ne!(one, other);
    for address in [one, other] {
        let Address::Unix(path) = address else { panic!("{address}") };
        let directory = path.parent().unwrap();
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!path.exists());
        let names: Vec<_> = [directory, &path].iter().map(|it| it.file_name().unwrap().to_str().unwrap()).collect();
        assert!(names[0].starts_with("pymp-") && names[1].starts_with("listener-"), "{names:?}");
    }
    assert_eq!(Address::arbitrary(Family::Inet).unwrap(), ("localhost", 0).into());
    assert_eq!(Address::arbitrary(Family::Inet6).unwrap(), Address::Inet6("localhost".into(), 0));
}

#[test]
fn pickles_have_an_address_as_python_writes_it() {
    let there_and_back = |address: &Address| Value::try_from(address).map(|value| Address::try_from(&value).unwrap());
    for address in [("127.0.0.1", 80).into(), Address::Unix("/run/x".into()), Address::Abstract(b"x".into())] {
        assert_eq!(there_and_back(&address).unwrap(), address);
    }
    assert_eq!(Value::try_from(&Address::from(("h", 1))).unwrap(), Value::Tuple(vec!["h".into(), 1.into()]));
    assert_eq!(Value::try_from(&Address::Unix("/run/x".into())).unwrap(), Value::from("/run/x"));
    assert_eq!(Value::try_from(&Address::Abstract(b"x".into())).unwrap(), Value::from("\0x"));
    assert_eq!(Value::try_from(&Address::Abstract(vec![0xff])).unwrap(), Value::Bytes(vec![0, 0xff]));
    let no_text = Path::new(std::ffi::OsStr::from_bytes(b"/run/\xff"));
    for none in [Address::Inet6("::1".into(), 1), no_text.into()] {
        assert_eq!(Value::try_from(&none).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    for none in [
        Value::None,
        Value::from(("h", 65536)),
        Value::from(("h", -1)),
        Value::from((1, "h")),
        Value::from(("h", 1, 2)),
        Value::from(vec![Value::from("h"), 1.into()]),
        Value::Bytes(b"/run/x".into()),
        Value::from(r"\\.\pipe\x"),
    ] {
        assert_eq!(Address::try_from(&none).unwrap_err().kind(), ErrorKind::InvalidInput, "{none:?}");
    }
}
