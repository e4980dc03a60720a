//! Short pickles that make large values.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pickle::{
    Decoder, OldStr, Value, decode, encode, from_value, from_value_within,
};
use ossature::multiprocessing::connection::{Access, Connection};

use super::measured;
use super::support::within;

/// A tuple with `unit` as often as fits into `length` bytes.
fn repeated(unit: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = b"\x80\x04(".to_vec();
    bytes.extend(unit.repeat(length / unit.len()));
    bytes.extend(b"t.");
    bytes
}

#[test]
fn a_tuple_of_none_takes_less_than_64_bytes_a_byte() {
    let bytes = repeated(b"N", 8 << 20);
    let (value, peak, kept) = measured(|| decode(&bytes));
    assert_eq!(value.unwrap().as_items().unwrap().len(), 8 << 20);
    assert!(peak <= 64 * bytes.len(), "{} bytes a byte", peak / bytes.len());
    assert_eq!(kept, size_of::<Value>() * (8 << 20));
}

/// Each opcode that makes a value, with the fewest possible bytes.
const UNITS: &[&[u8]] = &[
    b"N",
    b"]",
    b")",
    b"}",
    b"\x8f",
    b"(",
    b"(t",
    b"(l",
    b"(d",
    b"K\0",
    b"G\0\0\0\0\0\0\0\0",
    b"\x8a\0",
    b"I1\n",
    b"L1L\n",
    b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x8c\0",
    b"C\0",
    b"U\0",
    b"V\n",
    b"V\xff\n",
    b"S''\n",
    b"\x96\0\0\0\0\0\0\0\0",
    b"\x94",
    b"2",
    b"0",
    b"\x85",
    b"\x86",
    b"\x87",
    b"t",
    b"l",
    b"1",
    b"a",
    b"e",
    b"q\x07",
    b"h\0",
    b"p99999999\n",
    b"r\xff\xff\xff\x7f",
    b"cbuiltins\nset\n",
    b"c__builtin__\nset\n]\x85R",
    b"c_codecs\nencode\nV\nVlatin1\n\x86R",
    b"ccollections\nOrderedDict\n](NN\x86NN\x86e\x85R",
];

#[test]
fn no_opcode_and_no_two_take_more_than_64_bytes_a_byte() {
    within(Duration::from_secs(300), || {
        let length = 270_000; // beyond what 16 MiB are enough for
        let mut worst = (0, String::new());
        for (place, first) in UNITS.iter().enumerate() {
            for second in &UNITS[place..] {
                // As items of a tuple, or of a list one level down.
                let (start, end) =
                    if place % 2 == 0 { (&b"\x80\x04("[..], b"t.") } else { (&b"\x80\x04]\x94("[..], b"e.") };
                let unit = [*first, *second].concat();
                let bytes = [start, &unit.repeat(length / unit.len()), end].concat();
                let (_, peak, _) = measured(|| decode(&bytes));
                let name = unit.escape_ascii().to_string();
                assert!(peak <= 64 * bytes.len(), "{name}: {peak} for {} bytes", bytes.len());
                worst = worst.max((peak / bytes.len(), name));
            }
        }
        println!("{worst:?}");
    });
}

#[test]
fn honest_data_is_never_refused_for_its_size() {
    for unit in
        ["N", "]\u{94}", ")", "K\u{1}\u{85}\u{94}", "N\u{85}", "}\u{94}K\u{1}K\u{2}s", "(K\u{1}K\u{2}K\u{3}K\u{4}t"]
    {
        let unit: Vec<u8> = unit.chars().map(|c| c as u8).collect();
        let bytes = repeated(&unit, 1 << 20);
        assert!(decode(&bytes).is_ok(), "{}", unit.escape_ascii());
    }
    // A far number in the memo is one entry, not a table up to it.
    assert_eq!(decode(b"]p99999999\n0g99999999\n.").unwrap(), Value::List(vec![]));
}

/// A list of small numbers, as CPython writes it: `batch` at a time.
fn numbers(count: usize, batch: usize, append: bool) -> Vec<u8> {
    let mut bytes = b"\x80\x04]\x94".to_vec();
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(batch) {
        if !append {
            bytes.push(b'(');
        }
        for number in some {
            bytes.extend([b'M', *number as u8, (*number >> 8) as u8]);
            if append {
                bytes.push(b'a');
            }
        }
        if !append {
            bytes.push(b'e');
        }
    }
    bytes.push(b'.');
    bytes
}

#[test]
fn a_list_of_small_numbers_takes_at_most_twice_its_own_memory() {
    for (count, batch, append) in
        [(1_000_000, 1000, false), (1_000_000, 1_000_000, false), (300_001, 1, true), (70_000, 1000, false)]
    {
        let bytes = numbers(count, batch, append);
        let (value, peak, kept) = measured(|| decode(&bytes).unwrap());
        assert_eq!(value.as_items().unwrap().len(), count);
        assert_eq!(kept, size_of::<Value>() * count);
        assert!(peak <= 2 * kept, "{peak} for {kept}, {batch} at a time");
    }
}

