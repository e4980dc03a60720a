//! A reference that is set once. The code is a few instructions in the caller. std's `OnceLock` calls other functions
//! to set a value. A forked child has a page fault for each page of code that it is the first to use.

use core::marker::PhantomData;
use core::ptr::{from_ref, null_mut};
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{Acquire, Release};

/// A place for one reference.
#[derive(Debug)]
pub struct SetOnce<T: 'static>(AtomicPtr<T>, PhantomData<&'static T>);

impl<T> SetOnce<T> {
    /// Makes an empty place.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()), PhantomData)
    }

    /// The reference, once it is set.
    #[inline]
    pub fn get(&self) -> Option<&'static T> {
        let place = self.0.load(Acquire);
        // SAFETY: the pointer is null or that of a reference which `set` was given, and which is valid forever.
        unsafe { place.as_ref() }
    }

    /// Sets the reference, unless it is set. Returns the reference that is there now.
    #[inline]
    pub fn set(&self, value: &'static T) -> &'static T {
        match self.0.compare_exchange(null_mut(), from_ref(value).cast_mut(), Release, Acquire) {
            Ok(_) => value,
            // SAFETY: the pointer is not null, so it is that of a reference which `set` was given.
            Err(other) => unsafe { &*other },
        }
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}
