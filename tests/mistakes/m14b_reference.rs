//! A reference to a `Value` as an argument. The remedy stands in the documentation of `Value` and of `Process::spawn`.
//~ expected `Value<i32>`, found `&Value

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(v: Value<i32>) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    let v = Value::new(1)?;
    Process::spawn(f, (&v,))?.join()?;
    println!("{}", v.get()?);
    Ok(())
}
