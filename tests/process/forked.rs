//! Processes started by fork: borrowing, inheriting, refusing, and the state that a child resets.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{AuthKey, Listener};
use ossature::multiprocessing::util::{ForkAwareLocal, ForkAwareLock, register_after_fork};
use ossature::multiprocessing::{
    Context, Process, active_children, cpu_count, current_process, force_start_method, get_start_method,
    parent_process, usable_cpus,
};
use ossature::sys::process::ExitStatus;
use ossature::sys::sched::{CpuSet, affinity, set_affinity};
use ossature::threading::{Event, Thread};

use crate::harness::Test;
use crate::worlds::{Scratch, append, put, redirect, succeeds, wait_for};

pub const TESTS: &[Test] = &[
    ("this_process_is_the_main_one", this_process_is_the_main_one),
    ("a_closure_borrows_and_answers", a_closure_borrows_and_answers),
    ("numbers_are_used_up_and_contexts_name", numbers_are_used_up_and_contexts_name),
    ("a_child_inherits_what_its_parent_says", a_child_inherits_what_its_parent_says),
    ("only_the_parent_may_wait", only_the_parent_may_wait),
    ("only_its_maker_may_start_a_builder", only_its_maker_may_start_a_builder),
    ("a_fork_beside_threads_is_refused", a_fork_beside_threads_is_refused),
    ("a_child_of_another_fork_has_a_fresh_table", a_child_of_another_fork_has_a_fresh_table),
    ("what_was_printed_is_printed_once", what_was_printed_is_printed_once),
    ("standard_input_is_empty_in_a_child", standard_input_is_empty_in_a_child),
    ("callbacks_after_a_fork_come_in_order", callbacks_after_a_fork_come_in_order),
    ("a_callback_goes_with_what_it_is_for", a_callback_goes_with_what_it_is_for),
    ("a_callback_registers_another_for_the_children_after_it", a_callback_registers_another_for_the_children_after_it),
    ("callbacks_do_not_multiply_over_generations", callbacks_do_not_multiply_over_generations),
    ("a_lock_that_knows_of_forks_is_free_in_a_child", a_lock_that_knows_of_forks_is_free_in_a_child),
    ("a_local_that_knows_of_forks_is_fresh_in_a_child", a_local_that_knows_of_forks_is_fresh_in_a_child),
    ("a_local_of_the_parent_is_left_and_not_dropped", a_local_of_the_parent_is_left_and_not_dropped),
    ("a_sentinel_does_not_wait_for_grandchildren", a_sentinel_does_not_wait_for_grandchildren),
    ("quiet_exit_of_a_childs_main_thread_is_code_zero", quiet_exit_of_a_childs_main_thread_is_code_zero),
    ("a_child_may_leave_by_exit", a_child_may_leave_by_exit),
    ("handles_go_anywhere", handles_go_anywhere),
    ("a_plain_fork_keeps_the_default_method", a_plain_fork_keeps_the_default_method),
    ("a_daemon_in_a_new_namespace_ends_with_its_parent", a_daemon_in_a_new_namespace_ends_with_its_parent),
    ("the_file_of_a_listener_goes_at_the_end_of_its_maker", the_file_of_a_listener_goes_at_the_end_of_its_maker),
    ("processors_are_counted", processors_are_counted),
];

// test_current, test_parent_process_attributes
fn this_process_is_the_main_one() {
    let me = current_process();
    assert_eq!((me.name().as_str(), me.daemon(), me.identity()), ("MainProcess", false, &[][..]));
    assert_eq!(me.pid().as_raw_nonzero().get(), std::process::id() as i32);
    assert_eq!(me.authkey().unwrap().as_bytes().len(), 32);
    assert_eq!(me.authkey().unwrap().as_bytes(), me.authkey().unwrap().as_bytes());
    assert!(parent_process().is_none());
    assert_eq!(format!("{me:?}"), "<_MainProcess name='MainProcess' parent=None started>");
    me.set_name("Chief");
    assert_eq!(current_process().name(), "Chief");
    succeeds(Process::fork(|| assert_eq!(parent_process().unwrap().name(), "Chief")));
    me.set_name("MainProcess");
}

