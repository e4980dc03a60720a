//! The event queue of the BSDs and macOS: one record for each change, one record for each event, seven kinds of events.
//!
//! On FreeBSD, NetBSD, OpenBSD, DragonFly and macOS this is the system's own call. On Linux it is a [`Kqueue`] of this
//! crate's own over epoll, timers, signalfd, pidfds and inotify. It needs no helper thread and no memory of the
//! allocator. Only the memory limits the number of knotes.
//!
//! A *knote* is the object that a change adds: an ident, a filter and the requested notes. At most one knote of a queue
//! has the same ident and filter.
//!
//! | filter | ident | `data` of an event | on Linux by |
//! | --- | --- | --- | --- |
//! | [`Filter::READ`] | a descriptor | bytes to read, connections of a listener | epoll, and inotify for regular files |
//! | [`Filter::WRITE`] | a descriptor | room in bytes | epoll |
//! | [`Filter::TIMER`] | a number of your own | expirations | an ordered set in memory |
//! | [`Filter::SIGNAL`] | a signal | how often it came | signalfd |
//! | [`Filter::PROC`] | a process | the status of its end, as of wait(2) | a pidfd |
//! | [`Filter::VNODE`] | a descriptor | 0; the notes report what happened | inotify |
//! | [`Filter::USER`] | a number of your own | the value from the trigger | memory |
//!
//! One thread may wait while others change knotes or trigger events. A signal never ends a wait early and loses no
//! event.
//!
//! # What differs on Linux
//!
//! Each row has a test of its name in `sys/tests/it/kqueue/differences.rs`.
//!
//! | feature | a BSD | here | test |
//! | --- | --- | --- | --- |
//! | SIGNAL | also counts signals that the process handles or ignores | counts blocked signals. Each thread must block the signal; else `EOPNOTSUPP` at registration. No handler runs and none is replaced | `signals_are_counted_only_where_they_are_blocked` |
//! | SIGNAL in two queues | both count | each signal goes to one queue | `a_signal_goes_to_one_of_two_queues` |
//! | PROC | FORK, EXEC, TRACK | after [`Kqueue::follow_processes`], by the superuser; else `EOPNOTSUPP` | `forks_are_told_once_they_were_asked_for` |
//! | PROC, status of a process that is not a child | always | from Linux 6.15 on, once its parent has reaped it; else 0 | `the_end_of_a_grandchild_is_told` |
//! | VNODE | REVOKE | `EOPNOTSUPP` | `what_linux_cannot_do_is_refused_with_the_reason` |
//! | VNODE, READ on a regular file | | need `/proc`; else `EOPNOTSUPP` at registration | `without_proc_a_file_is_refused` in `sys/tests/fork` |
//! | AIO, FS, NETDEV, EMPTY, DISPATCH2, FLAG1 | some | `EOPNOTSUPP` | `what_linux_cannot_do_is_refused_with_the_reason` |
//! | a descriptor closed while a duplicate lives | its knotes are removed | they are removed when the number is used in a change, or when their next event finds the number closed | `a_duplicate_keeps_the_events_of_a_closed_descriptor` |
//! | fork | the child has no descriptor of the queue | the child has the queue's descriptors until it drops the queue or executes a program; each use returns `EBADF` | `a_forked_child_cannot_use_the_queue` in `sys/tests/fork` |
//! | EOF with a socket's error | the error in the notes | 0 in the notes: reading the error would take it from the program, which must read `SO_ERROR` | `the_error_of_a_socket_is_left_to_the_program` |
//! | READ, listener of Unix sockets, and descriptors without a count (eventfd) | the number | 1 | `a_unix_listener_tells_only_that_someone_waits` |
//! | WRITE, unknown room | the number | 1 | `an_eventfd_tells_only_that_it_has_room` |
//! | WRITE with LOWAT | reported at once | reported within 10 ms: Linux reports room only if there was none | `room_above_the_mark_is_told_within_a_while` |
//! | a socket that was never connected | silent | EOF | `a_socket_that_was_never_connected_is_at_its_end` |
//! | ADD of an existing knote | the flags stay (FreeBSD) | the flags are replaced | `adding_again_replaces_the_flags` |
//! | ADD with TRIGGER | not triggered (FreeBSD) | triggered, as on macOS | `a_user_event_may_be_triggered_as_it_is_added` |
//! | RECEIPT without room for it | the changes after it are not made | they are | `a_receipt_without_room_stops_nothing` |
//! | C: a queue's number after close(2) | `EBADF` | kevent(2) takes it until the next kqueue(2) finds it free | `closed` in `sys/kqueue-c/tests/hostile.c` |
//! | C: a duplicate of a queue's number | the same queue | can be polled; kevent(2) returns `EBADF` | `duplicated` in `sys/kqueue-c/tests/hostile.c` |
//! | C: kevent64 of macOS | available | not exported: a `struct kevent64_s` has two words more (`ext`), which no knote here keeps. Use kevent(2) | `absent` in `sys/kqueue-c/tests/hostile.c` |
//! | a signal handler during a wait | `EINTR` | the wait continues | `a_signal_handler_does_not_end_a_wait` |
//!
//! Source: kqueue(2) of the BSDs; on Linux epoll(7), timerfd_create(2), signalfd(2), pidfd_open(2), inotify(7).

mod event;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod native;
mod numbers;
mod refusal;

pub use event::{Filter, Flags, Kevent, Notes};
#[cfg(target_os = "linux")]
pub use linux::Kqueue;
#[cfg(not(target_os = "linux"))]
pub use native::Kqueue;
pub use numbers::{FilterNumber, FlagBits};
pub use refusal::refusal;
