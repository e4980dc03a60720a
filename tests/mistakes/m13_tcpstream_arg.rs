//! A socket as an argument.
//> `TcpStream` cannot go to another process
//~ a file, socket or other descriptor goes as `Handle(..)`
//- consider adding

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

fn f(s: std::net::TcpStream) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    let s = std::net::TcpStream::connect("127.0.0.1:1").unwrap();
    Process::spawn(f, (s,))?.join()?;
    Ok(())
}