fn a_closure_borrows_and_answers() {
    let (words, mut count) = (vec!["flesh", "blood"], 5);
    let child = Process::fork(|| {
        count += words.len();
        count as u8
    });
    assert_eq!(child.unwrap().join().unwrap(), ExitStatus::Code(7));
    assert_eq!((count, words.len()), (5, 2), "the child had its own");
    let code = |child: ossature::Result<Process>| child.unwrap().join().unwrap().code();
    assert_eq!(code(Process::fork(|| ())), Some(0));
    assert_eq!(code(Process::fork(|| ExitCode::from(42))), Some(42));
    assert_eq!(code(Process::fork(|| ExitCode::FAILURE)), Some(1));
    assert_eq!(code(Process::fork(|| Ok::<_, String>(9_u8))), Some(9));
    assert_eq!(code(Process::fork(|| -> Result<(), String> { Ok(()) })), Some(0));
    assert_eq!(code(Process::builder().context(Context::Fork).fork(|| 3)), Some(3));
}

fn numbers_are_used_up_and_contexts_name() {
    let number = |text: String| -> u32 {
        let name = text.split('\'').nth(1).unwrap().to_owned();
        name.rsplit('-').next().unwrap().parse().unwrap()
    };
    let unused = Process::builder();
    let text = format!("{unused:?}");
    let n = number(text.clone());
    assert_eq!(text, format!("<Process name='Process-{n}' parent={} initial>", std::process::id()));
    drop(unused);
    let named = Process::builder().name("clerk").daemon(true);
    assert_eq!(format!("{named:?}"), format!("<Process name='clerk' parent={} initial daemon>", std::process::id()));
    let child = Process::builder().context(Context::Fork).fork(|| {
        let told = format!("{:?}", current_process());
        assert!(told.starts_with("<ForkProcess name='ForkProcess-") && told.contains(" parent="), "{told}");
        let parent = format!("{:?}", parent_process().unwrap());
        assert!(parent.starts_with("<_ParentProcess name='MainProcess' pid=") && parent.ends_with(" started>"));
    });
    let child = child.unwrap();
    assert_eq!((child.name(), child.identity()), (format!("ForkProcess-{}", n + 2), &[n + 2][..]));
    assert!(format!("{child:?}").starts_with("<ForkProcess name='ForkProcess-"));
    assert!(child.join().unwrap().success());
}

fn a_child_inherits_what_its_parent_says() {
    let known = |key: &AuthKey| current_process().authkey().unwrap().as_bytes() == key.as_bytes();
    let (mine, given) = (current_process().authkey().unwrap(), AuthKey::from("other"));
    succeeds(Process::fork(|| assert!(known(&mine))));
    succeeds(Process::builder().authkey(given.clone()).fork(|| {
        assert!(known(&given));
        let last = AuthKey::from("last");
        current_process().set_authkey(last.clone());
        succeeds(Process::fork(|| assert!(known(&last))));
    }));
    assert!(known(&mine));
    let child = Process::fork(|| -> u8 { crate::harness::rest() }).unwrap();
    assert!(!child.daemon());
    child.kill().unwrap();
    child.join().unwrap();
}

// test_process: the assertions of join and is_alive
fn only_the_parent_may_wait() {
    let scratch = Scratch::new();
    let go = scratch.path("go");
    let child = Process::fork(|| wait_for(&go)).unwrap();
    succeeds(Process::fork(|| {
        assert_eq!(active_children(), []);
        let not_allowed = |error: ossature::Error, text: &str| {
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotAllowed, text));
        };
        not_allowed(child.join().unwrap_err(), "can only join a child process");
        not_allowed(child.join_timeout(Duration::ZERO).unwrap_err(), "can only join a child process");
        not_allowed(child.is_alive().unwrap_err(), "can only test a child process");
        assert_eq!((child.exit_code(), child.exit_status().unwrap()), (None, None));
        assert!(format!("{child:?}").ends_with(" unknown>"), "{child:?}");
        child.close().unwrap();
    }));
    assert!(child.is_alive().unwrap());
    // Whoever has the handle may send a signal, and it meets nobody else.
    succeeds(Process::fork_with(&child, |child| child.terminate().unwrap()));
    assert_eq!(child.join().unwrap().signal(), Some(libc::SIGTERM));
}

