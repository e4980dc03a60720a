//! The type [`Printer`]: texts of other threads, printed above the line that is being edited.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ossature_sys::deadline::Deadline;
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{self, OwnedFd};

use crate::error::{Error, Result};

/// A handle with which any thread prints to a [`Terminal`](super::Terminal) without tearing the line that is being
/// edited there.
///
/// While no line is edited, a text is written at once. Clones print to the same terminal.
///
/// # Examples
/// See the example of [`Terminal`](super::Terminal), and that of [`readline`](crate::readline).
#[derive(Clone)]
pub struct Printer(Arc<Inner>);

struct Inner {
    output: OwnedFd,
    /// An event that is counted up when a text is queued.
    ready: EventFd,
    state: Mutex<PrinterState>,
}

#[derive(Default)]
struct PrinterState {
    /// Whether a line is being edited, so that texts are queued.
    editing: bool,
    queued: Vec<u8>,
}

impl Printer {
    pub(super) fn new(output: OwnedFd) -> Result<Self> {
        let ready =
            EventFd::counter(0).map_err(|errno| Error::os(errno, "the printer: cannot create its descriptor"))?;
        Ok(Self(Arc::new(Inner { output, ready, state: Mutex::default() })))
    }

    /// Prints a text. Adds a newline if the text does not end with one, so an empty text is an empty row.
    ///
    /// # Errors
    /// Of kind `Os` when the terminal cannot be written.
    ///
    /// # Examples
    /// See the example of [`Terminal`](super::Terminal).
    pub fn print(&self, text: impl AsRef<[u8]>) -> Result<()> {
        let text = Some(text.as_ref()).filter(|text| !text.is_empty()).unwrap_or(b"\n");
        let mut lines = Vec::with_capacity(text.len() + 2);
        for line in text.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            lines.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            lines.extend_from_slice(b"\r\n");
        }
        let mut state = self.state();
        if state.editing {
            state.queued.extend_from_slice(&lines);
            // A counter that is full was not read yet, so it wakes as well.
            return self.0.ready.try_add(1).map(drop).map_err(failed);
        }
        fd::write_all(&self.0.output, &lines, Deadline::NEVER).map(drop).map_err(failed)
    }

    fn state(&self) -> MutexGuard<'_, PrinterState> {
        // Every change of the state is whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a line: texts are queued until the returned queue is dropped.
    pub(super) fn begin(&self) -> Queue<'_> {
        self.state().editing = true;
        Queue(self)
    }
}

fn failed(errno: ossature_sys::errno::Errno) -> Error {
    Error::os(errno, "the printer: the text cannot be printed")
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer").finish_non_exhaustive()
    }
}

/// The texts that arrive while a line is edited.
pub(super) struct Queue<'p>(&'p Printer);

impl Queue<'_> {
    /// The descriptor that is readable when there are texts.
    pub(super) fn ready(&self) -> &EventFd {
        &self.0.0.ready
    }

    /// Takes the texts.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut state = self.0.state();
        let _ = self.0.0.ready.try_take();
        std::mem::take(&mut state.queued)
    }

    /// Ends the queueing; returns the texts that were not taken.
    pub(super) fn end(&self) -> Vec<u8> {
        let mut state = self.0.state();
        state.editing = false;
        let _ = self.0.0.ready.try_take();
        std::mem::take(&mut state.queued)
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        let late = self.end();
        // After a panic the terminal may be closed; an error cannot be reported.
        let _ = fd::write_all(&self.0.0.output, &late, Deadline::NEVER);
    }
}
