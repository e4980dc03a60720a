//! Programs whose files give them rights, and a system without devices. Their children start, or the error names the
//! cause.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Context, Process, set_executable, stop_forkserver};
use ossature::sys::errno::Errno;
use ossature::sys::process::{Capabilities, ExitStatus, Pid, effective_user, pidfd_open};
use ossature::sys::socket::{Kind, Socket};

use crate::executable::{NOBODY, Place};
use crate::harness::{Test, pipe};

pub const TESTS: &[Test] = &[
    ("program_with_file_capabilities_starts_processes", program_with_file_capabilities_starts_processes),
    ("child_has_no_file_capability_that_was_given_up", child_has_no_file_capability_that_was_given_up),
    ("set_uid_program_starts_processes", set_uid_program_starts_processes),
    ("program_with_file_capabilities_takes_no_strangers_orders", program_takes_no_strangers_orders),
    ("processes_start_without_devices", processes_start_without_devices),
];

const PATIENCE: Duration = Duration::from_secs(30);

/// The argument of a run that starts children; the next one is that of a run that starts another program as if it were
/// its child.
pub const START: &str = "--start-some";
pub const ATTACK: &str = "--attack";

/// A capability that the tests grant: binding low ports.
const LOW_PORTS: u64 = 1 << 10;
/// A second capability that the tests grant.
const RAW_SOCKETS: u64 = 1 << 13;

/// Gives a file capabilities, which are effective after its exec: `security.capability` of xattr(7), version 2.
fn give(path: &Path, permitted: u64) -> bool {
    let words = [0x0200_0001, permitted as u32, 0, (permitted >> 32) as u32, 0];
    let value: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let mut path = path.as_os_str().as_bytes().to_vec();
    path.push(0);
    let (path, name) = (path.as_ptr().cast(), c"security.capability".as_ptr());
    // SAFETY: path and name end with a null, and the value is as long as is said.
    unsafe { libc::setxattr(path, name, value.as_ptr().cast(), value.len(), 0) == 0 }
}

pub fn capabilities(Handle(mut tell): Handle<File>) {
    let Capabilities { effective, permitted, .. } = Capabilities::of_thread().unwrap();
    write!(tell, "{permitted:x} {effective:x} {}", effective_user()).unwrap();
}

/// Starts a child in each way and prints its capabilities. The second argument is the set of capabilities to give up
/// before.
pub fn start_some() {
    let less: u64 = std::env::args().nth(2).map_or(0, |number| number.parse().unwrap());
    Capabilities::limit_to(Capabilities { effective: !less, permitted: !less, inheritable: 0 }).unwrap();
    for method in [Context::Spawn, Context::Forkserver] {
        let (mut told, tell) = pipe();
        match Process::builder().context(method).start(capabilities, (Handle(tell),)) {
            Ok(process) => {
                let mut text = String::new();
                told.read_to_string(&mut text).unwrap();
                println!("{method} {text} {:?}", process.join().unwrap());
            }
            Err(error) => println!("{method} {error} {:?}", error.exit_status()),
        }
    }
    assert!(stop_forkserver(PATIENCE).unwrap(), "the server does not end");
}

/// The output of a copy of this program with such rights when another user runs it.
fn run(name: &str, less: u64, privilege: impl FnOnce(&Path) -> bool) -> Option<String> {
    if effective_user() != 0 {
        println!("SKIPPED: only root gives rights to a file");
        return None;
    }
    let place = Place::new(name);
    let copy = place.copy();
    if !privilege(&copy) {
        println!("SKIPPED: no rights can be given to a file where temporary files are");
        return None;
    }
    let run = Command::new(&copy).arg(START).arg(less.to_string()).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    Some(String::from_utf8(run.stdout).unwrap())
}

fn program_with_file_capabilities_starts_processes() {
    let Some(text) = run("capable", 0, |copy| give(copy, LOW_PORTS)) else { return };
    let one = format!("{LOW_PORTS:x} {LOW_PORTS:x} {NOBODY} Code(0)");
    assert_eq!(text, format!("spawn {one}\nforkserver {one}\n"));
}

fn child_has_no_file_capability_that_was_given_up() {
    let Some(text) = run("lowered", RAW_SOCKETS, |copy| give(copy, LOW_PORTS | RAW_SOCKETS)) else { return };
    let one = format!("{LOW_PORTS:x} {LOW_PORTS:x} {NOBODY} Code(0)");
    assert_eq!(text, format!("spawn {one}\nforkserver {one}\n"));
}

fn set_uid_program_starts_processes() {
    let set_uid = |copy: &Path| fs::set_permissions(copy, fs::Permissions::from_mode(0o4755)).is_ok();
    let Some(text) = run("set-uid-parent", 0, set_uid) else { return };
    assert!(text.lines().all(|line| line.ends_with(" 0 Code(0)")) && text.lines().count() == 2, "{text}");
}

