//! What the tests of the condition need of a world.

use std::ops::Deref;
use std::sync::atomic::AtomicU32;

use ossature_sys::scope::{Local, Private, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;

use crate::world::{Alone, Processes, Threads, World};

/// A world in which there are conditions, and locks beside them.
pub trait Conditions: World {
    fn lock() -> impl Deref<Target = Lock<u32, Self::Scope>>;
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Self::Scope>>;
    fn condition() -> impl Deref<Target = Condition<Self::Scope>>;
}

impl Conditions for Threads<Private> {
    fn lock() -> impl Deref<Target = Lock<u32>> {
        Box::new(Lock::new(0))
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32>> {
        Box::new(RLock::new(AtomicU32::new(0)))
    }
    fn condition() -> impl Deref<Target = Condition> {
        Box::new(Condition::new())
    }
}

impl Conditions for Threads<Shared> {
    fn lock() -> impl Deref<Target = Lock<u32, Shared>> {
        Shm::place(Lock::shared(0)).expect("memory for a lock")
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Shared>> {
        Shm::place(RLock::shared(AtomicU32::new(0))).expect("memory for a lock")
    }
    fn condition() -> impl Deref<Target = Condition<Shared>> {
        Shm::place(Condition::shared()).expect("memory for a condition")
    }
}

impl Conditions for Processes {
    fn lock() -> impl Deref<Target = Lock<u32, Shared>> {
        Threads::<Shared>::lock()
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Shared>> {
        Threads::<Shared>::rlock()
    }
    fn condition() -> impl Deref<Target = Condition<Shared>> {
        Threads::<Shared>::condition()
    }
}

impl Conditions for Alone {
    fn lock() -> impl Deref<Target = Lock<u32, Local>> {
        Box::new(Lock::local(0))
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Local>> {
        Box::new(RLock::local(AtomicU32::new(0)))
    }
    fn condition() -> impl Deref<Target = Condition<Local>> {
        Box::new(Condition::local())
    }
}
