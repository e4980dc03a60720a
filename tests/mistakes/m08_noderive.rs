//! An argument without serde's traits.
//> `Job` cannot go to another process
//~ #[derive(serde::Serialize, serde::Deserialize)]
//- consider adding

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

struct Job {
    n: u32,
}
fn f(job: Job) {}
static TASKS: Tasks = tasks![f];
fn main() -> ossature::Result<()> {
    freeze_support(TASKS);
    Process::spawn(f, (Job { n: 1 },))?.join()?;
    Ok(())
}
