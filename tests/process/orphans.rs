//! The parent process of the program, which reaps orphans.

use std::os::unix::process::parent_id;
use std::path::Path;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::Process;
use ossature::multiprocessing::process::reap_orphans;
use ossature::sys::process::{self, ExitStatus, is_subreaper};
use ossature::sys::signal::{self, Signal, SignalSet};

use crate::harness::Test;
use crate::worlds::{Scratch, put, wait_for};

pub const TESTS: &[Test] = &[
    ("orphans_are_reaped_and_no_handle_loses_an_exit", orphans_are_reaped_and_no_handle_loses_an_exit),
    ("signals_reach_the_program_and_its_end_is_told", signals_reach_the_program_and_its_end_is_told),
    ("reaping_beside_threads_is_refused", reaping_beside_threads_is_refused),
];

/// Leaves an orphan, which writes its number and, once it has a new parent, that parent's number.
fn leave_an_orphan(told: &Path) {
    let mut parent = process::fork(|| {
        let before = std::process::id();
        std::mem::forget(process::fork(|| {
            while parent_id() == before {
                std::thread::yield_now();
            }
            put(told, &format!("{} {}", std::process::id(), parent_id()));
            0
        }));
        0
    });
    assert_eq!(parent.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn orphans_are_reaped_and_no_handle_loses_an_exit() {
    let scratch = Scratch::new();
    let mut above = process::fork(|| {
        let stays = std::process::id();
        reap_orphans().unwrap();
        assert_eq!((parent_id(), is_subreaper()), (stays, Ok(false)));
        assert_eq!(signal::mask().unwrap(), SignalSet::EMPTY);
        for round in 0..20 {
            let told = scratch.path(&format!("orphan-{round}"));
            leave_an_orphan(&told);
            let child = Process::fork(move || round);
            let command = std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).status().unwrap();
            assert_eq!((child.unwrap().join().unwrap(), command.code()), (ExitStatus::Code(round), Some(3)));
            wait_for(&told);
            let text = scratch.read(&format!("orphan-{round}"));
            let (orphan, parent) = text.split_once(' ').unwrap();
            assert_eq!(parent, stays.to_string());
            while Path::new("/proc").join(orphan).exists() {
                std::thread::yield_now();
            }
        }
        7
    });
    assert_eq!(above.as_mut().unwrap().wait(), Ok(ExitStatus::Code(7)));
}

fn signals_reach_the_program_and_its_end_is_told() {
    let scratch = Scratch::new();
    let ready = scratch.path("ready");
    for (wanted, code) in [(Signal::TERM, 128 + 15), (Signal::USR1, 128 + 10)] {
        let _ = std::fs::remove_file(&ready);
        let mut above = process::fork(|| {
            reap_orphans().unwrap();
            put(&ready, "");
            std::thread::sleep(Duration::from_secs(1000));
            0
        })
        .unwrap();
        wait_for(&ready);
        above.signal(wanted).unwrap();
        assert_eq!(above.wait(), Ok(ExitStatus::Code(code)));
    }
}

fn reaping_beside_threads_is_refused() {
    let mut refused = process::fork(|| {
        let thread = std::thread::spawn(|| std::thread::sleep(Duration::from_secs(1000)));
        let error = reap_orphans().unwrap_err();
        let unchanged = is_subreaper() == Ok(false) && signal::mask().unwrap() == SignalSet::EMPTY;
        drop(thread);
        u8::from(error.kind() != ErrorKind::MultiThreaded || !unchanged)
    });
    assert_eq!(refused.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}
