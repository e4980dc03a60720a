//! The messages between a server and its clients, as CPython pickles them.
//!
//! | message | form |
//! | --- | --- |
//! | request | `(ident, method, args, kwds)`; `ident` is `None` for the server itself |
//! | reply | `(kind, payload)`: `#RETURN` value, `#ERROR` exception, `#PROXY` (exposed, token), `#TRACEBACK` or `#UNSERIALIZABLE` text |
//!
//! Messages are pickles: sent as protocol 2, which every version reads, and read as protocols 0 to 5. A client may
//! choose documents of XML-RPC instead; what only a pickle can hold does not cross then.

use std::borrow::Cow;

use super::{Exception, Serializer};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::{self, Global, Object, Value};

/// A call of a method of an object, or of the server itself. The names are borrowed from whoever has them already.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Request<'n> {
    pub(super) ident: Option<Cow<'n, str>>,
    pub(super) method: Cow<'n, str>,
    pub(super) args: Vec<Value>,
    pub(super) kwds: Vec<(String, Value)>,
}

/// What names an object on a server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) typeid: String,
    pub(super) address: Address,
    pub(super) ident: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Return(Value),
    Error(Exception),
    Proxy(Vec<String>, Token),
    Traceback(String),
    Unserializable(String),
}

/// How deep a request may be nested.
const REQUEST_DEPTH: usize = pickle::DEPTH;

/// How deep a reply may be nested: some levels more than a request. A request has two levels around a value, the
/// request itself and the arguments. A reply may have more around the same value. `items` of a dict has three levels
/// (the reply, a list, a pair). CPython writes the list as a call of `list`, which are two more. A value that one
/// client could store would otherwise be one that another client cannot read.
const REPLY_DEPTH: usize = REQUEST_DEPTH + 8;

/// How much of a traceback is sent.
const LONGEST_TEXT: usize = 1 << 16;

fn wrong(what: &str, value: &Value) -> Error {
    let shown: String = repr(value).chars().take(80).collect();
    Error::new(ErrorKind::Decode, format!("{what}: {shown}"))
}

impl<'n> Request<'n> {
    /// A question to the server itself.
    pub(super) fn to_server(method: &'n str, args: Vec<Value>) -> Self {
        Self { method: method.into(), args, ..Self::default() }
    }

    /// The last message on the connection of a client in Rust that has not read the last reply.
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
        let shape = "a request is (ident, method, args, kwds)";
        let (Value::Tuple(parts) | Value::List(parts)) = value else { return Err(wrong(shape, &value)) };
        let parts = <[Value; 4]>::try_from(parts).map_err(|parts| wrong(shape, &Value::Tuple(parts)))?;
        let [ident, method, args, kwds] = parts;
        let ident = match ident {
            Value::None => None,
            Value::Text(ident) => Some(ident.into()),
            // What a client sends as the first request is not looked at.
            other => Some(repr(&other).into()),
        };
        let Value::Text(method) = method else { return Err(wrong("a method is named by a text", &method)) };
        let (Value::Tuple(args) | Value::List(args)) = args else { return Err(wrong("arguments are a tuple", &args)) };
        let Value::Dict(pairs) = kwds else { return Err(wrong("keyword arguments are a dict", &kwds)) };
        let named = pairs.into_iter().map(|(key, value)| match key {
            Value::Text(name) => Ok((name, value)),
            other => Err(wrong("a keyword is a text", &other)),
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
        let shape = "a reply is (kind, payload)";
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
                _ => return Err(wrong("a proxy is (exposed, token)", &Value::Tuple(parts))),
            },
            (_, payload) => return Err(wrong("an unrecognized kind of reply", &Value::from((kind, payload)))),
        })
    }
}

/// A reply whose payload is a `str` in Python 2 too, whose clients insist on that: `BINSTRING`, of ASCII so that Python
/// 3 reads it.
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

/// The texts of a sequence.
pub(super) fn texts(value: &Value) -> Result<Vec<String>> {
    let items = value.as_items().ok_or_else(|| wrong("names are a sequence", value))?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong("a name is a text", item))).collect()
}

