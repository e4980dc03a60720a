//! The flags of changes, the events that confirm them, and the queue's own descriptor.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::errno::Errno;
use ossature_sys::fd::AsRawFd;
use ossature_sys::fd::is_cloexec;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature_sys::poll::{PollFd, PollFlags, poll};

use super::{now, one};

#[test]
fn clear_tells_of_news_only() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near).with_flags(Flags::ADD | Flags::CLEAR)).unwrap();
    far.write_all(b"one").unwrap();
    assert_eq!(one(&queue).data(), 3);
    assert_eq!(now(&queue), []);
    far.write_all(b"two").unwrap();
    assert_eq!((one(&queue).data(), now(&queue).len()), (6, 0));
    queue.change(&Kevent::read(&near).with_flags(Flags::ADD | Flags::CLEAR)).unwrap();
    assert_eq!(one(&queue).data(), 6, "a change looks anew");
}

#[test]
fn oneshot_removes_the_knote() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let change = Kevent::read(&near).with_flags(Flags::ADD | Flags::ONESHOT);
    queue.change(&change).unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(one(&queue).flags(), Flags::ONESHOT);
    assert_eq!((now(&queue).len(), queue.len()), (0, Ok(0)));
    assert_eq!(queue.change(&change.with_flags(Flags::ENABLE)), Err(Errno::NOENT));
    queue.change(&change).unwrap();
    assert_eq!(one(&queue).data(), 1);
}

#[test]
fn dispatch_disables_the_knote_until_it_is_enabled() {
    for clear in [Flags::empty(), Flags::CLEAR] {
        let queue = Kqueue::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let change = Kevent::read(&near).with_flags(Flags::ADD | Flags::DISPATCH | clear);
        queue.change(&change).unwrap();
        far.write_all(b"x").unwrap();
        assert_eq!(one(&queue).flags(), Flags::DISPATCH | clear);
        far.write_all(b"y").unwrap();
        assert_eq!((now(&queue).len(), queue.len()), (0, Ok(1)));
        queue.change(&change.with_flags(Flags::ENABLE)).unwrap();
        assert_eq!(one(&queue).data(), 2);
        near.read_exact(&mut [0; 2]).unwrap();
        queue.change(&change.with_flags(Flags::ENABLE)).unwrap();
        assert_eq!(now(&queue), []);
        // The end of the peer of a disabled knote keeps nobody awake.
        queue.change(&change.with_flags(Flags::DISABLE)).unwrap();
        drop(far);
        super::sleeps(&queue);
        queue.change(&change.with_flags(Flags::ENABLE)).unwrap();
        assert!(one(&queue).flags().contains(Flags::EOF));
    }
}

#[test]
fn a_disabled_knote_says_nothing() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    queue.change(&Kevent::read(&near).with_flags(Flags::ADD | Flags::DISABLE)).unwrap();
    assert_eq!(now(&queue), []);
    queue.change(&Kevent::read(&near).with_flags(Flags::ENABLE)).unwrap();
    assert_eq!(one(&queue).data(), 1);
    queue.change(&Kevent::read(&near).with_flags(Flags::DISABLE)).unwrap();
    assert_eq!(now(&queue), []);
    queue.change(&Kevent::read(&near)).unwrap();
    assert_eq!(one(&queue).data(), 1, "ADD enables");
}

#[test]
fn failing_changes_are_answered_where_there_is_room() {
    let queue = Kqueue::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let gone = Kevent::user(4).with_flags(Flags::DELETE).with_udata(7);
    let changes =
        [Kevent::user(1), gone, Kevent::write(&near), Kevent::user(2).with_flags(Flags::ADD | Flags::RECEIPT)];
    let mut room = [MaybeUninit::uninit(); 8];
    let answers = queue.control(&changes, &mut room, Deadline::NEVER).unwrap();
    let receipt = changes[3].with_flags(Flags::ERROR).with_data(0);
    let error = gone.with_flags(Flags::ERROR).with_data(i64::from(Errno::NOENT.raw_os_error()));
    assert_eq!(answers, [error, receipt], "and no events");
    assert_eq!((answers[0].error(), answers[1].error()), (Some(Errno::NOENT), None));
    assert_eq!(queue.len(), Ok(3));

    // Without room the error is the call's, and ends it.
    let changes = [Kevent::user(1).with_flags(Flags::DELETE), gone, Kevent::user(2).with_flags(Flags::DELETE)];
    assert_eq!(queue.control(&changes, &mut [], Deadline::NEVER), Err(Errno::NOENT));
    assert_eq!(queue.len(), Ok(2));
    let mut small = [MaybeUninit::uninit(); 1];
    let changes = [gone, gone, Kevent::user(2).with_flags(Flags::DELETE)];
    assert_eq!(queue.control(&changes, &mut small, Deadline::NEVER), Err(Errno::NOENT));
    assert_eq!(queue.len(), Ok(2));
}

#[test]
fn without_room_a_call_does_not_wait() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1)).unwrap();
    let triggered = queue.control(&[Kevent::trigger(1)], &mut [], Deadline::NEVER);
    assert_eq!(triggered, Ok(&[][..]));
    assert_eq!(one(&queue).ident(), 1);
}

