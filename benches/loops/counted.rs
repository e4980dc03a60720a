//! The operations whose instructions are counted: write, wait, dispatch and read, with one of ten descriptors ready.

use std::os::fd::AsFd;

use ossature_benches::callgrind::Counted;

use crate::level::{room, watch};
use crate::objects::Events;
use crate::raw::Raw;
use crate::waits::Wait;

pub const ROWS: &[Counted] = &[
    ("ours-now", |repeats| ours(repeats, Wait::Now)),
    ("ours-never", |repeats| ours(repeats, Wait::Never)),
    ("ours-deadline", |repeats| ours(repeats, Wait::Deadline)),
    ("libc-now", |repeats| libc(repeats, Wait::Now)),
    ("libc-never", |repeats| libc(repeats, Wait::Never)),
    ("libc-deadline", |repeats| libc(repeats, Wait::Deadline)),
];

fn ours(repeats: u64, wait: Wait) {
    let events = Events::new(10);
    let epoll = watch(&events);
    let (mut buffer, deadline) = (room(10), wait.ours());
    for _ in 0..repeats {
        events.raise_one();
        for event in epoll.poll(&mut buffer, deadline).expect("ours waits") {
            events.take(event.token());
        }
    }
}

fn libc(repeats: u64, wait: Wait) {
    let events = Events::new(10);
    let epoll = watch(&events);
    let (mut raw, timeout) = (Raw::on(epoll.as_fd(), 10), wait.libc());
    for _ in 0..repeats {
        events.raise_one();
        raw.wait(timeout, |token| events.take(token));
    }
}
