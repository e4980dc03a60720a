//! A `bool` in `shareable!`.
//> `bool` cannot live in shared memory
//~ use `u8` for a `bool`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

shareable! { struct S { on: bool, n: u64 } }
fn main() {}
