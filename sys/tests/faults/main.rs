//! The thin layer with failing system calls: every foreign call of an operation fails in turn, and nothing is lost.
//!
//! Present only under `--cfg ossature_faults`. Descriptors and mappings are counted for the whole process, so the tests
//! of this binary run one at a time behind [`alone`].
#![cfg(ossature_faults)]

#[path = "../it/support.rs"]
mod support;
mod sweep;

mod call;
mod cost;
mod epoll;
mod eventfd;
mod exchange;
mod fd;
mod flock;
mod futex;
mod inotify;
mod kqueue;
mod mmap;
mod pipe;
mod poll;
mod posix_ipc;
mod pthread;
mod random;
mod ring;
mod sched;
mod select;
mod shm;
mod signal;
mod signalfd;
mod socket;
mod stream;
mod timerfd;
mod tty;
