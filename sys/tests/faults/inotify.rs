//! File system events with failing system calls.

use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::inotify::{Events, Inotify, ROOM};

use crate::sweep::{alone, fails_with, survives, sweep};

const SPAN: Duration = Duration::from_millis(3);

#[test]
fn everything_about_a_queue_ends_and_leaks_nothing() {
    sweep("inotify", &["read", "ppoll"], || {
        let news = Inotify::new()?;
        let watch = news.add(c"/", Events::MOVE_SELF)?;
        news.read(&mut [0; ROOM], SPAN)?;
        news.remove(watch)?;
        news.read(&mut [0; ROOM], SPAN).map(drop)
    });
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    fails_with("inotify_init1", Errno::MFILE, Inotify::new);
    let news = Inotify::new().unwrap();
    for errno in [Errno::NOSPC, Errno::ACCESS, Errno::NOMEM] {
        fails_with("inotify_add_watch", errno, || news.add(c"/", Events::MOVE_SELF));
    }
    let watch = news.add(c"/", Events::MOVE_SELF).unwrap();
    fails_with("inotify_rm_watch", Errno::INVAL, || news.remove(watch));
    fails_with("read", Errno::IO, || news.read(&mut [0; ROOM], Deadline::NOW).map(drop));
}

#[test]
fn interrupted_calls_are_made_again_and_looking_now_never_sleeps() {
    let _alone = alone();
    let news = Inotify::new().unwrap();
    survives("read", Errno::INTR, || news.read(&mut [0; ROOM], Deadline::NOW).map(drop));
    survives("ppoll", Errno::INTR, || news.read(&mut [0; ROOM], SPAN).map(drop));
    let sleeps = Rule::on("ppoll", Fault::Count).arm().unwrap();
    assert_eq!(news.read(&mut [0; ROOM], Deadline::NOW).unwrap().count(), 0);
    assert_eq!(sleeps.seen(), 0);
}
