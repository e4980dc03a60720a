//! Bytes that CPython wrote, and bytes that it reads.

use ossature::multiprocessing::connection::pickle::{BigInt, Decoder, OldStr, Value, decode, encode};

use super::list;

#[track_caller]
fn reads(bytes: &[u8], value: impl Into<Value>) {
    assert_eq!(decode(bytes).unwrap(), value.into());
}

#[track_caller]
fn writes(value: impl Into<Value>, bytes: &[u8]) {
    let value = value.into();
    assert_eq!(encode(&value).unwrap(), bytes);
    reads(bytes, value);
}

fn big(text: &str) -> Value {
    decode(format!("L{text}L\n.").as_bytes()).unwrap()
}

#[test]
fn a_dict_as_3_11_sends_it_is_21_bytes() {
    let bytes = b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s.";
    assert_eq!(bytes.len(), 21);
    reads(bytes, Value::dict([("a", 1)]));
}

#[test]
fn a_dict_in_every_protocol_is_the_same() {
    let dict = Value::dict([("a", list([1, 2]))]);
    reads(b"(dp0\nVa\np1\n(lp2\nI1\naI2\nas.", dict.clone()); // 3.11, protocol 0
    reads(b"}q\0X\x01\0\0\0aq\x01]q\x02(K\x01K\x02es.", dict.clone()); // protocol 1
    reads(b"\x80\x02}q\0X\x01\0\0\0aq\x01]q\x02(K\x01K\x02es.", dict.clone());
    reads(b"\x80\x03}q\0X\x01\0\0\0aq\x01]q\x02(K\x01K\x02es.", dict.clone());
    reads(b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94\x8c\x01a\x94]\x94(K\x01K\x02es.", dict.clone());
    reads(b"\x80\x05\x95\x10\0\0\0\0\0\0\0}\x94\x8c\x01a\x94]\x94(K\x01K\x02es.", dict);
}

#[test]
fn the_small_ones_are_written_as_cpython_writes_them() {
    writes((), b"\x80\x02N.");
    writes(true, b"\x80\x02\x88.");
    writes(false, b"\x80\x02\x89.");
    writes(1.5, b"\x80\x02G\x3f\xf8\0\0\0\0\0\0.");
    writes("\u{e4}", b"\x80\x02X\x02\0\0\0\xc3\xa4.");
    writes(list::<i32>([]), b"\x80\x02].");
    writes(list([1, 2]), b"\x80\x02](K\x01K\x02e.");
    writes(Value::dict([("a", 1)]), b"\x80\x02}(X\x01\0\0\0aK\x01u.");
    writes(Value::Tuple(vec![]), b"\x80\x02).");
    writes((1,), b"\x80\x02K\x01\x85.");
    writes((1, 2, 3), b"\x80\x02K\x01K\x02K\x03\x87.");
    writes((1, 2, 3, 4), b"\x80\x02(K\x01K\x02K\x03K\x04t.");
    writes(Value::Set(vec![1.into()]), b"\x80\x02c__builtin__\nset\n](K\x01e\x85R.");
}

#[test]
fn bytes_are_written_so_that_both_pythons_read_bytes() {
    let form = b"\x80\x02c_codecs\nencode\nX\x03\0\0\0a\xc3\xbfX\x07\0\0\0latin-1\x86R.";
    writes(Value::Bytes(b"a\xff".to_vec()), form);
    let form = b"\x80\x02c__builtin__\nbytearray\nX\x03\0\0\0a\xc3\xbfX\x07\0\0\0latin-1\x86R.";
    writes(Value::ByteArray(b"a\xff".to_vec()), form);
}

#[test]
fn integers_have_the_shortest_form() {
    writes(0, b"\x80\x02K\0.");
    writes(255, b"\x80\x02K\xff.");
    writes(256, b"\x80\x02M\0\x01.");
    writes(65_535, b"\x80\x02M\xff\xff.");
    writes(65_536, b"\x80\x02J\0\0\x01\0.");
    writes(-1, b"\x80\x02J\xff\xff\xff\xff.");
    writes(i32::MIN, b"\x80\x02J\0\0\0\x80.");
    writes(i64::from(i32::MAX) + 1, b"\x80\x02\x8a\x05\0\0\0\x80\0.");
    writes(i64::MIN, b"\x80\x02\x8a\x08\0\0\0\0\0\0\0\x80.");
    writes(u64::MAX, b"\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0.");
    writes(i128::from(i64::MIN) - 1, b"\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\xff.");
}

#[test]
fn one_number_has_one_form_however_it_was_written() {
    for bytes in [&b"\x8a\x00."[..], b"\x8a\x01\0.", b"\x8a\x02\0\0.", b"I0\n.", b"L0L\n.", b"\x8b\0\0\0\0."] {
        reads(bytes, 0);
    }
    for bytes in [&b"\x8a\x01\xff."[..], b"\x8a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff.", b"L-1\n.", b"I-1\n."] {
        reads(bytes, -1);
    }
    assert_eq!(big("9223372036854775807"), i64::MAX.into());
    assert_eq!(big("-9223372036854775808"), i64::MIN.into());
    assert_eq!(big("9223372036854775808"), (1_i128 << 63).into());
    assert_eq!(big("-170141183460469231731687303715884105728"), i128::MIN.into());
    assert_eq!(big("340282366920938463463374607431768211455"), u128::MAX.into());
}

#[test]
fn integers_beyond_any_word_survive() {
    let huge = big(&format!("-1{}", "0".repeat(1000)));
    let Value::BigInt(number) = &huge else { panic!("{huge:?}") };
    assert!(number.is_negative() && number.as_le_bytes().len() > 400);
    assert!(i128::try_from(number).is_err() && u128::try_from(number).is_err() && u64::try_from(number).is_err());
    let bytes = encode(&huge).unwrap();
    assert_eq!(bytes[2], 0x8b); // LONG4
    reads(&bytes, huge);
}

#[test]
fn a_big_integer_converts_exactly_to_the_types_that_hold_it() {
    let of = |value: Value| -> BigInt {
        let Value::BigInt(big) = value else { panic!("{value:?} fits i64") };
        big
    };
    assert_eq!(i128::try_from(&of(i128::MIN.into())), Ok(i128::MIN));
    assert!(u128::try_from(&of(i128::MIN.into())).is_err());
    assert_eq!(u128::try_from(&of(u128::MAX.into())), Ok(u128::MAX));
    assert!(i128::try_from(&of(u128::MAX.into())).is_err());
    assert_eq!(u64::try_from(&of(u64::MAX.into())), Ok(u64::MAX));
    assert!(u64::try_from(&of((u128::from(u64::MAX) + 1).into())).is_err());
}

#[test]
fn protocol_0_numbers_and_bools_are_lines() {
    reads(b"I01\n.", true);
    reads(b"I00\n.", false);
    reads(b"I1\n.", 1);
    reads(b"F-1.5\n.", -1.5);
    reads(b"Finf\n.", f64::INFINITY);
    reads(b"F1e+100\n.", 1e100);
    assert!(matches!(decode(b"Fnan\n.").unwrap(), Value::Float(x) if x.is_nan()));
}

#[test]
fn protocol_0_text_has_escapes() {
    reads(b"Va\\u005cb \\u20ac\\U0001f600\xe4\n.", "a\\b \u{20ac}\u{1f600}\u{e4}");
    reads(b"V\\ud83d\\ude00\n.", "\u{1f600}"); // a narrow Python 2
    reads(b"V\\\\u0041\n.", "\\\\u0041"); // an even number of backslashes begins no escape
}

#[test]
fn a_str_of_python_2_is_text_if_it_is_ascii() {
    reads(b"S'a\\'\\x41\\n\\101\\\\\\q'\n.", "a'A\nA\\\\q");
    reads(b"S\"it's\"\n.", "it's");
    reads(b"U\x02ab.", "ab");
    reads(b"T\x02\0\0\0ab.", "ab");
}

#[test]
fn a_str_of_python_2_that_is_not_ascii_is_bytes_on_demand() {
    for bytes in [&b"S'\\xff'\n."[..], b"U\x01\xff.", b"T\x01\0\0\0\xff."] {
        let error = decode(bytes).unwrap_err().to_string();
        assert!(error.contains("at offset 0: a str of Python 2") && error.contains("OldStr::Bytes"), "{error}");
        assert_eq!(Decoder::new().old_str(OldStr::Bytes).decode(bytes).unwrap(), Value::Bytes(vec![255]));
    }
}

#[test]
fn a_shared_object_stands_in_each_of_its_places() {
    reads(b"\x80\x04](]\x94K\x01ah\0e.", Value::List(vec![list([1]), list([1])]));
    reads(b"(lp0\n(I7\ntp70000\na(g70000\nlp2\na.", Value::List(vec![(7,).into(), Value::List(vec![(7,).into()])]));
}

#[test]
fn what_is_added_later_to_a_shared_object_is_seen_everywhere() {
    // l = []; t = (l, l); l.append(1)
    reads(b"]q\0h\0\x86h\0K\x01a0.", Value::Tuple(vec![list([1]), list([1])]));
}

#[test]
fn the_classes_that_stand_for_plain_data_are_data() {
    reads(b"cbuiltins\nfrozenset\n](K\x01e\x85R.", Value::FrozenSet(vec![1.into()]));
    reads(b"\x8c\x08builtins\x8c\x03set\x93)R.", Value::Set(vec![]));
    reads(b"c__builtin__\nbytes\n)R.", Value::Bytes(vec![]));
    reads(b"cbuiltins\nbytearray\nC\x01x\x85R.", Value::ByteArray(b"x".to_vec()));
    reads(b"c__builtin__\ncomplex\nG?\xf0\0\0\0\0\0\0G@\0\0\0\0\0\0\0\x86R.", Value::Complex(1.0, 2.0));
    reads(b"ccollections\nOrderedDict\n)RK\x01K\x02s.", Value::dict([(1, 2)])); // Python 3
    reads(b"ccollections\nOrderedDict\n](](K\x01K\x02ee\x85R.", Value::dict([(1, 2)])); // Python 2
    let nested = b"c__builtin__\nbytearray\nc_codecs\nencode\nX\x01\0\0\0xX\x06\0\0\0latin1\x86R\x85R.";
    reads(nested, Value::ByteArray(b"x".to_vec()));
}

#[test]
fn a_set_is_made_of_what_its_list_has_at_that_time() {
    // l = [1]; s = set(l); l.append(2); (l, s)
    reads(
        b"](K\x01eq\0cbuiltins\nset\nh\0\x85Rq\x010K\x02ah\x01\x86.",
        Value::from((list([1, 2]), Value::Set(vec![1.into()]))),
    );
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let dict = decode(b"}(X\x01\0\0\0aK\x01X\x01\0\0\0aK\x02u.").unwrap();
    assert_eq!(dict.get("a"), Some(&2.into()));
}
