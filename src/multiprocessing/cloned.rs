//! `TryClone` for the types of this module.

use ossature_sys::shm::{Plain, Shareable, Shm};

use super::connection::{Address, AuthKey};
use super::process::Process;
use super::queues::{JoinableQueue, Queue, SimpleQueue};
use super::shared_memory::{ShareableList, SharedMemory};
use super::sharedctypes::{Array, CodedArray, CodedValue, RawArray, RawValue, Value};
use super::sync::{
    Barrier, BoundedSemaphore, Condition, ConditionLock, Event, HandoffLock, Lock, NamedBoundedSemaphore, NamedLock,
    NamedSemaphore, RLock, RwLock, Semaphore,
};
use super::transfer::{Handle, Memory};
use crate::TryClone;
use crate::clone::{by_clone, by_their_own};
use crate::error::Result;

by_their_own! {
    [T: Shareable] Value<T>;
    [T: Shareable] Array<T>;
    [T: Plain] RawValue<T>;
    [T: Plain] RawArray<T>;
    [] CodedValue;
    [] CodedArray;
    [] Lock;
    [] RLock;
    [T: Shareable, const N: usize] RwLock<T, N>;
    [] HandoffLock;
    [const N: usize] Semaphore<N>;
    [const N: usize] BoundedSemaphore<N>;
    [] Event;
    [const N: usize] Barrier<N>;
    [L: ConditionLock<N>, const N: usize] Condition<L, N>;
    [T: Sized] Queue<T>;
    [T: Sized] JoinableQueue<T>;
    [T: Sized] SimpleQueue<T>;
    [] SharedMemory;
    [] ShareableList;
    [] NamedLock;
    [] NamedSemaphore;
    [] NamedBoundedSemaphore;
}

by_clone!(Process Address AuthKey);

impl<T: TryClone> TryClone for Handle<T> {
    fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl<T: ?Sized + Shareable> TryClone for Memory<T>
where
    Shm<T>: TryClone,
{
    fn try_clone(&self) -> Result<Self> {
        TryClone::try_clone(&self.0).map(Self)
    }
}
