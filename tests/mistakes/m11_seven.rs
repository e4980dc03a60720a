//! Seven arguments.
//= passes

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(a: u8, b: u8, c: u8, d: u8, e: u8, g: u8, h: u8) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    Process::spawn(f, (1, 2, 3, 4, 5, 6, 7))?.join()?;
    Ok(())
}
