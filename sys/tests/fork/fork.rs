//! The closure form of fork: what the child may do, and when there is no child.

use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::process::{self, ExitStatus, ForkError, Resource, Rlimit, fork, fork_unchecked, generation};
use ossature_sys::pthread::{Kind, Options};
use ossature_sys::shm::Shm;
use ossature_sys::sync::lock::Lock;

use crate::handover::until;
use crate::harness::{Afterwards, Test, descriptors, pipe};

pub const TESTS: &[Test] = &[
    ("the_program_goes_on_in_a_child_that_is_watched", the_program_goes_on_in_a_child_that_is_watched),
    ("any_child_that_has_ended_is_reaped", any_child_that_has_ended_is_reaped),
    ("code_of_the_closure_is_the_exit_code", code_of_the_closure_is_the_exit_code),
    ("closure_borrows_and_changes_only_its_own_copy", closure_borrows_and_changes_only_its_own_copy),
    ("captured_values_are_dropped_once_in_each_process", captured_values_are_dropped_once_in_each_process),
    ("panic_in_the_child_ends_it_with_101", panic_in_the_child_ends_it_with_101),
    ("child_may_fork_and_wait_in_turn", child_may_fork_and_wait_in_turn),
    ("descriptors_move_into_the_child", descriptors_move_into_the_child),
    ("other_threads_refuse_the_fork", other_threads_refuse_the_fork),
    ("fork_right_after_a_join_succeeds", fork_right_after_a_join_succeeds),
    ("fork_waits_for_a_thread_that_is_leaving", fork_waits_for_a_thread_that_is_leaving),
    ("held_lock_refuses_the_fork", held_lock_refuses_the_fork),
    ("held_pthread_mutex_refuses_the_fork", held_pthread_mutex_refuses_the_fork),
    ("pthread_guard_does_nothing_in_the_child", pthread_guard_does_nothing_in_the_child),
    ("lock_taken_in_the_child_is_the_childs", lock_taken_in_the_child_is_the_childs),
    ("ignored_sigchld_refuses_the_fork", ignored_sigchld_refuses_the_fork),
    ("no_descriptor_left_is_an_error_before_the_child_runs", no_descriptor_left_is_an_error_before_the_child_runs),
    ("child_has_no_descriptor_more_than_its_parent", child_has_no_descriptor_more_than_its_parent),
    ("process_of_two_gibibytes_forks", process_of_two_gibibytes_forks),
    ("unchecked_fork_returns_twice", unchecked_fork_returns_twice),
    ("generation_differs_between_parent_and_child_only", generation_differs_between_parent_and_child_only),
    ("first_fork_changes_the_count_of_forks", first_fork_changes_the_count_of_forks),
    ("program_that_has_never_forked_counts_its_first", program_that_has_never_forked_counts_its_first),
    ("refusal_names_the_remedy", refusal_names_the_remedy),
];

fn code_of_the_closure_is_the_exit_code() {
    for code in [0, 1, 42, 255] {
        let mut child = fork(|| code).unwrap();
        assert_eq!(child.wait(), Ok(ExitStatus::Code(code)));
    }
}

fn closure_borrows_and_changes_only_its_own_copy() {
    let mut words = [String::from("os"), String::from("sature")];
    let mut child = fork(|| {
        words[1].push('!');
        words.concat().len() as u8
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(9)));
    assert_eq!(words[1], "sature");
}

fn captured_values_are_dropped_once_in_each_process() {
    struct Tell<'a>(&'a Cell<u32>, &'a std::fs::File);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            let mut pipe = self.1;
            pipe.write_all(&process::id().as_raw_nonzero().get().to_ne_bytes()).unwrap();
        }
    }
    let (mut reader, writer) = pipe();
    let drops = Cell::new(0);
    let tell = Tell(&drops, &writer);
    let mut child = fork(move || {
        let _mine = &tell;
        7
    })
    .unwrap();
    let pid = child.pid().as_raw_nonzero().get();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(7)));
    assert_eq!(drops.get(), 1);
    drop(writer);
    let mut who = Vec::new();
    reader.read_to_end(&mut who).unwrap();
    let mut who: Vec<i32> = who.chunks_exact(4).map(|one| i32::from_ne_bytes(one.try_into().unwrap())).collect();
    let mut expected = [process::id().as_raw_nonzero().get(), pid];
    who.sort_unstable();
    expected.sort_unstable();
    assert_eq!(who, expected);
}

