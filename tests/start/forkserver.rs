//! The fork server: what its children inherit, and what happens to the server and the children when a process is
//! killed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{
    Context, Process, active_children, current_process, parent_process, set_executable, set_forkserver_preload,
    set_forkserver_spares, set_start_timeout, stop_forkserver,
};
use ossature::sys::errno::Errno;
use ossature::sys::process::{ExitStatus, Pid, Signal, parent_id, pidfd_open, pidfd_send_signal};

use crate::executable::Place;
use crate::harness::{Afterwards, Test, pipe};
use crate::spawn::in_directory;

pub const TESTS: &[Test] = &[
    ("forked_children_run_their_tasks", forked_children_run_their_tasks),
    ("forked_child_has_what_it_was_given_and_nothing_else", forked_child_has_what_it_was_given_and_nothing_else),
    ("forked_child_is_where_its_client_is_and_knows_it", forked_child_is_where_its_client_is_and_knows_it),
    ("ends_of_all_kinds_are_told", ends_of_all_kinds_are_told),
    ("refusals_of_forked_children_are_told", refusals_of_forked_children_are_told),
    ("killed_server_is_replaced_at_the_next_start", killed_server_is_replaced_at_the_next_start),
    ("children_of_a_killed_server_go_on", children_of_a_killed_server_go_on),
    ("exit_code_comes_late_from_a_stopped_server_and_is_not_lost", exit_code_comes_late_from_a_stopped_server),
    ("server_that_ends_late_is_reaped", server_that_ends_late_is_reaped),
    ("forked_child_does_not_wait_for_its_parents_server", forked_child_does_not_wait_for_its_parents_server),
    ("server_stays_until_it_has_told_of_all_ends", server_stays_until_it_has_told_of_all_ends),
    ("start_waits_for_the_start_of_a_server_by_its_deadline", start_waits_for_a_server_by_its_deadline),
    ("killed_spare_is_passed_over", killed_spare_is_passed_over),
    ("children_use_their_parents_server", children_use_their_parents_server),
    ("server_ends_with_its_last_user_though_all_are_killed", server_ends_with_its_last_user_though_all_are_killed),
    ("daemon_dies_with_its_client_though_the_server_died_first", daemon_dies_with_its_client_though_the_server_did),
    ("sleepers_of_tests_end_with_a_killed_test_program", sleepers_of_tests_end_with_a_killed_test_program),
    ("preloaded_work_is_done_once_and_found_by_all", preloaded_work_is_done_once_and_found_by_all),
    ("preload_that_ends_the_server_is_told_of", preload_that_ends_the_server_is_told_of),
    ("stopped_server_is_told_of_in_time", stopped_server_is_told_of_in_time),
    (
        "server_that_is_deaf_holds_a_start_no_longer_than_its_limit",
        server_that_is_deaf_holds_a_start_no_longer_than_its_limit,
    ),
    ("server_with_a_second_thread_says_so", server_with_a_second_thread_says_so),
    ("server_ignores_the_interrupt_and_its_children_do_not", server_ignores_the_interrupt_and_its_children_do_not),
];

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `test` with a server that has `spares` spare children, and then stops the server.
pub fn with_server(spares: u32, test: impl FnOnce()) {
    set_forkserver_spares(spares);
    test();
    assert!(stop_forkserver(PATIENCE).unwrap(), "the server does not end");
}

#[track_caller]
fn code_of(process: &Process) -> Option<i32> {
    assert!(process.join_timeout(PATIENCE).unwrap().is_some(), "it does not end");
    process.exit_code()
}

macro_rules! start {
    ($task:expr, $arguments:expr) => {
        Process::builder().context(Context::Forkserver).start($task, $arguments).unwrap()
    };
}

fn forked_children_run_their_tasks() {
    for spares in [0, 1, 3] {
        with_server(spares, || {
            let processes: Vec<_> = (0..8).map(|n| start!(crate::spawn::square, (n,))).collect();
            let codes: Vec<_> = processes.iter().map(code_of).collect();
            assert_eq!(codes, (0..8).map(|n| Some(n * n)).collect::<Vec<_>>());
            let bytes = vec![5; (1 << 20) + 1];
            assert_eq!(code_of(&start!(crate::spawn::sum, (bytes,))), Some(5));
        });
    }
}

