//! Python's `threading.Barrier`, without an action. A client that dies while it waits breaks the barrier.

use std::collections::BTreeMap;

use super::helpers::{Raised, args, int, limit, made, no_method, type_error};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::local::{Call, CallContext, Local, Made, Outcome, Step, WaiterId};
use crate::multiprocessing::managers::{Arguments, Exception};
use ossature_sys::deadline::Deadline;

pub(super) const METHODS: &[&str] = &["__getattribute__", "abort", "reset", "wait"];

struct Barrier {
    parties: usize,
    timeout: Value,
    broken: bool,
    /// The waiters, each with its number as a party.
    waiting: BTreeMap<WaiterId, usize>,
}

pub(super) fn make(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let [parties, action, timeout] = args(arguments, ["parties", "action", "timeout"])?;
    if action != Value::None {
        return Err(type_error("a barrier of a manager has no action: let the party with number 0 run it"));
    }
    let parties = usize::try_from(int(&parties)?).ok().filter(|parties| *parties > 0);
    let parties = parties.ok_or_else(|| Exception::new("ValueError", "parties must be > 0"))?;
    limit(&timeout)?;
    Ok(made("Barrier", METHODS, Barrier { parties, timeout, broken: false, waiting: BTreeMap::new() }))
}

fn broken() -> Exception {
    Exception::with_args("threading.BrokenBarrierError", Vec::new())
}

impl Barrier {
    fn break_it(&mut self, context: &mut CallContext) {
        for waiter in std::mem::take(&mut self.waiting).into_keys() {
            context.answer(waiter, Err(broken()));
        }
    }

    fn wait(&mut self, timeout: &Value, waiter: WaiterId, context: &mut CallContext) -> Raised<Step> {
        let until = limit(if *timeout == Value::None { &self.timeout } else { timeout })?;
        if self.broken {
            return Err(broken());
        }
        let number = self.waiting.len();
        if number + 1 == self.parties {
            for (waiter, number) in std::mem::take(&mut self.waiting) {
                context.answer_value(waiter, number);
            }
            return Ok(Step::Done(Ok(number.into())));
        }
        if until == Deadline::NOW {
            self.broken = true;
            self.break_it(context);
            return Err(broken());
        }
        self.waiting.insert(waiter, number);
        Ok(Step::Park(until))
    }

    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Step> {
        let value: Value = match call.method {
            "wait" => {
                let [timeout] = args(call.arguments, ["timeout"])?;
                return self.wait(&timeout, call.waiter, context);
            }
            "abort" => {
                self.broken = true;
                self.break_it(context);
                Value::None
            }
            "reset" => {
                self.broken = false;
                self.break_it(context);
                Value::None
            }
            "__getattribute__" => {
                let [name] = args(call.arguments, ["name"])?;
                match name.as_str() {
                    Some("parties") => self.parties.into(),
                    Some("n_waiting") => self.waiting.len().into(),
                    Some("broken") => self.broken.into(),
                    _ => return Err(no_method("Barrier", name.as_str().unwrap_or("?"))),
                }
            }
            other => return Err(no_method("Barrier", other)),
        };
        Ok(Step::Done(Ok(value.into())))
    }
}

impl Local for Barrier {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).unwrap_or_else(|exception| Step::Done(Err(exception)))
    }

    fn timed_out(&mut self, waiter: WaiterId, context: &mut CallContext) -> Option<Outcome> {
        self.cancel(waiter, context);
        Some(Err(broken()))
    }

    /// Breaks the barrier: no other waiter can replace the party.
    fn cancel(&mut self, waiter: WaiterId, context: &mut CallContext) {
        if self.waiting.remove(&waiter).is_some() {
            self.broken = true;
            self.break_it(context);
        }
    }

    fn repr(&self) -> String {
        let (waiting, parties) = (self.waiting.len(), self.parties);
        format!("<threading.Barrier: waiters={waiting}/{parties}{}>", if self.broken { ", broken" } else { "" })
    }
}