fn panic_in_the_child_ends_it_with_101() {
    struct Unwound;
    impl Drop for Unwound {
        fn drop(&mut self) {
            assert!(!thread::panicking(), "the child must not unwind into the frames of its parent");
        }
    }
    let _frame = Unwound;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| fork(|| panic!("on purpose")).unwrap());
    std::panic::set_hook(hook);
    assert_eq!(caught.unwrap().wait(), Ok(ExitStatus::Code(101)));
}

fn child_may_fork_and_wait_in_turn() {
    let mut child = fork(|| {
        let mut grandchild = fork(|| 20).unwrap();
        grandchild.wait().unwrap().code().unwrap() + 1
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(21)));
}

fn descriptors_move_into_the_child() {
    let (mut reader, writer) = pipe();
    let mut child = fork(move || {
        let mut writer = writer;
        writer.write_all(b"bones").unwrap();
        0
    })
    .unwrap();
    // The parent's copy went with the closure: so there is an end of the file.
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bones");
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn other_threads_refuse_the_fork() {
    let gate = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| gate.wait());
        let mut ran = false;
        let refused = fork(|| {
            ran = true;
            0
        });
        assert_eq!(refused.unwrap_err(), ForkError::MultiThreaded);
        assert!(!ran);
        gate.wait();
    });
    assert_eq!(fork(|| 3).unwrap().wait(), Ok(ExitStatus::Code(3)));
}

/// A scope returns before the destructors of its threads' own data have run. On a busy machine these take long.
fn fork_waits_for_a_thread_that_is_leaving() {
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(30));
        }
    }
    thread_local!(static OWN: Slow = const { Slow });
    thread::scope(|scope| {
        scope.spawn(|| OWN.with(|_| ()));
    });
    assert_eq!(fork(|| 3).unwrap().wait(), Ok(ExitStatus::Code(3)));
}

/// A joined thread that gets no processor for 100 ms on its last instructions causes an error. The next attempt is
/// after the kernel has removed it from the list.
fn fork_right_after_a_join_succeeds() {
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let mut refused = 0;
    for round in 0..2_000 {
        thread::spawn(|| {}).join().unwrap();
        let mut child = fork(|| 0).unwrap_or_else(|error| {
            assert_eq!(error, ForkError::MultiThreaded, "round {round}");
            refused += 1;
            until("the thread has left", || threads() == 1);
            fork(|| 0).unwrap_or_else(|error| panic!("round {round}: {error}"))
        });
        assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    }
    assert!(refused < 20, "{refused} of 2,000 found the thread there");
}

fn held_lock_refuses_the_fork() {
    let shared = Shm::place(Lock::shared(0_u32)).unwrap();
    let guard = shared.lock().unwrap();
    let mut ran = false;
    let refused = fork(|| {
        ran = true;
        0
    });
    assert_eq!(refused.unwrap_err(), ForkError::LockHeld);
    assert!(!ran);
    drop(guard);
    assert_eq!(fork(|| 3).unwrap().wait(), Ok(ExitStatus::Code(3)));
}

fn held_pthread_mutex_refuses_the_fork() {
    for options in [Options::new(), Options::new().kind(Kind::Recursive), Options::new().robust()] {
        let mutex = options.leak().unwrap();
        let first = mutex.lock().unwrap();
        let other = Options::new().leak().unwrap();
        let second = other.lock().unwrap();
        drop(first);
        let mut ran = false;
        let refused = fork(|| {
            ran = true;
            0
        });
        assert_eq!(refused.unwrap_err(), ForkError::LockHeld);
        assert!(!ran);
        second.unlock().unwrap();
        assert_eq!(fork(|| 3).unwrap().wait(), Ok(ExitStatus::Code(3)), "{options:?}");
    }
}

