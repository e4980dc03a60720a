//! Objects of different types in one memory file: an object stays until no process uses it.
//!
//! In this binary, because a child that another test forks meanwhile would have everything, too.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::mem::forget;
use std::thread;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::duplicate;
use ossature_sys::mmap::Memfd;
use ossature_sys::process::{ExitStatus, fork};
use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shareable;
use ossature_sys::shm::{AttachError, Init, Racy, Shareable, Shm, Zeroed};
use ossature_sys::sync::arena::{Arena, Handle};
use ossature_sys::sync::barrier::Barrier;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::lock::Lock;

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("objects_of_many_types_lie_beside_each_other_aligned", objects_of_many_types_lie_beside_each_other_aligned),
    (
        "a_place_is_free_again_when_the_last_handle_of_all_is_gone",
        a_place_is_free_again_when_the_last_handle_of_all_is_gone,
    ),
    ("what_is_free_is_used_again_before_more_pages_are_taken", what_is_free_is_used_again_before_more_pages_are_taken),
    ("an_arena_is_filled_to_its_last_granule", an_arena_is_filled_to_its_last_granule),
    ("what_is_not_made_takes_no_room", what_is_not_made_takes_no_room),
    ("only_an_object_of_the_very_type_is_had_by_its_place", only_an_object_of_the_very_type_is_had_by_its_place),
    (
        "what_is_locked_by_a_forgotten_guard_stays_mapped_and_used",
        what_is_locked_by_a_forgotten_guard_stays_mapped_and_used,
    ),
    ("a_clone_keeps_what_its_original_gives_back", a_clone_keeps_what_its_original_gives_back),
    ("a_primitive_begins_anew_where_another_object_was", a_primitive_begins_anew_where_another_object_was),
    ("threads_make_clone_and_drop_at_once", threads_make_clone_and_drop_at_once),
    ("memory_of_another_kind_is_no_arena", memory_of_another_kind_is_no_arena),
    ("carriers_are_of_one_arena", carriers_are_of_one_arena),
];

const MIB: usize = 1 << 20;

shareable! {
    /// A value with the size and the alignment of a page.
    #[repr(align(4096))]
    struct Page { count: AtomicU32 }
}

/// Opens the arena as another process does.
fn there(arena: &Arena) -> Arena {
    let carrier = arena.carrier().unwrap();
    // SAFETY: the descriptor stays in this test, which uses the memory as an arena.
    let memory = unsafe { carrier.descriptor() };
    // SAFETY: as above.
    unsafe { Arena::from_fd(memory) }.unwrap()
}

fn objects_of_many_types_lie_beside_each_other_aligned() {
    let arena = Arena::new(MIB).unwrap();
    let byte = arena.place(Racy::new(5_u8)).unwrap();
    let lock = arena.place(Lock::<u64, Shared>::shared(6)).unwrap();
    let page = arena.place(Page::init(AtomicU32::new(7))).unwrap();
    let event = arena.place(Event::shared()).unwrap();
    let long: Handle<Racy<[u16; 10_000]>> = arena.place(Zeroed).unwrap();
    let last = arena.place(Racy::new(8_u8)).unwrap();
    assert_eq!((byte.get(), *lock.lock().unwrap(), page.count.load(Relaxed), last.get()), (5, 6, 7, 8));
    assert!(!event.is_set() && long.get() == [0; 10_000]);
    assert_eq!(core::ptr::from_ref(&*page).addr() % 4096, 0);
    long.set([9; 10_000]);
    assert_eq!((byte.get(), *lock.lock().unwrap(), page.count.load(Relaxed), last.get()), (5, 6, 7, 8));
    assert!(!event.is_set());
    let there = there(&arena);
    let same = there.at::<Lock<u64, Shared>>(lock.place()).unwrap().unwrap();
    *same.lock().unwrap() += 1;
    assert_eq!(*lock.lock().unwrap(), 7);
}

