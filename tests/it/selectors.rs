//! Python's selectors: one trait over several of the kernel's interfaces.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ossature::error::{Error, ErrorKind};
use ossature::select::selectors::{
    DefaultSelector, EpollSelector, Interest, KqueueSelector, PollSelector, SelectSelector, Selector, Token,
};
use ossature::select::{Poll, PollFlags};
use ossature::sys::deadline::Deadline;
use ossature::sys::errno::Errno;

use crate::support::{pipe, soon};

/// Stamps the suite on every selector.
macro_rules! every_selector {
    ($($fact:ident),* $(,)?) => {
        mod by_select { $(#[test] fn $fact() { super::$fact(super::SelectSelector::new().unwrap()); })* }
        mod by_poll { $(#[test] fn $fact() { super::$fact(super::PollSelector::new().unwrap()); })* }
        mod by_epoll { $(#[test] fn $fact() { super::$fact(super::EpollSelector::new().unwrap()); })* }
        mod by_kqueue { $(#[test] fn $fact() { super::$fact(super::KqueueSelector::new().unwrap()); })* }
        mod by_default { $(#[test] fn $fact() { super::$fact(super::DefaultSelector::new().unwrap()); })* }
    };
}

every_selector! {
    the_ready_are_listed_with_what_was_asked,
    an_empty_or_unknown_interest_is_refused_and_gives_the_object_back,
    registering_twice_is_refused_and_gives_the_object_back,
    a_stale_token_finds_nothing,
    modify_changes_interest_and_data,
    a_hang_up_shows_as_both_out_of_what_was_asked,
    an_empty_selector_waits_as_long_as_it_was_told,
    what_was_closed_behind_its_back_can_be_unregistered,
    the_map_is_live,
    closing_gives_every_object_back,
    what_is_no_longer_registered_does_not_end_the_wait,
    an_object_and_its_data_are_used_in_place,
    what_took_an_objects_place_leaves_the_selector_sound,
}

type Stream = Arc<UnixStream>;

fn pair() -> (Stream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Arc::new(near), far)
}

fn now<F: AsFd, T>(selector: &mut impl Selector<F, T>) -> Vec<(Token, Interest)> {
    selector.select(Duration::ZERO).unwrap()
}

fn the_ready_are_listed_with_what_was_asked(mut selector: impl Selector<Stream, u8>) {
    let ((one, mut far_one), (two, _far_two)) = (pair(), pair());
    let one = selector.register(one, Interest::READ, 1).unwrap();
    let two = selector.register(two, Interest::READ | Interest::WRITE, 2).unwrap();
    assert_eq!(now(&mut selector), [(two, Interest::WRITE)]);
    far_one.write_all(b"x").unwrap();
    let mut ready = soon(|| selector.select(None)).unwrap();
    ready.sort_unstable_by_key(|found| found.0);
    assert_eq!(ready, [(one, Interest::READ), (two, Interest::WRITE)]);
}

fn an_empty_or_unknown_interest_is_refused_and_gives_the_object_back(mut selector: impl Selector<Stream, u8>) {
    let (near, _far) = pair();
    for wrong in [Interest::empty(), Interest::from_bits_retain(4), Interest::from_bits_retain(5)] {
        let refused = selector.register_or_give_back(near.clone(), wrong, 9).unwrap_err();
        assert_eq!((refused.error.kind(), refused.data), (ErrorKind::InvalidInput, 9));
        assert!(Arc::ptr_eq(&refused.file, &near));
    }
    assert!(selector.map().is_empty());
    let token = selector.register(near, Interest::READ, 9).unwrap();
    assert_eq!(selector.modify(token, Interest::empty(), 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(selector.map().get(token).map(|key| (key.interest(), *key.data())), Some((Interest::READ, 9)));
}

fn registering_twice_is_refused_and_gives_the_object_back(mut selector: impl Selector<Stream, u8>) {
    let (near, _far) = pair();
    let token = selector.register(near.clone(), Interest::READ, 1).unwrap();
    let refused = selector.register_or_give_back(near.clone(), Interest::WRITE, 2).unwrap_err();
    assert!(Arc::ptr_eq(&refused.file, &near));
    let error: Error = refused.into();
    assert_eq!(error.kind(), ErrorKind::AlreadyRegistered);
    assert!(error.to_string().contains("use modify"), "{error}");
    assert_eq!(selector.map().get(token).map(|key| key.interest()), Some(Interest::READ));
}

fn a_stale_token_finds_nothing(mut selector: impl Selector<Stream, u8>) {
    let (near, _far) = pair();
    let stale = selector.register(near.clone(), Interest::WRITE, 1).unwrap();
    let key = selector.unregister(stale).unwrap();
    assert!(Arc::ptr_eq(key.file(), &near));
    let token = selector.register(near, Interest::WRITE, 2).unwrap();
    assert_ne!(stale, token);
    assert!(selector.map().get(stale).is_none() && selector.data_mut(stale).is_none());
    assert_eq!(selector.unregister(stale).unwrap_err().kind(), ErrorKind::NotRegistered);
    assert_eq!(selector.modify(stale, Interest::READ, 0).unwrap_err().kind(), ErrorKind::NotRegistered);
    assert_eq!(now(&mut selector), [(token, Interest::WRITE)]);
}

fn modify_changes_interest_and_data(mut selector: impl Selector<Stream, u8>) {
    let (near, _far) = pair();
    let token = selector.register(near, Interest::READ, 1).unwrap();
    assert_eq!(selector.modify(token, Interest::WRITE, 2).unwrap(), 1);
    assert_eq!(now(&mut selector), [(token, Interest::WRITE)]);
    assert_eq!(selector.modify(token, Interest::WRITE, 3).unwrap(), 2);
    *selector.data_mut(token).unwrap() += 1;
    assert_eq!(*selector.map().get(token).unwrap().data(), 4);
}

fn a_hang_up_shows_as_both_out_of_what_was_asked(mut selector: impl Selector<Stream, u8>) {
    let (near, far) = pair();
    drop(far);
    let token = selector.register(near, Interest::READ | Interest::WRITE, 1).unwrap();
    assert_eq!(now(&mut selector), [(token, Interest::READ | Interest::WRITE)]);
    for one in [Interest::READ, Interest::WRITE] {
        selector.modify(token, one, 1).unwrap();
        assert_eq!(now(&mut selector), [(token, one)]);
    }
}

fn an_empty_selector_waits_as_long_as_it_was_told(mut selector: impl Selector<Stream, u8>) {
    let begin = Instant::now();
    assert_eq!(soon(|| selector.select(Duration::from_millis(3))).unwrap(), []);
    assert!(begin.elapsed() >= Duration::from_millis(3));
}

/// A type that lends the number it was made with, open or not, as Python's objects do.
struct Number(i32);

impl AsFd for Number {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: a lie when the test has closed the number; only readiness calls see it, and they refuse it.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

fn what_was_closed_behind_its_back_can_be_unregistered(mut selector: impl Selector<Number, &'static str>) {
    // A number far up, so that no other test's descriptor takes it when it is closed.
    let near = UnixStream::pair().unwrap().0;
    let high = rustix::io::fcntl_dupfd_cloexec(&near, 700).unwrap().into_raw_fd();
    let token = selector.register(Number(high), Interest::READ, "gone").unwrap();
    // SAFETY: the number is this test's own.
    drop(unsafe { OwnedFd::from_raw_fd(high) });
    let key = selector.unregister(token).unwrap();
    assert_eq!((key.fd(), *key.data()), (high, "gone"));
    assert!(selector.map().is_empty());
}

fn the_map_is_live(mut selector: impl Selector<Stream, u8>) {
    let ((one, _far_one), (two, _far_two)) = (pair(), pair());
    let token = selector.register(one.clone(), Interest::READ, 1).unwrap();
    let map = selector.map();
    assert_eq!((map.len(), map.find(&one), map.find(&two)), (1, Some(token), None));
    let key = map.get(token).unwrap();
    assert_eq!((key.fd(), key.interest(), *key.data()), (one.as_raw_fd(), Interest::READ, 1));
    assert!(Arc::ptr_eq(key.file(), &one));
    assert!(map.iter().map(|(token, key)| (token, key.fd())).eq([(token, one.as_raw_fd())]));
    selector.register(two.clone(), Interest::READ, 2).unwrap();
    assert_eq!(selector.map().len(), 2);
}

fn closing_gives_every_object_back(mut selector: impl Selector<Stream, u8>) {
    let (near, _far) = pair();
    selector.register(near.clone(), Interest::READ, 3).unwrap();
    let keys = selector.close();
    assert_eq!(keys.len(), 1);
    let (file, data) = keys.into_iter().next().unwrap().into_parts();
    assert!(Arc::ptr_eq(&file, &near) && data == 3);
}

fn what_is_no_longer_registered_does_not_end_the_wait(mut selector: impl Selector<Number, u8>) {
    let ((near, mut far), (other, mut far_other)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    // Closed while registered, and kept alive by `near`: epoll goes on to tell of it.
    let high = rustix::io::fcntl_dupfd_cloexec(&near, 800).unwrap().into_raw_fd();
    let token = selector.register(Number(high), Interest::READ, 1).unwrap();
    far.write_all(b"x").unwrap();
    // SAFETY: the number is this test's own.
    drop(unsafe { OwnedFd::from_raw_fd(high) });
    selector.unregister(token).unwrap();
    let begin = Instant::now();
    assert_eq!(soon(|| selector.select(Duration::from_millis(20))).unwrap(), []);
    assert!(begin.elapsed() >= Duration::from_millis(20));
    let live = selector.register(Number(other.as_raw_fd()), Interest::READ, 2).unwrap();
    assert_eq!(now(&mut selector), []);
    far_other.write_all(b"x").unwrap();
    assert_eq!(soon(|| selector.select(None)).unwrap(), [(live, Interest::READ)]);
}

fn an_object_and_its_data_are_used_in_place(mut selector: impl Selector<Stream, u8>) {
    let (near, mut far) = pair();
    let token = selector.register(near, Interest::READ, 1).unwrap();
    far.write_all(b"xyz").unwrap();
    assert_eq!(now(&mut selector), [(token, Interest::READ)]);
    let (file, data) = selector.parts_mut(token).unwrap();
    let mut text = [0; 3];
    Arc::get_mut(file).unwrap().read_exact(&mut text).unwrap();
    *data += 1;
    assert_eq!((&text, now(&mut selector)), (b"xyz", vec![]));
    assert!(Arc::get_mut(selector.file_mut(token).unwrap()).is_some());
    let mut key = selector.unregister(token).unwrap();
    assert!(Arc::get_mut(key.file_mut()).is_some() && *key.data() == 2);
    assert!(selector.parts_mut(token).is_none() && selector.file_mut(token).is_none());
}

/// The wait reports different events for each backend. With every backend the entry can be removed, and both objects
/// registered anew.
fn what_took_an_objects_place_leaves_the_selector_sound(mut selector: impl Selector<Stream, u8>) {
    let ((one, _far_one), (two, _far_two)) = (pair(), pair());
    let number = one.as_raw_fd();
    let token = selector.register(one, Interest::READ, 1).unwrap();
    let one = std::mem::replace(selector.file_mut(token).unwrap(), two.clone());
    assert_eq!((selector.map().get(token).unwrap().fd(), selector.map().find(&one)), (number, Some(token)));
    assert!(Arc::ptr_eq(selector.unregister(token).unwrap().file(), &two));
    assert!(selector.map().is_empty() && selector.map().find(&one).is_none());
    drop(one); // the kernel's set forgets the descriptor with its last owner
    let token = selector.register(two, Interest::WRITE, 2).unwrap();
    assert_eq!(now(&mut selector), [(token, Interest::WRITE)]);
}

#[test]
fn registering_by_question_mark_serves_every_error_type() {
    fn boxed(stream: &UnixStream) -> Result<Token, Box<dyn std::error::Error>> {
        Ok(PollSelector::new()?.register(stream, Interest::empty(), &"borrowed")?)
    }
    fn sendable(stream: &UnixStream) -> Result<Token, Box<dyn std::error::Error + Send + Sync>> {
        Ok(PollSelector::new()?.register(stream, Interest::empty(), &"borrowed")?)
    }
    fn io(stream: &UnixStream) -> std::io::Result<Token> {
        Ok(PollSelector::new()?.register_or_give_back(stream, Interest::empty(), &"borrowed")?)
    }
    fn ours(stream: &UnixStream) -> ossature::Result<Token> {
        Ok(PollSelector::new()?.register_or_give_back(stream, Interest::empty(), &"borrowed")?)
    }
    let (near, _far) = UnixStream::pair().unwrap();
    let text = ours(&near).unwrap_err().to_string();
    assert!(text.contains("READ, WRITE or both"), "{text}");
    assert_eq!(boxed(&near).unwrap_err().to_string(), text);
    assert_eq!(sendable(&near).unwrap_err().to_string(), text);
    let error = io(&near).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (std::io::ErrorKind::InvalidInput, text));
}

#[test]
fn a_function_takes_any_selector_as_an_object() {
    fn writable(selector: &mut dyn Selector<Stream, u8>) -> usize {
        let (near, _far) = pair();
        let token = selector.register(near, Interest::WRITE, 1).unwrap();
        let ready = selector.select_until(Deadline::NOW).unwrap().len();
        *selector.data_mut(token).unwrap() += 1;
        assert_eq!(selector.unregister(token).map(|key| *key.data()).unwrap(), 2);
        ready
    }
    let every: [Box<dyn Selector<Stream, u8>>; 5] = [
        Box::new(SelectSelector::new().unwrap()),
        Box::new(PollSelector::new().unwrap()),
        Box::new(EpollSelector::new().unwrap()),
        Box::new(KqueueSelector::new().unwrap()),
        Box::new(DefaultSelector::new().unwrap()),
    ];
    for mut selector in every {
        assert_eq!(writable(&mut *selector), 1);
        let begin = Instant::now();
        assert_eq!(soon(|| selector.select_until(Deadline::after(Duration::from_millis(3)))).unwrap(), []);
        assert!(begin.elapsed() >= Duration::from_millis(3));
    }
}

#[test]
fn read_and_write_have_pythons_values() {
    assert_eq!((Interest::READ.bits(), Interest::WRITE.bits()), (1, 2));
}

#[test]
fn what_the_kernel_refuses_leaves_the_map_unchanged() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let number = file.as_raw_fd();
    let mut selector = EpollSelector::new().unwrap();
    let refused = selector.register_or_give_back(file, Interest::READ, ()).unwrap_err();
    assert_eq!((refused.error.errno(), refused.file.as_raw_fd()), (Some(Errno::PERM), number));
    assert!(selector.map().is_empty());
    let mut selector = PollSelector::new().unwrap();
    let token = selector.register(refused.file, Interest::READ | Interest::WRITE, ()).unwrap();
    assert_eq!(now(&mut selector), [(token, Interest::READ | Interest::WRITE)]);
}

#[test]
fn a_closed_descriptor_makes_select_fail_and_poll_report() {
    let mut selector = SelectSelector::new().unwrap();
    selector.register(Number(60_004), Interest::READ, ()).unwrap();
    assert_eq!(selector.select(Duration::ZERO).unwrap_err().errno(), Some(Errno::BADF));
    let mut selector = PollSelector::new().unwrap();
    let token = selector.register(Number(60_004), Interest::READ, ()).unwrap();
    assert_eq!(now(&mut selector), [(token, Interest::READ)]);
}

#[test]
fn an_epoll_selector_can_itself_be_waited_for() {
    let (near, mut far) = pair();
    let mut selector = EpollSelector::new().unwrap();
    selector.register(near, Interest::READ, ()).unwrap();
    far.write_all(b"x").unwrap();
    let mut poll = Poll::new();
    poll.register(selector.as_fd(), PollFlags::IN);
    assert_eq!(poll.poll(None).unwrap().count(), 1);
    assert!(format!("{selector:?}").starts_with("Selecting"));
}

#[test]
fn a_selector_may_borrow_or_own_its_objects() {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let mut borrowing: DefaultSelector<&File> = DefaultSelector::new().unwrap();
    let token = borrowing.register(&reader, Interest::READ, ()).unwrap();
    assert_eq!(now(&mut borrowing), [(token, Interest::READ)]);
    drop(borrowing);
    let mut owning: DefaultSelector<File> = DefaultSelector::new().unwrap();
    let token = owning.register(reader, Interest::READ, ()).unwrap();
    assert_eq!(now(&mut owning), [(token, Interest::READ)]);
}