fn pthread_guard_does_nothing_in_the_child() {
    for kind in [Kind::Normal, Kind::Recursive, Kind::ErrorChecking] {
        let (mutex, other) = (Options::new().kind(kind).leak().unwrap(), Options::new().leak().unwrap());
        let (guard, mut spare) = (mutex.lock().unwrap(), other.lock().unwrap());
        // SAFETY: one thread; the child ends by `exit`, and what it drops are guards, which know their process.
        match unsafe { fork_unchecked() }.unwrap() {
            None => {
                let refused = spare.make_consistent() == Err(Errno::PERM) && spare.unlock() == Err(Errno::PERM);
                drop(guard);
                let still_held = matches!((mutex.try_lock(), other.try_lock()), (Ok(None), Ok(None)));
                // Nothing is held by this process, so it may fork in turn; and not while it takes something itself.
                let free = fork(|| 9).is_ok_and(|mut child| child.wait() == Ok(ExitStatus::Code(9)));
                let own = Options::new().leak().unwrap();
                let _own = own.lock().unwrap();
                let held = fork(|| 0).is_err_and(|error| error == ForkError::LockHeld);
                process::exit(u8::from(refused) | u8::from(still_held) << 1 | u8::from(free) << 2 | u8::from(held) << 3)
            }
            Some(mut child) => assert_eq!(child.wait(), Ok(ExitStatus::Code(15)), "{kind:?}"),
        }
        assert!(fork(|| 0).is_err_and(|error| error == ForkError::LockHeld));
        guard.unlock().unwrap();
        spare.unlock().unwrap();
    }
}

