//! The error for a program whose image cannot be read, for a new start or for the comparison with a child's image.

use ossature_sys::errno::Errno;

use super::shortage;
use crate::error::{Error, ErrorKind};
use crate::multiprocessing::tasks::IMAGE;

/// The error that this program's image cannot be read.
pub(super) fn unreadable(error: std::io::Error) -> Error {
    let advice = match error.kind() {
        std::io::ErrorKind::NotFound => " (is /proc mounted?)",
        std::io::ErrorKind::PermissionDenied => " (the program's file must be readable, not only executable)",
        _ => "",
    };
    not_opened(format!("cannot read this program's own image {IMAGE}{advice}"), &error)
}

/// The error for a file that could not be opened for a start.
pub(super) fn not_opened(what: String, error: &std::io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(errno) => shortage::error(&what, errno),
        None => Error::new(ErrorKind::Os, format!("{what}: {error}")),
    }
}
