//! A task that takes a reference to a `Value`.
//> Value<i32>` cannot go to another process
//~ `&Value<T>` as `value.try_clone()?`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(v: &Value<i32>) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    let v = Value::new(1)?;
    Process::spawn(f, (&v,))?.join()?;
    println!("{}", v.get()?);
    Ok(())
}
