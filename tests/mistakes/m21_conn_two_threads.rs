//! One `Connection` in two threads.
//> a connection, or one half of it, is used by one thread at a time
//~ `connection.split()` gives two halves for two threads
//- RefCell

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let (a, b) = pipe()?;
    std::thread::scope(|s| {
        s.spawn(|| a.send(&1));
        s.spawn(|| a.recv::<i32>());
    });
    Ok(())
}
