//! The faults of a participant: it is killed, stopped for a while, or executes another program.

use core::ffi::{c_char, c_int};
use core::ptr::null;

use ossature::sys::process::{Child, ExitStatus, Signal};
use ossature::sys::signal::{Flags, SignalSet, handle};

use crate::random::Random;

/// A fault that ends a participant, as the others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Kill,
    /// The participant executes another program at any point; the kernel releases what it held, as at a death.
    Exec,
}

const EXEC: Signal = Signal::USR1;
const PROGRAM: *const c_char = c"/bin/true".as_ptr();
/// The exit code of a participant that failed to execute another program.
const NO_PROGRAM: u8 = 97;

impl Blow {
    /// Picks a fault; one in eight is an exec.
    pub fn any(random: &mut Random) -> Self {
        if random.below(8) == 0 { Self::Exec } else { Self::Kill }
    }

    pub fn strike(self, child: &Child) {
        match self {
            Self::Kill => child.kill(),
            Self::Exec => child.signal(EXEC),
        }
        .expect("the child accepts a signal");
    }

    /// Waits for the end of a child after its fault.
    pub fn end(self, child: &mut Child) {
        let exit = child.wait().expect("the child can be waited for");
        assert!(
            self == Self::Kill || self.is_cause_of(exit),
            "a participant did not execute the other program: {exit:?}"
        );
    }

    pub fn is_cause_of(self, exit: ExitStatus) -> bool {
        match self {
            Self::Kill => exit.python_code() == Some(-9),
            Self::Exec => exit == ExitStatus::Code(0),
        }
    }
}

/// Prepares the calling participant for the signal that makes it execute another program.
pub fn be_ready() {
    // SAFETY: the handler makes two system calls and returns from neither; it stays callable, being a function.
    unsafe { handle(EXEC, become_another, Flags::empty(), SignalSet::EMPTY) }.expect("the signal can be handled");
}

extern "C" fn become_another(_: c_int) {
    let arguments: [*const c_char; 2] = [PROGRAM, null()];
    // SAFETY: the path and the one argument are C strings, both lists end with a null pointer (an empty environment).
    unsafe { libc::execve(PROGRAM, arguments.as_ptr(), arguments[1..].as_ptr()) };
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(c_int::from(NO_PROGRAM)) }
}
