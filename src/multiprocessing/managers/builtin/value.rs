//! Python's `Value(typecode, value)` of a manager: one value, without shared memory.

use super::helpers::{Raised, args, made, no_method};
use crate::multiprocessing::connection::pickle::Value as Data;
use crate::multiprocessing::managers::Arguments;
use crate::multiprocessing::managers::compact::{UnreadArgs, Writer};
use crate::multiprocessing::managers::server::item::Item;
use crate::multiprocessing::managers::server::local::{Answer, Call, CallContext, Local, Made, Outcome, Step};
use crate::multiprocessing::managers::token::repr;

pub(super) const METHODS: &[&str] = &["get", "set"];

/// A value with a type code, which is only a label, as in Python: any value is accepted.
struct Value {
    code: Data,
    item: Item,
}

pub(super) fn make(arguments: Arguments, context: &mut CallContext) -> Raised<Made> {
    let [code, value, _lock] = args(arguments, ["typecode", "value", "lock"])?;
    Ok(made("Value", METHODS, Value { code, item: context.keep(value)? }))
}

impl Local for Value {
    fn look(&self, method: &[u8], args: UnreadArgs<'_>, out: &mut Writer<'_>) -> Option<()> {
        if method == b"get" && args.is_empty() { out.value(&self.item.value, 1).ok() } else { None }
    }

    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        match call.method {
            "get" => args(call.arguments, []).map(|[]| self.item.value.clone()).into(),
            "set" => {
                let set = args(call.arguments, ["value"]).and_then(|[value]| context.keep(value));
                set.map(|item| self.item = item).map(|()| Data::None).into()
            }
            other => Step::Done(Err(no_method("Value", other))),
        }
    }

    fn value(&self) -> Outcome {
        Ok(Answer::Value(self.item.value.clone()))
    }

    fn repr(&self) -> String {
        format!("Value({}, {})", repr(&self.code), repr(&self.item.value))
    }
}
