//! Operating-system services for Rust on Linux, from raw system calls up to process pools.
#![deny(unsafe_code)]
#![warn(unreachable_pub)]

pub use ossature_sys as sys;

pub mod error;
pub mod select;

pub use error::{Error, ErrorKind, Result};
