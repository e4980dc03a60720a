//! The C names of signals.

use core::fmt;

use super::Signal;

/// The C name of a signal, for printing: `SIGTERM`, `SIGRTMIN+2`.
///
/// # Examples
/// ```
/// use ossature_sys::signal::{Signal, name, realtime};
///
/// assert_eq!(name(Signal::TERM).to_string(), "SIGTERM");
/// assert_eq!(name(realtime(2).unwrap()).to_string(), "SIGRTMIN+2");
/// ```
#[doc(alias = "sigabbrev_np")]
#[doc(alias = "strsignal")]
pub fn name(signal: Signal) -> Name {
    Name(signal)
}

/// The result of [`name`].
///
/// # Examples
/// ```
/// use ossature_sys::signal::{Name, Signal, name};
///
/// let shown: Name = name(Signal::INT);
/// assert_eq!(format!("stopped by {shown}"), "stopped by SIGINT");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(Signal);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(known, _)| *known == self.0) {
            Some((_, name)) => f.pad(name),
            None => match self.0.as_raw() - libc::SIGRTMIN() {
                0 => f.pad("SIGRTMIN"),
                above @ 1.. => write!(f, "SIGRTMIN+{above}"),
                _ => write!(f, "signal {}", self.0.as_raw()),
            },
        }
    }
}

const NAMES: &[(Signal, &str)] = &[
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ILL, "SIGILL"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::KILL, "SIGKILL"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::TERM, "SIGTERM"),
    (Signal::CHILD, "SIGCHLD"),
    (Signal::CONT, "SIGCONT"),
    (Signal::STOP, "SIGSTOP"),
    (Signal::TSTP, "SIGTSTP"),
    (Signal::TTIN, "SIGTTIN"),
    (Signal::TTOU, "SIGTTOU"),
    (Signal::URG, "SIGURG"),
    (Signal::XCPU, "SIGXCPU"),
    (Signal::XFSZ, "SIGXFSZ"),
    (Signal::VTALARM, "SIGVTALRM"),
    (Signal::PROF, "SIGPROF"),
    (Signal::WINCH, "SIGWINCH"),
    (Signal::IO, "SIGIO"),
    (Signal::POWER, "SIGPWR"),
    (Signal::SYS, "SIGSYS"),
];
