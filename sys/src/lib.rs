//! Safe system calls of Linux, shared memory and locks that survive the death of a process, without std and without an
//! allocator. This is the lower half of Ossature, and all its unsafe code, each operation with its argument.
//!
//! | purpose | start here |
//! | --- | --- |
//! | wait for descriptors | [`epoll`], [`poll`], [`select`](mod@select) |
//! | events as descriptors | [`eventfd`], [`timerfd`], [`signalfd`], [`inotify`], [`pipe`], [`socket`] |
//! | start, wait for and trace processes | [`process`], [`ptrace`], [`signal`], [`sched`] |
//! | share memory between processes | [`shm::Shm`], [`shareable!`], [`mmap`]; by name [`posix_ipc`] |
//! | lock, count and wait in it | [`sync`]: [`sync::Lock`], [`sync::Semaphore`], [`sync::Event`], [`sync::Condition`], [`sync::Barrier`] |
//! | sleep on a word | [`futex`] |
//! | end a wait | [`deadline::Deadline`], [`sync::Limit`], [`sync::Cancel`] |
//!
//! Modules stand in layer order; a file imports only from layers above it in this list.
//!
//! | layer | modules |
//! | --- | --- |
//! | foreign calls, never public | `raw` |
//! | ground | [`errno`], [`deadline`], [`fd`] |
//! | for tests: calls that fail on purpose | [`faults`] |
//! | readiness | [`select`], [`poll`], [`epoll`] |
//! | words to wait on | [`futex`] |
//! | descriptors that are events | [`pipe`], [`eventfd`], [`timerfd`], [`signalfd`], [`inotify`], [`socket`], [`stream`] |
//! | files | [`flock`] |
//! | memory | [`mmap`], [`pthread`], [`posix_ipc`] |
//! | processes and the machine | [`process`], [`ptrace`], [`random`], [`sched`], [`signal`], [`tty`] |
//! | who waits, where it lives, on what | [`scope`], [`shm`], [`sync`] |
//!
//! Three rules hold everywhere:
//!
//! * A descriptor comes in as `AsFd` and goes out as `OwnedFd`, closed on exec.
//! * A call that can wait takes a [`Deadline`](deadline::Deadline); a signal makes it wait for what is left.
//! * Running out of time is a value, never an error.
//!
//! With std, use it through the crate `ossature`, or depend on `rustix` with its feature `std` beside it. Then
//! descriptors are std's own types, and [`Errno`](errno::Errno) becomes an `io::Error`. Without std, descriptors are
//! rustix's types.
//!
//! A lock in shared memory, and a child that changes what it guards:
//!
//! ```standalone_crate
//! use core::time::Duration;
//! use ossature_sys::{process::fork, shm::Shm, sync::Lock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let total = Shm::place(Lock::shared(40_u32))?;
//! let mut child = fork(|| {
//!     *total.lock().unwrap() += 2;
//!     0
//! })?;
//! let end = child.wait_timeout(Duration::from_secs(10))?.expect("it ends at once");
//! assert!(end.success());
//! assert_eq!(*total.lock()?, 42);
//! # Ok(()) }
//! ```
//!
//! **What the compiler refuses.** Each line is a `compile_fail` test in the docs of the item it names:
//!
//! | misuse | where |
//! | --- | --- |
//! | a shared lock on the stack or the heap | [`Lock::shared`](sync::lock::Lock::shared) |
//! | a guard sent to another thread | [`Guard`](sync::lock::Guard) |
//! | writing through a `Shm`, or placing what has a pointer in it | [`shm`] |
//! | closing a descriptor that is about to be polled | [`PollFd`](poll::PollFd) |
//! | a reference, a `bool` or a private lock in a shared struct, padding in a plain one, an array of zero-sized values | [`shareable!`] |
//! | the copy of a descriptor by its number, in safe code | [`pidfd_getfd`](process::pidfd_getfd) |
#![no_std]
#![warn(unreachable_pub)]
#![cfg_attr(loom, allow(dead_code, unreachable_pub, reason = "the model uses parts only"))]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(not(target_os = "linux"))]
compile_error!("ossature-sys runs on Linux only, 5.10 or newer: use it under `cfg(target_os = \"linux\")`");

mod atomic;
mod raw;
#[doc(hidden)]
pub mod thread_bound;

pub mod faults;
#[cfg(loom)]
pub mod model;

pub mod deadline;
pub mod errno;
pub mod fd;

pub mod epoll;
pub mod poll;
pub mod select;

pub mod eventfd;
pub mod flock;
pub mod futex;
pub mod inotify;
pub mod mmap;
pub mod pipe;
pub mod posix_ipc;
pub mod process;
pub mod pthread;
pub mod ptrace;
pub mod random;
pub mod sched;
pub mod signal;
pub mod signalfd;
pub mod socket;
pub mod stream;
pub mod timerfd;
pub mod tty;

pub mod scope;
#[cfg(not(loom))]
pub mod shm;
pub mod sync;