fn a_clone_keeps_what_its_original_gives_back() {
    let arena = Arena::new(MIB).unwrap();
    let cell = arena.place(Racy::new(5_u32)).unwrap();
    let clone = cell.clone();
    drop(cell);
    assert_eq!(arena.sweep(), Ok(64));
    let other = arena.place(Racy::new(6_u32)).unwrap();
    assert_eq!((clone.get(), other.get(), arena.sweep()), (5, 6, Ok(128)));
    drop(clone);
    assert_eq!(arena.sweep(), Ok(64));
}

/// The memory of a freed object is not zero.
fn a_primitive_begins_anew_where_another_object_was() {
    type Small = Barrier<Shared, 8>;
    let arena = Arena::new(MIB).unwrap();
    let dirty = arena.place(Racy::new([0xff_u8; size_of::<Small>()])).unwrap();
    let place = dirty.place();
    drop(dirty);
    arena.sweep().unwrap();
    let barrier = arena.place(Small::shared_with_capacity(1)).unwrap();
    assert_eq!(barrier.place(), place);
    let parties: Vec<_> = (0..8).map(|_| barrier.join().unwrap()).collect();
    assert_eq!(barrier.join().map(drop), Err(Refused::TableFull));
    assert_eq!((barrier.waiting(), barrier.wait()), (0, Ok(0)));
    drop(parties);
}

fn a_place_is_free_again_when_the_last_handle_of_all_is_gone() {
    let arena = Arena::new(MIB).unwrap();
    let there = there(&arena);
    let cell = arena.place(Racy::new(5_u32)).unwrap();
    let copies = [cell.clone(), cell.clone()];
    let far = there.at::<Racy<u32>>(cell.place()).unwrap().unwrap();
    drop(cell);
    assert_eq!(arena.sweep(), Ok(64));
    drop(copies);
    assert_eq!(arena.sweep(), Ok(64), "another mapping has it");
    far.set(7);
    let back = arena.at::<Racy<u32>>(far.place()).unwrap().unwrap();
    drop(far);
    assert_eq!((there.sweep(), back.get()), (Ok(64), 7));
    drop(back);
    assert_eq!(there.sweep(), Ok(0));
}

fn what_is_free_is_used_again_before_more_pages_are_taken() {
    let arena = Arena::new(MIB).unwrap();
    for _ in 0..100_000 {
        arena.place(Racy::new([0_u64; 20])).unwrap();
    }
    assert_eq!(arena.backed(), Ok(16 << 10));
    let kept: Vec<_> = (0..1000).map(|n| arena.place(Racy::new(n)).unwrap()).collect();
    assert_eq!(arena.backed(), Ok(64 << 10), "twice as many each time");
    assert!((0..1000).zip(&kept).all(|(n, cell)| cell.get() == n));
    let odd: Vec<_> = kept.into_iter().enumerate().filter_map(|(n, cell)| (n % 2 == 1).then_some(cell)).collect();
    // Between those that are left there is room for one granule each, and none for two.
    let wide: Vec<_> = (0..100).map(|_| arena.place(Racy::new([1_u64; 16])).unwrap()).collect();
    let narrow: Vec<_> = (0..100).map(|_| arena.place(Racy::new(2_u64)).unwrap()).collect();
    assert!(odd.iter().enumerate().all(|(n, cell)| cell.get() == 2 * n as i32 + 1));
    assert!(wide.iter().all(|cell| cell.get() == [1; 16]) && narrow.iter().all(|cell| cell.get() == 2));
}

fn an_arena_is_filled_to_its_last_granule() {
    let arena = Arena::new(1).unwrap();
    assert_eq!(arena.capacity(), 64 << 10);
    let mut all: Vec<_> = std::iter::from_fn(|| arena.place(Racy::new(1_u8)).ok()).collect();
    assert_eq!((all.len(), arena.sweep()), (1024, Ok(64 << 10)));
    assert_eq!(arena.place(Racy::new(1_u8)).unwrap_err(), Errno::NOSPC);
    let free = all.swap_remove(777).place();
    assert_eq!(arena.place(Racy::new(1_u8)).unwrap().place(), free);
    drop(all);
    assert_eq!(arena.place(Racy::new([0_u8; (64 << 10) + 1])).unwrap_err(), Errno::NOSPC);
    assert_eq!(arena.place(Racy::new([3_u8; 64 << 10])).unwrap().get(), [3; 64 << 10]);
}

struct Failing;

