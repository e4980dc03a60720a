//! The event: what frees a waiter, and what does not.

use std::ops::Deref;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::event::Event;

use crate::ledger::{counters, until};
use crate::world::{Alone, Processes, Threads, WithPeers, World};

stamp! { "event":
    in all: flag_is_raised_and_lowered, wait_for_a_raised_flag_does_not_wait, running_out_of_time_is_false;
    in alone: wait_that_could_never_end_is_an_error;
    in peers: set_frees_everybody, flag_stays_up_for_those_who_come_later, set_followed_by_clear_frees_those_who_waited,
        cleared_flag_holds_those_who_come_later, timed_wait_lasts_its_time, timed_wait_is_freed_by_a_set,
        what_was_written_before_set_is_seen_after_wait, setter_and_waiter_take_turns;
    in threads: wait_ends_when_it_is_cancelled, cancelled_wait_leaves_the_others_waiting;
    in processes: killed_waiter_takes_nobody_with_it, killed_waiters_are_forgotten;
}

trait Events: World {
    fn event() -> impl Deref<Target = Event<Self::Scope>>;
}

impl Events for Threads<Private> {
    fn event() -> impl Deref<Target = Event<Private>> {
        Box::new(Event::new())
    }
}

impl Events for Threads<Shared> {
    fn event() -> impl Deref<Target = Event<Shared>> {
        Shm::place(Event::shared()).expect("memory for an event")
    }
}

impl Events for Processes {
    fn event() -> impl Deref<Target = Event<Shared>> {
        Threads::<Shared>::event()
    }
}

impl Events for Alone {
    fn event() -> impl Deref<Target = Event<Local>> {
        Box::new(Event::local())
    }
}

/// CPython: EventTests.test_is_set.
fn flag_is_raised_and_lowered<W: Events>() {
    let event = W::event();
    assert!(!event.is_set());
    for _ in 0..2 {
        event.set();
        assert!(event.is_set());
    }
    for _ in 0..2 {
        event.clear();
        assert!(!event.is_set());
    }
}

/// CPython: EventTests.test_timeout and _TestEvent.test_event, where the flag is up.
fn wait_for_a_raised_flag_does_not_wait<W: Events>() {
    let event = W::event();
    event.set();
    assert_eq!(W::settle(event.wait()), Ok(()));
    for limit in [Duration::ZERO, Duration::from_secs(3600)] {
        assert_eq!(W::settle(event.wait_timeout(limit)), Ok(true));
    }
    assert!(event.is_set(), "waiting takes nothing");
}

/// CPython: _TestEvent.test_event, where the flag is down.
fn running_out_of_time_is_false<W: Events>() {
    let event = W::event();
    assert_eq!(W::settle(event.wait_timeout(Duration::ZERO)), Ok(false));
    assert_eq!(W::settle(event.wait_timeout(Duration::from_millis(2))), Ok(false));
    event.set();
    event.clear();
    assert_eq!(W::settle(event.wait_timeout(Duration::from_millis(2))), Ok(false));
    assert!(!event.is_set());
}

fn wait_that_could_never_end_is_an_error<W: Events>() {
    let event = W::event();
    assert_eq!(W::settle(event.wait()), Err(Refused::WouldDeadlock));
    // An hour with a limit is over at once: nobody could raise the flag meanwhile.
    assert_eq!(W::settle(event.wait_timeout(Duration::from_secs(3600))), Ok(false));
}

/// CPython: EventTests.test_notify, both times.
fn set_frees_everybody<W: WithPeers + Events>() {
    let (event, freed) = (W::event(), counters());
    let event = &*event;
    for _ in 0..2 {
        freed[0].store(0, SeqCst);
        W::with_peers(
            5,
            |me| {
                me.about_to_wait();
                assert_eq!(W::settle(event.wait()), Ok(()));
                freed[0].fetch_add(1, SeqCst);
                assert_eq!(W::settle(event.wait()), Ok(()), "the flag is still up");
            },
            |peers| {
                peers.until_all_sleep(1);
                assert_eq!(freed[0].load(SeqCst), 0, "nobody is free before the set");
                event.set();
            },
        );
        assert_eq!(freed[0].load(SeqCst), 5);
        event.clear();
    }
}

/// CPython: EventTests.test_timeout, second half.
fn flag_stays_up_for_those_who_come_later<W: WithPeers + Events>() {
    let event = W::event();
    let event = &*event;
    event.set();
    for _ in 0..2 {
        W::with_peers(3, |_| assert_eq!(W::settle(event.wait_timeout(Duration::ZERO)), Ok(true)), |_| ());
    }
}

/// CPython: EventTests.test_set_and_clear.
fn set_followed_by_clear_frees_those_who_waited<W: WithPeers + Events>() {
    let event = W::event();
    let event = &*event;
    W::with_peers(
        5,
        |me| {
            me.about_to_wait();
            assert_eq!(W::settle(event.wait_timeout(Duration::from_secs(3600))), Ok(true));
        },
        |peers| {
            peers.until_all_sleep(1);
            event.set();
            event.clear();
        },
    );
    assert!(!event.is_set());
}