fn forked_child_has_what_it_was_given_and_nothing_else() {
    for spares in [0, 1] {
        with_server(spares, || {
            // Another lives meanwhile, whose descriptors are the server's.
            let (read, hold) = pipe();
            let other = start!(wait_for_end, (Handle(read),));
            let (mut told, tell) = pipe();
            assert_eq!(code_of(&start!(crate::spawn::tell_descriptors, (Handle(tell),))), Some(0));
            drop(hold);
            assert_eq!(code_of(&other), Some(0));
            let mut text = String::new();
            told.read_to_string(&mut text).unwrap();
            let mut kinds: Vec<_> = text.split('|').skip(3).map(|open| open.split(':').next().unwrap()).collect();
            kinds.sort_unstable();
            // The pidfd of the client, the pipe, the way to the client and the way to the server.
            assert_eq!(kinds, ["anon_inode", "pipe", "socket", "socket"], "{text}");
        });
    }
}

pub fn wait_for_end(Handle(mut pipe): Handle<File>) {
    pipe.read_to_end(&mut Vec::new()).unwrap();
}

pub fn tell_place(Handle(mut tell): Handle<File>) {
    let parent = parent_process().unwrap();
    let is_server = parent.pid() != parent_id();
    let place = std::env::current_dir().unwrap();
    let pid = parent.pid().unwrap().as_raw_nonzero();
    let name = current_process().name().to_string();
    write!(tell, "{} {pid} {is_server} {} {name}", place.display(), parent.is_alive().unwrap()).unwrap();
}

fn forked_child_is_where_its_client_is_and_knows_it() {
    with_server(1, || {
        assert_eq!(code_of(&start!(crate::spawn::none, ())), Some(11)); // the server is where this was
        let (mut told, tell) = pipe();
        let process = in_directory("/usr".as_ref(), || start!(tell_place, (Handle(tell),)));
        let mut text = String::new();
        told.read_to_string(&mut text).unwrap();
        assert!(process.name().starts_with("ForkServerProcess-"), "{}", process.name());
        assert_eq!(text, format!("/usr {} true true {}", std::process::id(), process.name()));
        assert_eq!(code_of(&process), Some(0));
    });
}

fn ends_of_all_kinds_are_told() {
    with_server(1, || {
        let process = start!(crate::spawn::panic_with, ("no ink; this is meant to be seen".to_owned(),));
        assert_eq!(code_of(&process), Some(1));
        assert!(process.panic().unwrap().expect("it panicked").message().starts_with("no ink"));
        let (read, _hold) = pipe();
        let process = start!(wait_for_end, (Handle(read),));
        assert!(process.is_alive().unwrap());
        process.terminate().unwrap();
        assert_eq!(code_of(&process), Some(-15));
    });
}

fn refusals_of_forked_children_are_told() {
    with_server(1, || {
        let start = || Process::builder().context(Context::Forkserver);
        let error = start().start(crate::refused::take::<crate::refused::Never>, (crate::refused::odd(),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert!(error.to_string().contains("arguments of"), "{error}");
        let error =
            start().start(crate::refused::take::<crate::refused::Killed>, (crate::refused::odd(),)).unwrap_err();
        assert!(error.to_string().contains("signal 9"), "{error}");
        assert_eq!(code_of(&start!(crate::spawn::none, ())), Some(11));
    });
}

pub fn tell_server(Handle(mut tell): Handle<File>) {
    write!(tell, "{}", parent_id().unwrap().as_raw_nonzero()).unwrap();
}

/// The process number of the server, from one of its children.
pub fn server() -> Pid {
    let (mut told, tell) = pipe();
    let process = start!(tell_server, (Handle(tell),));
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(code_of(&process), Some(0));
    Pid::from_raw(text.parse().unwrap()).unwrap()
}

/// Kills a process, and checks that it ends.
fn kill(pid: Pid) {
    let pidfd = pidfd_open(pid).unwrap();
    pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
    assert!(ended(pid), "it does not end");
}

/// Whether a process ends, whichever process reaps it.
fn ended(pid: Pid) -> bool {
    match pidfd_open(pid) {
        Ok(pidfd) => {
            use ossature::sys::poll::{PollFd, PollFlags, poll};
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], PATIENCE).unwrap() == 1
        }
        Err(_) => true,
    }
}

