//! The thin layer from outside: one file per module; test names state facts.

mod interrupt;
#[macro_use]
mod needs;
mod support;

mod bare;
mod barrier;
mod condition;
mod deadline;
mod epoll;
mod eventfd;
mod exchange;
mod fd;
mod flock;
mod futex;
mod inotify;
mod kqueue;
mod lock;
mod mmap;
mod other_names;
mod pipe;
mod poll;
mod posix_ipc;
mod process;
mod pthread;
mod random;
mod ring;
mod ring_memory;
mod ring_readiness;
mod ring_short;
mod ring_waits;
mod rwlock;
mod sched;
mod select;
mod semaphore;
mod set_once;
mod shm;
mod signal;
mod signalfd;
mod socket;
mod stream;
mod thread_end;
mod timerfd;
mod tty;
