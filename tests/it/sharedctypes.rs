//! Values and arrays in shared memory: the behaviour of Python's, checked indexes, and the error after a death.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ossature::multiprocessing::sharedctypes::{CodedArray, CodedValue, Scalar};
use ossature::multiprocessing::sharedctypes::{Number, Synchronized, TypeCode, copy, synchronized, synchronized_with};
use ossature::multiprocessing::{Array, RawArray, RawValue, Value};
use ossature::sys::shareable;
use ossature::{Error, ErrorKind, Result};

use crate::support::soon;

shareable! {
    /// A struct like `_Foo` of CPython's tests.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Foo { x: i32, y: f64, z: i64 }
}

shareable! {
    #[derive(Debug, PartialEq)]
    plain struct Point { x: f64, y: f64 }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, message: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
}

// _TestValue.test_value, test_rawvalue
#[test]
fn value_gives_what_was_set_in_another_mapping() {
    fn check<T: Number + PartialEq + std::fmt::Debug>(code: char, first: T, second: T) {
        let (value, raw) = (Value::typed(code, first).unwrap(), RawValue::typed(code, first).unwrap());
        assert_eq!((value.get().unwrap(), raw.get()), (first, first));
        value.try_clone().unwrap().set(second).unwrap();
        raw.try_clone().unwrap().set(second);
        assert_eq!((value.get().unwrap(), raw.get()), (second, second));
    }
    check('i', 4343, 24234);
    check('d', 3.625, -4.25);
    check('h', -232_i16, 234);
    check('q', 1_i64 << 33, 1 << 34);
    check('c', b'x', b'y');
    check('f', 0.5_f32, 1.0);
    check('B', 0_u8, 255);
}

#[test]
fn guard_is_one_turn_for_reading_and_writing() {
    let value = Value::new(0_u64).unwrap();
    soon(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2000).for_each(|_| *value.lock().unwrap() += 1));
            }
        });
    });
    assert_eq!(value.get().unwrap(), 8000);
    assert_eq!(value.with(|v| std::mem::replace(v, 5)).unwrap(), 8000);
    assert_eq!(value.get().unwrap(), 5);
}

#[test]
fn second_lock_by_the_same_thread_is_refused() {
    let (value, array) = (Value::new(1_i32).unwrap(), Array::<i32>::new(3).unwrap());
    let held = (value.lock().unwrap(), array.lock().unwrap());
    assert_eq!(value.get().unwrap_err().kind(), ErrorKind::WouldDeadlock);
    assert_eq!(value.set(2).unwrap_err().kind(), ErrorKind::WouldDeadlock);
    assert_eq!(value.with(|_| ()).unwrap_err().kind(), ErrorKind::WouldDeadlock);
    assert_eq!(array.get(0).unwrap_err().kind(), ErrorKind::WouldDeadlock);
    assert_eq!(copy(&value).unwrap_err().kind(), ErrorKind::WouldDeadlock);
    assert_eq!(array.len(), 3); // nothing is locked for that
    drop(held);
    assert_eq!(value.get().unwrap(), 1);
}

/// Computes the sums of `_TestArray.f`.
fn sums(items: &mut [i32]) {
    for i in 1..items.len() {
        items[i] += items[i - 1];
    }
}

const SEQUENCE: [i32; 10] = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];

// _TestArray.test_array
#[test]
fn array_does_what_a_list_does() {
    let mut list = SEQUENCE;
    let array = Array::typed('i', &SEQUENCE).unwrap();
    assert_eq!(array.len(), 10);
    assert_eq!(array.get(3).unwrap(), list[3]);
    assert_eq!(array.slice(2..7).unwrap(), list[2..7]);
    list[4..8].copy_from_slice(&[1, 2, 3, 4]);
    array.set_slice(4..8, &[1, 2, 3, 4]).unwrap();
    assert_eq!(array.to_vec().unwrap(), list);
    sums(&mut list);
    array.try_clone().unwrap().with(sums).unwrap();
    assert_eq!(array.to_vec().unwrap(), list);
    assert!(array.lock().unwrap().iter().eq(&list));
}

