//! Drawers: maps and `imap` iterators that still have items to draw. They began before the pool was closed, so they
//! continue after the close, and the workers stay until each drawer has ended.
//!
//! An `imap` draws its items in the thread that takes its results. A [`join`](super::Pool::join) in that thread would
//! wait forever, so it cuts the drawers of its own thread, and of threads that have ended: they draw no further item.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// The time between two checks of a join whether a thread that draws has ended, which wakes no other thread.
pub(super) const CHECK: Duration = Duration::from_millis(50);

/// A map or an `imap` iterator with items to draw.
#[derive(Debug)]
pub(super) struct Drawer {
    /// The thread that last drew an item, or took a result of a drawn item.
    thread: Mutex<Weak<()>>,
    /// The address of that thread's mark. While the mark is in `thread`, no other mark has this address.
    address: AtomicUsize,
    cut: AtomicBool,
}

impl Drawer {
    /// Records that the calling thread draws an item, or takes a result.
    pub(super) fn draws_here(&self) {
        let address = address_of_this_thread();
        if address == 0 || self.address.load(Relaxed) != address {
            let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            *thread = this_thread();
            self.address.store(address, Relaxed);
        }
    }

    /// Whether the drawer draws in the calling thread, or in a thread that has ended.
    fn is_own(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.strong_count() == 0 || thread.ptr_eq(&this_thread())
    }

    /// Whether the drawer must draw no further item.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }
}

thread_local! {
    /// The mark of this thread. It is dropped when the thread ends.
    static HERE: Arc<()> = Arc::new(());
}

/// Returns a reference to the mark of the calling thread.
fn this_thread() -> Weak<()> {
    HERE.try_with(Arc::downgrade).unwrap_or_default()
}

/// Returns the address of the mark of the calling thread; 0 in a thread that ends and has no mark any more.
fn address_of_this_thread() -> usize {
    HERE.try_with(|mark| Arc::as_ptr(mark).addr()).unwrap_or(0)
}

/// The drawers of a pool.
#[derive(Debug, Default)]
pub(super) struct Drawers(Vec<Arc<Drawer>>);

impl Drawers {
    /// Adds a drawer that draws in the calling thread.
    pub(super) fn begin(&mut self) -> Arc<Drawer> {
        let drawer = Arc::new(Drawer {
            thread: Mutex::new(this_thread()),
            address: AtomicUsize::new(address_of_this_thread()),
            cut: AtomicBool::new(false),
        });
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

    /// Cuts the drawers that draw in the calling thread, or in a thread that has ended.
    pub(super) fn cut_own(&mut self) {
        self.cut(Drawer::is_own);
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
        let [here, moved, elsewhere, ended] = [(); 4].map(|()| drawers.begin());
        std::thread::spawn({
            let (moved, ended) = (moved.clone(), ended.clone());
            move || [moved, ended].iter().for_each(|drawer| drawer.draws_here())
        })
        .join()
        .unwrap();
        moved.draws_here();
        let (draws, over) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                elsewhere.draws_here();
                draws.wait();
                over.wait();
            });
            draws.wait();
            drawers.cut_own();
            let are_cut = [&here, &moved, &elsewhere, &ended].map(|drawer| drawer.is_cut());
            over.wait();
            assert_eq!(are_cut, [true, true, false, true]);
        });
        assert!(!drawers.is_empty());
        drawers.end(&here);
        drawers.end(&elsewhere);
        assert!(drawers.is_empty() && !elsewhere.is_cut());
    }
}
