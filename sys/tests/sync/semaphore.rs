//! The semaphore: how many threads may continue, and which units come back.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::semaphore::{Overflow, Semaphore};

use crate::ledger::{counters, until};
use crate::world::{Alone, Killable, Processes, Threads, WithPeers, World};

stamp! { "semaphore":
    in all: units_are_taken_until_there_is_none, release_beyond_the_bound_changes_nothing, permit_comes_back_when_dropped,
        forgotten_permit_does_not_come_back, limited_wait_for_nothing_is_false, released_units_may_exceed_the_first;
    in alone: wait_that_could_never_end_is_an_error;
    in peers: as_many_go_on_as_there_are_units, release_of_many_frees_as_many, waiter_goes_on_when_a_permit_is_dropped,
        units_are_released_by_others, limited_wait_lasts_its_time, limited_wait_gets_a_unit_that_is_released_meanwhile,
        never_more_inside_than_units, permits_and_bare_units_mix, units_carry_what_was_written_before;
    in threads: wait_ends_when_it_is_cancelled;
    in processes: killed_waiters_take_no_unit, killed_acquirer_takes_its_unit_with_it;
}

const AN_HOUR: Duration = Duration::from_secs(3600);

trait Semaphores: World {
    fn plain(value: u32) -> impl Deref<Target = Semaphore<Self::Scope>>;
    fn bounded(value: u32) -> impl Deref<Target = Semaphore<Self::Scope>>;
}

impl Semaphores for Threads<Private> {
    fn plain(value: u32) -> impl Deref<Target = Semaphore> {
        Box::new(Semaphore::new(value))
    }
    fn bounded(value: u32) -> impl Deref<Target = Semaphore> {
        Box::new(Semaphore::bounded(value))
    }
}

impl Semaphores for Threads<Shared> {
    fn plain(value: u32) -> impl Deref<Target = Semaphore<Shared>> {
        Shm::place(Semaphore::shared(value)).expect("memory for a semaphore")
    }
    fn bounded(value: u32) -> impl Deref<Target = Semaphore<Shared>> {
        Shm::place(Semaphore::shared_bounded(value)).expect("memory for a semaphore")
    }
}

impl Semaphores for Processes {
    fn plain(value: u32) -> impl Deref<Target = Semaphore<Shared>> {
        Threads::<Shared>::plain(value)
    }
    fn bounded(value: u32) -> impl Deref<Target = Semaphore<Shared>> {
        Threads::<Shared>::bounded(value)
    }
}

impl Semaphores for Alone {
    fn plain(value: u32) -> impl Deref<Target = Semaphore<Local>> {
        Box::new(Semaphore::local(value))
    }
    fn bounded(value: u32) -> impl Deref<Target = Semaphore<Local>> {
        Box::new(Semaphore::local_bounded(value))
    }
}

/// CPython: BaseSemaphoreTests.test_acquire, test_try_acquire; _TestSemaphore.test_semaphore, test_bounded_semaphore.
fn units_are_taken_until_there_is_none<W: Semaphores>() {
    let take_and_give = |semaphore: &Semaphore<W::Scope>| {
        assert_eq!((semaphore.value(), semaphore.is_locked()), (2, false));
        assert_eq!(W::settle(semaphore.acquire()), Ok(()));
        assert_eq!(semaphore.value(), 1);
        assert_eq!(W::settle(semaphore.acquire_timeout(AN_HOUR)), Ok(true));
        assert_eq!((semaphore.value(), semaphore.is_locked()), (0, true));
        assert_eq!(W::settle(semaphore.try_acquire()), Ok(false));
        assert_eq!(semaphore.value(), 0);
        assert_eq!(semaphore.release(1), Ok(()));
        assert_eq!(semaphore.value(), 1);
        assert_eq!(semaphore.release(1), Ok(()));
        assert_eq!(semaphore.release(0), Ok(()));
        assert_eq!(semaphore.value(), 2);
        assert_eq!(W::settle(semaphore.try_acquire()), Ok(true));
        assert_eq!(semaphore.value(), 1);
    };
    take_and_give(&W::plain(2));
    take_and_give(&W::bounded(2));
    assert!(W::plain(0).is_locked());
}

