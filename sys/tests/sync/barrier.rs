//! The barrier: numbers, actions, cycles, and the events that break it.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::scope::{Local, Private, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::barrier::{Barrier, Broken, WaitError};

use crate::ledger::{counters, until};
use crate::world::{Alone, Killable, Processes, Threads, WithPeers, World};

stamp! { "barrier":
    in all: one_party_never_waits, barrier_of_no_parties_is_refused, wait_within_ones_own_action_is_an_error,
        party_dropped_by_the_action_stays_until_its_wait_ends;
    in alone: wait_that_could_never_end_is_an_error;
    in peers: each_party_gets_its_number_in_order_of_arrival, parties_go_in_lockstep_for_hundreds_of_cycles,
        cycle_does_not_begin_before_the_last_has_drained, last_to_arrive_runs_its_action_before_the_others_go,
        action_that_panics_breaks_it_and_the_panic_goes_on, action_that_answers_an_error_breaks_it_with_that_error,
        running_out_of_time_breaks_it_for_everybody,
        timeout_during_the_action_breaks_it_for_the_actor_too, abort_breaks_it_until_reset,
        party_that_leaves_by_an_abort_frees_the_others, reset_sends_off_those_who_wait_and_serves_the_next,
        reset_of_an_empty_barrier_changes_nothing, party_may_leave_while_others_wait;
    in threads: cancelled_wait_breaks_it_for_everybody;
    in processes: stopped_party_is_waited_for;
}

const AN_HOUR: Duration = Duration::from_secs(3600);

trait Barriers: World {
    fn barrier(parties: u32) -> impl Deref<Target = Barrier<Self::Scope>>;
}

impl Barriers for Threads<Private> {
    fn barrier(parties: u32) -> impl Deref<Target = Barrier> {
        Box::new(Barrier::new(parties))
    }
}

impl Barriers for Threads<Shared> {
    fn barrier(parties: u32) -> impl Deref<Target = Barrier<Shared>> {
        Shm::place(Barrier::shared(parties)).expect("memory for a barrier")
    }
}

impl Barriers for Processes {
    fn barrier(parties: u32) -> impl Deref<Target = Barrier<Shared>> {
        Threads::<Shared>::barrier(parties)
    }
}

impl Barriers for Alone {
    fn barrier(parties: u32) -> impl Deref<Target = Barrier<Local>> {
        Box::new(Barrier::local(parties))
    }
}

fn until_waiting<W: World>(barrier: &Barrier<W::Scope>, parties: u32) {
    until(&format!("{parties} wait at the barrier"), || barrier.waiting() == parties);
}

/// Checks that no party is inside: after a reset two cycles succeed.
fn serves_after_reset<W: WithPeers>(barrier: &Barrier<W::Scope>) {
    W::settle(barrier.reset()).unwrap();
    assert!(!barrier.is_broken());
    W::with_peers(
        barrier.parties() as usize - 1,
        |_| (0..2).for_each(|_| assert!(barrier.wait().is_ok())),
        |_| (0..2).for_each(|_| assert!(barrier.wait().is_ok())),
    );
}

/// CPython: BarrierTests.test_single_thread.
fn one_party_never_waits<W: Barriers>() {
    let barrier = W::barrier(1);
    let mut acted = 0;
    for _ in 0..3 {
        assert_eq!(barrier.wait(), Ok(0));
        assert_eq!(barrier.wait_with_timeout(Duration::ZERO, || acted += 1), Ok(0));
    }
    assert_eq!((acted, barrier.waiting(), barrier.is_broken()), (3, 0, false));
}

/// Python 3.13 refuses it, too.
fn barrier_of_no_parties_is_refused<W: Barriers>() {
    assert!(catch_unwind(|| drop(W::barrier(0))).is_err());
}

fn wait_within_ones_own_action_is_an_error<W: Barriers>() {
    let barrier = W::barrier(1);
    for limit in [Limit::NEVER, AN_HOUR.into(), Limit::NOW] {
        let mut inner = Ok(9);
        assert_eq!(barrier.wait_with(|| inner = barrier.wait_timeout(limit)), Ok(0), "it is as it was");
        assert_eq!(inner, Err(Broken::WouldDeadlock));
    }
    assert_eq!(barrier.wait(), Ok(0), "the action is over");
}

