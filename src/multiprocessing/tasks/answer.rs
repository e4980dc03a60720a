//! The message with which a task sends its return value to the parent.

use std::fmt::Debug;

use crate::error::ErrorKind;
use crate::multiprocessing::connection::Connection;
use crate::multiprocessing::state::Termination;
use crate::multiprocessing::transfer::Transfer;

/// The message: the value, or the text of the error.
pub(crate) type Answer<T> = Result<T, String>;

/// Sends the value; returns the exit code.
pub(crate) fn answer_value<T: Transfer>(parent: &Connection, value: &T) -> u8 {
    let Err(error) = parent.send(&Answer::Ok(value)) else { return 0 };
    if error.kind() == ErrorKind::Closed {
        return 0; // nobody wants it
    }
    let failed = Answer::<()>::Err(error.to_string());
    let _ = parent.send(&failed); // if this fails too, the parent learns of the exit code
    Err::<(), _>(error).report()
}

/// Sends the value or the text of the error; returns the exit code.
pub(crate) fn answer_result<T: Transfer, E: Debug>(parent: &Connection, result: Result<T, E>) -> u8 {
    match result {
        Ok(value) => answer_value(parent, &value),
        Err(error) => {
            let failed = Answer::<()>::Err(format!("{error:?}"));
            let _ = parent.send(&failed); // a parent that has ended needs no answer
            Err::<(), _>(error).report()
        }
    }
}