fn cleared_flag_holds_those_who_come_later<W: WithPeers + Events>() {
    let event = W::event();
    let event = &*event;
    W::with_peers(
        2,
        |me| {
            if me.index() == 1 {
                me.until_told(1);
            }
            me.about_to_wait();
            assert_eq!(W::settle(event.wait()), Ok(()));
        },
        |peers| {
            peers.until_asleep(0, 1);
            event.set();
            event.clear();
            peers.tell(1);
            peers.until_ended(0);
            peers.until_asleep(1, 1);
            event.set();
        },
    );
}

/// CPython: EventTests.test_timeout, first half.
fn timed_wait_lasts_its_time<W: WithPeers + Events>() {
    let event = W::event();
    let event = &*event;
    let span = Duration::from_millis(15);
    W::with_peers(
        5,
        |_| {
            assert_eq!(W::settle(event.wait_timeout(Duration::ZERO)), Ok(false));
            let began = Instant::now();
            assert_eq!(W::settle(event.wait_timeout(span)), Ok(false));
            assert!(began.elapsed() >= span, "{:?}", began.elapsed());
        },
        |_| (),
    );
}

/// CPython: _TestEvent.test_event, where a process raises the flag.
fn timed_wait_is_freed_by_a_set<W: WithPeers + Events>() {
    let (event, told) = (W::event(), counters());
    let event = &*event;
    W::with_peers(
        1,
        |me| {
            me.about_to_wait();
            assert_eq!(W::settle(event.wait_timeout(Duration::from_secs(3600))), Ok(true));
            event.clear();
            told[0].store(1, SeqCst);
            event.set();
        },
        |peers| {
            peers.until_asleep(0, 1);
            event.set();
            until("the flag is seen", || told[0].load(SeqCst) == 1);
            assert_eq!(W::settle(event.wait()), Ok(()));
        },
    );
}

fn what_was_written_before_set_is_seen_after_wait<W: WithPeers + Events>() {
    let (event, data) = (W::event(), counters());
    let event = &*event;
    for round in 1..=50 {
        W::with_one_peer(
            || {
                assert_eq!(W::settle(event.wait()), Ok(()));
                assert!(data.iter().all(|word| word.load(Relaxed) == round));
            },
            || {
                data.iter().for_each(|word| word.store(round, Relaxed));
                event.set();
            },
        );
        event.clear();
    }
}

/// A lost wake-up would stop it.
fn setter_and_waiter_take_turns<W: WithPeers + Events>() {
    const ROUNDS: u32 = 2_000;
    let (ping, pong) = (W::event(), W::event());
    let (ping, pong) = (&*ping, &*pong);
    let wait = |event: &Event<W::Scope>| {
        assert_eq!(W::settle(event.wait()), Ok(()));
        event.clear();
    };
    let answer = || {
        for _ in 0..ROUNDS {
            wait(ping);
            pong.set();
        }
    };
    let call = || {
        for _ in 0..ROUNDS {
            ping.set();
            wait(pong);
        }
    };
    W::with_one_peer(answer, call);
}

fn wait_ends_when_it_is_cancelled<W: WithPeers + Events>() {
    let (event, cancel) = (W::event(), Cancel::new());
    let event = &*event;
    W::with_peers(
        3,
        |me| {
            me.about_to_wait();
            assert_eq!(W::settle(event.wait_timeout(&cancel)), Ok(false));
            assert_eq!(W::settle(event.wait_timeout(cancel.within(Duration::from_secs(3600)))), Ok(false));
        },
        |peers| {
            peers.until_all_sleep(1);
            cancel.cancel();
        },
    );
    event.set();
    assert_eq!(W::settle(event.wait_timeout(&cancel)), Ok(true), "what is there needs no wait");
}

fn cancelled_wait_leaves_the_others_waiting<W: WithPeers + Events>() {
    let (event, cancel) = (W::event(), Cancel::new());
    let event = &*event;
    W::with_peers(
        2,
        |me| {
            me.about_to_wait();
            let freed = if me.index() == 0 {
                W::settle(event.wait_timeout(&cancel))
            } else {
                W::settle(event.wait_timeout(Duration::from_secs(3600)))
            };
            assert_eq!(freed, Ok(me.index() == 1));
        },
        |peers| {
            peers.until_all_sleep(1);
            cancel.cancel();
            peers.until_ended(0);
            peers.until_asleep(1, 1);
            event.set();
        },
    );
}

fn killed_waiter_takes_nobody_with_it<W: WithPeers + Events>() {
    let event = W::event();
    let event = &*event;
    W::with_peers(
        4,
        |me| {
            me.about_to_wait();
            assert_eq!(W::settle(event.wait()), Ok(()));
        },
        |peers| {
            peers.until_all_sleep(1);
            peers.kill(1);
            // Whoever inherits from the dead finds nothing to do, and sleeps on.
            for index in [0, 2, 3] {
                peers.until_asleep(index, 1);
            }
            event.set();
        },
    );
}

fn killed_waiters_are_forgotten<W: WithPeers + Events>() {
    let event = W::event();
    let event = &*event;
    for _ in 0..3 {
        W::with_peers(
            2,
            |me| {
                me.about_to_wait();
                assert_eq!(W::settle(event.wait()), Ok(()));
            },
            |peers| {
                peers.until_all_sleep(1);
                peers.kill(0);
                peers.kill(1);
            },
        );
        assert!(!event.is_set(), "a death is not a set");
        assert_eq!(W::settle(event.wait_timeout(Duration::ZERO)), Ok(false));
        event.set();
        W::other(|| assert_eq!(W::settle(event.wait()), Ok(())));
        event.clear();
    }
}
