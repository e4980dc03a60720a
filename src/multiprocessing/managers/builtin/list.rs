//! Python's `list`.

use std::cmp::Ordering;

use super::helpers::{Raised, args, int, iterate, made, no_method, same, truth, type_error};
use super::slice::Index;
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::compact::{UnreadArgs, UnreadKey, Writer};
use crate::multiprocessing::managers::server::item::Item;
use crate::multiprocessing::managers::server::local::{Answer, Call, CallContext, Local, Made, Outcome, Step};
use crate::multiprocessing::managers::server::usage::cost;
use crate::multiprocessing::managers::token::repr;
use crate::multiprocessing::managers::{Arguments, Exception};

pub(super) const METHODS: &[&str] = &[
    "__add__",
    "__contains__",
    "__delitem__",
    "__getitem__",
    "__iadd__",
    "__imul__",
    "__len__",
    "__mul__",
    "__reversed__",
    "__rmul__",
    "__setitem__",
    "append",
    "clear",
    "copy",
    "count",
    "extend",
    "index",
    "insert",
    "pop",
    "remove",
    "reverse",
    "sort",
    "__getslice__",
    "__setslice__",
    "__delslice__",
];

struct List(Vec<Item>);

pub(super) fn make(arguments: Arguments, context: &mut CallContext) -> Raised<Made> {
    let [items] = args(arguments, ["iterable"])?;
    let items = if items == Value::None { Vec::new() } else { iterate(items)? };
    let items = context.keep_all(items)?;
    Ok(made("list", METHODS, List(items)))
}

impl List {
    fn copy(&self) -> Vec<Value> {
        self.0.iter().map(|item| item.value.clone()).collect()
    }

    /// Repeats the items, after a check that the caller has room for the result.
    fn repeated(&self, times: &Value, context: &mut CallContext) -> Raised<Vec<Value>> {
        let times = usize::try_from(int(times)?).unwrap_or(0);
        if self.0.is_empty() {
            return Ok(Vec::new()); // however often: counting up to the number would hold up the other clients
        }
        let once = self.0.iter().map(|item| cost(&item.value)).fold(0, usize::saturating_add);
        drop(context.charge(once.saturating_mul(times))?);
        Ok((0..times).flat_map(|_| self.copy()).collect())
    }

    fn find(&self, wanted: &Value) -> Option<usize> {
        self.0.iter().position(|item| same(&item.value, wanted))
    }

    fn get(&self, index: &Index) -> Value {
        let at = |place: &usize| self.0.get(*place).map_or(Value::None, |item| item.value.clone());
        match index {
            Index::One(place) => at(place),
            Index::Many(places, ..) => Value::List(places.iter().map(at).collect()),
        }
    }

    fn set(&mut self, index: Index, value: Value, context: &mut CallContext) -> Raised<()> {
        match index {
            Index::One(place) => {
                let item = context.keep(value)?;
                if let Some(slot) = self.0.get_mut(place) {
                    *slot = item;
                }
            }
            Index::Many(places, start, true) => {
                let items = context.keep_all(iterate(value)?)?;
                let start = start.min(self.0.len());
                self.0.splice(start..start + places.len(), items);
            }
            Index::Many(places, ..) => {
                let values = iterate(value)?;
                if values.len() != places.len() {
                    let (given, wanted) = (values.len(), places.len());
                    let message =
                        format!("attempt to assign sequence of size {given} to extended slice of size {wanted}");
                    return Err(Exception::new("ValueError", message));
                }
                for (place, value) in places.into_iter().zip(values) {
                    let item = context.keep(value)?;
                    if let Some(slot) = self.0.get_mut(place) {
                        *slot = item;
                    }
                }
            }
        }
        Ok(())
    }

    fn delete(&mut self, index: Index) {
        let mut places = match index {
            Index::One(place) => vec![place],
            Index::Many(places, ..) => places,
        };
        places.sort_unstable();
        let mut places = places.into_iter().peekable();
        let mut at = 0;
        self.0.retain(|_| {
            let goes = places.next_if_eq(&at).is_some();
            at += 1;
            !goes
        });
    }

