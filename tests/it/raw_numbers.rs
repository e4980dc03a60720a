//! Each type that is `AsFd` is `AsRawFd` too, for interfaces that accept no other form.

use std::os::fd::{AsFd, AsRawFd};

use ossature::multiprocessing::Process;
use ossature::multiprocessing::connection::{Address, Connection, Family, Listener, Receiver, Sender, pipe};
use ossature::sys::epoll::Epoll;
use ossature::sys::eventfd::EventFd;
use ossature::sys::flock::FileLock;
use ossature::sys::inotify::Inotify;
use ossature::sys::mmap::Memfd;
use ossature::sys::process::Child;
use ossature::sys::signalfd::SignalFd;
use ossature::sys::socket::Socket;
use ossature::sys::stream::Stream;
use ossature::sys::timerfd::TimerFd;

/// Whether both forms return the same descriptor.
fn same(object: &(impl AsFd + AsRawFd)) -> bool {
    object.as_raw_fd() == object.as_fd().as_raw_fd() && object.as_raw_fd() >= 0
}

/// Compiles only for types with both forms.
fn has_both<T: AsFd + AsRawFd>() {}

#[test]
fn what_has_a_descriptor_tells_its_number() {
    let (one, other) = pipe().unwrap();
    assert!(same(&one) && same(&other));
    let (receiver, sender) = one.split();
    assert!(same(&receiver) && same(&sender));
    assert!(same(&Listener::bind(Address::arbitrary(Family::Unix).unwrap()).unwrap()));
    assert!(same(&Epoll::new().unwrap()) && same(&EventFd::counter(0).unwrap()));
    has_both::<Process>();
    has_both::<Connection>();
    has_both::<Receiver>();
    has_both::<Sender>();
    has_both::<FileLock>();
    has_both::<Inotify>();
    has_both::<Memfd>();
    has_both::<Child>();
    has_both::<SignalFd>();
    has_both::<Socket>();
    has_both::<Stream>();
    has_both::<TimerFd>();
}
