//! Values that each process has separately.
//!
//! A forked child has a copy of its parent's memory, with locks in it that are held by threads the child does not have.
//! So each value that has a lock, or belongs to one process only, is stored in a [`PerProcess`]. The first use in a
//! child makes a value for the child, from the parts of the parent's value that a child may have. Values are never
//! freed: their number is that of the forks between the first process and this one.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ossature_sys::process::generation;
use ossature_sys::set_once::SetOnce;

/// A value for each process, in a chain from the first process of the program to this one. The last value is the
/// current one.
pub(crate) struct PerProcess<T: 'static> {
    first: OnceLock<Box<Owned<T>>>,
}

/// The value of one process.
pub(crate) struct Owned<T: 'static> {
    /// The generation of the process. Written before the value is in the chain, and not again.
    generation: AtomicU32,
    value: T,
    next: PerProcess<T>,
    /// The next value, if it was prepared. Then `next` is empty.
    entered: SetOnce<Self>,
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    /// Returns the value of this process. If there is none, `make` makes it from the value of the nearest ancestor that
    /// has one.
    pub(crate) fn get_or_init(&self, make: impl Fn(Option<&T>) -> T) -> &Owned<T> {
        let new = |before| Box::new(Owned::new(generation(), make(before)));
        let mut owned: &Owned<T> = self.first.get_or_init(|| new(None));
        loop {
            owned = match owned.next() {
                Some(next) => next,
                None if owned.is_current() => return owned,
                None => owned.next.first.get_or_init(|| new(Some(&owned.value))),
            };
        }
    }

    /// The value of this process, if there is one.
    #[cfg(feature = "multiprocessing")]
    pub(crate) fn get(&self) -> Option<&Owned<T>> {
        let mut last: &Owned<T> = self.first.get()?;
        while let Some(next) = last.next() {
            last = next;
        }
        last.is_current().then_some(last)
    }

    /// Makes a prepared value the value of this process, a child that was just started. `hand_on` receives the previous
    /// last value: of the nearest ancestor that has one, or of this process, if the program was executed again. `make`
    /// makes a value if there is none.
    #[cfg(feature = "multiprocessing")]
    #[inline(always)] // as its only caller
    pub(crate) fn enter(
        &self,
        prepared: Box<Owned<T>>,
        make: impl FnOnce() -> T,
        hand_on: impl FnOnce(&T, &T),
    ) -> &Owned<T> {
        let mut last: &Owned<T> = self.first.get_or_init(|| Box::new(Owned::new(generation(), make())));
        while let Some(next) = last.next() {
            last = next;
        }
        hand_on(&last.value, &prepared.value);
        prepared.generation.store(generation(), Relaxed);
        last.entered.set(Box::leak(prepared))
    }
}

impl<T> Owned<T> {
    fn new(generation: u32, value: T) -> Self {
        Self { generation: AtomicU32::new(generation), value, next: PerProcess::new(), entered: SetOnce::new() }
    }

    fn next(&self) -> Option<&Self> {
        self.entered.get().or_else(|| self.next.first.get().map(|next| &**next))
    }

    /// Prepares the value of a future child, which [enters](PerProcess::enter) it.
    #[cfg(feature = "multiprocessing")]
    pub(crate) fn prepared(value: T) -> Box<Self> {
        Box::new(Self::new(0, value))
    }

    /// Whether the value belongs to this process.
    pub(crate) fn is_current(&self) -> bool {
        self.generation.load(Relaxed) == generation()
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
