//! Starts in a process without some of its standard streams: no descriptor of this library takes their numbers.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Context, Process, set_forkserver_preload, stop_forkserver};
use ossature::sys::process::ExitStatus;

use crate::harness::{Test, pipe};

pub const TESTS: &[Test] = &[
    ("closed_streams_stay_closed_and_reports_arrive", closed_streams_stay_closed_and_reports_arrive),
    ("server_without_streams_keeps_its_sockets_off_them", server_without_streams_keeps_its_sockets_off_them),
    ("bytes_that_are_no_report_are_not_taken_for_one", bytes_that_are_no_report_are_not_taken_for_one),
    ("start_does_not_wait_for_a_stuck_standard_output", start_does_not_wait_for_a_stuck_standard_output),
];

const PATIENCE: Duration = Duration::from_secs(30);

fn is_open(number: i32) -> bool {
    // SAFETY: F_GETFD takes a number, and reads only.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Whether one of these numbers is a socket, a pipe or a set: here (1), or for a longer time in the parent (2), which
/// may be the fork server.
pub fn look_for_private(numbers: Vec<i32>) -> u8 {
    let is_private = |pid: u32, number: i32| {
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default();
        let target = target.to_string_lossy();
        ["socket:", "pipe:", "anon_inode:", "/memfd:"].iter().any(|kind| target.starts_with(kind))
    };
    let taken = |pid| numbers.iter().any(|&number| is_private(pid, number));
    // What the server is just receiving has the lowest number for an instant, before the server moves it.
    let stays = |pid| {
        (0..100).all(|_| {
            std::thread::sleep(Duration::from_millis(5));
            taken(pid)
        })
    };
    u8::from(taken(std::process::id())) | u8::from(stays(std::os::unix::process::parent_id())) << 1
}

/// Runs in a process of its own: closes the streams, and starts children by this method that panic and that wait.
pub fn close_and_start(closed: Vec<i32>, method: String) -> u8 {
    let method: Context = method.parse().unwrap();
    // SAFETY: nothing in this process owns the standard streams by their numbers.
    closed.iter().for_each(|&number| assert_eq!(unsafe { libc::close(number) }, 0));
    let taken = || closed.iter().any(|&number| is_open(number));
    for daemon in [false, true] {
        let builder = Process::builder().context(method).daemon(daemon);
        let (read, hold) = pipe();
        // Of the pipe the program has whatever numbers are free.
        let (read, hold) = (Handle(above(read)), above(hold));
        let process = builder.start(crate::forkserver::wait_for_end, (read,)).unwrap();
        if taken() {
            return 2;
        }
        // A copy has the other end as well, and waits for its own.
        process.kill().unwrap();
        drop(hold);
        process.join_timeout(PATIENCE).unwrap().expect("it does not end");
    }
    let looks = Process::builder().context(method).start(look_for_private, (closed.clone(),)).unwrap();
    match looks.join_timeout(PATIENCE).unwrap() {
        Some(ExitStatus::Code(0)) => drop(looks),
        Some(ExitStatus::Code(code @ 1..4)) => return 10 + code,
        _ => return 4,
    }
    let process = Process::builder()
        .context(method)
        .start(crate::spawn::panic_with, ("no ink; this is meant to be seen".to_owned(),))
        .unwrap();
    let exit = process.join_timeout(PATIENCE).unwrap();
    let message = process.panic().unwrap().map(|panic| panic.message().to_owned());
    drop(process);
    let stopped = stop_forkserver(PATIENCE).unwrap();
    match (exit, message.as_deref()) {
        (Some(ExitStatus::Code(1)), Some("no ink; this is meant to be seen")) if stopped && !taken() => 0,
        _ => 3,
    }
}

/// An exec opens streams that were closed, so the server closes its own streams here.
pub fn preload_and_close() {
    // SAFETY: nothing in the server owns the standard streams by their numbers.
    (0..3).for_each(|number| assert_eq!(unsafe { libc::close(number) }, 0));
}

/// Runs in a process of its own, because the settings stay.
pub fn start_without_streams() -> u8 {
    set_forkserver_preload(preload_and_close).unwrap();
    let start = || Process::builder().context(Context::Forkserver).start(look_for_private, (vec![0, 1, 2],)).unwrap();
    // The first child was there before the second was asked for.
    let found = [start(), start()].map(|process| process.join_timeout(PATIENCE).unwrap());
    let stopped = stop_forkserver(PATIENCE).unwrap();
    match found {
        [Some(ExitStatus::Code(0)), Some(ExitStatus::Code(0))] if stopped => 0,
        [Some(ExitStatus::Code(one)), Some(ExitStatus::Code(other))] => 10 + (one | other),
        _ => 4,
    }
}

fn server_without_streams_keeps_its_sockets_off_them() {
    let process = Process::builder().context(Context::Spawn).start(start_without_streams, ()).unwrap();
    assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)), "{:?}", process.panic().unwrap());
}

