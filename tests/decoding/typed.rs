//! Short messages that make large typed values.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Access, Connection, pipe};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::measured;
use super::support::within;

/// Makes a peer that is not trusted, and the connection to it.
fn stranger() -> (UnixStream, Connection) {
    let (peer, ours) = UnixStream::pair().unwrap();
    (peer, Connection::from_fd(ours.into(), Access::Both).unwrap())
}

/// The value that `connection` decodes from a message of these bytes, and the maximum of its memory beyond the message
/// itself.
fn received<T: DeserializeOwned>(
    peer: &mut UnixStream,
    connection: &Connection,
    message: &[u8],
) -> (ossature::Result<T>, usize) {
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            peer.write_all(&(message.len() as u32).to_be_bytes()).unwrap();
            peer.write_all(message).unwrap();
        });
        measured(|| connection.recv_timeout::<T>(Duration::from_secs(60)))
    });
    let (value, peak, _) = result;
    (value.map(|value| value.expect("it came")), peak.saturating_sub(message.len()))
}

/// The reason for which a message of an untrusted peer is refused. The connection continues.
#[track_caller]
fn refused<T: DeserializeOwned>(message: &[u8]) -> String {
    let (mut peer, connection) = stranger();
    let Err(error) = received::<T>(&mut peer, &connection, message).0 else { panic!("it is taken") };
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(received::<u8>(&mut peer, &connection, &[7]).0.unwrap(), 7, "the next message is received");
    error.to_string()
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
}

#[test]
fn a_long_chain_does_not_overflow_the_stack() {
    let server = std::thread::Builder::new().stack_size(256 << 10).spawn(|| {
        let mut message = vec![1; 60_000];
        *message.last_mut().unwrap() = 0;
        refused::<Tree>(&message)
    });
    let why = server.unwrap().join().unwrap();
    assert!(why.contains("nested more than 128 deep; set_max_depth allows more (at byte 128)"), "{why}");
}

#[derive(Deserialize)]
struct Chain {
    #[allow(dead_code, reason = "only read")]
    next: Option<Box<Chain>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Clear {
    #[allow(dead_code, reason = "only read")]
    next: Option<Box<Clear>>,
}

#[derive(Deserialize)]
struct Nest(#[allow(dead_code, reason = "only read")] Vec<Nest>);

#[derive(Deserialize)]
struct Map(#[allow(dead_code, reason = "only read")] BTreeMap<u8, Map>);

#[derive(Deserialize)]
enum Many {
    #[allow(dead_code, reason = "only read")]
    Named { next: Box<Many> },
    #[allow(dead_code, reason = "only read")]
    Plain(u8, Box<Many>),
}

#[test]
fn whatever_can_contain_itself_counts() {
    for why in [
        refused::<Chain>(&[1; 60_000]),
        refused::<Clear>(&[1; 60_000]),
        refused::<Nest>(&[1; 60_000]),
        refused::<Map>(&[1; 60_000]),
        refused::<Many>(&[0; 60_000]),
        refused::<Many>(&[1; 60_000]),
    ] {
        assert!(why.contains("nested more than 128 deep"), "{why}");
    }
}

#[test]
fn depth_can_be_set_and_holds_within_the_program() {
    fn tree(depth: usize) -> Tree {
        (1..depth).fold(Tree::Leaf, |inner, _| Tree::Node(Box::new(inner)))
    }
    let (near, far) = pipe().unwrap();
    assert_eq!(far.max_depth(), 128);
    for (most, depth) in [(128, 128), (10, 10), (1000, 1000)] {
        far.set_max_depth(most);
        near.send(&tree(depth)).unwrap();
        assert_eq!(far.recv::<Tree>().unwrap(), tree(depth));
        near.send(&tree(depth + 1)).unwrap();
        assert_eq!(far.recv::<Tree>().unwrap_err().kind(), ErrorKind::Decode);
    }
    // A number is no level, and siblings are not below one another.
    far.set_max_depth(0);
    near.send(&5_u8).unwrap();
    assert_eq!(far.recv::<u8>().unwrap(), 5);
    far.set_max_depth(2);
    near.send(&vec![(1, 2); 1000]).unwrap();
    assert_eq!(far.recv::<Vec<(i32, i32)>>().unwrap().len(), 1000);
    let (receiver, _sender) = far.split();
    assert_eq!(receiver.max_depth(), 2, "the half keeps it");
}

const ENDLESS: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];

#[derive(Deserialize)]
struct Skipped {
    #[serde(skip)]
    #[allow(dead_code, reason = "only read")]
    room: [u64; 4],
}

#[test]
fn items_that_take_no_bytes_are_counted() {
    within(Duration::from_secs(20), || {
        for why in [
            refused::<Vec<()>>(&ENDLESS),
            refused::<Vec<PhantomData<u8>>>(&ENDLESS),
            refused::<Vec<[(); 32]>>(&ENDLESS),
            refused::<std::collections::HashSet<()>>(&ENDLESS),
            refused::<HashMap<(), ()>>(&ENDLESS),
            // Many sequences of a million each count together.
            refused::<Vec<Vec<()>>>(&[&[100][..], &[0xff, 0xff, 0x3f].repeat(100)].concat()),
        ] {
            assert!(why.contains("more than 1048576 of its items take no bytes"), "{why}");
        }
        assert!(refused::<Vec<Skipped>>(&ENDLESS).contains("set_max_decoded"));
        let (near, far) = pipe().unwrap();
        near.send(&vec![(); 1 << 20]).unwrap();
        assert_eq!(far.recv::<Vec<()>>().unwrap().len(), 1 << 20);
        near.send(&vec![(); (1 << 20) + 1]).unwrap();
        assert!(far.recv::<Vec<()>>().is_err(), "the same program too");
        // Fields of a type are the type's affair.
        let (mut peer, connection) = stranger();
        let message = postcard::to_allocvec(&vec![((), 1_u8); (1 << 20) + 1]).unwrap();
        let (value, _) = received::<Vec<((), u8)>>(&mut peer, &connection, &message);
        assert_eq!(value.unwrap().len(), (1 << 20) + 1);
    });
}

#[test]
fn a_deadline_is_not_outlived_by_decoding() {
    let (mut peer, connection) = stranger();
    peer.write_all(&10_u32.to_be_bytes()).unwrap();
    peer.write_all(&ENDLESS).unwrap();
    let begun = Instant::now();
    assert!(connection.recv_timeout::<Vec<()>>(Duration::from_secs(5)).is_err());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A type that allocates room for as many items as the message announces.
struct Trusting;

impl<'de> serde::de::Visitor<'de> for Trusting {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("numbers")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u64>, A::Error> {
        let mut all = Vec::with_capacity(items.size_hint().unwrap_or(0));
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(all)
    }
}

#[derive(Debug)]
struct Trusted(Vec<u64>);

impl<'de> Deserialize<'de> for Trusted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Trusting).map(Self)
    }
}

