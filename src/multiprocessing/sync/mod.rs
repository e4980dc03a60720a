//! Synchronization between processes: Python's `multiprocessing.Lock`, `Semaphore`, `Event` and the others.
//!
//! Each type owns shared memory with one of the primitives of [`sys::sync`](crate::sys::sync) in it, and has Python's
//! methods; a forked child has the object too. The primitives can be beside data, and beside each other, in memory of
//! your own: [`sys::shm`](crate::sys::shm).
//!
//! ```standalone_crate
//! use ossature::multiprocessing::Lock;
//! use ossature::sys::process::fork;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let turn = Lock::new()?;
//! let mut child = fork(|| match turn.with(|| println!("hello world, from the child")) {
//!     Ok(()) => 0,
//!     Err(_) => 1,
//! })?;
//! turn.with(|| println!("hello world, from the parent"))?;
//! assert!(child.wait()?.success());
//! # Ok(()) }
//! ```
//!
//! | | belongs to | released by | when its holder is killed |
//! | --- | --- | --- | --- |
//! | [`Lock`], [`RLock`], [`Condition`] | the thread that took it | that thread | the next holder gets it at once, as abandoned |
//! | [`RwLock`] | each reader, or the one writer | that thread | a reader's share is released; after a writer the next holder gets it as abandoned |
//! | [`HandoffLock`] | no thread | any thread | it stays taken |
//! | [`Semaphore`], [`BoundedSemaphore`] | no thread; a [`Permit`] to its thread | any thread | an acquired unit stays taken, the unit of a permit is released |
//! | [`Barrier`] | its parties | | it breaks at once |
//!
//! To synchronize with another program, also with CPython, see [`named`]: [`NamedLock`], [`NamedSemaphore`],
//! [`NamedBoundedSemaphore`].
//!
//! **A limit** of a wait is a `Duration`, an `Option<Duration>`, a [`Deadline`](crate::sys::deadline::Deadline) or a
//! [`Cancel`](crate::sys::futex::Cancel), by the monotonic clock. At its end the call returns `false` or `None`.
//!
//! **When a holder of a lock was killed**, the data that the lock guards may be half changed. The result is:
//!
//! | call | result | the caller has the lock |
//! | --- | --- | --- |
//! | `acquire`, `with` | `Abandoned` | no |
//! | a wait of [`Condition`] | `Abandoned` | yes |
//! | `lock()` | a guard whose `abandoned()` is true | yes |
//!
//! Here `Abandoned` is the error [`Abandoned`](crate::ErrorKind::Abandoned). The lock stays abandoned until a guard
//! calls `mark_consistent()`, after a repair of the data. After `mark_unrecoverable()` no thread can take the lock.
//!
//! The same holds for `read`, `with_read`, `write` and `with_write` of an [`RwLock`] whose writer was killed.
//!
//! **Fork** is refused in a thread that holds one of these locks: the child would not be the owner.

mod barrier;
mod condition;
mod event;
mod handoff;
mod lock;
mod methods;
pub mod named;
mod rwlock;
mod semaphore;

#[doc(inline)]
pub use barrier::Barrier;
#[doc(inline)]
pub use condition::{Condition, ConditionLock, OwnLock};
#[doc(inline)]
pub use event::Event;
#[doc(inline)]
pub use handoff::HandoffLock;
#[doc(inline)]
pub use lock::{Lock, LockGuard, RLock, RLockGuard};
#[doc(inline)]
pub use named::{NamedBoundedSemaphore, NamedLock, NamedSemaphore};
#[doc(inline)]
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
#[doc(inline)]
pub use semaphore::{BoundedSemaphore, Permit, SEM_VALUE_MAX, Semaphore};
