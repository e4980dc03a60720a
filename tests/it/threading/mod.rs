//! Threads with names and handles. What looks at the whole process is in `tests/threading_end.rs`.

mod handle;
mod hooks;
mod init;
mod local;
mod registry;
mod timer;
