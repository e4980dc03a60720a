//! Python's `threading.Lock` and `RLock`.

use super::helpers::{Raised, acquire_limit, args, made, no_method};
use super::mutex::Mutex;
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::local::{Call, CallContext, Local, Made, Owner, Step, WaiterId};
use crate::multiprocessing::managers::{Arguments, Exception};
use ossature_sys::deadline::Deadline;

pub(super) const METHODS: &[&str] = &["acquire", "locked", "release"];

struct Lock {
    mutex: Mutex,
    reentrant: bool,
}

pub(super) fn make(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let [] = args(arguments, [])?;
    Ok(made("Lock", METHODS, Lock { mutex: Mutex::default(), reentrant: false }))
}

pub(super) fn make_reentrant(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let [] = args(arguments, [])?;
    Ok(made("RLock", METHODS, Lock { mutex: Mutex::default(), reentrant: true }))
}

/// Carries out `acquire(blocking, timeout)` of any type with a mutex.
pub(super) fn acquire(mutex: &mut Mutex, reentrant: bool, call: Call<'_>) -> Raised<Step> {
    let [blocking, timeout] = args(call.arguments, ["blocking", "timeout"])?;
    let until = acquire_limit(&blocking, &timeout)?;
    if mutex.take(call.owner, reentrant) {
        return Ok(Step::Done(Ok(true.into())));
    }
    if until == Deadline::NOW {
        return Ok(Step::Done(Ok(false.into())));
    }
    mutex.wait(call.waiter, call.owner, 1, true.into());
    Ok(Step::Park(until))
}

impl Lock {
    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Step> {
        let value = match call.method {
            "acquire" => return acquire(&mut self.mutex, self.reentrant, call),
            "locked" => self.mutex.is_held().into(),
            "release" if self.reentrant && !self.mutex.is_held_by(call.owner) => {
                return Err(Exception::new("RuntimeError", "cannot release un-acquired lock"));
            }
            "release" if !self.mutex.is_held() => return Err(Exception::new("RuntimeError", "release unlocked lock")),
            "release" => {
                self.mutex.release(context);
                Value::None
            }
            other => return Err(no_method("lock", other)),
        };
        Ok(Step::Done(Ok(value.into())))
    }
}

impl Local for Lock {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).unwrap_or_else(|exception| Step::Done(Err(exception)))
    }

    fn cancel(&mut self, waiter: WaiterId, _: &mut CallContext) {
        self.mutex.cancel(waiter);
    }

    fn client_gone(&mut self, owner: Owner, context: &mut CallContext) {
        self.mutex.client_gone(owner, context);
    }

    fn repr(&self) -> String {
        let state = if self.mutex.is_held() { "locked" } else { "unlocked" };
        let class = if self.reentrant { "RLock" } else { "lock" };
        format!("<{state} _thread.{class} object>")
    }
}
