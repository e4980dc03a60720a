//! What concerns the fork of this process and nothing else: borrowing, inheriting, refusing; and what a child has anew.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, AuthKey, Family, Listener};
use ossature::multiprocessing::util::{ForkAwareLocal, ForkAwareLock, register_after_fork, temp_dir};
use ossature::multiprocessing::{
    Context, Process, active_children, cpu_count, current_process, force_start_method, get_start_method,
    parent_process, usable_cpus,
};
use ossature::sys::errno::Errno;
use ossature::sys::process::Exit;
use ossature::sys::sched::{CpuSet, affinity, set_affinity};
use ossature::threading::{Event, Thread};

use crate::harness::Test;
use crate::worlds::{Scratch, append, put, redirect, wait_for};

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
    ("a_callback_registers_another_for_the_children_after_it", a_callback_registers_another_for_the_children_after_it),
    ("callbacks_do_not_multiply_over_generations", callbacks_do_not_multiply_over_generations),
    ("a_lock_that_knows_of_forks_is_free_in_a_child", a_lock_that_knows_of_forks_is_free_in_a_child),
    ("a_local_that_knows_of_forks_is_fresh_in_a_child", a_local_that_knows_of_forks_is_fresh_in_a_child),
    ("a_local_of_the_parent_is_left_and_not_dropped", a_local_of_the_parent_is_left_and_not_dropped),
    ("a_temporary_directory_goes_with_its_maker", a_temporary_directory_goes_with_its_maker),
    ("a_long_path_gives_way_to_a_short_one", a_long_path_gives_way_to_a_short_one),
    ("an_unusable_place_gives_way_to_another", an_unusable_place_gives_way_to_another),
    ("few_descriptors_are_an_error_and_leave_no_directory", few_descriptors_are_an_error_and_leave_no_directory),
    ("what_a_killed_process_left_is_removed_by_the_next", what_a_killed_process_left_is_removed_by_the_next),
    ("what_another_uses_or_made_stays", what_another_uses_or_made_stays),
    ("a_sentinel_does_not_wait_for_grandchildren", a_sentinel_does_not_wait_for_grandchildren),
    ("quiet_exit_of_a_childs_main_thread_is_code_zero", quiet_exit_of_a_childs_main_thread_is_code_zero),
    ("a_child_may_leave_by_exit", a_child_may_leave_by_exit),
    ("handles_go_anywhere", handles_go_anywhere),
    ("a_plain_fork_keeps_the_default_method", a_plain_fork_keeps_the_default_method),
    ("a_daemon_in_a_new_namespace_ends_with_its_parent", a_daemon_in_a_new_namespace_ends_with_its_parent),
    ("the_file_of_a_listener_goes_at_the_end_of_its_maker", the_file_of_a_listener_goes_at_the_end_of_its_maker),
    ("processors_are_counted", processors_are_counted),
];

#[track_caller]
fn succeeds(child: ossature::Result<Process>) {
    assert_eq!(child.unwrap().join().unwrap(), Exit::Code(0));
}

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
    assert_eq!(child.unwrap().join().unwrap(), Exit::Code(7));
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
        assert_eq!((child.exit_code(), child.exit().unwrap()), (None, None));
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
    assert_eq!(other.as_mut().unwrap().wait(), Ok(Exit::Code(0)));
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
    assert_eq!(program.as_mut().unwrap().wait(), Ok(Exit::Code(0)));
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
    assert_eq!(program.as_mut().unwrap().wait(), Ok(Exit::Code(0)));
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
        assert_eq!(other.wait(), Ok(Exit::Code(0)), "nor in a child of another fork");
        succeeds(Process::fork(|| {
            append(&log, "work ");
            register_after_fork(&log, |log| append(log, "three "));
            succeeds(Process::fork(|| ()));
        }));
    }));
    assert_eq!(scratch.read("log"), "one two work one two three ");
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

/// What the parent's value owns is not the child's to give back.
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

fn a_temporary_directory_goes_with_its_maker() {
    let scratch = Scratch::new();
    succeeds(Process::fork(|| {
        let path = temp_dir().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("pymp-") && name.len() == 13, "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(temp_dir().unwrap(), path);
        fs::write(path.join("left"), "").unwrap();
        succeeds(Process::fork(|| assert_eq!(temp_dir().unwrap(), path)));
        assert!(path.join("left").exists(), "its child left it alone");
        put(&scratch.path("path"), path.to_str().unwrap());
    }));
    assert!(!Path::new(&scratch.read("path")).exists());
}

fn a_long_path_gives_way_to_a_short_one() {
    let scratch = Scratch::new();
    for (length, stays) in [(75, true), (76, false)] {
        let long = scratch.path(&"l".repeat(length - scratch.path("").as_os_str().len()));
        fs::create_dir(&long).unwrap();
        assert_eq!(long.as_os_str().len(), length);
        succeeds(Process::fork(|| {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("TMPDIR", &long) };
            let path = temp_dir().unwrap();
            assert_eq!(path.starts_with(&long), stays, "{path:?}");
            assert!(path.join("listener-12345678").as_os_str().len() < 108);
        }));
    }
}

/// Runs `body` in a process of its own, whose temporary directory lies below `base`; answers with what the body says.
fn below(base: &Path, body: impl FnOnce() -> String) -> String {
    let scratch = Scratch::new();
    succeeds(Process::fork(|| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("TMPDIR", base) };
        put(&scratch.path("said"), &body());
    }));
    scratch.read("said")
}