fn killed_server_is_replaced_at_the_next_start() {
    for spares in [0, 2] {
        with_server(spares, || {
            let first = server();
            assert_eq!(server(), first);
            kill(first);
            let second = server();
            assert_ne!(second, first);
            assert_eq!(server(), second);
        });
    }
}

fn children_of_a_killed_server_go_on() {
    with_server(1, || {
        let (read, hold) = pipe();
        let process = start!(wait_for_end, (Handle(read),));
        kill(server());
        assert!(process.is_alive().unwrap());
        drop(hold);
        assert!(process.join_timeout(PATIENCE).unwrap().is_some());
        // Known only where the kernel remembers it.
        assert!([Some(0), None].contains(&process.exit_code()), "{:?}", process.exit_code());
    });
}

fn exit_code_comes_late_from_a_stopped_server() {
    with_server(1, || {
        let server = server();
        let signal = |signal| pidfd_send_signal(pidfd_open(server).unwrap(), signal).unwrap();
        let (read, hold) = pipe();
        let process = start!(wait_for_end, (Handle(read),));
        signal(Signal::STOP);
        drop(hold);
        assert!(ended(process.pid().unwrap()));
        // It has ended, and nobody knows how.
        assert_eq!(process.join_timeout(Duration::ZERO).unwrap(), None);
        assert!(!process.is_alive().unwrap());
        assert_eq!(process.exit_status().unwrap(), None);
        // A wait of its own begins before the word comes.
        let waiter = std::thread::spawn({
            let process = process.clone();
            move || process.join_timeout(PATIENCE)
        });
        signal(Signal::CONT);
        assert_eq!(waiter.join().unwrap().unwrap(), Some(ExitStatus::Code(0)));
        assert_eq!(code_of(&process), Some(0));
    });
}

fn server_that_ends_late_is_reaped() {
    let (read, hold) = pipe();
    let process = start!(wait_for_end, (Handle(read),));
    let server = server();
    // The child has the way to it too.
    assert!(!stop_forkserver(Duration::ZERO).unwrap());
    drop(hold);
    assert_eq!(code_of(&process), Some(0));
    assert!(ended(server));
    active_children();
    assert_eq!(pidfd_open(server).map(drop), Err(Errno::SRCH), "it is a zombie");
}

fn forked_child_does_not_wait_for_its_parents_server() {
    with_server(1, || {
        assert_eq!(code_of(&start!(crate::spawn::none, ())), Some(11));
        let child = Process::fork(|| u8::from(!stop_forkserver(PATIENCE).unwrap())).unwrap();
        assert_eq!(child.join_timeout(PATIENCE / 2).unwrap(), Some(ExitStatus::Code(0)));
        assert_eq!(code_of(&start!(crate::spawn::none, ())), Some(11));
    });
}

/// Gives up its server, and then waits.
pub fn let_go(Handle(mut tell): Handle<File>, read: Handle<File>) -> u8 {
    assert!(stop_forkserver(Duration::ZERO).unwrap());
    tell.write_all(b"g").unwrap();
    wait_for_end(read);
    42
}

fn server_stays_until_it_has_told_of_all_ends() {
    for spares in [0, 2] {
        set_forkserver_spares(spares);
        let (mut told, tell) = pipe();
        let (read, hold) = pipe();
        let process = start!(let_go, (Handle(tell), Handle(read)));
        told.read_exact(&mut [0]).unwrap();
        let server = server();
        assert!(!stop_forkserver(Duration::from_millis(50)).unwrap());
        // The spares go at once, and the child stays.
        while children_of(server).len() > 1 {
            std::thread::yield_now();
        }
        drop(hold);
        assert_eq!(code_of(&process), Some(42));
        assert!(ended(server));
        active_children();
    }
}

