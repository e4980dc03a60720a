//! The upper crate from outside: one file per module; test names state facts.

#[path = "../../sys/tests/it/support.rs"]
mod support;

mod clone;
mod connection;
mod dummy_thread;
mod dummy_threading;
mod error;
mod kqueue;
mod listener;
mod multiprocessing_permits;
mod multiprocessing_sync;
mod pickle;
mod poll;
mod poll_differential;
mod raw_numbers;
mod select;
mod selectors;
mod sharedctypes;
mod spawn_under_libtest;
mod thread;
mod threading;
mod transfer;
