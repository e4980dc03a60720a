//! What a built-in object has at hand while it carries out a call.

use std::fmt;
use std::sync::Arc;

use ossature_sys::sync::lock::Lock;

use super::super::Exception;
use super::super::wire::{Token, each_proxy};
use super::local::{Outcome, Waiter};
use super::usage::{Charge, Resource, Usage, cost, too_much};
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::Value;

/// The answers to waiters, and the references that values hold.
pub(in super::super) struct CallContext {
    address: Address,
    pub(super) answers: Vec<(Waiter, Outcome)>,
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

    /// Charges the caller for so many bytes of memory.
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
    pub(in super::super) fn answer(&mut self, waiter: Waiter, outcome: Outcome) {
        self.answers.push((waiter, outcome));
    }

    /// Answers a parked call with a value.
    pub(in super::super) fn answer_value(&mut self, waiter: Waiter, value: impl Into<Value>) {
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

/// A value in a built-in object, and what it keeps alive.
#[derive(Debug)]
pub(in super::super) struct Item {
    pub(in super::super) value: Value,
    _held: Box<[Held]>,
    _charge: Charge,
}

/// A reference of a kept value, which goes back when the value goes.
struct Held {
    ident: String,
    given_back: Arc<Lock<Vec<String>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.given_back.lock().push(std::mem::take(&mut self.ident));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ident)
    }
}

/// A method that the object does not have.
pub(in super::super) fn no_method(typeid: &str, method: &str) -> Exception {
    Exception::new("AttributeError", format!("'{typeid}' object has no attribute '{method}'"))
}
