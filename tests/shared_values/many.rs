//! Many objects in one memory, with one descriptor for all. Each is sent alone, and lives as long as any process has
//! it.

use std::fs;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Connection, pipe};
use ossature::multiprocessing::transfer::Memory;
use ossature::multiprocessing::{
    Array, Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock, RawValue, RwLock, Semaphore, Value,
};
use ossature::sys::errno::Errno;
use ossature::sys::process::{Resource, Rlimit, fork, rlimit, set_rlimit};
use ossature::sys::shm::{Racy, Shm};

use super::harness::{Test, killed_holding};
use super::{Forged, well};

pub(super) const TESTS: &[Test] = &[
    ("a_hundred_thousand_values_take_one_descriptor", a_hundred_thousand_values_take_one_descriptor),
    ("many_of_each_kind_share_a_descriptor", many_of_each_kind_share_a_descriptor),
    ("each_of_many_is_sent_alone", each_of_many_is_sent_alone),
    ("a_thousand_of_many_go_in_one_message", a_thousand_of_many_go_in_one_message),
    ("what_comes_back_is_the_mapping_that_was_there", what_comes_back_is_the_mapping_that_was_there),
    ("one_of_many_outlives_its_maker", one_of_many_outlives_its_maker),
    ("killed_holder_of_one_of_many_leaves_the_others", killed_holder_of_one_of_many_leaves_the_others),
    ("without_descriptors_the_error_names_many", without_descriptors_the_error_names_many),
    ("forged_place_in_a_block_is_refused", forged_place_in_a_block_is_refused),
];

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:ossature").count()
}

fn a_hundred_thousand_values_take_one_descriptor() {
    let before = (descriptors(), mappings());
    let mut values = Value::many(100_000, |index| index as u64).unwrap();
    assert_eq!((descriptors(), mappings()), (before.0 + 1, before.1 + 1));
    values[77].set(5).unwrap();
    assert!(values.iter().enumerate().all(|(n, value)| value.get().unwrap() == if n == 77 { 5 } else { n as u64 }));
    let copy = values[77].try_clone().unwrap();
    values.drain(..99_999);
    assert_eq!((copy.get().unwrap(), values[0].get().unwrap()), (5, 99_999));
    drop(values);
    assert_eq!((descriptors(), mappings()), (before.0 + 1, before.1 + 1));
    drop(copy);
    assert_eq!((descriptors(), mappings()), before);
    assert!(Value::many(0, |_| 1).unwrap().is_empty());
}