// _TestArray.test_rawarray
#[test]
fn raw_array_does_what_a_list_does() {
    let mut list = SEQUENCE;
    let array = RawArray::typed('i', &SEQUENCE).unwrap();
    assert_eq!(array.len(), 10);
    assert_eq!(array.get(3).unwrap(), list[3]);
    assert_eq!(array.slice(2..7), list[2..7]);
    list[4..8].copy_from_slice(&[1, 2, 3, 4]);
    array.set_slice(4..8, &[1, 2, 3, 4]).unwrap();
    assert_eq!(array.to_vec(), list);
    sums(&mut list);
    let other = array.try_clone().unwrap();
    for i in 1..other.len() {
        other[i].set(other[i].get() + other[i - 1].get());
    }
    assert_eq!(array.to_vec(), list);
    assert!(array.iter().map(|cell| cell.get()).eq(list));
}

// _TestArray.test_array_from_size
#[test]
fn array_of_a_length_is_zero_each_time() {
    for _ in 0..3 {
        let (array, raw) = (Array::<i32>::typed('i', 10).unwrap(), RawArray::<i32>::typed('i', 10).unwrap());
        assert_eq!((array.len(), raw.len()), (10, 10));
        assert_eq!((array.to_vec().unwrap(), raw.to_vec()), (vec![0; 10], vec![0; 10]));
        let range: Vec<i32> = (0..10).collect();
        array.set_slice(.., &range).unwrap();
        raw.set_slice(.., &range).unwrap();
        assert_eq!((&array.to_vec().unwrap(), &raw.to_vec()), (&range, &range));
    }
    let (none, raw) = (Array::<f64>::new(0).unwrap(), RawArray::<f64>::from_slice(&[]).unwrap());
    assert!(none.is_empty() && none.to_vec().unwrap().is_empty());
    assert!(raw.is_empty() && raw.to_vec().is_empty());
}

#[test]
#[allow(clippy::reversed_empty_ranges, reason = "counted from the end they are not")]
fn negative_indexes_count_from_the_end() {
    let (array, raw) = (Array::from_slice(&SEQUENCE).unwrap(), RawArray::from_slice(&SEQUENCE).unwrap());
    assert_eq!((array.get(-1).unwrap(), raw.get(-10).unwrap()), (831, 680));
    assert_eq!((array.get(9_usize).unwrap(), raw.get(-1_isize).unwrap()), (831, 831));
    array.set(-2, 7).unwrap();
    raw.set(-2, 7).unwrap();
    assert_eq!((array.get(8).unwrap(), raw.get(8).unwrap()), (7, 7));
    assert_eq!(array.slice(-3..).unwrap(), [982, 7, 831]);
    assert_eq!(array.slice(..-8).unwrap(), [680, 626]);
    assert_eq!(raw.slice(-4..-2), [548, 982]);
    assert_eq!(raw.slice(..=1), [680, 626]);
    assert_eq!(raw.slice(0..=-10), [680]);
    assert_eq!(raw.slice(..=-10), [680]);
    assert!(raw.slice(10..).is_empty());
    assert!(array.slice(3..3).unwrap().is_empty());
}

#[test]
fn what_is_not_there_is_named_with_the_length() {
    let (array, raw) = (Array::<u16>::new(10).unwrap(), RawArray::<u16>::new(10).unwrap());
    let kind = ErrorKind::OutOfRange;
    fails(array.get(10), kind, "index 10 is out of range: the array has 10 items");
    fails(raw.get(10_usize), kind, "index 10 is out of range: the array has 10 items");
    fails(array.set(-11, 1), kind, "index -11 is out of range: the array has 10 items");
    fails(raw.set(isize::MIN, 1), kind, &format!("index {} is out of range: the array has 10 items", isize::MIN));
    fails(raw.get(usize::MAX), kind, &format!("index {} is out of range: the array has 10 items", usize::MAX));
    fails(Array::<u8>::new(0).unwrap().get(-1), kind, "index -1 is out of range: the array has 0 items");
}

