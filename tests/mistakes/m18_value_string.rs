//! A `String` in a `Value`.
//> `String` cannot be placed in shared memory
//~ text is an array of bytes of a fixed length
//- required by a bound in `ossature::multiprocessing::Value`
//- aborting due to 3

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let s = Value::new(String::from("x"))?;
    Ok(())
}
