//! The floor: the minimal ring of 64-byte messages between two processes that never sleep and must not die.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicUsize, Ordering::*};

use ossature_benches::machine;

use crate::ice::Small;

const PLACES: usize = 1024;

#[repr(align(128))]
#[derive(Default)]
struct Side {
    at: AtomicUsize,
    /// The other side's position when this side last read it.
    seen: Cell<usize>,
}

pub struct Spsc {
    sender: Side,
    receiver: Side,
    places: [UnsafeCell<Small>; PLACES],
}

// SAFETY: one process sends and one receives; a place is the sender's until `sender.at` has passed it, and the
// receiver's until `receiver.at` has. Each `seen` is used by its own side alone.
unsafe impl Sync for Spsc {}

impl Spsc {
    pub fn shared() -> &'static Self {
        let places = [const { UnsafeCell::new([0; 8]) }; PLACES];
        machine::shared(Self { sender: Side::default(), receiver: Side::default(), places })
    }

    pub fn send(&self, message: &Small) {
        let at = self.sender.at.load(Relaxed);
        while at - self.sender.seen.get() == PLACES {
            self.sender.seen.set(self.receiver.at.load(Acquire));
            std::hint::spin_loop();
        }
        // SAFETY: the receiver is past this place, and does not look at it before the store below.
        unsafe { *self.places[at % PLACES].get() = *message };
        self.sender.at.store(at + 1, Release);
    }

    pub fn receive(&self) -> Small {
        let at = self.receiver.at.load(Relaxed);
        while at == self.receiver.seen.get() {
            self.receiver.seen.set(self.sender.at.load(Acquire));
            std::hint::spin_loop();
        }
        // SAFETY: the sender is past this place, and does not write it before the store below.
        let message = unsafe { *self.places[at % PLACES].get() };
        self.receiver.at.store(at + 1, Release);
        message
    }
}