/// The places of `a[start:stop]` in CPython: PySlice_AdjustIndices with a step of 1.
fn places(start: isize, stop: isize, len: isize) -> Vec<u16> {
    let adjusted = |at: isize| if at < 0 { (at + len).max(0) } else { at.min(len) };
    (adjusted(start)..adjusted(stop)).map(|at| at as u16).collect()
}

#[test]
fn slices_are_clamped_as_those_of_python() {
    for len in 0..5 {
        let items: Vec<u16> = (0..len as u16).collect();
        let (array, raw) = (Array::from_slice(&items).unwrap(), RawArray::from_slice(&items).unwrap());
        for start in -7..8_isize {
            assert_eq!(raw.slice(start..), places(start, len, len), "{start}.. of {len}");
            assert_eq!(raw.slice(..start), places(0, start, len), "..{start} of {len}");
            for stop in -7..8_isize {
                let meant = places(start, stop, len);
                assert_eq!(array.slice(start..stop).unwrap(), meant, "{start}..{stop} of {len}");
                assert_eq!(raw.slice(start..stop), meant, "{start}..{stop} of {len}");
                array.set_slice(start..stop, &meant).unwrap();
                assert_eq!(raw.set_slice(start..stop, &[9; 6]).unwrap_err().kind(), ErrorKind::InvalidInput);
                if stop != -1 {
                    assert_eq!(raw.slice(start..=stop), places(start, stop + 1, len), "{start}..={stop} of {len}");
                }
            }
        }
        for most in [isize::MIN, isize::MAX] {
            assert!(raw.slice(most..most).is_empty());
            assert!(raw.slice(most..=most).is_empty());
        }
        assert_eq!(raw.slice(0..=usize::MAX), items);
        assert_eq!(raw.slice(isize::MIN..isize::MAX), items);
        assert_eq!(array.to_vec().unwrap(), items);
    }
}

#[test]
fn slice_that_would_change_the_size_is_refused_and_changes_nothing() {
    let (array, raw) = (Array::from_slice(&SEQUENCE).unwrap(), RawArray::from_slice(&SEQUENCE).unwrap());
    let (kind, message) = (ErrorKind::InvalidInput, "3 items for 2 places: an array cannot change its size");
    fails(array.set_slice(2..4, &[0; 3]), kind, message);
    fails(raw.set_slice(-4..-2, &[0; 3]), kind, message);
    fails(raw.set_slice(.., &[]), kind, "0 items for 10 places: an array cannot change its size");
    assert_eq!((array.to_vec().unwrap(), raw.to_vec()), (SEQUENCE.to_vec(), SEQUENCE.to_vec()));
}

#[test]
fn raw_slices_of_every_length_arrive_whole_and_touch_nothing_else() {
    let items: Vec<u8> = (0..25_000_u32).map(|i| (i * 7 + i / 251) as u8 | 1).collect();
    let raw = RawArray::<u8>::new(26_000).unwrap();
    let lengths = (0..300).chain([
        500, 511, 512, 513, 1000, 1499, 1500, 1501, 2047, 2048, 4095, 4096, 4097, 24_575, 24_576, 24_577, 25_000,
    ]);
    for (turn, len) in lengths.enumerate() {
        let start = 64 + turn % 19;
        raw.set_all(0);
        raw.set_slice(start..start + len, &items[..len]).unwrap();
        let all = raw.to_vec();
        assert_eq!(all[start..start + len], items[..len], "{len} at {start}");
        assert!(all[..start].iter().chain(&all[start + len..]).all(|byte| *byte == 0), "{len} at {start}");
        assert_eq!(raw.slice(start..start + len), items[..len], "{len} at {start}");
    }
}

/// The slices are long enough for every way of copying.
#[test]
fn raw_slices_of_megabytes_arrive_whole() {
    const ALL: usize = 7 << 20;
    let items: Vec<u8> = (0..ALL as u32).map(|i| (i ^ (i >> 9)) as u8 | 1).collect();
    let raw = RawArray::<u8>::new(ALL).unwrap();
    for (start, len) in [(0, ALL), (5, 6 << 20), (31, (6 << 20) + 1), (33, (6 << 20) - 1), (64, (6 << 20) + 127)] {
        raw.set_all(0);
        raw.set_slice(start..start + len, &items[..len]).unwrap();
        let all = raw.to_vec();
        assert!(all[start..start + len] == items[..len], "{len} at {start}");
        assert!(all[..start].iter().chain(&all[start + len..]).all(|byte| *byte == 0), "{len} at {start}");
    }
}

