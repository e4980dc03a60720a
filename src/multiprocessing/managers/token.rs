//! Tokens and proxies of objects within values, and the text form of values.

use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::{Global, Object, Value};

/// The name of an object: its type, the address of its server, and its number there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) typeid: String,
    pub(super) address: Address,
    pub(super) ident: String,
}

/// Returns the Python class of a proxy of a type, as in Python's `SyncManager` for the types that it knows. A server of
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

    /// Returns the token of a proxy that a value contains.
    pub(super) fn of_proxy(object: &Object) -> Option<Self> {
        let is_proxy = (object.made_by.module(), object.made_by.name()) == (MODULE, "RebuildProxy");
        Self::from_value(object.args.get(1).filter(|_| is_proxy)?).ok()
    }

    /// Makes a proxy of the token, as CPython pickles it.
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

/// Formats a value as Python's `repr` does.
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

/// Makes the error for a value of another form.
pub(super) fn wrong(what: &str, value: &Value) -> Error {
    let shown: String = repr(value).chars().take(80).collect();
    Error::new(ErrorKind::Decode, format!("{what}: {shown}"))
}
