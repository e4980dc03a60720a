//! Signal mask, environment, directory, limits, group and user of children, with every start method.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Process};
use ossature::sys::errno::Errno;
use ossature::sys::process::{Resource, Rlimit, effective_user};
use ossature::sys::signal::{self, Signal, SignalSet};

use crate::harness::Test;
use crate::worlds::{Scratch, World, put, runs, stop_server, wait_for, work};

crate::in_every_world![
    children_of_a_parent_that_blocks_signals_end,
    a_wanted_mask_is_the_childs,
    surroundings_are_what_was_said,
    user_and_groups_are_what_was_said,
    what_cannot_be_set_is_an_error_that_leaves_nothing,
    one_that_is_bound_ends_with_its_parent,
];

pub const ALONE: &[Test] = &[
    ("environment_is_what_was_said", environment_is_what_was_said),
    ("what_a_method_cannot_give_is_refused", what_a_method_cannot_give_is_refused),
    ("missing_rights_are_named", missing_rights_are_named),
];

const SOON: Duration = Duration::from_secs(30);

/// Writes the surroundings that a child finds.
pub fn tell(path: &Path) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // SAFETY: umask(2) takes a number.
    let umask = unsafe { libc::umask(0) };
    // SAFETY: getpgid(2) takes a number.
    let group = unsafe { libc::getpgid(0) };
    let limit = ossature::sys::process::rlimit(Resource::Sigpending).unwrap();
    let lines = [
        format!("directory {}", std::env::current_dir().unwrap().display()),
        format!("umask {umask:o}"),
        format!("limit {:?} {:?}", limit.current, limit.maximum),
        format!("leads {}", group == std::process::id() as i32),
        format!("user {}", line("Uid")),
        format!("group {}", line("Gid")),
        format!("groups {}", line("Groups")),
        format!("blocked {:?}", signal::mask().unwrap()),
    ];
    put(path, &lines.join("\n"));
}

fn told(scratch: &Scratch, name: &str) -> String {
    let text = scratch.read("told");
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("").to_owned()
}

fn children_of_a_parent_that_blocks_signals_end<W: World>() {
    stop_server(); // so that its successor begins with them blocked as well
    let wanted = SignalSet::from([Signal::INT, Signal::TERM, Signal::USR1]);
    let _blocked = signal::block(wanted).unwrap(); // as for a SignalFd
    for (ask, by) in [(Process::terminate as fn(&Process) -> _, libc::SIGTERM), (Process::interrupt, libc::SIGINT)] {
        let child = W::start("sleep", "");
        ask(&child).unwrap();
        let end = child.join_timeout(SOON).unwrap().and_then(|exit| exit.signal());
        child.kill().unwrap();
        child.join().unwrap();
        assert_eq!(end, Some(by));
    }
    // Others are held back as they were.
    let scratch = Scratch::new();
    W::start("surroundings", &scratch.text("told")).join().unwrap();
    assert_eq!(told(&scratch, "blocked"), format!("{:?}", SignalSet::from(Signal::USR1)));
}

fn a_wanted_mask_is_the_childs<W: World>() {
    let scratch = Scratch::new();
    let wanted = SignalSet::from([Signal::TERM, Signal::USR2]);
    let builder = Process::builder().signal_mask(wanted);
    W::start_with(builder, "surroundings", &scratch.text("told")).unwrap().join().unwrap();
    assert_eq!(told(&scratch, "blocked"), format!("{wanted:?}"));
    W::start("surroundings", &scratch.text("told")).join().unwrap();
    assert_eq!(told(&scratch, "blocked"), "{}");
}

fn surroundings_are_what_was_said<W: World>() {
    let scratch = Scratch::new();
    let directory = scratch.path("here");
    fs::create_dir(&directory).unwrap();
    let before = std::env::current_dir().unwrap();
    let limit = Rlimit { current: Some(1 << 12), maximum: Some(1 << 13) };
    let builder =
        Process::builder().current_dir(&directory).umask(0o27).rlimit(Resource::Sigpending, limit).process_group(0);
    W::start_with(builder, "surroundings", &scratch.text("told")).unwrap().join().unwrap();
    let expected = [
        ("directory", fs::canonicalize(&directory).unwrap().display().to_string()),
        ("umask", "27".to_owned()),
        ("limit", "Some(4096) Some(8192)".to_owned()),
        ("leads", "true".to_owned()),
    ];
    expected.iter().for_each(|(name, value)| assert_eq!(told(&scratch, name), *value));
    // The next child has its parent's, and this process what it had.
    W::start("surroundings", &scratch.text("told")).join().unwrap();
    assert_eq!((told(&scratch, "leads"), told(&scratch, "directory")), ("false".into(), before.display().to_string()));
    assert_eq!(std::env::current_dir().unwrap(), before);
}

fn user_and_groups_are_what_was_said<W: World>() {
    if effective_user() != 0 {
        return println!("skipped: needs root");
    }
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let path = scratch.text("told");
    let found = || [told(&scratch, "user"), told(&scratch, "group"), told(&scratch, "groups")].join("; ");
    let builder = || Process::builder().uid(65534).gid(65533);
    assert!(W::start_with(builder(), "surroundings", &path).unwrap().join().unwrap().success());
    assert_eq!(found(), "65534 65534 65534 65534; 65533 65533 65533 65533; ");
    assert!(W::start_with(builder().groups(&[7, 8]), "surroundings", &path).unwrap().join().unwrap().success());
    assert_eq!(found(), "65534 65534 65534 65534; 65533 65533 65533 65533; 7 8");
    // Such a child ends with its parent too, though the kernel forgets that when the user changes.
    let parent = W::start("leave-bound-nobody", &scratch.text("bound"));
    ends_with(&parent, &scratch);
}

