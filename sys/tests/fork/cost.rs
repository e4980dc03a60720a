//! The cost of the fault hook where it is not built: none, counted in instructions.

use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{self, ENABLED};
use ossature_sys::ptrace::{self, State};

use crate::harness::Test;
use crate::trace::{PATIENCE, can_step, stopped};

pub const TESTS: &[Test] = &[("a_call_by_name_is_the_call_itself", a_call_by_name_is_the_call_itself)];

#[inline(never)]
fn bare(len: usize) -> Result<usize> {
    call(len)
}

#[inline(never)]
fn by_name(len: usize) -> Result<usize> {
    faults::call("getppid", || call(faults::allowed("getppid", len)))
}

#[inline(always)]
fn call(len: usize) -> Result<usize> {
    // SAFETY: getppid(2) has no preconditions.
    match unsafe { libc::getppid() } {
        0 => Err(Errno::SRCH),
        _ => Ok(len),
    }
}

/// The number of instructions of a child that calls the function a hundred times. `None` where the processor cannot
/// single-step.
fn instructions(function: fn(usize) -> Result<usize>) -> Option<u64> {
    let mut child = stopped(|| (0..100).filter(|len| function(*len).is_err()).count() as u8);
    if !can_step(&mut child) {
        return None;
    }
    for steps in 1.. {
        ptrace::single_step(&child).unwrap();
        if let State::Ended(exit) = ptrace::wait(&mut child, PATIENCE).unwrap().unwrap() {
            assert!(exit.success(), "{exit}");
            return Some(steps);
        }
    }
    None
}

fn a_call_by_name_is_the_call_itself() {
    // The way to the end of the child is the same for both.
    let (Some(bare), Some(by_name)) = (instructions(bare), instructions(by_name)) else { return };
    assert!(bare > 300, "{bare}");
    if ENABLED {
        assert!(by_name > bare + 1000, "the hook looks at its table: {bare} {by_name}");
    } else {
        assert_eq!(bare, by_name);
    }
}
