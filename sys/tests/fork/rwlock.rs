//! The reader-writer lock between processes, after a death at any instruction.

use std::time::Duration;

use ossature_sys::eventfd::EventFd;
use ossature_sys::process::{Child, ExitStatus, ForkError, exit, fork, fork_unchecked};
use ossature_sys::ptrace::{self, State};
use ossature_sys::scope::{LockBackend, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rwlock::RwLock;

use crate::handover::{Conductor, PATIENCE, asleep, until};
use crate::harness::{self, Test};
use crate::still::standing_behind;

pub const TESTS: &[Test] = &[
    ("reader_killed_at_any_instruction_keeps_nobody_out", reader_is_killed),
    ("reader_killed_at_any_instruction_beside_a_waiting_writer_lets_it_in", reader_is_killed_beside_a_writer),
    ("reader_killed_at_any_instruction_behind_a_writer_keeps_nobody_out", reader_is_killed_behind_a_writer),
    ("writer_killed_at_any_instruction_abandons_what_it_began", writer_is_killed),
    ("writer_killed_at_any_instruction_of_its_end_wakes_those_who_wait", ending_writer_is_killed),
    ("writer_killed_at_any_instruction_of_its_wait_changes_nothing", waiting_writer_is_killed),
    ("killed_chosen_writer_leaves_the_share_to_another", killed_chosen_writer_leaves_the_share_to_another),
    ("more_than_120_processes_read_and_the_killed_ones_leave", more_than_120_processes_read_and_the_killed_ones_leave),
    ("fork_refuses_while_a_share_is_held", fork_refuses_while_a_share_is_held),
    ("guards_of_a_copy_change_nothing", guards_of_a_copy_change_nothing),
];

/// A step that takes this long is most likely a system call that sleeps. If it is not, the test only checks less.
const SLEEPS: Duration = Duration::from_millis(20);

type Pair = RwLock<[u64; 2], Shared>;

fn place() -> Shm<Pair> {
    Shm::place(RwLock::shared([0, 0])).unwrap()
}

fn no_shares() -> bool {
    let none = Shared::backend() != LockBackend::Node;
    if none {
        println!("SKIPPED: readers have no shares here");
    }
    none
}

#[track_caller]
fn ends_well(child: &mut Child) {
    let end = child.wait_timeout(PATIENCE).unwrap();
    if end.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(end, Some(ExitStatus::Code(0)), "the child is not served");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(matches!(child.wait().unwrap(), ExitStatus::Signal { .. }));
}

/// Starts a child that sleeps in `wait`.
fn sleeper(wait: impl FnOnce()) -> Child {
    let about = EventFd::counter(0).unwrap();
    let child = fork(|| {
        about.add(1, PATIENCE).unwrap();
        wait();
        0
    });
    let child = child.unwrap();
    assert_eq!(about.take(PATIENCE), Ok(Some(1)));
    until("a child sleeps", || asleep(&child));
    child
}

/// Lets the child run `steps` instructions. Returns whether it ended before.
fn is_stepped_to_its_end(child: &mut Child, steps: usize) -> bool {
    (0..steps).any(|_| {
        ptrace::single_step(child).unwrap();
        !matches!(ptrace::wait(child, PATIENCE), Ok(Some(State::Stopped(_))))
    })
}

/// Runs `turn` in a child that has run `begin`, and kills the child after 1, 1 + stride, ... instructions, each time
/// with a new lock. `other` begins in a second child when the first is stopped at `turn`, and must end well after the
/// kill. `check` then checks the lock.
fn at_any_instruction(
    stride: usize,
    begin: impl Fn(&Pair),
    other: Option<&dyn Fn(&Pair)>,
    turn: impl Fn(&Pair),
    check: impl Fn(&Pair),
) {
    for steps in (1..).step_by(harness::stride(stride)) {
        let lock = place();
        let Some(mut child) = standing_behind(|| begin(&lock), |()| turn(&lock)) else { return };
        let mut beside = other.map(|other| sleeper(|| other(&lock)));
        let ended = is_stepped_to_its_end(&mut child, steps);
        if !ended {
            kill(child);
        }
        if let Some(beside) = &mut beside {
            ends_well(beside);
        }
        check(&lock);
        if ended {
            assert!(steps > 50, "there was something to kill");
            return;
        }
    }
}

/// Checks that no thread has the lock, and that readers and writers get it at once.
#[track_caller]
fn is_free(lock: &Pair) {
    assert_eq!(lock.readers(), 0);
    drop(lock.try_write().unwrap().expect("free for a writer"));
    let reads = lock.try_read().unwrap().expect("free for a reader");
    assert!(lock.try_write().unwrap().is_none());
    drop(reads);
    assert!(!lock.is_locked());
}

#[track_caller]
fn is_free_and_whole(lock: &Pair) {
    is_free(lock);
    assert!(!lock.read().unwrap().abandoned(), "nobody died writing");
}

fn reader_is_killed() {
    if no_shares() {
        return;
    }
    let other = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let turn = |lock: &Pair| {
        drop(lock.read().unwrap());
        // Beside another lock, and twice.
        let held = other.lock().unwrap();
        let twice = [lock.read().unwrap(), lock.read().unwrap()];
        drop(held);
        drop(twice);
    };
    at_any_instruction(13, |_| (), None, turn, is_free_and_whole);
}

fn reader_is_killed_beside_a_writer() {
    if no_shares() {
        return;
    }
    let begin = |lock: &Pair| core::mem::forget(lock.read().unwrap());
    let writes = |lock: &Pair| {
        let mut guard = lock.write().unwrap();
        assert!(!guard.abandoned());
        guard[0] += 1;
    };
    // It reads again beside the writer that waits for it, and leaves.
    let turn = |lock: &Pair| drop(lock.read().unwrap());
    let check = |lock: &Pair| {
        is_free_and_whole(lock);
        assert_eq!(*lock.read().unwrap(), [1, 0]);
    };
    // The leaked share goes with the process.
    at_any_instruction(5, begin, Some(&writes), turn, check);
}

/// The writer leaves when the reader is about to sleep behind it. Then the reader has to take the turn.
fn reader_is_killed_behind_a_writer() {
    if no_shares() {
        return;
    }
    for steps in (1..).step_by(harness::stride(7)) {
        let lock = place();
        let Some(mut child) = standing_behind(|| (), |()| drop(lock.read().unwrap())) else { return };
        let mut held = Some(lock.write().unwrap());
        let mut ended = false;
        for _ in 0..steps {
            ptrace::single_step(&child).unwrap();
            let mut state = ptrace::wait(&mut child, if held.is_some() { SLEEPS } else { PATIENCE });
            if state == Ok(None) {
                // It sleeps.
                drop(held.take());
                state = ptrace::wait(&mut child, PATIENCE);
            }
            if !matches!(state, Ok(Some(State::Stopped(_)))) {
                ended = true;
                break;
            }
        }
        if !ended {
            kill(child);
        }
        drop(held);
        is_free_and_whole(&lock);
        if ended {
            assert!(steps > 100, "there was something to kill");
            return;
        }
    }
}

fn writer_is_killed() {
    if no_shares() {
        return;
    }
    let turn = |lock: &Pair| {
        let mut guard = lock.write().unwrap();
        for place in guard.iter_mut() {
            // SAFETY: the place is lent mutably; the stores shall not be joined.
            unsafe { core::ptr::write_volatile(place, 7) };
        }
    };
    let check = |lock: &Pair| {
        let guard = lock.try_read().unwrap().expect("free at once");
        let (data, abandoned) = (*guard, guard.abandoned());
        drop(guard);
        assert!(abandoned || data[0] == data[1], "{data:?}, and nobody was told");
        let mut guard = lock.try_write().unwrap().expect("free at once");
        assert_eq!(guard.abandoned(), abandoned);
        guard.mark_consistent();
        drop(guard);
        is_free_and_whole(lock);
    };
    at_any_instruction(3, |_| (), None, turn, check);
}

/// A reader and a writer sleep behind the writer when it ends.
fn ending_writer_is_killed() {
    if no_shares() {
        return;
    }
    for steps in (1..).step_by(harness::stride(5)) {
        let lock = place();
        let begin = || {
            let mut guard = lock.write().unwrap();
            *guard = [1, 1];
            guard
        };
        let Some(mut child) = standing_behind(begin, drop) else { return };
        let reads = || {
            let guard = lock.read().unwrap();
            assert_eq!(guard[0], guard[1]);
        };
        let mut others = [sleeper(reads), sleeper(|| lock.write().unwrap()[0] = 1)];
        let ended = is_stepped_to_its_end(&mut child, steps);
        if !ended {
            kill(child);
        }
        others.iter_mut().for_each(ends_well);
        let mut guard = lock.try_write().unwrap().expect("free at once");
        assert!(!guard.abandoned() || !ended);
        guard.mark_consistent();
        drop(guard);
        is_free_and_whole(&lock);
        if ended {
            assert!(steps > 50, "there was something to kill");
            return;
        }
    }
}

/// The writer waits for a reader, this process.
fn waiting_writer_is_killed() {
    if no_shares() {
        return;
    }
    for steps in (1..).step_by(harness::stride(11)) {
        let lock = place();
        // Teaches it that looking before sleeping does not pay, which takes two looks: the third is left out. It would
        // be most of the instructions.
        let held = lock.read().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    assert!(lock.write_timeout(Duration::from_millis(1)).unwrap().is_none());
                }
            });
        });
        drop(held);
        let turn = || {
            let taken = lock.write_timeout(Duration::from_millis(1)).unwrap();
            assert!(taken.is_none());
        };
        let Some(mut child) = standing_behind(|| (), |()| turn()) else { return };
        let reads = lock.read().unwrap();
        let ended = is_stepped_to_its_end(&mut child, steps);
        if !ended {
            kill(child);
        }
        drop(reads);
        if steps % 4 == 1 {
            // Whoever comes next opens what a dead writer has closed, a reader too.
            drop(lock.try_read().unwrap().expect("open"));
        }
        is_free_and_whole(&lock);
        if ended {
            assert!(steps > 100, "there was something to kill");
            return;
        }
    }
}

