//! An argument of another type.
//~ expected `String`, found integer

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(n: u32, s: String) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    Process::spawn(f, (5, 6))?.join()?;
    Ok(())
}
