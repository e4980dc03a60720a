//! A closure that captures by value.
//= build
//> a closure that captures cannot be started in another process
//~ write a plain `fn`, list it in `tasks![..]`, and pass as arguments what it needs

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let n = 5;
    Process::spawn(move || println!("{n}"), ())?.join()?;
    Ok(())
}