fn lock_taken_in_the_child_is_the_childs() {
    let shared = Shm::place(Lock::shared(0_u32)).unwrap();
    *shared.lock().unwrap() += 1;
    let mut child = fork(|| {
        let mut guard = shared.lock().unwrap();
        *guard += 1;
        // Dies with it, and is told by the kernel under its own thread id.
        process::exit(1)
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
    let guard = shared.lock().unwrap();
    assert_eq!((*guard, guard.abandoned()), (2, true));
}

fn ignored_sigchld_refuses_the_fork() {
    // In a child, because the action is the whole process's.
    let mut child = fork(|| {
        // SAFETY: SIG_IGN is an action of signal(2).
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let ignored = fork(|| 0).unwrap_err();
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: zero is a sigaction: the default action, no flags.
        unsafe { action.assume_init_mut() }.sa_flags = libc::SA_NOCLDWAIT;
        // SAFETY: sigaction(2) reads one action.
        unsafe { libc::sigaction(libc::SIGCHLD, action.as_ptr(), std::ptr::null_mut()) };
        let not_kept = fork(|| 0).unwrap_err();
        // SAFETY: SIG_DFL is an action of signal(2).
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        let again = fork(|| 5).unwrap().wait();
        u8::from(
            (ignored, not_kept, again)
                == (ForkError::SigchldIgnored, ForkError::SigchldIgnored, Ok(ExitStatus::Code(5))),
        )
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
}

fn no_descriptor_left_is_an_error_before_the_child_runs() {
    let (mut reader, writer) = pipe();
    let limit = process::rlimit(Resource::Nofile).unwrap();
    let afterwards = Afterwards(|| process::set_rlimit(Resource::Nofile, limit).unwrap());
    process::set_rlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    let refused = fork(|| {
        (&writer).write_all(b"ran").unwrap();
        0
    });
    drop(afterwards);
    assert_eq!(refused.unwrap_err(), ForkError::Os(Errno::MFILE));
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}

fn child_has_no_descriptor_more_than_its_parent() {
    let before = descriptors();
    let mut child = fork(|| u8::from(descriptors() == before)).unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
}

fn process_of_two_gibibytes_forks() {
    const CHUNK: usize = 256 << 20;
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    let available: u64 = available.trim().trim_end_matches(" kB").parse().unwrap();
    if available < 3 << 20 {
        println!("SKIPPED: process_of_two_gibibytes_forks needs 3 GiB of memory, {} MiB are free", available >> 10);
        return;
    }
    let mut chunks = Vec::new();
    for index in 0..8_u8 {
        if Vec::<u8>::new().try_reserve_exact(CHUNK).is_err() {
            println!("SKIPPED: process_of_two_gibibytes_forks found room for {index} quarters of a GiB only");
            return;
        }
        let mut chunk = vec![0_u8; CHUNK];
        chunk.iter_mut().step_by(4096).for_each(|byte| *byte = index + 1);
        chunks.push(chunk);
    }
    let mut child = fork(|| {
        chunks[7][CHUNK - 4096] = 100;
        chunks.iter().map(|chunk| chunk[CHUNK - 4096]).sum()
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code((1..=7).sum::<u8>() + 100)));
    assert_eq!(chunks[7][CHUNK - 4096], 8);
}

fn unchecked_fork_returns_twice() {
    // SAFETY: one thread, and the child exits at once.
    match unsafe { fork_unchecked() }.unwrap() {
        None => process::exit(11),
        Some(mut child) => assert_eq!(child.wait(), Ok(ExitStatus::Code(11))),
    }
}

fn generation_differs_between_parent_and_child_only() {
    let here = generation();
    let mut child = fork(|| {
        let there = generation();
        let same_below = fork(|| u8::from(generation() != there && generation() != here)).unwrap().wait();
        u8::from(there != here && there == generation() && same_below == Ok(ExitStatus::Code(1)))
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
    assert_eq!(generation(), here);
}

fn first_fork_changes_the_count_of_forks() {
    let (mut reader, mut writer) = pipe();
    // No question before the fork: in a program of its own, this is the first.
    // SAFETY: one thread, and the child exits at once.
    match unsafe { fork_unchecked() }.unwrap() {
        None => {
            let told = writer.write_all(&generation().to_ne_bytes());
            process::exit(u8::from(told.is_err()))
        }
        Some(mut child) => {
            let mut there = [0; 4];
            reader.read_exact(&mut there).unwrap();
            assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
            assert_ne!(u32::from_ne_bytes(there), generation());
        }
    }
}

fn program_that_has_never_forked_counts_its_first() {
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new(this).arg("first_fork_changes").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed, 0 failed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn refusal_names_the_remedy() {
    assert!(ForkError::MultiThreaded.to_string().contains("join them first"));
    assert!(ForkError::LockHeld.to_string().contains("drop the guard"));
    assert!(ForkError::SigchldIgnored.to_string().contains("default action"));
    assert!(ForkError::Unproven.to_string().contains("/proc"));
    assert_eq!(ForkError::from(Errno::AGAIN).errno(), Errno::AGAIN);
}

fn the_program_goes_on_in_a_child_that_is_watched() {
    let (mut told, mut tell) = pipe();
    let mut process = fork(|| {
        let above = std::process::id();
        process::continue_in_child(|mut program| {
            let number = program.pid().as_raw_nonzero().get().to_string();
            match program.wait().unwrap() {
                ExitStatus::Code(3) => number.len() as u8,
                _ => 0,
            }
        })
        .unwrap();
        let me = std::process::id();
        assert!(me != above && process::parent_id().unwrap().as_raw_nonzero().get() == above as i32);
        tell.write_all(me.to_string().as_bytes()).unwrap();
        3
    })
    .unwrap();
    let end = process.wait();
    drop(tell);
    let mut number = String::new();
    told.read_to_string(&mut number).unwrap();
    assert_eq!(end, Ok(ExitStatus::Code(number.len() as u8)));
}

fn any_child_that_has_ended_is_reaped() {
    assert_eq!(process::reap_any(), Ok(None));
    let (reader, writer) = pipe();
    let child = fork(|| {
        (&reader).read_exact(&mut [0]).unwrap();
        5
    })
    .unwrap();
    assert_eq!(process::reap_any(), Ok(None), "it lives");
    (&writer).write_all(b"x").unwrap();
    let reaped = loop {
        match process::reap_any().unwrap() {
            Some(reaped) => break reaped,
            None => thread::yield_now(),
        }
    };
    assert_eq!(reaped, (child.pid(), ExitStatus::Code(5)));
}
