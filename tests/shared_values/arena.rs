//! Objects of different types behind one descriptor. Each is sent alone, and lives as long as any process has it.

use std::fs;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Connection, pipe};
use ossature::multiprocessing::{Arena, Barrier, Event, Lock, Queue, RawValue, Value};
use ossature::sys::errno::Errno;
use ossature::sys::process::{Resource, Rlimit, fork, rlimit, set_rlimit};
use ossature::sys::signal::{Signal, raise};

use super::harness::{Test, killed_holding};
use super::{Forged, well};

pub(super) const TESTS: &[Test] = &[
    (
        "a_hundred_thousand_values_of_an_arena_take_one_descriptor",
        a_hundred_thousand_values_of_an_arena_take_one_descriptor,
    ),
    ("each_kind_is_made_in_an_arena", each_kind_is_made_in_an_arena),
    ("an_object_of_an_arena_is_sent_alone", an_object_of_an_arena_is_sent_alone),
    ("an_arena_is_sent_and_made_in_there", an_arena_is_sent_and_made_in_there),
    ("a_thousand_of_an_arena_go_in_one_message", a_thousand_of_an_arena_go_in_one_message),
    ("a_message_under_way_keeps_its_objects", a_message_under_way_keeps_its_objects),
    ("what_a_killed_process_made_is_freed", what_a_killed_process_made_is_freed),
    ("killed_holder_of_one_of_an_arena_leaves_the_others", killed_holder_of_one_of_an_arena_leaves_the_others),
    ("a_child_and_its_parent_count_apart", a_child_and_its_parent_count_apart),
    ("forged_place_in_an_arena_is_refused", forged_place_in_an_arena_is_refused),
    ("an_arena_without_room_or_descriptors_says_so", an_arena_without_room_or_descriptors_says_so),
];

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs `there` in a forked child with one end of a pipe, and `here` with the other.
fn beside_a_child(there: impl FnOnce(&Connection), here: impl FnOnce(&Connection)) {
    let (near, far) = pipe().unwrap();
    let mut child = fork(|| {
        there(&far);
        0
    })
    .unwrap();
    here(&near);
    well(&mut child);
}

fn a_hundred_thousand_values_of_an_arena_take_one_descriptor() {
    let before = descriptors();
    let arena = Arena::new().unwrap();
    let mut values: Vec<Value<u64>> = (0..100_000).map(|n| arena.value(n).unwrap()).collect();
    assert_eq!(descriptors(), before + 1);
    values[77].set(5).unwrap();
    assert!(values.iter().enumerate().all(|(n, value)| value.get().unwrap() == if n == 77 { 5 } else { n as u64 }));
    let copy = values[77].try_clone().unwrap();
    values.drain(..99_999);
    assert_eq!((copy.get().unwrap(), values[0].get().unwrap()), (5, 99_999));
    let each = arena.in_use().unwrap() / 2;
    drop((values, arena));
    assert!(each <= 64 && descriptors() == before + 1 && copy.get().unwrap() == 5);
    drop(copy);
    assert_eq!(descriptors(), before);
}

