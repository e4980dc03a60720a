//! The cost of decoding a message: depth, time and memory. An allocator counts the memory of this thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[path = "decoding/form.rs"]
mod form;
#[path = "decoding/pickle.rs"]
mod pickle;
#[path = "../sys/tests/it/support.rs"]
mod support;
#[path = "decoding/typed.rs"]
mod typed;
#[path = "decoding/xmlrpc.rs"]
mod xmlrpc;

struct Counting;

thread_local! {
    /// The number of bytes that this thread has now, and its maximum.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counter any more, and nothing left to measure.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is System's, with the caller's own arguments; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's obligation is System's own.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's obligation is System's own.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count(len as isize - layout.size() as isize);
        // SAFETY: the caller's obligation is System's own.
        unsafe { System.realloc(place, layout, len) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's obligation is System's own, and alloc's memory was System's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns the result of `body`, the thread's maximum memory during it beyond the memory before, and the memory that is
/// left.
fn measured<R>(body: impl FnOnce() -> R) -> (R, usize, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = body();
    let bytes = |now: isize| usize::try_from(now - before).unwrap_or(0);
    (result, bytes(PEAK.get()), bytes(LIVE.get()))
}

#[test]
fn the_counter_counts() {
    let (text, peak, kept) = measured(|| {
        drop(vec![0_u8; 1000]);
        String::from("ten bytes!")
    });
    assert_eq!((text.len(), kept), (10, 10));
    assert!((1000..1010).contains(&peak), "{peak}");
}
