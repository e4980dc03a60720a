//! The barrier between processes: cycles, and the effect of a party's death when it waits, computes, acts or has not
//! come.
//!
//! Who waits here has a long limit: to be told of a death and not of the time is the point.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature_sys::eventfd::EventFd;
use ossature_sys::process::{Child, ExitStatus, fork};
use ossature_sys::scope::{LockBackend, Shared};
use ossature_sys::shareable;
use ossature_sys::shm::{Shm, array};
use ossature_sys::sync::barrier::{Barrier, Broken};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("barrier_serves_processes_for_a_thousand_cycles", barrier_serves_processes_for_a_thousand_cycles),
    ("party_killed_while_it_waits_breaks_the_barrier_at_once", party_killed_while_it_waits_breaks_the_barrier_at_once),
    ("enrolled_party_killed_while_it_computes_breaks_at_once", enrolled_party_killed_while_it_computes_breaks_at_once),
    ("party_killed_far_from_the_one_that_waits_breaks_too", party_killed_far_from_the_one_that_waits_breaks_too),
    ("party_that_joins_beyond_the_number_is_watched_too", party_that_joins_beyond_the_number_is_watched_too),
    (
        "party_killed_behind_more_than_one_wait_can_watch_breaks",
        party_killed_behind_more_than_one_wait_can_watch_breaks,
    ),
    ("party_killed_while_nobody_waits_is_seen_by_the_next", party_killed_while_nobody_waits_is_seen_by_the_next),
    ("party_killed_in_its_action_breaks_the_barrier", party_killed_in_its_action_breaks_the_barrier),
    ("party_killed_before_it_came_is_missed_at_the_deadline", party_killed_before_it_came_is_missed_at_the_deadline),
    ("party_that_exits_after_its_wait_is_not_a_dead_one", party_that_exits_after_its_wait_is_not_a_dead_one),
    ("reset_after_a_death_makes_the_barrier_whole", reset_after_a_death_makes_the_barrier_whole),
    ("forked_child_is_not_the_party_its_parent_is", forked_child_is_not_the_party_its_parent_is),
    ("all_but_one_killed_together_free_the_one", all_but_one_killed_together_free_the_one),
    ("barrier_outlives_hundreds_of_kills_at_any_instant", barrier_outlives_hundreds_of_kills_at_any_instant),
];

const PATIENCE: Duration = Duration::from_secs(20);
/// How long a child waits for a death: longer than any test waits for the child.
const LONG: Duration = Duration::from_secs(50);

shareable! {
    struct Stage {
        barrier: Barrier<Shared>,
        /// The number of times that each number was given out.
        given: [AtomicU32; 4],
        acted: AtomicU32,
    }
}

fn stage(parties: u32) -> Shm<Stage> {
    Shm::place(Stage::init(Barrier::shared(parties), array(|_| AtomicU32::new(0)), AtomicU32::new(0))).unwrap()
}

/// Whether a death is noticed at once. Without nodes in the robust list only the time limit shows it.
pub fn deaths_are_seen() -> bool {
    let seen = Shared::backend() == LockBackend::Node;
    if !seen {
        println!("SKIPPED: the kernel does not tell where the robust list is");
    }
    seen
}

