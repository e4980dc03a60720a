//! Plain data: the result of decoding a pickle.

use super::bigint::{BigInt, integer};
use super::global::Global;

/// A plain Python value.
///
/// A closed set: decoding never makes anything else, and never runs anything. Containers hold their items in the order
/// in which they were written. Two sets with the same items in another order are not equal here. Where a dict was
/// written with one key twice, the last one counts, as in Python: [`get`](Self::get) finds it.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::Value;
///
/// let point = Value::dict([("x", 3), ("y", 4)]);
/// assert_eq!(point.get("y").and_then(Value::as_int), Some(4));
/// assert_eq!(Value::from(vec!["a", "b"]), Value::List(vec!["a".into(), "b".into()]));
/// ```
///
/// What is in it, by type:
///
/// ```
/// use ossature::multiprocessing::connection::pickle::Value;
///
/// let job = Value::dict([("name", Value::from("count")), ("urgent", true.into()), ("weight", 0.5.into())]);
/// assert_eq!(job.get("name").and_then(Value::as_str), Some("count"));
/// assert_eq!(job.get("urgent").and_then(Value::as_bool), Some(true));
/// assert_eq!(job.get("weight").and_then(Value::as_float), Some(0.5));
/// assert_eq!(job.type_name(), "dict");
/// assert_eq!(Value::Bytes(b"ab".to_vec()).as_bytes(), Some(&b"ab"[..]));
/// assert_eq!(Value::from((1, 2)).as_items().map(<[Value]>::len), Some(2));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    #[default]
    None,
    /// `bool`.
    Bool(bool),
    /// `int`, and the `long` of Python 2.
    Int(i64),
    /// An `int` outside the range of `i64`.
    BigInt(BigInt),
    /// `float`.
    Float(f64),
    /// `complex`: the real part, then the imaginary one.
    Complex(f64, f64),
    /// `str`, and the `unicode` of Python 2. Text with half a surrogate pair, which Python allows, is refused.
    Text(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `bytearray`.
    ByteArray(Vec<u8>),
    /// `list`.
    List(Vec<Value>),
    /// `tuple`.
    Tuple(Vec<Value>),
    /// `dict`, and `collections.OrderedDict`: keys and their values.
    Dict(Vec<(Value, Value)>),
    /// `set`.
    Set(Vec<Value>),
    /// `frozenset`.
    FrozenSet(Vec<Value>),
    /// The name of a class or function, which a decoder of plain data refuses:
    /// [`Decoder::objects`](super::Decoder::objects).
    Global(Box<Global>),
    /// An object of a class, as its pickle describes it; a decoder of plain data refuses it, too.
    Object(Box<Object>),
}

impl Value {
    /// Makes a [`Dict`](Self::Dict) from `pairs`.
    pub fn dict<K: Into<Self>, V: Into<Self>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Dict(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The value under the text `key`, if this is a dict with that key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Dict(pairs) = self else { return None };
        pairs.iter().rev().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The number, if this is an int that fits. Unlike in Python, a bool is not an int.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// The number, if this is a float or an int; an int may lose digits.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// The truth value, if this is a bool.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The bytes, if this is a `bytes` or `bytearray`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) | Self::ByteArray(bytes) = self { Some(bytes) } else { None }
    }