#[test]
fn a_name_that_is_no_text_takes_no_memory_beyond_the_bound() {
    let line = vec![0xff; 1 << 20];
    for bytes in [[b"c", &line[..], b"\nset\n."].concat(), [b"cbuiltins\n", &line[..], b"\n."].concat()] {
        let (result, peak, _) = measured(|| Decoder::new().max_memory(1000).decode(&bytes));
        assert!(result.unwrap_err().to_string().contains("only plain data is read"));
        assert!(peak <= 8192, "{peak}");
    }
}

/// In plain data only `None` can end such a chain: `Some` and newtypes leave no trace there.
#[derive(serde::Deserialize, Debug, PartialEq)]
struct Wrapped(Option<Box<Wrapped>>);

#[derive(serde::Deserialize, Debug, PartialEq)]
#[serde(transparent)]
struct Clear {
    next: Option<Box<Clear>>,
}

#[test]
fn a_type_that_is_nothing_but_wrappers_does_not_overflow_the_stack() {
    for value in [Value::Int(5), Value::List(vec![]), Value::Text("text".into())] {
        for error in [from_value::<Wrapped>(value.clone()).unwrap_err(), from_value::<Clear>(value).unwrap_err()] {
            assert!(error.to_string().contains("contains itself"), "{error}");
        }
    }
    assert_eq!(from_value::<Wrapped>(Value::None).unwrap(), Wrapped(None));
    assert_eq!(from_value::<Vec<Clear>>(Value::List(vec![Value::None; 100])).unwrap().len(), 100);
}

#[test]
fn the_bound_on_memory_holds_to_within_a_factor_of_two() {
    let texts = Value::from((0..20_000).map(|i| format!("text number {i}")).collect::<Vec<_>>());
    let dicts = Value::List((0..5000).map(|i| Value::dict([("first", i), ("second", -i)])).collect());
    let shared =
        [b"](X\0\0\x10\0".to_vec(), vec![b'x'; 1 << 20], b"q\0".to_vec(), b"h\0".repeat(20), b"e.".to_vec()].concat();
    let garbage = [b"N".repeat(200_000), b"0".repeat(199_999), b".".to_vec()].concat();
    let ordered = [&b"ccollections\nOrderedDict\n]("[..], &b"K\x01K\x02\x86".repeat(50_000), b"e\x85R."].concat();
    let unicode = [b"V".to_vec(), b"\xff".repeat(1 << 20), b"\n.".to_vec()].concat();
    let pickles = [
        repeated(b"N", 1 << 20),
        numbers(200_000, 1000, false),
        encode(&texts).unwrap(),
        encode(&dicts).unwrap(),
        encode(&Value::Bytes(vec![200; 1 << 20])).unwrap(),
        shared,
        garbage,
        ordered,
        unicode,
        repeated(b"N\x85\x94", 1 << 20),
    ];
    for (case, bytes) in pickles.iter().enumerate() {
        let fits = |bound: usize| {
            let (result, peak, _) = measured(|| Decoder::new().max_memory(bound).decode(bytes));
            assert!(peak <= 2 * bound + 4096, "case {case}: {peak} for a bound of {bound}");
            match result {
                Ok(_) => Some(peak),
                Err(error) => {
                    assert!(
                        error.to_string().contains(&format!("more than {bound} bytes of memory")),
                        "case {case}: {error}"
                    );
                    None
                }
            }
        };
        for small in [0, 1000, 100_000] {
            fits(small);
        }
        let (mut low, mut high) = (0, 1 << 28);
        if fits(high).is_none() {
            continue; // more than one value is left, say
        }
        while high - low > 1000 {
            let middle = low + (high - low) / 2;
            if fits(middle).is_some() { high = middle } else { low = middle }
        }
        let peak = fits(high).unwrap();
        assert!(2 * peak >= high, "case {case}: {high} is wanted for {peak}");
    }
}

