//! Values and arrays between processes: a binary with one thread, because `fork` refuses beside libtest's threads.

#[path = "../sys/tests/fork/harness.rs"]
#[allow(dead_code, reason = "the harness serves another binary too")]
mod harness;

use harness::{Test, killed_holding};
use ossature::ErrorKind;
use ossature::multiprocessing::sharedctypes::synchronized;
use ossature::multiprocessing::{Array, RawArray, RawValue, Value};
use ossature::sys::process::{Child, Exit, fork};

const TESTS: &[Test] = &[
    ("two_processes_count_to_the_sum", two_processes_count_to_the_sum),
    ("synchronized_counts_between_processes", synchronized_counts_between_processes),
    ("what_a_child_wrote_is_there", what_a_child_wrote_is_there),
    ("killed_holder_leaves_the_value_abandoned", killed_holder_leaves_the_value_abandoned),
    ("killed_holder_leaves_the_array_abandoned", killed_holder_leaves_the_array_abandoned),
];

fn main() {
    harness::run(TESTS)
}

const TURNS: u64 = 10_000;

fn well(child: &mut Child) {
    assert_eq!(child.wait(), Ok(Exit::Code(0)));
}

fn two_processes_count_to_the_sum() {
    let count = Value::new(0_u64).unwrap();
    let sums = Array::<u64>::new(5).unwrap();
    let turns = || {
        for _ in 0..TURNS {
            *count.lock().unwrap() += 1;
            sums.with(|sums| sums.iter_mut().for_each(|sum| *sum += 1)).unwrap();
        }
        0
    };
    let mut children = [fork(turns).unwrap(), fork(turns).unwrap()];
    children.iter_mut().for_each(well);
    assert_eq!(count.get().unwrap(), 2 * TURNS);
    assert_eq!(sums.to_vec().unwrap(), [2 * TURNS; 5]);
}

fn synchronized_counts_between_processes() {
    let counts = synchronized(RawArray::<u32>::new(3).unwrap()).unwrap();
    let turns = || {
        (0..TURNS).for_each(|_| counts.with(-1, |count| *count += 1).unwrap());
        0
    };
    let mut child = fork(turns).unwrap();
    turns();
    well(&mut child);
    assert_eq!(counts.slice(..).unwrap(), [0, 0, 2 * TURNS as u32]);
}

// _TestValue.test_value and test_rawvalue, _TestArray.test_array and test_rawarray, with a process for real
fn what_a_child_wrote_is_there() {
    let (value, raw) = (Value::new(3.625).unwrap(), RawValue::new(4343).unwrap());
    let (array, cells) = (Array::from_slice(&[1, 2, 3, 4]).unwrap(), RawArray::<u64>::new(2000).unwrap());
    let mut child = fork(|| {
        assert_eq!((value.get().unwrap(), raw.get()), (3.625, 4343));
        value.set(-4.25).unwrap();
        raw.set(24234);
        array.lock().unwrap().reverse();
        cells.set_slice(.., &[7; 2000]).unwrap();
        0
    })
    .unwrap();
    well(&mut child);
    assert_eq!((value.get().unwrap(), raw.get()), (-4.25, 24234));
    assert_eq!((array.to_vec().unwrap(), cells.to_vec()), (vec![4, 3, 2, 1], vec![7; 2000]));
}

fn killed_holder_leaves_the_value_abandoned() {
    let value = Value::new([1_u32, 1]).unwrap();
    let half_changed = || {
        let mut guard = value.lock().unwrap();
        guard[0] = 2;
        guard
    };
    killed_holding(half_changed);
    assert_eq!(value.get().unwrap_err().kind(), ErrorKind::Abandoned);
    let mut guard = value.lock().unwrap();
    assert!(guard.abandoned());
    assert_eq!(*guard, [2, 1]);
    guard[1] = guard[0];
    guard.repair();
    drop(guard);
    assert_eq!(value.get().unwrap(), [2, 2]);

    killed_holding(half_changed);
    value.set([5, 5]).unwrap(); // all of it is replaced
    assert_eq!(value.get().unwrap(), [5, 5]);
}

fn killed_holder_leaves_the_array_abandoned() {
    let array = Array::from_slice(&[1_u8, 2, 3]).unwrap();
    killed_holding(|| array.lock().unwrap());
    assert_eq!(array.get(0).unwrap_err().kind(), ErrorKind::Abandoned);
    let mut guard = array.lock().unwrap();
    assert!(guard.abandoned());
    guard.repair();
    drop(guard);
    assert_eq!(array.get(0).unwrap(), 1);
}
