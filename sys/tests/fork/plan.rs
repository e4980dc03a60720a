//! Programs started from a plan: all of its options, and its error texts.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};

use ossature_sys::errno::Errno;
use ossature_sys::process::{
    self, Argument, ExitStatus, Group, Identity, Inherit, MissingEnd, Pid, Plan, Resource, Rlimit, Signal, Stage, fork,
};

use crate::harness::{Test, pipe};

pub const TESTS: &[Test] = &[
    ("plan_runs_a_program_with_its_arguments", plan_runs_a_program_with_its_arguments),
    ("environment_is_inherited_or_given", environment_is_inherited_or_given),
    ("missing_program_is_an_error_of_the_stage_exec", missing_program_is_an_error_of_the_stage_exec),
    ("each_step_that_fails_is_named", each_step_that_fails_is_named),
    ("list_without_its_end_is_refused", list_without_its_end_is_refused),
    ("list_is_written_into_the_callers_slots", list_is_written_into_the_callers_slots),
    ("numbers_of_descriptors_may_be_swapped", numbers_of_descriptors_may_be_swapped),
    ("descriptor_stays_open_under_its_own_number", descriptor_stays_open_under_its_own_number),
    ("other_descriptors_are_closed_on_request", other_descriptors_are_closed_on_request),
    ("open_image_is_run", open_image_is_run),
    ("directory_and_umask_are_set", directory_and_umask_are_set),
    ("limits_are_set", limits_are_set),
    ("user_and_groups_are_set", user_and_groups_are_set),
    ("signals_are_blocked_and_defaulted", signals_are_blocked_and_defaulted),
    ("group_and_session_are_set", group_and_session_are_set),
    ("program_has_the_effective_user_only", program_has_the_effective_user_only),
    ("program_dies_with_its_parent", program_dies_with_its_parent),
    ("program_is_born_in_a_cgroup", program_is_born_in_a_cgroup),
    ("plan_starts_beside_other_threads", plan_starts_beside_other_threads),
    ("plan_replaces_this_very_process", plan_replaces_this_very_process),
];

const SH: &CStr = c"/bin/sh";

fn arguments(script: &CStr) -> [Argument<'_>; 4] {
    [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(script), Argument::END]
}

/// The standard output of `script` under the plan that `change` makes of a plain one.
fn output(script: &CStr, change: impl for<'a> FnOnce(Plan<'a>) -> Plan<'a>) -> String {
    let (mut reader, writer) = pipe();
    let arguments = arguments(script);
    let descriptors = [Inherit::as_number(&writer, 1).unwrap()];
    let mut child = change(Plan::new(SH, &arguments).unwrap().descriptors(&descriptors)).start().unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)), "{text}");
    text.trim_end().to_owned()
}

fn plan_runs_a_program_with_its_arguments() {
    let arguments = arguments(c"exit 7");
    let plan = Plan::new(SH, &arguments).unwrap();
    for _ in 0..2 {
        assert_eq!(plan.start().unwrap().wait(), Ok(ExitStatus::Code(7)));
    }
    assert_eq!(output(c"echo $0 bones", |plan| plan), "sh bones");
}

fn environment_is_inherited_or_given() {
    assert_eq!(output(c"echo $PATH", |plan| plan), std::env::var("PATH").unwrap());
    let (mut reader, writer) = pipe();
    let arguments = arguments(c"echo $BONE $HOME");
    let environment = [Argument::new(c"BONE=femur"), Argument::END];
    let descriptors = [Inherit::as_number(&writer, 1).unwrap()];
    let plan = Plan::new(SH, &arguments).unwrap().descriptors(&descriptors).environment(&environment).unwrap();
    let mut child = plan.start().unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "femur\n");
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn missing_program_is_an_error_of_the_stage_exec() {
    let arguments = [Argument::new(c"none"), Argument::END];
    let error = Plan::new(c"/nonexistent/program", &arguments).unwrap().start().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (Stage::Exec, Errno::NOENT));
    assert_eq!(error.to_string(), format!("cannot start the program: running the program: {}", Errno::NOENT));
    let error = Plan::new(c"/etc/passwd", &arguments).unwrap().start().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (Stage::Exec, Errno::ACCESS));
}

