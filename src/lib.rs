//! Processes, shared memory, locks and messages for Linux that survive SIGKILL at any instruction, over a thin layer of
//! safe system calls. For Python users: `multiprocessing`, `threading` and `select` under the names that they know.
//!
//! | purpose | start here |
//! | --- | --- |
//! | run a function in another process | [`multiprocessing::Process::spawn`], [`multiprocessing::freeze_support`] |
//! | start another program | [`sys::process::Plan`] |
//! | share memory | [`multiprocessing::Value`] and [`Array`](multiprocessing::Array), [`sys::shm::Shm`] for a type of your own |
//! | lock it, between processes | [`sys::sync::Lock`] with its data, [`multiprocessing::Lock`] without data |
//! | give another owner the same lock, memory or file | [`TryClone`], for a struct of them [`try_clone!`] |
//! | send messages, files and memory | [`multiprocessing::pipe`], [`multiprocessing::connection`] |
//! | map a file, and survive when it is truncated | [`mmap::Mmap`] |
//! | wait for several things at once | [`select::selectors`], [`select::Epoll`], [`multiprocessing::connection::wait`] |
//! | edit a line on a terminal | [`readline::Editor`], completion of names: [`rlcompleter`] |
//! | run threads, timers, conditions | [`threading`], [`thread`], without threads [`dummy_threading`] |
//! | only call the kernel | the modules of [`sys`], which is the crate `ossature-sys` and needs no std |
//!
//! Two processes, one counter, and a lock with which either may die:
//!
//! ```standalone_crate
//! use ossature::sys::{process::fork, shm::Shm, sync::{Lock, Shared}};
//!
//! fn main() -> ossature::Result<()> {
//!     let hits = Shm::place(Lock::<u64, Shared>::shared(0))?;
//!     let mut child = fork(|| match hits.lock() {
//!         Ok(mut hits) => {
//!             *hits += 1;
//!             0
//!         }
//!         Err(_) => 1,
//!     })?;
//!     *hits.lock()? += 1;
//!     child.wait()?;
//!     assert_eq!(*hits.lock()?, 2);
//!     Ok(())
//! }
//! ```
//!
//! # Errors
//! Each call of this crate returns one [`Error`], which names the object, the cause and the remedy; its
//! [`kind`](Error::kind) is what a program decides on. The calls of [`sys`] return the kernel's number, an
//! [`Errno`](sys::errno::Errno), which becomes an [`Error`] by `?`.
//!
//! # Features
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `multiprocessing` | yes | [`multiprocessing`], with `serde` and the digests of the handshake; 13 packages without, 34 with |
//! | `readline` | yes | [`readline`], a line editor, with the widths of characters; [`rlcompleter`] |
//! | `serde_json` | no | a `serde_json::Value` as a namespace of [`rlcompleter`] |
//!
//! # Where it runs
//! Linux 5.10 or newer with glibc or musl, Rust 1.85 or newer. The guide, the table of Python's names and the example
//! programs are in the repository: [guide](https://github.com/ossature/ossature/blob/main/docs/guide.md),
//! [from Python](https://github.com/ossature/ossature/blob/main/docs/from-python.md),
//! [examples](https://github.com/ossature/ossature/tree/main/examples).
#![deny(unsafe_code)]
#![warn(unreachable_pub)]

#[cfg(not(target_os = "linux"))]
compile_error!("ossature runs on Linux only, 5.10 or newer: use it under `cfg(target_os = \"linux\")`");

/// Gives types that are `AsFd` the raw descriptor as well, for interfaces that accept no other form.
#[cfg(feature = "multiprocessing")]
macro_rules! as_raw_fd {
    ($($name:ty),+) => {
        $(impl std::os::fd::AsRawFd for $name {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(self))
            }
        })+
    };
}

#[doc(inline)]
pub use ossature_sys as sys;

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod clone;
pub mod dummy_thread;
pub mod dummy_threading;
pub mod error;
mod index;
pub mod mmap;
#[cfg(feature = "multiprocessing")]
pub mod multiprocessing;
mod per_process;
#[cfg(feature = "readline")]
pub mod readline;
#[cfg(feature = "readline")]
pub mod rlcompleter;
pub mod select;
pub mod thread;
pub mod threading;

#[doc(inline)]
pub use clone::TryClone;
#[doc(inline)]
pub use error::{Error, ErrorKind, Result};

/// The programs in README.md run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The programs in docs/guide.md run.
#[cfg(all(doctest, feature = "multiprocessing"))]
#[doc = include_str!("../docs/guide.md")]
mod guide {}

/// The code in docs/guide/fuzzing.md compiles and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/fuzzing.md")]
mod guide_fuzzing {}

/// The code in docs/guide/scheduler.md compiles and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/scheduler.md")]
mod guide_scheduler {}

/// The code in docs/from-python.md compiles and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-python.md")]
mod from_python {}
