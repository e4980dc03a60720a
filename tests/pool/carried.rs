//! Calls whose arguments and results contain descriptors, and long calls.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Context, Pool, Queue, Value};
use ossature::sys::process::Signal;
use ossature::sys::signal::raise;
use ossature::{ErrorKind, Result};

use crate::harness::Test;
use crate::work::{Place, forked, in_all};

pub const TESTS: &[Test] = &[
    ("carried::arguments_and_results_carry_descriptors_in_every_context", both_ways_in_every_context),
    ("carried::calls_of_both_kinds_keep_the_order_of_their_results", calls_of_both_kinds_keep_their_order),
    ("carried::a_call_that_is_tried_again_has_its_descriptors", a_second_try_has_its_descriptors),
    ("carried::more_descriptors_than_the_sockets_hold_go_through", more_than_the_sockets_hold),
    ("carried::a_cancelled_call_closes_its_descriptors", a_cancelled_call_closes_its_descriptors),
    ("carried::cancelled_calls_leave_room_for_others", cancelled_calls_leave_room_for_others),
    ("carried::workers_that_are_killed_lose_no_descriptor_of_another", killed_workers_lose_no_descriptor),
    ("carried::a_call_has_so_many_descriptors", a_call_has_so_many_descriptors),
    ("carried::the_last_call_of_a_closed_pool_is_heard_of", last_call_of_a_closed_pool_is_heard),
    ("carried::an_outcome_comes_while_the_next_call_runs", outcome_comes_while_the_next_call_runs),
    ("carried::arguments_and_results_of_100_mib", arguments_and_results_of_100_mib),
];

const PATIENCE: Duration = Duration::from_secs(30);

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether the other end is closed in every process within the time limit.
fn is_closed(mut kept: &UnixStream) -> bool {
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(kept.read(&mut [0; 1]), Ok(0))
}

/// Writes to the received stream. Returns a new end, from which the text can be read.
pub fn through(text: String, stream: Handle<UnixStream>, count: Value<u32>) -> Result<(String, Handle<UnixStream>)> {
    let Handle(mut stream) = stream;
    stream.write_all(text.as_bytes())?;
    *count.lock()? += 1;
    let (near, mut far) = UnixStream::pair()?;
    far.write_all(text.as_bytes())?;
    Ok((text.to_uppercase(), Handle(near)))
}

fn both_ways_in_every_context() {
    in_all(2, |pool| {
        let count = Value::new(0_u32).unwrap();
        for number in 0..20 {
            let (sent, mut kept) = UnixStream::pair().unwrap();
            let text = format!("call {number} ").repeat(1 + number * 30);
            let arguments = (text.clone(), Handle(sent), count.try_clone().unwrap());
            let (upper, Handle(mut came)) = pool.apply_result(through, arguments).unwrap();
            let (mut here, mut there) = (String::new(), String::new());
            kept.read_to_string(&mut here).unwrap();
            came.read_to_string(&mut there).unwrap();
            assert!(upper == text.to_uppercase() && here == text && there == text, "{number}");
        }
        assert_eq!(count.get().unwrap(), 20);
    });
}

/// Returns the number, and the file if there is one.
pub fn same(number: u32, file: Option<Handle<File>>) -> (u32, Option<Handle<File>>) {
    (number, file)
}

pub fn same_of_one((number, file): (u32, Option<Handle<File>>)) -> (u32, Option<Handle<File>>) {
    (number, file)
}

fn null() -> Handle<File> {
    Handle(File::open("/dev/null").unwrap())
}

fn mixed(count: u32) -> impl Iterator<Item = (u32, Option<Handle<File>>)> {
    (0..count).map(|number| (number, (number % 3 == 1).then(null)))
}