fn bytes_that_are_no_report_are_not_taken_for_one() {
    // A child that writes into every pipe that it finds, the one to its parent among them.
    let process = Process::fork(|| -> u8 {
        for (number, target) in crate::harness::descriptors() {
            if number > 2 && target.starts_with("pipe:") {
                // SAFETY: write(2) reads that many bytes; the number was read off the list of what is open.
                unsafe { libc::write(number, [b'x'; 64].as_ptr().cast(), 64) };
            }
        }
        std::process::exit(1)
    });
    let process = process.unwrap();
    assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(1)));
    assert_eq!(process.panic().unwrap(), None);
}

fn above(file: File) -> File {
    if file.as_raw_fd() > 2 { file } else { file.try_clone().unwrap() }
}

fn closed_streams_stay_closed_and_reports_arrive() {
    for closed in [vec![0], vec![1], vec![2], vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]] {
        for method in [Context::Fork, Context::Spawn, Context::Forkserver] {
            let arguments = (closed.clone(), method.to_string());
            let process = Process::builder().context(Context::Spawn).start(close_and_start, arguments).unwrap();
            let end = process.join_timeout(PATIENCE).unwrap();
            assert_eq!(end, Some(ExitStatus::Code(0)), "{method} without {closed:?}: {:?}", process.panic().unwrap());
        }
    }
}

/// Whether a thread of this process waits inside write(2).
fn prints_and_waits() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let waits = |task: std::fs::DirEntry| {
        let call = std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        call.split_whitespace().next() == Some(&libc::SYS_write.to_string())
    };
    tasks.into_iter().any(waits)
}

/// Runs in a process of its own: a thread blocks in a print, because the output is not read.
pub fn print_and_start(Handle(out): Handle<File>, Handle(mut tell): Handle<File>) -> u8 {
    // SAFETY: standard output is only ever borrowed by its number.
    assert_eq!(unsafe { libc::dup2(out.as_raw_fd(), 1) }, 1);
    drop(out);
    let printer = std::thread::spawn(|| println!("{}", "x".repeat(1 << 20)));
    while !prints_and_waits() {
        std::thread::yield_now();
    }
    let mut codes = Vec::new();
    for method in [Context::Spawn, Context::Forkserver] {
        let process = Process::builder().context(method).start(crate::spawn::none, ()).unwrap();
        codes.push(process.join_timeout(PATIENCE).unwrap());
    }
    let refused = Process::fork(|| ()).unwrap_err();
    tell.write_all(b"s").unwrap();
    printer.join().unwrap();
    let stopped = stop_forkserver(PATIENCE).unwrap();
    u8::from(codes != [Some(ExitStatus::Code(11)); 2] || refused.kind() != ErrorKind::MultiThreaded || !stopped)
}

fn start_does_not_wait_for_a_stuck_standard_output() {
    let ((mut stuck, out), (mut told, tell)) = (pipe(), pipe());
    let process = Process::builder().context(Context::Spawn);
    let process = process.start(print_and_start, (Handle(out), Handle(tell))).unwrap();
    told.read_exact(&mut [0]).expect("it starts all the same");
    let mut printed = Vec::new();
    stuck.read_to_end(&mut printed).unwrap();
    assert_eq!(printed.len(), (1 << 20) + 1);
    assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)));
}
