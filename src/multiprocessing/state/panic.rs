//! How a child reports a panic: on standard error, and to its parent.

use std::io::Write;

use super::{PanicReport, process_name_of_thread, process_state};
use crate::thread::{Escaped, PanicPart, text};

/// Prints the label of a process: see [`set_panic_label`](crate::thread::set_panic_label).
pub(crate) fn label(part: PanicPart<'_>) {
    let mut last = None;
    match part {
        PanicPart::Whole(message, place) => return print(&PanicReport::new(message, Some(place))),
        PanicPart::Last(message, place) => last = Some((message, place)),
        PanicPart::Name => {}
    }
    let name = format!("Process {}:\n", process_name_of_thread());
    let _ = std::io::stderr().write_all(name.as_bytes()); // without a standard error nobody listens
    let Some((message, place)) = last else { return };
    // The thread that has the lock is about to send the parent another report.
    if let Some(pipe) = process_state().report.try_lock().and_then(|mut pipe| pipe.take()) {
        PanicReport::new(message, Some(place)).send(pipe);
    }
}

/// Makes the report of a panic that escaped from a task and was not printed. The waiter of the task receives it.
pub(crate) fn unreported(escaped: &Escaped) -> PanicReport {
    let report = PanicReport::new(text(&*escaped.payload).unwrap_or("Box<dyn Any>"), escaped.place.as_ref());
    report.cut()
}

/// Makes the report of a panic that escaped from the work. The hook has printed it already.
pub(crate) fn reported(escaped: &Escaped) -> PanicReport {
    let report = PanicReport::new(text(&*escaped.payload).unwrap_or("Box<dyn Any>"), escaped.place.as_ref());
    if escaped.place.is_none() {
        print(&report);
    }
    report
}

/// Prints a report to standard error in one write.
fn print(report: &PanicReport) {
    let mut text = format!("Process {}:\n{report}\n", process_name_of_thread());
    if report.backtrace().is_none() {
        text.push_str("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n");
    }
    let _ = std::io::stderr().write_all(text.as_bytes()); // without a standard error nobody listens
}
