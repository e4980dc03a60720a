//! Values as XML-RPC documents: the format of CPython's `XmlListener`, `XmlClient` and managers with the serializer
//! `xmlrpclib`.
//!
//! A message is the text of one `<params>` element with one value. It holds fewer types than a [pickle](super::pickle)
//! does, and reads the same in every version of Python.
//!
//! | value | element | read as |
//! | --- | --- | --- |
//! | `None` | `nil` | the same |
//! | `Bool`, `Float`, `Text` | `boolean`, `double`, `string` | the same |
//! | `Int` of 32 bits | `int` | `Int`; `i1`, `i2`, `i4`, `i8` and `biginteger` are read too |
//! | `Bytes`, `ByteArray` | `base64` | `Bytes` |
//! | `List`, `Tuple` | `array` | `List` |
//! | `Dict` with keys of text | `struct` | `Dict` |
//!
//! Any other value is an error at the sender. So is a text with a control character, which no XML can hold. (CPython
//! sends such a text, and its receiver fails.)
//!
//! Reading makes [plain data](Value) and nothing else. A document type, and so every entity but the five of XML itself,
//! is an error. Reading takes at most 192 bytes of memory for each byte, or 16 MiB if that is more. Values are nested
//! at most
//! [`MAX_DEPTH`] deep.
//!
//! # Examples
//! ```
//! use ossature::multiprocessing::connection::pickle::Value;
//! use ossature::multiprocessing::connection::{pipe, xmlrpc};
//!
//! let value = Value::dict([("spam", Value::from((1, 2.5)))]);
//! let (near, far) = pipe()?;
//! near.send_bytes(&xmlrpc::encode(&value)?)?;
//! let arrived = xmlrpc::decode(&far.recv_bytes()?)?;
//! assert_eq!(arrived, Value::dict([("spam", Value::List(vec![1.into(), 2.5.into()]))]));
//!
//! let error = xmlrpc::encode(&Value::Int(1 << 40)).unwrap_err();
//! assert_eq!(error.to_string(), "XML-RPC: cannot send an int of more than 32 bits: 1099511627776");
//! # Ok::<(), ossature::Error>(())
//! ```

use std::fmt::Write;

use roxmltree::{Document, Node, ParsingOptions};

use super::pickle::Value;
use crate::error::{Error, ErrorKind, Result};

/// The maximum nesting of values.
pub const MAX_DEPTH: usize = 128;

/// The memory that the parser takes for a node or an attribute of a document, in bytes.
const NODE: usize = 80;

/// Encodes a value as a document.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) for a value that XML-RPC has no element for; the message names the value.
#[doc(alias = "XmlClient")]
#[doc(alias = "_xml_dumps")]
pub fn encode(value: &Value) -> Result<Vec<u8>> {
    let mut out = String::from("<params>\n<param>\n");
    write(value, MAX_DEPTH, &mut out)?;
    out.push_str("</param>\n</params>\n");
    Ok(out.into_bytes())
}

/// Decodes the value in a document.
///
/// # Errors
/// [`Decode`](ErrorKind::Decode) for bytes that are not a document of one value.
#[doc(alias = "XmlListener")]
#[doc(alias = "_xml_loads")]
pub fn decode(bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(format!("not UTF-8: {error}")))?;
    // The parser makes room for a node at each `<`, and for an attribute at each `=`, before it looks at either.
    let marks = bytes.iter().filter(|byte| matches!(byte, b'<' | b'=')).count();
    if marks.saturating_mul(NODE) > bytes.len().saturating_mul(64).max(16 << 20) {
        return Err(wrong("the document has too many characters `<` and `=` for its length".to_owned()));
    }
    // No node of a value takes less than four bytes of the text, with the white space after it.
    let nodes = u32::try_from(bytes.len() / 4).unwrap_or(u32::MAX).max(8);
    let options = ParsingOptions { allow_dtd: false, nodes_limit: nodes, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| wrong(error.to_string()))?;
    let params = named(document.root_element(), "params")?;
    let param = named(only(params)?, "param")?;
    read(named(only(param)?, "value")?, MAX_DEPTH)
}

