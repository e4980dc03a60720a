//! A closure without captures.
//= run
//~ UnknownTask(a closure in m02_closure_nocap::main cannot be started in another process, because it has no name: write a plain `fn`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    freeze_support(tasks![]);
    Process::spawn(|| println!("x"), ())?.join()?;
    Ok(())
}