fn each_kind_is_made_in_an_arena() {
    let arena = Arena::new().unwrap();
    let before = descriptors();
    let (lock, rlock, handoff) = (arena.lock().unwrap(), arena.rlock().unwrap(), arena.handoff_lock().unwrap());
    let (event, barrier, changed) = (arena.event().unwrap(), arena.barrier(2).unwrap(), arena.condition().unwrap());
    let (units, bounded) = (arena.semaphore(2).unwrap(), arena.bounded_semaphore(2).unwrap());
    let (rwlock, value, raw) = (arena.rwlock(5_u8).unwrap(), arena.value(6_u64).unwrap(), arena.raw_value(7).unwrap());
    assert_eq!(descriptors(), before);
    lock.acquire().unwrap();
    rlock.acquire().unwrap();
    rlock.acquire().unwrap();
    handoff.acquire().unwrap();
    event.set();
    units.acquire().unwrap();
    bounded.acquire().unwrap();
    *rwlock.write().unwrap() += 1;
    value.set(value.get().unwrap() + 1).unwrap();
    raw.set(raw.get() + 1);
    changed.acquire().unwrap();
    assert!(lock.locked() && handoff.locked() && event.is_set() && changed.locked() && rlock.depth() == 2);
    assert_eq!((units.get_value(), bounded.get_value(), barrier.parties()), (1, 1, 2));
    assert_eq!((*rwlock.read().unwrap(), value.get().unwrap(), raw.get()), (6, 7, 8));
    changed.release().unwrap();
    handoff.release().unwrap();
    rlock.release().unwrap();
    rlock.release().unwrap();
    lock.release().unwrap();
    assert_eq!(arena.barrier(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(arena.semaphore(u32::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(arena.in_use().unwrap() >= 11 * 64);
    drop((lock, rlock, handoff, event, barrier, changed));
    drop((units, bounded, rwlock, value, raw));
    assert_eq!(arena.in_use().unwrap(), 0);
}

fn an_object_of_an_arena_is_sent_alone() {
    let there = |far: &Connection| {
        let before = descriptors();
        let (first, lock) = (far.recv::<Value<u32>>().unwrap(), far.recv::<Lock>().unwrap());
        let (event, barrier): (Event, Barrier) = far.recv().unwrap();
        assert_eq!(descriptors(), before + 1, "one for all");
        assert!(lock.locked(), "the sender holds it");
        first.set(first.get().unwrap() + 10).unwrap();
        event.set();
        far.send(&barrier.parties()).unwrap();
    };
    beside_a_child(there, |near| {
        let arena = Arena::new().unwrap();
        let (first, lock) = (arena.value(3_u32).unwrap(), arena.lock().unwrap());
        let (event, barrier) = (arena.event().unwrap(), arena.barrier(7).unwrap());
        lock.acquire().unwrap();
        near.send(&first).unwrap();
        near.send(&lock).unwrap();
        near.send(&(&event, barrier)).unwrap();
        assert_eq!(near.recv::<u32>().unwrap(), 7);
        lock.release().unwrap();
        assert!(first.get().unwrap() == 13 && event.is_set());
    });
}

fn an_arena_is_sent_and_made_in_there() {
    let there = |far: &Connection| {
        let arena: Arena = far.recv().unwrap();
        let values: Vec<_> = (0..1000).map(|n| arena.value(n).unwrap()).collect();
        far.send(&values).unwrap();
    };
    beside_a_child(there, |near| {
        let arena = Arena::new().unwrap();
        near.send(&arena).unwrap();
        let values: Vec<Value<i32>> = near.recv().unwrap();
        assert!((0..1000).zip(&values).all(|(n, value)| value.get().unwrap() == n));
    });
}

fn a_thousand_of_an_arena_go_in_one_message() {
    let (near, far) = pipe().unwrap();
    let arena = Arena::new().unwrap();
    let values: Vec<RawValue<u64>> = (0..1000).map(|n| arena.raw_value(n).unwrap()).collect();
    let before = descriptors();
    near.send(&values).unwrap();
    let came: Vec<RawValue<u64>> = far.recv().unwrap();
    assert_eq!(descriptors(), before, "it is the mapping that was there");
    values.iter().for_each(|value| value.set(value.get() + 1));
    assert!((1..).zip(&came).all(|(n, value)| value.get() == n));
    drop(values);
    assert_eq!(arena.in_use().unwrap(), 64_000);
    drop(came);
    assert_eq!(arena.in_use().unwrap(), 0);
}

fn a_message_under_way_keeps_its_objects() {
    let arena = Arena::new().unwrap();
    let (near, far) = pipe().unwrap();
    near.send(&arena.raw_value(5_u64).unwrap()).unwrap();
    near.send(&arena.raw_value(6_u64).unwrap()).unwrap();
    assert_eq!(arena.in_use().unwrap(), 128);
    assert_eq!(far.recv::<RawValue<u64>>().unwrap().get(), 5);
    assert_eq!(arena.in_use().unwrap(), 64);
    drop((near, far));
    assert_eq!(arena.in_use().unwrap(), 0, "the second is lost");

    let queue = Queue::new().unwrap();
    queue.put(arena.raw_value(7_u64).unwrap()).unwrap();
    assert_eq!(arena.in_use().unwrap(), 64);
    let came: RawValue<u64> = queue.get().unwrap();
    assert_eq!((came.get(), arena.in_use().unwrap()), (7, 64));
    drop(came);
    assert_eq!(arena.in_use().unwrap(), 0);
    // The sender dies with its message under way, which is received all the same.
    let (near, far) = pipe().unwrap();
    let mut sender = fork(|| {
        far.send(&arena.raw_value(8_u64).unwrap()).unwrap();
        raise(Signal::KILL).unwrap();
        0
    })
    .unwrap();
    sender.wait().unwrap();
    let came: RawValue<u64> = near.recv().unwrap();
    assert_eq!((came.get(), arena.in_use().unwrap()), (8, 64));
    drop(came);
    assert_eq!(arena.in_use().unwrap(), 0);
}

fn what_a_killed_process_made_is_freed() {
    let arena = Arena::with_capacity(64 << 10).unwrap();
    for _ in 0..10 {
        let mut child = fork(|| {
            let _all: Vec<_> = std::iter::from_fn(|| arena.raw_value(1_u8).ok()).collect();
            raise(Signal::KILL).unwrap();
            0
        })
        .unwrap();
        child.wait().unwrap();
        let all: Vec<_> = std::iter::from_fn(|| arena.raw_value(1_u8).ok()).collect();
        assert_eq!(all.len(), 1024);
    }
}

fn killed_holder_of_one_of_an_arena_leaves_the_others() {
    let arena = Arena::new().unwrap();
    let values: Vec<Value<u32>> = (0..10).map(|_| arena.value(1).unwrap()).collect();
    killed_holding(|| values[5].lock().unwrap());
    assert_eq!(values[5].get().unwrap_err().kind(), ErrorKind::Abandoned);
    assert!((0..10).filter(|n| *n != 5).all(|n| values[n].get().unwrap() == 1));
    values[5].set(2).unwrap();
    assert_eq!((values[5].get().unwrap(), arena.in_use().unwrap()), (2, 640));
}

fn a_child_and_its_parent_count_apart() {
    let arena = Arena::new().unwrap();
    let value = arena.value(5_u32).unwrap();
    let there = |far: &Connection| {
        far.recv::<()>().unwrap();
        value.set(value.get().unwrap() + 1).unwrap();
        far.send(&value).unwrap();
        assert_eq!(arena.in_use().unwrap(), 64 + 6400);
    };
    let (near, far) = pipe().unwrap();
    let mut child = fork(|| {
        there(&far);
        0
    })
    .unwrap();
    drop(value);
    let others: Vec<Value<u32>> = (0..100).map(|_| arena.value(9).unwrap()).collect();
    near.send(&()).unwrap();
    let back: Value<u32> = near.recv().unwrap();
    well(&mut child);
    assert_eq!(back.get().unwrap(), 6);
    assert!(others.iter().all(|value| value.get().unwrap() == 9));
}

/// The mark that an arena puts beside its place in a message.
const IN_ARENA: u32 = 3 << 30;

fn forged_place_in_an_arena_is_refused() {
    let (near, far) = pipe().unwrap();
    let kind = || far.recv::<RawValue<u32>>().unwrap_err().kind();
    let arena = Arena::new().unwrap();
    let (first, _second) = (arena.raw_value(7_u32).unwrap(), arena.raw_value(7_u64).unwrap());
    near.send(&Forged(&arena, IN_ARENA, 0)).unwrap();
    assert_eq!(far.recv::<RawValue<u32>>().unwrap().get(), 7, "what a handle is on the wire");
    for place in [1, 2, 1 << 30, u64::MAX] {
        near.send(&Forged(&arena, IN_ARENA, place)).unwrap();
        assert_eq!(kind(), ErrorKind::Incompatible, "no such object: {place}");
    }
    near.send(&Forged(&arena, IN_ARENA | 1, 0)).unwrap();
    assert_eq!(kind(), ErrorKind::Decode, "no such memory came");
    near.send(&Forged(&Value::new(1_u8).unwrap(), IN_ARENA, 0)).unwrap();
    assert_eq!(kind(), ErrorKind::Incompatible, "one object is no arena");
    near.send(&Forged(&first, 0, 0)).unwrap();
    assert_eq!(kind(), ErrorKind::Incompatible, "an arena is not one object");
    near.send(&Forged(&first, 1 << 31, 0)).unwrap();
    assert_eq!(kind(), ErrorKind::Incompatible, "an arena is not a block");
    near.send(&1_u8).unwrap();
    assert_eq!(far.recv::<u8>().unwrap(), 1, "the connection is usable");
}

fn an_arena_without_room_or_descriptors_says_so() {
    let arena = Arena::with_capacity(64 << 10).unwrap();
    let error = arena.value([0_u8; 64 << 10]).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::NOSPC)));
    assert!(error.to_string().contains("a value cannot be placed in an arena of 65536 bytes: it is full"), "{error}");
    let mut child = fork(|| {
        arena.raw_value(1).unwrap();
        set_rlimit(Resource::Nofile, Rlimit { current: Some(0), ..rlimit(Resource::Nofile).unwrap() }).unwrap();
        assert!(arena.raw_value(1).is_ok(), "no descriptor is needed");
        let error = Value::new(1_u8).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::MFILE));
        assert!(error.to_string().contains("or one after the other in an `Arena`"), "{error}");
        0
    })
    .unwrap();
    well(&mut child);
}
