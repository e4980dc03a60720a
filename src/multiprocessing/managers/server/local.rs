//! A built-in object, which lives in the loop of the server and never waits there.
//!
//! A call that cannot be answered yet is *parked*: the object notes the number of the waiter, and answers it in a later
//! call. So a thousand blocked clients take no thread, and waiters are served in the order in which they came.

use std::fmt::Debug;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::sync::lock::Lock;

use super::super::served::Served;
use super::super::token::{Token, each_proxy};
use super::super::{Arguments, Exception};
use super::item::{Held, Item};
use super::usage::{Charge, Resource, Usage, cost, too_much};
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::Value;

/// Names a parked call. Numbers grow, so their order is that of arrival.
pub(in super::super) type WaiterId = u64;
/// Names the connection that a call came by, which stands for a thread of the client.
pub(in super::super) type Owner = u64;

/// A call on its way to an object.
pub(in super::super) struct Call<'c> {
    pub(in super::super) method: &'c str,
    pub(in super::super) arguments: Arguments,
    pub(in super::super) owner: Owner,
    /// The number under which the call waits, if it has to.
    pub(in super::super) waiter: WaiterId,
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
    fn timed_out(&mut self, waiter: WaiterId, context: &mut CallContext) -> Option<Outcome> {
        self.cancel(waiter, context);
        Some(Ok(false.into()))
    }

    /// Forgets a waiter whose client is gone.
    fn cancel(&mut self, _waiter: WaiterId, _desk: &mut CallContext) {}

    /// Takes back what a client held that is gone.
    fn client_gone(&mut self, _owner: Owner, _desk: &mut CallContext) {}

    /// A copy of the object: `#GETVALUE`.
    fn value(&self) -> Outcome {
        Err(Exception::new("TypeError", "the object cannot be sent"))
    }

    /// As Python's `repr` shows it.
    fn repr(&self) -> String;
}

/// The answers to waiters, and the references that values hold.
pub(in super::super) struct CallContext {
    address: Address,
    pub(super) answers: Vec<(WaiterId, Outcome)>,
    /// References to take: objects to which a kept value refers.
    pub(super) taken: Vec<String>,
    pub(super) given_back: Arc<Lock<Vec<String>>>,
    /// The client whose call is carried out.
    pub(super) caller: Arc<Usage>,
    /// How many bytes one client may keep.
    most: usize,
}

impl CallContext {
    pub(super) fn new(address: Address, most: usize) -> Self {
        let (answers, taken) = (Vec::new(), Vec::new());
        Self { address, answers, taken, given_back: Arc::default(), caller: Arc::default(), most }
    }

    /// How many bytes more the caller may keep.
    pub(in super::super) fn room(&self) -> usize {
        self.most.saturating_sub(self.caller.of(Resource::Kept))
    }

    /// Charges the caller for `bytes` bytes of memory.
    ///
    /// # Errors
    /// A `MemoryError` when the caller has as much as it may have.
    pub(in super::super) fn charge(&mut self, bytes: usize) -> Result<Charge, Exception> {
        if bytes > self.room() {
            let has = format!("keeps {} bytes here and wants to keep {bytes} more", self.caller.of(Resource::Kept));
            return Err(too_much(&has, self.most, "client_memory"));
        }
        Ok(Charge::new(&self.caller, Resource::Kept, bytes))
    }

    /// Charges the caller for values.
    ///
    /// # Errors
    /// As for [`charge`](Self::charge).
    pub(in super::super) fn charge_for(&mut self, values: &[Value]) -> Result<Charge, Exception> {
        self.charge(values.iter().map(cost).fold(0, usize::saturating_add))
    }

    /// Whether references or answers have come together.
    pub(super) fn has_changed(&self) -> bool {
        !(self.taken.is_empty() && self.answers.is_empty() && self.given_back.lock().is_empty())
    }

    /// Answers a parked call.
    pub(in super::super) fn answer(&mut self, waiter: WaiterId, outcome: Outcome) {
        self.answers.push((waiter, outcome));
    }

    /// Answers a parked call with a value.
    pub(in super::super) fn answer_value(&mut self, waiter: WaiterId, value: impl Into<Value>) {
        self.answer(waiter, Ok(value.into().into()));
    }

    /// Keeps a value in an object. The objects to which it refers live at least as long.
    ///
    /// # Errors
    /// As for [`charge`](Self::charge).
    pub(in super::super) fn keep(&mut self, value: Value) -> Result<Item, Exception> {
        self.keep_under(value, 0)
    }

    /// Keeps a value and, beside it, something of a size: the key that leads to it.
    ///
    /// # Errors
    /// As for [`charge`](Self::charge).
    pub(in super::super) fn keep_under(&mut self, value: Value, beside: usize) -> Result<Item, Exception> {
        let _charge = self.charge(cost(&value).saturating_add(beside).saturating_add(size_of::<Item>()))?;
        let mut held = Vec::new();
        each_proxy(&value, &mut |token: Token| {
            if token.address == self.address {
                self.taken.push(token.ident.clone());
                held.push(Held { ident: token.ident, given_back: self.given_back.clone() });
            }
        });
        Ok(Item { value, _held: held.into(), _charge })
    }

    /// Keeps several.
    ///
    /// # Errors
    /// As for [`charge`](Self::charge); none is kept then.
    pub(in super::super) fn keep_all(
        &mut self,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Item>, Exception> {
        values.into_iter().map(|value| self.keep(value)).collect()
    }
}
