//! The errors on a system without robust lists and without robust mutexes in its C library.

use std::sync::atomic::AtomicU32;

use ossature_sys::errno::Errno;
use ossature_sys::scope::{LockBackend, Shared};
use ossature_sys::shm::{Init, Shareable, Shm};
use ossature_sys::sync::barrier::Barrier;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;
use ossature_sys::sync::rwlock::RwLock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::harness::Test;

pub const TESTS: &[Test] = &[("refused::what_has_a_lock_cannot_be_placed", what_has_a_lock_cannot_be_placed)];

fn placed<T: Shareable>(init: impl Init<T>) -> Result<(), Errno> {
    Shm::place(init).map(drop)
}

/// Placing the first object with a lock fails. A type without a lock can be placed everywhere.
fn what_has_a_lock_cannot_be_placed() {
    let expected = if Shared::backend() == LockBackend::Unsupported { Err(Errno::OPNOTSUPP) } else { Ok(()) };
    assert_eq!(placed(Lock::<u32, Shared>::shared(0)), expected);
    assert_eq!(placed(RLock::<u32, Shared>::shared(0)), expected);
    assert_eq!(placed(RwLock::<u32, Shared>::shared(0)), expected);
    assert_eq!(placed(Semaphore::shared(1)), expected);
    assert_eq!(placed(Barrier::shared(2)), expected);
    assert_eq!(Shm::place_locked_slice(3, |_| 0_u8).map(drop), expected);
    assert_eq!(placed(Event::shared()), Ok(()));
    assert_eq!(placed(Condition::shared()), Ok(()));
    assert_eq!(placed(HandoffLock::shared()), Ok(()));
    assert_eq!(placed(AtomicU32::new(0)), Ok(()));
}
