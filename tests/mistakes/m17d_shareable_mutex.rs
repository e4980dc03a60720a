//! A `Mutex` in `shareable!`.
//> Mutex<u32>` cannot live in shared memory
//~ `sync::Lock<T, Shared>` for a `Mutex`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

shareable! { struct S { on: std::sync::Mutex<u32>, n: u64 } }
fn main() {}
