//! Python's `set`.

use super::dict::{HashTable, key_of};
use super::helpers::{Raised, args, iterate, made, no_method};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::local::{Answer, Call, CallContext, Local, Made, Outcome, Step};
use crate::multiprocessing::managers::server::usage::cost;
use crate::multiprocessing::managers::token::repr;
use crate::multiprocessing::managers::{Arguments, Exception};

pub(super) const METHODS: &[&str] = &[
    "__and__",
    "__contains__",
    "__ge__",
    "__gt__",
    "__iand__",
    "__ior__",
    "__isub__",
    "__iter__",
    "__ixor__",
    "__le__",
    "__len__",
    "__lt__",
    "__or__",
    "__rand__",
    "__ror__",
    "__rsub__",
    "__rxor__",
    "__sub__",
    "__xor__",
    "add",
    "clear",
    "copy",
    "difference",
    "difference_update",
    "discard",
    "intersection",
    "intersection_update",
    "isdisjoint",
    "issubset",
    "issuperset",
    "pop",
    "remove",
    "symmetric_difference",
    "symmetric_difference_update",
    "union",
    "update",
];

struct Set(HashTable);

pub(super) fn make(arguments: Arguments, context: &mut CallContext) -> Raised<Made> {
    let [items] = args(arguments, ["iterable"])?;
    let mut set = Set(HashTable::default());
    set.become_items(if items == Value::None { Vec::new() } else { iterate(items)? }, context)?;
    Ok(made("set", METHODS, set))
}

/// Removes repeated items.
fn distinct(items: Vec<Value>) -> Raised<Vec<Value>> {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::new();
    for item in items {
        if seen.insert(key_of(&item)?) {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// Selects the items of `a` that are, or are not, in `b`.
fn chosen(a: Vec<Value>, b: &[Value], in_both: bool) -> Raised<Vec<Value>> {
    let b = b.iter().map(key_of).collect::<Raised<std::collections::HashSet<_>>>()?;
    let mut kept = Vec::new();
    for item in a {
        if b.contains(&key_of(&item)?) == in_both {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// An operation of two sets.
#[derive(Clone, Copy)]
enum Operation {
    And,
    Or,
    Sub,
    Xor,
}

fn combined(operation: Operation, a: Vec<Value>, b: Vec<Value>) -> Raised<Vec<Value>> {
    match operation {
        Operation::And => chosen(a, &b, true),
        Operation::Or => distinct(a.into_iter().chain(b).collect()),
        Operation::Sub => chosen(a, &b, false),
        Operation::Xor => {
            let others = chosen(distinct(b.clone())?, &a, false)?;
            Ok(chosen(a, &b, false)?.into_iter().chain(others).collect())
        }
    }
}

impl Set {
    fn become_items(&mut self, items: Vec<Value>, context: &mut CallContext) -> Raised<()> {
        let items = distinct(items)?;
        self.0.clear();
        for item in items {
            let kept = context.keep_under(item.clone(), 2 * cost(&item))?;
            self.0.insert(item, kept)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Answer> {
        use Operation::{And, Or, Sub, Xor};
        let Call { method, arguments, .. } = call;
        let ours = || self.0.keys();
        let (operation, changes, reversed) = match method {
            "__and__" | "intersection" => (And, false, false),
            "__or__" | "union" => (Or, false, false),
            "__sub__" | "difference" => (Sub, false, false),
            "__xor__" | "symmetric_difference" => (Xor, false, false),
            "__rand__" => (And, false, true),
            "__ror__" => (Or, false, true),
            "__rsub__" => (Sub, false, true),
            "__rxor__" => (Xor, false, true),
            "__iand__" | "intersection_update" => (And, true, false),
            "__ior__" | "update" => (Or, true, false),
            "__isub__" | "difference_update" => (Sub, true, false),
            "__ixor__" | "symmetric_difference_update" => (Xor, true, false),
            _ => return self.others(method, arguments, context).map(Answer::Value),
        };
        let mut items = ours();
        // The methods take any number of others, the operators one.
        for other in arguments.args {
            let other = distinct(iterate(other)?)?;
            let (a, b) = if reversed { (other, items) } else { (items, other) };
            items = combined(operation, a, b)?;
        }
        if changes {
            self.become_items(items, context)?;
            return Ok(Answer::Value(Value::None));
        }
        Ok(Answer::Value(Value::Set(items)))
    }

    fn others(&mut self, method: &str, arguments: Arguments, context: &mut CallContext) -> Raised<Value> {
        let count = self.0.count();
        Ok(match method {
            "__len__" => args(arguments, []).map(|[]| count.into())?,
            "__contains__" => {
                let [item] = args(arguments, ["item"])?;
                self.0.get(&item)?.is_some().into()
            }
            "add" => {
                let [item] = args(arguments, ["item"])?;
                if self.0.get(&item)?.is_none() {
                    let kept = context.keep_under(item.clone(), 2 * cost(&item))?;
                    self.0.insert(item, kept)?;
                }
                Value::None
            }
            "discard" => {
                let [item] = args(arguments, ["item"])?;
                drop(self.0.remove(&item)?);
                Value::None
            }
            "remove" => {
                let [item] = args(arguments, ["item"])?;
                let gone = self.0.remove(&item)?;
                drop(gone.ok_or_else(|| Exception::with_args("KeyError", vec![item]))?);
                Value::None
            }
            "pop" => self.0.pop().ok_or_else(|| Exception::new("KeyError", "pop from an empty set"))?.0,
            "clear" => {
                self.0.clear();
                Value::None
            }
            "copy" => Value::Set(self.0.keys()),
            "__iter__" => Value::List(self.0.keys()),
            "isdisjoint" | "issubset" | "issuperset" | "__le__" | "__lt__" | "__ge__" | "__gt__" => {
                let [other] = args(arguments, ["other"])?;
                let (ours, theirs) = (self.0.keys(), distinct(iterate(other)?)?);
                let both = chosen(ours, &theirs, true)?.len();
                match method {
                    "isdisjoint" => both == 0,
                    "issubset" | "__le__" => both == count,
                    "issuperset" | "__ge__" => both == theirs.len(),
                    "__lt__" => both == count && count < theirs.len(),
                    _ => both == theirs.len() && theirs.len() < count,
                }
                .into()
            }
            other => return Err(no_method("set", other)),
        })
    }
}

impl Local for Set {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        Step::Done(self.carry_out(call, context))
    }

    fn value(&self) -> Outcome {
        Ok(Answer::Value(Value::Set(self.0.keys())))
    }

    fn repr(&self) -> String {
        repr(&Value::Set(self.0.keys()))
    }
}
