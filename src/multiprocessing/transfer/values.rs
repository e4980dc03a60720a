//! The bounds of values that are sent to another process: serde's traits, under names whose compile errors state the
//! remedy.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A value that another process can be started with: an argument of a task, or its result.
///
/// Every type that implements serde's `Serialize` and `DeserializeOwned` implements this trait; no type implements it
/// by hand. [The module](super) describes how to write files, sockets and shared memory.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{Connection, pipe};
/// use ossature::multiprocessing::transfer::{Inbound, Outbound, Transfer};
///
/// /// Sends a question, of any type, and receives the answer.
/// fn ask<Q: Outbound + ?Sized, A: Inbound>(connection: &Connection, question: &Q) -> ossature::Result<A> {
///     connection.send(question)?;
///     connection.recv()
/// }
///
/// fn goes_to_a_process<T: Transfer>(_argument: &T) {}
///
/// let (near, far) = pipe()?;
/// let other = std::thread::spawn(move || far.send(&far.recv::<String>()?.len()));
/// assert_eq!(ask::<str, usize>(&near, "how long is this")?, 16);
/// other.join().unwrap()?;
/// goes_to_a_process(&("a text".to_owned(), 7)); // a `&str` would borrow, which an argument cannot
/// # Ok::<(), ossature::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot go to another process",
    label = "cannot go to another process",
    note = "a struct or enum of your own needs `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "a file, socket or other descriptor goes as `Handle(..)`, `Arc<Mutex<T>>` as `Value<T>`, `&str` as `String`, \
            `&Value<T>` as `value.try_clone()?`, a closure as the name of a plain `fn` in `tasks![..]`",
    note = "if the error of a returned `Result` cannot be sent, start the function by `spawn_result`, which sends the error's text"
)]
pub trait Transfer: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + for<'de> OwnedLikeStringNotBorrowedLikeStr<'de>> Transfer for T {}

/// The trait `Deserialize` of serde. The compiler prints this name for a value that borrows.
///
/// # Examples
/// See the example of [`Transfer`].
pub trait OwnedLikeStringNotBorrowedLikeStr<'de>: Deserialize<'de> {}

#[diagnostic::do_not_recommend]
impl<'de, T: Deserialize<'de>> OwnedLikeStringNotBorrowedLikeStr<'de> for T {}

/// A value that can be sent to another process. Its type implements serde's `Serialize`, and may contain borrows.
///
/// # Examples
/// See the example of [`Transfer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "cannot be sent to another process",
    note = "a struct or enum of your own needs `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "a file, socket or other descriptor goes as `Handle(..)`, `Arc<Mutex<T>>` as `Value<T>`"
)]
pub trait Outbound: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Outbound for T {}

/// A value that can be received from another process. Its type implements serde's `DeserializeOwned`.
///
/// # Examples
/// See the example of [`Transfer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be received from another process",
    label = "cannot be received from another process",
    note = "if the type is `!` or `()` by accident, name what was sent: `let x: u32 = connection.recv()?`",
    note = "a struct or enum of your own needs `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "a file, socket or other descriptor comes as `Handle<..>`, `Arc<Mutex<T>>` as `Value<T>`, `&str` as `String`"
)]
pub trait Inbound: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Inbound for T {}
