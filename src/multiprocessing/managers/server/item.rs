//! Values that a built-in object keeps, with their cost and the references in them.

use std::fmt;
use std::sync::Arc;

use ossature_sys::sync::lock::Lock;

use super::super::Exception;
use super::usage::Charge;
use crate::multiprocessing::connection::pickle::Value;

/// A value in a built-in object, and the references and the charge that it keeps.
#[derive(Debug)]
pub(in super::super) struct Item {
    pub(in super::super) value: Value,
    pub(super) _held: Box<[Held]>,
    pub(super) _charge: Charge,
}

/// A reference in a kept value, which is given back when the value is dropped.
pub(super) struct Held {
    pub(super) ident: String,
    pub(super) given_back: Arc<Lock<Vec<String>>>,
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

/// Makes the exception for a method that the object does not have.
pub(in super::super) fn no_method(typeid: &str, method: &str) -> Exception {
    Exception::new("AttributeError", format!("'{typeid}' object has no attribute '{method}'"))
}
