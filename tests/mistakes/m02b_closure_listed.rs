//! A closure in the table of tasks.
//! The type of `x` is not known: the answer comes before the compiler looks for types.
//> a closure cannot stand in `tasks![..]`
//> give it a name: a plain `fn`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(n: u32) {}
static TASKS: Tasks = tasks![f, self::f, |x| println!("{x}")];
fn main() {}
