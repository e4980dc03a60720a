//! epoll with failing system calls, and on a kernel without epoll_pwait2.

use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};

use crate::sweep::{alone, fails_with, survives, sweep};

fn tokens(epoll: &Epoll, timeout: impl Into<Deadline>) -> Result<Vec<u64>> {
    let mut room = [MaybeUninit::uninit(); 4];
    epoll.poll(&mut room, timeout).map(|events| events.iter().map(Event::token).collect())
}

#[test]
fn the_life_of_a_set_loses_nothing_and_retries_signals() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    sweep("epoll", &["epoll_wait"], || {
        let epoll = Epoll::new()?;
        epoll.register(&near, Interest::IN, 1)?;
        epoll.modify(&near, Interest::OUT, 2)?;
        assert_eq!(tokens(&epoll, Deadline::NEVER)?, [2]);
        assert_eq!(tokens(&epoll, Deadline::NOW)?, [2]);
        epoll.unregister(&near)
    });
}

#[test]
fn a_wait_that_sleeps_retries_signals() {
    let _alone = alone();
    let epoll = Epoll::new().unwrap();
    sweep("epoll wait", &["epoll_wait", "epoll_pwait2"], || {
        let tokens = tokens(&epoll, Duration::from_micros(100))?;
        assert!(tokens.is_empty());
        Ok(())
    });
}

#[test]
fn no_descriptor_left_is_the_callers_to_know() {
    let _alone = alone();
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        fails_with("epoll_create1", errno, Epoll::new);
    }
}

#[test]
fn a_full_table_of_watches_is_the_callers_to_know() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    fails_with("epoll_ctl", Errno::NOSPC, || epoll.register(&near, Interest::IN, 1));
    assert_eq!(epoll.unregister(&near), Err(Errno::NOENT), "nothing was registered");
}

#[test]
fn a_set_refused_by_close_is_not_closed_twice() {
    let _alone = alone();
    let epoll = Epoll::new().unwrap();
    let interrupted = Rule::on("close", Fault::Fail(Errno::INTR)).arm().unwrap();
    assert_eq!(epoll.close(), Ok(()));
    assert_eq!(interrupted.hits(), 1);
}

/// Without the call, a wait falls back to milliseconds, rounded up.
#[test]
fn without_epoll_pwait2_a_wait_lasts_its_time() {
    let _alone = alone();
    for missing in [Errno::NOSYS, Errno::PERM] {
        let epoll = Epoll::new().unwrap();
        let span = Duration::from_micros(1200);
        let begin = Instant::now();
        survives("epoll_pwait2", missing, || {
            assert_eq!(tokens(&epoll, span)?, []);
            Ok(())
        });
        assert!(begin.elapsed() >= span);
    }
}

#[test]
fn without_epoll_pwait2_a_write_ends_a_wait_of_any_length() {
    let _alone = alone();
    for span in [Duration::from_secs(60), Duration::from_secs(86_400 * 365)] {
        let (near, mut far) = UnixStream::pair().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.register(&near, Interest::IN, 3).unwrap();
        let old = Rule::on("epoll_pwait2", Fault::Fail(Errno::NOSYS)).arm().unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            far.write_all(b"x").map(|()| far)
        });
        assert_eq!(tokens(&epoll, span), Ok(vec![3]));
        assert_eq!(old.hits(), 1);
        drop(writer.join().unwrap());
    }
}

#[test]
fn without_epoll_pwait2_signals_do_not_stretch_the_wait() {
    let _alone = alone();
    let epoll = Epoll::new().unwrap();
    let old = Rule::on("epoll_pwait2", Fault::Fail(Errno::NOSYS)).arm().unwrap();
    let interrupted = Rule::on("epoll_wait", Fault::Fail(Errno::INTR)).from(2).times(100).arm().unwrap();
    let begin = Instant::now();
    assert_eq!(tokens(&epoll, Duration::from_millis(5)), Ok(vec![]));
    assert_eq!((old.hits(), interrupted.hits()), (1, 100));
    assert!(begin.elapsed() >= Duration::from_millis(5));
}

#[test]
fn what_is_ready_at_once_costs_one_call() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::OUT, 1).unwrap();
    for timeout in [Deadline::NOW, Deadline::NEVER, Deadline::after(Duration::from_secs(1))] {
        let calls = Rule::on("*", Fault::Count).arm().unwrap();
        assert_eq!(tokens(&epoll, timeout), Ok(vec![1]));
        assert_eq!(calls.seen(), 1);
    }
}
