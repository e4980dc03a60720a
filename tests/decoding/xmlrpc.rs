//! Documents of XML-RPC: which are read, which are refused, and at what cost.

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::connection::xmlrpc::{MAX_DEPTH, decode, encode};

use super::measured;

/// A document with `inside` in its value.
fn document(inside: &str) -> String {
    format!("<params><param><value>{inside}</value></param></params>")
}

fn read(inside: &str) -> Value {
    decode(document(inside).as_bytes()).unwrap()
}

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let error = decode(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    error.to_string()
}

#[test]
fn each_type_is_read_as_cpython_writes_it() {
    assert_eq!(read("<nil/>"), Value::None);
    assert_eq!((read("<boolean>1</boolean>"), read("<boolean>0</boolean>")), (true.into(), false.into()));
    for name in ["int", "i1", "i2", "i4", "i8", "biginteger"] {
        assert_eq!(read(&format!("<{name}>-12</{name}>")), (-12).into());
    }
    assert_eq!((read("<double>-2.5</double>"), read("<double>1e+100</double>")), ((-2.5).into(), 1e100.into()));
    assert!(read("<double>nan</double>").as_float().unwrap().is_nan());
    assert_eq!(read("<double>-inf</double>"), f64::NEG_INFINITY.into());
    assert_eq!(read("<string>a&lt;&amp;&gt;b&#13;</string>"), "a<&>b\r".into());
    assert_eq!((read("bare"), read(""), read("<string></string>")), ("bare".into(), "".into(), "".into()));
    assert_eq!(read("<string>a<!-- divided -->b<![CDATA[<c>]]></string>"), "ab<c>".into());
    assert_eq!(read("<base64>\nAP8A\n/w==\n</base64>"), Value::Bytes(vec![0, 255, 0, 255]));
    let nested =
        read("<array><data>\n<value><int>1</int></value>\n<value><array><data/></array></value>\n</data></array>");
    assert_eq!(nested, Value::List(vec![1.into(), Value::List(Vec::new())]));
    let pair = read("<struct>\n<member>\n<name>a b</name>\n<value><nil/></value>\n</member>\n</struct>");
    assert_eq!(pair, Value::dict([("a b", Value::None)]));
    // With the line that other programs begin with.
    let text = format!("<?xml version='1.0'?>\n{}", document("<int>7</int>"));
    assert_eq!(decode(text.as_bytes()).unwrap(), 7.into());
}

#[test]
fn written_values_come_back() {
    let bytes = |length: u8| Value::Bytes((0..length).map(|byte| byte.wrapping_mul(37)).collect());
    let all = Value::List(vec![
        Value::None,
        true.into(),
        i64::from(i32::MIN).into(),
        i64::from(i32::MAX).into(),
        0.1.into(),
        f64::INFINITY.into(),
        "line\r\nline\ttab <&> \u{e9} \u{1f600}".into(),
        "  blank  ".into(),
        bytes(0),
        bytes(1),
        bytes(2),
        bytes(3),
        bytes(255),
        Value::dict([("", Value::dict([("<&>", Value::List(Vec::new()))]))]),
    ]);
    assert_eq!(decode(&encode(&all).unwrap()).unwrap(), all);
    // Two types come back as others.
    let others = Value::List(vec![Value::Tuple(vec![1.into()]), Value::ByteArray(vec![7])]);
    let back = Value::List(vec![Value::List(vec![1.into()]), Value::Bytes(vec![7])]);
    assert_eq!(decode(&encode(&others).unwrap()).unwrap(), back);
}

