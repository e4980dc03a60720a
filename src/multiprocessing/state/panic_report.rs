//! A child's panic, as sent to the parent.

use std::fmt::{self, Write as _};

use ossature_sys::fd::{self, AsFd};
use ossature_sys::stream::write_without_sigpipe;
use serde::{Deserialize, Serialize};

use crate::thread::Place;

/// The panic that ended a process with exit code 1: its message, its location, and its backtrace if `RUST_BACKTRACE`
/// requested one.
///
/// The report takes the place of the program's panic hook, whenever that was set. So it is with Python, whose
/// `sys.excepthook` is not called in a child. Each panic of the work is printed once, to standard error under the name
/// of the process, and when it happens, as Rust does. So it is there before any destructor runs, also when the work
/// then catches it, or when one of the destructors blocks or panics as well. The panic that escaped from the work is
/// sent to the parent here.
///
/// The hook of a forked child is its parent's for everything else: for panics of its other threads of
/// [std](std::thread), and for those of its finalizers and callbacks. A line with the name of the process goes before
/// these. After such a line the hook also sees panics that abort: those that cannot unwind, and all of them in a
/// program that is built with `panic = "abort"`. The parent of such a process sees a signal, and the report of the
/// first panic of its first thread. A hook that the work itself sets is called as it panics, and what escapes is
/// printed at the end, with neither place nor backtrace.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Process, process::PanicReport};
///
/// let process = Process::fork(|| -> u8 { panic!("no more paper") })?;
/// assert_eq!(process.join()?.code(), Some(1));
/// let report: PanicReport = process.panic()?.expect("the child panicked");
/// assert_eq!(report.message(), "no more paper");
/// assert!(report.location().contains(".rs:"));
/// assert_eq!(report.backtrace().is_some(), std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0"));
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicReport {
    message: String,
    location: String,
    backtrace: String,
}

/// The maximum sizes of message, location and backtrace in bytes: less than the size of a pipe, so that a send never
/// waits for a reader.
const LIMITS: [usize; 3] = [16 << 10, 4 << 10, 40 << 10];
/// The first bytes of a report, so that other bytes in the pipe are not mistaken for a report.
const MAGIC: [u8; 8] = *b"\0osPANIC";
/// The size of the header: for each of the three parts, its length here and its length before the cut.
const HEADER: usize = 6 * 4;
const WHOLE: usize = MAGIC.len() + HEADER + LIMITS[0] + LIMITS[1] + LIMITS[2];

impl PanicReport {
    pub(super) fn new(message: &str, place: Option<&Place>) -> Self {
        let location = place.map(|place| place.location.clone()).unwrap_or_default();
        let captured =
            |backtrace: &&std::backtrace::Backtrace| backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        let backtrace = place.map(|place| &place.backtrace).filter(captured);
        Self {
            message: message.to_owned(),
            location,
            backtrace: backtrace.map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Cuts each part of the report to its limit.
    pub(super) fn cut(mut self) -> Self {
        for (part, limit) in [&mut self.message, &mut self.location, &mut self.backtrace].into_iter().zip(LIMITS) {
            if part.len() > limit {
                let end = (0..=limit).rev().find(|at| part.is_char_boundary(*at)).unwrap_or_default();
                let more = part.len() - end;
                part.truncate(end);
                let _ = write!(part, "... [{more} bytes more]"); // a text takes everything
            }
        }
        self
    }

    /// The message of the panic; `Box<dyn Any>` when the payload is not a text. A message over 16 KiB is cut, and ends
    /// with a note about the cut.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file, line and column; empty for a panic that `resume_unwind` started.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The backtrace, if `RUST_BACKTRACE` requested one in the child. A backtrace over 40 KiB is cut, and ends with a
    /// note about the cut.
    pub fn backtrace(&self) -> Option<&str> {
        Some(self.backtrace.as_str()).filter(|text| !text.is_empty())
    }

    /// Formats the location and the message for the end of a sentence.
    pub(crate) fn in_one_line(&self) -> String {
        match self.location.as_str() {
            "" => format!("it panicked: {}", self.message),
            place => format!("it panicked at {place}: {}", self.message),
        }
    }

    /// Writes the report into a pipe or socket that does not block. If a part does not fit, the reader notes what is
    /// missing. If the parent has ended, the write does not raise `SIGPIPE`, because this process has finalizers to
    /// run.
    pub(crate) fn send(&self, pipe: impl AsFd) {
        let parts = [&self.message, &self.location, &self.backtrace];
        let mut bytes = Vec::with_capacity(WHOLE);
        bytes.extend_from_slice(&MAGIC);
        for (part, limit) in parts.iter().zip(LIMITS) {
            let carried = part.len().min(limit) as u32;
            bytes.extend_from_slice(&carried.to_ne_bytes());
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_ne_bytes());
        }
        for (part, limit) in parts.iter().zip(LIMITS) {
            bytes.extend(part.bytes().take(limit));
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Ok(written) = write_without_sigpipe(&pipe, rest) else { return }; // full, or the parent is gone
            rest = rest.get(written..).unwrap_or_default();
        }
    }

    /// Reads the report from a pipe that does not block; `None` when no report was written.
    pub(crate) fn receive(pipe: impl AsFd) -> Option<Self> {
        let mut bytes = vec![0; WHOLE];
        let mut len = 0;
        while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
            match fd::read(&pipe, room) {
                Ok(0) | Err(_) => break,
                Ok(more) => len += more,
            }
        }
        bytes.truncate(len);
        Self::decode(&bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, mut rest) = bytes.strip_prefix(&MAGIC)?.split_at_checked(HEADER)?;
        let mut numbers = header.chunks_exact(4).map(|four| {
            let four = <[u8; 4]>::try_from(four).unwrap_or_default();
            u32::from_ne_bytes(four) as usize
        });
        let mut lengths = [(0, 0); 3];
        for length in &mut lengths {
            *length = (numbers.next()?, numbers.next()?);
        }
        let [message, location, backtrace] = lengths.map(|(carried, whole)| {
            let (part, after) = rest.split_at_checked(carried).unwrap_or((rest, &[]));
            rest = after;
            let mut text = String::from_utf8_lossy(part).into_owned();
            if part.len() < whole {
                let _ = write!(text, "... [{} bytes more]", whole - part.len());
            }
            text
        });
        Some(Self { message, location, backtrace })
    }
}

/// A panic report is the source of an error of kind [`Remote`](crate::ErrorKind::Remote).
impl std::error::Error for PanicReport {}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location.as_str() {
            "" => write!(f, "panicked:\n{}", self.message)?,
            place => write!(f, "panicked at {place}:\n{}", self.message)?,
        }
        match self.backtrace.trim_end() {
            "" => Ok(()),
            backtrace => write!(f, "\nstack backtrace:\n{backtrace}"),
        }
    }
}
