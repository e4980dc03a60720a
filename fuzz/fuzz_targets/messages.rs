//! Messages with wrong lengths and counts. Any bytes are a value or an error, within the bounds of depth and memory.
//! The connection goes on, and a value stays the same after writing and reading.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use ossature::multiprocessing::connection::{Access, Connection};
use ossature_sys::deadline::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[path = "counted.rs"]
mod counted;

/// A value of which every kind can contain every other kind.
#[derive(Serialize, Deserialize)]
enum Any {
    None,
    Number(i128),
    Text(String, char),
    Boxed(Box<Any>),
    Wide { wide: Option<Box<Wide>>, rest: Option<Box<Any>> },
    List(Vec<Any>),
    Map(BTreeMap<u8, Any>),
    Units(Vec<()>),
}

type Wide = (Option<[u64; 32]>, f32);

/// What collections may reserve beyond their items, what a sequence may ask for before it is refused, and the text of
/// an error.
fn most(bound: usize, length: usize) -> usize {
    4 * bound + 4 * length + (1 << 20) + 4096
}

fn check<T: Serialize + DeserializeOwned>(bytes: &[u8], bound: usize, depth: u8, ordered: bool) {
    let (mut peer, near) = UnixStream::pair().expect("a pair");
    let near = Connection::from_fd(near.into(), Access::Both).expect("a socket");
    near.set_max_depth(depth.into());
    near.set_max_decoded(bound);
    let mut send = |bytes: &[u8]| {
        peer.write_all(&(bytes.len() as u32).to_be_bytes()).expect("room");
        peer.write_all(bytes).expect("room");
    };
    send(bytes);
    let (value, peak) = counted::measured(|| near.recv_timeout::<T>(Deadline::NOW));
    assert!(peak <= most(bound, bytes.len()), "{peak} bytes for a bound of {bound}");
    if let Ok(Some(value)) = value {
        let (far, again) = UnixStream::pair().expect("a pair");
        let [far, again] = [far, again].map(|end| Connection::from_fd(end.into(), Access::Both).expect("a socket"));
        let _ = far.send_timeout(&value, Deadline::NOW).expect("what was read can be written");
        let written = again.recv_bytes_timeout(Deadline::NOW).expect("it was sent").expect("it is there");
        send(&written);
        let value = near.recv_timeout::<T>(Deadline::NOW).expect("what was written can be read").expect("it is there");
        let _ = far.send_timeout(&value, Deadline::NOW).expect("it was written before");
        let twice = again.recv_bytes_timeout(Deadline::NOW).expect("it was sent").expect("it is there");
        assert!(if ordered { twice == written } else { twice.len() == written.len() });
    }
    send(&[7]);
    near.set_max_decoded(None);
    assert_eq!(near.recv_timeout::<u8>(Deadline::NOW).expect("the connection goes on"), Some(7));
}

fuzz_target!(|input: (u8, u16, u8, &[u8])| {
    let (which, bound, depth, bytes) = input;
    let (bytes, bound) = (&bytes[..bytes.len().min(20_000)], usize::from(bound));
    match which % 6 {
        0 => check::<Any>(bytes, bound, depth, true),
        1 => check::<Vec<Option<[u64; 32]>>>(bytes, bound, depth, true),
        2 => check::<HashMap<u16, Any>>(bytes, bound, depth, false),
        3 => check::<Vec<Vec<Vec<String>>>>(bytes, bound, depth, true),
        4 => check::<Vec<Option<Box<Wide>>>>(bytes, bound, depth, true),
        _ => check::<(Vec<()>, HashMap<(), ()>, Vec<u8>)>(bytes, bound, depth, true),
    }
});
