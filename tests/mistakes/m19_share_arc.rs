//! An `Arc<Mutex<T>>` as an argument.
//~ Mutex<u32>>` cannot go to another process
//~ `Arc<Mutex<T>>` as `Value<T>`
//- consider adding

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

use std::sync::{Arc, Mutex};
fn f(v: Arc<Mutex<u32>>) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    Process::spawn(f, (Arc::new(Mutex::new(1)),))?.join()?;
    Ok(())
}