// ---- writing ------------------------------------------------------------------------------------------------------

fn unsent(what: &str, value: &Value) -> Error {
    let shown: String = match value {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}").chars().take(80).collect(),
        other => format!("a {}", other.type_name()),
    };
    Error::new(ErrorKind::InvalidInput, format!("XML-RPC: cannot send {what}: {shown}"))
}

fn write(value: &Value, depth: usize, out: &mut String) -> Result<()> {
    let depth = depth.checked_sub(1).ok_or_else(|| unsent(&format!("a value nested over {MAX_DEPTH} deep"), value))?;
    out.push_str("<value>");
    match value {
        Value::None => out.push_str("<nil/>"),
        Value::Bool(truth) => out.push_str(if *truth { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" }),
        Value::Int(number) => match i32::try_from(*number) {
            Ok(number) => written(out, format_args!("<int>{number}</int>")),
            Err(_) => return Err(unsent("an int of more than 32 bits", value)),
        },
        Value::BigInt(_) => return Err(unsent("an int of more than 32 bits", value)),
        // "inf" and "NaN", as Python's `float` reads them.
        Value::Float(number) => written(out, format_args!("<double>{number:?}</double>")),
        Value::Text(text) => {
            out.push_str("<string>");
            escape(text, out).ok_or_else(|| unsent("a text with a character that XML does not have", value))?;
            out.push_str("</string>");
        }
        Value::Bytes(bytes) | Value::ByteArray(bytes) => {
            out.push_str("<base64>\n");
            base64(bytes, out);
            out.push_str("\n</base64>");
        }
        Value::List(items) | Value::Tuple(items) => {
            out.push_str("<array><data>\n");
            items.iter().try_for_each(|item| write(item, depth, out))?;
            out.push_str("</data></array>");
        }
        Value::Dict(pairs) => {
            out.push_str("<struct>\n");
            for (key, item) in pairs {
                let Value::Text(name) = key else { return Err(unsent("a key that is not a text", key)) };
                out.push_str("<member>\n<name>");
                escape(name, out).ok_or_else(|| unsent("a key with a character that XML does not have", key))?;
                out.push_str("</name>\n");
                write(item, depth, out)?;
                out.push_str("</member>\n");
            }
            out.push_str("</struct>");
        }
        other => return Err(unsent("a value of a type that XML-RPC does not have", other)),
    }
    out.push_str("</value>\n");
    Ok(())
}

fn written(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what); // a String takes everything
}

/// Writes a text with its special characters escaped; `None` for a text with a character that XML cannot represent.
fn escape(text: &str, out: &mut String) -> Option<()> {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"), // a bare one is read as the end of a line
            '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'.. => out.push(c),
            _ => return None,
        }
    }
    Some(())
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8], out: &mut String) {
    for three in bytes.chunks(3) {
        let mut group = [0; 3];
        group.iter_mut().zip(three).for_each(|(to, from)| *to = *from);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize % 64];
            out.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
}

// ---- reading ------------------------------------------------------------------------------------------------------

fn wrong(why: String) -> Error {
    Error::new(ErrorKind::Decode, format!("XML-RPC: {why}"))
}

fn unexpected(node: Node<'_, '_>, wanted: &str) -> Error {
    let found: String = node.tag_name().name().chars().take(40).collect();
    wrong(format!("found <{found}> at byte {}, expected {wanted}", node.range().start))
}

fn named<'a, 'd>(node: Node<'a, 'd>, name: &str) -> Result<Node<'a, 'd>> {
    if node.has_tag_name(name) { Ok(node) } else { Err(unexpected(node, &format!("<{name}>"))) }
}

/// Returns the only element in a node.
fn only<'a, 'd>(node: Node<'a, 'd>) -> Result<Node<'a, 'd>> {
    let mut elements = elements(node)?;
    let first = elements.next().ok_or_else(|| unexpected(node, "a node with an element in it"))?;
    match elements.next() {
        None => Ok(first),
        Some(second) => Err(unexpected(second, "the end of the element")),
    }
}

