//! Arguments, numbers, limits and errors of the built-in types, as in Python.

use std::time::Duration;

use ossature_sys::deadline::Deadline;

use crate::multiprocessing::connection::pickle::Value;
pub(super) use crate::multiprocessing::managers::server::item::no_method;
use crate::multiprocessing::managers::server::local::{Body, Local, Made};
use crate::multiprocessing::managers::{Arguments, Exception};

pub(super) type Raised<T> = Result<T, Exception>;

pub(super) fn made(typeid: &'static str, exposed: &'static [&'static str], object: impl Local + 'static) -> Made {
    Made { typeid, exposed, body: Body::Here(Box::new(object)) }
}

/// Takes the arguments with the given names.
pub(super) fn args<const N: usize>(arguments: Arguments, names: [&str; N]) -> Raised<[Value; N]> {
    let values = arguments.by_names(&names)?;
    values.try_into().map_err(|_| Exception::new("TypeError", "wrong number of arguments")) // never: one for each name
}

pub(super) fn type_error(what: impl Into<String>) -> Exception {
    Exception::new("TypeError", what)
}

/// Converts a value to an integer; a bool counts as an integer, as in Python.
pub(super) fn int(value: &Value) -> Raised<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Bool(flag) => Ok((*flag).into()),
        other => Err(type_error(format!("'{}' object cannot be interpreted as an integer", other.type_name()))),
    }
}

pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::None => false,
        Value::Bool(flag) => *flag,
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Text(text) => !text.is_empty(),
        other => other.as_items().is_none_or(|items| !items.is_empty()),
    }
}

/// Converts the timeout of a call to a deadline; `None` means no limit.
pub(in crate::multiprocessing::managers) fn limit(timeout: &Value) -> Raised<Deadline> {
    match timeout {
        Value::None => Ok(Deadline::NEVER),
        other => {
            let seconds = other.as_float().or_else(|| int(other).ok().map(|it| it as f64));
            let seconds =
                seconds.ok_or_else(|| type_error(format!("a timeout must be a number, not {}", other.type_name())))?;
            if seconds.is_nan() {
                return Err(Exception::new("ValueError", "Invalid value NaN (not a number)"));
            }
            // Beyond what a duration holds it is forever.
            Ok(Duration::try_from_secs_f64(seconds.max(0.0)).map_or(Deadline::NEVER, Deadline::after))
        }
    }
}

/// Converts the arguments of `acquire(blocking, timeout)` to a deadline. A negative timeout means no limit.
pub(super) fn acquire_limit(blocking: &Value, timeout: &Value) -> Raised<Deadline> {
    let blocks = matches!(blocking, Value::None) || truth(blocking);
    let number = timeout.as_float().or_else(|| int(timeout).ok().map(|it| it as f64));
    match (blocks, number) {
        (false, Some(number)) if number >= 0.0 => {
            Err(Exception::new("ValueError", "can't specify a timeout for a non-blocking call"))
        }
        (false, _) => Ok(Deadline::NOW),
        (true, Some(number)) if number < 0.0 => Ok(Deadline::NEVER),
        (true, _) => limit(timeout),
    }
}

/// Whether two values are equal in Python, where 1, 1.0 and True are equal.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(_) | Value::Bool(_), Value::Int(_) | Value::Bool(_)) => int(a).ok() == int(b).ok(),
        (Value::Float(x), Value::Int(_) | Value::Bool(_)) => int(b).is_ok_and(|y| *x == y as f64),
        (Value::Int(_) | Value::Bool(_), Value::Float(_)) => same(b, a),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}

/// The items of any value that Python would iterate over.
pub(super) fn iterate(value: Value) -> Raised<Vec<Value>> {
    Ok(match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => items,
        Value::Dict(pairs) => pairs.into_iter().map(|(key, _)| key).collect(),
        Value::Text(text) => text.chars().map(|c| Value::Text(c.into())).collect(),
        Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.into_iter().map(Value::from).collect(),
        other => return Err(type_error(format!("'{}' object is not iterable", other.type_name()))),
    })
}

/// Converts an index of a sequence to a place; negative indices count from the end.
pub(super) fn place(index: &Value, len: usize, what: &str) -> Raised<usize> {
    let index = int(index)?;
    let index = if index < 0 { index.checked_add_unsigned(len as u64) } else { Some(index) };
    index
        .and_then(|index| usize::try_from(index).ok())
        .filter(|index| *index < len)
        .ok_or_else(|| Exception::new("IndexError", format!("{what} index out of range")))
}
