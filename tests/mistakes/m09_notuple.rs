//! One argument without a tuple.
//~ expected `(u32,)`, found
//~ use a trailing comma

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(n: u32) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    Process::spawn(f, 5)?.join()?;
    Ok(())
}
