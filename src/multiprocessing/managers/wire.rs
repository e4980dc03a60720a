//! The messages between a server and its clients, in CPython's form.
//!
//! | message | form |
//! | --- | --- |
//! | request | `(ident, method, args, kwds)`; `ident` is `None` for the server itself |
//! | reply | `(kind, payload)`: `#RETURN` value, `#ERROR` exception, `#PROXY` (exposed, token), `#TRACEBACK` or `#UNSERIALIZABLE` text |
//!
//! Messages are pickles: sent as protocol 2, which every version reads, and read as protocols 0 to 5. A client may
//! choose documents of XML-RPC instead; what only a pickle can hold does not cross then.

use std::borrow::Cow;

use super::exception::Exception;
use super::serializer::Serializer;
use super::token::{Token, repr, wrong};
use crate::error::Result;
use crate::multiprocessing::connection::pickle::{self, Value};

/// A call of a method of an object, or of the server itself. The names are borrowed from the caller where possible.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Request<'n> {
    pub(super) ident: Option<Cow<'n, str>>,
    pub(super) method: Cow<'n, str>,
    pub(super) args: Vec<Value>,
    pub(super) kwds: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Return(Value),
    Error(Exception),
    Proxy(Vec<String>, Token),
    Traceback(String),
    Unserializable(String),
}

/// The maximum nesting of a request.
const REQUEST_DEPTH: usize = pickle::DEPTH;

/// The maximum nesting of a reply: some levels more than a request. A request has two levels around a value, the
/// request itself and the arguments. A reply may have more around the same value. `items` of a dict has three levels
/// (the reply, a list, a pair). CPython writes the list as a call of `list`, which are two more. A value that one
/// client could store would otherwise be one that another client cannot read.
const REPLY_DEPTH: usize = REQUEST_DEPTH + 8;

/// The maximum length of a traceback that is sent.
const LONGEST_TEXT: usize = 1 << 16;

impl<'n> Request<'n> {
    /// Makes a request to the server itself.
    pub(super) fn to_server(method: &'n str, args: Vec<Value>) -> Self {
        Self { method: method.into(), args, ..Self::default() }
    }

    /// Makes the last message on the connection of a client in Rust that has not read the last reply.
    pub(super) fn unread() -> Self {
        Self::to_server("unread", Vec::new())
    }

    pub(super) fn is_unread(&self) -> bool {
        self.ident.is_none() && self.method == "unread"
    }

    pub(super) fn encode(self, serializer: Serializer) -> Result<Vec<u8>> {
        let kwds = Value::dict(self.kwds);
        let (ident, method) = (self.ident.map(Cow::into_owned), self.method.into_owned());
        serializer.encode(&Value::Tuple(vec![ident.into(), method.into(), Value::Tuple(self.args), kwds]))
    }

    pub(super) fn decode(bytes: &[u8], serializer: Serializer) -> Result<Self> {
        let value = serializer.decode(bytes, REQUEST_DEPTH)?;
        let shape = "a request must be (ident, method, args, kwds)";
        let (Value::Tuple(parts) | Value::List(parts)) = value else { return Err(wrong(shape, &value)) };
        let parts = <[Value; 4]>::try_from(parts).map_err(|parts| wrong(shape, &Value::Tuple(parts)))?;
        let [ident, method, args, kwds] = parts;
        let ident = match ident {
            Value::None => None,
            Value::Text(ident) => Some(ident.into()),
            // The ident of a client's first request is ignored, so any value is valid.
            other => Some(repr(&other).into()),
        };
        let Value::Text(method) = method else { return Err(wrong("the name of a method must be a text", &method)) };
        let (Value::Tuple(args) | Value::List(args)) = args else {
            return Err(wrong("arguments must be a tuple", &args));
        };
        let Value::Dict(pairs) = kwds else { return Err(wrong("keyword arguments must be a dict", &kwds)) };
        let named = pairs.into_iter().map(|(key, value)| match key {
            Value::Text(name) => Ok((name, value)),
            other => Err(wrong("a keyword must be a text", &other)),
        });
        Ok(Self { ident, method: method.into(), args, kwds: named.collect::<Result<_>>()? })
    }
}

