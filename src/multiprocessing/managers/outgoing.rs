//! The arguments of a call as values, and the proxies among them.
//!
//! The server takes a reference of its own for a proxy that it keeps, but not before it runs the call.
//! References that the caller gives back have a connection of their own, and may overtake the call. So the caller keeps
//! the proxies that it sends until the reply is there, also if the program has dropped its own.

use std::cell::RefCell;

use serde::Serialize;

use super::proxy::Proxy;
use crate::error::Result;
use crate::multiprocessing::connection::pickle::{Value, to_value};

/// Arguments as values, and the proxies that were converted to values.
pub(super) struct Outgoing {
    pub(super) values: Vec<Value>,
    /// The proxies to drop once the reply to the call has come.
    pub(super) proxies: Vec<Proxy>,
}

thread_local! {
    /// A list for each conversion in progress on this thread: one conversion may call a server, and so begin another.
    static CONVERSIONS: RefCell<Vec<Vec<Proxy>>> = const { RefCell::new(Vec::new()) };
}

/// A conversion in progress. Its drop ends it, also when the code that serializes an argument panics.
struct Conversion;

impl Conversion {
    fn begin() -> Self {
        CONVERSIONS.with_borrow_mut(|lists| lists.push(Vec::new()));
        Self
    }

    fn proxies(&self) -> Vec<Proxy> {
        CONVERSIONS.with_borrow_mut(|lists| lists.last_mut().map(std::mem::take)).unwrap_or_default()
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        let left = CONVERSIONS.with_borrow_mut(Vec::pop);
        drop(left); // outside of the borrow: it may give references back
    }
}

/// Converts the arguments in a tuple.
pub(super) fn arguments(args: impl Serialize) -> Result<Outgoing> {
    let conversion = Conversion::begin();
    let value = to_value(&args)?;
    let proxies = conversion.proxies();
    let values = match value {
        Value::Tuple(args) => args,
        Value::None => Vec::new(),
        single => vec![single],
    };
    Ok(Outgoing { values, proxies })
}

/// Records that a proxy was converted to a value. Outside of a call nothing keeps the proxy.
pub(super) fn note(proxy: &Proxy) {
    CONVERSIONS.with_borrow_mut(|lists| {
        if let Some(list) = lists.last_mut() {
            list.push(proxy.clone());
        }
    });
}