    fn sort(&mut self, reverse: bool) -> Raised<()> {
        let mut wrong = None;
        self.0.sort_by(|a, b| {
            let order = compare(&a.value, &b.value).unwrap_or_else(|| {
                wrong = Some((a.value.type_name(), b.value.type_name()));
                Ordering::Equal
            });
            if reverse { order.reverse() } else { order }
        });
        match wrong {
            Some((a, b)) => Err(type_error(format!("'<' not supported between instances of '{a}' and '{b}'"))),
            None => Ok(()),
        }
    }

    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Value> {
        let Call { method, arguments, .. } = call;
        let len = self.0.len();
        Ok(match method {
            "__len__" => {
                let [] = args(arguments, [])?;
                len.into()
            }
            "__getitem__" => {
                let [index] = args(arguments, ["index"])?;
                self.get(&Index::of(&index, len, "list")?)
            }
            "__setitem__" => {
                let [index, value] = args(arguments, ["index", "value"])?;
                self.set(Index::of(&index, len, "list assignment")?, value, context)?;
                Value::None
            }
            "__delitem__" => {
                let [index] = args(arguments, ["index"])?;
                self.delete(Index::of(&index, len, "list assignment")?);
                Value::None
            }
            "__getslice__" => {
                let [start, stop] = args(arguments, ["start", "stop"])?;
                self.get(&Index::slice(&start, &stop, &Value::None, len)?)
            }
            "__setslice__" => {
                let [start, stop, value] = args(arguments, ["start", "stop", "value"])?;
                self.set(Index::slice(&start, &stop, &Value::None, len)?, value, context)?;
                Value::None
            }
            "__delslice__" => {
                let [start, stop] = args(arguments, ["start", "stop"])?;
                self.delete(Index::slice(&start, &stop, &Value::None, len)?);
                Value::None
            }
            "append" => {
                let [value] = args(arguments, ["object"])?;
                let item = context.keep(value)?;
                self.0.push(item);
                Value::None
            }
            "extend" | "__iadd__" => {
                let [values] = args(arguments, ["iterable"])?;
                let items = context.keep_all(iterate(values)?)?;
                self.0.extend(items);
                Value::None
            }
            "insert" => {
                let [index, value] = args(arguments, ["index", "object"])?;
                let index = int(&index)?;
                let index = if index < 0 { index.saturating_add(len as i64) } else { index };
                let item = context.keep(value)?;
                self.0.insert(usize::try_from(index).unwrap_or(0).min(len), item);
                Value::None
            }
            "pop" => {
                let [index] = args(arguments, ["index"])?;
                if len == 0 {
                    return Err(Exception::new("IndexError", "pop from empty list"));
                }
                let index = if index == Value::None { Value::Int(-1) } else { index };
                self.0.remove(super::helpers::place(&index, len, "pop")?).value
            }
            "remove" => {
                let [value] = args(arguments, ["value"])?;
                let place = self.find(&value);
                drop(
                    self.0.remove(place.ok_or_else(|| Exception::new("ValueError", "list.remove(x): x not in list"))?),
                );
                Value::None
            }
            "index" => {
                let [value, start, stop] = args(arguments, ["value", "start", "stop"])?;
                let Index::Many(places, ..) = Index::slice(&start, &stop, &Value::None, len)? else {
                    return Ok(Value::None);
                };
                let is_it = |place: &usize| self.0.get(*place).is_some_and(|item| same(&item.value, &value));
                let found = places.into_iter().find(is_it);
                found.ok_or_else(|| Exception::new("ValueError", format!("{} is not in list", repr(&value))))?.into()
            }
            "count" => {
                let [value] = args(arguments, ["value"])?;
                self.0.iter().filter(|item| same(&item.value, &value)).count().into()
            }
            "__contains__" => {
                let [value] = args(arguments, ["key"])?;
                self.find(&value).is_some().into()
            }
            "reverse" => {
                self.0.reverse();
                Value::None
            }
            "__reversed__" => Value::List(self.copy().into_iter().rev().collect()),
            "sort" => {
                let [key, reverse] = args(arguments, ["key", "reverse"])?;
                if key != Value::None {
                    return Err(type_error("a list of a manager sorts without a key function: sort a copy"));
                }
                self.sort(truth(&reverse))?;
                Value::None
            }
            "copy" => Value::List(self.copy()),
            "clear" => {
                self.0.clear();
                Value::None
            }
            "__add__" => {
                let [other] = args(arguments, ["value"])?;
                let Value::List(other) = other else {
                    return Err(type_error(format!(
                        "can only concatenate list (not \"{}\") to list",
                        other.type_name()
                    )));
                };
                Value::List(self.copy().into_iter().chain(other).collect())
            }
            "__mul__" | "__rmul__" => {
                let [times] = args(arguments, ["value"])?;
                Value::List(self.repeated(&times, context)?)
            }
            "__imul__" => {
                let [times] = args(arguments, ["value"])?;
                let values = self.repeated(&times, context)?;
                self.0 = context.keep_all(values)?;
                Value::None
            }
            other => return Err(no_method("list", other)),
        })
    }
}

/// Compares two values that Python can order.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(_) | Value::Bool(_), Value::Int(_) | Value::Bool(_)) => int(a).ok()?.partial_cmp(&int(b).ok()?),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            let different = a.iter().zip(b).find(|(a, b)| !same(a, b));
            different.map_or_else(|| Some(a.len().cmp(&b.len())), |(a, b)| compare(a, b))
        }
        // NaN is smaller than nothing and greater than nothing.
        _ => Some(a.as_float()?.partial_cmp(&b.as_float()?).unwrap_or(Ordering::Equal)),
    }
}

impl Local for List {
    fn look(&self, method: &[u8], args: UnreadArgs<'_>, out: &mut Writer<'_>) -> Option<()> {
        match method {
            b"__getitem__" => {
                let UnreadKey::Int(place) = args.only()? else { return None };
                out.value(&self.0.get(usize::try_from(place).ok()?)?.value, 1).ok()
            }
            b"__len__" if args.is_empty() => out.value(&self.0.len().into(), 1).ok(),
            _ => None,
        }
    }

    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).map(Answer::Value).into()
    }

    fn value(&self) -> Outcome {
        Ok(Answer::Value(Value::List(self.copy())))
    }

    fn repr(&self) -> String {
        repr(&Value::List(self.copy()))
    }
}
