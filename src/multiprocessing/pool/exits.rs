//! How a worker ended, as a number in shared memory.

use ossature_sys::process::ExitStatus;

/// A flag in an encoded exit: the worker was killed because its call took too long.
pub(super) const TIMED_OUT: u32 = 1 << 24;

/// Encodes an exit status as a number.
pub(super) fn exit_to_number(exit: ExitStatus) -> u32 {
    match exit {
        ExitStatus::Code(code) => 1 << 16 | u32::from(code),
        ExitStatus::Signal { signal, core_dumped } => 2 << 16 | u32::from(core_dumped) << 15 | signal as u32 & 0x7fff,
        ExitStatus::Unknown => 0,
    }
}

/// Decodes an exit status from a number.
pub(super) fn exit_of_number(number: u32) -> ExitStatus {
    match number >> 16 & 0xff {
        1 => ExitStatus::Code(number as u8),
        2 => ExitStatus::Signal { signal: (number & 0x7fff) as i32, core_dumped: number & 1 << 15 != 0 },
        _ => ExitStatus::Unknown,
    }
}
