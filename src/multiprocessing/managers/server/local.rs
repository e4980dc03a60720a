//! A built-in object, which lives in the loop of the server and never waits there.
//!
//! A call that cannot be answered yet is *parked*: the object notes the number of the waiter, and answers it in a later
//! call. So a thousand blocked clients take no thread, and waiters are served in the order in which they came.

use std::fmt::Debug;
use std::sync::Arc;

use super::super::registry::Served;
use super::super::{Arguments, Exception};
use super::call_context::CallContext;
use crate::multiprocessing::connection::pickle::Value;
use ossature_sys::deadline::Deadline;

/// Names a parked call. Numbers grow, so their order is that of arrival.
pub(in super::super) type Waiter = u64;
/// Names the connection that a call came by, which stands for a thread of the client.
pub(in super::super) type Owner = u64;

/// A call on its way to an object.
pub(in super::super) struct Call<'c> {
    pub(in super::super) method: &'c str,
    pub(in super::super) arguments: Arguments,
    pub(in super::super) owner: Owner,
    /// The number under which the call waits, if it has to.
    pub(in super::super) waiter: Waiter,
}

/// A new object.
pub(in super::super) struct Made {
    pub(in super::super) typeid: &'static str,
    pub(in super::super) exposed: &'static [&'static str],
    pub(in super::super) body: Body,
}

pub(in super::super) enum Body {
    Here(Box<dyn Local>),
    Apart(Arc<dyn Served>),
}

impl Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} object>", self.typeid)
    }
}

/// What a local object answers with.
pub(in super::super) type Outcome = Result<Answer, Exception>;

#[derive(Debug)]
pub(in super::super) enum Answer {
    Value(Value),
    /// Another object, of which the caller gets a proxy.
    Object(Made),
}

impl<T: Into<Value>> From<T> for Answer {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

/// What became of a call.
pub(in super::super) enum Step {
    Done(Outcome),
    /// The object has noted the waiter, and answers it later. At that instant its [`timed_out`](Local::timed_out) is
    /// asked.
    Park(Deadline),
}

impl<T: Into<Answer>> From<Result<T, Exception>> for Step {
    fn from(outcome: Result<T, Exception>) -> Self {
        Self::Done(outcome.map(Into::into))
    }
}

/// A built-in object.
pub(in super::super) trait Local: Send {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step;

    /// The answer to a waiter whose time is over, whom the object forgets; `None` for one who has to wait for a lock
    /// yet.
    fn timed_out(&mut self, waiter: Waiter, context: &mut CallContext) -> Option<Outcome> {
        self.cancel(waiter, context);
        Some(Ok(false.into()))
    }

    /// Forgets a waiter whose client is gone.
    fn cancel(&mut self, _waiter: Waiter, _desk: &mut CallContext) {}

    /// Takes back what a client held that is gone.
    fn client_gone(&mut self, _owner: Owner, _desk: &mut CallContext) {}

    /// A copy of the object: `#GETVALUE`.
    fn value(&self) -> Outcome {
        Err(Exception::new("TypeError", "the object cannot be sent"))
    }

    /// As Python's `repr` shows it.
    fn repr(&self) -> String;
}