fn each_step_that_fails_is_named() {
    let null = File::open("/dev/null").unwrap();
    let script = arguments(c"exit 0");
    let plan = || Plan::new(SH, &script).unwrap();
    let limits = [(Resource::Core, Rlimit { current: Some(2), maximum: Some(1) })];
    let descriptors = [Inherit::as_number(&null, i32::MAX - 1).unwrap()];
    let failures = [
        (plan().directory(c"/nonexistent"), Stage::Directory, Errno::NOENT),
        (plan().directory_at(&null), Stage::Directory, Errno::NOTDIR),
        (plan().group(Group::Join(Pid::from_raw(i32::MAX - 1).unwrap())), Stage::Group, Errno::PERM),
        (plan().limits(&limits), Stage::Limits, Errno::INVAL),
        (plan().identity(Identity { group: Some(u32::MAX), ..Identity::default() }), Stage::Identity, Errno::INVAL),
        (plan().descriptors(&descriptors), Stage::Descriptors, Errno::INVAL),
        (plan().cgroup(&null), Stage::Clone, Errno::BADF),
    ];
    for (plan, stage, errno) in failures {
        let error = plan.start().unwrap_err();
        assert_eq!((error.stage(), error.errno()), (stage, errno));
    }
    assert_eq!(Inherit::as_number(&null, -1).unwrap_err(), Errno::BADF);
}

fn list_without_its_end_is_refused() {
    assert_eq!(Plan::new(SH, &[]).unwrap_err(), MissingEnd);
    let error = Plan::new(SH, &[Argument::new(c"sh")]).unwrap_err();
    assert!(error.to_string().contains("does not end with `Argument::END`: add it as the last element"), "{error}");
    assert_eq!(Errno::from(error), Errno::INVAL);
    assert_eq!(Plan::of_image(&std::io::stdin(), &[Argument::new(c"sh")]).unwrap_err(), MissingEnd);
    let arguments = [Argument::END];
    let plan = Plan::new(SH, &arguments).unwrap();
    assert_eq!(plan.environment(&[Argument::new(c"A=1")]).unwrap_err(), MissingEnd);
}

fn list_is_written_into_the_callers_slots() {
    let strings = [c"sh", c"-c", c"exit 3"];
    let mut slots = [Argument::END; 4];
    let list = Argument::list(&mut slots, strings).unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!(format!("{list:?}"), r#"["sh", "-c", "exit 3", END]"#);
    assert_eq!(Plan::new(SH, list).unwrap().start().unwrap().wait(), Ok(ExitStatus::Code(3)));
    assert_eq!(Argument::list(&mut slots[..3], strings).unwrap_err(), Errno::TOOBIG);
}

fn numbers_of_descriptors_may_be_swapped() {
    let (mut reader, writer) = pipe();
    let (a, mut to_a) = pipe();
    let (b, mut to_b) = pipe();
    to_a.write_all(b"a\n").unwrap();
    to_b.write_all(b"b\n").unwrap();
    let (number_a, number_b) = (a.as_raw_fd(), b.as_raw_fd());
    // Each under the other's number, and again under those that the shell can name.
    let script = format!("cat /dev/fd/{number_a} /dev/fd/{number_b}\0");
    let script = CStr::from_bytes_with_nul(script.as_bytes()).unwrap();
    let descriptors = [
        Inherit::as_number(&a, number_b).unwrap(),
        Inherit::as_number(&b, number_a).unwrap(),
        Inherit::as_number(&writer, 1).unwrap(),
    ];
    let arguments = arguments(script);
    let mut child = Plan::new(SH, &arguments).unwrap().descriptors(&descriptors).start().unwrap();
    drop((writer, to_a, to_b));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "b\na\n");
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn descriptor_stays_open_under_its_own_number() {
    let (mut reader, writer) = pipe();
    let script = format!("echo kept > /dev/fd/{}\0", writer.as_raw_fd());
    let arguments = arguments(CStr::from_bytes_with_nul(script.as_bytes()).unwrap());
    let descriptors = [Inherit::as_is(&writer)];
    let mut child = Plan::new(SH, &arguments).unwrap().descriptors(&descriptors).start().unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "kept\n");
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

pub fn other_descriptors_are_closed_on_request() {
    // High, so that no descriptor that the shell or ls opens gets the same number; not closed on exec.
    // SAFETY: fcntl(2) copies the descriptor of standard input.
    let number = unsafe { libc::fcntl(0, libc::F_DUPFD, 77) };
    assert!(number >= 77);
    // SAFETY: the number is that of a new descriptor, which nobody else knows.
    let open = unsafe { File::from_raw_fd(number) };
    let number = format!(" {} ", open.as_raw_fd());
    let list = |plan: fn(Plan<'_>) -> Plan<'_>| format!(" {} ", output(c"echo $(ls /proc/self/fd)", plan));
    assert!(list(|plan| plan).contains(&number));
    assert!(!list(|plan| plan.close_other_descriptors()).contains(&number));
    // This process's own descriptor is as it was.
    assert_eq!(ossature_sys::fd::is_cloexec(&open), Ok(false));
}

fn open_image_is_run() {
    let image = File::open("/bin/sh").unwrap();
    let arguments = arguments(c"exit 12");
    let null = File::open("/dev/null").unwrap();
    // Dealt out over the very number of the image.
    let descriptors = [Inherit::as_number(&null, image.as_raw_fd()).unwrap()];
    let plan = Plan::of_image(&image, &arguments).unwrap();
    assert_eq!(plan.start().unwrap().wait(), Ok(ExitStatus::Code(12)));
    assert_eq!(plan.descriptors(&descriptors).start().unwrap().wait(), Ok(ExitStatus::Code(12)));
    let error = Plan::of_image(&null, &arguments).unwrap().start().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (Stage::Exec, Errno::ACCESS));
}

fn directory_and_umask_are_set() {
    assert_eq!(output(c"pwd; umask", |plan| plan.directory(c"/").umask(0o027)), "/\n0027");
    let here = std::env::current_dir().unwrap();
    assert_eq!(output(c"pwd", |plan| plan), here.to_str().unwrap());
    let (mut reader, writer) = pipe();
    let root = File::open("/").unwrap();
    let arguments = arguments(c"pwd");
    let descriptors = [Inherit::as_number(&writer, 1).unwrap()];
    let plan = Plan::new(SH, &arguments).unwrap().directory_at(&root).descriptors(&descriptors);
    assert_eq!(plan.start().unwrap().wait(), Ok(ExitStatus::Code(0)));
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "/\n");
}

