//! A guard in another thread.
//~ GuardStaysInItsThread` cannot be sent

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