/// Runs in a process of its own, because the settings stay.
pub fn wait_for_a_slow_server(place: PathBuf) -> u8 {
    let start = || Process::builder().context(Context::Forkserver).start(crate::spawn::none, ());
    set_executable(place.join("slow"));
    let first = std::thread::spawn(start);
    // Its child is that of the thread.
    let has_child =
        |task: std::fs::DirEntry| std::fs::read(task.path().join("children")).is_ok_and(|list| !list.is_empty());
    while !std::fs::read_dir("/proc/self/task").unwrap().flatten().any(has_child) {
        std::thread::yield_now();
    }
    set_start_timeout(Duration::from_millis(50));
    let error = start().unwrap_err();
    // The first one comes to an end when somebody opens this.
    std::fs::write(place.join("fifo"), "").unwrap();
    assert_eq!(first.join().unwrap().unwrap_err().kind(), ErrorKind::StartFailed);
    u8::from(!error.to_string().contains("another thread"))
}

fn start_waits_for_a_server_by_its_deadline() {
    let place = Place::new("slow");
    let script = place.0.join("slow");
    std::fs::write(&script, format!("#!/bin/sh\n: < {}\n", place.0.join("fifo").display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Command::new("mkfifo").arg(place.0.join("fifo")).status().unwrap().success());
    let process = Process::builder().context(Context::Spawn).start(wait_for_a_slow_server, (place.0.clone(),));
    assert_eq!(code_of(&process.unwrap()), Some(0));
}

/// The children of a process, read from /proc.
fn children_of(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().unwrap())).collect()
}

fn killed_spare_is_passed_over() {
    with_server(2, || {
        let server = server();
        // Stopped, it cannot make others meanwhile.
        let stop = |signal| pidfd_send_signal(pidfd_open(server).unwrap(), signal).unwrap();
        while children_of(server).len() < 2 {
            std::thread::yield_now();
        }
        stop(Signal::STOP);
        children_of(server).into_iter().for_each(kill);
        let starter = std::thread::spawn(|| code_of(&start!(crate::spawn::none, ())));
        stop(Signal::CONT);
        assert_eq!(starter.join().unwrap(), Some(11));
    });
}

pub fn tell_childs_server(tell: Handle<File>) {
    assert_eq!(code_of(&Process::spawn(tell_server, (tell,)).unwrap()), Some(0));
}

fn children_use_their_parents_server() {
    with_server(1, || {
        let (mut told, tell) = pipe();
        let process = start!(tell_childs_server, (Handle(tell),));
        let mut text = String::new();
        told.read_to_string(&mut text).unwrap();
        assert_eq!(code_of(&process), Some(0));
        assert_eq!(text, server().as_raw_nonzero().to_string());
    });
}

/// Starts a server and a child, like a program that is then killed.
pub fn live_and_be_killed(Handle(mut tell): Handle<File>, go: Handle<File>, daemon: bool) {
    let copy = Handle(tell.try_clone().unwrap());
    let server = server();
    let builder = Process::builder().context(Context::Forkserver).daemon(daemon);
    let child = builder.start(use_server_when_told, (copy, go)).unwrap();
    writeln!(tell, "{} {}", server.as_raw_nonzero(), child.pid().unwrap().as_raw_nonzero()).unwrap();
    crate::harness::rest()
}

/// Waits for a command, and then reports which server it uses. Never ends.
pub fn use_server_when_told(Handle(mut tell): Handle<File>, Handle(mut go): Handle<File>) {
    if go.read_exact(&mut [0]).is_ok() {
        writeln!(tell, "{}", server().as_raw_nonzero()).unwrap();
    }
    sleep_for_ever(Handle(tell))
}

pub fn sleep_for_ever(_open: Handle<File>) {
    crate::harness::rest()
}