// _TestValue.test_getobj_getlock, _TestArray.test_getobj_getlock_obj
#[test]
fn object_and_lock_of_a_synchronized_one_are_those_given() {
    let lock = Value::new(0_u8).unwrap();
    let count = synchronized_with(RawValue::new(5_i32).unwrap(), &lock);
    assert!(std::ptr::eq(*count.lock(), &lock));
    assert_eq!(count.raw().get(), 5);
    let held = lock.lock().unwrap();
    assert_eq!(count.set(1).unwrap_err().kind(), ErrorKind::WouldDeadlock);
    drop(held);
    let items = synchronized_with(RawArray::from_slice(&SEQUENCE).unwrap(), &lock);
    items.set(-1, 1).unwrap();
    items.set_slice(..2, &[4, 5]).unwrap();
    assert_eq!((items.get(0).unwrap(), items.slice(-2..).unwrap()), (4, vec![714, 1]));
    fails(items.with(10, |_| ()), ErrorKind::OutOfRange, "index 10 is out of range: the array has 10 items");
}

#[test]
fn synchronized_is_one_turn_for_all_who_use_it() {
    fn shared<T: Sync>(_: &T) {}
    let raw = RawValue::new(0_u32).unwrap();
    let other = raw.try_clone().unwrap();
    let count: Synchronized<_> = synchronized(raw).unwrap();
    shared(&count);
    soon(|| {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..1000).for_each(|_| count.with(|count| *count += 1).unwrap()));
            }
        });
    });
    assert_eq!((count.get().unwrap(), other.get()), (3000, 3000));
}

// _TestSharedCTypes.test_sharedctypes, test_synchronize
#[test]
fn numbers_structs_arrays_and_text_are_doubled_through_another_mapping() {
    let (x, y, z) = (Value::new(7_i32).unwrap(), Value::new(1.0 / 3.0).unwrap(), Value::new(1_i64 << 33).unwrap());
    let foo = Value::new(Foo::init(3, 2.0, 4)).unwrap();
    let array = Array::from_slice(&[0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]).unwrap();
    let text = Array::typed('c', 20).unwrap();
    text.set_value(b"hello").unwrap();

    *x.try_clone().unwrap().lock().unwrap() *= 2;
    *y.try_clone().unwrap().lock().unwrap() *= 2.0;
    *z.try_clone().unwrap().lock().unwrap() *= 2;
    foo.try_clone().unwrap().with(|foo| (foo.x, foo.y) = (2 * foo.x, 2.0 * foo.y)).unwrap();
    array.try_clone().unwrap().lock().unwrap().iter_mut().for_each(|item| *item *= 2.0);
    let other = text.try_clone().unwrap();
    other.set_value(&other.value().unwrap().repeat(2)).unwrap();

    assert_eq!((x.get().unwrap(), y.get().unwrap(), z.get().unwrap()), (14, 2.0 / 3.0, 1 << 34));
    assert_eq!(foo.get().unwrap(), Foo { x: 6, y: 4.0, z: 4 });
    assert!(array.to_vec().unwrap().iter().zip(0..).all(|(item, i)| *item == f64::from(2 * i)));
    assert_eq!(text.value().unwrap(), b"hellohello");
}

// _TestSharedCTypes.test_copy
#[test]
fn copy_keeps_what_the_original_loses() {
    let foo = Value::new(Point { x: 2.0, y: 5.0 }).unwrap();
    let bar = copy(&foo).unwrap();
    foo.set(Point { x: 0.0, y: 0.0 }).unwrap();
    assert_eq!(bar.get(), Point { x: 2.0, y: 5.0 });

    let array = Array::from_slice(&SEQUENCE).unwrap();
    let raw = copy(&array).unwrap();
    let again = copy(&raw).unwrap();
    array.with(|items| items.fill(0)).unwrap();
    raw.set_all(1);
    assert_eq!((raw.to_vec(), again.to_vec()), (vec![1; 10], SEQUENCE.to_vec()));
    let (one, two) = (RawValue::new(1).unwrap(), copy(&RawValue::new(2).unwrap()).unwrap());
    assert_eq!(one.get() + two.get(), 3);
}

