//! Maps of plain values, which are not serialised.

use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Array, Context, Pool, Process};

use crate::harness::Test;
use crate::work::{self, Point, in_all};

pub const TESTS: &[Test] = &[
    ("plain::values_come_in_the_order_of_the_items", values_come_in_the_order_of_the_items),
    ("plain::a_panic_is_that_of_its_item", a_panic_is_that_of_its_item),
    ("plain::only_the_running_call_is_charged", only_the_running_call_is_charged),
    ("plain::a_call_is_tried_again_and_the_values_before_it_stay", a_call_is_tried_again_and_the_values_before_it_stay),
    ("plain::structs_and_long_slices_go_too", structs_and_long_slices_go_too),
    ("plain::a_closed_pool_refuses", a_closed_pool_refuses),
];

fn values_come_in_the_order_of_the_items() {
    in_all(2, |pool| {
        let items: Vec<u64> = (0..100_000).collect();
        let squares: Vec<u64> = items.iter().map(|number| number * number).collect();
        assert!(pool.map_plain(work::square, &items).unwrap() == squares);
        for size in [1, 7, 1000, 1_000_000] {
            assert!(
                pool.chunksize(size).unwrap().map_plain(work::square, &items[..3000]).unwrap() == squares[..3000],
                "{size}"
            );
        }
        assert!(pool.map_plain(work::square, &[]).unwrap().is_empty());
        assert_eq!(pool.map(work::square, [3]).unwrap(), [9], "beside the other calls");
    });
}

fn a_panic_is_that_of_its_item() {
    let pool = work::forked(2);
    for bad in [0, 41, 99] {
        let items: Vec<u32> = (0..100).map(|number| if number == bad { 7 } else { number + 100 }).collect();
        let error = pool.map_plain(work::fail_at_seven, &items).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Remote);
        assert!(error.to_string().contains("no more paper"), "{error}");
    }
    let error = pool.map_plain(work::fail_at_seven, &[7; 1000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert_eq!(pool.map_plain(work::fail_at_seven, &[1, 2, 3]).unwrap(), [1, 2, 3]);
}

fn only_the_running_call_is_charged() {
    let counts = Array::<u64>::new(40).unwrap();
    let builder = Pool::builder().workers(2).context(Context::Fork);
    let counting = builder.initializer(work::count_in, (counts.try_clone().unwrap(),)).unwrap().build().unwrap();
    let items: Vec<u64> = (0..40).collect();
    let error = counting.chunksize(10).unwrap().map_plain(work::count_and_die_at_13, &items).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied);
    assert_eq!(error.exit_status().and_then(|exit| exit.signal()), Some(9));
    let counts: Vec<u64> = (0..40).map(|at| counts.get(at).unwrap()).collect();
    assert_eq!(counts, [1; 40], "every call was begun once");
}

fn a_call_is_tried_again_and_the_values_before_it_stay() {
    let counts = Array::<u64>::new(40).unwrap();
    let builder = Pool::builder().workers(2).context(Context::Fork).retries(1);
    let pool = builder.initializer(work::count_in, (counts.try_clone().unwrap(),)).unwrap().build().unwrap();
    let items: Vec<u64> = (0..40).collect();
    let values = pool.chunksize(10).unwrap().map_plain(work::count_and_die_once_at_13, &items).unwrap();
    assert_eq!(values, items.iter().map(|number| number + 1).collect::<Vec<_>>());
    let counts: Vec<u64> = (0..40).map(|at| counts.get(at).unwrap()).collect();
    assert!(counts.iter().enumerate().all(|(at, count)| *count == if at == 13 { 2 } else { 1 }), "{counts:?}");
}

/// Runs in a process of its own, because a parent with much memory makes the forks of later tests slow.
fn structs_and_long_slices_go_too() {
    assert_eq!(Process::fork(structs_and_long_slices).unwrap().join().unwrap().code(), Some(0));
}

fn structs_and_long_slices() {
    let pool = Pool::builder().workers(3).context(Context::Fork).build().unwrap();
    let points: Vec<Point> = (0..5000).map(|number| Point { x: f64::from(number), y: 1.0 }).collect();
    let mirrored = pool.map_plain(work::mirror, &points).unwrap();
    assert!(mirrored.iter().zip(&points).all(|(to, from)| (to.x, to.y) == (from.y, from.x)));
    // More than a chunk may have.
    let blocks = vec![[7_u64; 32]; 70_000];
    let sums = pool.chunksize(70_000).unwrap().map_plain(work::sum_of_block, &blocks).unwrap();
    assert!(sums == [7 * 32; 70_000]);
    let empty = [[0_u8; 0]; 10];
    assert_eq!(pool.map_plain(work::sum_of_nothing, &empty).unwrap(), [3; 10]);
}

fn a_closed_pool_refuses() {
    let pool = work::forked(1);
    pool.close().unwrap();
    assert_eq!(pool.map_plain(work::square, &[1]).unwrap_err().kind(), ErrorKind::ShutDown);
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
}
