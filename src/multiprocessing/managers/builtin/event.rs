//! Python's `threading.Event`.

use std::collections::BTreeSet;

use super::helpers::{Raised, args, limit, made, no_method};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::Arguments;
use crate::multiprocessing::managers::server::local::{Call, CallContext, Local, Made, Step, WaiterId};

pub(super) const METHODS: &[&str] = &["clear", "is_set", "isSet", "set", "wait"];

#[derive(Default)]
struct Event {
    is_set: bool,
    waiting: BTreeSet<WaiterId>,
}

pub(super) fn make(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let [] = args(arguments, [])?;
    Ok(made("Event", METHODS, Event::default()))
}

impl Event {
    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Step> {
        let value: Value = match call.method {
            "is_set" | "isSet" => self.is_set.into(),
            "set" => {
                self.is_set = true;
                for waiter in std::mem::take(&mut self.waiting) {
                    context.answer_value(waiter, true);
                }
                Value::None
            }
            "clear" => {
                self.is_set = false;
                Value::None
            }
            "wait" => {
                let [timeout] = args(call.arguments, ["timeout"])?;
                let until = limit(&timeout)?;
                if !self.is_set {
                    self.waiting.insert(call.waiter);
                    return Ok(Step::Park(until));
                }
                true.into()
            }
            other => return Err(no_method("Event", other)),
        };
        Ok(Step::Done(Ok(value.into())))
    }
}

impl Local for Event {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).unwrap_or_else(|exception| Step::Done(Err(exception)))
    }

    fn cancel(&mut self, waiter: WaiterId, _: &mut CallContext) {
        self.waiting.remove(&waiter);
    }

    fn repr(&self) -> String {
        format!("<threading.Event: {}>", if self.is_set { "set" } else { "unset" })
    }
}