fn party_dropped_by_the_action_stays_until_its_wait_ends<W: Barriers>() {
    let barrier = W::barrier(1);
    let party = W::settle(barrier.join()).unwrap();
    let inside = || {
        drop(party);
        assert_eq!(barrier.waiting(), 1);
    };
    assert_eq!(barrier.wait_with(inside), Ok(0));
    assert_eq!(barrier.wait(), Ok(0));
}

fn wait_that_could_never_end_is_an_error<W: Barriers>() {
    let two = W::barrier(2);
    assert_eq!(two.wait(), Err(Broken::WouldDeadlock));
    assert_eq!((two.waiting(), two.is_broken()), (0, false), "as it was");
    assert_eq!(two.wait_timeout(AN_HOUR), Err(Broken::TimedOut));
    assert!(two.is_broken());
    W::settle(two.reset()).unwrap();
    assert!(!two.is_broken());
}

/// CPython: BarrierTests.test_wait_return.
fn each_party_gets_its_number_in_order_of_arrival<W: WithPeers + Barriers>() {
    let barrier = W::barrier(3);
    let barrier = &*barrier;
    assert_eq!((barrier.parties(), barrier.waiting(), barrier.is_broken()), (3, 0, false));
    W::with_peers(
        2,
        |me| {
            let index = me.index() as u32;
            me.until_told(index + 1);
            assert_eq!(barrier.wait(), Ok(index));
        },
        |peers| {
            for index in 1..=2 {
                peers.tell(index);
                until_waiting::<W>(barrier, index);
            }
            assert_eq!(barrier.wait(), Ok(2));
        },
    );
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

/// CPython: BarrierTests.test_barrier, test_barrier_10, test_wait_return.
fn parties_go_in_lockstep_for_hundreds_of_cycles<W: WithPeers + Barriers>() {
    const CYCLES: u32 = 300;
    let (barrier, count) = (W::barrier(4), counters());
    let barrier = &*barrier;
    let (arrived, acted, numbers) = (&count[0], &count[1], &count[2]);
    let party = |enrolled: bool| {
        let _party = enrolled.then(|| W::settle(barrier.join()).unwrap());
        for cycle in 0..CYCLES {
            arrived.fetch_add(1, SeqCst);
            let act = || {
                assert_eq!(arrived.load(SeqCst), 4 * cycle + 4);
                acted.fetch_add(1, SeqCst);
            };
            numbers.fetch_or(1 << barrier.wait_with(act).unwrap(), SeqCst);
            assert_eq!(acted.load(SeqCst), cycle + 1);
            // Between this wait and the next one nobody arrives in the cycle after the next.
            barrier.wait_with(|| assert_eq!(numbers.swap(0, SeqCst), 0b1111, "each number once")).unwrap();
        }
    };
    W::with_peers(3, |me| party(me.index() < 2), |_| party(false));
    assert_eq!((acted.load(SeqCst), barrier.waiting(), barrier.is_broken()), (CYCLES, 0, false));
}

/// Four parties at a barrier for two: no cycle ends before all parties of the cycle before have left, and no party
/// counts in two cycles.
fn cycle_does_not_begin_before_the_last_has_drained<W: WithPeers + Barriers>() {
    const WAITS: u32 = 600;
    let (barrier, count) = (W::barrier(2), counters());
    let barrier = &*barrier;
    let started = &count[2];
    W::with_peers(
        4,
        |_| {
            while started.fetch_add(1, SeqCst) < WAITS {
                count[barrier.wait().unwrap() as usize].fetch_add(1, SeqCst);
            }
        },
        |_| (),
    );
    assert_eq!([&count[0], &count[1]].map(|passed| passed.load(SeqCst)), [WAITS / 2; 2]);
}

/// CPython: BarrierTests.test_action.
fn last_to_arrive_runs_its_action_before_the_others_go<W: WithPeers + Barriers>() {
    let (barrier, acted) = (W::barrier(5), counters());
    let barrier = &*barrier;
    let wait = |is_last: bool| {
        let act = || {
            assert!(is_last, "only the last one acts");
            assert_eq!(barrier.waiting(), 5, "nobody has left");
            acted[0].fetch_add(1, SeqCst);
        };
        assert_eq!(barrier.wait_with(act).unwrap() == 4, is_last);
        assert_eq!(acted[0].load(SeqCst), 1);
    };
    W::with_peers(
        4,
        |_| wait(false),
        |_| {
            until_waiting::<W>(barrier, 4);
            wait(true);
        },
    );
}

fn action_that_panics_breaks_it_and_the_panic_goes_on<W: WithPeers + Barriers>() {
    let barrier = W::barrier(2);
    let barrier = &*barrier;
    W::with_one_peer(
        || assert_eq!(barrier.wait(), Err(Broken::Panicked)),
        || {
            until_waiting::<W>(barrier, 1);
            let panic = catch_unwind(AssertUnwindSafe(|| barrier.wait_with(|| resume_unwind(Box::new(5)))));
            assert_eq!(panic.unwrap_err().downcast_ref(), Some(&5));
        },
    );
    assert_eq!(barrier.wait(), Err(Broken::Panicked));
    serves_after_reset::<W>(barrier);
}

/// CPython's `threading.Barrier._release`: any exception of the action breaks the barrier.
fn action_that_answers_an_error_breaks_it_with_that_error<W: WithPeers + Barriers>() {
    let barrier = W::barrier(2);
    let barrier = &*barrier;
    let act = || Err::<(), _>("no room");
    W::with_one_peer(
        || assert_eq!(barrier.wait(), Err(Broken::Failed)),
        || {
            until_waiting::<W>(barrier, 1);
            assert_eq!(barrier.wait_with(act), Err(WaitError::Action("no room")));
        },
    );
    assert_eq!((barrier.is_broken(), barrier.waiting()), (true, 0));
    assert_eq!(barrier.wait_with_timeout(AN_HOUR, act), Err(WaitError::Broken(Broken::Failed)));
    serves_after_reset::<W>(barrier);
}

/// CPython: BarrierTests.test_timeout, test_default_timeout.
fn running_out_of_time_breaks_it_for_everybody<W: WithPeers + Barriers>() {
    let barrier = W::barrier(3);
    let barrier = &*barrier;
    let span = Duration::from_millis(10);
    W::with_one_peer(
        || assert_eq!(barrier.wait(), Err(Broken::TimedOut)),
        || {
            until_waiting::<W>(barrier, 1);
            let began = Instant::now();
            assert_eq!(barrier.wait_timeout(span), Err(Broken::TimedOut));
            assert!(began.elapsed() >= span, "{:?}", began.elapsed());
        },
    );
    assert_eq!((barrier.is_broken(), barrier.waiting()), (true, 0));
    assert_eq!(barrier.wait(), Err(Broken::TimedOut));
    serves_after_reset::<W>(barrier);
    assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(Broken::TimedOut));
    assert!(barrier.is_broken());
    assert!(W::settle(barrier.reset_timeout(AN_HOUR)).unwrap());
    drop(W::settle(barrier.join_timeout(AN_HOUR)).unwrap().expect("nobody stands still"));
    serves_after_reset::<W>(barrier);
}

