//! The built-in types of every server, and their proxies.
//!
//! The objects ([`Local`](super::server::local::Local)) live in the loop of the server and are changed by one call at
//! a time. They have Python's names and exceptions, because clients of CPython call them too. The proxies are typed,
//! and have Rust's.

mod array;
mod barrier;
mod condition;
mod containers;
mod dict;
mod event;
mod hash;
pub(super) mod helpers;
mod iterator;
mod list;
mod lock;
mod mutex;
mod namespace;
mod pool;
mod proxies;
mod queue;
mod semaphore;
mod set;
mod slice;
mod typed;
mod value;

use self::helpers::Raised;
use super::Arguments;
use super::server::local::{CallContext, Made};

#[doc(inline)]
pub use containers::{ArrayProxy, DictProxy, Element, IteratorProxy, ListProxy, NamespaceProxy, SetProxy, ValueProxy};
#[doc(inline)]
pub use pool::{AsyncResultProxy, ImapProxy, MapResultProxy, PoolProxy};
#[doc(inline)]
pub use proxies::{
    BarrierProxy, ConditionProxy, EventProxy, LockProxy, LockProxyGuard, QueueProxy, RLockProxy, SemaphoreProxy,
};

type Make = fn(Arguments, &mut CallContext) -> Raised<Made>;

/// The types by their names in Python, with their methods.
pub(super) const TYPES: &[(&str, &[&str], Make)] = &[
    ("Array", array::METHODS, array::make),
    ("Barrier", barrier::METHODS, barrier::make),
    ("BoundedSemaphore", semaphore::METHODS, semaphore::make_bounded),
    ("Condition", condition::METHODS, condition::make),
    ("Event", event::METHODS, event::make),
    ("JoinableQueue", queue::METHODS, queue::make),
    ("Lock", lock::METHODS, lock::make),
    ("Namespace", namespace::METHODS, namespace::make),
    ("Queue", queue::METHODS, queue::make),
    ("RLock", lock::METHODS, lock::make_reentrant),
    ("Semaphore", semaphore::METHODS, semaphore::make),
    ("Value", value::METHODS, value::make),
    ("dict", dict::METHODS, dict::make),
    ("list", list::METHODS, list::make),
    ("set", set::METHODS, set::make),
];

pub(super) const ITERATOR_METHODS: &[&str] = iterator::METHODS;
