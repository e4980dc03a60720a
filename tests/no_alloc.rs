//! No function of the lower crate allocates, and neither do lock, unlock, wait and register of the upper crate. A
//! counting allocator watches this thread in every call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ossature::sys;

#[path = "no_alloc/connection.rs"]
mod connection;
#[cfg(feature = "readline")]
#[path = "no_alloc/keystroke.rs"]
mod keystroke;
#[path = "no_alloc/machine.rs"]
mod machine;
#[path = "no_alloc/manager.rs"]
mod manager;
#[path = "no_alloc/memory.rs"]
mod memory;
#[path = "no_alloc/sync.rs"]
mod sync;
#[path = "no_alloc/thin.rs"]
mod thin;

struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // A thread that is ending has no counter any more, and nothing left to measure.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
    change(bytes as i64);
}

fn change(bytes: i64) {
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call is System's, with the caller's own arguments; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's obligation is System's own.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's obligation is System's own.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count(len);
        change(-(layout.size() as i64));
        // SAFETY: the caller's obligation is System's own.
        unsafe { System.realloc(place, layout, len) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        change(-(layout.size() as i64));
        // SAFETY: the caller's obligation is System's own, and alloc's memory was System's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts the allocations of this thread during `body`.
fn asked<R>(body: impl FnOnce() -> R) -> (R, u64) {
    let before = ASKED.get();
    let result = body();
    (result, ASKED.get() - before)
}

/// The number of bytes that this thread has allocated and not freed.
fn live() -> i64 {
    LIVE.get()
}

/// Runs an expression and asserts that this thread allocated no memory meanwhile. Returns its value.
macro_rules! no_alloc {
    ($name:literal, $expr:expr) => {{
        let (value, times) = crate::asked(|| $expr);
        assert_eq!(times, 0, "{} allocates", $name);
        value
    }};
}
pub(crate) use no_alloc;

#[test]
fn the_counter_counts() {
    let (boxed, times) = asked(|| Box::new(7_u64));
    assert_eq!((*boxed, times), (7, 1));
    let (text, times) = asked(|| String::from("a") + "b");
    assert!(text == "ab" && times >= 1);
}

#[test]
#[should_panic(expected = "a planted box allocates")]
fn an_allocation_is_found() {
    no_alloc!("a planted box", std::hint::black_box(Box::new(1)));
}

#[test]
fn locks_of_every_scope_allocate_nothing() {
    use std::time::Duration;
    use sys::scope::{Local, Shared};
    use sys::shm::Shm;
    use sys::sync::lock::Lock;

    let private: Lock<u64> = Lock::new(1);
    no_alloc!("private lock and unlock", *private.lock() += 1);
    no_alloc!("private try_lock", drop(private.try_lock().expect("free")));
    no_alloc!("private lock_timeout", drop(private.lock_timeout(Duration::from_secs(1)).expect("free")));
    let held = private.lock();
    assert!(no_alloc!("private lock that times out", private.lock_timeout(Duration::from_millis(2))).is_none());
    drop(held);

    let local = Lock::<u64, Local>::local(1);
    no_alloc!("local lock and unlock", *local.lock().expect("free") += 1);

    let shared = no_alloc!("placing a lock", Shm::place(Lock::<u64, Shared>::shared(1))).expect("shared memory");
    let again = no_alloc!("mapping again", shared.try_clone()).expect("a second mapping");
    no_alloc!("shared lock and unlock", *again.lock().expect("free") += 1);
    no_alloc!("shared try_lock", drop(shared.try_lock().expect("free").expect("free")));
    no_alloc!("shared lock_timeout", drop(shared.lock_timeout(Duration::from_secs(1)).expect("free")));
    no_alloc!("unmapping", drop((shared, again)));
}

#[test]
fn values_and_arrays_allocate_nothing() {
    use ossature::multiprocessing::{Array, RawArray, RawValue, Value};

    let (value, raw) = no_alloc!("making values", (Value::new(1_u64), RawValue::new(1_u64)));
    let (value, raw) = (value.expect("shared memory"), raw.expect("shared memory"));
    no_alloc!("Value::get and set", value.set(value.get().expect("free") + 1)).expect("free");
    no_alloc!("Value::lock and with", value.with(|v| *v += 1)).expect("free");
    no_alloc!("RawValue::get and set", raw.set(raw.get() + 1));
    let (array, cells) = no_alloc!("making arrays", (Array::<u32>::new(1000), RawArray::<u32>::new(1000)));
    let (array, cells) = (array.expect("shared memory"), cells.expect("shared memory"));
    no_alloc!("Array::get and set", array.set(-1, array.get(0).expect("free"))).expect("free");
    no_alloc!("Array::set_slice", array.set_slice(500.., &[7; 500])).expect("free");
    no_alloc!("RawArray::get and set", cells.set(-1, cells.get(0).expect("there"))).expect("there");
    no_alloc!("RawArray::set_slice", cells.set_slice(..500, &[7; 500])).expect("there");
}

#[test]
fn primitives_of_multiprocessing_allocate_nothing() {
    use ossature::multiprocessing::{Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock};
    use std::time::Duration;

    const SHORT: Duration = Duration::from_millis(1);
    let made = no_alloc!("making them", (Lock::new(), RLock::new(), Condition::new(), HandoffLock::new()));
    let (Ok(lock), Ok(rlock), Ok(condition), Ok(handoff)) = made else { panic!("no shared memory") };
    no_alloc!("Lock::acquire and release", lock.acquire().and_then(|()| lock.release())).expect("free");
    no_alloc!("Lock::lock", drop(lock.lock().expect("free")));
    no_alloc!("Lock::with", lock.with(|| ())).expect("free");
    no_alloc!("RLock::with, twice", rlock.with(|| rlock.with(|| ()))).expect("free").expect("mine");
    condition.acquire().expect("free");
    assert!(!no_alloc!("Condition::wait_timeout", condition.wait_timeout(SHORT)).expect("mine"));
    assert!(!no_alloc!("Condition::wait_for", condition.wait_for(|| false, SHORT)).expect("mine"));
    no_alloc!("Condition::notify", condition.notify(1)).expect("mine");
    no_alloc!("Condition::release", condition.release()).expect("mine");
    no_alloc!("HandoffLock::with", handoff.with(|| ())).expect("free");

    let made = no_alloc!("making the others", (BoundedSemaphore::new(2), Event::new(), Barrier::new(1)));
    let (Ok(semaphore), Ok(event), Ok(barrier)) = made else { panic!("no shared memory") };
    no_alloc!("Semaphore::acquire", semaphore.acquire()).expect("two units");
    let permit = no_alloc!("Semaphore::permit", semaphore.permit()).expect("one unit");
    assert!(!no_alloc!("Semaphore::acquire_timeout", semaphore.acquire_timeout(SHORT)).expect("none left"));
    no_alloc!("dropping a permit", drop(permit));
    no_alloc!("Semaphore::release", semaphore.release()).expect("within the bound");
    assert!(!no_alloc!("Event::wait_timeout", event.wait_timeout(SHORT)).expect("down"));
    no_alloc!("Event::set and wait", (event.set(), event.wait())).1.expect("up");
    no_alloc!("Barrier::wait", barrier.wait()).expect("alone");
}

#[test]
fn waiting_for_a_contended_lock_allocates_nothing() {
    use sys::scope::Shared;
    use sys::shm::Shm;
    use sys::sync::lock::Lock;

    let lock = Shm::place(Lock::<u64, Shared>::shared(0)).expect("shared memory");
    let rounds = 20_000;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    no_alloc!("a contended lock", *lock.lock().expect("not given up") += 1);
                }
            });
        }
    });
    assert_eq!(*lock.lock().expect("not given up"), 2 * rounds);
}

#[test]
fn the_poll_object_allocates_nothing_once_it_has_room() {
    use ossature::select::{Poll, PollFlags};
    use std::os::fd::AsFd;
    let pairs: Vec<_> = (0..20).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
    let mut poll = Poll::new();
    pairs.iter().for_each(|(near, _)| poll.register(near.as_fd(), PollFlags::OUT));
    let (ready, allocations) = asked(|| {
        let first = poll.poll(None).map(|ready| ready.len());
        let taken_out = poll.unregister(&pairs[3].0).is_ok() && poll.modify(&pairs[4].0, PollFlags::IN).is_ok();
        poll.register(pairs[3].0.as_fd(), PollFlags::OUT);
        (first.ok(), taken_out, poll.poll(std::time::Duration::from_secs(1)).map(|ready| ready.len()).ok())
    });
    assert_eq!((ready, allocations), ((Some(20), true, Some(19)), 0));
}