fn timeout_during_the_action_breaks_it_for_the_actor_too<W: WithPeers + Barriers>() {
    let (barrier, told) = (W::barrier(2), counters());
    let barrier = &*barrier;
    W::with_one_peer(
        || {
            assert_eq!(barrier.wait_timeout(Duration::from_millis(40)), Err(Broken::TimedOut));
            told[0].store(1, SeqCst);
        },
        || {
            until_waiting::<W>(barrier, 1);
            let mut acted = false;
            let act = || {
                until("the other one's time is over", || told[0].load(SeqCst) == 1);
                acted = true;
            };
            assert_eq!(barrier.wait_with(act), Err(Broken::TimedOut));
            assert!(acted);
        },
    );
    serves_after_reset::<W>(barrier);
}

fn abort_breaks_it_until_reset<W: WithPeers + Barriers>() {
    let barrier = W::barrier(3);
    let barrier = &*barrier;
    W::with_peers(
        2,
        |_| assert_eq!(barrier.wait(), Err(Broken::Aborted)),
        |_| {
            until_waiting::<W>(barrier, 2);
            barrier.abort();
        },
    );
    assert!(barrier.is_broken());
    assert_eq!(barrier.wait(), Err(Broken::Aborted));
    assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(Broken::Aborted), "the first reason stays");
    serves_after_reset::<W>(barrier);
}

