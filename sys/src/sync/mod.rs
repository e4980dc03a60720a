//! Locks, events, conditions, semaphores and barriers, between threads or between processes that may be killed.
//!
//! | wanted | use |
//! | --- | --- |
//! | one thread at a time uses some data | [`Lock`]; [`RLock`] if its holder may take it again; [`bare`] without data in memory |
//! | many threads read some data, or one changes it | [`RwLock`] |
//! | one thread sets a flag, and many wait for it | [`Event`] |
//! | wait until data behind a lock changes | [`Condition`] |
//! | at most N threads at a time | [`Semaphore`], whose [`Permit`] comes back when its holder dies |
//! | wait until all parties have arrived | [`Barrier`] |
//! | messages from many senders to many receivers | [`ring`] |
//! | calls between two processes that need not trust each other | [`exchange`] |
//! | many shared objects behind one descriptor | [`arena`] |
//! | one thread takes, another releases | [`HandoffLock`] |
//! | a signal, such as that of Ctrl-C, ends waits | [`interrupt`] |
//!
//! The scope, a type parameter of each, determines which threads may wait. [`Private`] means the threads of this
//! process, [`Shared`] every process that maps the memory, [`Local`] one thread. A wait ends at a [`Limit`]: a
//! duration, a [`Deadline`](crate::deadline::Deadline), a [`Cancel`], or both.
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::sync::{Barrier, Cancel, Condition, Event, HandoffLock, Limit, Lock, RLock, RwLock, Semaphore};
//!
//! static LOCK: Lock<u32> = Lock::new(0);
//! static NESTED: RLock<u32> = RLock::new(0);
//! static READ_MOSTLY: RwLock<u32> = RwLock::new(0);
//! static DONE: Event = Event::new();
//! static CHANGED: Condition = Condition::new();
//! static SEATS: Semaphore = Semaphore::new(2);
//! static ALONE: Barrier = Barrier::new(1);
//! static TURN: HandoffLock = HandoffLock::new();
//! static STOP: Cancel = Cancel::new();
//!
//! STOP.cancel(); // ends a wait that has to wait, and none that need not
//! assert!(!DONE.wait_timeout(&STOP));
//! assert!(LOCK.lock_timeout(&STOP).is_some());
//! assert!(NESTED.lock_timeout(Limit::NOW).is_some());
//! assert!(READ_MOSTLY.read_timeout(&STOP).is_some());
//! assert!(SEATS.permit_timeout(Duration::from_secs(1)).is_some());
//! assert_eq!(ALONE.wait_timeout(&STOP), Ok(0));
//! assert!(TURN.acquire_timeout(&STOP));
//! assert_eq!(CHANGED.notify(1), 0, "no thread waits");
//! ```

// For maintainers: the files of this module.
//
// | file | idea |
// | --- | --- |
// | `scope` | which threads may wait on a primitive, what each scope is made of, and why a scope is refused |
// | `lock` | mutual exclusion around data, the guard |
// | `rlock` | mutual exclusion that its holder may enter again |
// | `rwlock` | many readers or one writer around data, the guards |
// | `readers` | its protocol: the turn, and the shares of readers, one kind for each way to die |
// | `bare` | `Lock` and `RLock` around nothing, taken and released without a guard |
// | `locked_slice` | placing a lock around a slice in shared memory |
// | `hold` | the hold of a shared lock apart from its guard |
// | `interrupt` | a signal that ends waits |
// | `event` | a flag that one sets and many wait for |
// | `barrier` | a place where a number of parties wait for each other |
// | `participants` | the parties of a barrier, and which of them are inside |
// | `condition` | waiting, with a lock let go, until something changes |
// | `queue` | the waiters of a condition, in order of arrival: one queue for each scope |
// | `semaphore` | a number of units that many take and give back |
// | `ring` | messages from many processes to many |
// | `arena` | many objects in one memory file, and which process holds which object |
// | `exchange` | a request and its reply, between two sides that do not trust each other |
// | `handoff` | a lock that any thread may release |
// | `units` | the count of a semaphore, as a protocol of its own |
// | `permits` | where the units of permits live |
// | `gate` | how a waiter sleeps, and how a wake survives the death of the threads that pass it on |
// | `split_word` | a state of 64 bits, of which the lower 32 can be slept on |
// | `lease` | a participant's entry, whose word shows when the participant's thread dies |
// | `spin` | looking before sleeping, and learning whether that helps |
// | `private` | the raw lock of threads: one futex word |
// | `shared` | the raw lock of processes: word and list of `robust` together |
// | `overdue` | which waiter of that lock goes first, once one has waited for very long |
// | `local` | the raw lock of a single thread |
// | `thread_number` | a number for each thread that is never used again |

pub mod arena;
pub mod bare;
pub mod barrier;
pub mod condition;
pub mod event;
pub mod exchange;
pub(crate) mod gate;
pub mod handoff;
pub mod hold;
pub mod interrupt;
pub(crate) mod lease;
pub(crate) mod local;
pub mod lock;
mod locked_slice;
pub(crate) mod overdue;
pub(crate) mod participants;
pub(crate) mod permits;
pub(crate) mod private;
pub(crate) mod queue;
pub(crate) mod readers;
pub mod ring;
pub mod rlock;
pub mod rwlock;
pub mod scope;
pub mod semaphore;
pub(crate) mod shared;
pub(crate) mod spin;
pub(crate) mod split_word;
pub(crate) mod thread_number;
pub(crate) mod units;

#[doc(inline)]
pub use self::scope::{Local, Private, Shared};
#[doc(inline)]
pub use self::{barrier::Barrier, condition::Condition, event::Event};
#[doc(inline)]
pub use self::{
    handoff::HandoffLock,
    lock::{Guard, Lock},
    rlock::{RLock, RLockGuard},
    rwlock::{ReadGuard, RwLock, WriteGuard},
    semaphore::{Permit, Semaphore},
};
#[doc(inline)]
pub use crate::futex::{Cancel, Limit};
