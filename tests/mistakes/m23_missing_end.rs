//! A list of arguments without its end.
//= run
//~ does not end with `Argument::END`: add it as the last element

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

use ossature::sys::process::{Argument, Plan};
fn main() -> ossature::Result<()> {
    let arguments = [Argument::new(c"true")];
    Plan::new(c"/bin/true", &arguments)?.start()?.wait()?;
    Ok(())
}