/// CPython: SemaphoreTests.test_release_unacquired, _TestSemaphore.test_semaphore.
fn released_units_may_exceed_the_first<W: Semaphores>() {
    let semaphore = W::plain(1);
    assert_eq!(semaphore.release(3), Ok(()));
    assert_eq!(semaphore.value(), 4);
    for _ in 0..4 {
        assert_eq!(W::settle(semaphore.try_acquire()), Ok(true));
    }
    assert_eq!(W::settle(semaphore.try_acquire()), Ok(false));
}

/// CPython: BoundedSemaphoreTests.test_release_unacquired.
fn release_beyond_the_bound_changes_nothing<W: Semaphores>() {
    let (plain, bounded) = (W::plain(2), W::bounded(2));
    assert_eq!(bounded.release(1), Err(Overflow));
    W::settle(bounded.acquire()).unwrap();
    assert_eq!(bounded.release(2), Err(Overflow), "all or nothing");
    assert_eq!(bounded.value(), 1);
    assert_eq!(bounded.release(1), Ok(()));
    assert_eq!(bounded.release(1), Err(Overflow));
    assert_eq!(plain.release(u32::MAX - 2), Ok(()));
    assert_eq!(plain.value(), u32::MAX);
    for units in [1, u32::MAX] {
        assert_eq!(plain.release(units), Err(Overflow));
    }
    assert_eq!(plain.value(), u32::MAX);
    assert_eq!(W::settle(plain.try_acquire()), Ok(true));
    assert_eq!(plain.value(), u32::MAX - 1);
}

/// CPython: BaseSemaphoreTests.test_with.
fn permit_comes_back_when_dropped<W: Semaphores>() {
    let take_and_drop = |semaphore: &Semaphore<W::Scope>| {
        let first = W::settle(semaphore.permit()).unwrap();
        let second = W::settle(semaphore.permit_timeout(AN_HOUR)).unwrap();
        assert!(second.is_some() && semaphore.is_locked());
        assert!(W::settle(semaphore.try_permit()).unwrap().is_none());
        assert_eq!(W::settle(semaphore.try_acquire()), Ok(false));
        drop(first);
        assert_eq!(semaphore.value(), 1);
        drop(second);
        assert_eq!(semaphore.value(), 2);
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _permit = W::settle(semaphore.permit());
            resume_unwind(Box::new("out"));
        }));
        assert!(unwound.is_err());
        assert_eq!(semaphore.value(), 2);
    };
    take_and_drop(&W::plain(2));
    take_and_drop(&W::bounded(2));
}

fn forgotten_permit_does_not_come_back<W: Semaphores>() {
    let semaphore = W::bounded(2);
    W::settle(semaphore.permit()).unwrap().forget();
    assert_eq!(semaphore.value(), 1);
    // Whoever releases it then releases a unit without an owner.
    assert_eq!(semaphore.release(1), Ok(()));
    assert_eq!(semaphore.value(), 2);
    assert_eq!(semaphore.release(1), Err(Overflow));
}

/// CPython: BaseSemaphoreTests.test_acquire_timeout, _TestSemaphore.test_timeout.
fn limited_wait_for_nothing_is_false<W: Semaphores>() {
    let semaphore = W::plain(1);
    W::settle(semaphore.acquire()).unwrap();
    for limit in [Duration::ZERO, Duration::from_millis(2)] {
        assert_eq!(W::settle(semaphore.acquire_timeout(limit)), Ok(false));
        assert!(W::settle(semaphore.permit_timeout(limit)).unwrap().is_none());
    }
    assert_eq!(semaphore.value(), 0);
    semaphore.release(1).unwrap();
    assert_eq!(W::settle(semaphore.acquire_timeout(Duration::from_millis(2))), Ok(true));
}

fn wait_that_could_never_end_is_an_error<W: Semaphores>() {
    let semaphore = W::plain(0);
    assert_eq!(W::settle(semaphore.acquire()), Err(Refused::WouldDeadlock));
    assert_eq!(W::settle(semaphore.permit()).map(drop), Err(Refused::WouldDeadlock));
    assert_eq!(W::settle(semaphore.acquire_timeout(AN_HOUR)), Ok(false));
    semaphore.release(1).unwrap();
    assert_eq!(W::settle(semaphore.acquire()), Ok(()));
}

