//! `recv` without a type.
//> cannot be received from another process
//~ name what was sent: `let x: u32 = connection.recv()?`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let (a, b) = pipe()?;
    a.send(&1)?;
    let x = b.recv()?;
    println!("{}", x);
    Ok(())
}