#[test]
fn what_is_not_there_is_an_error() {
    let queue = Kqueue::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    for flags in [Flags::DELETE, Flags::ENABLE, Flags::DISABLE, Flags::empty(), Flags::ADD | Flags::DELETE] {
        assert_eq!(queue.change(&Kevent::read(&near).with_flags(flags)), Err(Errno::NOENT), "{flags:?}");
        assert_eq!(queue.change(&Kevent::new(999_999, Filter::READ).with_flags(flags)), Err(Errno::BADF));
    }
    assert_eq!(queue.change(&Kevent::new(1, Filter::from_number(-40))), Err(Errno::INVAL));
    assert_eq!(queue.change(&Kevent::new(1, Filter::from_number(9))), Err(Errno::INVAL));
    assert_eq!(queue.change(&Kevent::new(1, Filter::from_number(0))), Ok(()), "no filter, no change");
    assert_eq!(queue.len(), Ok(0));
}

#[test]
fn a_record_may_be_used_again_with_what_was_reported_in_it() {
    let queue = Kqueue::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near)).unwrap();
    drop(far);
    let event = one(&queue);
    assert!(event.flags().contains(Flags::EOF));
    queue.change(&event.with_flags(event.flags() | Flags::ADD)).unwrap();
    assert_eq!(one(&queue), event);
}

fn is_readable(queue: &Kqueue, within: Duration) -> bool {
    let descriptor = queue.descriptor().unwrap();
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], within).unwrap() == 1
}

#[test]
fn the_descriptor_is_readable_while_there_is_something_to_report() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
    queue.change(&Kevent::user(1)).unwrap();
    assert!(is_cloexec(queue.descriptor().unwrap()).unwrap());
    let patience = Duration::from_secs(5);
    assert!(!is_readable(&queue, Duration::ZERO));
    far.write_all(b"x").unwrap();
    assert!(is_readable(&queue, patience));
    one(&queue);
    assert!(!is_readable(&queue, Duration::ZERO));
    queue.change(&Kevent::trigger(1)).unwrap();
    assert!(is_readable(&queue, patience));
    one(&queue);
    assert!(!is_readable(&queue, Duration::ZERO));
    for _ in 0..2 {
        queue.change(&Kevent::timer(1, Duration::from_millis(2)).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
        assert!(is_readable(&queue, patience));
        one(&queue);
        assert!(!is_readable(&queue, Duration::ZERO));
    }
    // What was there before the descriptor was asked for counts too.
    let late = Kqueue::new().unwrap();
    late.change(&Kevent::user(1)).unwrap();
    late.change(&Kevent::trigger(1)).unwrap();
    assert!(is_readable(&late, patience));
    queue.change(&Kevent::timer(1, Duration::from_secs(3600))).unwrap();
    queue.change(&Kevent::timer(1, Duration::from_millis(1))).unwrap();
    assert!(is_readable(&queue, patience));
}

#[test]
fn the_descriptor_is_silent_about_a_knote_that_waits_to_be_enabled() {
    for (flags, notes) in [
        (Flags::DISPATCH, Notes::empty()),
        (Flags::DISPATCH | Flags::CLEAR, Notes::empty()),
        (Flags::DISPATCH, Notes::LOWAT),
    ] {
        let queue = Kqueue::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        let change = Kevent::read(&near).with_flags(Flags::ADD | flags).with_notes(notes).with_data(1);
        queue.change(&change).unwrap();
        far.write_all(b"x").unwrap();
        assert!(is_readable(&queue, Duration::from_secs(5)));
        one(&queue);
        far.write_all(b"y").unwrap();
        assert!(!is_readable(&queue, Duration::ZERO), "{flags:?} {notes:?}");
        queue.change(&change.with_flags(Flags::ENABLE)).unwrap();
        assert!(is_readable(&queue, Duration::from_secs(5)));
        assert_eq!(one(&queue).data(), 2);
    }
}

#[test]
fn a_queue_stands_in_another_queue_and_in_an_epoll_set() {
    let (inner, outer, epoll) = (Kqueue::new().unwrap(), Kqueue::new().unwrap(), Epoll::new().unwrap());
    outer.change(&Kevent::read(inner.descriptor().unwrap())).unwrap();
    epoll.register(outer.descriptor().unwrap(), Interest::IN, 1).unwrap();
    inner.change(&Kevent::user(1)).unwrap();
    assert_eq!(now(&outer), []);
    inner.change(&Kevent::trigger(1)).unwrap();
    let mut room = [MaybeUninit::uninit(); 2];
    assert_eq!(epoll.poll(&mut room, Duration::from_secs(5)).unwrap().len(), 1);
    assert_eq!(one(&outer).ident(), inner.descriptor().unwrap().as_raw_fd() as usize);
    one(&inner);
    assert_eq!(now(&outer), []);
    assert!(epoll.poll(&mut room, Deadline::NOW).unwrap().is_empty());
}
