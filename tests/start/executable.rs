//! Which program a spawned child runs: this one, whatever happened to its file; a copy of it; nothing else.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Process, set_executable};
use ossature::sys::errno::Errno;
use ossature::sys::process::{ExitStatus, effective_user};
use ossature::sys::socket::{Kind, Socket};

use crate::harness::{Afterwards, Test};

pub const TESTS: &[Test] = &[
    ("child_runs_this_program_though_its_file_was_replaced", child_runs_this_program_though_its_file_was_replaced),
    ("copy_of_this_program_will_do", copy_of_this_program_will_do),
    ("another_build_is_refused", another_build_is_refused),
    ("another_program_is_told_by_its_exit_code", another_program_is_told_by_its_exit_code),
    ("program_started_through_its_loader_is_told", program_started_through_its_loader_is_told),
    ("what_cannot_be_executed_is_told_by_its_errno", what_cannot_be_executed_is_told_by_its_errno),
    ("mark_given_by_hand_is_refused", mark_given_by_hand_is_refused),
    ("socket_that_is_not_the_parents_is_not_obeyed", socket_that_is_not_the_parents_is_not_obeyed),
    ("set_uid_program_takes_no_orders", set_uid_program_takes_no_orders),
];

/// The argument of the run below.
pub const REPLACED: &str = "--replaced";

/// The argument of the run through the loader.
pub const THROUGH_LOADER: &str = "--through-loader";

/// The argument of the run as nobody.
pub const AS_NOBODY: &str = "--as-nobody";
pub const NOBODY: u32 = 65534;

pub fn nine() -> u8 {
    9
}

/// A directory for one test.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-start-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Makes a copy of this program.
    pub fn copy(&self) -> PathBuf {
        let copy = self.0.join("copy");
        fs::copy("/proc/self/exe", &copy).unwrap();
        copy
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `start` while new processes execute the program at `path`.
fn from_program<R>(path: &Path, start: impl FnOnce() -> R) -> R {
    set_executable(path);
    let _afterwards = Afterwards(|| set_executable("/proc/self/exe"));
    start()
}

/// Spawns a child from the program at `path`.
fn spawn_from(path: impl AsRef<Path>) -> ossature::Result<Option<i32>> {
    let process = from_program(path.as_ref(), || Process::spawn(nine, ()))?;
    process.join()?;
    Ok(process.exit_code())
}

/// Replaces the file of this program, which is a copy made for this test, and spawns a child.
pub fn run_replaced() {
    let path = std::env::current_exe().unwrap();
    fs::remove_file(&path).unwrap();
    fs::copy("/bin/false", &path).unwrap();
    let process = Process::spawn(nine, ()).unwrap();
    process.join().unwrap();
    std::process::exit(process.exit_code().unwrap());
}

fn child_runs_this_program_though_its_file_was_replaced() {
    let place = Place::new("replaced");
    let copy = place.copy();
    assert_eq!(Command::new(&copy).arg(REPLACED).status().unwrap().code(), Some(9));
    assert_eq!(Command::new(&copy).status().unwrap().code(), Some(1), "the file is another now");
}

fn copy_of_this_program_will_do() {
    let place = Place::new("copy");
    match spawn_from(place.copy()) {
        Ok(code) => assert_eq!(code, Some(9)),
        // A linker that leaves no number in the image.
        Err(error) => assert!(error.to_string().contains("another build"), "{error}"),
    }
}

fn another_build_is_refused() {
    let place = Place::new("build");
    let copy = place.copy();
    let mut image = fs::read(&copy).unwrap();
    // The note's name and the first byte of its number.
    if let Some(at) = image.windows(8).position(|window| window == b"\x03\0\0\0GNU\0") {
        image[at + 8] ^= 1;
        fs::write(&copy, image).unwrap();
    }
    let error = spawn_from(copy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("another build"), "{error}");
}

fn another_program_is_told_by_its_exit_code() {
    for (path, code) in [("/bin/true", 0), ("/bin/false", 1)] {
        let early = format!("ended before it began its task: exit code {code}, without a reply");
        let error = spawn_from(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("the new process {early}")) && text.contains("freeze_support(TASKS)"),
            "{text}"
        );
        // Here the server is the program that begins.
        let by_server = || Process::builder().context(Context::Forkserver).start(nine, ());
        let text = from_program(path.as_ref(), by_server).unwrap_err().to_string();
        assert!(text.starts_with(&format!("the fork server {early}")), "{text}");
    }
}

