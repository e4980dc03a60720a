//! Queues between processes: Python's `multiprocessing.Queue`, `JoinableQueue` and `SimpleQueue`.
//!
//! ```standalone_crate
//! use ossature::multiprocessing::{Process, Queue, Tasks, freeze_support, tasks};
//!
//! fn double(jobs: Queue<u32>, results: Queue<u32>) -> ossature::Result<()> {
//!     for job in jobs.iter() {
//!         results.put(job? * 2)?;
//!     }
//!     Ok(()) // the queue was shut down, and is empty
//! }
//! static TASKS: Tasks = tasks![double];
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS);
//!     let (jobs, results) = (Queue::new()?, Queue::new()?);
//!     let worker = Process::spawn(double, (jobs.try_clone()?, results.try_clone()?))?;
//!     for job in 1..=3 {
//!         jobs.put(job)?;
//!     }
//!     jobs.shutdown(); // no more will come
//!     worker.join()?;
//!     assert_eq!([results.get()?, results.get()?, results.get()?], [2, 4, 6]);
//!     Ok(())
//! }
//! ```
//!
//! | | [`Queue`] | [`JoinableQueue`] | [`SimpleQueue`] |
//! | --- | --- | --- | --- |
//! | a maximum number of items | yes | yes | |
//! | waits with a time limit | yes | yes | |
//! | can be shut down | yes | yes | |
//! | can be joined | | yes | |
//! | has a descriptor | yes | yes | yes |
//!
//! **Waiting for several queues.** [`readiness`](Queue::readiness) returns a descriptor that is readable while there
//! may be an item. Pass it to [`wait`](crate::multiprocessing::connection::wait) beside connections and processes, or
//! to poll, epoll and event loops:
//!
//! ```
//! use ossature::multiprocessing::{Queue, connection::{pipe, wait}};
//!
//! let (jobs, urgent): (Queue<String>, Queue<String>) = (Queue::new()?, Queue::new()?);
//! let (some_job, some_urgent, (near, far)) = (jobs.readiness()?, urgent.readiness()?, pipe()?);
//! urgent.put("first".to_owned())?;
//! far.send("a message")?;
//! let mut seen = Vec::new();
//! while seen.len() < 2 {
//!     for place in wait(&[&some_urgent, &some_job, &near], None)? {
//!         match place {
//!             0 => seen.extend(urgent.try_get()?), // it may be readable for nothing
//!             1 => seen.extend(jobs.try_get()?),
//!             _ => seen.push(near.recv::<String>()?),
//!         }
//!     }
//! }
//! assert_eq!(seen, ["first", "a message"]);
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! **When all producers have ended**, a get of a queue continues to wait: another producer may start. A [`channel`]
//! ends with its last [`Sender`], like the channels of `std::sync::mpsc` and crossbeam.
//!
//! **Differences from Python.** There is no feeder thread. `put` encodes the item, writes it into shared memory and
//! returns: then every process can get the item. So an item that cannot be encoded is an error of `put`. A process with
//! items in a queue can end and be joined. At its end there is nothing to join or cancel, so `close`, `join_thread` and
//! `cancel_join_thread` do not exist.
//!
//! **When a process is killed** in `put`, the item is in the queue or not. When it is killed in `get`, another process
//! gets the item, unless the call had it already. The other processes carry on immediately, and no other item is lost
//! or torn.
//!
//! **Capacity.** A queue has room for 16 MiB of encoded items, or for the number of bytes set by the builder. Each item
//! takes a multiple of 64 bytes: 16 MiB are 262,144 items of up to 64 bytes, or 16,384 of 1 KiB. `put` waits while the
//! queue is full, unlike Python's, which keeps items in the memory of the sending process without bound. The capacity
//! is reserved address space; pages are allocated as they are needed. A get that has waited for a second in an empty
//! queue frees the pages above 1 MiB.
//!
//! **Long items.** An item that is longer than 4 MiB, or than the capacity, is sent as sealed memory, by its
//! descriptor. It takes as much room in the queue as the longest item without memory of its own. So 16 MiB are room for
//! four such items.
//!
//! **Descriptors.** An item may contain open files, locks, values, connections and queues, at most 253 descriptors: see
//! [`transfer`](crate::multiprocessing::transfer). They travel through a pair of sockets that each queue has. There is
//! room for some hundred items with descriptors, depending on the kernel's `net.core.wmem_default`. `put` waits while
//! there is no room, and while this user has more descriptors in transit than `RLIMIT_NOFILE`. Two threads do not put
//! such items at once: while one of them is stopped in `put`, the other waits, within its limit. Nor do two get them at
//! once: while one is stopped in `get`, the others get the other items. The descriptors of an item are open until a
//! process gets the item, or until all processes have dropped the queue. If a process was killed in `put`, its
//! descriptors are open until the next put or get of an item with descriptors. If a process is killed in `get`, such an
//! item may be lost. A `get` in a process that can open no more descriptors loses the item, and returns an error.
//!
//! **Calls that do not wait.** A `try_put` returns `Full` only if there is no room. A `try_get` returns `None` only if
//! there is no item, or if other threads are getting all items. Such a call may still wait for a moment. The first call
//! of a thread joins the queue, and a `try_put` of a bounded queue waits for another put that counts its item. If the
//! other process is stopped meanwhile, the call gives up after 10 ms, and returns as if there were no room or no item.
//!
//! **Order.** The items of one thread arrive in the order of their `put`. The items of several threads have no order
//! among them.
//!
//! **The type of an item** is any type that serde can write and read, as for an argument of a process. A queue itself
//! may be an argument of a process or an item of a queue. It may also be sent over a connection between processes of
//! this program. Anywhere else it is refused, because shared memory could be received through it.

mod channel;
mod error;
mod joinable;
mod queue;
mod readiness;
mod simple;
mod users;

#[doc(inline)]
pub use channel::{Receiver, Sender, channel};
#[doc(inline)]
pub use error::PutError;
#[doc(inline)]
pub use joinable::JoinableQueue;
#[doc(inline)]
pub use queue::{Iter, Queue, QueueBuilder};
#[doc(inline)]
pub use readiness::Readiness;
#[doc(inline)]
pub use simple::SimpleQueue;
