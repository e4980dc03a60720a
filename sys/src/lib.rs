//! Safe system calls of Linux, shared memory and locks that survive the death of a process, without std and without an
//! allocator. This is the lower half of Ossature. It contains all unsafe code, with a safety argument for each
//! operation.
//!
//! | purpose | start here |
//! | --- | --- |
//! | wait for descriptors | [`epoll`], [`poll`], [`select`](mod@select) |
//! | wait as on the BSDs and macOS | [`kqueue`] |
//! | events as descriptors | [`eventfd`], [`timerfd`], [`signalfd`], [`inotify`], [`pipe`], [`socket`] |
//! | start, wait for and trace processes | [`process`], [`ptrace`], [`signal`], [`sched`] |
//! | share memory between processes | [`shm::Shm`], [`shareable!`], [`mmap`]; by name [`posix_ipc`] |
//! | lock, count and wait in it | [`sync`]: [`sync::Lock`], [`sync::Semaphore`], [`sync::Event`], [`sync::Condition`], [`sync::Barrier`] |
//! | sleep on a word | [`futex`] |
//! | end a wait | [`deadline::Deadline`], [`sync::Limit`], [`sync::Cancel`] |
//!
//! The modules are in layer order; a file imports only from layers above it in this list.
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
//! | all events in one queue | [`kqueue`] |
//! | scopes, shared memory, synchronisation | [`scope`], [`shm`], [`sync`] |
//!
//! Three rules hold everywhere:
//!
//! * A descriptor comes in as `AsFd` and goes out as `OwnedFd`, closed on exec.
//! * A call that can wait takes a [`Deadline`](deadline::Deadline); a signal makes it wait for the time left.
//! * Running out of time is a value, never an error.
//!
//! With std, use it through the crate `ossature`, or depend on `rustix` with its feature `std` beside it. Then
//! descriptors are std's own types, and [`Errno`](errno::Errno) becomes an `io::Error`. Without std, descriptors are
//! rustix's types.
//!
//! A lock in shared memory, and a child that changes its data:
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
//! | writing through a `Shm`, or placing a type with a pointer in it | [`shm`] |
//! | closing a descriptor that is about to be polled | [`PollFd`](poll::PollFd) |
//! | a reference, a `bool` or a private lock in a shared struct, padding in a plain one, an array of zero-sized values | [`shareable!`] |
//! | the copy of a descriptor by its number, in safe code | [`pidfd_getfd`](process::pidfd_getfd) |
#![no_std]
#![warn(unreachable_pub)]
#![cfg_attr(loom, allow(dead_code, unreachable_pub, reason = "the model uses parts only"))]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(not(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    target_vendor = "apple"
)))]
compile_error!("ossature-sys runs on Linux only, 5.10 or newer: use it under `cfg(target_os = \"linux\")`");

// The part of this crate that the BSDs and macOS have.
pub mod deadline;
pub mod errno;
pub mod kqueue;

/// The system's descriptor types.
#[cfg(not(target_os = "linux"))]
pub mod fd {
    pub use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
}

#[cfg(target_os = "linux")]
mod atomic;
#[cfg(target_os = "linux")]
mod generation;
#[cfg(target_os = "linux")]
mod raw;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod set_once;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod thread_bound;

#[cfg(target_os = "linux")]
pub mod faults;
#[cfg(target_os = "linux")]
#[cfg(loom)]
pub mod model;

#[cfg(target_os = "linux")]
pub mod fd;

#[cfg(target_os = "linux")]
pub mod epoll;
#[cfg(target_os = "linux")]
pub mod poll;
#[cfg(target_os = "linux")]
pub mod select;

#[cfg(target_os = "linux")]
pub mod eventfd;
#[cfg(target_os = "linux")]
pub mod flock;
#[cfg(target_os = "linux")]
pub mod futex;
#[cfg(target_os = "linux")]
pub mod inotify;
#[cfg(target_os = "linux")]
pub mod mmap;
#[cfg(target_os = "linux")]
pub mod pipe;
#[cfg(target_os = "linux")]
pub mod posix_ipc;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
pub mod pthread;
#[cfg(target_os = "linux")]
pub mod ptrace;
#[cfg(target_os = "linux")]
pub mod random;
#[cfg(target_os = "linux")]
mod robust;
#[cfg(target_os = "linux")]
pub mod sched;
#[cfg(target_os = "linux")]
pub mod signal;
#[cfg(target_os = "linux")]
pub mod signalfd;
#[cfg(target_os = "linux")]
pub mod socket;
#[cfg(target_os = "linux")]
pub mod stream;
#[cfg(target_os = "linux")]
pub mod timerfd;
#[cfg(target_os = "linux")]
pub mod tty;

#[cfg(target_os = "linux")]
pub mod shm;
#[cfg(target_os = "linux")]
pub mod sync;
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use sync::scope;