#[test]
fn the_reason_is_the_true_one() {
    let once = Decoder::new().max_memory(1 << 20).decode(&repeated(b"N", 8 << 20)).unwrap_err().to_string();
    assert!(once.contains("more than 1048576 bytes of memory") && !once.contains("places"), "{once}");
    // There is room for what is kept beside the value, and not for the value.
    let later = Decoder::new().max_memory(30 << 20).decode(&repeated(b"N", 1 << 20)).unwrap_err().to_string();
    assert!(later.contains("TUPLE at offset") && later.contains("more than 31457280 bytes of memory"), "{later}");
    assert!(!later.contains("places"), "{later}");
    let places =
        [b"](X\0\0\x01\0".to_vec(), vec![b'x'; 1 << 16], b"q\0".to_vec(), b"h\0".repeat(9999), b"e.".to_vec()].concat();
    let many = decode(&places).unwrap_err().to_string();
    assert!(many.contains("BINUNICODE at offset 2: one object stands in too many places"), "{many}");
    let error =
        decode(&[&b"c"[..], &[b'x'; 100_000], b"\n", &[b'y'; 100_000], b"\n."].concat()).unwrap_err().to_string();
    assert!(error.len() < 300 && error.contains("only plain data is read"), "{error}");
}

#[test]
fn a_connection_has_a_decoder_of_its_own_or_is_given_one() {
    let (near, far) = UnixStream::pair().unwrap();
    let [near, far] = [near, far].map(|end| Connection::from_fd(end.into(), Access::Both).unwrap());
    let deep = (0..200).fold(Value::None, |inner, _| Value::List(vec![inner]));
    let long = Value::from(vec![7; 2000]);
    let refused = |result: ossature::Result<Value>, text: &str| {
        let error = result.unwrap_err();
        assert!(error.kind() == ErrorKind::Decode && error.to_string().contains(text), "{error}");
    };
    near.send_pickled(&deep).unwrap();
    refused(far.recv_pickled(), "nested more than 128 deep");
    far.set_max_depth(300);
    near.send_pickled(&deep).unwrap();
    assert_eq!(far.recv_pickled().unwrap(), deep);
    far.set_max_decoded(10_000);
    near.send_pickled(&long).unwrap();
    refused(far.recv_pickled(), "more than 10000 bytes of memory");
    near.send_pickled(&long).unwrap();
    refused(far.recv_pickled_max(1 << 20), "more than 10000 bytes of memory");
    near.send_pickled(&long).unwrap();
    assert_eq!(far.recv_pickled_with(&Decoder::new()).unwrap(), long);
    near.send_bytes(b"\x80\x02U\x01\xff.").unwrap();
    let (receiver, _sender) = far.split();
    let decoder = Decoder::new().old_str(OldStr::Bytes);
    assert_eq!(
        receiver.recv_pickled_with_timeout(&decoder, Duration::from_secs(60)).unwrap(),
        Some(Value::Bytes(vec![255]))
    );
    assert_eq!(receiver.recv_pickled_with_timeout(&decoder, Duration::from_millis(5)).unwrap(), None);
    near.send_pickled(&Value::None).unwrap();
    assert_eq!(receiver.recv_pickled().unwrap(), Value::None, "it goes on");
}

/// A value that takes no bytes in a dict without fields, but 272 bytes of memory here.
#[derive(serde::Deserialize, Debug)]
struct Wide {
    #[serde(default)]
    #[allow(dead_code, reason = "only read")]
    wide: Option<[u64; 32]>,
}

#[test]
fn a_typed_value_of_plain_data_takes_as_much_memory_as_is_said() {
    let nones = || Value::from(vec![None::<u8>; 500_000]);
    let boxes = || Value::List(vec![Value::Dict(Vec::new()); 500_000]);
    let keyed = || Value::dict((0..200_000).map(|i| (i, None::<u8>)));
    let refused = |(result, peak, _): (Option<String>, usize, usize), bound: usize| {
        let error = result.expect("it is refused");
        assert!(error.contains("from_value_within allows more"), "{error}");
        assert!(peak <= bound + (2 << 20), "{peak} for {bound}");
    };
    let bound = (16 << 20) + 4 * size_of::<Value>() * 500_001;
    let data = nones();
    refused(measured(|| from_value::<Vec<Option<[u64; 32]>>>(data).map(drop).err().map(|e| e.to_string())), bound);
    for bound in [100_000, 10_000_000] {
        let of = |data: Value| {
            measured(|| from_value_within::<Vec<Box<Wide>>>(data, bound).map(drop).err().map(|e| e.to_string()))
        };
        refused(of(boxes()), bound);
        let data = keyed();
        refused(
            measured(|| {
                from_value_within::<std::collections::BTreeMap<u32, Option<[u64; 32]>>>(data, bound)
                    .map(drop)
                    .err()
                    .map(|e| e.to_string())
            }),
            bound,
        );
    }
    let data = nones();
    assert_eq!(
        from_value_within::<Vec<Option<[u64; 32]>>>(data, size_of::<Option<[u64; 32]>>() * 500_000).unwrap().len(),
        500_000
    );
    // A tuple is paid for with what it stands in.
    assert_eq!(from_value_within::<(u8, [u64; 3])>(Value::from((1, (2, 3, 4))), 0).unwrap(), (1, [2, 3, 4]));
}