#[test]
fn a_type_that_trusts_a_length_is_told_what_can_come() {
    assert!(refused::<Trusted>(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2]).contains("set_max_decoded"));
    let (mut peer, connection) = stranger();
    let (value, peak) = received::<Trusted>(&mut peer, &connection, &[3, 1, 2, 3]);
    assert_eq!(value.unwrap().0, [1, 2, 3]);
    assert!(peak < 1000, "{peak}");
}

type Wide = Option<[u64; 32]>;

/// A boxed value of one byte in a message, and 264 bytes in memory.
#[derive(Serialize, Deserialize, Debug)]
struct Boxed(Option<Box<(Wide, u8)>>);

#[test]
fn memory_is_bounded_by_the_length_of_a_strangers_message() {
    let (mut peer, connection) = stranger();
    let length = 1 << 20;
    let bound = (16 << 20) + 32 * length;
    // The length first, for what begins with one.
    let zeros = [&[0x80, 0x80, 0x40][..], &vec![0; length]].concat();
    let boxed = [&[0xd5, 0xaa, 0x15][..], &[1, 0, 7].repeat(length / 3)].concat();
    let nested = [0xff, 0xff, 0x1f].repeat(length / 3);
    let check = |why: &str, error: Option<ossature::Error>, peak: usize| {
        let error = error.unwrap_or_else(|| panic!("{why} is taken")).to_string();
        assert!(error.contains("set_max_decoded allows more"), "{why}: {error}");
        assert!(peak <= bound + (2 << 20), "{why}: {peak} of {bound}");
    };
    let (result, peak) = received::<Vec<Wide>>(&mut peer, &connection, &zeros);
    check("wide items", result.err(), peak);
    assert!(peak < 4 << 20, "what is too much is known before it is made: {peak}");
    let (result, peak) = received::<Vec<Boxed>>(&mut peer, &connection, &boxed);
    check("boxes", result.err(), peak);
    let (result, peak) = received::<Vec<Vec<Vec<Vec<Wide>>>>>(&mut peer, &connection, &nested);
    check("nested lengths", result.err(), peak);
    let (result, peak) = received::<BTreeMap<u8, Wide>>(&mut peer, &connection, &zeros);
    check("a map", result.err(), peak);
    let (result, peak) = received::<Nest>(&mut peer, &connection, &nested);
    let error = result.err().unwrap().to_string();
    assert!(peak <= bound + (2 << 20), "a type of itself: {peak} of {bound}, {error}");
    // What an honest value takes is far from that.
    assert_eq!(received::<Vec<String>>(&mut peer, &connection, &zeros).0.unwrap().len(), length);
    assert_eq!(received::<u8>(&mut peer, &connection, &[7]).0.unwrap(), 7);
}