    /// The items, if this is a list, tuple, set or frozenset.
    pub fn as_items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) | Self::FrozenSet(items) => Some(items),
            _ => None,
        }
    }

    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Complex(..) => "complex",
            Self::Text(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "bytearray",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Set(_) => "set",
            Self::FrozenSet(_) => "frozenset",
            Self::Global(_) => "type",
            Self::Object(_) => "object",
        }
    }

    /// The number of bytes of memory that the value takes, including the `Value` itself.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        let inside = match self {
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            other => other.memory_inside(),
        };
        size_of::<Self>() + inside
    }

    /// The number of bytes of memory that the content takes.
    fn memory_inside(&self) -> usize {
        match self {
            Self::BigInt(big) => big.as_le_bytes().len(),
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) | Self::ByteArray(bytes) => bytes.len(),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) | Self::FrozenSet(items) => {
                items.iter().map(Self::memory).sum()
            }
            Self::Dict(pairs) => pairs.iter().map(|(key, value)| key.memory() + value.memory()).sum(),
            Self::Global(global) => global.module().len() + global.name().len(),
            Self::Object(object) => {
                let Object { made_by, args, state } = &**object;
                let names = made_by.module().len() + made_by.name().len();
                names + args.iter().map(Self::memory).sum::<usize>() + state.memory()
            }
            _ => 0,
        }
    }

    /// The type name of the part of the value that cannot be hashed, so that Python accepts the value neither as a key
    /// nor in a set.
    pub(super) fn unhashable(&self) -> Option<&'static str> {
        match self {
            Self::List(_) | Self::Dict(_) | Self::Set(_) | Self::ByteArray(_) => Some(self.type_name()),
            // The items of a frozenset were looked at when it was made.
            Self::Tuple(items) => items.iter().find_map(Self::unhashable),
            _ => None,
        }
    }
}

/// An object of a Python program, as its pickle describes it: the class or function, the arguments, and the state.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::pickle::{Decoder, Global, Object, Value, decode, encode};
///
/// let error = Object::new(Global::new("exceptions", "KeyError"), vec!["spam".into()]);
/// let bytes = encode(&error.clone().into())?; // CPython's pickle.loads makes KeyError('spam') of it
/// assert!(decode(&bytes).is_err(), "only plain data, unless asked for more");
/// assert_eq!(Decoder::new().objects().decode(&bytes)?, Value::from(error));
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Object {
    /// The class or function that would be called.
    pub made_by: Global,
    /// The arguments.
    pub args: Vec<Value>,
    /// The state that the object would then receive; [`Value::None`] for none.
    pub state: Value,
}

impl Object {
    /// Makes an object without a state of its own.
    pub fn new(made_by: Global, args: Vec<Value>) -> Self {
        Self { made_by, args, state: Value::None }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(Box::new(object))
    }
}

impl From<Global> for Value {
    fn from(global: Global) -> Self {
        Self::Global(Box::new(global))
    }
}

macro_rules! from {
    ($($from:ty, $value:ident => $into:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}

from! {
    (), _unit => Self::None;
    bool, value => Self::Bool(value);
    i8, value => Self::Int(value.into());
    i16, value => Self::Int(value.into());
    i32, value => Self::Int(value.into());
    i64, value => Self::Int(value);
    u8, value => Self::Int(value.into());
    u16, value => Self::Int(value.into());
    u32, value => Self::Int(value.into());
    u64, value => Self::from(i128::from(value));
    usize, value => Self::from(value as u64); // no wider on any target
    isize, value => Self::Int(value as i64);
    i128, value => whole(integer(&value.to_le_bytes()));
    f32, value => Self::Float(value.into());
    f64, value => Self::Float(value);
    String, text => Self::Text(text);
    &str, text => Self::Text(text.to_owned());
    BigInt, big => whole(integer(big.as_le_bytes()));
}

/// Adds a byte for the sign, which the bytes of an unsigned number lack.
impl From<u128> for Value {
    fn from(value: u128) -> Self {
        let mut bytes = [0; 17];
        for (to, from) in bytes.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
        whole(integer(&bytes))
    }
}

/// Returns the value of an integer.
pub(super) fn whole(number: Result<i64, BigInt>) -> Value {
    number.map_or_else(Value::BigInt, Value::Int)
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// Makes a list; use [`Value::Bytes`] for bytes.
impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

macro_rules! from_tuple {
    ($($($item:ident)+;)*) => {$(
        impl<$($item: Into<Self>),+> From<($($item,)+)> for Value {
            fn from(items: ($($item,)+)) -> Self {
                #[allow(non_snake_case)]
                let ($($item,)+) = items;
                Self::Tuple(vec![$($item.into()),+])
            }
        }
    )*};
}

from_tuple! { A; A B; A B C; A B C D; A B C D E; A B C D E F; }
