//! A closure that borrows.
//~ closure may outlive the current function, but it borrows `n`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let n = 5;
    Process::spawn(|| println!("{n}"), ())?.join()?;
    Ok(())
}
