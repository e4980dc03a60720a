//! A `bool` in a `Value`.
//> `bool` cannot be placed in shared memory
//~ use `u8` for a `bool`
//~ `CodedValue` chooses its type at run time
//- required by a bound in `ossature::multiprocessing::Value`
//- aborting due to 3

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn main() -> ossature::Result<()> {
    let s = Value::new(true)?;
    Ok(())
}
