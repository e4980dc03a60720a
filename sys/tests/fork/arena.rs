//! Arenas between processes: an object with a single owner is freed when the owner dies, and a child inherits its
//! parent's objects.

use std::os::unix::net::UnixStream;

use ossature_sys::errno::Errno;
use ossature_sys::fd::AsFd;
use ossature_sys::pipe;
use ossature_sys::process::{Child, ExitStatus, Resource, Rlimit, Signal, fork, generation, rlimit, set_rlimit};
use ossature_sys::scope::Shared;
use ossature_sys::shm::Racy;
use ossature_sys::signal::raise;
use ossature_sys::socket::Socket;
use ossature_sys::sync::arena::{Arena, HOLDERS, Handle};
use ossature_sys::sync::lock::Lock;
use ossature_sys::{deadline::Deadline, fd};

use crate::harness::{self, Test, rest};
use crate::still::{end, go_on, standing};

pub const TESTS: &[Test] = &[
    ("what_a_killed_process_had_alone_is_freed", what_a_killed_process_had_alone_is_freed),
    ("a_child_has_what_its_parent_gives_back", a_child_has_what_its_parent_gives_back),
    ("a_parent_has_what_its_child_gives_back", a_parent_has_what_its_child_gives_back),
    ("a_child_of_a_child_has_it_too", a_child_of_a_child_has_it_too),
    ("a_message_has_what_it_carries_until_it_is_lost", a_message_has_what_it_carries_until_it_is_lost),
    (
        "objects_of_a_full_arena_are_made_where_the_dead_had_theirs",
        objects_of_a_full_arena_are_made_where_the_dead_had_theirs,
    ),
    (
        "what_is_given_back_beside_a_stopped_process_is_freed_later",
        what_is_given_back_beside_a_stopped_process_is_freed_later,
    ),
    ("processes_make_and_drop_at_once", processes_make_and_drop_at_once),
    ("so_many_holders_are_possible_and_no_more", so_many_holders_are_possible_and_no_more),
    ("arena_needs_a_count_of_forks", arena_needs_a_count_of_forks),
];

const MIB: usize = 1 << 20;

fn arena() -> Arena {
    Arena::new(MIB).unwrap()
}

/// Starts a child that runs `work`, reports it, and then waits to be killed.
fn resting<K>(work: impl FnOnce() -> K) -> Child {
    let (reader, writer) = pipe::pipe(pipe::Flags::empty()).unwrap();
    let child = fork(|| {
        let _kept = work();
        fd::write(&writer, b"!").unwrap();
        rest()
    })
    .unwrap();
    drop(writer);
    assert_eq!(fd::read(&reader, &mut [0; 1]), Ok(1), "it has done its work");
    child
}

fn what_a_killed_process_had_alone_is_freed() {
    let arena = arena();
    let both = arena.place(Racy::new(1_u32)).unwrap();
    let child = resting(|| {
        let alone: Vec<_> = (0..100).map(|n| arena.place(Racy::new(n)).unwrap()).collect();
        (alone, both.clone())
    });
    assert_eq!(arena.sweep(), Ok(101 * 64));
    end(child);
    assert_eq!((arena.sweep(), both.get()), (Ok(64), 1));
}

fn a_child_has_what_its_parent_gives_back() {
    let arena = arena();
    let mut cell = Some(arena.place(Racy::new(5_u32)).unwrap());
    let (reader, writer) = pipe::pipe(pipe::Flags::empty()).unwrap();
    let mut child = fork(|| {
        fd::read(&reader, &mut [0; 1]).unwrap();
        // The parent has given the object back and made others since.
        let cell = cell.take().unwrap();
        assert_eq!(cell.get(), 5);
        let again = arena.at::<Racy<u32>>(cell.place()).unwrap().unwrap();
        drop(cell);
        assert_eq!(again.get(), 5);
        0
    })
    .unwrap();
    drop(cell);
    assert_eq!(arena.sweep(), Ok(64), "the child has it");
    let others: Vec<_> = (0..1000).map(|_| arena.place(Racy::new(9_u32)).unwrap()).collect();
    fd::write(&writer, b"!").unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    assert_eq!(arena.sweep(), Ok(1000 * 64));
    drop(others);
    assert_eq!(arena.sweep(), Ok(0));
}

