//! select, poll and epoll against the raw calls: random descriptors, random questions, the same answers.
#![no_main]

use core::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use ossature::arbitrary as from;
use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::select::{FdSet, select};

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let objects = from::descriptors(&mut input, 32).expect("descriptors");
    let questions: Vec<PollFlags> = objects.iter().map(|_| from::flags(&mut input).expect("flags")).collect();
    let asked = || objects.iter().zip(&questions).map(|((fd, _), flags)| (fd, *flags));

    let mut raw: Vec<_> = asked()
        .map(|(fd, flags)| libc::pollfd { fd: fd.as_raw_fd(), events: flags.bits() as i16, revents: 0 })
        .collect();
    // SAFETY: the array is ours and as long as said.
    let ready = unsafe { libc::poll(raw.as_mut_ptr(), raw.len() as _, 0) };
    let mut ours: Vec<_> = asked().map(|(fd, flags)| PollFd::new(fd, flags)).collect();
    assert_eq!(poll(&mut ours, Deadline::NOW), Ok(ready as usize));
    assert!(ours.iter().zip(&raw).all(|(ours, raw)| ours.revents().bits() == raw.revents as u16));

    // Level-triggered epoll says of what it accepts what poll says.
    let epoll = Epoll::new().expect("a set");
    for (token, (fd, flags)) in asked().enumerate() {
        if epoll.register(fd, Interest::from_bits_retain(flags.bits().into()), token as u64).is_err() {
            raw[token].revents = 0;
        }
    }
    let mut room = [MaybeUninit::uninit(); 33];
    let mut events = epoll.poll(&mut room, Deadline::NOW).expect("events").to_vec();
    events.sort_unstable_by_key(|event| event.token());
    let wanted = raw.iter().enumerate().filter(|(_, raw)| raw.revents != 0);
    let wanted = wanted.map(|(token, raw)| (token as u64, u32::from(raw.revents as u16)));
    assert!(events.iter().map(|event| (event.token(), event.flags().bits())).eq(wanted));

    // SAFETY: an fd_set is plain bits, for which zero is valid.
    let mut raw: [libc::fd_set; 3] = unsafe { std::mem::zeroed() };
    let mut words = [[0; FdSet::words_for(1024)]; 3];
    let mut sets = words.each_mut().map(|words| FdSet::new(words));
    let mut top = 0;
    for ((fd, _), flags) in objects.iter().zip(&questions) {
        top = top.max(fd.as_raw_fd() + 1);
        for list in (0..3).filter(|list| flags.bits() >> list & 1 != 0) {
            // SAFETY: a fuzzer has far fewer than 1,024 descriptors.
            unsafe { libc::FD_SET(fd.as_raw_fd(), &mut raw[list]) };
            sets[list].insert(fd.as_fd()).expect("it fits");
        }
    }
    let mut at_once = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let [read, write, except] = &mut raw;
    // SAFETY: sets and time are ours and outlive the call.
    let ready = unsafe { libc::select(top, read, write, except, &mut at_once) };
    let [read, write, except] = &mut sets;
    assert_eq!(select(read, write, except, Deadline::NOW), Ok(ready as usize));
    for (set, raw) in sets.iter().zip(&raw) {
        // SAFETY: as above.
        assert!(objects.iter().all(|(fd, _)| set.contains(fd) == unsafe { libc::FD_ISSET(fd.as_raw_fd(), raw) }));
    }
});
