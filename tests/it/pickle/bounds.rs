//! Time and memory are proportional to the number of bytes, whatever the bytes say.

use std::time::Duration;

use ossature::error::ErrorKind;
use ossature::multiprocessing::connection::pickle::{Decoder, MAX_DEPTH, Value, decode, encode};

use super::complaint;
use crate::support::within;

#[test]
fn what_contains_itself_is_an_error() {
    assert_eq!(complaint(b"]q\0h\0a."), "pickle: EMPTY_LIST at offset 0: contains itself");
    assert_eq!(complaint(b"}q\0K\x01h\0s."), "pickle: EMPTY_DICT at offset 0: contains itself");
    assert_eq!(complaint(b"]q\0h\0\x85a."), "pickle: EMPTY_LIST at offset 0: contains itself");
    // CPython's form of a tuple in a list that it holds.
    assert_eq!(complaint(b"]q\0h\0\x85q\x01a0h\x01."), "pickle: TUPLE1 at offset 5: contains itself");
    // A set made of the list before the set is put into it.
    let set = decode(b"]q\0cbuiltins\nset\nh\0\x85Ra.").unwrap();
    assert_eq!(set, Value::List(vec![Value::Set(vec![])]));
}

/// Nested lists, each with the one before twice, in `levels` levels: 2^levels items written in a few bytes.
fn laughs(levels: u8) -> Vec<u8> {
    let mut bytes = b"](K\x01K\x01eq\0".to_vec();
    for level in 0..levels {
        bytes.extend([b']', b'(', b'h', level, b'h', level, b'e', b'q', level + 1]);
    }
    // The inner ones are only needed from the memo.
    let mut program = b"(".to_vec();
    program.extend(bytes);
    program.extend([b'1', b'h', levels, b'.']);
    program
}

#[test]
fn a_billion_laughs_are_an_error_soon() {
    assert_eq!(decode(&laughs(3)).unwrap().as_items().unwrap().len(), 2);
    within(Duration::from_secs(20), || {
        assert!(complaint(&laughs(60)).contains("one object stands in too many places"));
    });
}

#[test]
fn one_long_text_in_many_places_is_an_error_where_it_would_grow_large() {
    // A text of 1 MiB, in `places` places.
    let pickle = |places: usize| {
        let text = b"x".repeat(1 << 20);
        [b"](X\0\0\x10\0".to_vec(), text, b"q\0".to_vec(), b"h\0".repeat(places - 1), b"e.".to_vec()].concat()
    };
    within(Duration::from_secs(20), move || {
        assert!(complaint(&pickle(1000)).contains("BINUNICODE at offset 2: one object stands in too many places"));
        assert_eq!(decode(&pickle(20)).unwrap().as_items().unwrap().len(), 20);
        assert!(Decoder::new().max_memory(10 << 20).decode(&pickle(20)).is_err());
    });
}

#[test]
fn one_argument_of_many_calls_is_not_copied_for_each() {
    // Each call of a few bytes makes bytes of the same 1 MiB; all but one are thrown away.
    let mut bytes = b"X\0\0\x10\0".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 1 << 20));
    bytes.extend(b"q\x000c_codecs\nencode\nq\x010");
    bytes.extend(b"h\x01h\0X\x06\0\0\0latin1\x86R0".repeat(100_000));
    bytes.extend(b"N.");
    within(Duration::from_secs(20), move || assert_eq!(decode(&bytes).unwrap(), Value::None));
}

#[test]
fn a_bound_that_is_set_is_kept() {
    let decoder = Decoder::new().max_memory(1000);
    let fits = encode(&Value::Bytes(vec![7; 500])).unwrap();
    assert!(decoder.decode(&fits).is_ok());
    let large = encode(&Value::Bytes(vec![7; 2000])).unwrap();
    assert_eq!(decoder.decode(&large).unwrap_err().kind(), ErrorKind::Decode);
}

#[test]
fn nesting_is_bounded_alike_for_both_directions() {
    let nested = |depth: usize| (0..depth).fold(Value::from(1), |inner, _| Value::List(vec![inner]));
    let deepest = nested(MAX_DEPTH);
    let decoder = Decoder::new().max_depth(MAX_DEPTH);
    assert_eq!(decoder.decode(&encode(&deepest).unwrap()).unwrap(), deepest);
    assert_eq!(encode(&nested(MAX_DEPTH + 1)).unwrap_err().kind(), ErrorKind::InvalidInput);
    let usual = nested(128);
    assert_eq!(decode(&encode(&usual).unwrap()).unwrap(), usual);

    let deep = |depth: usize| [b"]".repeat(depth), b"a".repeat(depth - 1), b".".to_vec()].concat();
    assert!(decode(&deep(128)).is_ok());
    assert!(complaint(&deep(129)).contains("nested more than 128 deep; Decoder::max_depth allows more"));
    assert!(complaint(&deep(1_000_000)).contains("nested more than 128 deep"));
    // A connection's errors name what the caller of the connection can set.
    let (near, far) = ossature::multiprocessing::connection::pipe().unwrap();
    far.set_max_decoded(1000);
    near.send_bytes(&deep(129)).unwrap();
    let text = far.recv_pickled().unwrap_err().to_string();
    assert!(text.contains("set_max_decoded allows more") && !text.contains("Decoder"), "{text}");
    far.set_max_decoded(None);
    near.send_bytes(&deep(129)).unwrap();
    let text = far.recv_pickled().unwrap_err().to_string();
    assert!(text.contains("; set_max_depth allows more") && !text.contains("Decoder"), "{text}");
    // Millions of tuples in one another, made from within.
    let inner = [b")".to_vec(), b"\x85".repeat(1_000_000), b".".to_vec()].concat();
    assert!(complaint(&inner).contains("nested more than 128 deep"));
    for (set, most) in [(3, 3), (300, 300), (MAX_DEPTH, MAX_DEPTH), (usize::MAX, MAX_DEPTH)] {
        let decoder = Decoder::new().max_depth(set);
        assert!(decoder.decode(&deep(most)).is_ok() && decoder.decode(&deep(most + 1)).is_err(), "{set}");
    }
}

#[test]
fn an_integer_of_too_many_digits_is_an_error() {
    let digits = |count: usize| format!("L1{}L\n.", "0".repeat(count - 1));
    assert!(decode(digits(4300).as_bytes()).is_ok());
    assert!(complaint(digits(4301).as_bytes()).contains("LONG at offset 0"));
}
