//! The arguments of a task, as one value.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::multiprocessing::transfer::Transfer;

/// The arguments of a task: a tuple of up to twelve values, each of which can be [sent to another process](Transfer).
///
/// Programs do not implement this trait. A task with more arguments takes a struct.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::tasks::Arguments;
///
/// fn takes<A: Arguments>(_arguments: &A) {}
///
/// takes(&());
/// takes(&(7_u32,));
/// takes(&("a text".to_owned(), vec![1, 2], Some(0.5)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tuple of arguments",
    note = "pass the arguments as a tuple of up to twelve values, `(x,)` for a single one; for more arguments, pass a struct"
)]
pub trait Arguments: Serialize + DeserializeOwned {}

macro_rules! tuples {
    () => {
        impl Arguments for () {}
    };
    ($first:ident $($rest:ident)*) => {
        impl<$first: Transfer, $($rest: Transfer),*> Arguments for ($first, $($rest,)*) {}
        tuples!($($rest)*);
    };
}

tuples!(A B C D E G H I J K L M);
