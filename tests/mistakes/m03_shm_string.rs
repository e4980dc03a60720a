//! A `String` in shared memory.
//> `String` cannot live in shared memory
//~ make a struct of them with `shareable!`
//~ `String`, `Vec` and `Box` point into the memory of one process

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let s = Shm::place(SLock::<String, Shared>::shared(String::new()))?;
    Ok(())
}
