//! Python's `threading.Condition`, with a reentrant lock of its own.

use std::collections::BTreeMap;

use super::helpers::{Raised, args, int, limit, made, no_method, type_error};
use super::lock::acquire;
use super::mutex::Mutex;
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::local::{Call, CallContext, Local, Made, Outcome, Owner, Step, WaiterId};
use crate::multiprocessing::managers::{Arguments, Exception};

pub(super) const METHODS: &[&str] = &["acquire", "notify", "notifyAll", "notify_all", "release", "wait"];

#[derive(Default)]
struct Condition {
    mutex: Mutex,
    /// The waiters for a notification, their owners, and how many times each had acquired the lock.
    sleeping: BTreeMap<WaiterId, (Owner, u32)>,
}

pub(super) fn make(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let [lock] = args(arguments, ["lock"])?;
    if lock != Value::None {
        return Err(type_error("a condition of a manager takes no lock: it has a lock of its own"));
    }
    Ok(made("Condition", METHODS, Condition::default()))
}

impl Condition {
    fn must_hold(&self, owner: Owner, what: &str) -> Raised<()> {
        if self.mutex.is_held_by(owner) {
            return Ok(());
        }
        Err(Exception::new("RuntimeError", format!("cannot {what} un-acquired lock")))
    }

    fn notify(&mut self, n: usize, context: &mut CallContext) {
        for _ in 0..n {
            let Some((waiter, (owner, depth))) = self.sleeping.pop_first() else { return };
            self.mutex.enter(waiter, owner, depth, true.into(), context);
        }
    }

    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Step> {
        match call.method {
            "acquire" => return acquire(&mut self.mutex, true, call),
            "release" => {
                self.must_hold(call.owner, "release")?;
                self.mutex.release(context);
            }
            "wait" => {
                let [timeout] = args(call.arguments, ["timeout"])?;
                let until = limit(&timeout)?;
                self.must_hold(call.owner, "wait on")?;
                let depth = self.mutex.release_all(context);
                self.sleeping.insert(call.waiter, (call.owner, depth));
                return Ok(Step::Park(until));
            }
            "notify" => {
                let [n] = args(call.arguments, ["n"])?;
                let n = if n == Value::None { 1 } else { int(&n)? };
                self.must_hold(call.owner, "notify on")?;
                self.notify(usize::try_from(n).unwrap_or(0), context);
            }
            "notify_all" | "notifyAll" => {
                self.must_hold(call.owner, "notify on")?;
                self.notify(usize::MAX, context);
            }
            other => return Err(no_method("Condition", other)),
        }
        Ok(Step::Done(Ok(Value::None.into())))
    }
}

impl Local for Condition {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).unwrap_or_else(|exception| Step::Done(Err(exception)))
    }

    /// Handles the end of a waiter's time. A waiter for a notification needs the lock again before its answer; a waiter
    /// for the lock does not receive it.
    fn timed_out(&mut self, waiter: WaiterId, context: &mut CallContext) -> Option<Outcome> {
        if let Some((owner, depth)) = self.sleeping.remove(&waiter) {
            self.mutex.enter(waiter, owner, depth, false.into(), context);
            return None;
        }
        if self.mutex.was_notified(waiter) {
            return None; // it was notified in time, and has the lock as soon as it is free
        }
        self.mutex.cancel(waiter);
        Some(Ok(false.into()))
    }

    fn cancel(&mut self, waiter: WaiterId, _: &mut CallContext) {
        self.sleeping.remove(&waiter);
        self.mutex.cancel(waiter);
    }

    fn client_gone(&mut self, owner: Owner, context: &mut CallContext) {
        self.mutex.client_gone(owner, context);
    }

    fn repr(&self) -> String {
        format!("<Condition(locked={}, {} waiters)>", self.mutex.is_held(), self.sleeping.len())
    }
}
