//! The model checker's atomics, in the form that the waiting primitives use.
//!
//! A half of a state of 64 bits is a word of its own for the kernel. Here it is a view, which reads the whole.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32 as Whole32, AtomicU64 as Whole64, fence};

use super::std;
use crate::atomic::Ordering;

/// A word, or a view of one half of an [`AtomicU64`], which only the kernel's part of the model reads.
#[derive(Debug)]
pub struct AtomicU32(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Whole32),
    Half { state: Arc<Whole64>, shift: u32 },
}

impl Default for AtomicU32 {
    fn default() -> Self {
        Self::new(0)
    }
}

impl AtomicU32 {
    /// A separate word, which is not a half.
    pub fn new(value: u32) -> Self {
        Self(Kind::Whole(Whole32::new(value)))
    }

    fn whole(&self) -> &Whole32 {
        match &self.0 {
            Kind::Whole(word) => word,
            Kind::Half { .. } => unreachable!("a half is read by the kernel only"),
        }
    }

    /// The value.
    pub fn load(&self, order: Ordering) -> u32 {
        match &self.0 {
            Kind::Whole(word) => word.load(order),
            Kind::Half { state, shift } => (state.load(order) >> shift) as u32,
        }
    }

    /// Stores a value.
    pub fn store(&self, value: u32, order: Ordering) {
        self.whole().store(value, order);
    }

    /// Stores a value and returns the previous one.
    pub fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.whole().swap(value, order)
    }

    /// Stores `to` if the word holds `from`.
    ///
    /// # Errors
    /// The value that it holds instead.
    pub fn compare_exchange(&self, from: u32, to: u32, order: Ordering, lost: Ordering) -> Result<u32, u32> {
        self.whole().compare_exchange(from, to, order, lost)
    }

    /// Same as [`compare_exchange`](Self::compare_exchange).
    ///
    /// # Errors
    /// The same.
    pub fn compare_exchange_weak(&self, from: u32, to: u32, order: Ordering, lost: Ordering) -> Result<u32, u32> {
        self.whole().compare_exchange_weak(from, to, order, lost)
    }

    /// Adds a number and returns the previous value.
    pub fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.whole().fetch_add(value, order)
    }

    /// Raises the word to `value` and returns the previous value.
    pub fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
        self.whole().fetch_max(value, order)
    }

    /// Subtracts a number and returns the previous value.
    pub fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.whole().fetch_sub(value, order)
    }

    /// Sets bits and returns the previous value.
    pub fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        self.whole().fetch_or(value, order)
    }

    /// Keeps only these bits and returns the previous value.
    pub fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
        self.whole().fetch_and(value, order)
    }
}

/// A state of 64 bits with views of its halves.
#[derive(Debug)]
pub struct AtomicU64 {
    state: Arc<Whole64>,
    halves: [AtomicU32; 2],
}

impl Default for AtomicU64 {
    fn default() -> Self {
        Self::new(0)
    }
}

impl AtomicU64 {
    /// A 64-bit state.
    pub fn new(value: u64) -> Self {
        let state = Arc::new(Whole64::new(value));
        let half = |shift| AtomicU32(Kind::Half { state: state.clone(), shift });
        Self { halves: [half(0), half(32)], state }
    }
}

impl core::ops::Deref for AtomicU64 {
    type Target = Whole64;

    fn deref(&self) -> &Whole64 {
        &self.state
    }
}

/// The lower or the upper half, for the kernel only.
pub fn half(state: &AtomicU64, upper: bool) -> &AtomicU32 {
    let [lower, higher] = &state.halves;
    if upper { higher } else { lower }
}

/// A `SeqCst` fence: the model checker has a single order of `SeqCst` only for fences.
pub fn in_one_order() {
    fence(Ordering::SeqCst);
}

/// Does nothing, because the model has no cache.
pub fn expect_to_write<T>(_place: *const T) {}

/// Lets another thread run.
pub fn spin_hint() {
    loom::thread::yield_now();
}
