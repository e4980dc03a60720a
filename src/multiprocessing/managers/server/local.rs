//! A built-in object, which lives in the loop of the server and never waits there.
//!
//! A call that cannot return yet is *parked*: the object records the number of the waiter, and replies to it in a later
//! call. So a thousand blocked clients use no thread, and waiters are served in their order of arrival.

use std::fmt::Debug;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::sync::lock::Lock;

use super::super::compact::{UnreadArgs, Writer};
use super::super::served::Served;
use super::super::token::{Token, each_proxy};
use super::super::{Arguments, Exception};
use super::item::{Held, Item};
use super::usage::{Charge, Resource, Usage, cost, too_much};
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::Value;

/// The number of a parked call. Numbers increase, so their order is the order of arrival.
pub(in super::super) type WaiterId = u64;
/// The number of the connection of a call, which represents a thread of the client.
pub(in super::super) type Owner = u64;

/// A call of a method of an object.
pub(in super::super) struct Call<'c> {
    pub(in super::super) method: &'c str,
    pub(in super::super) arguments: Arguments,
    pub(in super::super) owner: Owner,
    /// The number under which the call waits, if it must.
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

/// The result of a call of a local object.
pub(in super::super) type Outcome = Result<Answer, Exception>;

#[derive(Debug)]
pub(in super::super) enum Answer {
    Value(Value),
    /// Another object, of which the caller receives a proxy.
    Object(Made),
}

impl<T: Into<Value>> From<T> for Answer {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

/// The next step of a call.
pub(in super::super) enum Step {
    Done(Outcome),
    /// The object has recorded the waiter, and answers it later. At the deadline the loop calls
    /// [`timed_out`](Local::timed_out).
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

    /// Answers a call that changes nothing from the bytes of its arguments, without an allocation. Writes what
    /// [`call`](Self::call) would return. Only short and frequent methods are answered so: `None` for all others, for
    /// errors, and for a result without a compact form. The method and the texts may be any bytes.
    fn look(&self, _method: &[u8], _args: UnreadArgs<'_>, _out: &mut Writer<'_>) -> Option<()> {
        None
    }

    /// Returns the reply to a waiter whose time ran out, and removes the waiter. `None` for a waiter that must still
    /// wait for a lock.
    fn timed_out(&mut self, waiter: WaiterId, context: &mut CallContext) -> Option<Outcome> {
        self.cancel(waiter, context);
        Some(Ok(false.into()))
    }

    /// Removes a waiter whose client has disconnected.
    fn cancel(&mut self, _waiter: WaiterId, _desk: &mut CallContext) {}

    /// Releases what a disconnected client held.
    fn client_gone(&mut self, _owner: Owner, _desk: &mut CallContext) {}

    /// Returns a copy of the object: `#GETVALUE`.
    fn value(&self) -> Outcome {
        Err(Exception::new("TypeError", "cannot send the object"))
    }

    /// The text that Python's `repr` shows.
    fn repr(&self) -> String;
}

/// The context of a call: the answers to waiters, and the references in values.
pub(in super::super) struct CallContext {
    address: Address,
    pub(super) answers: Vec<(WaiterId, Outcome)>,
    /// The references to take: the objects to which kept values refer.
    pub(super) taken: Vec<String>,
    pub(super) given_back: Arc<Lock<Vec<String>>>,
    /// The client of the current call.
    pub(super) caller: Arc<Usage>,
    /// The maximum number of bytes that one client may keep.
    most: usize,
}

impl CallContext {
    pub(super) fn new(address: Address, most: usize) -> Self {
        let (answers, taken) = (Vec::new(), Vec::new());
        Self { address, answers, taken, given_back: Arc::default(), caller: Arc::default(), most }
    }

    /// The number of bytes that the caller may still keep.
    pub(in super::super) fn room(&self) -> usize {
        self.most.saturating_sub(self.caller.of(Resource::Kept))
    }

    /// Charges the caller for `bytes` bytes of memory.
    ///
    /// # Errors
    /// A `MemoryError` when the caller has reached its limit.
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

    /// Whether references or answers are waiting to be processed.
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

    /// Keeps a value and charges `beside` bytes more, for the key that leads to the value.
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

    /// Keeps several values.
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

#[cfg(test)]
mod tests {
    use super::super::super::builtin::TYPES;
    use super::super::super::compact;
    use super::super::super::wire::Request;
    use super::*;

    /// Returns the results of [`Local::look`] and of [`Local::call`] for the same request.
    fn both(local: &mut dyn Local, context: &mut CallContext, request: &[u8]) -> (Option<Value>, Option<Value>) {
        let apart = compact::take_apart(request).unwrap();
        let mut room = [0; compact::MOST];
        let mut writer = Writer::begin(&mut room);
        let looked = local.look(apart.method, apart.args, &mut writer);
        let looked = looked.map(|()| compact::read_reply(writer.done()).unwrap());
        let Request { method, args, kwds, .. } = compact::read_request(request).unwrap();
        let call = Call { method: &method, arguments: Arguments { args, kwds }, owner: 7, waiter: 1 };
        match local.call(call, context) {
            Step::Done(Ok(Answer::Value(value))) => (looked, Some(value)),
            _ => (looked, None),
        }
    }

