//! Values and arrays between processes: a binary with one thread, because `fork` refuses beside libtest's threads.

#[path = "../sys/tests/fork/harness.rs"]
#[allow(dead_code, reason = "the harness serves another binary too")]
mod harness;

#[path = "shared_values/arena.rs"]
mod arena;
#[path = "shared_values/many.rs"]
mod many;

use harness::{Test, killed_holding};
use ossature::ErrorKind;
use ossature::multiprocessing::connection::pipe;
use ossature::multiprocessing::sharedctypes::synchronized;
use ossature::multiprocessing::{Array, Barrier, Condition, Event, Lock, RLock, RawArray, RawValue, Semaphore, Value};
use ossature::sys::errno::Errno;
use ossature::sys::process::{Child, ExitStatus, Resource, Rlimit, fork, set_rlimit};
use serde::{Serialize, Serializer};

const TESTS: &[Test] = &[
    ("two_processes_count_to_the_sum", two_processes_count_to_the_sum),
    ("synchronized_counts_between_processes", synchronized_counts_between_processes),
    ("what_a_child_wrote_is_there", what_a_child_wrote_is_there),
    ("killed_holder_leaves_the_value_abandoned", killed_holder_leaves_the_value_abandoned),
    ("killed_holder_leaves_the_array_abandoned", killed_holder_leaves_the_array_abandoned),
    ("limit_of_files_is_an_error_that_names_it", limit_of_files_is_an_error_that_names_it),
    ("values_are_sent_into_and_out_of_a_place_without_proc", values_are_sent_into_and_out_of_a_place_without_proc),
];

fn main() {
    harness::run(&[TESTS, many::TESTS, arena::TESTS].concat())
}

const TURNS: u64 = 10_000;

fn well(child: &mut Child) {
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

/// A value that sends the memory of its object with a forged mark and place.
struct Forged<'m, M>(&'m M, u32, u64);

impl<M: Serialize> Serialize for Forged<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        postcard::to_extend(self.0, Vec::new()).map_err(serde::ser::Error::custom)?;
        (self.1, self.2).serialize(serializer)
    }
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
    guard.mark_consistent();
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
    guard.mark_consistent();
    drop(guard);
    assert_eq!(array.get(0).unwrap(), 1);
}

fn limit_of_files_is_an_error_that_names_it() {
    let mut child = fork(|| {
        set_rlimit(Resource::Fsize, Rlimit { current: Some(0), maximum: None }).unwrap();
        let refused = [
            Value::new(1).map(drop),
            RawValue::new(1).map(drop),
            Array::<u8>::new(1).map(drop),
            RawArray::<u8>::new(1).map(drop),
            Lock::new().map(drop),
            RLock::new().map(drop),
            Event::new().map(drop),
            Semaphore::new(1).map(drop),
            Barrier::new(2).map(drop),
            Condition::new().map(drop),
        ];
        for error in refused.map(Result::unwrap_err) {
            assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::FBIG)));
            assert!(error.to_string().contains("RLIMIT_FSIZE (`ulimit -f`)"), "{error}");
        }
        0
    })
    .unwrap();
    well(&mut child);
}

/// The maker, the receiver, both or neither runs in an empty root directory.
fn values_are_sent_into_and_out_of_a_place_without_proc() {
    let jail = std::env::temp_dir().join(format!("ossature-values-{}", std::process::id()));
    std::fs::create_dir_all(&jail).unwrap();
    let enter = || {
        std::os::unix::fs::chroot(&jail).unwrap();
        std::env::set_current_dir("/").unwrap();
        assert!(std::fs::metadata("/proc").is_err());
    };
    let mut may = fork(|| u8::from(std::os::unix::fs::chroot(&jail).is_err())).unwrap();
    if may.wait() != Ok(ExitStatus::Code(0)) {
        println!("SKIPPED: values_are_sent_into_and_out_of_a_place_without_proc may not change the root");
        return std::fs::remove_dir(jail).unwrap();
    }
    for (maker_is_in, receiver_is_in) in [(false, false), (false, true), (true, false), (true, true)] {
        let (near, far) = pipe().unwrap();
        let mut maker = fork(|| {
            let mut receiver = fork(|| {
                if receiver_is_in {
                    enter();
                }
                let (value, lock) = far.recv::<(Value<u32>, Lock)>().unwrap();
                let _held = lock.lock().unwrap();
                value.set(5).unwrap();
                0
            })
            .unwrap();
            if maker_is_in {
                enter();
            }
            let sent = (Value::new(1_u32).unwrap(), Lock::new().unwrap());
            near.send(&sent).unwrap();
            well(&mut receiver);
            assert_eq!(sent.0.get().unwrap(), 5);
            0
        })
        .unwrap();
        well(&mut maker);
    }
    std::fs::remove_dir(jail).unwrap();
}