#[test]
fn text_ends_at_the_first_nul() {
    let (array, raw) = (Array::<u8>::new(6).unwrap(), RawArray::<u8>::new(6).unwrap());
    array.set_value(b"abcdef").unwrap();
    raw.set_value(b"abcdef").unwrap();
    assert_eq!((array.value().unwrap(), raw.value()), (b"abcdef".to_vec(), b"abcdef".to_vec()));
    array.set_value(b"xy").unwrap();
    raw.set_value(b"xy").unwrap();
    assert_eq!((array.value().unwrap(), raw.value()), (b"xy".to_vec(), b"xy".to_vec()));
    assert_eq!((array.raw().unwrap(), raw.raw()), (b"xy\0def".to_vec(), b"xy\0def".to_vec()));
    array.set_raw(b"p").unwrap();
    raw.set_raw(b"p").unwrap();
    assert_eq!((array.raw().unwrap(), raw.raw()), (b"py\0def".to_vec(), b"py\0def".to_vec()));
    let message = "7 bytes do not fit into an array of 6";
    fails(array.set_value(b"1234567"), ErrorKind::InvalidInput, message);
    fails(array.set_raw(b"1234567"), ErrorKind::InvalidInput, message);
    fails(raw.set_value(b"1234567"), ErrorKind::InvalidInput, message);
    fails(raw.set_raw(b"1234567"), ErrorKind::InvalidInput, message);
    assert_eq!((array.raw().unwrap(), raw.raw()), (b"py\0def".to_vec(), b"py\0def".to_vec()));
}

#[test]
fn type_codes_are_pythons_fourteen() {
    let codes: String = TypeCode::ALL.iter().map(|code| code.code()).collect();
    assert_eq!(codes, "cubBhHiIlLqQfd");
    for code in TypeCode::ALL {
        assert_eq!(TypeCode::try_from(code.code()).unwrap(), code);
        assert_eq!(code.to_string(), code.code().to_string());
        let long = size_of::<libc::c_long>();
        let size = match code.code() {
            'c' | 'b' | 'B' => 1,
            'h' | 'H' => 2,
            'u' | 'i' | 'I' | 'f' => 4,
            'q' | 'Q' | 'd' => 8,
            _ => long,
        };
        assert_eq!(code.size(), size, "{code}");
    }
    assert!(TypeCode::Long.is::<libc::c_long>() && TypeCode::LongLong.is::<i64>() && TypeCode::WideChar.is::<u32>());
    assert!(!TypeCode::Double.is::<f32>() && !TypeCode::Float.is::<u32>());
    let unknown = "unknown type code 'x': use c, u, b, B, h, H, i, I, l, L, q, Q, f or d";
    fails(Value::typed('x', 1_i32), ErrorKind::InvalidInput, unknown);
    fails(Array::<i32>::typed('x', 5), ErrorKind::InvalidInput, unknown);
    fails(RawValue::typed('d', 5_i64), ErrorKind::InvalidInput, "type code 'd' is f64 here, not i64");
    fails(RawArray::typed('I', &[5][..]), ErrorKind::InvalidInput, "type code 'I' is u32 here, not i32");
    assert_eq!(RawArray::typed('Q', vec![5_u64, 6]).unwrap().to_vec(), [5, 6]);
}

