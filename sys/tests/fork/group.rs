//! A process and others: groups, sessions, subreapers, limits.

use std::io::{Read, Write};
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::process::{self, Child, ExitStatus, Pid, Resource, Rlimit, Signal, fork};

use crate::harness::{Test, pipe};

pub const TESTS: &[Test] = &[
    ("signal_meets_the_whole_group", signal_meets_the_whole_group),
    ("session_is_started_by_no_group_leader", session_is_started_by_no_group_leader),
    ("subreaper_gets_the_orphans", subreaper_gets_the_orphans),
    ("parent_death_signal_comes_when_the_parent_dies", parent_death_signal_comes_when_the_parent_dies),
    ("limit_of_a_child_is_read_and_replaced", limit_of_a_child_is_read_and_replaced),
    ("limit_above_the_hard_one_is_refused", limit_above_the_hard_one_is_refused),
];

const PATIENCE: Duration = Duration::from_secs(20);

fn sleep_for_ever() -> u8 {
    crate::harness::rest()
}

fn signal_meets_the_whole_group() {
    let mut leader = fork(sleep_for_ever).unwrap();
    process::set_group(Some(leader.pid()), None).unwrap();
    let mut members: Vec<Child> = (0..3).map(|_| fork(sleep_for_ever).unwrap()).collect();
    for member in &members {
        process::set_group(Some(member.pid()), Some(leader.pid())).unwrap();
        assert_eq!(process::group_of(Some(member.pid())), Ok(Some(leader.pid())));
    }
    process::signal_group(leader.pid(), Signal::KILL).unwrap();
    members.push(fork(|| 1).unwrap());
    let ends: Vec<ExitStatus> = members.iter_mut().map(|member| member.wait().unwrap()).collect();
    assert_eq!(ends.iter().map(|end| end.python_code().unwrap()).collect::<Vec<_>>(), [-9, -9, -9, 1]);
    assert_eq!(leader.wait().unwrap().signal(), Some(9));
    assert_eq!(process::signal_group(leader.pid(), Signal::KILL), Err(Errno::SRCH));
}

fn session_is_started_by_no_group_leader() {
    let mut child = fork(|| {
        let session = process::new_session().unwrap();
        let mine = session == process::id() && process::session_of(None) == Ok(Some(session));
        u8::from(mine && process::group_of(None) == Ok(Some(session)) && process::new_session() == Err(Errno::PERM))
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
}

fn subreaper_gets_the_orphans() {
    let mut child = fork(|| {
        let before = process::is_subreaper().unwrap();
        process::become_subreaper().unwrap();
        let during = process::is_subreaper().unwrap();
        let me = process::id();
        let (mut reader, writer) = pipe();
        let mut middle = fork(|| {
            let parent = process::id();
            let orphan = fork(|| {
                while process::parent_id() == Some(parent) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                (&writer)
                    .write_all(&process::parent_id().map_or(0, |pid| pid.as_raw_nonzero().get()).to_ne_bytes())
                    .unwrap();
                0
            });
            u8::from(orphan.is_err())
        })
        .unwrap();
        assert_eq!(middle.wait(), Ok(ExitStatus::Code(0)));
        let mut parent = [0; 4];
        reader.read_exact(&mut parent).unwrap();
        // The orphan is a child here now, and is reaped as one.
        while crate::harness::has_children() {
            std::thread::sleep(Duration::from_millis(1));
        }
        process::resign_subreaper().unwrap();
        let after = process::is_subreaper().unwrap();
        u8::from((before, during, after, Pid::from_raw(i32::from_ne_bytes(parent))) == (false, true, false, Some(me)))
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
}

fn parent_death_signal_comes_when_the_parent_dies() {
    let (mut reader, writer) = pipe();
    let mut middle = fork(move || {
        let writer = writer;
        let (mut gate, ready) = pipe();
        let parent = process::id();
        let _orphan = fork(|| {
            process::set_parent_death_signal(Some(Signal::KILL)).unwrap();
            assert_eq!(process::parent_id(), Some(parent));
            (&ready).write_all(b"x").unwrap();
            let _open = &writer;
            sleep_for_ever()
        });
        gate.read_exact(&mut [0]).unwrap();
        0
    })
    .unwrap();
    assert_eq!(middle.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(0))));
    // The end of the file: the last holder of the pipe is dead.
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
}

fn limit_of_a_child_is_read_and_replaced() {
    let mut child = fork(sleep_for_ever).unwrap();
    let here = process::rlimit(Resource::Nofile).unwrap();
    assert_eq!(process::rlimit_of(child.pid(), Resource::Nofile), Ok(here));
    let lower = Rlimit { current: Some(19), ..here };
    assert_eq!(process::replace_rlimit(child.pid(), Resource::Nofile, lower), Ok(here));
    assert_eq!(process::rlimit_of(child.pid(), Resource::Nofile), Ok(lower));
    assert_eq!(process::rlimit(Resource::Nofile), Ok(here));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(process::rlimit_of(child.pid(), Resource::Nofile), Err(Errno::SRCH));
}

fn limit_above_the_hard_one_is_refused() {
    let wrong = Rlimit { current: Some(2), maximum: Some(1) };
    assert_eq!(process::set_rlimit(Resource::Core, wrong), Err(Errno::INVAL));
}