/// Runs the program of the second argument as if it were a child of this process, and prints the result.
pub fn attack() {
    let program = std::env::args().nth(2).unwrap();
    // As the library does it.
    set_executable(&program);
    let error = Process::spawn(crate::executable::nine, ()).unwrap_err();
    println!("{:?} {:?} {error}", error.kind(), error.exit_status());
    // As one does that knows what the child asks, with more than it has and with nothing.
    for claimed in [u64::MAX, 0] {
        let (near, far) = Socket::pair(Kind::Stream).unwrap();
        let mut command = Command::new(&program);
        let mut child = command.arg("--multiprocessing-fork").stdin(Stdio::from(OwnedFd::from(far))).spawn().unwrap();
        drop(command);
        let mut preface = b"Cos1".to_vec();
        (0..3).for_each(|_| preface.extend_from_slice(&claimed.to_le_bytes()));
        near.send(&preface, PATIENCE).unwrap().unwrap();
        let mut answer = [0; 5];
        assert_eq!(near.recv(&mut answer, PATIENCE).unwrap(), Some(5));
        assert_eq!(answer[0], b'P');
        let number = answer[1..].try_into().map_or(-1, i32::from_le_bytes);
        let pid = child.id();
        let pidfd = pidfd_open(Pid::from_raw(pid as i32).unwrap()).unwrap();
        let taken = Socket::of_process(&pidfd, number);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap().trim().to_owned();
        println!("{permitted} {:?}", taken.as_ref().map(drop).map_err(|errno| *errno == Errno::PERM));
        drop((near, taken));
        println!("{:?}", child.wait().unwrap().code());
    }
}

fn program_takes_no_strangers_orders() {
    if effective_user() != 0 {
        return println!("SKIPPED program_with_file_capabilities_takes_no_strangers_orders: it needs root");
    }
    let (place, privileged) = (Place::new("stranger"), Place::new("strangers-aim"));
    let (plain, copy) = (place.copy(), privileged.copy());
    if !give(&copy, LOW_PORTS) {
        return println!("SKIPPED program_with_file_capabilities_takes_no_strangers_orders: no such rights here");
    }
    let run = Command::new(plain).arg(ATTACK).arg(copy).uid(NOBODY).gid(NOBODY).output().unwrap();
    let text = String::from_utf8(run.stdout.clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let [told, more, its_end, nothing, another_end] = lines[..] else { panic!("{run:?}") };
    assert!(told.starts_with("StartFailed Some(Code(2)) ") && told.contains("rights by its file"), "{told}");
    // Neither has it let go of what nobody asked it to let go of, nor does who has less get at it.
    assert_eq!(more, format!("{LOW_PORTS:016x} Err(true)"));
    // Without its rights it is like any other program of that user.
    assert_eq!(nothing, format!("{:016x} Ok(())", 0));
    assert_eq!([its_end, another_end], ["Some(2)"; 2]);
}

/// Runs in a process of its own: hides the devices, and starts children.
pub fn without_dev() -> u8 {
    let none = std::ptr::null();
    // SAFETY: unshare(2) takes flags.
    let apart = || unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let (root, flags) = (c"/".as_ptr(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: mount(2) is given a string that ends with a null, and null where it reads nothing.
    let private = || unsafe { libc::mount(none, root, none, flags, none.cast()) } == 0;
    let (source, place, kind) = (c"none".as_ptr(), c"/dev".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: mount(2) is given strings that end with a null, and null where it reads nothing.
    let empty = || unsafe { libc::mount(source, place, kind, 0, none.cast()) } == 0;
    if !(apart() && private() && empty()) {
        return 77;
    }
    assert!(!Path::new("/dev/null").exists());
    for method in [Context::Fork, Context::Spawn, Context::Forkserver] {
        let process = Process::builder().context(method).start(read_nothing, ()).unwrap();
        assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)), "{method}");
    }
    u8::from(!stop_forkserver(PATIENCE).unwrap())
}

/// Checks that standard input is at its end.
pub fn read_nothing() -> u8 {
    u8::from(std::io::stdin().read_to_end(&mut Vec::new()).ok() != Some(0))
}

fn processes_start_without_devices() {
    let process = Process::builder().context(Context::Spawn).start(without_dev, ()).unwrap();
    match process.join_timeout(PATIENCE).unwrap() {
        Some(ExitStatus::Code(77)) => println!("SKIPPED processes_start_without_devices: it needs root"),
        end => assert_eq!(end, Some(ExitStatus::Code(0))),
    }
}