fn sleep_for_ever() -> u8 {
    crate::harness::rest()
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

/// Starts a child that waits, and whose exit code is the result of its wait.
fn waiter(barrier: &Barrier<Shared>) -> Child {
    let before = barrier.waiting();
    let child = fork(|| code(barrier.wait_timeout(LONG))).unwrap();
    until("the child waits", || barrier.waiting() == before + 1);
    child
}

fn code(ended: Result<u32, Broken>) -> u8 {
    match ended {
        Ok(number) => number as u8,
        Err(Broken::Died) => 101,
        Err(Broken::TimedOut) => 102,
        Err(_) => 103,
    }
}

/// Starts a child that has enrolled and computes.
fn computer(barrier: &Barrier<Shared>) -> Child {
    let ready = EventFd::counter(0).unwrap();
    let child = fork(|| {
        let _party = barrier.join().unwrap();
        ready.add(1, PATIENCE).unwrap();
        sleep_for_ever()
    });
    assert_eq!(ready.take(PATIENCE), Ok(Some(1)));
    child.unwrap()
}

#[track_caller]
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[track_caller]
fn ends(mut child: Child, with: u8) {
    let end = child.wait_timeout(PATIENCE).unwrap();
    assert_eq!(end, Some(ExitStatus::Code(with)));
}

#[track_caller]
fn serves_after_reset(barrier: &Barrier<Shared>) {
    barrier.reset().unwrap();
    assert!(!barrier.is_broken());
    for _ in 0..2 {
        let others: Vec<_> = (1..barrier.parties()).map(|_| waiter(barrier)).collect();
        assert_eq!(barrier.wait_timeout(PATIENCE), Ok(barrier.parties() - 1));
        for (number, other) in (0..).zip(others) {
            ends(other, number);
        }
    }
}

fn barrier_serves_processes_for_a_thousand_cycles() {
    let stage = stage(4);
    let body = |enrolled: bool| {
        let _party = enrolled.then(|| stage.barrier.join().unwrap());
        for cycle in 0..1_000 {
            let ended = stage.barrier.wait_with_timeout(PATIENCE, || {
                stage.acted.fetch_add(1, SeqCst);
            });
            let Ok(number) = ended else { return 1 };
            stage.given[number as usize].fetch_add(1, SeqCst);
            // The others may be an action further at most, which needs this one.
            if stage.acted.load(SeqCst) != cycle + 1 || stage.barrier.wait_timeout(PATIENCE).is_err() {
                return 2;
            }
        }
        0
    };
    let children: Vec<_> = (0..3).map(|child| fork(|| body(child < 2)).unwrap()).collect();
    assert_eq!(body(false), 0);
    for child in children {
        ends(child, 0);
    }
    assert!(stage.given.iter().all(|given| given.load(SeqCst) == 1_000));
}

fn party_killed_while_it_waits_breaks_the_barrier_at_once() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(4);
    let others = [waiter(&stage.barrier), waiter(&stage.barrier)];
    kill(waiter(&stage.barrier));
    for other in others {
        ends(other, 101);
    }
    assert!(stage.barrier.is_broken());
    assert_eq!(stage.barrier.wait(), Err(Broken::Died));
    serves_after_reset(&stage.barrier);
}

fn enrolled_party_killed_while_it_computes_breaks_at_once() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(4);
    // One seat is used before the others sleep, one after.
    let early = computer(&stage.barrier);
    let others = [waiter(&stage.barrier), waiter(&stage.barrier)];
    let late = computer(&stage.barrier);
    kill(late);
    for other in others {
        ends(other, 101);
    }
    stage.barrier.reset().unwrap();
    let others = [waiter(&stage.barrier), waiter(&stage.barrier)];
    kill(early);
    for other in others {
        ends(other, 101);
    }
    serves_after_reset(&stage.barrier);
}

/// More parties have joined than a sleeper watches at first.
fn party_killed_far_from_the_one_that_waits_breaks_too() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(40);
    let mut others: Vec<_> = (0..24).map(|_| computer(&stage.barrier)).collect();
    for at in [12, 0, 20] {
        let waits = waiter(&stage.barrier);
        kill(std::mem::replace(&mut others[at], computer(&stage.barrier)));
        ends(waits, 101);
        stage.barrier.reset().unwrap();
    }
    others.into_iter().for_each(kill);
}

/// Each party joins while another party sleeps, in a slot that was never used.
fn party_that_joins_beyond_the_number_is_watched_too() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(2);
    for joined in 1..14 {
        let waits = waiter(&stage.barrier);
        let mut others: Vec<_> = (0..joined).map(|_| computer(&stage.barrier)).collect();
        kill(others.pop().unwrap());
        ends(waits, 101);
        others.into_iter().for_each(kill);
        stage.barrier.reset().unwrap();
    }
}

/// One wait of the kernel takes 128 words, and there are a thousand slots before the slot of the only sleeper.
fn party_killed_behind_more_than_one_wait_can_watch_breaks() {
    if !deaths_are_seen() {
        return;
    }
    let barrier = Shm::place(Barrier::<Shared, 2_000>::shared_with_capacity(2_000)).unwrap();
    let joined = |count: usize| {
        let ready = EventFd::counter(0).unwrap();
        let child = fork(|| {
            let _parties: Vec<_> = (0..count).map(|_| barrier.join().unwrap()).collect();
            ready.add(1, PATIENCE).unwrap();
            sleep_for_ever()
        });
        assert_eq!(ready.take(PATIENCE), Ok(Some(1)));
        child.unwrap()
    };
    for far in [1, 300] {
        let (dies, lives) = (joined(far), joined(1_000 - far));
        let waits = fork(|| code(barrier.wait_timeout(LONG))).unwrap();
        until("the child waits", || barrier.waiting() == 1);
        kill(dies);
        ends(waits, 101);
        kill(lives);
        barrier.reset().unwrap();
    }
}

