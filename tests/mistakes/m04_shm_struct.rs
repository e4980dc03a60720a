//! A struct in a shared lock.
//> `Hist` cannot live in shared memory
//~ make a struct of them with `shareable!`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

struct Hist {
    n: u64,
    b: [u32; 4],
}
fn main() -> ossature::Result<()> {
    let s = Shm::place(SLock::<Hist, Shared>::shared(Hist { n: 0, b: [0; 4] }))?;
    Ok(())
}
