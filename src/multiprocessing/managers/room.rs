//! A message buffer for each thread, so that a call does not allocate.

use std::cell::Cell;

use super::compact::{MOST, Room};

thread_local! {
    /// `None` while a message is written, because an argument may call a server meanwhile.
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

/// Lends this thread's message buffer to `body`.
#[inline]
pub(super) fn with_room<T>(body: impl FnOnce(&mut Room) -> T) -> T {
    let mut room = ROOM.try_with(Cell::take).ok().flatten().unwrap_or_else(new_room);
    let done = body(&mut room);
    let _ = ROOM.try_with(|place| place.set(Some(room))); // fails while the thread ends
    done
}

#[cold]
fn new_room() -> Box<Room> {
    Box::new([0; MOST])
}