fn only_its_maker_may_start_a_builder() {
    let mut builder = Some(Process::builder());
    succeeds(Process::fork(|| {
        let error = builder.take().unwrap().fork(|| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAllowed);
        assert_eq!(error.to_string(), "can only start a process object created by current process");
    }));
    succeeds(builder.take().unwrap().fork(|| ()));
}

fn a_fork_beside_threads_is_refused() {
    let end = Arc::new(Event::new());
    let watched = end.clone();
    let thread = Thread::spawn(move || watched.wait()).unwrap();
    assert_eq!(Process::fork(|| ()).unwrap_err().kind(), ErrorKind::MultiThreaded);
    assert_eq!(active_children(), []);
    end.set();
    thread.join().unwrap();
    succeeds(Process::fork(|| ()));
}

fn a_child_of_another_fork_has_a_fresh_table() {
    let child = Process::fork(|| -> u8 { crate::harness::rest() }).unwrap();
    let mut other = ossature::sys::process::fork(|| {
        assert_eq!(current_process().name(), "MainProcess");
        assert_eq!(active_children(), []);
        succeeds(Process::fork(|| assert_eq!(parent_process().unwrap().name(), "MainProcess")));
        0
    });
    assert_eq!(other.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    assert_eq!(active_children(), std::slice::from_ref(&child));
    child.kill().unwrap();
    child.join().unwrap();
}

// MP-20: flushed before the fork
fn what_was_printed_is_printed_once() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let mut program = ossature::sys::process::fork(|| {
        redirect(1, &out);
        // The test runner has written to it before, and std keeps what is no whole line.
        print!("before, ");
        succeeds(Process::fork(|| print!("within, ")));
        print!("after");
        std::io::stdout().flush().unwrap();
        0
    });
    assert_eq!(program.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    assert_eq!(scratch.read("out"), "before, within, after");
}

// MP-264
fn standard_input_is_empty_in_a_child() {
    let (reader, writer) = crate::harness::pipe();
    (&writer).write_all(b"for the parent\n").unwrap();
    let mut program = ossature::sys::process::fork(|| {
        use std::os::fd::AsRawFd;
        // SAFETY: a standard stream, which nobody in this test owns by its number.
        assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0);
        succeeds(Process::fork(|| {
            let mut line = String::new();
            assert_eq!(std::io::stdin().read_line(&mut line).unwrap(), 0);
            let null = fs::metadata("/dev/null").unwrap();
            assert_eq!(fs::metadata("/proc/self/fd/0").unwrap().rdev(), null.rdev());
        }));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        assert_eq!(line, "for the parent\n");
        0
    });
    assert_eq!(program.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn callbacks_after_a_fork_come_in_order() {
    let scratch = Scratch::new();
    let log = Arc::new(scratch.path("log"));
    succeeds(Process::fork(|| {
        let gone = Arc::new(());
        let path = log.clone();
        register_after_fork(&log, |log| append(log, "one "));
        register_after_fork(&log, |_| panic!("a callback panics; this line is meant to be seen"));
        register_after_fork(&gone, move |_| append(&path, "gone "));
        register_after_fork(&log, |log| append(log, "two "));
        drop(gone);
        assert!(!log.exists(), "not in the process that registers");
        let mut other = ossature::sys::process::fork(|| u8::from(log.exists())).unwrap();
        assert_eq!(other.wait(), Ok(ExitStatus::Code(0)), "nor in a child of another fork");
        succeeds(Process::fork(|| {
            append(&log, "work ");
            register_after_fork(&log, |log| append(log, "three "));
            succeeds(Process::fork(|| ()));
        }));
    }));
    assert_eq!(scratch.read("log"), "one two work one two three ");
}

fn a_callback_goes_with_what_it_is_for() {
    struct Told(std::path::PathBuf);
    impl Drop for Told {
        fn drop(&mut self) {
            append(&self.0, "dropped ");
        }
    }
    let scratch = Scratch::new();
    let log = scratch.path("log");
    succeeds(Process::fork(|| {
        let (gone, owned) = (Arc::new(()), Told(log.clone()));
        register_after_fork(&gone, move |()| append(&owned.0, "called "));
        drop(gone);
        succeeds(Process::fork(|| append(&log, "work ")));
    }));
    assert_eq!(scratch.read("log"), "dropped work ");
}

fn a_callback_registers_another_for_the_children_after_it() {
    let scratch = Scratch::new();
    let log = Arc::new(scratch.path("log"));
    succeeds(Process::fork(|| {
        let other = log.clone();
        register_after_fork(&log, move |log| {
            append(log, "one ");
            register_after_fork(&other, |log| append(log, "two "));
        });
        succeeds(Process::fork(|| {
            append(&log, "work ");
            succeeds(Process::fork(|| ()));
        }));
    }));
    assert_eq!(scratch.read("log"), "one work one two ");
}

// TestForkAwareThreadLock
fn callbacks_do_not_multiply_over_generations() {
    fn descend(depth: u32, calls: &Arc<AtomicU32>, log: &Path) {
        if depth == 0 {
            return append(log, &calls.load(SeqCst).to_string());
        }
        succeeds(Process::fork(|| descend(depth - 1, calls, log)));
    }
    let scratch = Scratch::new();
    succeeds(Process::fork(|| {
        let calls = Arc::new(AtomicU32::new(0));
        register_after_fork(&calls, |calls| calls.store(calls.load(SeqCst) + 1, SeqCst));
        descend(5, &calls, &scratch.path("log"));
    }));
    assert_eq!(scratch.read("log"), "5");
}

fn a_lock_that_knows_of_forks_is_free_in_a_child() {
    static LOCK: ForkAwareLock = ForkAwareLock::new();
    let held = LOCK.lock();
    assert!(LOCK.try_lock().is_none());
    succeeds(Process::fork(|| {
        let held = LOCK.try_lock().expect("free in the child");
        assert!(LOCK.try_lock().is_none());
        succeeds(Process::fork(|| drop(LOCK.lock())));
        drop(held);
    }));
    assert!(LOCK.try_lock().is_none());
    drop(held);
    assert_eq!(format!("{LOCK:?}"), "ForkAwareLock { locked: false }");
}

fn a_local_that_knows_of_forks_is_fresh_in_a_child() {
    thread_local!(static LOCAL: ForkAwareLocal<Cell<u32>> = const { ForkAwareLocal::new(|| Cell::new(1)) });
    let change = |by: u32| LOCAL.with(|local| local.with(|value| value.replace(value.get() + by)));
    assert_eq!((change(6), change(0)), (1, 7));
    succeeds(Process::fork(|| assert_eq!((change(2), change(0)), (1, 3))));
    assert_eq!(change(0), 7);
}

/// A child must not give back what the parent's value owns.
fn a_local_of_the_parent_is_left_and_not_dropped() {
    struct Told(std::path::PathBuf);
    impl Drop for Told {
        fn drop(&mut self) {
            append(&self.0, "dropped ");
        }
    }
    let scratch = Scratch::new();
    let path = scratch.path("log");
    let local = ForkAwareLocal::new(|| Told(path.clone()));
    local.with(|told| append(&told.0, "parent "));
    succeeds(Process::fork(|| local.with(|told| append(&told.0, "child "))));
    assert_eq!(scratch.read("log"), "parent child ");
    drop(local);
    assert_eq!(scratch.read("log"), "parent child dropped ");
}

/// Python's sentinel is a pipe, which children of the child keep open too.
fn a_sentinel_does_not_wait_for_grandchildren() {
    let scratch = Scratch::new();
    let (go, pid) = (scratch.path("go"), scratch.path("pid"));
    let child = Process::fork(|| {
        // Of another's making, so that the end of the child does not wait for it.
        let other = ossature::sys::process::fork(|| {
            wait_for(&go);
            put(&pid, "");
            0
        });
        std::mem::forget(other);
    });
    assert!(child.unwrap().join().unwrap().success());
    assert!(!pid.exists());
    put(&go, "");
    wait_for(&pid);
}

fn quiet_exit_of_a_childs_main_thread_is_code_zero() {
    let scratch = Scratch::new();
    succeeds(Process::fork(|| -> u8 {
        redirect(2, &scratch.path("err"));
        ossature::thread::exit()
    }));
    assert_eq!(scratch.read("err"), "");
}

fn a_child_may_leave_by_exit() {
    let scratch = Scratch::new();
    let child = Process::fork(|| -> u8 {
        crate::finalizers::note_at_exit(&scratch.path("log"), &[-1, 0]);
        std::process::exit(5)
    });
    assert_eq!(child.unwrap().join().unwrap(), ExitStatus::Code(5));
    assert_eq!(scratch.read("log"), "0:true -1:true ");
}

fn handles_go_anywhere() {
    fn anywhere<T: Send + Sync + Clone + 'static>(_: &T) {}
    let child = Process::fork(|| ()).unwrap();
    anywhere(&child);
    let joined = std::thread::spawn({
        let child = child.clone();
        move || child.join().unwrap()
    });
    assert_eq!(joined.join().unwrap(), ExitStatus::Code(0));
    assert_eq!(child.exit_code(), Some(0));
}

fn a_plain_fork_keeps_the_default_method() {
    force_start_method(Context::Spawn);
    succeeds(Process::fork(|| assert_eq!(get_start_method(), Context::Spawn)));
    let named = Process::builder().context(Context::Fork);
    succeeds(named.fork(|| assert_eq!(get_start_method(), Context::Fork)));
    assert_eq!(get_start_method(), Context::Spawn);
}

/// The parent has no number there: the first process of a pid namespace has no process above it.
fn a_daemon_in_a_new_namespace_ends_with_its_parent() {
    let (mut told, tell) = crate::harness::pipe();
    let mut parent = ossature::sys::process::fork(|| {
        // SAFETY: a call without pointers, in a process of its own.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) } != 0 {
            eprintln!("skipped: no new pid namespace here");
            (&tell).write_all(b"s").unwrap();
        }
        let daemon = Process::builder().daemon(true).fork(|| -> u8 {
            (&tell).write_all(if parent_process().unwrap().is_alive().unwrap() { b"a" } else { b"d" }).unwrap();
            crate::harness::rest()
        });
        daemon.unwrap().join().map_or(1, |_| 2)
    })
    .unwrap();
    drop(tell);
    let mut word = [0];
    told.read_exact(&mut word).unwrap();
    assert_ne!(word, *b"d", "its parent counts as ended");
    assert_eq!(parent.try_wait(), Ok(None), "the daemon lives");
    parent.kill().unwrap();
    parent.wait().unwrap();
    told.read_to_end(&mut Vec::new()).unwrap(); // nobody has it open any more
}

// test_cpu_count
fn the_file_of_a_listener_goes_at_the_end_of_its_maker() {
    let scratch = Scratch::new();
    let path = scratch.path("listener");
    let mut maker = ossature::sys::process::fork(|| {
        let mut listener = Some(Listener::bind(path.as_path()).unwrap());
        succeeds(Process::fork(|| drop(listener.take())));
        assert!(path.exists(), "a copy was dropped");
        succeeds(Process::fork(|| {
            if path.exists() {
                std::process::exit(0)
            }
        }));
        assert!(path.exists(), "a child came to its end");
        std::mem::forget(listener);
        std::process::exit(3)
    });
    assert_eq!(maker.as_mut().unwrap().wait(), Ok(ExitStatus::Code(3)));
    assert!(!path.exists());
}

fn processors_are_counted() {
    let (all, usable) = (cpu_count().unwrap(), usable_cpus().unwrap());
    assert!(all >= 1 && usable >= 1, "{all} {usable}");
    assert_eq!(usable, std::thread::available_parallelism().unwrap().get().max(usable));
    succeeds(Process::fork(|| {
        let one = affinity(None).unwrap().iter().next().unwrap();
        set_affinity(None, &CpuSet::of([one])).unwrap();
        let counted = if cfg!(target_env = "musl") { 1 } else { all }; // usable or not
        assert_eq!((cpu_count().unwrap(), usable_cpus().unwrap()), (counted, 1));
    }));
}