/// CPython: BaseSemaphoreTests.test_acquire_contended, test_try_acquire_contended, test_default_value.
fn as_many_go_on_as_there_are_units<W: WithPeers + Semaphores>() {
    let (semaphore, passed) = (W::plain(4), counters());
    let semaphore = &*semaphore;
    W::settle(semaphore.acquire()).unwrap();
    let is_passed = |n| until("they have passed", || passed[0].load(SeqCst) == n);
    W::with_peers(
        5,
        |me| {
            for _ in 0..2 {
                me.about_to_wait();
                assert_eq!(W::settle(semaphore.acquire()), Ok(()));
                passed[0].fetch_add(1, SeqCst);
            }
        },
        |peers| {
            is_passed(3);
            for expected in 4..=10 {
                assert_eq!(W::settle(semaphore.try_acquire()), Ok(false));
                assert_eq!(passed[0].load(SeqCst), expected - 1, "one each");
                semaphore.release(1).unwrap();
                is_passed(expected);
            }
            (0..5).for_each(|index| peers.until_ended(index));
        },
    );
    assert_eq!(semaphore.value(), 0);
}

/// CPython: BaseSemaphoreTests.test_multirelease.
fn release_of_many_frees_as_many<W: WithPeers + Semaphores>() {
    let (semaphore, served) = (W::plain(0), counters());
    let semaphore = &*semaphore;
    W::with_peers(
        6,
        |me| {
            me.about_to_wait();
            if me.index() % 2 == 0 {
                W::settle(semaphore.acquire()).unwrap();
            } else {
                W::settle(semaphore.permit()).unwrap().forget();
            }
            served[0].fetch_add(1, SeqCst);
        },
        |peers| {
            peers.until_all_sleep(1);
            semaphore.release(4).unwrap();
            until("four are served", || served[0].load(SeqCst) >= 4);
            assert_eq!((served[0].load(SeqCst), semaphore.value()), (4, 0));
            semaphore.release(4).unwrap();
        },
    );
    assert_eq!((served[0].load(SeqCst), semaphore.value()), (6, 2));
}

fn waiter_goes_on_when_a_permit_is_dropped<W: WithPeers + Semaphores>() {
    let semaphore = W::bounded(1);
    let semaphore = &*semaphore;
    W::with_peers(
        3,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            if me.index() == 0 {
                W::settle(semaphore.acquire()).unwrap();
                semaphore.release(1).unwrap();
            } else {
                drop(W::settle(semaphore.permit()).unwrap());
            }
        },
        |peers| {
            let permit = W::settle(semaphore.permit()).unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            drop(permit);
        },
    );
    assert_eq!(semaphore.value(), 1);
}

fn units_are_released_by_others<W: WithPeers + Semaphores>() {
    let semaphore = W::bounded(2);
    let semaphore = &*semaphore;
    W::settle(semaphore.acquire()).unwrap();
    W::other(|| assert_eq!(semaphore.release(1), Ok(())));
    assert_eq!(semaphore.value(), 2);
    W::other(|| {
        assert_eq!(semaphore.release(1), Err(Overflow));
        W::settle(semaphore.acquire()).unwrap();
    });
    assert_eq!(semaphore.value(), 1, "a unit without an owner does not come back with the end of its taker");
    assert_eq!(semaphore.release(1), Ok(()));
}

fn limited_wait_lasts_its_time<W: WithPeers + Semaphores>() {
    let semaphore = W::plain(0);
    let semaphore = &*semaphore;
    let span = Duration::from_millis(15);
    W::with_peers(
        2,
        |me| {
            let began = Instant::now();
            if me.index() == 0 {
                assert_eq!(W::settle(semaphore.acquire_timeout(span)), Ok(false));
            } else {
                assert!(W::settle(semaphore.permit_timeout(span)).unwrap().is_none());
            }
            assert!(began.elapsed() >= span, "{:?}", began.elapsed());
        },
        |_| (),
    );
}

fn limited_wait_gets_a_unit_that_is_released_meanwhile<W: WithPeers + Semaphores>() {
    let semaphore = W::plain(0);
    let semaphore = &*semaphore;
    W::with_peers(
        2,
        |me| {
            me.about_to_wait();
            if me.index() == 0 {
                assert_eq!(W::settle(semaphore.acquire_timeout(AN_HOUR)), Ok(true));
            } else {
                assert!(W::settle(semaphore.permit_timeout(AN_HOUR)).unwrap().is_some());
            }
        },
        |peers| {
            peers.until_all_sleep(1);
            semaphore.release(1).unwrap();
            semaphore.release(1).unwrap();
        },
    );
    assert_eq!(semaphore.value(), 1, "the permit came back");
}

