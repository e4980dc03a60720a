//! The lives of children as their parent sees them: CPython's `_TestProcess` and `_TestSubclassingProcess`, in every
//! world.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::CancelFd;
use ossature::multiprocessing::{Process, active_children, current_process};
use ossature::sys::fd::AsFd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::ExitStatus;

use crate::harness::descriptors;
use crate::worlds::{Scratch, World, put, runs, wait_for};

crate::in_every_world![
    a_child_knows_itself_and_its_parent,
    a_daemon_knows_that_it_is_one_and_has_no_children,
    a_child_is_started_then_stopped,
    a_terminated_child_tells_the_signal,
    a_killed_child_tells_the_signal,
    an_interrupted_child_tells_the_signal,
    the_low_eight_bits_of_an_answer_are_the_exit_code,
    an_error_is_printed_and_makes_code_one,
    a_panic_is_printed_and_comes_back,
    a_long_panic_is_cut_and_blocks_nobody,
    a_closed_process_answers_so,
    many_wait_for_one,
    a_wait_for_a_child_ends_when_it_is_cancelled,
    many_children_end_and_are_ended,
    names_tell_the_line_of_ancestors,
    a_sentinel_is_readable_from_the_end_on,
    a_child_waits_for_its_threads,
    a_child_without_streams_ends_well,
    a_dropped_child_lives_on_among_the_children,
    a_killed_parent_takes_its_daemons_and_the_others_see_it,
    a_panic_that_nobody_hears_leaves_the_finalizers,
    a_child_that_somebody_else_reaped_is_still_joined,
    nobody_is_signalled_after_the_end,
    joined_and_closed_children_hold_no_descriptor,
];

fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

// test_process, test_parent_process_attributes, test_process_mainthread_native_id
fn a_child_knows_itself_and_its_parent<W: World>() {
    let scratch = Scratch::new();
    let builder = Process::builder().name("clerk");
    let child = W::start_with(builder, "tell", &scratch.text("facts")).unwrap();
    assert!(child.join().unwrap().success());
    let facts = scratch.read("facts");
    let (me, pid) = (current_process(), child.pid().unwrap().as_raw_nonzero().get());
    assert_eq!((line(&facts, "name"), line(&facts, "pid")), ("clerk", pid.to_string().as_str()));
    assert_ne!(pid, me.pid().as_raw_nonzero().get());
    assert_eq!(line(&facts, "identity"), format!("{:?}", child.identity()));
    assert_eq!(line(&facts, "daemon"), "false");
    assert_eq!(line(&facts, "key"), format!("{:?}", me.authkey().unwrap().as_bytes()));
    assert_eq!(line(&facts, "children"), "0");
    let parent = format!("MainProcess {:?}", Some(me.pid().as_raw_nonzero().get()));
    assert_eq!((line(&facts, "parent"), line(&facts, "parent-alive")), (parent.as_str(), "true"));
    assert_eq!(line(&facts, "input"), "0");
    assert_eq!(line(&facts, "inherits"), "false");
    let [number] = child.identity() else { panic!("{child:?}") };
    assert_eq!(line(&facts, "next"), format!("Process-{number}:1"));
}

// test_daemon_argument
fn a_daemon_knows_that_it_is_one_and_has_no_children<W: World>() {
    let scratch = Scratch::new();
    let daemon = |job, file| {
        let child = W::start_with(Process::builder().daemon(true), job, &scratch.text(file)).unwrap();
        assert!(child.daemon() && format!("{child:?}").ends_with(" daemon>"));
        assert!(child.join().unwrap().success());
        scratch.read(file)
    };
    let facts = daemon("tell", "facts");
    assert_eq!((line(&facts, "daemon"), line(&facts, "inherits")), ("true", "true"));
    let refusal = daemon("child-of-daemon", "refusal");
    assert_eq!(refusal, "NotAllowed daemonic processes are not allowed to have children");
}

// test_process
fn a_child_is_started_then_stopped<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("until", &scratch.text("go"));
    let (me, pid) = (std::process::id(), child.pid().unwrap().as_raw_nonzero());
    let name = child.name();
    assert!(child.is_alive().unwrap() && active_children().contains(&child));
    assert_eq!((child.exit_code(), child.exit_status().unwrap()), (None, None));
    assert_eq!(format!("{child:?}"), format!("<Process name='{name}' pid={pid} parent={me} started>"));
    assert_eq!(child.join_timeout(Duration::from_millis(5)).unwrap(), None);
    put(&scratch.path("go"), "");
    assert_eq!(child.join().unwrap(), ExitStatus::Code(0));
    assert_eq!(child.join().unwrap(), ExitStatus::Code(0), "as often as one likes");
    assert_eq!(child.exit_code(), Some(0));
    assert!(!child.is_alive().unwrap() && !active_children().contains(&child));
    child.set_name("late");
    assert_eq!(format!("{child:?}"), format!("<Process name='late' pid={pid} parent={me} stopped exitcode=0>"));
}

