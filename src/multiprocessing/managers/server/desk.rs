//! What an object of the house has at hand while it carries out a call.

use std::fmt;
use std::sync::Arc;

use ossature_sys::sync::lock::Lock;

use super::super::Exception;
use super::super::wire::{Token, each_proxy};
use super::local::{Outcome, Waiter};
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::Value;

/// The answers to waiters, and the references that values hold.
pub(in super::super) struct Desk {
    address: Address,
    pub(super) answers: Vec<(Waiter, Outcome)>,
    /// References to take: objects to which a kept value refers.
    pub(super) taken: Vec<String>,
    pub(super) given_back: Arc<Lock<Vec<String>>>,
}

impl Desk {
    pub(super) fn new(address: Address) -> Self {
        Self { address, answers: Vec::new(), taken: Vec::new(), given_back: Arc::default() }
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
    pub(in super::super) fn keep(&mut self, value: Value) -> Item {
        let mut held = Vec::new();
        each_proxy(&value, &mut |token: Token| {
            if token.address == self.address {
                self.taken.push(token.ident.clone());
                held.push(Held { ident: token.ident, given_back: self.given_back.clone() });
            }
        });
        Item { value, _held: held.into() }
    }

    /// Keeps several.
    pub(in super::super) fn keep_all(&mut self, values: impl IntoIterator<Item = Value>) -> Vec<Item> {
        values.into_iter().map(|value| self.keep(value)).collect()
    }
}

/// A value in an object of the house, and what it keeps alive.
#[derive(Debug)]
pub(in super::super) struct Item {
    pub(in super::super) value: Value,
    _held: Box<[Held]>,
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