/// A holder that abandons the value has the same effect on the others as one that died.
#[test]
fn abandoned_value_is_told_until_it_is_repaired_or_replaced() {
    let value = Value::new([1_u32, 1]).unwrap();
    value.lock().unwrap().abandon();
    for _ in 0..2 {
        assert_eq!(value.get().unwrap_err().kind(), ErrorKind::Abandoned);
        assert_eq!(value.with(|_| ()).unwrap_err().kind(), ErrorKind::Abandoned);
        assert_eq!(copy(&value).unwrap_err().kind(), ErrorKind::Abandoned);
    }
    let mut guard = value.lock().unwrap();
    assert!(guard.abandoned());
    guard.mark_consistent();
    drop(guard);
    assert_eq!(value.get().unwrap(), [1, 1]);

    value.lock().unwrap().abandon();
    value.set([2, 2]).unwrap();
    assert_eq!(value.get().unwrap(), [2, 2]);

    value.lock().unwrap().mark_unrecoverable();
    assert_eq!(value.get().unwrap_err().kind(), ErrorKind::Unrecoverable);
    assert_eq!(value.set([3, 3]).unwrap_err().kind(), ErrorKind::Unrecoverable);
}

#[test]
fn abandoned_array_and_abandoned_lock_are_told() {
    let array = Array::from_slice(&SEQUENCE).unwrap();
    let beside = synchronized_with(RawValue::new(1).unwrap(), &array);
    array.lock().unwrap().abandon();
    assert_eq!(array.get(0).unwrap_err().kind(), ErrorKind::Abandoned);
    assert_eq!(array.set(0, 1).unwrap_err().kind(), ErrorKind::Abandoned);
    assert_eq!(array.to_vec().unwrap_err().kind(), ErrorKind::Abandoned);
    assert_eq!(array.set_slice(..1, &[1]).unwrap_err().kind(), ErrorKind::Abandoned);
    assert_eq!(beside.get().unwrap_err().kind(), ErrorKind::Abandoned);
    array.lock().unwrap().mark_consistent();
    assert_eq!((array.to_vec().unwrap(), beside.get().unwrap()), (SEQUENCE.to_vec(), 1));
}

#[test]
fn length_beyond_the_machine_is_an_error() {
    for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize] {
        assert_eq!(Array::<u64>::new(len).unwrap_err().kind(), ErrorKind::Os);
        assert_eq!(RawArray::<u64>::new(len).unwrap_err().kind(), ErrorKind::Os);
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, part: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn value_and_array_are_acquired_and_released_by_name() {
    let (value, array) = (Value::new(5).unwrap(), Array::from_slice(&[1, 2, 3]).unwrap());
    refused(value.release(), ErrorKind::NotOwner, "no thread holds");
    value.acquire().unwrap();
    array.acquire().unwrap();
    // The methods work within the hold, and `lock` is refused: its guard would lend the data twice.
    value.with(|n| *n += 1).unwrap();
    value.set(value.get().unwrap() + 1).unwrap();
    array.set(0, 9).unwrap();
    assert_eq!((value.get().unwrap(), array.to_vec().unwrap()), (7, vec![9, 2, 3]));
    refused(value.acquire(), ErrorKind::WouldDeadlock, "already holds");
    assert!(!value.try_acquire().unwrap() && value.try_lock().unwrap().is_none());
    value
        .with(|_| {
            refused(value.get(), ErrorKind::WouldDeadlock, "already holds");
            refused(value.release(), ErrorKind::NotOwner, "guard");
        })
        .unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert!(!value.acquire_timeout(Duration::from_millis(1)).unwrap());
            refused(value.release(), ErrorKind::NotOwner, "another thread");
        });
        other.join().unwrap();
    });
    value.release().unwrap();
    array.release().unwrap();
    refused(value.release(), ErrorKind::NotOwner, "no thread holds");
    let guard = value.lock().unwrap();
    refused(value.release(), ErrorKind::NotOwner, "drop the guard");
    assert_eq!(*guard, 7);
    drop(guard);
    assert!(thread::scope(|scope| scope
        .spawn(|| value.try_acquire().unwrap() && value.release().is_ok())
        .join()
        .unwrap()));
}

#[test]
fn hold_by_name_survives_a_panic_and_not_its_thread() {
    let value = Value::new(5).unwrap();
    value.acquire().unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        value.with(|_| std::panic::resume_unwind(Box::new(())))
    }));
    assert!(panicked.is_err());
    value.release().unwrap();
    thread::scope(|scope| scope.spawn(|| value.acquire().unwrap()).join().unwrap());
    refused(value.acquire(), ErrorKind::Abandoned, "died");
    let mut guard = value.lock().unwrap();
    refused(value.release(), ErrorKind::NotOwner, "drop the guard"); // the hold that is left is the dead thread's
    guard.mark_consistent();
    drop(guard);
    value.acquire().unwrap();
    value.release().unwrap();
}