#[test]
fn what_has_no_element_is_an_error_that_names_it() {
    let told = |value: Value| {
        let error = encode(&value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        error.to_string()
    };
    assert!(told((1_i64 << 31).into()).contains("2147483648"));
    assert!(told((1_i128 << 90).into()).contains("more than 32 bits"));
    assert!(told(Value::Set(vec![1.into()])).contains("a set"));
    assert!(told(Value::Complex(1.0, 2.0)).contains("a complex"));
    assert!(told(Value::Dict(vec![(1.into(), 2.into())])).contains("cannot send a key that is not a text: 1"));
    assert!(told("a\u{0}b".into()).contains(r#""a\0b""#));
    assert!(told(Value::dict([("\u{ffff}", 1)])).contains("a key with a character"));
    let deep = (0..MAX_DEPTH).fold(Value::None, |inner, _| Value::List(vec![inner]));
    assert!(told(deep).contains("nested over 128 deep"));
}

#[test]
fn what_is_no_document_of_one_value_is_refused() {
    let inside = [
        "<int>1</int><int>2</int>",
        "<int>1</int>x",
        "<int>one</int>",
        "<int></int>",
        "<int><nil/></int>",
        "<i8>9223372036854775808</i8>",
        "<boolean>2</boolean>",
        "<double>1,5</double>",
        "<base64>A</base64>",
        "<base64>A===</base64>",
        "<base64>AA=A</base64>",
        "<base64>A-AA</base64>",
        "<string><nil/></string>",
        "<array/>",
        "<array><data><int>1</int></data></array>",
        "<array><data/><data/></array>",
        "<struct><member><name>a</name></member></struct>",
        "<struct><member><value/><name>a</name></member></struct>",
        "<struct><member><name>a</name><value/><value/></member></struct>",
        "<struct><value/></struct>",
        "<dateTime.iso8601>20240101T00:00:00</dateTime.iso8601>",
        "<unknown/>",
        "&unknown;",
    ];
    for text in inside {
        refused(document(text).as_bytes());
    }
    for text in ["", "<", "<params/>", "<params><param/></params>", "<param><value/></param>", "text", "<value/>"] {
        refused(text.as_bytes());
    }
    refused(b"<params>\xff</params>");
    assert!(refused(document("<struct><oops/></struct>").as_bytes()).contains("<oops> at byte"));
}

#[test]
fn no_document_type_is_read_and_so_no_entity() {
    let bomb = "<!DOCTYPE params [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>";
    refused(format!("{bomb}{}", document("&b;")).as_bytes());
    refused(format!("<!DOCTYPE params SYSTEM 'file:///etc/passwd'>{}", document("")).as_bytes());
}

#[test]
fn reading_takes_memory_in_proportion_to_the_length() {
    let units = [
        "<a/>",
        "<a/>x",
        "<a>",
        "<",
        "=",
        "<a b=''/>",
        "<value/>",
        "<value/>\n",
        "<value><nil/></value>",
        "&amp;",
        "<!---->",
        "<?a?>",
        "<![CDATA[]]>",
        "<a xmlns=''/>",
        "<value><array><data/></array></value>",
    ];
    for unit in units {
        for (length, around) in [(1 << 20, true), (1 << 20, false), (1 << 16, true)] {
            let text = unit.repeat(length / unit.len());
            let text = if around { document(&format!("<array><data>{text}</data></array>")) } else { text };
            let (result, peak, _) = measured(|| decode(text.as_bytes()).map(drop));
            let most = (192 * text.len()).max(16 << 20);
            assert!(peak <= most, "{unit}: {} bytes a byte, {result:?}", peak / text.len());
        }
    }
}

#[test]
fn marks_without_end_are_refused_before_there_is_room_for_them() {
    for mark in ["<", "="] {
        let text = mark.repeat(1 << 20);
        let (told, peak, _) = measured(|| refused(text.as_bytes()));
        assert!(told.contains("too many characters") && peak < 4096, "{mark}: {peak} bytes, {told}");
        // A text of them has a place in a document.
        let text = document(&format!("{}{}", if mark == "<" { "&lt;" } else { mark }.repeat(1000), "x".repeat(1000)));
        assert!(decode(text.as_bytes()).is_ok());
    }
}

#[test]
fn nesting_has_a_bound() {
    let nested = |levels: usize| {
        document(&format!("{}{}", "<array><data><value>".repeat(levels), "</value></data></array>".repeat(levels)))
    };
    assert!(decode(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
    assert!(refused(nested(MAX_DEPTH).as_bytes()).contains("nested over 128 deep"));
    refused(nested(30_000).as_bytes());
}
