//! Threads with names and handles. Tests that check the whole process are in `tests/threading_end.rs`.

mod handle;
mod hooks;
mod init;
mod local;
mod registry;
mod timer;
