//! Operating-system services for Rust on Linux: what Python's chapter of optional operating-system services offers, as
//! idiomatic Rust, from raw system calls upwards.
//!
//! | Python | here |
//! | --- | --- |
//! | `select`, `selectors` | [`select`], [`select::selectors`] |
//! | `multiprocessing.Value`, `Array`, `sharedctypes` | [`multiprocessing`], [`multiprocessing::sharedctypes`] |
//! | `multiprocessing.Lock`, `Semaphore`, `Event`, ... | [`multiprocessing::sync`] |
//! | `threading`, `_thread` | [`threading`], [`thread`] |
//! | `dummy_threading`, `dummy_thread` | [`dummy_threading`], [`dummy_thread`] |
//! | `os.fork`, `os.waitid`, `os.posix_spawn` | [`sys::process`] |
//! | a lock and a value that several processes share | [`sys::sync::lock`] in [`sys::shm`] |
//! | descriptors, signals, terminals, scheduling | the modules of [`sys`] |
//!
//! Two processes, one counter, and a lock that either may die with:
//!
//! ```no_run
//! use ossature::sys::{process::fork, scope::Shared, shm::Shm, sync::lock::Lock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hits = Shm::place(Lock::<u64, Shared>::shared(0))?;
//! let mut child = fork(|| match hits.lock() {
//!     Ok(mut hits) => {
//!         *hits += 1;
//!         0
//!     }
//!     Err(_) => 1,
//! })?;
//! *hits.lock()? += 1;
//! child.wait()?;
//! assert_eq!(*hits.lock()?, 2);
//! # Ok(()) }
//! ```
//!
//! [`sys`] is the crate `ossature-sys`, for programs without std too. Errors there are the kernel's numbers; here they are
//! one [`Error`] that names the object and the remedy.
#![deny(unsafe_code)]
#![warn(unreachable_pub)]

pub use ossature_sys as sys;

pub mod dummy_thread;
pub mod dummy_threading;
pub mod error;
#[cfg(feature = "multiprocessing")]
pub mod multiprocessing;
pub mod select;
pub mod thread;
pub mod threading;

pub use error::{Error, ErrorKind, Result};

/// The programs in README.md run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The code in docs/from-python.md compiles and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-python.md")]
mod from_python {}
