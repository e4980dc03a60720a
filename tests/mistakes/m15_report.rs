//! A task that returns `u64`.
//> `u64` cannot be returned from the body of a process
//~ return `()`, `u8`, `i32`, `ExitCode`
//~ start a function that returns any other value by `Process::spawn_value`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(n: u64) -> u64 {
    n * n
}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    Process::spawn(f, (1,))?.join()?;
    Ok(())
}