fn ended_by<W: World>(end: fn(&Process) -> ossature::Result<()>, signal: i32, name: &str) {
    let child = W::start("sleep", "");
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        assert_eq!(child.join_timeout(timeout).unwrap(), None);
        assert!(child.is_alive().unwrap());
    }
    end(&child).unwrap();
    let exit = child.join().unwrap();
    assert_eq!((exit.signal(), child.exit_code()), (Some(signal), Some(-signal)));
    assert!(!child.is_alive().unwrap() && !active_children().contains(&child));
    assert!(format!("{child:?}").ends_with(&format!("stopped exitcode=-{name}>")), "{child:?}");
    assert_eq!(child.panic().unwrap(), None);
}

// test_terminate
fn a_terminated_child_tells_the_signal<W: World>() {
    ended_by::<W>(Process::terminate, libc::SIGTERM, "SIGTERM");
}

// test_kill
fn a_killed_child_tells_the_signal<W: World>() {
    ended_by::<W>(Process::kill, libc::SIGKILL, "SIGKILL");
}

// test_interrupt
fn an_interrupted_child_tells_the_signal<W: World>() {
    ended_by::<W>(Process::interrupt, libc::SIGINT, "SIGINT");
}

// test_sys_exit
fn the_low_eight_bits_of_an_answer_are_the_exit_code<W: World>() {
    for (answer, code) in [("0", 0), ("1", 1), ("8", 8), ("255", 255), ("256", 0), ("-1", 255), ("257", 1)] {
        let child = W::start("return", answer);
        assert_eq!(child.join().unwrap(), ExitStatus::Code(code), "{answer}");
        assert_eq!(child.exit_code(), Some(code.into()));
    }
}

// test_sys_exit
fn an_error_is_printed_and_makes_code_one<W: World>() {
    let scratch = Scratch::new();
    let child = W::start_with(Process::builder().name("clerk"), "fail-into", &scratch.text("err")).unwrap();
    assert_eq!(child.join().unwrap(), ExitStatus::Code(1));
    assert_eq!(scratch.read("err"), "Process clerk:\nError: \"out of ink\"\n");
    assert_eq!(child.panic().unwrap(), None);
}

// test_stderr_flush
fn a_panic_is_printed_and_comes_back<W: World>() {
    let scratch = Scratch::new();
    let child = W::start_with(Process::builder().name("clerk"), "panic-into", &scratch.text("err")).unwrap();
    assert_eq!(child.join().unwrap(), ExitStatus::Code(1));
    let (panic, said) = (child.panic().unwrap().expect("it panicked"), scratch.read("err"));
    assert_eq!(panic.message(), "no more paper");
    assert!(panic.location().contains("worlds.rs:"), "{panic:?}");
    let shown = format!("Process clerk:\npanicked at {}:\nno more paper\n", panic.location());
    assert!(said.starts_with(&shown), "{said}");
    assert_eq!(panic.backtrace().is_some(), said.contains("stack backtrace:"), "{said}");
    assert_eq!(said.matches("no more paper").count(), 1, "{said}");
}

fn a_long_panic_is_cut_and_blocks_nobody<W: World>() {
    let child = W::start("panic-at-length", "300000");
    assert_eq!(child.join().unwrap(), ExitStatus::Code(1));
    let panic = child.panic().unwrap().expect("it panicked");
    let (text, cut) = panic.message().split_once("... ").expect("says that it is cut");
    assert!(text.len() > 1000 && text.chars().all(|c| c == 'x'));
    assert_eq!(cut, format!("[{} bytes more]", 300_000 - text.len()));
}

// test_close
fn a_closed_process_answers_so<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("until", &scratch.text("go"));
    assert_eq!(child.close().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(child.is_alive().unwrap());
    put(&scratch.path("go"), "");
    child.join().unwrap();
    let other = child.clone();
    child.close().unwrap();
    child.close().unwrap();
    let closed = |error: ossature::Error| {
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Closed, "process object is closed"));
    };
    closed(child.is_alive().unwrap_err());
    closed(child.join().unwrap_err());
    closed(child.join_timeout(Duration::ZERO).unwrap_err());
    closed(child.terminate().unwrap_err());
    closed(child.kill().unwrap_err());
    closed(child.exit_status().unwrap_err());
    closed(child.panic().unwrap_err());
    closed(other.join().unwrap_err());
    assert_eq!(child.exit_code(), None);
    assert!(format!("{child:?}").ends_with(" closed>"), "{child:?}");
}

