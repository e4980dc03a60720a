//! Addresses against Python's rules for them, and against the kernel, which has to give a name back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, Family, Listener, connect};

fuzz_target!(|input: (&str, &[u8])| {
    let (text, bytes) = input;
    match Address::try_from(text) {
        Ok(Address::Abstract(name)) => assert_eq!([b"\0", &name[..]].concat(), text.as_bytes()),
        Ok(Address::Unix(path)) => {
            assert!(path.as_os_str() == text && !text.is_empty() && !text.contains('\0') && !text.starts_with(r"\\"));
        }
        Ok(other) => panic!("{text:?} is no {other}"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(text.is_empty() || text.starts_with(r"\\") || text.contains('\0') && !text.starts_with('\0'));
        }
    }
    assert_eq!(Address::try_from(bytes).is_ok(), bytes.first() == Some(&0));

    let address = Address::Abstract(bytes.to_vec());
    assert_eq!(address.family(), Family::Unix);
    match Listener::bind(&address) {
        Ok(listener) => {
            // An empty name is one that the kernel may choose.
            assert!(bytes.len() <= 107 && (listener.address() == &address || bytes.is_empty()));
            connect(listener.address()).expect("somebody listens");
            listener.accept().expect("somebody came");
        }
        Err(error) => assert!(bytes.len() > 107 && error.kind() == ErrorKind::InvalidInput, "{error}"),
    }
});