/// Returns the elements in a node that contains no text.
fn elements<'a, 'd: 'a>(node: Node<'a, 'd>) -> Result<impl Iterator<Item = Node<'a, 'd>>> {
    let is_blank = |child: Node<'_, '_>| !child.is_text() || child.text().unwrap_or_default().trim().is_empty();
    match node.children().all(is_blank) {
        true => Ok(node.children().filter(Node::is_element)),
        false => Err(unexpected(node, "an element without a text of its own")),
    }
}

/// Returns the text in a node that contains no element. A comment may divide the text.
fn text(node: Node<'_, '_>) -> Result<String> {
    match node.children().find(Node::is_element) {
        None => Ok(node.children().filter(Node::is_text).filter_map(|child| child.text()).collect()),
        Some(element) => Err(unexpected(element, "text")),
    }
}

fn read(value: Node<'_, '_>, depth: usize) -> Result<Value> {
    let depth = depth.checked_sub(1).ok_or_else(|| wrong(format!("values are nested over {MAX_DEPTH} deep")))?;
    if !value.children().any(|child| child.is_element()) {
        return text(value).map(Value::Text); // a value without a type is a text
    }
    let typed = only(value)?;
    let number = || text(typed).map(|text| text.trim().to_owned());
    let no_number = |text: &str, what: &str| {
        let shown: String = text.chars().take(40).collect();
        wrong(format!("{shown:?} at byte {} is not {what}", typed.range().start))
    };
    Ok(match typed.tag_name().name() {
        "nil" => Value::None,
        "boolean" => match &*number()? {
            "0" => Value::Bool(false),
            "1" => Value::Bool(true),
            other => return Err(no_number(other, "0 or 1")),
        },
        "int" | "i1" | "i2" | "i4" | "i8" | "biginteger" => {
            let digits = number()?;
            Value::Int(digits.parse().map_err(|_| no_number(&digits, "an int of 64 bits"))?)
        }
        "double" | "float" => {
            let digits = number()?;
            Value::Float(digits.parse().map_err(|_| no_number(&digits, "a float"))?)
        }
        "string" => Value::Text(text(typed)?),
        "base64" => Value::Bytes(bytes(&text(typed)?).ok_or_else(|| no_number("the text", "base64"))?),
        "array" => {
            let items = elements(named(only(typed)?, "data")?)?;
            Value::List(items.map(|item| read(named(item, "value")?, depth)).collect::<Result<_>>()?)
        }
        "struct" => Value::Dict(elements(typed)?.map(|member| pair(member, depth)).collect::<Result<_>>()?),
        _ => return Err(unexpected(typed, "a type of XML-RPC")),
    })
}

fn pair(member: Node<'_, '_>, depth: usize) -> Result<(Value, Value)> {
    let mut parts = elements(named(member, "member")?)?;
    let mut part = |name| {
        let missing = || unexpected(member, "a member with a name and a value");
        parts.next().ok_or_else(missing).and_then(|node| named(node, name))
    };
    let (name, value) = (part("name")?, part("value")?);
    match parts.next() {
        None => Ok((Value::Text(text(name)?), read(value, depth)?)),
        Some(third) => Err(unexpected(third, "the end of the member")),
    }
}

/// Decodes base64; white space is ignored.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut digits = Vec::with_capacity(text.len());
    let mut fill = 0;
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace()) {
        match DIGITS.iter().position(|known| *known == c) {
            Some(digit) if fill == 0 => digits.push(digit as u8), // below 64
            None if c == b'=' => fill += 1,
            _ => return None,
        }
    }
    if fill > 2 || (digits.len() + fill) % 4 != 0 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for four in digits.chunks(4) {
        let bits = four.iter().enumerate().fold(0, |bits, (place, digit)| bits | u32::from(*digit) << (18 - 6 * place));
        let [_, group @ ..] = bits.to_be_bytes();
        out.extend(group.iter().take(four.len() - 1));
    }
    Some(out)
}
