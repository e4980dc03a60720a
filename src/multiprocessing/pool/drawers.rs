//! Drawers: maps and `imap` iterators that still have items to draw. They began before the pool was closed, so they
//! continue after the close, and the workers stay until each drawer has ended.
//!
//! An `imap` draws its items in the thread that takes its results. A [`join`](super::Pool::join) in that thread would
//! wait forever, so it cuts the drawers of its own thread: they draw no further item.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// A map or an `imap` iterator with items to draw.
#[derive(Debug)]
pub(super) struct Drawer {
    /// The thread that last drew an item, or took a result of a drawn item.
    thread: AtomicUsize,
    cut: AtomicBool,
}

impl Drawer {
    /// Records that the calling thread draws an item, or takes a result.
    pub(super) fn draws_here(&self) {
        self.thread.store(this_thread(), Relaxed);
    }

    /// Whether the drawer must draw no further item.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }
}

/// Returns a number of the calling thread that no other living thread has.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| ptr::from_ref(here).addr())
}

/// The drawers of a pool.
#[derive(Debug, Default)]
pub(super) struct Drawers(Vec<Arc<Drawer>>);

impl Drawers {
    /// Adds a drawer that draws in the calling thread.
    pub(super) fn begin(&mut self) -> Arc<Drawer> {
        let drawer = Arc::new(Drawer { thread: AtomicUsize::new(this_thread()), cut: AtomicBool::new(false) });
        self.0.push(drawer.clone());
        drawer
    }

    /// Removes a drawer, if it is in the list.
    pub(super) fn end(&mut self, drawer: &Arc<Drawer>) {
        self.0.retain(|other| !Arc::ptr_eq(other, drawer));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Cuts the drawers that draw in the calling thread.
    pub(super) fn cut_own(&mut self) {
        let here = this_thread();
        self.cut(|drawer| drawer.thread.load(Relaxed) == here);
    }

    /// Cuts all drawers.
    pub(super) fn cut_all(&mut self) {
        self.cut(|_| true);
    }

    fn cut(&mut self, is_meant: impl Fn(&Drawer) -> bool) {
        self.0.retain(|drawer| {
            let cut = is_meant(drawer);
            drawer.cut.fetch_or(cut, Relaxed);
            !cut
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_cuts_what_its_own_thread_draws() {
        let mut drawers = Drawers::default();
        let [here, moved, elsewhere] = [(); 3].map(|()| drawers.begin());
        std::thread::scope(|scope| {
            scope.spawn(|| elsewhere.draws_here());
            scope.spawn(|| moved.draws_here());
        });
        moved.draws_here();
        drawers.cut_own();
        assert_eq!([&here, &moved, &elsewhere].map(|drawer| drawer.is_cut()), [true, true, false]);
        assert!(!drawers.is_empty());
        drawers.end(&here);
        drawers.end(&elsewhere);
        assert!(drawers.is_empty() && !elsewhere.is_cut());
    }
}