fn more_than_120_processes_read_and_the_killed_ones_leave() {
    const MANY: usize = 200;
    if no_shares() {
        return;
    }
    let lock = Shm::place(RwLock::<u64, Shared, MANY>::shared_with_capacity(0)).unwrap();
    let end = Shm::place(Event::shared()).unwrap();
    let mut readers: Vec<Child> = (0..MANY)
        .map(|_| {
            let reads = || {
                let guard = lock.read().unwrap();
                end.wait().unwrap();
                i32::from(*guard != 0) as u8
            };
            fork(reads).unwrap()
        })
        .collect();
    until("all read", || lock.readers() as usize == MANY);
    assert_eq!(lock.read().map(drop), Err(Refused::TableFull));
    let mut writer = sleeper(|| *lock.write().unwrap() = 1);
    let living = readers.split_off(MANY / 4);
    readers.into_iter().for_each(kill);
    assert_eq!(lock.readers() as usize, living.len(), "a killed reader has no share any more");
    assert!(lock.is_writing());
    end.set();
    for mut reader in living {
        ends_well(&mut reader);
    }
    ends_well(&mut writer);
    assert_eq!((lock.readers(), *lock.read().unwrap()), (0, 1));
}

/// Two writers wait, one for a share and one for the turn. The reader leaves, which chooses the first writer, and that
/// writer is killed before it can run.
fn killed_chosen_writer_leaves_the_share_to_another() {
    if no_shares() {
        return;
    }
    let Some(conductor) = Conductor::new() else { return };
    for barge in [false, true] {
        let lock = place();
        let turn = [0; 2].map(|_| EventFd::counter(0).unwrap());
        let mut children = [0, 1].map(|index| {
            let child = fork(|| {
                turn[index].take(PATIENCE).unwrap();
                lock.write().unwrap()[0] += 1;
                0
            });
            child.unwrap()
        });
        let reads = lock.read().unwrap();
        turn[0].add(1, PATIENCE).unwrap();
        until("the first writer waits for the share", || lock.is_writing() && asleep(&children[0]));
        turn[1].add(1, PATIENCE).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        until("the second writer waits for the turn", || asleep(&children[1]));
        conductor.conduct();
        drop(reads);
        if barge {
            assert!(lock.try_read().unwrap().is_none(), "the first has the turn");
        }
        children[0].kill().unwrap();
        conductor.relax();
        assert!(matches!(children[0].wait().unwrap(), ExitStatus::Signal { .. }));
        ends_well(&mut children[1]);
        is_free_and_whole(&lock);
        assert_eq!(*lock.read().unwrap(), [1, 0]);
    }
}