fn party_killed_while_nobody_waits_is_seen_by_the_next() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(2);
    kill(computer(&stage.barrier));
    assert!(stage.barrier.is_broken());
    assert_eq!(stage.barrier.wait_timeout(PATIENCE), Err(Broken::Died));
    serves_after_reset(&stage.barrier);
    kill(computer(&stage.barrier));
    serves_after_reset(&stage.barrier);
}

fn party_killed_in_its_action_breaks_the_barrier() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(3);
    let others = [waiter(&stage.barrier), waiter(&stage.barrier)];
    let acting = EventFd::counter(0).unwrap();
    let last = fork(|| {
        code(stage.barrier.wait_with(|| {
            acting.add(1, PATIENCE).unwrap();
            sleep_for_ever();
        }))
    })
    .unwrap();
    assert_eq!(acting.take(PATIENCE), Ok(Some(1)));
    kill(last);
    for other in others {
        ends(other, 101);
    }
    serves_after_reset(&stage.barrier);
}

fn party_killed_before_it_came_is_missed_at_the_deadline() {
    let stage = stage(2);
    kill(fork(sleep_for_ever).unwrap());
    assert_eq!(stage.barrier.wait_timeout(Duration::from_millis(30)), Err(Broken::TimedOut));
    serves_after_reset(&stage.barrier);
}

fn party_that_exits_after_its_wait_is_not_a_dead_one() {
    let stage = stage(2);
    let other = waiter(&stage.barrier);
    assert_eq!(stage.barrier.wait_timeout(PATIENCE), Ok(1));
    ends(other, 0);
    let joined = fork(|| code(stage.barrier.join().unwrap().wait_timeout(PATIENCE))).unwrap();
    until("the child waits", || stage.barrier.waiting() == 1);
    assert_eq!(stage.barrier.wait_timeout(PATIENCE), Ok(1));
    ends(joined, 0);
    assert!(!stage.barrier.is_broken());
}

fn reset_after_a_death_makes_the_barrier_whole() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(3);
    // More deaths than seats, one after the other.
    for _ in 0..130 {
        kill(computer(&stage.barrier));
        assert!(stage.barrier.is_broken());
        stage.barrier.reset().unwrap();
    }
    serves_after_reset(&stage.barrier);
}

fn forked_child_is_not_the_party_its_parent_is() {
    let stage = stage(2);
    let party = stage.barrier.join().unwrap();
    // It drops its copy of the party, and takes part for itself.
    let mut child = fork(|| {
        let ended = code(party.wait_timeout(PATIENCE));
        drop(stage.barrier.join().unwrap());
        ended
    })
    .unwrap();
    until("the child waits", || stage.barrier.waiting() == 1);
    assert_eq!(party.wait_timeout(PATIENCE), Ok(1));
    assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(0))));
    let mut child = fork(|| 0).unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    assert!(!party.is_broken());
}

fn all_but_one_killed_together_free_the_one() {
    if !deaths_are_seen() {
        return;
    }
    for _ in 0..20 {
        let stage = stage(6);
        let survivor = waiter(&stage.barrier);
        let mut doomed: Vec<_> = (0..4).map(|_| waiter(&stage.barrier)).collect();
        for child in &mut doomed {
            child.kill().unwrap();
        }
        ends(survivor, 101);
        doomed.into_iter().for_each(kill);
    }
}

/// Three parties go round and round, and reset a broken barrier. One after the other is killed at any instant and
/// replaced. The others wait for the replacement, so a wait that times out has missed a death or a wake.
fn barrier_outlives_hundreds_of_kills_at_any_instant() {
    if !deaths_are_seen() {
        return;
    }
    let stage = stage(3);
    let party = || {
        fork(|| {
            loop {
                match stage.barrier.wait_with_timeout(PATIENCE, || {
                    stage.acted.fetch_add(1, SeqCst);
                }) {
                    Ok(_) | Err(Broken::Reset) => {}
                    Err(Broken::Died) => stage.barrier.reset().unwrap(),
                    Err(other) => {
                        eprintln!("{other}");
                        return code(Err(other));
                    }
                }
            }
        })
        .unwrap()
    };
    let mut parties: Vec<Child> = (0..3).map(|_| party()).collect();
    for turn in 0..300_u32 {
        let cycles = stage.acted.load(SeqCst);
        until("another few cycles", || stage.acted.load(SeqCst).wrapping_sub(cycles) > 1 + turn % 5);
        for _ in 0..turn * 97 % 1_009 {
            std::hint::spin_loop();
        }
        let at = turn as usize % parties.len();
        kill(std::mem::replace(&mut parties[at], party()));
    }
    parties.into_iter().for_each(kill);
    stage.barrier.reset().unwrap();
    serves_after_reset(&stage.barrier);
}