fn what_cannot_be_set_is_an_error_that_leaves_nothing<W: World>() {
    let limit = |soft, hard| Rlimit { current: Some(soft), maximum: Some(hard) };
    let build = Process::builder;
    let nowhere = || build().current_dir("/nonexistent/directory");
    // The same words, number and end with every method.
    let refusals = [
        (nowhere(), Errno::NOENT, "change to directory `/nonexistent/directory`"),
        // The second of three limits.
        (
            build()
                .rlimit(Resource::Sigpending, limit(1, 1))
                .rlimit(Resource::Nofile, limit(200, 100))
                .rlimit(Resource::Sigpending, limit(0, 1)),
            Errno::INVAL,
            "set RLIMIT_NOFILE to 200 (soft) and 100 (hard) (the soft limit is above the hard limit)",
        ),
        (
            build().process_group(i32::MAX),
            Errno::PERM,
            "join process group 2147483647 (a process can only join a group of its session)",
        ),
        (build().uid(u32::MAX), Errno::INVAL, "change to user 4294967295"),
        // The first of two failures.
        (
            nowhere().uid(u32::MAX).rlimit(Resource::Sigpending, limit(2, 1)),
            Errno::NOENT,
            "change to directory `/nonexistent/directory`",
        ),
    ];
    for (builder, errno, what) in refusals {
        let error = W::start_with(builder, "return", "0").unwrap_err();
        let number = errno.raw_os_error();
        assert_eq!((error.kind(), error.errno(), error.exit_status()), (ErrorKind::Os, Some(errno), None), "{error}");
        assert_eq!(error.to_string(), format!("cannot start the process: cannot {what}: {errno}"));
        assert!(error.to_string().ends_with(&format!("(os error {number})")), "{error}");
    }
    for builder in [build().process_group(-1), build().umask(0o1000), build().current_dir("/a\0b")] {
        let error = W::start_with(builder, "return", "0").unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::InvalidInput, None), "{error}");
    }
}

fn one_that_is_bound_ends_with_its_parent<W: World>() {
    let scratch = Scratch::new();
    let parent = W::start("leave-bound", &scratch.text("bound"));
    ends_with(&parent, &scratch);
}

fn ends_with(parent: &Process, scratch: &Scratch) {
    wait_for(&scratch.path("bound"));
    let facts = scratch.read("bound");
    let number = |name: &str| facts.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
    let child: i32 = number("pid ");
    assert!(facts.contains("daemon false") && runs(child), "{facts}");
    parent.kill().unwrap();
    parent.join().unwrap();
    while runs(child) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn environment_is_what_was_said() {
    let scratch = Scratch::new();
    let start = |builder: ossature::multiprocessing::process::ProcessBuilder| {
        let child = builder.context(Context::Spawn);
        let arguments = ("spawn".to_owned(), "environment".to_owned(), scratch.text("told"));
        assert!(child.start(work, arguments).unwrap().join().unwrap().success());
        scratch.read("told")
    };
    let path = std::env::var("PATH").unwrap();
    let text = start(Process::builder().env("OSSATURE_ONE", "1=2").envs([("OSSATURE_TWO", "")]).env_remove("PATH"));
    assert!(text.contains("OSSATURE_ONE=1=2\n") && text.contains("OSSATURE_TWO=\n"), "{text}");
    assert!(!text.contains(&format!("PATH={path}\n")), "{text}");
    assert_eq!(start(Process::builder().env("LOST", "x").env_clear().env("OSSATURE_ONE", "1")), "OSSATURE_ONE=1\n");
    assert!(start(Process::builder()).contains(&format!("PATH={path}\n")));
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0B", "x"), ("A", "x\0y")] {
        let builder = Process::builder().context(Context::Spawn).env(name, value);
        let arguments = ("spawn".to_owned(), "return".to_owned(), "0".to_owned());
        let error = builder.start(work, arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?} {value:?}: {error}");
    }
}

/// Runs in a child without root's rights.
fn missing_rights_are_named() {
    if effective_user() != 0 {
        return println!("skipped: needs root");
    }
    let limit = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    let child = Process::builder().uid(65534).gid(65534).rlimit(Resource::Sigpending, limit(1)).fork(move || {
        let text = |builder: ossature::multiprocessing::process::ProcessBuilder| {
            let error = builder.fork(|| ()).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::PERM), "{error}");
            error.to_string()
        };
        let user = text(Process::builder().uid(0).groups(&[7]));
        assert!(
            user.contains("change to user 0, supplementary groups [7] (CAP_SETUID and CAP_SETGID allow it)"),
            "{user}"
        );
        let raised = text(Process::builder().rlimit(Resource::Sigpending, limit(2)));
        assert!(raised.contains("RLIMIT_SIGPENDING to 2 (soft) and 2 (hard) (CAP_SYS_RESOURCE allows"), "{raised}");
    });
    assert!(child.unwrap().join().unwrap().success());
}

fn what_a_method_cannot_give_is_refused() {
    for context in [Context::Fork, Context::Forkserver, Context::Thread] {
        let arguments = (context.to_string(), "return".to_owned(), "0".to_owned());
        let error = Process::builder().context(context).env("A", "b").start(work, arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{context}: {error}");
    }
    let error = Process::builder().umask(0).uid(1).thread(|| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("its own umask, uid: start a process"), "{error}");
    let error = Process::builder().authkey("key".into()).thread(|| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    // A thread ends with its process in any case.
    assert!(Process::builder().end_with_parent().thread(|| ()).unwrap().join().unwrap().success());
}