/// With and without a deadline, and while other threads check, signal and print.
fn many_wait_for_one<W: World>() {
    let child = W::start("sleep", "");
    let barrier = Barrier::new(9);
    let timed_out = Barrier::new(5);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(child.join().unwrap().signal(), Some(libc::SIGTERM));
            });
            scope.spawn(|| {
                let handle = child.clone();
                barrier.wait();
                let early = handle.join_timeout(Duration::from_millis(2));
                timed_out.wait();
                assert_eq!(early.unwrap(), None);
                let ended = handle.join_timeout(Duration::from_secs(40)).unwrap();
                assert_eq!(ended.and_then(ExitStatus::signal), Some(libc::SIGTERM));
            });
        }
        barrier.wait();
        // Nobody's wait stands in the way of these.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(20) {
            assert!(child.is_alive().unwrap() && format!("{child:?}").contains(" started"));
        }
        timed_out.wait();
        child.terminate().unwrap();
    });
    assert_eq!(child.exit_code(), Some(-libc::SIGTERM));
}

fn a_wait_for_a_child_ends_when_it_is_cancelled<W: World>() {
    let (child, quick) = (W::start("sleep", ""), W::start("return", "3"));
    let stop = CancelFd::new().unwrap();
    std::thread::scope(|scope| {
        let waiting = [None, Some(Duration::from_secs(60))].map(|limit| {
            let (child, stop) = (&child, &stop);
            scope.spawn(move || child.join_timeout(stop.within(limit)).unwrap())
        });
        std::thread::sleep(Duration::from_millis(10));
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "nothing else ends them");
        stop.cancel().unwrap();
        waiting.into_iter().for_each(|waiting| assert_eq!(waiting.join().unwrap(), None));
    });
    assert!(child.is_alive().unwrap());
    child.kill().unwrap();
    let ended = Instant::now();
    while poll(&mut [PollFd::new(&child, PollFlags::IN)], Duration::from_secs(60)).unwrap() == 0 {}
    // The end is seen by a wait that is cancelled already, as soon as there is something to see.
    while child.join_timeout(&stop).unwrap().is_none() {
        assert!(ended.elapsed() < Duration::from_secs(40), "nobody tells how it ended");
    }
    assert_eq!(child.exit_code(), Some(-libc::SIGKILL));
    stop.reset().unwrap();
    assert_eq!(quick.join_timeout(stop.within(Duration::from_secs(40))).unwrap(), Some(ExitStatus::Code(3)));
}

// test_many_processes
fn many_children_end_and_are_ended<W: World>() {
    let short: Vec<_> = (0..W::MANY).map(|n| W::start("return", &(n % 3).to_string())).collect();
    for (n, child) in short.iter().enumerate() {
        assert_eq!(child.join().unwrap(), ExitStatus::Code((n % 3) as u8));
    }
    let long: Vec<_> = (0..W::MANY).map(|_| W::start("sleep", "")).collect();
    assert_eq!(active_children(), long);
    long.iter().for_each(|child| child.terminate().unwrap());
    for child in &long {
        assert_eq!(child.join().unwrap().signal(), Some(libc::SIGTERM));
    }
    assert_eq!(active_children(), []);
}

// test_recursion
fn names_tell_the_line_of_ancestors<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("nest", &format!("2 {}", scratch.text("names")));
    assert!(child.join().unwrap().success());
    let root = child.name();
    let names: Vec<_> = ["", ":1", ":1:1", ":1:2", ":2", ":2:1", ":2:2"].map(|rest| format!("{root}{rest}")).into();
    assert_eq!(scratch.read("names").lines().collect::<Vec<_>>(), names);
    assert_eq!(root, format!("Process-{}", child.identity()[0]));
}

// test_sentinel
fn a_sentinel_is_readable_from_the_end_on<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("until", &scratch.text("go"));
    let readable = |timeout| {
        let mut list = [PollFd::from_borrowed(child.as_fd(), PollFlags::IN)];
        poll(&mut list, timeout).unwrap() == 1
    };
    assert!(!readable(Duration::from_millis(5)));
    put(&scratch.path("go"), "");
    assert!(readable(Duration::from_secs(40)));
    assert!(!child.is_alive().unwrap());
    assert!(readable(Duration::ZERO), "and stays so");
}

