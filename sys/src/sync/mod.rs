//! The waiting primitives, each written once over [`Scope`](crate::scope::Scope).
//!
//! | file | idea |
//! | --- | --- |
//! | [`lock`] | mutual exclusion around data, the guard |
//! | `private` | the raw lock of threads: one futex word |
//! | `word` | the state word of the lock that survives death, as a protocol of its own |
//! | `robust` | the list that the kernel walks when a thread dies, and our entries in it |
//! | `shared` | the raw lock of processes: word and list together |
//! | `fallback` | the raw lock of processes where that list cannot be used: a pthread robust mutex |
//! | `local` | the raw lock of a single thread |

#[cfg(not(loom))]
pub(crate) mod fallback;
#[cfg(not(loom))]
pub(crate) mod local;
#[cfg(not(loom))]
pub mod lock;
pub(crate) mod private;
#[cfg(not(loom))]
pub(crate) mod robust;
#[cfg(not(loom))]
pub(crate) mod shared;
pub(crate) mod word;

use crate::atomic::AtomicU32;
use crate::deadline::Deadline;
use crate::futex::Wait;

/// Sleeps on a word of this process while it holds `expected`.
#[cfg(not(loom))]
fn wait_private(word: &AtomicU32, expected: u32, deadline: Deadline) -> Wait {
    // The only error of the call is a word outside the address space, which a reference excludes; should a kernel invent
    // another, the callers look again, which is right after any wake.
    crate::futex::wait(word, expected, crate::futex::Reach::Private, deadline).unwrap_or(Wait::Changed)
}

/// Wakes sleepers of a word of this process.
#[cfg(not(loom))]
fn wake_private(word: &AtomicU32, count: u32) -> u32 {
    crate::futex::wake(word, count, crate::futex::Reach::Private).unwrap_or(0)
}

#[cfg(loom)]
pub(crate) use crate::model::{wait as wait_private, wake as wake_private};