impl Reply {
    pub(super) fn encode(&self, serializer: Serializer) -> Result<Vec<u8>> {
        let (kind, payload) = match self {
            // An exception has no form in XML-RPC. The text of a traceback is a `RemoteError` there.
            Self::Error(exception) if serializer == Serializer::XmlRpc => {
                let traceback = exception.traceback().unwrap_or_default();
                return Ok(text_reply("#TRACEBACK", &format!("{exception}\n{traceback}"), serializer));
            }
            Self::Return(value) => ("#RETURN", value.clone()),
            Self::Error(exception) => ("#ERROR", exception.to_value()),
            Self::Proxy(exposed, token) => {
                let exposed = exposed.iter().map(|name| Value::from(name.as_str())).collect();
                ("#PROXY", Value::Tuple(vec![Value::Tuple(exposed), token.to_value()?]))
            }
            Self::Traceback(text) => return Ok(text_reply("#TRACEBACK", text, serializer)),
            Self::Unserializable(text) => return Ok(text_reply("#UNSERIALIZABLE", text, serializer)),
        };
        serializer.encode(&Value::Tuple(vec![kind.into(), payload]))
    }

    pub(super) fn decode(bytes: &[u8], serializer: Serializer) -> Result<Self> {
        let value = serializer.decode(bytes, REPLY_DEPTH)?;
        let shape = "a reply must be (kind, payload)";
        let (Value::Tuple(parts) | Value::List(parts)) = value else { return Err(wrong(shape, &value)) };
        let parts = <[Value; 2]>::try_from(parts).map_err(|parts| wrong(shape, &Value::Tuple(parts)))?;
        let [Value::Text(kind), payload] = parts else { return Err(wrong(shape, &Value::from(Vec::from(parts)))) };
        Ok(match (kind.as_str(), payload) {
            ("#RETURN", value) => Self::Return(value),
            ("#ERROR", value) => Self::Error(Exception::from_value(value)),
            ("#TRACEBACK", Value::Text(text)) => Self::Traceback(text),
            ("#UNSERIALIZABLE", Value::Text(text)) => Self::Unserializable(text),
            ("#PROXY", Value::Tuple(parts)) => match parts.as_slice() {
                [exposed, token] => Self::Proxy(texts(exposed)?, Token::from_value(token)?),
                _ => return Err(wrong("a proxy must be (exposed, token)", &Value::Tuple(parts))),
            },
            (_, payload) => return Err(wrong("the kind of a reply is unknown", &Value::from((kind, payload)))),
        })
    }
}

/// Encodes a reply whose payload is a `str` in Python 2 too, whose clients require that: a `BINSTRING`, in ASCII so
/// that Python 3 reads it.
fn text_reply(kind: &str, text: &str, serializer: Serializer) -> Vec<u8> {
    let is_plain = |c: &char| matches!(c, '\t' | '\n' | ' '..='~') || c.is_ascii() && serializer == Serializer::Pickle;
    let ascii: String = text.chars().map(|c| if is_plain(&c) { c } else { '?' }).take(LONGEST_TEXT).collect();
    if serializer == Serializer::XmlRpc {
        return serializer.encode(&Value::from((kind, &*ascii))).unwrap_or_default(); // plain text has a form
    }
    let mut out = b"\x80\x02".to_vec();
    for text in [kind, &ascii] {
        out.push(b'T');
        out.extend((text.len() as u32).to_le_bytes()); // fits: it is cut
        out.extend(text.as_bytes());
    }
    out.extend(b"\x86."); // a tuple of two, the end
    out
}

/// Returns the texts of a sequence.
pub(super) fn texts(value: &Value) -> Result<Vec<String>> {
    let items = value.as_items().ok_or_else(|| wrong("names must be a sequence", value))?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong("a name must be a text", item)))
        .collect()
}

/// The version of the extensions to CPython's protocol.
pub(super) const VERSION: i64 = 1;
