//! The name of the process that a thread represents.

use std::cell::RefCell;

use super::process_state;

thread_local! {
    static PROCESS_NAME: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes the calling thread represent a process with this name from now on.
pub(crate) fn set_process_name_of_thread(name: String) {
    PROCESS_NAME.set(Some(name));
}

/// Returns the name of the process that the calling thread represents, or of this process.
pub(crate) fn process_name_of_thread() -> String {
    // A panic may ask at any time, also while the thread's values are dropped.
    let name = PROCESS_NAME.try_with(|name| name.borrow().clone()).ok().flatten();
    name.unwrap_or_else(|| process_state().name())
}
