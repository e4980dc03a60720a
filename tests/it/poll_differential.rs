//! The poll object compared with poll(2) itself, on random descriptors in random states with random registrations.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use ossature::select::{Epoll, Interest, Poll, PollFlags};

use crate::support::within;

/// An xorshift generator: repeatable, and random enough for the choices here.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn flags(&mut self, story: Story) -> PollFlags {
        match (self.below(3), story) {
            (0, _) => PollFlags::default(),
            (1, _) | (_, Story::Many) => PollFlags::IN,
            _ => PollFlags::from_bits_retain(self.below(0x1_0000) as u16),
        }
    }
}

/// The kind of registrations in a run.
#[derive(Clone, Copy, PartialEq)]
enum Story {
    /// A few descriptors of every kind.
    Few,
    /// More descriptors than one wait reports, all of a kind that the kernel's set accepts. Most are ready at times.
    Many,
}

/// A watched descriptor, and the other side if there is one.
struct Watched {
    fd: File, // any descriptor will do as a File: only read and write are used
    other: Option<File>,
    inner: Option<UnixStream>, // what an epoll set has in it
}

fn watched(fd: impl Into<OwnedFd>, other: Option<OwnedFd>) -> Watched {
    let fd = File::from(fd.into());
    ossature::sys::fd::set_nonblocking(&fd).unwrap_or(()); // plain files need not know the call
    let other = other.map(File::from);
    if let Some(other) = &other {
        ossature::sys::fd::set_nonblocking(other).unwrap();
    }
    Watched { fd, other, inner: None }
}

fn any(random: &mut Random, story: Story) -> Watched {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let kind = match story {
        Story::Few => random.below(11),
        Story::Many => [0, 1, 2, 3, 4, 5, 8, 9][random.below(8)],
    };
    match kind {
        0 | 1 => {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            watched(reader, Some(writer))
        }
        2 | 3 => {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            watched(writer, Some(reader))
        }
        4 => {
            let (near, far) = UnixStream::pair().unwrap();
            watched(near, Some(far.into()))
        }
        5 => {
            let (near, far) = UnixDatagram::pair().unwrap();
            watched(near, Some(far.into()))
        }
        6 => watched(File::open(std::env::current_exe().unwrap()).unwrap(), None),
        7 => watched(File::options().read(true).write(true).open("/dev/null").unwrap(), None),
        8 => {
            watched(rustix::event::eventfd(random.below(2) as u32, rustix::event::EventfdFlags::empty()).unwrap(), None)
        }
        9 => {
            let set = Epoll::new().unwrap();
            let (near, far) = UnixStream::pair().unwrap();
            let interest = if random.below(2) == 0 { Interest::IN } else { Interest::OUT };
            set.register(&near, interest, 0).unwrap();
            Watched { inner: Some(near), ..watched(set, Some(far.into())) }
        }
        _ => {
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&master).unwrap();
            unlockpt(&master).unwrap();
            let name = ptsname(&master, Vec::new()).unwrap();
            let slave =
                File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name.to_str().unwrap());
            let slave = slave.unwrap();
            if random.below(2) == 0 { watched(master, Some(slave.into())) } else { watched(slave, Some(master)) }
        }
    }
}

/// Changes the state of one descriptor at random.
fn stir(random: &mut Random, one: &mut Watched) {
    let mut buffer = vec![7; 70_000];
    match (random.below(8), &mut one.other) {
        (0, other) => drop((other.take(), one.inner.take())),
        (1 | 2, Some(other)) => drop(other.write(&buffer[..1])),
        (3, Some(other)) => drop(other.write(&buffer)),
        (4, Some(other)) => drop(other.read(&mut buffer)),
        (5, _) => drop(one.fd.write(&1_u64.to_ne_bytes())),
        (6, _) => drop(one.fd.write(&buffer[..8 * 8000])),
        _ => drop(one.fd.read(&mut buffer)),
    }
}

/// The results of poll(2) itself, in the order of `model`.
fn oracle(model: &[(i32, PollFlags)]) -> Vec<(i32, PollFlags)> {
    let entry = |&(fd, flags): &(i32, PollFlags)| libc::pollfd { fd, events: flags.bits() as i16, revents: 0 };
    let mut fds: Vec<_> = model.iter().map(entry).collect();
    // SAFETY: the array is ours and as long as said.
    let answer = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as _, 0) };
    assert!(answer >= 0);
    let ready = fds.iter().filter(|entry| entry.revents != 0);
    ready.map(|entry| (entry.fd, PollFlags::from_bits_retain(entry.revents as u16))).collect()
}

fn one_story(seed: u64, story: Story) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let count = match story {
        Story::Few => 1 + random.below(24),
        Story::Many => 140 + random.below(60),
    };
    let mut objects: Vec<Watched> = (0..count).map(|_| any(&mut random, story)).collect();
    let duplicates: Vec<File> = objects.iter().map(|one| one.fd.try_clone().unwrap()).collect();
    // What is watched are the duplicates; the originals are stirred meanwhile.
    let mut poll = Poll::new();
    let mut model: Vec<(i32, PollFlags)> = Vec::new();
    if story == Story::Many {
        for file in &duplicates {
            let flags = random.flags(story);
            poll.register(file.as_fd(), flags);
            model.push((file.as_raw_fd(), flags));
        }
    }
    for step in 0..80 {
        let file = &duplicates[random.below(count)];
        let (fd, flags) = (file.as_raw_fd(), random.flags(story));
        let place = model.iter().position(|entry| entry.0 == fd);
        match (random.below(6), place) {
            (0..=1, None) => {
                poll.register(file.as_fd(), flags);
                model.push((fd, flags));
            }
            (0, Some(place)) => {
                poll.register(file.as_fd(), flags);
                model[place].1 = flags;
            }
            (1, place) => {
                assert_eq!(poll.modify(file, flags).is_ok(), place.is_some());
                if let Some(place) = place {
                    model[place].1 = flags;
                }
            }
            (2, place) => {
                assert_eq!(poll.unregister(file).is_ok(), place.is_some());
                if let Some(place) = place {
                    model.remove(place);
                }
            }
            // Many are made ready, or empty, at a time, so that the answer comes now by one way and now by the other.
            (3, _) if story == Story::Many => match random.below(2) {
                0 => objects.iter_mut().for_each(|one| drop(one.other.as_mut().map(|other| other.write(b"x")))),
                _ => objects.iter_mut().for_each(|one| drop(one.fd.read(&mut [0; 70_000]))),
            },
            _ => {
                let one = random.below(count);
                stir(&mut random, &mut objects[one]);
            }
        }
        // A pseudo-terminal passes bytes on by a kernel thread, so the two looks may fall on either side of that: what
        // must agree is where they settle.
        let mut tries = 0..200;
        loop {
            let wanted = oracle(&model);
            let timeout = if wanted.is_empty() { Some(Duration::from_nanos(random.below(2000) as u64)) } else { None };
            let found: Vec<_> = poll.poll(timeout).unwrap().map(|(fd, flags)| (fd.as_raw_fd(), flags)).collect();
            if found == wanted {
                break;
            }
            assert!(tries.next().is_some(), "seed {seed}, step {step}: {found:?}, not {wanted:?}, of {model:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(poll.len(), model.len());
    }
}

#[test]
fn the_poll_object_answers_as_poll_does() {
    within(Duration::from_secs(60), || (1..=150).for_each(|seed| one_story(seed, Story::Few)));
}

#[test]
fn the_poll_object_answers_as_poll_does_of_many() {
    within(Duration::from_secs(60), || (1..=20).for_each(|seed| one_story(seed, Story::Many)));
}
