//! A pickle that is not plain data gives an error with opcode and offset; no code runs.

use ossature::error::ErrorKind;
use ossature::multiprocessing::connection::pickle::{Value, decode, encode};

use super::complaint;

#[track_caller]
fn refused(bytes: &[u8], text: &str) {
    assert_eq!(complaint(bytes), format!("pickle: {text}"));
}

#[test]
fn classes_and_functions_are_refused_by_name() {
    refused(b"cos\nsystem\n(S'id'\ntR.", "GLOBAL at offset 0: refers to os.system; only plain data is read");
    refused(
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
        "STACK_GLOBAL at offset 17: refers to posix.system; only plain data is read",
    );
    refused(b"cbuiltins\neval\n.", "GLOBAL at offset 0: refers to builtins.eval; only plain data is read");
    refused(b"cbuiltins\nset\n.", "GLOBAL at offset 0: set itself is not plain data");
}

#[test]
fn whatever_makes_or_names_an_object_is_refused() {
    for (bytes, name) in [
        (&b"(ios\nsystem\n."[..], "INST at offset 1: makes"),
        (b"(cbuiltins\nset\no.", "OBJ at offset 15: makes"),
        (b"cbuiltins\nset\n)\x81.", "NEWOBJ at offset 15: makes"),
        (b"cbuiltins\nset\n)}\x92.", "NEWOBJ_EX at offset 16: makes"),
        (b"]}b.", "BUILD at offset 2: makes"),
        (b"P7\n.", "PERSID at offset 0: refers to"),
        (b"K\x01Q.", "BINPERSID at offset 2: refers to"),
        (b"\x82\x01.", "EXT1 at offset 0: refers to"),
        (b"\x83\x01\0.", "EXT2 at offset 0: refers to"),
        (b"\x84\x01\0\0\0.", "EXT4 at offset 0: refers to"),
        (b"\x97.", "NEXT_BUFFER at offset 0: needs an out-of-band buffer"),
        (b"]\x98.", "READONLY_BUFFER at offset 1: needs an out-of-band buffer"),
    ] {
        let text = complaint(bytes);
        assert!(text.starts_with(&format!("pickle: {name}")), "{text}");
    }
}

#[test]
fn a_known_class_takes_only_what_plain_data_was_written_with() {
    for bytes in [
        &b"c_codecs\nencode\nX\x01\0\0\0aX\x06\0\0\0rot_13\x86R."[..],
        b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", // 2 GiB of zeros in Python
        b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.",
        b"cbuiltins\nset\nX\x01\0\0\0a\x85R.",
        b"cbuiltins\ncomplex\nK\x01\x85R.",
        b"cbuiltins\nset\n](K\x01e]\x86R.",
    ] {
        let text = complaint(bytes);
        assert!(text.contains("with these arguments is not plain data"), "{text}");
    }
    refused(
        b"c_codecs\nencode\nX\x03\0\0\0\xe2\x82\xacX\x06\0\0\0latin1\x86R.",
        "BINUNICODE at offset 16: the text is not Latin-1, so it stands for no bytes",
    );
    refused(b"ccollections\nOrderedDict\n](K\x01e\x85R.", "REDUCE at offset 31: a int is not a pair");
}

#[test]
fn a_call_of_what_is_no_class_is_refused() {
    refused(b"])R.", "REDUCE at offset 2: calls a class or function; only plain data is read");
    refused(b"cbuiltins\nset\n]R.", "REDUCE at offset 15: calls a class or function; only plain data is read");
}

#[test]
fn a_pickle_cut_short_anywhere_is_an_error() {
    let whole =
        encode(&Value::dict([("key", Value::from((1, 2.5, "text", Value::Bytes(vec![1, 2]), u128::MAX)))])).unwrap();
    assert!(decode(&whole).is_ok());
    for length in 0..whole.len() {
        complaint(&whole[..length]);
    }
    refused(b"", "the input ends at offset 0 without STOP");
    refused(b"K\x01", "the input ends at offset 2 without STOP");
    refused(b"X\x05\0\0\0abc", "BINUNICODE at offset 0: needs 5 bytes, 3 are left");
    refused(b"I12", "INT at offset 0: needs a line, but no newline follows");
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    for bytes in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"B\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f",
    ] {
        assert!(complaint(bytes).contains("at offset 0: needs"));
    }
    refused(b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.", "FRAME at offset 2: a frame of 255 bytes, but 2 are left");
}

