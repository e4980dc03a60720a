//! The forms in which a task's return value is sent, and how the table prepares a call for each form.
//!
//! A function may return what makes an exit code, a value, a `Result` of a value, or several of these. Method
//! resolution tries the trait of a type before the trait of a reference to the type. So [`tasks!`](crate::tasks) finds
//! for each form the opener that the return type has, and otherwise one that refuses.

use std::fmt::Debug;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Arguments, Target, answer_result, answer_value, max_argument_depth};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::Connection;
use crate::multiprocessing::state::Termination;
use crate::multiprocessing::transfer::{self, Bounds, Packed, Transfer, Trust};

/// The result that the parent requests from the task.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Form {
    /// An exit code.
    Code,
    /// The value that the task returns.
    Value,
    /// The value, or the text of the error.
    Result,
    /// A plain value; only a pool requests one.
    Plain,
}

/// A call whose arguments are unpacked, ready to run; it returns the exit code.
#[doc(hidden)]
pub type Body = Box<dyn FnOnce() -> u8>;

/// A task with the types of its arguments and of its return value.
#[doc(hidden)]
#[derive(Debug)]
pub struct Opener<F, Args, R>(F, PhantomData<fn(Args) -> R>);

/// Makes the opener of a task.
#[doc(hidden)]
pub fn opener<F: Target<Args>, Args: Arguments + 'static>(task: F) -> Opener<F, Args, F::Output> {
    Opener(task, PhantomData)
}

impl<F: Copy, Args, R> Opener<F, Args, R> {
    pub(super) fn task(&self) -> F {
        self.0
    }
}

/// Prepares a call for the exit code.
#[doc(hidden)]
pub trait OpensCode {
    fn open_code(&self, arguments: Packed) -> Result<Body>;
}

/// Prepares a call for the value.
#[doc(hidden)]
pub trait OpensValue {
    fn open_value(&self, arguments: Packed) -> Result<Body>;
}

/// Prepares a call for the value or the error.
#[doc(hidden)]
pub trait OpensResult {
    fn open_result(&self, arguments: Packed) -> Result<Body>;
}

impl<F: Target<Args>, Args: Arguments + 'static> OpensCode for Opener<F, Args, F::Output>
where
    F::Output: Termination,
{
    fn open_code(&self, arguments: Packed) -> Result<Body> {
        let (task, arguments) = (self.0, unpack::<Args>(arguments)?);
        Ok(Box::new(move || task.call(arguments).report()))
    }
}

impl<F: Target<Args>, Args: Arguments + 'static> OpensValue for Opener<F, Args, F::Output>
where
    F::Output: Transfer,
{
    fn open_value(&self, arguments: Packed) -> Result<Body> {
        let (task, (parent, arguments)) = (self.0, unpack::<(Connection, Args)>(arguments)?);
        Ok(Box::new(move || answer_value(&parent, &task.call(arguments))))
    }
}

impl<F, Args, T, E> OpensResult for Opener<F, Args, std::result::Result<T, E>>
where
    F: Target<Args, Output = std::result::Result<T, E>>,
    Args: Arguments + 'static,
    T: Transfer,
    E: Debug,
{
    fn open_result(&self, arguments: Packed) -> Result<Body> {
        let (task, (parent, arguments)) = (self.0, unpack::<(Connection, Args)>(arguments)?);
        Ok(Box::new(move || answer_result(&parent, task.call(arguments))))
    }
}

impl<F, Args, R> OpensCode for &Opener<F, Args, R> {
    fn open_code(&self, _: Packed) -> Result<Body> {
        refuse("an exit code")
    }
}

impl<F, Args, R> OpensValue for &Opener<F, Args, R> {
    fn open_value(&self, _: Packed) -> Result<Body> {
        refuse("a value")
    }
}

impl<F, Args, R> OpensResult for &Opener<F, Args, R> {
    fn open_result(&self, _: Packed) -> Result<Body> {
        refuse("a `Result`")
    }
}

/// Unpacks the arguments of a task, which a new process receives from its parent alone.
fn unpack<T: DeserializeOwned>(arguments: Packed) -> Result<T> {
    let bounds = Bounds { depth: max_argument_depth(), deeper: "set_max_argument_depth", ..Bounds::SAME_PROGRAM };
    transfer::unpack(arguments, Trust::SameProgram, bounds)
}

/// Refuses a form that the function does not return. A start requests only a form that the compiler has found.
#[cold]
fn refuse(wanted: &str) -> Result<Body> {
    Err(Error::new(ErrorKind::UnknownTask, format!("the task does not return {wanted}")))
}