fn limits_are_set() {
    const LIMITS: &[(Resource, Rlimit)] = &[
        (Resource::Nofile, Rlimit { current: Some(37), maximum: Some(41) }),
        (Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }),
    ];
    assert_eq!(output(c"ulimit -Sn; ulimit -Hn; ulimit -c", |plan| plan.limits(LIMITS)), "37\n41\n0");
}

fn user_and_groups_are_set() {
    // SAFETY: prctl(2) with this request takes no pointer.
    let dumpable = || unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
    if process::effective_user() != 0 {
        return println!("skipped: needs root");
    }
    let before = dumpable();
    const WHO: &CStr = c"grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s '[:space:]' ' '";
    let nobody = Identity { user: Some(65534), group: Some(65533), groups: None };
    assert_eq!(
        output(WHO, |plan| plan.identity(nobody)),
        "Uid: 65534 65534 65534 65534 Gid: 65533 65533 65533 65533 Groups:"
    );
    let groups = output(c"id -G", |plan| plan.identity(Identity { groups: Some(&[7, 8]), ..nobody }));
    assert_eq!(groups, "65533 7 8");
    assert_eq!(dumpable(), before, "this process is what it was");
    // The same for a whole process, here a forked one.
    let mut child = fork(|| {
        Identity { groups: Some(&[7]), ..nobody }.assume().unwrap();
        let lost = Identity { user: Some(0), ..Identity::default() }.assume();
        u8::from(process::effective_user() != 65534 || lost != Err(Errno::PERM))
    });
    assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn signals_are_blocked_and_defaulted() {
    let status = |change: fn(Plan<'_>) -> Plan<'_>| {
        let (mut reader, writer) = pipe();
        let descriptors = [Inherit::as_number(&writer, 1).unwrap()];
        // Not through a shell, which has its own mind about signals.
        let arguments = [Argument::new(c"cat"), Argument::new(c"/proc/self/status"), Argument::END];
        let plan = Plan::new(c"/bin/cat", &arguments).unwrap().descriptors(&descriptors);
        assert_eq!(change(plan).start().unwrap().wait(), Ok(ExitStatus::Code(0)));
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let number = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        (number("SigBlk:"), number("SigIgn:"))
    };
    let bit = |signal: Signal| 1_u64 << (signal.as_raw() - 1);
    // Rust ignores SIGPIPE; nothing is blocked here.
    let (blocked, ignored) = status(|plan| plan);
    assert_eq!((blocked, ignored & bit(Signal::PIPE)), (0, bit(Signal::PIPE)));
    let (blocked, ignored) = status(|plan| plan.default_signals().blocked_signals([Signal::USR1, Signal::TERM]));
    // Libc keeps signals 32 to 34 to itself.
    assert_eq!((blocked, ignored & !(7 << 31)), (bit(Signal::USR1) | bit(Signal::TERM), 0));
}

fn group_and_session_are_set() {
    // pid, group, session.
    let numbers = |plan: Group| {
        let text = output(c"cut -d' ' -f1,5,6 /proc/$$/stat", |start| start.group(plan));
        let mut numbers = text.split(' ').map(|number| number.parse::<i32>().unwrap());
        [(); 3].map(|()| numbers.next().unwrap())
    };
    // Either may belong to an outer pid namespace, which /proc and the kernel spell 0.
    let group = Pid::as_raw(process::group_of(None).unwrap());
    let session = Pid::as_raw(process::session_of(None).unwrap());
    assert_eq!(numbers(Group::Inherited)[1..], [group, session]);
    let [pid, group, now] = numbers(Group::New);
    assert_eq!((group, now), (pid, session));
    let [pid, group, now] = numbers(Group::Session);
    assert_eq!((group, now), (pid, pid));

    let script = arguments(c"read line");
    let (gate, open) = pipe();
    let descriptors = [Inherit::as_number(&gate, 0).unwrap()];
    let mut leader = Plan::new(SH, &script).unwrap().descriptors(&descriptors).group(Group::New).start().unwrap();
    let [pid, group, _] = numbers(Group::Join(leader.pid()));
    assert_eq!(group, leader.pid().as_raw_nonzero().get());
    assert_ne!(group, pid);
    drop(open);
    leader.wait().unwrap();
}

fn program_has_the_effective_user_only() {
    const NOBODY: u32 = 65534;
    if process::effective_user() != 0 {
        return println!("SKIPPED program_has_the_effective_user_only: only root becomes another user");
    }
    let (mut told, tell) = pipe();
    let mut child = fork(|| {
        // SAFETY: a call without pointers, in a process of its own.
        assert_eq!(unsafe { libc::setresgid(0, NOBODY, 0) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setresuid(0, NOBODY, 0) }, 0);
        let descriptors = [Inherit::as_number(&tell, 1).unwrap()];
        let arguments =
            [Argument::new(c"grep"), Argument::new(c"id:"), Argument::new(c"/proc/self/status"), Argument::END];
        let plan = Plan::new(c"/bin/grep", &arguments).unwrap().descriptors(&descriptors).effective_ids_only();
        u8::from(plan.start().unwrap().wait() != Ok(ExitStatus::Code(0)))
    })
    .unwrap();
    drop(tell);
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    let ids = [NOBODY.to_string().as_str(); 4].join("\t");
    assert!(text.contains(&format!("Uid:\t{ids}\nGid:\t{ids}\n")), "{text}");
}

fn program_dies_with_its_parent() {
    dies_with_its_parent(Identity::default());
    if process::effective_user() == 0 {
        // A change of the user takes the signal back, so it has to come after that.
        dies_with_its_parent(Identity { user: Some(65534), ..Identity::default() });
    }
}

fn dies_with_its_parent(identity: Identity<'_>) {
    let (mut reader, writer) = pipe();
    let mut child = fork(|| {
        let arguments = arguments(c"exec sleep 1000");
        let descriptors = [Inherit::as_number(&writer, 1).unwrap()];
        let plan = Plan::new(c"/bin/sh", &arguments).unwrap().descriptors(&descriptors);
        let started = plan.identity(identity).parent_death_signal(Signal::KILL).group(Group::New).start();
        u8::from(started.is_ok())
    })
    .unwrap();
    drop(writer);
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
    // The end of the file comes when the program is dead. (It must not stand still: the kernel ends a stopped group
    // without a parent.)
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
}

fn program_is_born_in_a_cgroup() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|line| line[2] == "cgroup2");
    let Some(mount) = mount else {
        println!("SKIPPED: program_is_born_in_a_cgroup finds no cgroup2 mounted");
        return;
    };
    let path = format!("{}/ossature-{}", mount[1], process::id().as_raw_nonzero());
    if let Err(error) = std::fs::create_dir(&path) {
        println!("SKIPPED: program_is_born_in_a_cgroup cannot make {path}: {error}");
        return;
    }
    let directory = File::open(&path).unwrap();
    let arguments = arguments(c"grep '^0::' /proc/self/cgroup");
    let (mut reader, writer) = pipe();
    let descriptors = [Inherit::as_number(&writer, 1).unwrap()];
    let started = Plan::new(SH, &arguments).unwrap().descriptors(&descriptors).cgroup(&directory).start();
    drop(writer);
    let exit = started.map(|mut child| child.wait());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(exit.unwrap(), Ok(ExitStatus::Code(0)));
    assert!(text.trim_end().ends_with(path.rsplit('/').next().unwrap()), "{text}");
}

fn plan_starts_beside_other_threads() {
    let gate = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| gate.wait());
        let arguments = arguments(c"exit 4");
        assert_eq!(Plan::new(SH, &arguments).unwrap().start().unwrap().wait(), Ok(ExitStatus::Code(4)));
        gate.wait();
    });
    // So that the next test finds one thread only.
    fork(|| 0).unwrap().wait().unwrap();
}

fn plan_replaces_this_very_process() {
    let mut child = fork(|| {
        let arguments = arguments(c"exit 31");
        let plan = Plan::new(SH, &arguments).unwrap();
        let missing = Plan::new(c"/nonexistent", &arguments).unwrap();
        // SAFETY: one thread, and no descriptor is replaced.
        let error = unsafe { missing.exec() };
        assert_eq!((error.stage(), error.errno()), (Stage::Exec, Errno::NOENT));
        // SAFETY: as above.
        unsafe { plan.exec() };
        1
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(31)));
}
