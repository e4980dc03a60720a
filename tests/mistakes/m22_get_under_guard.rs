//! A second `get` under a guard.
//= run
//~ WouldDeadlock
//~ use the guard that the thread has, drop that guard first

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let v = Value::new(1)?;
    let guard = v.lock()?;
    println!("{}", v.get()?);
    Ok(())
}
