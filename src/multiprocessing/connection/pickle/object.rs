//! Classes and objects that a pickle names, kept as plain records of their names and arguments, and never made.
//!
//! Only a decoder with [`objects`](super::Decoder::objects) reads them. A manager's protocol needs a few: exceptions,
//! tokens and proxies. Nothing is imported and nothing is called; the name stays a text.

use super::global::Global;
use super::value::{Object, Value};

/// The length that the name of a kept class must stay below.
pub(super) const LONGEST_NAME: usize = 80;
/// The name of a serde newtype that stands for a [`Value::Global`]: a pair of module and name.
pub(crate) const GLOBAL: &str = "\0ossature::Global";
/// The name of a serde newtype that stands for a [`Value::Object`]: a pair of global and arguments.
pub(crate) const OBJECT: &str = "\0ossature::Object";

/// Returns the value of an object that a pickle describes. An object that only wraps plain data (a list from the view
/// of a dict, the numbers of an array) becomes that data; other objects stay records.
pub(super) fn value_of(made_by: Global, args: Vec<Value>, state: Value) -> Value {
    match (made_by.module(), made_by.name(), args.as_slice()) {
        ("builtins" | "__builtin__", "list", [Value::List(_)]) => args.into_iter().next().unwrap_or_default(),
        // The function that protocols 0 and 1 call in place of the class itself.
        ("copyreg" | "copy_reg", "_reconstructor", [Value::Global(class), Value::Global(_), Value::None]) => {
            Object { made_by: (**class).clone(), args: Vec::new(), state }.into()
        }
        // Written without arguments, and with its parts as its state.
        ("multiprocessing.managers", "Token", []) => match state {
            Value::Tuple(parts) => Object::new(made_by, parts).into(),
            state => Object { made_by, args, state }.into(),
        },
        ("array", "array", [Value::Text(code), Value::Bytes(bytes)]) => match numbers(code, bytes) {
            Some(numbers) => Value::List(numbers),
            None => Object { made_by, args, state }.into(),
        },
        ("array", "array", [Value::Text(_), Value::List(_)]) => args.into_iter().nth(1).unwrap_or_default(),
        _ => Object { made_by, args, state }.into(),
    }
}

/// The numbers of an `array.array` that a machine of this kind wrote.
fn numbers(code: &str, bytes: &[u8]) -> Option<Vec<Value>> {
    macro_rules! each {
        ($type:ty) => {{
            let chunks = bytes.chunks_exact(size_of::<$type>());
            if !chunks.remainder().is_empty() {
                return None;
            }
            chunks.map(|chunk| chunk.try_into().map_or(Value::None, |it| <$type>::from_ne_bytes(it).into())).collect()
        }};
    }
    Some(match code {
        "b" => each!(i8),
        "B" => each!(u8),
        "h" => each!(i16),
        "H" => each!(u16),
        "i" => each!(i32),
        "I" => each!(u32),
        "l" => each!(isize),
        "L" => each!(usize),
        "q" => each!(i64),
        "Q" => each!(u64),
        "f" => each!(f32),
        "d" => each!(f64),
        _ => return None,
    })
}
