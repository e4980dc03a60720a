//! A task that takes `&str`.
//> OwnedLikeStringNotBorrowedLikeStr
//~ is not general enough

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(name: &str) {
    println!("{name}");
}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    Process::spawn(f, ("bob",))?.join()?;
    Ok(())
}
