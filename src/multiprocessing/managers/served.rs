//! The types whose objects a server can have, and the results of their methods.

use std::any::Any;
use std::fmt::{self, Display};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Arguments, Exception, Proxy};
use crate::error::{ErrorKind, Result};
use crate::multiprocessing::connection::pickle::{Value, from_value, to_value};

/// The result of a method of a served object: a value, or another object to serve.
#[derive(Debug)]
#[doc(hidden)]
pub enum Answer {
    Value(Value),
    Object(Arc<dyn Served>),
}

#[doc(hidden)]
pub type Outcome = std::result::Result<Answer, Exception>;

/// A type whose objects a server can serve. [`managed!`](crate::managed) implements it.
///
/// # Examples
/// See the example of [`managed!`](crate::managed).
pub trait Managed: Sized + Send + Sync + 'static {
    /// The proxy of an object: a struct with the same methods.
    type Proxy: From<Proxy> + AsRef<Proxy>;

    /// The name by which clients request an object of the type.
    const TYPEID: &'static str;

    /// The methods that clients may call.
    const METHODS: &'static [&'static str];

    /// Makes an object with the function `new` of its `impl` block.
    #[doc(hidden)]
    fn make(arguments: Arguments) -> std::result::Result<Self, Exception>;

    /// Calls a method.
    #[doc(hidden)]
    fn call(object: &RwLock<Self>, method: &str, arguments: Arguments) -> Outcome;
}

/// An object of any type that is [`Managed`].
#[doc(hidden)]
pub trait Served: Send + Sync {
    fn typeid(&self) -> &'static str;
    fn exposed(&self) -> &'static [&'static str];
    fn call(&self, method: &str, arguments: Arguments) -> Outcome;
}

impl fmt::Debug for dyn Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} object>", self.typeid())
    }
}

pub(super) struct Guarded<T>(pub(super) RwLock<T>);

impl<T: Managed> Served for Guarded<T> {
    fn typeid(&self) -> &'static str {
        T::TYPEID
    }

    fn exposed(&self) -> &'static [&'static str] {
        T::METHODS
    }

    fn call(&self, method: &str, arguments: Arguments) -> Outcome {
        T::call(&self.0, method, arguments)
    }
}

/// Runs a method that only reads. After a panic of another call the object is in the state in which that call left it.
#[doc(hidden)]
pub fn reading<T, R>(object: &RwLock<T>, body: impl FnOnce(&T) -> R) -> R {
    body(&object.read().unwrap_or_else(PoisonError::into_inner))
}

/// Runs a method that changes the object.
#[doc(hidden)]
pub fn writing<T, R>(object: &RwLock<T>, body: impl FnOnce(&mut T) -> R) -> R {
    body(&mut object.write().unwrap_or_else(PoisonError::into_inner))
}

/// An object that a method returns to its caller to be served: the caller receives a proxy.
///
/// # Examples
/// See the example of [`managed!`](crate::managed).
pub struct Handed<T>(Arc<dyn Served>, std::marker::PhantomData<T>);

impl<T: Managed> Handed<T> {
    /// Serves the object from now on. See the example of [`managed!`](crate::managed).
    pub fn new(object: T) -> Self {
        Self(Arc::new(Guarded(RwLock::new(object))), std::marker::PhantomData)
    }
}

impl<T> fmt::Debug for Handed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A type that a method may return, and the type that its caller then receives.
///
/// Every serde value is returned as itself. A [`Handed`] object becomes a proxy.
///
/// # Examples
/// See the example of [`managed!`](crate::managed).
#[diagnostic::on_unimplemented(
    message = "a method of a served object cannot return `{Self}`",
    note = "return a serde value (`Serialize + DeserializeOwned`), a `Result` of one, written as `Result<..>`, or `Handed<T>` of another managed type"
)]
pub trait Returned {
    /// The type that the caller receives.
    type There;

    #[doc(hidden)]
    fn answer(self) -> Outcome;

    #[doc(hidden)]
    fn arrive(reply: Arrived) -> Result<Self::There>;
}

/// A reply, at the client.
#[derive(Debug)]
#[doc(hidden)]
pub enum Arrived {
    Value(Value),
    Proxy(Proxy),
}

impl<T: Serialize + DeserializeOwned> Returned for T {
    type There = T;

    fn answer(self) -> Outcome {
        match to_value(&self) {
            Ok(value) => Ok(Answer::Value(value)),
            Err(error) => Err(Exception::new("TypeError", format!("cannot send the result: {error}"))),
        }
    }

    fn arrive(reply: Arrived) -> Result<T> {
        match reply {
            Arrived::Value(value) => from_value(value),
            Arrived::Proxy(proxy) => from_value(proxy.to_value()?),
        }
    }
}

impl<M: Managed> Returned for Handed<M> {
    type There = M::Proxy;

    fn answer(self) -> Outcome {
        Ok(Answer::Object(self.0))
    }

    fn arrive(reply: Arrived) -> Result<M::Proxy> {
        match reply {
            Arrived::Proxy(proxy) => Ok(proxy.into()),
            Arrived::Value(value) => Err(crate::error::Error::new(
                ErrorKind::Decode,
                format!("the method returned {} instead of an object", super::token::repr(&value)),
            )),
        }
    }
}

/// Converts the result of a method that returns a `Result`.
#[doc(hidden)]
pub fn answer_result<T: Returned, E: Display + Any>(result: std::result::Result<T, E>) -> Outcome {
    result.map_err(Exception::of)?.answer()
}
