//! Python's `Semaphore` and `BoundedSemaphore`: a count without owners.

use std::collections::BTreeSet;

use super::helpers::{Raised, acquire_limit, args, int, made, no_method};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::local::{Call, CallContext, Local, Made, Step, WaiterId};
use crate::multiprocessing::managers::{Arguments, Exception};
use ossature_sys::deadline::Deadline;

pub(super) const METHODS: &[&str] = &["acquire", "release"];

struct Semaphore {
    count: u64,
    most: Option<u64>,
    waiting: BTreeSet<WaiterId>,
}

fn count_of(arguments: Arguments) -> Raised<u64> {
    let [value] = args(arguments, ["value"])?;
    let value = if value == Value::None { 1 } else { int(&value)? };
    u64::try_from(value).map_err(|_| Exception::new("ValueError", "semaphore initial value must be >= 0"))
}

pub(super) fn make(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let count = count_of(arguments)?;
    Ok(made("Semaphore", METHODS, Semaphore { count, most: None, waiting: BTreeSet::new() }))
}

pub(super) fn make_bounded(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let count = count_of(arguments)?;
    Ok(made("BoundedSemaphore", METHODS, Semaphore { count, most: Some(count), waiting: BTreeSet::new() }))
}

impl Semaphore {
    fn release(&mut self, n: &Value, context: &mut CallContext) -> Raised<Value> {
        let n = if *n == Value::None { 1 } else { int(n)? };
        let n = u64::try_from(n).ok().filter(|n| *n > 0);
        let n = n.ok_or_else(|| Exception::new("ValueError", "n must be one or more"))?;
        let count = self.count.checked_add(n).filter(|count| self.most.is_none_or(|most| *count <= most));
        self.count = count.ok_or_else(|| Exception::new("ValueError", "Semaphore released too many times"))?;
        while self.count > 0 {
            let Some(waiter) = self.waiting.pop_first() else { break };
            self.count -= 1;
            context.answer_value(waiter, true);
        }
        Ok(Value::None)
    }

    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Step> {
        match call.method {
            "acquire" => {
                let [blocking, timeout] = args(call.arguments, ["blocking", "timeout"])?;
                let until = acquire_limit(&blocking, &timeout)?;
                if let Some(left) = self.count.checked_sub(1) {
                    self.count = left;
                    return Ok(Step::Done(Ok(true.into())));
                }
                if until == Deadline::NOW {
                    return Ok(Step::Done(Ok(false.into())));
                }
                self.waiting.insert(call.waiter);
                Ok(Step::Park(until))
            }
            "release" => {
                let [n] = args(call.arguments, ["n"])?;
                self.release(&n, context).map(|value| Step::Done(Ok(value.into())))
            }
            other => Err(no_method("Semaphore", other)),
        }
    }
}

impl Local for Semaphore {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).unwrap_or_else(|exception| Step::Done(Err(exception)))
    }

    fn cancel(&mut self, waiter: WaiterId, _: &mut CallContext) {
        self.waiting.remove(&waiter);
    }

    fn repr(&self) -> String {
        format!("<threading.Semaphore: value={}>", self.count)
    }
}
