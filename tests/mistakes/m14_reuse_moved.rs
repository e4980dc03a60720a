//! `clone` of a `Value`.
//~ no method named `clone` found
//~ try_clone

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(v: Value<i32>) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    let v = Value::new(1)?;
    Process::spawn(f, (v.clone(),))?.join()?;
    println!("{}", v.get()?);
    Ok(())
}