fn take_turns<W: WithPeers + Semaphores>(turns: u32, turn: impl Fn(u32, &Semaphore<W::Scope>) + Sync) {
    let (semaphore, inside) = (W::bounded(2), counters());
    let semaphore = &*semaphore;
    W::with_peers(
        4,
        |_| {
            for round in 0..turns {
                W::settle(semaphore.acquire()).unwrap();
                assert!(inside[0].fetch_add(1, SeqCst) < 2, "never more than units");
                inside[0].fetch_sub(1, SeqCst);
                semaphore.release(1).unwrap();
                turn(round, semaphore);
            }
        },
        |_| (),
    );
    assert_eq!(semaphore.value(), 2);
}

fn never_more_inside_than_units<W: WithPeers + Semaphores>() {
    take_turns::<W>(10_000, |_, _| ());
}

fn permits_and_bare_units_mix<W: WithPeers + Semaphores>() {
    take_turns::<W>(1_500, |round, semaphore| match round % 3 {
        0 => drop(W::settle(semaphore.permit()).unwrap()),
        1 => drop(W::settle(semaphore.permit_timeout(Duration::from_micros(30))).unwrap()),
        _ => drop(W::settle(semaphore.try_permit()).unwrap()),
    });
}

/// A producer and a consumer with a slot each way: a lost wake-up would stop it.
fn units_carry_what_was_written_before<W: WithPeers + Semaphores>() {
    const ITEMS: u32 = 1_000;
    let (full, empty, slot) = (W::plain(0), W::plain(1), counters());
    let (full, empty) = (&*full, &*empty);
    W::with_one_peer(
        || {
            for item in 0..ITEMS {
                W::settle(full.acquire()).unwrap();
                assert_eq!(slot[0].load(std::sync::atomic::Ordering::Relaxed), item);
                empty.release(1).unwrap();
            }
        },
        || {
            for item in 0..ITEMS {
                W::settle(empty.acquire()).unwrap();
                slot[0].store(item, std::sync::atomic::Ordering::Relaxed);
                full.release(1).unwrap();
            }
        },
    );
}

fn wait_ends_when_it_is_cancelled<W: WithPeers + Semaphores>() {
    let (semaphore, cancel) = (W::plain(0), Cancel::new());
    let semaphore = &*semaphore;
    W::with_peers(
        3,
        |me| {
            me.about_to_wait();
            match me.index() {
                0 => assert_eq!(W::settle(semaphore.acquire_timeout(&cancel)), Ok(false)),
                1 => assert!(W::settle(semaphore.permit_timeout(cancel.within(AN_HOUR))).unwrap().is_none()),
                _ => assert_eq!(W::settle(semaphore.acquire()), Ok(())),
            }
        },
        |peers| {
            peers.until_all_sleep(1);
            cancel.cancel();
            peers.until_ended(0);
            peers.until_ended(1);
            peers.until_asleep(2, 1);
            semaphore.release(1).unwrap();
        },
    );
    semaphore.release(1).unwrap();
    assert_eq!(W::settle(semaphore.acquire_timeout(&cancel)), Ok(true), "what is there needs no wait");
}

fn killed_waiters_take_no_unit<W: Killable + Semaphores>() {
    let semaphore = W::plain(0);
    let semaphore = &*semaphore;
    W::with_peers(
        5,
        |me| {
            me.about_to_wait();
            W::settle(semaphore.acquire()).unwrap();
        },
        |peers| {
            peers.until_all_sleep(1);
            peers.kill(0);
            peers.kill(3);
            semaphore.release(3).unwrap();
        },
    );
    assert_eq!(semaphore.value(), 0, "the three others have them");
}

fn killed_acquirer_takes_its_unit_with_it<W: Killable + Semaphores>() {
    let semaphore = W::bounded(1);
    let semaphore = &*semaphore;
    W::with_peers(
        1,
        |me| {
            W::settle(semaphore.acquire()).unwrap();
            me.about_to_wait();
            loop {
                std::thread::park();
            }
        },
        |peers| {
            peers.until_asleep(0, 1);
            peers.kill(0);
        },
    );
    assert!(semaphore.is_locked(), "as with Python: nobody knows whose it was");
    assert_eq!(semaphore.release(1), Ok(()), "anyone may give it back");
}
