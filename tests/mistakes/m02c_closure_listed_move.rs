//! Closures with `move`, without arguments, and behind other tasks, in the table of tasks.
//> a closure cannot stand in `tasks![..]`
//~ give it a name: a plain `fn`
//~ give it a name: a plain `fn`
//~ give it a name: a plain `fn`
//- no rules expected

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f<T: std::fmt::Debug>(x: T) {}
static FIRST: Tasks = tasks![move |x: u32| println!("{x}"), f::<u32>];
static BEHIND: Tasks = tasks![f::<Vec<Vec<u8>>>, move || println!("x")];
static WITHOUT: Tasks = tasks![|| println!("x")];
fn main() {}