/// CPython: BarrierTests.test_abort, test_abort_and_reset.
fn party_that_leaves_by_an_abort_frees_the_others<W: WithPeers + Barriers>() {
    let (first, second, count) = (W::barrier(5), W::barrier(5), counters());
    let (first, second) = (&*first, &*second);
    W::with_peers(
        5,
        |_| {
            let number = first.wait().unwrap();
            if number == 2 {
                first.abort();
            } else {
                assert_eq!(first.wait(), Err(Broken::Aborted));
                count[0].fetch_add(1, SeqCst);
            }
            // Everybody has left it when it is reset, and nobody comes before.
            if second.wait().unwrap() == 2 {
                W::settle(first.reset()).unwrap();
            }
            second.wait().unwrap();
            first.wait().unwrap();
            count[1].fetch_add(1, SeqCst);
        },
        |_| (),
    );
    assert_eq!([&count[0], &count[1]].map(|passed| passed.load(SeqCst)), [4, 5]);
}

/// CPython: BarrierTests.test_reset.
fn reset_sends_off_those_who_wait_and_serves_the_next<W: WithPeers + Barriers>() {
    let (barrier, count) = (W::barrier(5), counters());
    let barrier = &*barrier;
    W::with_peers(
        5,
        |_| {
            if barrier.wait().unwrap() == 2 {
                until_waiting::<W>(barrier, 4);
                W::settle(barrier.reset()).unwrap();
            } else {
                assert_eq!(barrier.wait(), Err(Broken::Reset));
                count[0].fetch_add(1, SeqCst);
            }
            // Others may still leave: who comes now waits for that.
            barrier.wait().unwrap();
            count[1].fetch_add(1, SeqCst);
        },
        |_| (),
    );
    assert_eq!([&count[0], &count[1]].map(|passed| passed.load(SeqCst)), [4, 5]);
    assert!(!barrier.is_broken());
}

fn reset_of_an_empty_barrier_changes_nothing<W: WithPeers + Barriers>() {
    let barrier = W::barrier(2);
    W::settle(barrier.reset()).unwrap();
    serves_after_reset::<W>(&barrier);
}

fn party_may_leave_while_others_wait<W: WithPeers + Barriers>() {
    let barrier = W::barrier(2);
    let barrier = &*barrier;
    W::with_peers(
        2,
        |me| {
            if me.index() == 0 {
                assert_eq!(barrier.wait(), Ok(0));
            } else {
                me.until_told(1);
                assert_eq!(W::settle(barrier.join()).unwrap().wait(), Ok(1));
            }
        },
        |peers| {
            until_waiting::<W>(barrier, 1);
            let party = W::settle(barrier.join()).unwrap();
            assert_eq!(party.waiting(), 1);
            drop(party);
            peers.tell(1);
        },
    );
}

fn cancelled_wait_breaks_it_for_everybody<W: WithPeers + Barriers>() {
    let (barrier, cancel) = (W::barrier(3), Cancel::new());
    let barrier = &*barrier;
    W::with_peers(
        2,
        |me| {
            me.about_to_wait();
            let limit = if me.index() == 0 { cancel.within(AN_HOUR) } else { AN_HOUR.into() };
            assert_eq!(barrier.wait_timeout(limit), Err(Broken::TimedOut));
        },
        |peers| {
            until_waiting::<W>(barrier, 2);
            peers.until_all_sleep(1);
            cancel.cancel();
        },
    );
    serves_after_reset::<W>(barrier);
}

fn stopped_party_is_waited_for<W: Killable + Barriers>() {
    let barrier = W::barrier(3);
    let barrier = &*barrier;
    W::with_peers(
        2,
        |me| {
            let _party = W::settle(barrier.join()).unwrap();
            me.about_to_wait();
            assert!(barrier.wait().is_ok());
            assert!(barrier.wait().is_ok());
        },
        |peers| {
            until_waiting::<W>(barrier, 2);
            peers.until_all_sleep(1);
            peers.stop(0);
            // It counts as there, and is the only one that does not go on.
            assert_eq!(barrier.wait(), Ok(2));
            assert!(!barrier.is_broken(), "to stand still is not to die");
            peers.go_on(0);
            assert!(barrier.wait().is_ok());
        },
    );
}
