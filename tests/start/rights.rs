//! A child never has rights that its parent gave up. A process with fewer rights than the child would have cannot start
//! the child.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Context, Process, stop_forkserver};
use ossature::sys::errno::Errno;
use ossature::sys::process::{Capabilities, ExitStatus, effective_user, fork};
use ossature::sys::socket::{Kind, Socket, kind_of};

use crate::executable::NOBODY;
use crate::harness::{Test, descriptors, pipe};

pub const TESTS: &[Test] = &[
    ("fork_server_is_replaced_when_rights_were_given_up", fork_server_is_replaced_when_rights_were_given_up),
    ("fork_server_stays_while_the_rights_do", fork_server_stays_while_the_rights_do),
    ("fork_server_tells_another_user_that_it_refuses", fork_server_tells_another_user_that_it_refuses),
    ("spawned_child_has_no_capability_that_was_given_up", spawned_child_has_no_capability_that_was_given_up),
    ("spawned_child_cannot_go_back_to_the_real_user", spawned_child_cannot_go_back_to_the_real_user),
];

const PATIENCE: Duration = Duration::from_secs(30);

/// A capability that no test needs: that for raw sockets.
const ONE: u64 = 13;

/// An unused argument of prctl(2).
const NONE: libc::c_ulong = 0;

/// The rights of this process as the kernel reports them: users, groups, capabilities, and what an exec can give.
fn rights() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let told = ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:"];
    status.lines().filter(|line| told.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect()
}

pub fn tell_rights(Handle(mut tell): Handle<File>) {
    let server = ossature::sys::process::parent_id().unwrap().as_raw_nonzero();
    write!(tell, "{server}\n{}", rights().join("\n")).unwrap();
}

/// Starts a child in this way. Returns its parent as the kernel reports it, and the child's rights.
fn child(method: Context) -> (String, Vec<String>) {
    let (mut told, tell) = pipe();
    let process = Process::builder().context(method).start(tell_rights, (Handle(tell),)).unwrap();
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)));
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.collect())
}

#[track_caller]
fn done(answer: libc::c_int) {
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

/// Gives up the right that `what` names.
fn lower(what: &str) {
    match what {
        "nothing" => {}
        "user" => {
            // SAFETY: setgroups(2) may be given no groups.
            done(unsafe { libc::setgroups(0, std::ptr::null()) });
            // SAFETY: setresgid(2) takes numbers.
            done(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) });
            // SAFETY: setresuid(2) takes numbers.
            done(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) });
        }
        "effective-user" => {
            // SAFETY: setegid(2) takes a number.
            done(unsafe { libc::setegid(NOBODY) });
            // SAFETY: seteuid(2) takes a number.
            done(unsafe { libc::seteuid(NOBODY) });
        }
        "saved-user" => {
            // SAFETY: setresuid(2) takes numbers.
            done(unsafe { libc::setresuid(NOBODY, NOBODY, 0) });
        }
        "groups" => {
            // SAFETY: setgroups(2) reads one number.
            done(unsafe { libc::setgroups(1, &NOBODY) });
        }
        "capability" => {
            let now = Capabilities::of_thread().unwrap();
            let limit = Capabilities { effective: !(1 << ONE), permitted: !(1 << ONE), inheritable: 0 };
            Capabilities::limit_to(limit).unwrap();
            assert_ne!(Capabilities::of_thread().unwrap(), now);
        }
        "bounding" => {
            // SAFETY: prctl(2) with this request takes a number.
            done(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, ONE as libc::c_ulong, NONE, NONE, NONE) });
        }
        "no-new-privileges" => {
            // SAFETY: prctl(2) with this request takes numbers.
            done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, NONE + 1, NONE, NONE, NONE) });
        }
        other => panic!("nobody knows {other}"),
    }
}

/// The capabilities in a line.
fn bits(line: &str) -> u64 {
    u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap()
}

/// Runs in a process of its own: starts a child, gives up a right, and starts two more children.
pub fn start_and_lower(what: String) {
    let (first, _) = child(Context::Forkserver);
    lower(&what);
    let (second, theirs) = child(Context::Forkserver);
    assert_eq!(first == second, what == "nothing", "the server");
    let own = rights();
    for (own, theirs) in own.iter().zip(&theirs) {
        match own.strip_prefix("Uid:").or(own.strip_prefix("Gid:")) {
            // Real, effective, saved and that of the file system: the child has the effective one everywhere.
            Some(ids) => {
                let effective = ids.split_whitespace().nth(1).unwrap();
                assert!(theirs.split_whitespace().skip(1).all(|id| id == effective), "{theirs}, of {own}");
            }
            // An exec takes away what is not in force, unless the user is root, and then what is not in the bounding
            // set.
            None if own.starts_with("Cap") => assert_eq!(bits(theirs) & !bits(own), 0, "{theirs}, of {own}"),
            None => assert_eq!(theirs, own),
        }
    }
    assert_eq!(child(Context::Forkserver), (second, theirs), "nothing has changed since");
    assert!(stop_forkserver(PATIENCE).unwrap(), "a server does not end");
}

