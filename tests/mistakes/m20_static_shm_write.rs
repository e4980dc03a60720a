//! `clone` of a `Shm`.
//~ no method named `clone` found
//~ try_clone

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let s = Shm::place(SLock::<u64, Shared>::shared(0))?;
    *s.lock()? += 1;
    let c = s.clone();
    let x = s.get();
    Ok(())
}
