//! A struct in a `Value`.
//> `P` cannot be placed in shared memory
//~ a struct of numbers without padding is declared by `shareable! { plain struct .. }`
//- required by a bound in `ossature::multiprocessing::Value`
//- aborting due to 3

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

#[derive(Clone, Copy)]
struct P {
    x: f64,
}
fn main() -> ossature::Result<()> {
    let s = Value::new(P { x: 1.0 })?;
    Ok(())
}