fn many_of_each_kind_share_a_descriptor() {
    let before = descriptors();
    let (locks, rlocks, handoffs) = (Lock::many(9).unwrap(), RLock::many(9).unwrap(), HandoffLock::many(9).unwrap());
    let (events, barriers) = (Event::many(9).unwrap(), Barrier::many(9, 2).unwrap());
    let (units, bounded) = (Semaphore::many(9, 2).unwrap(), BoundedSemaphore::many(9, 2).unwrap());
    let (rwlocks, changed) = (RwLock::many(9, |_| 5_u8).unwrap(), Condition::many(9).unwrap());
    let raw = RawValue::many(9, |_| 5_u8).unwrap();
    assert_eq!(descriptors(), before + 10);

    locks[1].acquire().unwrap();
    rlocks[1].acquire().unwrap();
    handoffs[1].acquire().unwrap();
    events[1].set();
    units[1].acquire().unwrap();
    bounded[1].acquire().unwrap();
    *rwlocks[1].write().unwrap() = 7;
    changed[1].acquire().unwrap();
    raw[1].set(7);
    for n in 0..9 {
        let chosen = n == 1;
        let held =
            [locks[n].locked(), rlocks[n].locked(), handoffs[n].locked(), changed[n].locked(), events[n].is_set()];
        assert_eq!(held, [chosen; 5]);
        let left = 2 - u32::from(chosen);
        assert_eq!((units[n].get_value(), bounded[n].get_value(), barriers[n].parties()), (left, left, 2));
        let data = if chosen { 7 } else { 5 };
        assert_eq!((*rwlocks[n].read().unwrap(), raw[n].get()), (data, data));
    }
    changed[1].release().unwrap();
    handoffs[1].release().unwrap();
    rlocks[1].release().unwrap();
    locks[1].release().unwrap();
    assert_eq!(Barrier::many(9, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Semaphore::many(9, u32::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// Runs `there` in a forked child with one end of a pipe, and `here` with the other. The child inherits no handle.
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

fn each_of_many_is_sent_alone() {
    let there = |far: &Connection| {
        let before = descriptors();
        let (first, lock) = (far.recv::<Value<u32>>().unwrap(), far.recv::<Lock>().unwrap());
        let second: Value<u32> = far.recv().unwrap();
        assert_eq!(descriptors(), before + 2, "one for the values, one for the locks");
        assert!(lock.locked(), "the sender holds it");
        first.set(first.get().unwrap() + 10).unwrap();
        second.set(second.get().unwrap() + 20).unwrap();
        far.send(&()).unwrap();
    };
    beside_a_child(there, |near| {
        let (values, locks) = (Value::many(100, |index| index as u32).unwrap(), Lock::many(100).unwrap());
        locks[50].acquire().unwrap();
        near.send(&values[3]).unwrap();
        near.send(&locks[50]).unwrap();
        near.send(&values[99]).unwrap();
        near.recv::<()>().unwrap();
        locks[50].release().unwrap();
        assert_eq!([3, 4, 99].map(|n: usize| values[n].get().unwrap()), [13, 4, 119]);
    });
}

fn a_thousand_of_many_go_in_one_message() {
    let there = |far: &Connection| {
        let before = descriptors();
        let values: Vec<RawValue<u64>> = far.recv().unwrap();
        assert_eq!((values.len(), descriptors()), (1000, before + 1));
        values.iter().for_each(|value| value.set(value.get() + 1));
        far.send(&()).unwrap();
    };
    beside_a_child(there, |near| {
        let values = RawValue::many(1000, |index| index as u64).unwrap();
        near.send(&values).unwrap();
        near.recv::<()>().unwrap();
        assert!((1..).zip(&values).all(|(count, value)| value.get() == count));
    });
}

fn what_comes_back_is_the_mapping_that_was_there() {
    let (near, far) = pipe().unwrap();
    let values = RawValue::many(10, |_| 0_u32).unwrap();
    let before = (descriptors(), mappings());
    let mut back: Vec<RawValue<u32>> = Vec::new();
    for value in &values {
        near.send(value).unwrap();
        back.push(far.recv().unwrap());
    }
    assert_eq!((descriptors(), mappings()), before);
    back[3].set(7);
    assert_eq!(values[3].get(), 7);
    // Of many blocks that are gone nothing is kept, and a block of another number is not taken for one of them.
    for round in 0..100 {
        let value = RawValue::many(1, |_| round).unwrap().remove(0);
        near.send(&value).unwrap();
        drop(value);
        assert_eq!(far.recv::<RawValue<u32>>().unwrap().get(), round);
    }
    assert_eq!((descriptors(), mappings()), before);
}

fn one_of_many_outlives_its_maker() {
    let (near, far) = pipe().unwrap();
    let mut maker = fork(|| {
        let values = Value::many(100, |index| index as u32).unwrap();
        far.send(&values[42]).unwrap();
        0
    })
    .unwrap();
    well(&mut maker);
    let value: Value<u32> = near.recv().unwrap();
    value.with(|value| *value += 1).unwrap();
    assert_eq!(value.get().unwrap(), 43);
}

fn killed_holder_of_one_of_many_leaves_the_others() {
    let values = Value::many(10, |_| 1_u32).unwrap();
    killed_holding(|| values[5].lock().unwrap());
    assert_eq!(values[5].get().unwrap_err().kind(), ErrorKind::Abandoned);
    assert!((0..10).filter(|n| *n != 5).all(|n| values[n].get().unwrap() == 1));
    values[5].set(2).unwrap();
    assert_eq!(values[5].get().unwrap(), 2);
}

fn without_descriptors_the_error_names_many() {
    let mut child = fork(|| {
        let most = descriptors() as u64 + 20;
        set_rlimit(Resource::Nofile, Rlimit { current: Some(most), ..rlimit(Resource::Nofile).unwrap() }).unwrap();
        let mut alone = Vec::new();
        let error = loop {
            match Value::new(1_u32) {
                Ok(value) => alone.push(value),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::MFILE)));
        assert!(error.to_string().contains("make many at once by `many`"), "{error}");
        let error = Array::from_slice(&[1_u32]).unwrap_err();
        assert!(!error.to_string().contains("`many`"), "an array has no such call: {error}");
        alone.pop();
        let values = Value::many(1000, |_| 1_u32).unwrap();
        assert_eq!(values[999].get().unwrap(), 1);
        0
    })
    .unwrap();
    well(&mut child);
}

/// The mark that a block of many objects puts beside its place in a message.
const AMONG: u32 = 1 << 31;

fn forged_place_in_a_block_is_refused() {
    let (near, far) = pipe().unwrap();
    let kind = || far.recv::<RawValue<u32>>().unwrap_err().kind();
    let block = Memory(Shm::place_slice(3, |_| Racy::new(7_u32)).unwrap());
    near.send(&Forged(&block, AMONG, 2)).unwrap();
    assert_eq!(far.recv::<RawValue<u32>>().unwrap().get(), 7, "what a handle is on the wire");
    near.send(&Forged(&block, AMONG, 3)).unwrap();
    assert_eq!(kind(), ErrorKind::Decode, "behind the last");
    near.send(&Forged(&block, AMONG | 1, 0)).unwrap();
    assert_eq!(kind(), ErrorKind::Decode, "no such memory came");
    near.send(&block).unwrap();
    assert_eq!(kind(), ErrorKind::Incompatible, "a block is not one object");
    near.send(&Forged(&Memory(Shm::place(Racy::new(7_u32)).unwrap()), AMONG, 0)).unwrap();
    assert_eq!(kind(), ErrorKind::Incompatible, "one object is not a block");

    let value = RawValue::many(3, |_| 7_u32).unwrap().remove(0);
    near.send(&(&value, AMONG, 1_usize)).unwrap();
    let both = far.recv::<(RawValue<u32>, RawValue<u64>)>();
    assert_eq!(both.unwrap_err().kind(), ErrorKind::Incompatible, "one block as two types");
    near.send(&1_u8).unwrap();
    assert_eq!(far.recv::<u8>().unwrap(), 1, "the connection is usable");
}