fn own_directory() -> String {
    temp_dir().unwrap().to_str().unwrap().to_owned()
}

fn an_unusable_place_gives_way_to_another() {
    let scratch = Scratch::new();
    put(&scratch.path("file"), "");
    for base in ["nowhere", "file"] {
        let made = below(&scratch.path(base), || {
            let path = own_directory();
            let address = Address::arbitrary(Family::Unix).unwrap();
            drop(Listener::bind(address).unwrap());
            path
        });
        assert!(!made.starts_with(&scratch.text("")) && made.contains("/pymp-"), "{made}");
        assert!(!Path::new(&made).exists(), "removed at the end");
    }
}

fn few_descriptors_are_an_error_and_leave_no_directory() {
    for left in 0..5 {
        let scratch = Scratch::new();
        let child = ossature::sys::process::fork(|| {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("TMPDIR", scratch.path("")) };
            let limit = ossature::sys::process::Rlimit { current: Some(64), maximum: Some(64) };
            ossature::sys::process::set_rlimit(ossature::sys::process::Resource::Nofile, limit).unwrap();
            let mut files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
            files.truncate(files.len() - left);
            let made = temp_dir();
            drop(files);
            let count = fs::read_dir(scratch.path("")).unwrap().count();
            match made {
                Ok(_) => u8::from(count != 1),
                Err(error) => u8::from(error.errno() != Some(Errno::MFILE) || count != 0),
            }
        });
        assert_eq!(child.unwrap().wait(), Ok(Exit::Code(0)), "{left} left");
    }
}

/// A process below `base` that was killed with a directory of its own, if `kill`; otherwise it lives until the handle is killed.
fn with_directory(base: &Path, scratch: &Scratch) -> (ossature::sys::process::Child, String) {
    let said = scratch.path(&format!("said-{}", fs::read_dir(scratch.path("")).unwrap().count()));
    let child = ossature::sys::process::fork(|| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("TMPDIR", base) };
        let path = own_directory();
        fs::create_dir(Path::new(&path).join("folder")).unwrap();
        put(&Path::new(&path).join("folder").join("file"), "left");
        put(&said, &path);
        std::thread::sleep(Duration::from_secs(1000));
        0
    });
    wait_for(&said);
    (child.unwrap(), fs::read_to_string(said).unwrap())
}

fn what_a_killed_process_left_is_removed_by_the_next() {
    let scratch = Scratch::new();
    let base = scratch.path("base");
    fs::create_dir(&base).unwrap();
    let (mut killed, left) = with_directory(&base, &scratch);
    let (mut living, used) = with_directory(&base, &scratch);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(Path::new(&left).join("folder/file").exists());
    let made = below(&base, own_directory);
    assert!(!Path::new(&left).exists(), "its owner is gone");
    assert!(Path::new(&used).join("folder/file").exists(), "its owner lives");
    assert!(made != left && made != used && !Path::new(&made).exists());
    living.kill().unwrap();
    living.wait().unwrap();
    below(&base, own_directory);
    assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
}

fn what_another_uses_or_made_stays() {
    let scratch = Scratch::new();
    let base = scratch.path("base");
    fs::create_dir(&base).unwrap();
    // CPython's has the same name, and nobody's mark.
    let pythons = base.join("pymp-abcdefgh");
    fs::create_dir(&pythons).unwrap();
    fs::set_permissions(&pythons, fs::Permissions::from_mode(0o700)).unwrap();
    // Something marked elsewhere, to which a link leads.
    let elsewhere = scratch.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
    put(&elsewhere.join(".ossature"), "");
    std::os::unix::fs::symlink(&elsewhere, base.join("pymp-bcdefghi")).unwrap();
    // One that a child of the killed process uses on.
    let (ready, go) = (scratch.path("ready"), scratch.path("go"));
    let mut maker = ossature::sys::process::fork(|| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("TMPDIR", &base) };
        let path = own_directory();
        let child = Process::fork(|| {
            wait_for(&go);
            assert_eq!(own_directory(), path);
        });
        put(&ready, &path);
        child.unwrap().join().map_or(1, |_| 0)
    })
    .unwrap();
    wait_for(&ready);
    maker.kill().unwrap();
    maker.wait().unwrap();
    below(&base, own_directory);
    let used = scratch.read("ready");
    assert!(pythons.exists() && elsewhere.join(".ossature").exists() && Path::new(&used).exists());
    put(&go, "");
    while Path::new(&used).exists() {
        below(&base, own_directory);
    }
}

/// Python's is a pipe, which children of the child hold open too.
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
    assert_eq!(child.unwrap().join().unwrap(), Exit::Code(5));
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
    assert_eq!(joined.join().unwrap(), Exit::Code(0));
    assert_eq!(child.exit_code(), Some(0));
}

fn a_plain_fork_keeps_the_default_method() {
    force_start_method(Context::Spawn);
    succeeds(Process::fork(|| assert_eq!(get_start_method(), Context::Spawn)));
    let named = Process::builder().context(Context::Fork);
    succeeds(named.fork(|| assert_eq!(get_start_method(), Context::Fork)));
    assert_eq!(get_start_method(), Context::Spawn);
}

/// There the parent has no number: the first process of a pid namespace has none above it.
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
    assert_eq!(maker.as_mut().unwrap().wait(), Ok(Exit::Code(3)));
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
