//! A guard in another thread.
//> a guard stays in the thread that made it
//~ drop the guard, and let the other thread take the lock itself
//- *const

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let v = Value::new(1)?;
    let g = v.lock()?;
    std::thread::scope(|s| {
        s.spawn(|| {
            drop(g);
        });
    });
    Ok(())
}
