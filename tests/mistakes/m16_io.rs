//! `?` on an error of `std::io`.
//= passes

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let t = std::fs::read("/etc/hosts")?;
    Ok(())
}
