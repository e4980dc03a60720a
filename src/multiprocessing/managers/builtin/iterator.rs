//! An iterator over a copy of keys: the result of `iter(dict)`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::vec;

use super::helpers::{Raised, made, no_method};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::Exception;
use crate::multiprocessing::managers::server::local::{Call, CallContext, Local, Made, Step};
use crate::multiprocessing::managers::server::usage::Charge;

pub(super) const METHODS: &[&str] = &["__next__", "next", "send", "throw", "close"];

struct Iterator {
    keys: vec::IntoIter<Value>,
    /// The number of items in the container now and at the start of the iteration.
    now: Arc<AtomicUsize>,
    then: usize,
    what: &'static str,
    _charge: Charge,
}

/// Makes an iterator over the keys, which ends with an error if the number of items changes.
pub(super) fn over(
    keys: Vec<Value>,
    now: Arc<AtomicUsize>,
    what: &'static str,
    context: &mut CallContext,
) -> Raised<Made> {
    let (then, _charge) = (keys.len(), context.charge_for(&keys)?);
    Ok(made("Iterator", METHODS, Iterator { keys: keys.into_iter(), now, then, what, _charge }))
}

impl Local for Iterator {
    fn call(&mut self, call: Call<'_>, _: &mut CallContext) -> Step {
        Step::Done(match call.method {
            "__next__" | "next" if self.now.load(Relaxed) != self.then => {
                Err(Exception::new("RuntimeError", format!("{} changed size during iteration", self.what)))
            }
            "__next__" | "next" => {
                let key = self.keys.next().ok_or_else(|| Exception::with_args("StopIteration", Vec::new()));
                key.map(Into::into)
            }
            other => Err(no_method("Iterator", other)), // generators have these
        })
    }

    fn repr(&self) -> String {
        "<iterator object>".to_owned()
    }
}
