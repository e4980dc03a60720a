//! A second handle to the same object, for a second owner.

use std::ffi::OsString;
use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::scope::Shared;
use ossature_sys::shm::{Shareable, Shm};
use ossature_sys::sync::lock::Lock;

use crate::error::{Error, Result};

/// A second handle to the same object, for a second owner: like `Clone` for a value, but fallible.
///
/// A handle is a mapping or a descriptor, and the system may have no room for another. So handles are not `Clone`. Each
/// has a method `try_clone`, and this trait is for what is generic over them, and for structs of them. A clone is the
/// same lock, the same memory or the same open file. A number or a text is cloned as by `Clone`. An `Arc` is not
/// `TryClone`, so `try_clone` of an `Arc<Value<T>>` is that of the `Value`.
///
/// [`try_clone!`](crate::try_clone!) declares a struct of handles that can be cloned.
///
/// **A connection cannot be cloned.** Parts of a message could come to different owners. A pipe for each process is the
/// remedy, or [`split`](crate::multiprocessing::connection::Connection::split) for two threads.
///
/// # Examples
/// ```
/// use ossature::TryClone;
/// use ossature::multiprocessing::{Event, Value};
///
/// /// One for each worker.
/// fn copies<T: TryClone>(handle: &T, count: usize) -> ossature::Result<Vec<T>> {
///     (0..count).map(|_| handle.try_clone()).collect()
/// }
///
/// let (total, done) = (Value::new(7_u64)?, Event::new()?);
/// for (total, done) in copies(&(total, done), 2)? {
///     total.set(total.get()? + 1)?;
///     done.set();
/// }
/// # Ok::<(), ossature::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `try_clone`",
    label = "cannot be cloned for another owner",
    note = "handles can (`Value`, `Array`, `Lock`, `Event`, `Shm`, `Handle<File>`, ..), numbers, texts, and \
            options, lists and tuples of these; a struct of them is declared by `ossature::try_clone! {{ struct .. }}`",
    note = "a connection cannot, because parts of a message could come to different owners: make a `pipe()` for each process, \
            or `split()` it for two threads"
)]
pub trait TryClone: Sized {
    /// Returns a second handle to the same object.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM` without
    /// room for a mapping.
    fn try_clone(&self) -> Result<Self>;
}

/// Declares structs whose fields are handles, and gives them [`TryClone`](crate::TryClone).
///
/// Attributes, visibilities and type parameters with one bound each are the struct's own. Every field must be
/// `TryClone`; the compiler's error names the field's type and the remedy. If a field cannot be cloned, the clones of
/// the fields before it are dropped.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Event, Process, Tasks, Value, freeze_support, tasks};
/// use ossature::{TryClone, try_clone};
/// use serde::{Deserialize, Serialize};
///
/// try_clone! {
///     /// What the workers share.
///     #[derive(Serialize, Deserialize)]
///     struct Shared {
///         counter: Value<u64>,
///         done: Event,
///     }
/// }
///
/// fn work(shared: Shared) -> ossature::Result<()> {
///     shared.counter.set(shared.counter.get()? + 1)?;
///     shared.done.set();
///     Ok(())
/// }
///
/// static TASKS: Tasks = tasks![work];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let shared = Shared { counter: Value::new(0)?, done: Event::new()? };
///     let worker = Process::spawn(work, (shared.try_clone()?,))?;
///     shared.done.wait()?;
///     worker.join()?;
///     assert_eq!(shared.counter.get()?, 1);
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! try_clone {
    ($(
        $(#[$attribute:meta])*
        $visible:vis struct $Name:ident $(<$($Param:ident $(: $Bound:path)?),+ $(,)?>)? {
            $($(#[$field_attribute:meta])* $field_visible:vis $field:ident: $Type:ty),* $(,)?
        }
    )+) => {$(
        $(#[$attribute])*
        $visible struct $Name $(<$($Param $(: $Bound)?),+>)? {
            $($(#[$field_attribute])* $field_visible $field: $Type),*
        }

        impl $(<$($Param $(: $Bound)?),+>)? $crate::TryClone for $Name $(<$($Param),+>)? {
            fn try_clone(&self) -> $crate::Result<Self> {
                ::core::result::Result::Ok(Self { $($field: <$Type as $crate::TryClone>::try_clone(&self.$field)?),* })
            }
        }
    )+};
}

/// Implements `TryClone` by the inherent method of that name.
#[cfg(feature = "multiprocessing")]
macro_rules! by_their_own {
    ($([$($generics:tt)*] $Type:ty;)+) => {$(
        impl<$($generics)*> $crate::TryClone for $Type {
            fn try_clone(&self) -> $crate::Result<Self> {
                Self::try_clone(self) // the inherent one
            }
        }
    )+};
}

/// Implements `TryClone` by `Clone`.
macro_rules! by_clone {
    ($($Type:ty)+) => {$(
        impl $crate::TryClone for $Type {
            fn try_clone(&self) -> $crate::Result<Self> {
                Ok(self.clone())
            }
        }
    )+};
}

#[cfg(feature = "multiprocessing")]
pub(crate) use {by_clone, by_their_own};

by_clone! {
    () bool char
    u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64
    String OsString PathBuf Duration IpAddr SocketAddr
}

/// Implements `TryClone` for std's owners of a descriptor.
macro_rules! descriptors {
    ($($Type:ident)+) => {$(
        impl TryClone for $Type {
            fn try_clone(&self) -> Result<Self> {
                Self::try_clone(self).map_err(|error| match error.raw_os_error() {
                    Some(number) => Error::cloning(concat!("this ", stringify!($Type)))(Errno::from_raw_os_error(number)),
                    None => error.into(),
                })
            }
        }
    )+};
}

descriptors!(OwnedFd File TcpListener TcpStream UdpSocket UnixDatagram UnixListener UnixStream);

macro_rules! memory {
    ($($Shm:ty)+) => {$(
        impl<T: Shareable> TryClone for $Shm {
            fn try_clone(&self) -> Result<Self> {
                Self::try_clone(self).map_err(Error::cloning("this shared memory"))
            }
        }
    )+};
}

memory!(Shm<T> Shm<[T]> Shm<Lock<[T], Shared>>);

impl<T: TryClone> TryClone for Option<T> {
    fn try_clone(&self) -> Result<Self> {
        self.as_ref().map(T::try_clone).transpose()
    }
}

impl<T: TryClone> TryClone for Vec<T> {
    fn try_clone(&self) -> Result<Self> {
        self.iter().map(T::try_clone).collect()
    }
}

impl<T: TryClone, const N: usize> TryClone for [T; N] {
    fn try_clone(&self) -> Result<Self> {
        let all: Vec<T> = self.iter().map(T::try_clone).collect::<Result<_>>()?;
        Ok(Self::try_from(all).unwrap_or_else(|_| unreachable!("one clone for each item")))
    }
}

macro_rules! tuples {
    ($($($Part:ident)+;)+) => {$(
        impl<$($Part: TryClone),+> TryClone for ($($Part,)+) {
            #[allow(non_snake_case, reason = "a part is named as its type")]
            fn try_clone(&self) -> Result<Self> {
                let ($($Part,)+) = self;
                Ok(($($Part.try_clone()?,)+))
            }
        }
    )+};
}

// The number is the maximum number of arguments of a process.
tuples! {
    A; A B; A B C; A B C D; A B C D E; A B C D E F; A B C D E F G; A B C D E F G H; A B C D E F G H I;
    A B C D E F G H I J; A B C D E F G H I J K; A B C D E F G H I J K L;
}