fn a_parent_has_what_its_child_gives_back() {
    let arena = arena();
    let mut cell = Some(arena.place(Racy::new(5_u32)).unwrap());
    let mut child = fork(|| {
        drop(cell.take());
        let others: Vec<_> = (0..1000).map(|_| arena.place(Racy::new(9_u32)).unwrap()).collect();
        assert_eq!(arena.sweep(), Ok(1001 * 64), "the parent has it");
        drop(others);
        assert_eq!(arena.sweep(), Ok(64));
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    assert_eq!((arena.sweep(), cell.unwrap().get()), (Ok(64), 5));
}

fn a_child_of_a_child_has_it_too() {
    let arena = arena();
    let mut cell = Some(arena.place(Racy::new(5_u32)).unwrap());
    let mut child = fork(|| {
        let inner = resting(|| ());
        drop(cell.take());
        assert_eq!(arena.sweep(), Ok(64), "parent and child have it");
        end(inner);
        assert_eq!(arena.sweep(), Ok(64), "the parent has it");
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    drop(cell);
    assert_eq!(arena.sweep(), Ok(0));
}

fn a_message_has_what_it_carries_until_it_is_lost() {
    let arena = arena();
    let cell = arena.place(Racy::new(5_u32)).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let near = Socket::try_from(fd::OwnedFd::from(near)).unwrap();
    let place = cell.place();
    {
        let carrier = arena.carrier().unwrap();
        assert_eq!(carrier.carry(&cell), Some(place));
        // SAFETY: the message stays in this test, which uses the memory as an arena.
        let descriptor = unsafe { carrier.descriptor() };
        near.send_with(b"!", &[descriptor.as_fd()], Deadline::NOW).unwrap().unwrap();
    }
    drop(cell);
    assert_eq!(arena.sweep(), Ok(64), "it is under way");
    assert_eq!(arena.at::<Racy<u32>>(place).unwrap().unwrap().get(), 5);
    drop((near, far));
    assert_eq!(arena.sweep(), Ok(0), "it is lost");
}

fn objects_of_a_full_arena_are_made_where_the_dead_had_theirs() {
    let arena = Arena::new(64 << 10).unwrap();
    let fill = || std::iter::from_fn(|| arena.place(Racy::new(1_u8)).ok()).collect::<Vec<Handle<_>>>();
    let child = resting(fill);
    assert_eq!(arena.place(Racy::new(1_u8)).unwrap_err(), Errno::NOSPC);
    end(child);
    assert_eq!(fill().len(), 1024);
}

fn what_is_given_back_beside_a_stopped_process_is_freed_later() {
    for steps in (0..).step_by(harness::stride(67)) {
        let arena = arena();
        let cells: Vec<_> = (0..10).map(|n| arena.place(Racy::new(n)).unwrap()).collect();
        let Some(mut child) = standing(|| drop(arena.place(Racy::new(1_u8)).unwrap())) else { return };
        let goes_on = go_on(&mut child, steps);
        // The child may have the arena's lock, which this does not wait for.
        drop(cells);
        end(child);
        assert_eq!(arena.sweep(), Ok(0), "beside a child that was stopped after {steps} instructions");
        if !goes_on {
            return;
        }
    }
}

fn processes_make_and_drop_at_once() {
    let arena = arena();
    let total = arena.place(Lock::<u64, Shared>::shared(0)).unwrap();
    let work = || {
        for turn in 0..3000_u64 {
            let own = arena.place(Racy::new([turn; 9])).unwrap();
            let copy = own.clone();
            drop(own);
            *total.lock().unwrap() += 1;
            assert_eq!(copy.get(), [turn; 9]);
        }
        0
    };
    let mut children: Vec<_> = (0..4).map(|_| fork(work).unwrap()).collect();
    let killed = fork(|| {
        let _kept = arena.place(Racy::new(7_u64)).unwrap();
        raise(Signal::KILL).unwrap();
        1
    });
    children.iter_mut().for_each(|child| assert_eq!(child.wait(), Ok(ExitStatus::Code(0))));
    killed.unwrap().wait().unwrap();
    assert_eq!((*total.lock().unwrap(), arena.sweep()), (12_000, Ok(64)));
}

fn so_many_holders_are_possible_and_no_more() {
    let mut child = fork(|| {
        let limit = rlimit(Resource::Nofile).unwrap();
        let needed = 2 * HOLDERS as u64;
        if limit.maximum.is_some_and(|most| most < needed) {
            println!("SKIPPED: this process cannot have {needed} descriptors");
            return 0;
        }
        set_rlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).unwrap();
        let arena = arena();
        let cell = arena.place(Racy::new(5_u8)).unwrap();
        // Whoever is gone is a holder no longer.
        for _ in 0..3 * HOLDERS {
            assert_eq!(arena.carrier().unwrap().carry(&cell), Some(cell.place()));
        }
        let all: Vec<_> = std::iter::from_fn(|| arena.carrier().ok()).collect();
        assert_eq!(all.len(), HOLDERS - 1, "this process is one");
        assert_eq!(arena.carrier().unwrap_err(), Errno::TOOMANYREFS);
        drop(all);
        arena.carrier().unwrap().carry(&cell);
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

/// Where no handler can be registered, the process id serves as the generation, and forks are not counted.
fn arena_needs_a_count_of_forks() {
    let is_counted = generation() < 1 << 31;
    assert_eq!(Arena::new(MIB).map(drop), if is_counted { Ok(()) } else { Err(Errno::NOMEM) });
}
