//! Types for values that belong to one thread, whose compiler errors name the remedy.
//!
//! A raw pointer or a cell would do as well, but the compiler then prints the names of their types. A bound that
//! no type meets can have its own message.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

/// A trait without implementations: a guard neither moves to another thread nor is lent to one.
#[diagnostic::on_unimplemented(
    message = "a guard stays in the thread that made it",
    label = "another thread would use the guard",
    note = "drop the guard, and let the other thread take the lock itself; or pass on a copy of the data"
)]
pub trait UsedByAnotherThread {}

/// A type whose name the compiler prints.
#[derive(Debug)]
pub enum GuardStaysInItsThread {}

/// A field of this type makes a struct neither `Send` nor `Sync`.
#[derive(Debug)]
pub struct StaysInItsThread<M = GuardStaysInItsThread>(PhantomData<(*const (), M)>);

// SAFETY: nothing implements the bound for the default marker, and no value with another marker can be made. So no such
// value is ever sent to another thread.
unsafe impl<M: UsedByAnotherThread> Send for StaysInItsThread<M> {}
// SAFETY: as above.
unsafe impl<M: UsedByAnotherThread> Sync for StaysInItsThread<M> {}

/// A trait without implementations: two threads do not use one connection, or one half of it, at the same time.
#[diagnostic::on_unimplemented(
    message = "a connection, or one half of it, is used by one thread at a time",
    label = "a second thread would use the connection too",
    note = "`connection.split()` gives two halves for two threads: one thread receives, the other thread sends",
    note = "move the whole connection into one thread, or keep it in a `Mutex`"
)]
pub trait UsedByTwoThreads {}

/// A type whose name the compiler prints.
#[derive(Debug)]
pub enum TwoThreadsTakeTheHalvesOfSplit {}

/// A value that may move to another thread, but is never shared by two threads.
pub struct OneThread<T, M = TwoThreadsTakeTheHalvesOfSplit> {
    value: T,
    marker: PhantomData<fn(M)>,
}

// SAFETY: nothing implements the bound for the default marker, and `new` makes values with that marker only. So no such
// value is ever shared by two threads.
unsafe impl<T, M: UsedByTwoThreads> Sync for OneThread<T, M> {}

impl<T> OneThread<T> {
    /// Binds the value to one thread at a time.
    pub const fn new(value: T) -> Self {
        Self { value, marker: PhantomData }
    }
}

impl<T, M> Deref for OneThread<T, M> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug, M> fmt::Debug for OneThread<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
