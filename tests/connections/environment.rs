//! The sockets that a service manager passes to a process. Each test acts as the manager in a child, which executes
//! this program again with a [part](PARTS). Only the environment and the descriptors at the program's start count.

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Listener, connect};
use ossature::sys::fd::is_cloexec;

use crate::{child, well};

/// The parts of the program that the manager starts; a variable names the part.
const PARTS: &[(&str, fn())] = &[
    ("takes_two", takes_two),
    ("takes_beside_another_thread", takes_beside_another_thread),
    ("takes_none", takes_none),
    ("is_refused", is_refused),
    ("claims_its_own", claims_its_own),
];

const PART: &str = "OSSATURE_PART";
const WHY: &str = "OSSATURE_WHY";

/// Runs a part, if this process was started for one.
pub fn play() {
    if let Ok(wanted) = env::var(PART) {
        let (_, part) = PARTS.iter().find(|(name, _)| *name == wanted).unwrap();
        part();
        std::process::exit(0);
    }
}

/// The process for which the sockets are meant.
#[derive(Clone, Copy, PartialEq)]
enum For {
    TheProgram,
    Another,
}

/// Starts the part with these sockets at 3 and the following numbers; the next number is closed.
fn manage(part: &str, sockets: impl FnOnce() -> Vec<OwnedFd>, who: For, count: &str, names: Option<&str>, why: &str) {
    let (child, _near) = child(|_| {
        hand_over(sockets());
        let pid = std::process::id() + u32::from(who == For::Another);
        let variables = [("LISTEN_PID", &*pid.to_string()), ("LISTEN_FDS", count), (PART, part), (WHY, why)];
        for (name, value) in variables.into_iter().chain(names.map(|names| ("LISTEN_FDNAMES", names))) {
            // SAFETY: this process has one thread.
            unsafe { env::set_var(name, value) };
        }
        let program = CString::new("/proc/self/exe").unwrap();
        let arguments = [program.as_ptr(), std::ptr::null()];
        // SAFETY: the program and the only argument end with a zero, and the array with a null.
        unsafe { libc::execv(program.as_ptr(), arguments.as_ptr()) };
        panic!("{}", std::io::Error::last_os_error());
    });
    well(child);
}

/// Puts copies of these descriptors, open across exec, at 3 and the numbers after it, and closes the number behind
/// them.
fn hand_over(sockets: Vec<OwnedFd>) {
    let count = sockets.len() as RawFd;
    // Beyond the numbers that are about to be taken.
    let far = sockets.into_iter().map(|socket| {
        // SAFETY: fcntl(2) with F_DUPFD takes two numbers.
        unsafe { libc::fcntl(socket.into_raw_fd(), libc::F_DUPFD_CLOEXEC, 500) }
    });
    let far: Vec<RawFd> = far.collect();
    for (number, far) in (3..).zip(far) {
        // SAFETY: whatever owned the number belongs to the parent; this child never drops its copy.
        assert_eq!(unsafe { libc::dup2(far, number) }, number);
    }
    // SAFETY: as for dup2.
    unsafe { libc::close(3 + count) };
}

fn tcp() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

pub fn sockets_of_a_service_manager_are_taken_once() {
    manage("takes_two", || vec![tcp(), tcp()], For::TheProgram, "2", Some("web:control"), "");
    manage("takes_none", || vec![tcp(), tcp()], For::Another, "2", None, "2");
    manage("takes_none", Vec::new, For::TheProgram, "0", None, "0");
}