// SAFETY: never succeeds.
unsafe impl Init<u64> for Failing {
    unsafe fn init(self, _place: *mut u64) -> Result<()> {
        Err(Errno::DOM)
    }
}

fn what_is_not_made_takes_no_room() {
    let arena = Arena::new(MIB).unwrap();
    assert_eq!(arena.place::<u64>(Failing).unwrap_err(), Errno::DOM);
    assert_eq!((arena.sweep(), arena.at::<u64>(0).unwrap().is_none()), (Ok(0), true));
}

fn only_an_object_of_the_very_type_is_had_by_its_place() {
    let arena = Arena::new(MIB).unwrap();
    let pair = arena.place(Racy::new([7_u64; 30])).unwrap();
    let had = |place: u64| arena.at::<Racy<[u64; 30]>>(place).unwrap().is_some();
    assert!(had(pair.place()));
    let wrong = (0..8).map(|n| pair.place() + n).chain([1 << 14, (1 << 14) - 1, 1 << 40, u64::MAX - 1, u64::MAX]);
    assert!(wrong.skip(1).all(|place| !had(place)));
    assert!(arena.at::<Racy<[u32; 60]>>(pair.place()).unwrap().is_none(), "another type of the same size");
    assert!(arena.at::<[u64; 30]>(pair.place()).unwrap().is_none());
    let place = pair.place();
    drop(pair);
    arena.sweep().unwrap();
    assert!(!had(place), "it is gone");
}

fn what_is_locked_by_a_forgotten_guard_stays_mapped_and_used() {
    // In a process of its own, because the mapping stays.
    let mut child = fork(|| {
        let arena = Arena::new(MIB).unwrap();
        let lock = arena.place(Lock::<u64, Shared>::shared(6)).unwrap();
        let cell = arena.place(Racy::new(1_u8)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                forget(lock.lock().unwrap());
                let other = lock.clone();
                drop((lock, other, cell));
                assert_eq!(arena.sweep(), Ok(64), "the kernel knows an address in it");
            });
        });
        assert_eq!(arena.sweep(), Ok(64));
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn threads_make_clone_and_drop_at_once() {
    let arena = Arena::new(MIB).unwrap();
    let there = there(&arena);
    let common = arena.place(Lock::<u64, Shared>::shared(0)).unwrap();
    let work = |arena: &Arena, mark: u64| {
        for turn in 0..2000 {
            let own = arena.place(Racy::new([mark + turn; 9])).unwrap();
            let common = arena.at::<Lock<u64, Shared>>(common.place()).unwrap().unwrap();
            let copy = own.clone();
            drop(own);
            *common.lock().unwrap() += 1;
            assert_eq!(copy.get(), [mark + turn; 9]);
        }
    };
    thread::scope(|scope| {
        for n in 0..4 {
            let arena = if n % 2 == 0 { &arena } else { &there };
            scope.spawn(move || work(arena, n << 32));
        }
    });
    assert_eq!((*common.lock().unwrap(), arena.sweep()), (8000, Ok(64)));
    drop(common);
    assert_eq!(arena.sweep(), Ok(0));
}

fn memory_of_another_kind_is_no_arena() {
    // SAFETY: nobody else has these descriptors.
    let attach = |fd| unsafe { Arena::from_fd(fd) }.unwrap_err();
    let shm = Shm::place(5_u64).unwrap();
    // SAFETY: it is looked at only.
    assert_eq!(attach(duplicate(unsafe { shm.descriptor() }).unwrap()), AttachError::OtherType);
    let file = Memfd::new(c"other").unwrap();
    assert_eq!(attach(duplicate(&file).unwrap()), AttachError::NotSealed);
}

fn carriers_are_of_one_arena() {
    let (one, other) = (Arena::new(MIB).unwrap(), Arena::new(MIB).unwrap());
    let cell = other.place(Racy::new(5_u8)).unwrap();
    assert_eq!(one.carrier().unwrap().carry(&cell), None);
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&one);
    shared(&cell);
    fn is_shareable<T: Shareable>(handle: &Handle<T>) -> &T {
        handle
    }
    assert_eq!(is_shareable(&cell).get(), 5);
}
