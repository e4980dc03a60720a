//! Processes beside libtest's threads. The binary `fork` has the tests that call fork for real.

use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::process::{
    self, Argument, Capabilities, Credentials, ExitStatus, ForkError, Pid, Plan, Resource, Signal, Usage, fork,
    generation,
};

use crate::support::soon;

#[test]
fn fork_is_refused_beside_the_threads_of_the_harness() {
    let mut ran = false;
    let refused = fork(|| {
        ran = true;
        0
    });
    assert_eq!(refused.unwrap_err(), ForkError::MultiThreaded);
    assert!(!ran);
}

#[test]
fn programs_start_from_many_threads_at_once() {
    soon(|| {
        std::thread::scope(|scope| {
            for code in 0..4 {
                scope.spawn(move || {
                    let script = format!("exit {code}\0");
                    let script = std::ffi::CStr::from_bytes_with_nul(script.as_bytes()).unwrap();
                    let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(script), Argument::END];
                    let plan = Plan::new(c"/bin/sh", &arguments).unwrap();
                    for _ in 0..10 {
                        assert_eq!(plan.start().unwrap().wait(), Ok(ExitStatus::Code(code)));
                    }
                });
            }
        });
    });
}

#[test]
fn child_is_waited_for_with_a_deadline_and_killed() {
    soon(|| {
        let arguments = [Argument::new(c"sleep"), Argument::new(c"1000"), Argument::END];
        let mut child = Plan::new(c"/bin/sleep", &arguments).unwrap().start().unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(20)), Ok(None));
        child.signal(Signal::INT).unwrap();
        assert_eq!(child.wait(), Ok(ExitStatus::Signal { signal: 2, core_dumped: false }));
    });
}

#[test]
fn pidfd_names_this_process_and_no_other() {
    let me = process::pidfd_open(process::id()).unwrap();
    assert_eq!(process::pidfd_wait(&me, Duration::from_millis(5)), Ok(None));
    let nobody = Pid::from_raw(i32::MAX - 1).unwrap();
    assert_eq!(process::pidfd_open(nobody).unwrap_err(), Errno::SRCH);
    assert_eq!(process::pidfd_send_signal(std::io::stdin(), Signal::KILL), Err(Errno::BADF));
}

#[test]
fn numbers_agree_with_the_standard_library() {
    assert_eq!(process::id().as_raw_nonzero().get() as u32, std::process::id());
    assert_eq!(process::effective_user(), rustix::process::geteuid().as_raw());
    assert_eq!(process::parent_id().unwrap().as_raw_nonzero().get() as u32, std::os::unix::process::parent_id());
    assert_eq!(generation(), generation());
}

#[test]
fn usage_grows_with_work() {
    let before = Usage::of_thread().unwrap();
    while Usage::of_thread().unwrap().user < before.user + Duration::from_millis(5) {
        std::hint::black_box(0_u64);
    }
    let process = Usage::of_self().unwrap();
    assert!(process.user + process.system >= Duration::from_millis(5), "{process:?}");
}

#[test]
fn limit_is_read_two_ways_alike() {
    let by_number = process::rlimit_of(process::id(), Resource::Nofile).unwrap();
    assert_eq!(process::rlimit(Resource::Nofile), Ok(by_number));
}

/// A line of the kernel's status of this thread, without its name.
fn told(name: &str) -> Vec<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn credentials_are_what_the_kernel_tells() {
    let Credentials { users, groups, capabilities, bounding, no_new_privileges } = Credentials::of_thread().unwrap();
    assert_eq!(told("Uid:")[..3], users.map(|id| id.to_string()));
    assert_eq!(told("Gid:")[..3], groups.map(|id| id.to_string()));
    let Capabilities { effective, permitted, inheritable } = capabilities;
    for (name, set) in [("CapEff:", effective), ("CapPrm:", permitted), ("CapInh:", inheritable), ("CapBnd:", bounding)]
    {
        assert_eq!(told(name), [format!("{set:016x}")], "{name}");
    }
    assert_eq!(told("NoNewPrivs:"), [u8::from(no_new_privileges).to_string()]);
    let mut room = [0; 1 << 16];
    let listed = process::supplementary_groups(&mut room).unwrap();
    assert_eq!(told("Groups:"), listed.iter().map(u32::to_string).collect::<Vec<_>>());
    assert_eq!(process::supplementary_groups(&mut []), Err(Errno::INVAL));
    assert_eq!([process::real_user(), process::real_group()], [users[0], groups[0]]);
    assert_eq!([process::effective_user(), process::effective_group()], [users[1], groups[1]]);
}

#[test]
fn capabilities_are_taken_and_never_given() {
    let before = Capabilities::of_thread().unwrap();
    // In a thread of its own, which they are of.
    let after = std::thread::spawn(move || {
        Capabilities::limit_to(Capabilities { effective: u64::MAX, permitted: u64::MAX, inheritable: u64::MAX })
            .unwrap();
        assert_eq!(Capabilities::of_thread().unwrap(), before);
        let lowest = before.permitted & before.permitted.wrapping_neg();
        Capabilities::limit_to(Capabilities { permitted: !lowest, ..before }).unwrap();
        (Capabilities::of_thread().unwrap(), lowest)
    });
    let (after, lowest) = after.join().unwrap();
    let less = Capabilities { effective: before.effective & !lowest, permitted: before.permitted & !lowest, ..before };
    assert_eq!(after, less);
    assert_eq!(Capabilities::of_thread().unwrap(), before, "the other threads keep theirs");
}
