//! Python's `Namespace`: names and their values.

use std::collections::BTreeMap;

use super::helpers::{Raised, args, made, no_method, type_error};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::Arguments;
use crate::multiprocessing::managers::compact::{UnreadArgs, UnreadKey, Writer};
use crate::multiprocessing::managers::server::item::Item;
use crate::multiprocessing::managers::server::local::{Answer, Call, CallContext, Local, Made, Outcome, Step};
use crate::multiprocessing::managers::token::repr;

pub(super) const METHODS: &[&str] = &["__getattribute__", "__setattr__", "__delattr__"];

struct Namespace(BTreeMap<String, Item>);

pub(super) fn make(arguments: Arguments, context: &mut CallContext) -> Raised<Made> {
    if !arguments.args.is_empty() {
        return Err(type_error("Namespace takes only named arguments"));
    }
    let names =
        arguments.kwds.into_iter().map(|(name, value)| context.keep_under(value, name.len()).map(|it| (name, it)));
    let names = names.collect::<Raised<_>>()?;
    Ok(made("Namespace", METHODS, Namespace(names)))
}

fn name(value: Value) -> Raised<String> {
    match value {
        Value::Text(name) => Ok(name),
        other => Err(type_error(format!("attribute name must be string, not '{}'", other.type_name()))),
    }
}

impl Namespace {
    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Value> {
        match call.method {
            "__getattribute__" => {
                let [key] = args(call.arguments, ["name"])?;
                let key = name(key)?;
                self.0.get(&key).map(|item| item.value.clone()).ok_or_else(|| no_method("Namespace", &key))
            }
            "__setattr__" => {
                let [key, value] = args(call.arguments, ["name", "value"])?;
                let key = name(key)?;
                let item = context.keep_under(value, key.len())?;
                self.0.insert(key, item);
                Ok(Value::None)
            }
            "__delattr__" => {
                let [key] = args(call.arguments, ["name"])?;
                let key = name(key)?;
                self.0.remove(&key).map(|_| Value::None).ok_or_else(|| no_method("Namespace", &key))
            }
            other => Err(no_method("Namespace", other)),
        }
    }
}

impl Local for Namespace {
    fn look(&self, method: &[u8], args: UnreadArgs<'_>, out: &mut Writer<'_>) -> Option<()> {
        let UnreadKey::Text(name) = args.only().filter(|_| method == b"__getattribute__")? else { return None };
        out.value(&self.0.get(std::str::from_utf8(name).ok()?)?.value, 1).ok()
    }

    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).map(Answer::Value).into()
    }

    /// Copies the names and their values as a dict. Python sends an object of a class that this library does not have.
    fn value(&self) -> Outcome {
        Ok(Answer::Value(Value::dict(self.0.iter().map(|(name, item)| (name.as_str(), item.value.clone())))))
    }

    fn repr(&self) -> String {
        let shown = self.0.iter().filter(|(name, _)| !name.starts_with('_'));
        let shown: Vec<String> = shown.map(|(name, item)| format!("{name}={}", repr(&item.value))).collect();
        format!("Namespace({})", shown.join(", "))
    }
}