pub fn run_through_loader() {
    let error = Process::spawn(nine, ()).unwrap_err();
    let exit = error.exit_status().and_then(ExitStatus::code);
    println!("{:?} {} {error}", error.kind(), exit.is_some());
}

fn program_started_through_its_loader_is_told() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = |line: &str| line.split_whitespace().nth(5).map(str::to_owned);
    let loader = maps.lines().filter_map(mapped).find(|file| file.rsplit('/').next().unwrap().starts_with("ld-"));
    let Some(loader) = loader else {
        return println!("SKIPPED program_started_through_its_loader_is_told: it has none");
    };
    let program = std::env::current_exe().unwrap();
    let run = Command::new(&loader).arg(&program).arg(THROUGH_LOADER).output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.starts_with("StartFailed true "), "{text}");
    let told = [loader.as_str(), program.to_str().unwrap(), "start the program itself"];
    assert!(told.iter().all(|part| text.contains(part)), "{text}");
}

fn what_cannot_be_executed_is_told_by_its_errno() {
    let place = Place::new("refused");
    let text = place.0.join("text");
    fs::write(&text, "no program").unwrap();
    let refusals = [
        (place.0.join("missing"), 0o644, Errno::NOENT),
        (text.clone(), 0o644, Errno::ACCESS),
        (text, 0o755, Errno::NOEXEC),
        (place.0.clone(), 0o755, Errno::ACCESS),
    ];
    for (path, mode, errno) in refusals {
        if path.is_file() {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let error = spawn_from(&path).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(errno)), "{}: {error}", path.display());
        // The source is the number alone, and not this text again.
        assert_eq!(error.to_string(), format!("cannot run the program `{}`: {errno}", path.display()));
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.downcast_ref(), Some(&errno));
    }
}

fn mark_given_by_hand_is_refused() {
    let run = Command::new("/proc/self/exe").arg("--multiprocessing-fork").output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8(run.stderr).unwrap().contains("do not pass --multiprocessing-fork by hand"));
}

fn socket_that_is_not_the_parents_is_not_obeyed() {
    // The shell is the parent, and whoever holds the other end is not.
    let (_near, far) = Socket::pair(Kind::Stream).unwrap();
    let script = "\"$0\" --multiprocessing-fork; exit $?";
    let image = std::env::current_exe().unwrap();
    let run = Command::new("sh").arg("-c").arg(script).arg(image).stdin(OwnedFd::from(far)).output().unwrap();
    assert_eq!(run.status.code(), Some(2), "{run:?}");
}

pub fn acts_as_root() -> u8 {
    u8::from(effective_user() == 0)
}

/// Spawns a child from the set-uid copy, as a user who may run it but has none of its rights.
pub fn run_as_nobody() {
    set_executable(std::env::args().nth(2).unwrap());
    assert_eq!(effective_user(), NOBODY);
    let code = match Process::spawn(acts_as_root, ()) {
        Ok(process) => 20 + process.join().unwrap().code().unwrap(),
        Err(error) if error.kind() == ErrorKind::StartFailed => {
            println!("{error}");
            assert_eq!(error.exit_status(), Some(ExitStatus::Code(2)));
            30
        }
        Err(error) => panic!("{error}"),
    };
    std::process::exit(code.into());
}

fn set_uid_program_takes_no_orders() {
    if effective_user() != 0 {
        return println!("SKIPPED set_uid_program_takes_no_orders: only root can make a set-uid program of root's");
    }
    let (place, privileged) = (Place::new("nobody"), Place::new("set-uid"));
    let (plain, copy) = (place.copy(), privileged.copy());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
    let run = Command::new(plain).arg(AS_NOBODY).arg(copy).uid(NOBODY).output().unwrap();
    match run.status.code() {
        Some(30) => assert!(String::from_utf8(run.stdout).unwrap().contains("set-user-ID"), "the reason comes back"),
        Some(20) => println!("SKIPPED set_uid_program_takes_no_orders: set-uid does nothing where temporary files are"),
        _ => panic!("{run:?}"),
    }
}
