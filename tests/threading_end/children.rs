//! What a forked child inherits of its parent's threads, timers, values and unfinished initialisations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::sys::process;
use ossature::threading::init::Once;
use ossature::threading::{self, Event, Local, Thread, Timer, active_count, current_thread, enumerate, main_thread};

use crate::{apart, inside, waiting};

// test_is_alive_after_fork, test_main_thread_after_fork, test_2_join_in_forked_process,
// test_clear_threads_states_after_fork
pub fn a_child_has_the_main_thread_only() {
    apart(|| {
        let (end, running) = waiting();
        let ended = Thread::spawn(|| 5).unwrap();
        ended.join().unwrap();
        let unstarted = Thread::new(|| 6);
        let parent = main_thread();
        inside(|| {
            assert!(!running.is_alive());
            running.join().unwrap();
            assert!(running.join_timeout(Duration::ZERO).unwrap());
            assert_eq!(running.result().unwrap_err().kind(), ErrorKind::NoResult);
            assert_eq!(format!("{running:?}").split(", ").nth(1).unwrap().split(' ').next(), Some("stopped"));
            assert_eq!(running.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
            assert_eq!(ended.result().unwrap(), 5, "what was there at the fork is there");
            assert_eq!((active_count(), current_thread()), (1, main_thread()));
            assert_eq!((main_thread().name().as_str(), main_thread().daemon()), ("MainThread", false));
            assert_eq!(parent.native_id(), Some(process::id()), "and not the parent's");
            assert!(parent.is_alive());
            unstarted.start().unwrap();
            assert_eq!(unstarted.result().unwrap(), 6);
            threading::at_shutdown(|| ()).unwrap();
            threading::shutdown();
        });
        assert!(running.is_alive() && unstarted.ident().is_none());
        end.set();
        running.join().unwrap();
    });
}

// test_main_thread_after_fork_from_nonmain_thread, test_3_join_in_forked_from_thread, test_reinit_tls_after_fork
pub fn a_forking_thread_is_main_in_the_child() {
    apart(|| {
        let main = main_thread();
        let forking = Thread::builder().name("F").daemon(true).spawn(move || {
            let me = current_thread();
            inside(|| {
                assert_eq!((main_thread(), current_thread()), (me.clone(), me.clone()));
                assert_eq!((me.name().as_str(), me.is_alive(), active_count()), ("F", true, 1));
                assert_eq!((me.native_id(), me.ident()), (Some(process::id()), Some(threading::get_ident())));
                assert_ne!(main, me);
                assert!(!main.is_alive());
                main.join().unwrap();
                assert_eq!(me.join().unwrap_err().kind(), ErrorKind::WouldDeadlock);
                assert_eq!(Thread::spawn(|| 1).unwrap().result().unwrap(), 1);
                threading::shutdown();
            });
        });
        // It is being joined meanwhile.
        forking.unwrap().result().unwrap();
    });
}

pub fn a_joined_thread_that_forks_can_be_joined_in_the_child() {
    apart(|| {
        let forking = Thread::spawn(|| {
            // Give the joiner time to be in the middle of it; either way is right.
            std::thread::sleep(Duration::from_millis(10));
            inside(|| {
                let joiner = Thread::spawn(|| main_thread().join().unwrap()).unwrap();
                threading::shutdown();
                assert!(!joiner.is_alive());
            });
        });
        forking.unwrap().result().unwrap();
    });
}

pub fn a_thread_that_forks_while_it_initialises_goes_on_in_the_child() {
    apart(|| {
        let once: Arc<Once<u32>> = Arc::new(Once::new());
        let made = once.clone();
        let value = once.get_or_init(move || {
            let (tell, hear) = channel();
            Thread::spawn(move || tell.send(()).unwrap()).unwrap().join().unwrap();
            hear.recv().unwrap();
            inside(|| {
                assert_eq!(made.get_or_init(|| 2).unwrap_err().kind(), ErrorKind::WouldDeadlock);
                let other = made.clone();
                let asks = Thread::spawn(move || other.get_or_init(|| 3).copied()).unwrap();
                assert!(!asks.join_timeout(Duration::from_millis(10)).unwrap(), "it is being made");
            });
            1
        });
        assert_eq!(*value.unwrap(), 1);
    });
}

// test_main_thread_after_fork_from_foreign_thread, test_main_thread_after_fork_from_dummy_thread,
// test_dummy_thread_after_fork
pub fn a_forking_thread_from_elsewhere_is_main_in_the_child() {
    apart(|| {
        for asks_before in [true, false] {
            std::thread::spawn(move || {
                let before = asks_before.then(current_thread);
                assert!(before.as_ref().is_none_or(|dummy| dummy.name().starts_with("Dummy-")));
                inside(|| {
                    let main = main_thread();
                    assert_eq!((main.name().as_str(), main.daemon(), main.is_alive()), ("MainThread", false, true));
                    assert_eq!((current_thread(), active_count()), (main.clone(), 1));
                    assert_eq!(main.native_id(), Some(process::id()));
                    assert!(before.is_none_or(|before| before == main));
                });
            })
            .join()
            .unwrap();
        }
    });
}

pub fn a_fork_in_the_middle_of_it_leaves_no_lock_held() {
    apart(|| {
        let stop = Arc::new(Event::new());
        let busy: Vec<_> = (0..2)
            .map(|n| {
                let stop = stop.clone();
                // Nothing of it allocates while it holds a lock of ours, and the allocator's are made usable in the
                // child.
                Thread::spawn(move || {
                    while !stop.is_set() {
                        let timer = Timer::new(Duration::from_secs(3600), || ());
                        timer.start().unwrap();
                        let listed = enumerate();
                        assert!(listed.len() > n && threading::trace().is_none());
                        assert!(timer.cancel());
                    }
                })
                .unwrap()
            })
            .collect();
        for _ in 0..50 {
            inside(|| {
                assert_eq!((active_count(), threading::excepthook().is_none()), (1, true));
                threading::at_shutdown(|| ()).unwrap();
                let timer = Timer::new(Duration::ZERO, || ());
                timer.start().unwrap();
                timer.wait();
                assert_eq!(Thread::spawn(|| 1).unwrap().result().unwrap(), 1);
            });
        }
        stop.set();
        busy.iter().for_each(|thread| thread.join().unwrap());
    });
}

pub fn timers_of_the_parent_do_not_fire_in_the_child() {
    apart(|| {
        let fired = Arc::new(AtomicU32::new(0));
        let timer = |millis| {
            let fired = fired.clone();
            Timer::new(Duration::from_millis(millis), move || _ = fired.fetch_add(1, SeqCst))
        };
        let (soon, later, unstarted) = (timer(30), timer(3_600_000), timer(1));
        soon.start().unwrap();
        later.start().unwrap();
        inside(|| {
            assert!(!soon.is_alive() && !later.is_alive());
            assert!(later.cancel() && later.is_finished(), "it would never have called here");
            let own = timer(60);
            own.start().unwrap();
            unstarted.start().unwrap();
            own.wait();
            assert_eq!(fired.load(SeqCst), 2, "the child's own two");
        });
        soon.wait();
        assert_eq!(fired.load(SeqCst), 1);
        assert!(later.is_alive() && later.cancel());
    });
}

pub fn a_child_has_the_forking_threads_values_only() {
    struct Ends(Arc<AtomicU32>, &'static str);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    apart(|| {
        let ends = Arc::new(AtomicU32::new(0));
        let local = Arc::new(Local::new({
            let ends = ends.clone();
            move || Ends(ends.clone(), "fresh")
        }));
        let (tell, hear) = channel();
        let end = Arc::new(Event::new());
        let (used, watched) = (local.clone(), end.clone());
        let other = Thread::spawn(move || {
            tell.send(used.with(|value| value.1)).unwrap();
            drop(used);
            watched.wait();
        })
        .unwrap();
        assert_eq!(hear.recv().unwrap(), "fresh");
        local.with(|_| ());
        // Until the other thread has given its reference back.
        while Arc::strong_count(&local) > 1 {
            std::thread::yield_now();
        }
        inside(move || {
            assert_eq!(local.threads(), 1);
            assert_eq!(local.with(|value| value.1), "fresh");
            assert_eq!(Arc::strong_count(&local), 1);
            drop(local);
            assert_eq!(ends.load(SeqCst), 1, "its own value only: the other's thread is not here to see it go");
        });
        end.set();
        other.join().unwrap();
    });
}

pub fn an_initialisation_of_the_parent_does_not_stop_the_child() {
    apart(|| {
        let once: Arc<Once<u32>> = Arc::new(Once::new());
        let (end, (tell, hear)) = (Arc::new(Event::new()), channel());
        let (made, watched) = (once.clone(), end.clone());
        let maker = Thread::spawn(move || {
            made.get_or_init(|| {
                tell.send(()).unwrap();
                watched.wait();
                1
            })
            .copied()
        })
        .unwrap();
        hear.recv().unwrap();
        inside(|| assert_eq!(*once.get_or_init(|| 2).unwrap(), 2));
        end.set();
        assert_eq!(maker.result().unwrap().unwrap(), 1);
    });
}

/// Each of these calls is the child's first call of the module.
pub fn a_handle_of_the_forking_thread_tells_at_once() {
    fn ask() {
        let me = current_thread();
        inside(|| assert_eq!(me.native_id(), Some(process::id())));
        inside(|| assert!(me.is_alive()));
    }
    apart(|| {
        ask();
        Thread::spawn(ask).unwrap().result().unwrap();
    });
}