fn takes_two() {
    let taken = Listener::from_environment().unwrap();
    let names: Vec<_> = taken.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["web", "control"]);
    let numbers: Vec<_> = taken.iter().map(|(_, listener)| listener.as_fd().as_raw_fd()).collect();
    assert_eq!(numbers, [3, 4]);
    for (name, listener) in &taken {
        assert!(is_cloexec(listener).unwrap(), "{name}");
        let client = connect(listener.address()).unwrap();
        listener.accept().unwrap().send(name).unwrap();
        assert_eq!(&client.recv::<String>().unwrap(), name);
    }
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        assert_eq!(env::var_os(variable), None);
    }
    for (name, value) in [("LISTEN_PID", std::process::id().to_string()), ("LISTEN_FDS", "2".into())] {
        // SAFETY: this process has one thread.
        unsafe { env::set_var(name, value) };
    }
    assert!(Listener::from_environment().unwrap().is_empty(), "once");
}

fn takes_none() {
    assert!(Listener::from_environment().unwrap().is_empty());
    assert_eq!(env::var("LISTEN_FDS"), env::var(WHY), "they stay");
}

pub fn variables_stay_beside_another_thread() {
    manage("takes_beside_another_thread", || vec![tcp()], For::TheProgram, "1", None, "");
}

fn takes_beside_another_thread() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = thread::spawn(move || stopped.recv());
    let taken = Listener::from_environment().unwrap();
    assert_eq!((taken.len(), taken[0].0.as_str()), (1, "unknown"));
    assert!(env::var_os("LISTEN_FDS").is_some(), "to remove it would be a data race");
    assert!(Listener::from_environment().unwrap().is_empty(), "once");
    drop(stop);
    other.join().unwrap().unwrap_err();
}

pub fn what_no_service_manager_left_is_refused() {
    let two = || vec![tcp(), tcp()];
    let and = |third: OwnedFd| vec![tcp(), tcp(), third];
    let refused = |sockets: &dyn Fn() -> Vec<OwnedFd>, count: &str, names: Option<&str>, why: &str| {
        manage("is_refused", sockets, For::TheProgram, count, names, why);
    };
    refused(&two, "3", None, "descriptor 5, which is not open");
    refused(&two, "99999999", None, "descriptor 5, which is not open");
    refused(&two, "2147483647", None, "descriptor 5, which is not open");
    refused(&two, &usize::MAX.to_string(), None, "descriptor 5, which is not open");
    refused(
        &|| and(File::open("/dev/null").unwrap().into()),
        "3",
        None,
        "descriptor 5, which is not a listening socket",
    );
    refused(&|| and(UdpSocket::bind("127.0.0.1:0").unwrap().into()), "3", None, "not a listening socket");
    refused(&|| and(UnixStream::pair().unwrap().0.into()), "3", None, "not a listening socket");
    refused(&two, "three", None, "not a number");
    refused(&two, "-1", None, "not a number");
    refused(&two, "2", Some("one"), "1 names");
    refused(&two, "2", Some("one:two:three"), "3 names");
}

fn is_refused() {
    for _ in 0..2 {
        let error = Listener::from_environment().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&env::var(WHY).unwrap()), "{error}");
        for fd in [3, 4] {
            // SAFETY: fcntl(2) with F_GETFD takes numbers.
            assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, 0, "nothing was taken");
        }
    }
}

pub fn socket_of_the_program_itself_is_never_taken() {
    manage("claims_its_own", || vec![tcp()], For::TheProgram, "2", None, "");
    manage("claims_its_own", Vec::new, For::Another, "1", None, "");
}

fn claims_its_own() {
    // The program opens the next number itself, makes it inheritable, and says that a manager did.
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    ossature::sys::fd::clear_cloexec(&own).unwrap();
    let count = own.as_raw_fd() - 2;
    for (name, value) in [("LISTEN_PID", std::process::id().to_string()), ("LISTEN_FDS", count.to_string())] {
        // SAFETY: this process has one thread.
        unsafe { env::set_var(name, value) };
    }
    match Listener::from_environment() {
        Ok(taken) => assert!(taken.is_empty()),
        Err(error) => assert!(error.to_string().contains("this program opened"), "{error}"),
    }
    assert!(!is_cloexec(&own).unwrap(), "untouched");
}