/// The maximum memory that a value takes at the smallest bound that allows it, as a multiple of the bound. A smaller
/// bound refuses the value.
fn factor<T: Serialize + DeserializeOwned>(value: &T) -> f64 {
    let (mut peer, connection) = stranger();
    let message = postcard::to_allocvec(value).unwrap();
    let mut taken = |bound: usize| {
        connection.set_max_decoded(bound);
        let (value, peak) = received::<T>(&mut peer, &connection, &message);
        value.is_ok().then_some(peak)
    };
    let (mut low, mut high) = (0, 1 << 26);
    assert!(taken(high).is_some() && taken(low).is_none());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if taken(middle).is_some() { high = middle } else { low = middle }
    }
    taken(high).expect("it fits") as f64 / high as f64
}

#[test]
fn the_bound_that_is_set_is_the_memory_up_to_what_collections_reserve() {
    assert!(factor(&vec![None::<[u64; 32]>; 5000]) <= 2.0);
    assert!(factor(&vec![String::from("text"); 100_000]) <= 2.0);
    assert!(factor(&vec![vec![1_u8, 2, 3]; 10_000]) <= 2.0);
    assert!(factor(&"long".repeat(100_000)) <= 1.1);
    assert!(factor(&(0..20_000).map(|_| Boxed(Some(Box::new((None, 1))))).collect::<Vec<_>>()) <= 2.0);
    // A chain of boxes, each as large as the pointer to the next.
    let chain = |length: usize| (1..length).fold(Tree::Leaf, |inner, _| Tree::Node(Box::new(inner)));
    assert!(factor(&(0..1000).map(|_| chain(100)).collect::<Vec<_>>()) <= 2.0);
    assert!(factor(&(0..10_000).map(|_| chain(3)).collect::<Vec<_>>()) <= 2.0);
    assert!(factor(&(0..50_000_u32).map(|i| (i, i.to_string())).collect::<HashMap<_, _>>()) <= 4.0);
    assert!(factor(&(0..50_000_u64).map(|i| (i, i)).collect::<BTreeMap<_, _>>()) <= 4.0);
    assert!(factor(&(0..50_000_u64).collect::<std::collections::LinkedList<_>>()) <= 4.0);
}

#[test]
fn the_bound_is_exact_for_items() {
    let (near, far) = pipe().unwrap();
    assert_eq!(far.max_decoded(), None);
    let size = 1000 * size_of::<Wide>();
    for (bound, fits) in [(size, true), (size - 1, false), (usize::MAX, true)] {
        far.set_max_decoded(bound);
        assert_eq!(far.max_decoded(), Some(bound));
        near.send(&vec![None::<[u64; 32]>; 1000]).unwrap();
        assert_eq!(far.recv::<Vec<Wide>>().is_ok(), fits, "{bound} for {size}");
    }
    far.set_max_decoded(None);
    assert_eq!(far.max_decoded(), Some(usize::MAX));
    far.set_max_decoded(3);
    near.send("four").unwrap();
    let error = far.recv::<String>().unwrap_err().to_string();
    assert!(error.contains("larger than the 3 bytes"), "{error}");
    near.send("one").unwrap();
    assert_eq!(far.recv::<String>().unwrap(), "one");
}

/// A long message from a process of this program is in memory once: its bytes are the value.
#[test]
fn bytes_within_the_program_are_in_memory_once() {
    const LENGTH: usize = 8 << 20;
    let (near, far) = pipe().unwrap();
    let message = vec![7_u8; LENGTH];
    let sent = message.clone();
    let beyond = |peak: usize| peak.saturating_sub(LENGTH);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            near.send_bytes(&sent).unwrap();
            near.send(&sent).unwrap();
            near.send("x".repeat(LENGTH).as_str()).unwrap();
        });
        let (bytes, peak, _) = measured(|| far.recv_bytes().unwrap());
        assert!(bytes == message && beyond(peak) < 100, "{peak}");
        let (value, peak, _) = measured(|| far.recv::<Vec<u8>>().unwrap());
        assert!(value == message && beyond(peak) < 100, "{peak}");
        let (text, peak, _) = measured(|| far.recv::<String>().unwrap());
        assert!(text.len() == LENGTH && beyond(peak) < 100, "{peak}");
    });
}