fn fork_refuses_while_a_share_is_held() {
    let lock = place();
    let guard = lock.read().unwrap();
    assert!(matches!(fork(|| 0), Err(ForkError::LockHeld)));
    drop(guard);
    let guard = lock.write().unwrap();
    assert!(matches!(fork(|| 0), Err(ForkError::LockHeld)));
    drop(guard);
    ends_well(&mut fork(|| 0).unwrap());
}

fn guards_of_a_copy_change_nothing() {
    let lock = place();
    for write in [false, true] {
        let mut reads = (!write).then(|| lock.read().unwrap());
        let mut writes = write.then(|| lock.write().unwrap());
        // SAFETY: this process has one thread; the child does what is written here and exits.
        let Some(mut copy) = (unsafe { fork_unchecked() }).unwrap() else {
            drop(reads.take());
            if let Some(mut guard) = writes.take() {
                guard.mark_consistent();
                guard.abandon();
            }
            exit(0);
        };
        ends_well(&mut copy);
        let mut other = fork_another(&lock);
        ends_well(&mut other);
        drop((reads, writes));
        is_free_and_whole(&lock);
    }
}

/// Starts a child that must fail to become the writer. It is forked without the check for shares, because this process
/// has one.
fn fork_another(lock: &Pair) -> Child {
    // SAFETY: this process has one thread; the child does what is written here and exits.
    let Some(child) = (unsafe { fork_unchecked() }).unwrap() else {
        exit(u8::from(!lock.is_locked() || lock.try_write().unwrap().is_some()));
    };
    child
}