#[test]
fn owned_guard_keeps_the_value_and_lends_the_data() {
    let (value, array) = (Arc::new(Value::new(5).unwrap()), Arc::new(Array::from_slice(&[1, 2]).unwrap()));
    let (mut one, mut many) = (value.lock_owned().unwrap(), array.lock_owned().unwrap());
    *one += 1;
    many[1] += *one;
    assert!(value.lock_owned_timeout(Duration::ZERO).unwrap().is_none());
    refused(value.lock_owned(), ErrorKind::WouldDeadlock, "already holds");
    refused(value.release(), ErrorKind::NotOwner, "drop the guard");
    let weak = Arc::downgrade(&array);
    drop(array);
    assert_eq!(&*many, [1, 8]);
    drop(many);
    assert!(weak.upgrade().is_none());
    drop(one);
    assert_eq!(value.get().unwrap(), 6);
    value.lock().unwrap().abandon();
    let mut guard = value.lock_owned().unwrap();
    assert!(guard.abandoned());
    guard.mark_consistent();
    drop(guard);
    assert_eq!(value.get().unwrap(), 6);
}

#[test]
fn type_code_chooses_the_type_when_the_program_runs() {
    for code in TypeCode::ALL {
        let array = CodedArray::new(code, 3).unwrap();
        array.set(1, 100).unwrap();
        let again = array.try_clone().unwrap();
        again.set(-1, 7_u8).unwrap();
        let floats = [TypeCode::Float, TypeCode::Double].contains(&code);
        let expected =
            [0, 100, 7].map(|item| if floats { Scalar::Float(item.into()) } else { Scalar::Int(item.into()) });
        assert_eq!([0, 1, 2].map(|place| array.get(place).unwrap()), expected, "{code}");
        assert_eq!((array.len(), array.is_empty(), array.code()), (3, false, code.code()));
        refused(array.get(3), ErrorKind::OutOfRange, "3");
        refused(array.set(3, 1), ErrorKind::OutOfRange, "3");
        let value = CodedValue::new(code, 5).unwrap();
        value.try_clone().unwrap().set(6).unwrap();
        assert_eq!(value.get(), if floats { Scalar::Float(6.0) } else { Scalar::Int(6) });
        assert_eq!(value.set(0.5).is_ok(), floats, "a fraction fits a fraction only");
        assert_eq!(value.get(), if floats { Scalar::Float(0.5) } else { Scalar::Int(6) });
    }
    refused(CodedValue::new(TypeCode::Short, 40_000), ErrorKind::InvalidInput, "40000 does not fit type code 'h'");
    refused(CodedValue::new(TypeCode::UnsignedChar, -1), ErrorKind::InvalidInput, "-1 does not fit type code 'B'");
    assert_eq!(CodedValue::new(TypeCode::UnsignedLongLong, u64::MAX).unwrap().get(), Scalar::Int(u64::MAX.into()));
    let array = CodedArray::new(TypeCode::Int, 2).unwrap();
    array.of::<i32>().unwrap().set(0, -5).unwrap();
    assert_eq!((array.get(0).unwrap(), array.of::<u32>().is_none()), (Scalar::Int(-5), true));
}

#[test]
fn padding_that_is_named_has_no_need_of_a_lock() {
    shareable! {
        #[derive(Debug, PartialEq)]
        plain struct Sample { channel: u8, _padding: [u8; 7], volts: f64 }
    }
    let sample = RawValue::new(Sample { channel: 3, _padding: [0; 7], volts: 0.5 }).unwrap();
    let again = sample.try_clone().unwrap();
    again.set(Sample { volts: 1.5, ..again.get() });
    assert_eq!((sample.get().channel, sample.get().volts, size_of::<Sample>()), (3, 1.5, 16));
}