    fn text(text: &str) -> Value {
        text.into()
    }

    fn made(typeid: &str, args: Vec<Value>, context: &mut CallContext) -> Box<dyn Local> {
        let make = TYPES.iter().find(|(name, ..)| *name == typeid).unwrap().2;
        let Body::Here(local) = make(Arguments { args, kwds: Vec::new() }, context).unwrap().body else { panic!() };
        local
    }

    fn request(method: &str, args: Vec<Value>, kwds: Vec<(String, Value)>) -> Vec<u8> {
        let request = Request { ident: Some("a".into()), method: method.into(), args, kwds };
        compact::write_request(&request, &mut [0; compact::MOST]).unwrap().to_vec()
    }

    #[test]
    fn look_says_what_a_call_says_or_nothing() {
        let mut context = CallContext::new(Address::Inet("127.0.0.1".to_owned(), 1), 1 << 20);
        let long = "x".repeat(40);
        let pairs = [("k", Value::Int(7)), ("", Value::None), (&long, text("long"))];
        let mut pairs: Vec<_> = pairs.map(|(key, value)| (text(key), value)).into();
        pairs.extend([
            (Value::Int(-3), text("minus")),
            (true.into(), Value::Float(0.5)),
            (Value::Bytes(vec![7]), 1.into()),
        ]);
        let list = Value::List(vec![text("first"), 2.into(), Value::Tuple(vec![Value::None])]);
        let numbers = Value::List(vec![3.into(), 4.into()]);
        let mut name = made("Namespace", Vec::new(), &mut context);
        both(&mut *name, &mut context, &request("__setattr__", vec![text("k"), 9.into()], Vec::new()));
        let objects = [
            made("dict", vec![Value::Dict(pairs)], &mut context),
            made("list", vec![list], &mut context),
            made("Value", vec![text("i"), 5.into()], &mut context),
            made("set", vec![numbers.clone()], &mut context),
            made("Array", vec![text("i"), numbers], &mut context),
            name,
        ];
        let keys = ["k", "", "none", &long].map(text).into_iter().chain([0, 1, -1, -3, 7].map(Value::from));
        let keys: Vec<_> = keys.chain([true.into(), Value::Float(1.0), Value::Bytes(vec![7]), Value::None]).collect();
        let mut looked = 0;
        let names = TYPES.iter().flat_map(|(_, methods, _)| methods.iter());
        let reading = names.filter(|name| name.starts_with("__") || ["get", "has_key", "count"].contains(name));
        let reading: Vec<_> = reading.filter(|name| !name.contains("set") && !name.contains("del")).collect();
        for mut object in objects {
            for method in &reading {
                let one = keys.iter().map(|key| vec![key.clone()]);
                let two = keys.iter().map(|key| vec![key.clone(), text("default")]);
                for args in one.chain(two).chain([Vec::new()]) {
                    for kwds in [Vec::new(), vec![("default".to_owned(), 1.into())]] {
                        let bytes = request(method, args.clone(), kwds);
                        let (look, call) = both(&mut *object, &mut context, &bytes);
                        looked += usize::from(look.is_some());
                        assert!(look.is_none() || look == call, "{method} {args:?}: {look:?}, {call:?}");
                    }
                }
            }
        }
        // A dict: three methods with the short keys, and the length.
        assert!(looked >= 3 * 4 + 1 + 3, "{looked}");
    }

    #[test]
    fn look_at_bytes_that_are_no_request_says_nothing() {
        let mut context = CallContext::new(Address::Inet("127.0.0.1".to_owned(), 1), 1 << 20);
        let mut dict = made("dict", vec![Value::Dict(vec![(text("k"), 7.into())])], &mut context);
        let whole = request("get", vec![text("k")], Vec::new());
        let look = |dict: &dyn Local, bytes: &[u8]| {
            let apart = compact::take_apart(bytes).filter(|apart| apart.ident == b"a")?;
            dict.look(apart.method, apart.args, &mut Writer::begin(&mut [0; compact::MOST]))
        };
        assert!(look(&*dict, &whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(look(&*dict, &whole[..length]), None, "{length} bytes of it");
        }
        assert_eq!(look(&*dict, &[&whole[..], &[0]].concat()), None, "more than a request");
        for place in 0..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[place] = byte;
                // The reader of whole requests takes each request that is answered, and the answer is the same.
                if look(&*dict, &changed).is_some() {
                    let (look, call) = both(&mut *dict, &mut context, &changed);
                    assert!(look.is_some() && look == call, "{changed:?}: {look:?}, {call:?}");
                }
            }
        }
    }
}