fn calls_of_both_kinds_keep_their_order() {
    let before = open_descriptors();
    {
        let pool = forked(2);
        let in_order = |results: Vec<(u32, Option<Handle<File>>)>| {
            for (index, (number, file)) in results.into_iter().enumerate() {
                assert_eq!((number, file.is_some()), (index as u32, index % 3 == 1));
            }
        };
        in_order(pool.starmap(same, mixed(100)).unwrap());
        in_order(pool.chunksize(7).unwrap().map(same_of_one, mixed(100)).unwrap());
        let results = pool.chunksize(5).unwrap().imap(same_of_one, mixed(100)).unwrap();
        in_order(results.collect::<Result<_>>().unwrap());
        let mut any: Vec<_> = pool.imap_unordered(same_of_one, mixed(50)).unwrap().map(Result::unwrap).collect();
        any.sort_by_key(|(number, _)| *number);
        in_order(any);
    }
    assert_eq!(open_descriptors(), before);
}

/// Dies on the first attempt. Otherwise returns the content of the file.
pub fn die_once(place: std::path::PathBuf, file: Handle<File>) -> String {
    if std::fs::write(place.join("died"), "").is_ok() && !place.join("again").exists() {
        let _ = std::fs::write(place.join("again"), "");
        raise(Signal::KILL).expect("a process may kill itself");
    }
    let (Handle(mut file), mut text) = (file, String::new());
    file.read_to_string(&mut text).expect("it can be read");
    text
}

fn a_second_try_has_its_descriptors() {
    let place = Place::new("carried");
    let pool = Pool::builder().workers(1).context(Context::Fork).retries(1).build().unwrap();
    let path = place.path().join("text");
    std::fs::write(&path, "still here").unwrap();
    let file = Handle(File::open(&path).unwrap());
    assert_eq!(pool.apply(die_once, (place.path(), file)).unwrap(), "still here");
}

/// The parent submits calls and takes no result meanwhile.
fn more_than_the_sockets_hold() {
    let before = open_descriptors();
    {
        let pool = forked(2);
        let results: Vec<_> =
            (0..1000_u32).map(|number| pool.apply_async(same, (number, Some(null()))).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(300));
        for (number, mut result) in results.into_iter().enumerate() {
            let (came, file) = result.get_timeout(PATIENCE).unwrap().expect("it comes");
            assert!(came as usize == number && file.is_some());
        }
    }
    assert_eq!(open_descriptors(), before);
}

pub fn nap(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

fn a_cancelled_call_closes_its_descriptors() {
    let pool = forked(1);
    let busy = pool.apply_async(nap, (200,)).unwrap();
    let (sent, kept) = UnixStream::pair().unwrap();
    let file = Handle(File::from(OwnedFd::from(sent)));
    let result = pool.apply_async(same, (1, Some(file))).unwrap();
    result.cancel().unwrap();
    assert_eq!(result.get().map(drop).unwrap_err().kind(), ErrorKind::Cancelled);
    busy.get().unwrap();
    assert!(is_closed(&kept), "by the worker that received it for nothing");
}

/// A worker is busy, and calls are cancelled until the sockets are full of packets that no call needs.
fn cancelled_calls_leave_room_for_others() {
    let before = open_descriptors();
    {
        let pool = forked(1);
        let busy = pool.apply_async(nap, (500,)).unwrap();
        for _ in 0..6 {
            let results: Vec<_> =
                (0..100).map(|number| pool.apply_async(same, (number, Some(null()))).unwrap()).collect();
            results.iter().for_each(|result| result.cancel().unwrap());
        }
        let mut result = pool.apply_async(same, (7, Some(null()))).unwrap();
        busy.get().unwrap();
        assert!(matches!(result.get_timeout(PATIENCE).unwrap(), Some((7, Some(_)))));
    }
    assert_eq!(open_descriptors(), before);
}

/// Takes a while, and returns its arguments.
pub fn hold(number: u32, file: Handle<File>, pids: Queue<u32>) -> (u32, Handle<File>) {
    let _ = pids.put(std::process::id());
    std::thread::sleep(Duration::from_micros(u64::from(number % 7) * 100));
    (number, file)
}

fn killed_workers_lose_no_descriptor() {
    use ossature::sys::process::{Pid, pidfd_open, pidfd_send_signal};
    let before = open_descriptors();
    {
        let pool = forked(3);
        let pids = Queue::new().unwrap();
        let mut died = 0;
        for round in 0..40 {
            let give = |number| pool.apply_async(hold, (number, null(), pids.try_clone().unwrap())).unwrap();
            let results: Vec<_> = (0..12).map(give).collect();
            let pid = pids.get_timeout(PATIENCE).unwrap().expect("one runs");
            std::thread::sleep(Duration::from_micros(round * 37));
            if let Ok(pidfd) = pidfd_open(Pid::from_raw(pid as i32).unwrap()) {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL); // it has ended
            }
            for (number, mut result) in results.into_iter().enumerate() {
                match result.get_timeout(PATIENCE) {
                    Ok(Some((came, _))) => assert_eq!(came as usize, number),
                    Ok(None) => panic!("call {number} of round {round} does not end"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
                        died += 1;
                    }
                }
            }
            while pids.try_get().unwrap().is_some() {}
        }
        assert!(died <= 40, "a death ends one call");
    }
    assert_eq!(open_descriptors(), before);
}

