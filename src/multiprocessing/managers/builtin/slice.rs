//! Slices of sequences, as CPython sends them: `slice(start, stop, step)`.

use super::helpers::{Raised, int, place};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::Exception;

/// The index or slice between the brackets.
pub(super) enum Index {
    One(usize),
    /// The places in the order of the slice, its start, and whether they are adjacent and ascending.
    Many(Vec<usize>, usize, bool),
}

impl Index {
    pub(super) fn of(value: &Value, len: usize, what: &str) -> Raised<Self> {
        match value {
            Value::Object(object) if object.made_by.name() == "slice" => match object.args.as_slice() {
                [start, stop, step] => Self::slice(start, stop, step, len),
                _ => Err(Exception::new("TypeError", "a slice must have three parts")),
            },
            index => place(index, len, what).map(Self::One),
        }
    }

    /// The places of a slice in a sequence of `len` items.
    pub(super) fn slice(start: &Value, stop: &Value, step: &Value, len: usize) -> Raised<Self> {
        let step = if *step == Value::None { 1 } else { int(step)? };
        if step == 0 {
            return Err(Exception::new("ValueError", "slice step cannot be zero"));
        }
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let bound = |value: &Value, otherwise: i64| match value {
            Value::None => Ok(otherwise),
            other => int(other).map(|at| if at < 0 { at.saturating_add(len) } else { at }.clamp(lowest, highest)),
        };
        let (first, last) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
        let (start, stop) = (bound(start, first)?, bound(stop, last)?);
        let mut places = Vec::new();
        let mut at = start;
        while (step > 0 && at < stop) || (step < 0 && at > stop) {
            places.extend(usize::try_from(at));
            let Some(next) = at.checked_add(step) else { break };
            at = next;
        }
        Ok(Self::Many(places, usize::try_from(start).unwrap_or(0), step == 1))
    }
}