#[track_caller]
fn in_a_process_of_its_own(what: &str) {
    let process = Process::builder().context(Context::Spawn).start(start_and_lower, (what.to_owned(),)).unwrap();
    assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)), "{what}");
}

fn fork_server_is_replaced_when_rights_were_given_up() {
    in_a_process_of_its_own("no-new-privileges");
    if effective_user() != 0 {
        return println!("SKIPPED the rest of fork_server_is_replaced_when_rights_were_given_up: it needs root");
    }
    for what in ["user", "effective-user", "saved-user", "groups", "capability", "bounding"] {
        in_a_process_of_its_own(what);
    }
}

fn fork_server_stays_while_the_rights_do() {
    in_a_process_of_its_own("nothing");
}

/// Lowers its rights, and sends the rights of a spawned child.
pub fn lower_and_spawn(what: String, Handle(mut tell): Handle<File>) {
    lower(&what);
    write!(tell, "{}", child(Context::Spawn).1.join("\n")).unwrap();
}

fn spawned_after(what: &str) -> String {
    let (mut told, tell) = pipe();
    let process = Process::builder().context(Context::Spawn);
    let process = process.start(lower_and_spawn, (what.to_owned(), Handle(tell))).unwrap();
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)));
    text
}

fn spawned_child_has_no_capability_that_was_given_up() {
    if effective_user() != 0 {
        return println!("SKIPPED spawned_child_has_no_capability_that_was_given_up: it needs root");
    }
    let set = |text: &str, name: &str| bits(text.lines().find(|line| line.starts_with(name)).unwrap());
    let (whole, less) = (spawned_after("nothing"), spawned_after("capability"));
    for name in ["CapPrm:", "CapEff:"] {
        assert_eq!(set(&less, name), set(&whole, name) & !(1 << ONE), "{less}");
    }
}

fn spawned_child_cannot_go_back_to_the_real_user() {
    if effective_user() != 0 {
        return println!("SKIPPED spawned_child_cannot_go_back_to_the_real_user: it needs root");
    }
    let text = spawned_after("effective-user");
    let expected = format!("Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}");
    assert_eq!(text.lines().next(), Some(expected.as_str()), "{text}");
}

/// The socket that this process shares with its fork server.
pub fn way_to_the_server() -> Socket {
    let mut found = Vec::new();
    for number in descriptors().keys() {
        // SAFETY: the number was read off the list of what is open, and nothing is closed meanwhile.
        let fd = unsafe { BorrowedFd::borrow_raw(*number) };
        if kind_of(fd) == Ok(Some(Kind::SeqPacket)) {
            found.push(fd.try_clone_to_owned().unwrap());
        }
    }
    assert_eq!(found.len(), 1, "the one socket of packets is that of the server");
    Socket::try_from(found.remove(0)).unwrap()
}

/// Requests a child from the server, without the comparison that this library makes before. Returns the tag, the errno
/// and the text of the reply.
fn ask(server: &Socket) -> (u8, i32, String) {
    let (status, theirs) = Socket::pair(Kind::SeqPacket).unwrap();
    let (_line, end) = Socket::pair(Kind::Stream).unwrap();
    server.send_with(b"F", &[theirs.as_fd(), end.as_fd()], PATIENCE).unwrap().unwrap();
    drop((theirs, end));
    let mut answer = [0; 512];
    let got = status.recv_with::<2>(&mut answer, PATIENCE).unwrap().unwrap();
    let number = answer[1..5].try_into().map_or(0, i32::from_le_bytes);
    (answer[0], number, String::from_utf8_lossy(&answer[5..got.len]).into_owned())
}

fn fork_server_tells_another_user_that_it_refuses() {
    if effective_user() != 0 {
        return println!("SKIPPED fork_server_tells_another_user_that_it_refuses: only root becomes another user");
    }
    let _ = child(Context::Forkserver);
    let server = way_to_the_server();
    assert_eq!(ask(&server).0, b'P', "this user gets a child");
    let mut other = fork(|| {
        lower("user");
        let (tag, errno, text) = ask(&server);
        let refused = (tag, errno) == (b'E', Errno::PERM.raw_os_error());
        let told = text.contains("user 65534") && text.contains("stop_forkserver");
        u8::from(!refused) + 2 * u8::from(!told)
    })
    .unwrap();
    assert_eq!(other.wait().unwrap(), ExitStatus::Code(0));
    drop(server);
    assert!(stop_forkserver(PATIENCE).unwrap(), "the server does not end");
}