pub fn many(count: u32) -> Vec<Handle<File>> {
    (0..count).map(|_| null()).collect()
}

pub fn count_of(files: Vec<Handle<File>>) -> usize {
    files.len()
}

fn a_call_has_so_many_descriptors() {
    let pool = forked(1);
    assert_eq!(pool.apply(count_of, (many(253),)).unwrap(), 253);
    let error = pool.apply(count_of, (many(254),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("at most 253"), "{error}");
    assert_eq!(pool.apply(many, (253,)).unwrap().len(), 253);
    let error = pool.apply(many, (254,)).map(drop).unwrap_err();
    assert!(error.to_string().contains("at most 253"), "{error}");
}

pub fn echo(text: String) -> String {
    text
}

fn arguments_and_results_of_100_mib() {
    let pool = forked(1);
    // A pool of a program with 32 bits has 32 MiB for arguments.
    let length = if cfg!(target_pointer_width = "64") { 100 << 20 } else { 20 << 20 };
    let text = "0123456789abcdef".repeat(length / 16);
    assert!(pool.apply(echo, (text.clone(),)).unwrap() == text);
}

/// Keeps the file open for a while.
pub fn keep(millis: u64, file: Handle<File>) -> Handle<File> {
    nap(millis);
    file
}

/// Makes a pool with one worker, which ends after two calls. The worker sleeps, and looks for a packet first when it
/// wakes.
fn looks_for_a_packet() -> Pool {
    let pool = Pool::builder().workers(1).context(Context::Fork).max_tasks_per_child(2).build().unwrap();
    pool.apply(nap, (0,)).unwrap();
    nap(100);
    pool
}

/// The worker that takes the packet ends with it. No other worker starts, because no call is left.
fn last_call_of_a_closed_pool_is_heard() {
    let pool = looks_for_a_packet();
    let last = pool.apply_async(keep, (300, null())).unwrap();
    pool.close().unwrap();
    assert!(pool.join_timeout(PATIENCE).unwrap(), "the parent hears of the outcome");
    last.get().unwrap();
}

fn outcome_comes_while_the_next_call_runs() {
    let pool = looks_for_a_packet();
    let mut first = pool.apply_async(keep, (300, null())).unwrap();
    let _second = pool.apply_async(nap, (60_000,)).unwrap();
    let begun = Instant::now();
    assert!(first.get_timeout(PATIENCE).unwrap().is_some());
    assert!(
        begun.elapsed() < PATIENCE / 2,
        "the parent hears of the outcome, and does not find it at the end of its wait"
    );
}
