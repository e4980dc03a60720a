//! Results as descriptors.

use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::active_children;
use ossature::multiprocessing::pool::Readiness;
use ossature::multiprocessing::pool::futures::Executor;
use ossature::sys::poll::{PollFd, PollFlags, poll};

use crate::harness::Test;
use crate::work::{self, Place, forked};

pub const TESTS: &[Test] = &[
    ("readiness::a_result_is_readable_when_it_is_there", a_result_is_readable_when_it_is_there),
    ("readiness::it_is_readable_though_another_wait_collected_it", it_is_readable_though_another_wait_collected_it),
    ("readiness::deaths_make_it_readable", deaths_make_it_readable),
];

const LONG: Duration = Duration::from_secs(30);

fn readable(readiness: &Readiness, timeout: Duration) -> bool {
    poll(&mut [PollFd::new(readiness, PollFlags::IN)], timeout).unwrap() > 0
}

/// Polls and checks, in turn, until the result is there. Returns how many checks found no result.
fn await_it(readiness: &Readiness, is_there: impl Fn() -> bool) -> u32 {
    let mut idle = 0;
    while !is_there() {
        assert!(readable(readiness, LONG), "it is never missed");
        idle += 1;
    }
    idle
}

fn a_result_is_readable_when_it_is_there() {
    let pool = forked(2);
    let place = Place::new("readable");
    let slow = pool.apply_async(work::note_and_wait, (place.path(), 0)).unwrap();
    let readiness = slow.readiness().unwrap();
    place.wait("0");
    assert!(!slow.ready().unwrap() && !readable(&readiness, Duration::from_millis(50)));
    // News of another result make it readable, and the question makes it unreadable again.
    let other = pool.apply_async(work::note, (place.path(), 1)).unwrap();
    place.wait("1");
    let idle = await_it(&readiness, || other.ready().unwrap());
    assert!(idle < 10 && !slow.ready().unwrap(), "{idle}");
    assert!(!readable(&readiness, Duration::from_millis(50)));
    place.put("go");
    let idle = await_it(&readiness, || slow.ready().unwrap());
    assert!(idle < 10, "{idle}");
    assert!(readable(&readiness, Duration::ZERO), "and it stays so");
    assert!(readable(&slow.readiness().unwrap(), Duration::ZERO), "one that is there already, too");
    assert_eq!(slow.get().unwrap(), 0);
    let many = pool.map_async(work::square, 0..1000).unwrap();
    let readiness = many.readiness().unwrap();
    await_it(&readiness, || many.ready().unwrap());
    assert_eq!(many.get().unwrap().len(), 1000);
}

fn it_is_readable_though_another_wait_collected_it() {
    let executor = Executor::from(forked(1));
    let first = executor.submit(work::rest, (20,)).unwrap();
    let second = executor.submit(work::rest, (20,)).unwrap();
    let readiness = first.readiness().unwrap();
    assert_eq!(second.result().unwrap(), 20); // it waits, and collects the first
    assert!(readable(&readiness, Duration::ZERO));
    assert!(first.done().unwrap());
}

fn deaths_make_it_readable() {
    let pool = forked(1);
    let died = pool.apply_async(work::kill_self, ()).unwrap();
    await_it(&died.readiness().unwrap(), || died.ready().unwrap());
    assert_eq!(died.get().unwrap_err().kind(), ErrorKind::WorkerDied);
    for number in 0..2 {
        let place = Place::new("readable-death");
        let running = pool.apply_async(work::note_and_wait, (place.path(), number)).unwrap();
        let readiness = running.readiness().unwrap();
        place.wait(number.to_string());
        active_children().iter().find(|child| child.name() == "PoolSupervisor").unwrap().kill().unwrap();
        await_it(&readiness, || running.ready().unwrap());
        assert_eq!(running.get().unwrap_err().kind(), ErrorKind::WorkerDied);
    }
    let cancelled = pool.apply_async(work::rest, (30_000,)).unwrap();
    let readiness = cancelled.readiness().unwrap();
    pool.terminate().unwrap();
    assert!(readable(&readiness, Duration::ZERO));
}
