//! The event in its three scopes: what frees a waiter, what does not.

use core::time::Duration;
use std::sync::mpsc::channel;
use std::thread;

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Scope, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::event::Event;

use crate::support::{soon, thread_id, until_asleep};

macro_rules! in_every_scope {
    ($($name:ident: $test:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            #[test]
            fn private() {
                $test::<Private>(&Event::new());
            }

            #[test]
            fn shared() {
                $test::<Shared>(&Shm::place(Event::shared()).unwrap());
            }

            #[test]
            fn local() {
                $test::<Local>(&Event::local());
            }
        }
    )+};
}

in_every_scope! {
    flag_is_raised_and_lowered: raises,
    running_out_of_time_is_false: times_out,
}

fn raises<S: Scope>(event: &Event<S>) {
    assert!(!event.is_set());
    event.set();
    event.set();
    assert!(event.is_set());
    assert_eq!(S::settle(event.wait()), Ok(()));
    assert_eq!(S::settle(event.wait_timeout(Duration::ZERO)), Ok(true));
    event.clear();
    event.clear();
    assert!(!event.is_set());
    assert_eq!(S::settle(event.wait_timeout(Duration::ZERO)), Ok(false));
}

fn times_out<S: Scope>(event: &Event<S>) {
    assert_eq!(soon_here(|| S::settle(event.wait_timeout(Duration::from_millis(3)))), Ok(false));
}

/// The event of a single thread cannot be looked at by the one that watches the clock.
fn soon_here<T>(run: impl FnOnce() -> T) -> T {
    run()
}

#[test]
fn wait_that_could_never_end_is_an_error() {
    assert_eq!(Event::local().wait(), Err(Refused::WouldDeadlock));
}

fn set_then_clear_frees<S: Scope>(event: &Event<S>)
where
    Event<S>: Sync,
{
    soon(|| {
        thread::scope(|scope| {
            let sleepers: Vec<_> = (0..3)
                .map(|_| {
                    let (tell, told) = channel();
                    let sleeper = scope.spawn(move || {
                        tell.send(thread_id()).unwrap();
                        S::settle(event.wait())
                    });
                    until_asleep(told.recv().unwrap());
                    sleeper
                })
                .collect();
            event.set();
            event.clear();
            for sleeper in sleepers {
                assert_eq!(sleeper.join().unwrap(), Ok(()));
            }
        });
    });
}

#[test]
fn set_followed_by_clear_frees_those_who_waited() {
    set_then_clear_frees(&Event::new());
    set_then_clear_frees(&*Shm::place(Event::shared()).unwrap());
}

#[test]
fn wait_ends_when_it_is_cancelled() {
    fn check<S: Scope>(event: &Event<S>)
    where
        Event<S>: Sync,
    {
        let cancel = Cancel::new();
        soon(|| {
            thread::scope(|scope| {
                let (tell, told) = channel();
                let cancel = &cancel;
                let sleeper = scope.spawn(move || {
                    tell.send(thread_id()).unwrap();
                    S::settle(event.wait_timeout(cancel))
                });
                until_asleep(told.recv().unwrap());
                cancel.cancel();
                assert_eq!(sleeper.join().unwrap(), Ok(false));
            });
        });
    }
    check(&Event::new());
    check(&*Shm::place(Event::shared()).unwrap());
}
