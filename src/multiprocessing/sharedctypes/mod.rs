//! Values and arrays in shared memory: Python's `multiprocessing.sharedctypes`.
//!
//! [`Value`] and [`Array`] have a lock around the data; [`RawValue`] and [`RawArray`] have none: any thread may read
//! and write them at any time. Their data has a [`Shareable`](crate::sys::shm::Shareable) type: numbers, arrays of
//! numbers, and structs made with [`shareable!`](crate::sys::shareable).
//!
//! ```
//! use ossature::multiprocessing::{Array, RawArray, RawValue, Value};
//!
//! let count = Value::new(5_i32)?;
//! count.set(count.get()? + 1)?; // takes the lock twice: another thread may come between, as in Python
//! *count.lock()? += 1; // one turn
//! assert_eq!(count.get()?, 7);
//!
//! let samples = Array::<f64>::new(10)?; // zeroes
//! samples.set_slice(2..4, &[1.5, 2.5])?;
//! assert_eq!(samples.get(-7)?, 2.5);
//! assert_eq!(samples.lock()?.iter().sum::<f64>(), 4.0);
//!
//! let flag = RawValue::new(0_u8)?;
//! flag.set(1);
//! let line = RawArray::from_slice(b"hello\0 and the rest")?;
//! assert_eq!((flag.get(), line.value()), (1, b"hello".to_vec()));
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! # What differs from Python
//!
//! | Python | here |
//! | --- | --- |
//! | `Value('i', 5)` | `Value::new(5_i32)`; [`Value::typed`] takes the [code](TypeCode) too, and checks it |
//! | `Value(code, 5, lock=False)` with a code that is known when the program runs | [`CodedValue::new`], [`CodedArray::new`] |
//! | a `Structure` with padding, `lock=False` | the padding is a field: [below](RawValue) |
//! | `with v.get_lock(): v.value += 1` | `*v.lock()? += 1` |
//! | `v.acquire()`, `v.release()` | [`Value::acquire`], [`Value::release`]; or a guard without a lifetime: [`Value::lock_owned`] |
//! | the lock is an `RLock` | the data is lent as `&mut`, so a second [`lock`](crate::sys::sync::lock::Lock::lock) by the same thread is refused with [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) |
//! | `v.value = 2**31` wraps silently in `'i'` | does not compile; write `wrapping_add` or `as` to wrap |
//! | `a[-1]` | `a.get(-1)`, with [`isize` or `i32`](Index) |
//! | `a[2:100]` ends where the array does | is refused with [`OutOfRange`](crate::ErrorKind::OutOfRange): nothing is cut off silently |
//! | `a[::2]` | `a.lock()?.iter().step_by(2)` |
//! | a process killed inside the lock leaves it locked forever | the next holder gets it as abandoned, see below |
//! | `Value(..., lock=False)` | [`RawValue`] |
//! | `Value(..., lock=other)` | [`synchronized_with`], or both values in one struct in one [`Value`] |
//! | `synchronized(synchronized(v))` fails when it runs | does not compile |
//!
//! **When a holder is killed** in the middle of a change, the data may be half changed. Then every method here that
//! takes the lock by itself is refused with [`Abandoned`](crate::ErrorKind::Abandoned). `lock()` still gives a guard
//! that lends the data. Repair the data and call [`mark_consistent`](crate::sys::sync::lock::Guard::mark_consistent).
//! [`Value::set`] replaces all of the data and so repairs by itself.
//!
//! ```standalone_crate
//! use ossature::multiprocessing::{Process, Value};
//! use ossature::sys::signal::{Signal, raise};
//!
//! # fn main() -> ossature::Result<()> {
//! let value = Value::new([1_u64, 1])?;
//! Process::fork(|| {
//!     let mut pair = value.lock().unwrap();
//!     pair[0] = 2;
//!     raise(Signal::KILL).unwrap(); // the process dies between the first and the second
//! })?
//! .join()?;
//! let mut pair = value.lock()?;
//! assert!(pair.abandoned());
//! pair[1] = pair[0]; // repairs the data
//! pair.mark_consistent();
//! # Ok(()) }
//! ```
//!
//! **Cost.** To take and release an uncontended lock takes some ten nanoseconds. Raw single items are one load or
//! store.

mod array;
mod bytes;
mod coded;
mod copied;
mod held;
mod index;
mod raw;
mod synchronized;
mod typecode;
mod value;

#[doc(inline)]
pub use array::Array;
#[doc(inline)]
pub use coded::{CodedArray, CodedValue, Scalar};
#[doc(inline)]
pub use copied::{Copied, copy};
#[doc(inline)]
pub use held::OwnedGuard;
#[doc(inline)]
pub(in crate::multiprocessing) use held::abandoned;
#[doc(inline)]
pub use index::{Index, Span};
#[doc(inline)]
pub use raw::{RawArray, RawValue};
pub use synchronized::{Acquire, Raw, Synchronized, synchronized, synchronized_with};
#[doc(inline)]
pub use typecode::{Items, Number, TypeCode};
#[doc(inline)]
pub use value::Value;

#[doc(inline)]
pub use crate::multiprocessing::transfer::Arena;