fn line(told: &mut File) -> String {
    let mut text = String::new();
    while !text.ends_with('\n') {
        let mut byte = [0];
        told.read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    text
}

/// Starts a process with a server and a child of its own. Returns it, both numbers, the pipe of their reports, and the
/// pipe for which the child waits.
fn parent_with_child(daemon: bool) -> (Process, Pid, Pid, File, File) {
    let ((mut told, tell), (go, say_go)) = (pipe(), pipe());
    let arguments = (Handle(tell), Handle(go), daemon);
    let client = Process::builder().context(Context::Spawn).start(live_and_be_killed, arguments).unwrap();
    let text = line(&mut told);
    let mut numbers = text.split_whitespace().map(|number| Pid::from_raw(number.parse().unwrap()).unwrap());
    (client, numbers.next().unwrap(), numbers.next().unwrap(), told, say_go)
}

fn server_ends_with_its_last_user_though_all_are_killed() {
    let (client, server, child, mut told, mut go) = parent_with_child(false);
    client.kill().unwrap();
    assert_eq!(code_of(&client), Some(-9));
    // The child is a user as well, and no daemon.
    go.write_all(b"g").unwrap();
    assert_eq!(line(&mut told).trim(), server.as_raw_nonzero().to_string(), "it has the same server still");
    kill(child);
    assert!(ended(server));
    told.read_to_end(&mut Vec::new()).unwrap(); // nobody has it any more
}

fn daemon_dies_with_its_client_though_the_server_did() {
    for server_first in [false, true] {
        let (client, server, child, mut told, _go) = parent_with_child(true);
        if server_first {
            kill(server);
            assert!(pidfd_open(child).is_ok(), "it lives as long as its client does");
        }
        client.kill().unwrap();
        assert_eq!(code_of(&client), Some(-9));
        assert!(ended(child) && ended(server));
        told.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// The argument of a run that has sleepers of every kind.
pub const SLEEPERS: &str = "--sleepers";

/// Starts the processes that the tests kill, as a test program does, and prints their numbers.
pub fn start_sleepers() {
    crate::harness::become_the_runner();
    let mut numbers = Vec::new();
    let forked = ossature::sys::process::fork(|| crate::harness::rest()).unwrap();
    // One that waits for what never comes, and would not see the end of anything.
    let deaf = ossature::sys::process::fork(|| {
        loop {
            std::thread::park();
        }
    });
    numbers.extend([forked.pid(), deaf.as_ref().unwrap().pid()]);
    let mut processes = Vec::new();
    for method in [Context::Fork, Context::Spawn, Context::Forkserver] {
        let (read, _hold) = pipe();
        let process = Process::builder().context(method).start(sleep_for_ever, (Handle(read),)).unwrap();
        numbers.push(process.pid().unwrap());
        processes.push(process);
    }
    let numbers: Vec<_> = numbers.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
    println!("{}", numbers.join(" "));
    crate::harness::rest()
}

fn sleepers_of_tests_end_with_a_killed_test_program() {
    let mut program =
        Command::new("/proc/self/exe").arg(SLEEPERS).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let text = line(&mut File::from(std::os::fd::OwnedFd::from(program.stdout.take().unwrap())));
    let sleepers: Vec<_> = text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
    assert_eq!(sleepers.len(), 5, "{text}");
    let open: Vec<_> = sleepers.iter().map(|pid| pidfd_open(*pid).unwrap()).collect();
    program.kill().unwrap();
    program.wait().unwrap();
    use ossature::sys::poll::{PollFd, PollFlags, poll};
    for (pid, pidfd) in sleepers.iter().zip(&open) {
        assert_eq!(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], PATIENCE), Ok(1), "{pid:?} goes on, of {text}");
    }
}

static PRELOADED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

pub fn preload() {
    PRELOADED.fetch_add(40, std::sync::atomic::Ordering::Relaxed);
}

pub fn preloaded() -> u8 {
    PRELOADED.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

pub fn preload_a_panic() {
    panic!("the preloaded work fails; this is meant to be seen");
}

/// Runs in a process of its own, because the settings stay.
pub fn preload_and_look() -> u8 {
    set_forkserver_preload(preload_a_panic).unwrap();
    set_forkserver_preload(preload).unwrap();
    let codes = [(), ()].map(|()| code_of(&start!(preloaded, ())));
    u8::from(codes != [Some(40), Some(40)])
}

fn preloaded_work_is_done_once_and_found_by_all() {
    assert_eq!(code_of(&Process::builder().context(Context::Spawn).start(preload_and_look, ()).unwrap()), Some(0));
}

pub fn preload_an_end() {
    std::process::exit(3)
}

pub fn preload_and_end() -> u8 {
    const TOLD: [&str; 4] = ["the fork server ended", "exit code 3", "preload", "next start makes a new fork server"];
    set_forkserver_preload(preload_an_end).unwrap();
    let error = Process::builder().context(Context::Forkserver).start(crate::spawn::none, ()).unwrap_err();
    let text = error.to_string();
    u8::from(error.kind() != ErrorKind::StartFailed || !TOLD.iter().all(|part| text.contains(part)))
}

fn preload_that_ends_the_server_is_told_of() {
    assert_eq!(code_of(&Process::builder().context(Context::Spawn).start(preload_and_end, ()).unwrap()), Some(0));
}

fn stopped_server_is_told_of_in_time() {
    with_server(0, || {
        let server = pidfd_open(server()).unwrap();
        pidfd_send_signal(&server, Signal::STOP).unwrap();
        let _afterwards = Afterwards(|| {
            set_start_timeout(Duration::from_secs(30));
            let _ = pidfd_send_signal(&server, Signal::CONT);
        });
        set_start_timeout(Duration::from_millis(50));
        let error = Process::builder().context(Context::Forkserver).start(crate::spawn::none, ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert!(error.to_string().contains("fork server did not make the new process within 50ms"), "{error}");
    });
}

/// The file by which the server of that client reports that it ends by itself.
fn word_of_the_deaf(client: u32) -> PathBuf {
    std::env::temp_dir().join(format!("ossature-deaf-{client}"))
}

/// Closes the sockets of the server, so that it receives no requests, and sleeps for a while.
pub fn preload_and_go_deaf() {
    for (number, target) in crate::harness::descriptors() {
        if number > 2 && target.starts_with("socket:") {
            // SAFETY: the owner of the number never uses or drops it, because this process ends below.
            unsafe { libc::close(number) };
        }
    }
    std::thread::sleep(Duration::from_secs(4));
    File::create(word_of_the_deaf(std::os::unix::process::parent_id())).unwrap();
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(0) }
}

/// Runs in a process of its own, because the settings stay.
pub fn ask_the_deaf() -> u8 {
    set_forkserver_preload(preload_and_go_deaf).unwrap();
    let limit = Duration::from_millis(300);
    let begun = std::time::Instant::now();
    let start = || Process::builder().context(Context::Forkserver).start_timeout(limit).start(crate::spawn::none, ());
    let error = start().unwrap_err();
    let took = begun.elapsed();
    let stopped = stop_forkserver(PATIENCE).unwrap();
    // The start had no time to wait for the server's own end, so it has not killed the server; the stop waits for that.
    let ended_by_itself = std::fs::remove_file(word_of_the_deaf(std::process::id())).is_ok();
    u8::from(error.kind() != ErrorKind::StartFailed)
        | u8::from(took > limit * 3) << 1
        | u8::from(!stopped) << 2
        | u8::from(!ended_by_itself) << 3
}

fn server_that_is_deaf_holds_a_start_no_longer_than_its_limit() {
    assert_eq!(code_of(&Process::builder().context(Context::Spawn).start(ask_the_deaf, ()).unwrap()), Some(0));
}

pub fn leave_a_thread() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
}

pub fn preload_a_thread() -> u8 {
    set_forkserver_preload(leave_a_thread).unwrap();
    let error = Process::builder().context(Context::Forkserver).start(crate::spawn::none, ()).unwrap_err();
    u8::from(error.kind() != ErrorKind::MultiThreaded)
}

fn server_with_a_second_thread_says_so() {
    assert_eq!(code_of(&Process::builder().context(Context::Spawn).start(preload_a_thread, ()).unwrap()), Some(0));
}

fn server_ignores_the_interrupt_and_its_children_do_not() {
    with_server(1, || {
        let server = server();
        pidfd_send_signal(pidfd_open(server).unwrap(), Signal::INT).unwrap();
        let (read, _hold) = pipe();
        let process = start!(wait_for_end, (Handle(read),));
        assert_eq!(self::server(), server);
        pidfd_send_signal(&process, Signal::INT).unwrap();
        assert_eq!(code_of(&process), Some(-2));
    });
}
