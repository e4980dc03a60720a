//! Python's `threading.Condition`, with a reentrant lock of its own.

use std::collections::BTreeMap;

use super::lock::acquire;
use super::mutex::Mutex;
use super::{Raised, args, int, limit, made, no_method, type_error};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::desk::Desk;
use crate::multiprocessing::managers::server::local::{Call, Local, Made, Outcome, Owner, Step, Waiter};
use crate::multiprocessing::managers::{Arguments, Exception};

pub(super) const METHODS: &[&str] = &["acquire", "notify", "notifyAll", "notify_all", "release", "wait"];

#[derive(Default)]
struct Condition {
    mutex: Mutex,
    /// Those who wait for a notification, and how deep they held the lock.
    sleeping: BTreeMap<Waiter, (Owner, u32)>,
}

pub(super) fn make(arguments: Arguments, _: &mut Desk) -> Raised<Made> {
    let [lock] = args(arguments, ["lock"])?;
    if lock != Value::None {
        return Err(type_error("a condition of a manager has a lock of its own"));
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

    fn notify(&mut self, n: usize, desk: &mut Desk) {
        for _ in 0..n {
            let Some((waiter, (owner, depth))) = self.sleeping.pop_first() else { return };
            self.mutex.enter(waiter, owner, depth, true.into(), desk);
        }
    }

    fn carry_out(&mut self, call: Call<'_>, desk: &mut Desk) -> Raised<Step> {
        match call.method {
            "acquire" => return acquire(&mut self.mutex, true, call),
            "release" => {
                self.must_hold(call.owner, "release")?;
                self.mutex.release(desk);
            }
            "wait" => {
                let [timeout] = args(call.arguments, ["timeout"])?;
                let until = limit(&timeout)?;
                self.must_hold(call.owner, "wait on")?;
                let depth = self.mutex.release_all(desk);
                self.sleeping.insert(call.waiter, (call.owner, depth));
                return Ok(Step::Park(until));
            }
            "notify" => {
                let [n] = args(call.arguments, ["n"])?;
                let n = if n == Value::None { 1 } else { int(&n)? };
                self.must_hold(call.owner, "notify on")?;
                self.notify(usize::try_from(n).unwrap_or(0), desk);
            }
            "notify_all" | "notifyAll" => {
                self.must_hold(call.owner, "notify on")?;
                self.notify(usize::MAX, desk);
            }
            other => return Err(no_method("Condition", other)),
        }
        Ok(Step::Done(Ok(Value::None.into())))
    }
}

impl Local for Condition {
    fn call(&mut self, call: Call<'_>, desk: &mut Desk) -> Step {
        self.carry_out(call, desk).unwrap_or_else(|exception| Step::Done(Err(exception)))
    }

    /// One who slept needs the lock again before the answer; one who waits for the lock does not get it.
    fn late(&mut self, waiter: Waiter, desk: &mut Desk) -> Option<Outcome> {
        if let Some((owner, depth)) = self.sleeping.remove(&waiter) {
            self.mutex.enter(waiter, owner, depth, false.into(), desk);
            return None;
        }
        if self.mutex.was_notified(waiter) {
            return None; // it was notified in time, and has the lock as soon as it is free
        }
        self.mutex.forget(waiter);
        Some(Ok(false.into()))
    }

    fn forget(&mut self, waiter: Waiter, _: &mut Desk) {
        self.sleeping.remove(&waiter);
        self.mutex.forget(waiter);
    }

    fn left(&mut self, owner: Owner, desk: &mut Desk) {
        self.mutex.left(owner, desk);
    }

    fn repr(&self) -> String {
        format!("<Condition(locked={}, {} waiters)>", self.mutex.is_held(), self.sleeping.len())
    }
}
