//! A `Connection` in a struct of handles.
//~ Connection` has no `try_clone`
//~ cannot be cloned for another owner
//~ try_clone! { struct .. }
//~ make a `pipe()` for each process
//~ `split()`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};

ossature::try_clone! {
    struct Shared {
        counter: Value<u64>,
        parent: Connection,
    }
}

fn main() {}
