//! The parts that the small examples share: children that report whether they succeeded.

use std::error::Error;

use ossature::sys::process::{Child, Signal, fork, id, parent_id, set_parent_death_signal};

pub type Outcome = Result<(), Box<dyn Error>>;

/// Starts a process that runs `work`. If `work` fails, the process prints the error and fails.
pub fn start(work: impl FnOnce() -> Outcome) -> Result<Child, Box<dyn Error>> {
    let parent = id();
    let child = fork(|| {
        // A child that waits must not outlive a parent that failed, nor one that had died before this.
        if set_parent_death_signal(Some(Signal::KILL)).is_err() || parent_id() != Some(parent) {
            return 1;
        }
        match work() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error}");
                1
            }
        }
    })?;
    Ok(child)
}

/// Waits for all children; returns an error if a child failed.
pub fn join(children: impl IntoIterator<Item = Child>) -> Outcome {
    for mut child in children {
        let exit = child.wait()?;
        if !exit.success() {
            return Err(format!("a process ended with {exit:?}").into());
        }
    }
    Ok(())
}

/// Whether the program checks itself.
pub fn is_self_test() -> bool {
    std::env::args().any(|argument| argument == "--self-test")
}