#[test]
fn a_stack_that_does_not_hold_what_is_wanted_is_an_error() {
    refused(b".", "STOP at offset 0: the stack is empty");
    refused(b"a.", "APPEND at offset 0: the stack is empty");
    refused(b"](a.", "APPEND at offset 2: the stack is empty"); // not through a mark
    refused(b"](K\x01a.", "APPEND at offset 4: the stack is empty");
    refused(b"]K\x01\x86\x86.", "TUPLE2 at offset 4: the stack is empty");
    refused(b"e.", "APPENDS at offset 0: no mark is open");
    refused(b"1.", "POP_MARK at offset 0: no mark is open");
    refused(b"}(K\x01u.", "SETITEMS at offset 4: a key without a value");
    refused(b")K\x01a.", "APPEND at offset 3: cannot add to the item on the stack, which has another type");
    refused(b"](K\x01\x90.", "ADDITEMS at offset 4: cannot add to the item on the stack, which has another type");
    refused(b"K\x01K\x02.", "STOP at offset 4: more than one value is left on the stack");
    refused(b"(K\x01.", "STOP at offset 3: more than one value is left on the stack");
    refused(b"N.N", "STOP at offset 1: 1 bytes follow it");
}

#[test]
fn the_memo_holds_only_what_was_put_there() {
    refused(b"h\x07.", "BINGET at offset 0: no memo entry 7");
    refused(b"g9\n.", "GET at offset 0: no memo entry 9");
    refused(b"j\xff\xff\xff\xff.", "LONG_BINGET at offset 0: no memo entry 4294967295");
    refused(b"gx\n.", "GET at offset 0: not a number");
    assert_eq!(decode(b"K\x05r\xff\xff\xff\xff0j\xff\xff\xff\xff.").unwrap(), 5.into());
}

#[test]
fn what_is_no_text_or_number_is_an_error() {
    assert!(complaint(b"X\x01\0\0\0\xff.").starts_with("pickle: BINUNICODE at offset 0: not UTF-8"));
    assert!(complaint(b"X\x03\0\0\0\xed\xa0\xbd.").contains("not UTF-8")); // half a surrogate pair
    for line in ["V\\ud83d\n.", "V\\u12\n.", "V\\U00110000\n.", "V\\ud83d\\u0041\n."] {
        refused(line.as_bytes(), "UNICODE at offset 0: not the escaped form of a text");
    }
    for line in ["Sa\n.", "S'a\n.", "S'\n.", "S'\\x4'\n.", "S'\\'\n."] {
        refused(line.as_bytes(), "STRING at offset 0: not a string literal");
    }
    for line in ["I\n.", "I1x\n.", "I+-1\n.", "I 1\n.", "I1L\n.", "I010\n.", "I-00\n.", "I-0\n.", "I+1\n.", "I001\n."] {
        refused(line.as_bytes(), "INT at offset 0: not a number, or too long");
    }
    refused(b"F1e999\n.", "FLOAT at offset 0: not a number, or too long");
    refused(b"L007L\n.", "LONG at offset 0: not a number, or too long");
    refused(b"F1.5.2\n.", "FLOAT at offset 0: not a number, or too long");
}

#[test]
fn unknown_opcodes_and_protocols_are_named() {
    refused(b"\x80\x06N.", "PROTO at offset 0: protocol 6 is unknown; the highest is 5");
    refused(b"N\xfe.", "opcode 0xfe at offset 1: no such opcode");
}

#[test]
fn what_python_cannot_hash_is_neither_key_nor_item_of_a_set() {
    refused(b"}]K\x01s.", "EMPTY_DICT at offset 0: a list cannot be a key");
    refused(b"}(](K\x01e\x85K\x01u.", "EMPTY_DICT at offset 0: a list cannot be a key"); // within a tuple
    refused(b"\x8f(}\x90.", "EMPTY_SET at offset 0: a dict cannot be in a set");
    for value in [
        Value::Dict(vec![(Value::List(vec![]), Value::None)]),
        Value::Set(vec![Value::ByteArray(vec![])]),
        Value::FrozenSet(vec![Value::from((Value::Set(vec![]),))]),
    ] {
        assert_eq!(encode(&value).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