/// The class in Python of a proxy of a type: what its `SyncManager` has for the types that it knows. A server of
/// CPython before 3.11 cannot take an `AutoProxy` of an object of its own.
pub(super) fn class_of(typeid: &str) -> &'static str {
    match typeid {
        "Array" => "ArrayProxy",
        "Barrier" => "BarrierProxy",
        "BoundedSemaphore" | "Lock" | "RLock" | "Semaphore" => "AcquirerProxy",
        "Condition" => "ConditionProxy",
        "Event" => "EventProxy",
        "Iterator" => "IteratorProxy",
        "Namespace" => "NamespaceProxy",
        "Value" => "ValueProxy",
        "dict" => "DictProxy",
        "list" => "ListProxy",
        _ => "AutoProxy",
    }
}

const TOKEN: &str = "Token";
const MODULE: &str = "multiprocessing.managers";

impl Token {
    pub(super) fn to_value(&self) -> Result<Value> {
        let args = vec![self.typeid.as_str().into(), Value::try_from(&self.address)?, self.ident.as_str().into()];
        Ok(Object::new(Global::new(MODULE, TOKEN), args).into())
    }

    pub(super) fn from_value(value: &Value) -> Result<Self> {
        let no_token = || wrong("not a token of a manager's object", value);
        let Value::Object(object) = value else { return Err(no_token()) };
        if (object.made_by.module(), object.made_by.name()) != (MODULE, TOKEN) {
            return Err(no_token());
        }
        let parts = match &object.state {
            Value::Tuple(parts) => parts,
            _ => &object.args,
        };
        match parts.as_slice() {
            [Value::Text(typeid), address, Value::Text(ident)] => {
                Ok(Self { typeid: typeid.clone(), address: Address::try_from(address)?, ident: ident.clone() })
            }
            _ => Err(no_token()),
        }
    }

    /// The token of a proxy that stands in a value.
    pub(super) fn of_proxy(object: &Object) -> Option<Self> {
        let is_proxy = (object.made_by.module(), object.made_by.name()) == (MODULE, "RebuildProxy");
        Self::from_value(object.args.get(1).filter(|_| is_proxy)?).ok()
    }

    /// A proxy for it, as CPython pickles one.
    pub(super) fn to_proxy(&self, exposed: &[String]) -> Result<Value> {
        let exposed = exposed.iter().map(|name| Value::from(name.as_str())).collect();
        let kwds = Value::dict([("exposed", Value::Tuple(exposed))]);
        let class = Global::new(MODULE, class_of(&self.typeid)).into();
        let args = vec![class, self.to_value()?, "pickle".into(), kwds];
        Ok(Object::new(Global::new(MODULE, "RebuildProxy"), args).into())
    }
}

/// Calls `found` with the token of each proxy in a value.
pub(super) fn each_proxy(value: &Value, found: &mut dyn FnMut(Token)) {
    match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
            items.iter().for_each(|item| each_proxy(item, found));
        }
        Value::Dict(pairs) => pairs.iter().for_each(|(key, value)| {
            each_proxy(key, found);
            each_proxy(value, found);
        }),
        Value::Object(object) => {
            if let Some(token) = Token::of_proxy(object) {
                found(token);
            }
        }
        _ => {}
    }
}

/// A value as Python's `repr` shows it.
pub(super) fn repr(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(repr).collect::<Vec<_>>().join(", ");
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::BigInt(big) => i128::try_from(big).map_or_else(|_| format!("{big:?}"), |number| number.to_string()),
        Value::Float(number) => format!("{number:?}"),
        Value::Complex(re, im) => format!("({re}{im:+}j)"),
        Value::Text(text) => quoted(text),
        Value::Bytes(bytes) => format!("b'{}'", bytes.escape_ascii()),
        Value::ByteArray(bytes) => format!("bytearray(b'{}')", bytes.escape_ascii()),
        Value::List(items) => format!("[{}]", list(items)),
        Value::Tuple(items) if items.len() == 1 => format!("({},)", list(items)),
        Value::Tuple(items) => format!("({})", list(items)),
        Value::Set(items) if items.is_empty() => "set()".to_owned(),
        Value::Set(items) => format!("{{{}}}", list(items)),
        Value::FrozenSet(items) => format!("frozenset({{{}}})", list(items)),
        Value::Dict(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}: {}", repr(key), repr(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Global(global) => format!("<class '{global}'>"),
        Value::Object(object) => match Token::of_proxy(object) {
            Some(Token { typeid, ident, .. }) => {
                let class = match class_of(&typeid) {
                    "AutoProxy" => format!("AutoProxy[{typeid}]"),
                    class => class.to_owned(),
                };
                format!("<{class} object, typeid '{typeid}' at 0x{ident}>")
            }
            None => format!("<{} object>", object.made_by),
        },
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
