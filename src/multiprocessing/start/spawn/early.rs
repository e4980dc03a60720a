//! The error of a process that ended before its task began.

use ossature_sys::process::{ExitStatus, Signal};

use super::loader;
use crate::error::{Error, ErrorKind};
use crate::multiprocessing::start::wire::Who;

/// The error for a child that ended before it replied.
pub(in crate::multiprocessing::start) fn ended_early(who: Who, end: Option<ExitStatus>) -> Error {
    let exit = end.unwrap_or(ExitStatus::Unknown);
    let why = match exit {
        // The dynamic loader's own code, and the shell's for a program that is not there.
        ExitStatus::Code(127) => ", without a reply: the dynamic loader did not find a shared library or a symbol of the program, \
                            or no memory for it: see LD_LIBRARY_PATH and RLIMIT_AS; its message is on standard error"
            .into(),
        ExitStatus::Code(_) => match loader::started_by_loader() {
            Some(reason) => format!(", without a reply: {reason}"),
            None => ", without a reply: it never reached freeze_support(TASKS), which must be the first line of main (of the \
                     test, in a test), or it is another program"
                .into(),
        },
        ExitStatus::Signal { signal, .. } => causes(signal).map(|causes| format!(": {causes}")).unwrap_or_default(),
        ExitStatus::Unknown => String::new(),
    };
    Error::new(ErrorKind::StartFailed, format!("{} ended before it began its task: {exit}{why}", who.name()))
        .with_exit(end)
}

/// The usual causes of this signal in a process that starts.
fn causes(signal: i32) -> Option<&'static str> {
    const CAUSES: [(Signal, &str); 11] = [
        (
            Signal::KILL,
            "killed for lack of memory (RLIMIT_AS, the cgroup's memory.max, the system's: see dmesg), over the hard \
             RLIMIT_CPU, or by another process",
        ),
        (Signal::SEGV, "a crash before its task, or too little memory for its stack: see RLIMIT_STACK and RLIMIT_AS"),
        (Signal::BUS, "a crash before its task, or no memory or disk for a mapped file"),
        (Signal::ILL, "a crash before its task, or a program for another processor"),
        (Signal::FPE, "a crash before its task"),
        (Signal::ABORT, "an abort before its task; its message is on standard error"),
        (Signal::SYS, "a seccomp filter forbids a system call"),
        (Signal::XCPU, "over the soft RLIMIT_CPU"),
        (Signal::XFSZ, "over RLIMIT_FSIZE"),
        (Signal::TERM, "another process sent it SIGTERM"),
        (Signal::INT, "interrupted from the keyboard, or by another process"),
    ];
    CAUSES.iter().find(|(one, _)| one.as_raw() == signal).map(|(_, causes)| *causes)
}