// test_wait_for_threads
fn a_child_waits_for_its_threads<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("say-threads", &scratch.text("word"));
    assert!(child.join().unwrap().success());
    assert_eq!(scratch.read("word"), "the thread's word");
}

// test_error_on_stdio_flush
fn a_child_without_streams_ends_well<W: World>() {
    assert_eq!(W::start("without-streams", "").join().unwrap(), ExitStatus::Code(0));
}

fn a_dropped_child_lives_on_among_the_children<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("until", &scratch.text("go"));
    let (name, pid) = (child.name(), child.pid().unwrap().as_raw_nonzero().get());
    drop(child);
    assert!(runs(pid));
    let found = active_children().into_iter().find(|child| child.name() == name).expect("it is listed");
    drop(found);
    put(&scratch.path("go"), "");
    while runs(pid) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_there = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(is_there() || !W::OURS, "a zombie");
    // The next start reaps it, as active_children would.
    let next = W::start("return", "0");
    assert!(!is_there(), "reaped");
    next.join().unwrap();
    // Of a server's child the end is known when the server has told of it, which may be later.
    while !active_children().is_empty() {
        assert!(!W::OURS);
        std::thread::sleep(Duration::from_millis(1));
    }
}

// test_parent_process
fn a_killed_parent_takes_its_daemons_and_the_others_see_it<W: World>() {
    let scratch = Scratch::new();
    let parent = W::start("two-generations", &scratch.text(""));
    wait_for(&scratch.path("ready"));
    // They block all signals, and one was started by a thread that has ended.
    let daemons = ["daemon", "daemon-of-thread"].map(|name| line(&scratch.read(name), "pid").parse().unwrap());
    assert!(daemons.into_iter().all(runs));
    parent.kill().unwrap();
    parent.join().unwrap();
    while daemons.into_iter().any(runs) {
        std::thread::sleep(Duration::from_millis(1));
    }
    wait_for(&scratch.path("seen"));
    assert_eq!(scratch.read("seen"), "true true false");
}

fn a_panic_that_nobody_hears_leaves_the_finalizers<W: World>() {
    let scratch = Scratch::new();
    let parent = W::start("leave-one-that-panics", &scratch.text(""));
    wait_for(&scratch.path("ready"));
    parent.kill().unwrap();
    parent.join().unwrap();
    let noted = || std::fs::read_to_string(scratch.path("log")).unwrap_or_default();
    while noted() != "0:true -1:true " {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn a_child_that_somebody_else_reaped_is_still_joined<W: World>() {
    let child = W::start("return", "7");
    let pid = child.pid().unwrap().as_raw_nonzero().get();
    // SAFETY: waitpid(2) may be given a null pointer for the status.
    let reaped = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert_eq!(reaped == pid, W::OURS);
    let exit = child.join().unwrap();
    assert!(exit == ExitStatus::Code(7) || exit == ExitStatus::Unknown, "{exit}");
    assert!(!child.is_alive().unwrap() && active_children().is_empty());
}

fn nobody_is_signalled_after_the_end<W: World>() {
    let child = W::start("return", "0");
    let mut list = [PollFd::from_borrowed(child.as_fd(), PollFlags::IN)];
    assert_eq!(poll(&mut list, Duration::from_secs(40)).unwrap(), 1);
    child.kill().unwrap(); // a zombie
    child.join().unwrap();
    child.kill().unwrap();
    child.terminate().unwrap();
    assert_eq!(child.exit_code(), Some(0));
}

fn joined_and_closed_children_hold_no_descriptor<W: World>() {
    W::start("return", "0").join().unwrap(); // with it come the descriptors of the way itself, the fork server's
    let before = descriptors();
    let children: Vec<Process> = (0..W::MANY).map(|_| W::start("return", "3")).collect();
    for (number, child) in children.iter().enumerate() {
        match number % 3 {
            0 => drop(child.join().unwrap()),
            1 => assert!(child.join_timeout(Duration::from_secs(60)).unwrap().is_some()),
            _ => while child.exit_code().is_none() {},
        }
    }
    assert_eq!(descriptors(), before);
    for child in &children {
        assert_eq!((child.exit_code(), child.is_alive().unwrap()), (Some(3), false));
        child.terminate().unwrap();
        child.close().unwrap();
    }
    assert_eq!(descriptors(), before);
}
