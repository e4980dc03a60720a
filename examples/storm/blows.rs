//! What befalls a participant: it is killed, it is stopped for a while, or it becomes another program.

use core::ffi::{c_char, c_int};
use core::ptr::null;

use ossature::sys::process::{Child, ExitStatus, Signal};
use ossature::sys::signal::{Flags, SignalSet, handle};

use crate::random::Random;

/// Both end a participant, for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Kill,
    /// It executes another program, wherever it is: what it held is given back as at a death.
    Exec,
}

const EXEC: Signal = Signal::USR1;
const PROGRAM: *const c_char = c"/bin/true".as_ptr();
/// What a participant ends with that could not become another program.
const NO_PROGRAM: u8 = 97;

impl Blow {
    /// One in eight is an exec.
    pub fn any(random: &mut Random) -> Self {
        if random.below(8) == 0 { Self::Exec } else { Self::Kill }
    }

    pub fn strike(self, child: &Child) {
        match self {
            Self::Kill => child.kill(),
            Self::Exec => child.signal(EXEC),
        }
        .expect("a child can be sent a signal");
    }

    /// Waits for the end of a child that was struck.
    pub fn end(self, child: &mut Child) {
        let exit = child.wait().expect("a child can be waited for");
        assert!(self == Self::Kill || self.is_cause_of(exit), "a participant became another program: {exit:?}");
    }

    pub fn is_cause_of(self, exit: ExitStatus) -> bool {
        match self {
            Self::Kill => exit.python_code() == Some(-9),
            Self::Exec => exit == ExitStatus::Code(0),
        }
    }
}

/// Makes the calling participant one that can be told to become another program.
pub fn be_ready() {
    // SAFETY: the handler makes two system calls and returns from neither; it stays callable, being a function.
    unsafe { handle(EXEC, become_another, Flags::empty(), SignalSet::EMPTY) }.expect("a signal can be handled");
}

extern "C" fn become_another(_: c_int) {
    let arguments: [*const c_char; 2] = [PROGRAM, null()];
    // SAFETY: the path and the one argument are C strings, both lists end with a null pointer (an empty environment).
    unsafe { libc::execve(PROGRAM, arguments.as_ptr(), arguments[1..].as_ptr()) };
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(c_int::from(NO_PROGRAM)) }
}
