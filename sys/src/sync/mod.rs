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
