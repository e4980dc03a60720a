//! Listeners and clients with failing system calls: present only under `--cfg ossature_faults`.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{
    Address, AuthKey, CancelFd, ConnectBuilder, Connection, Family, Listener, ListenerBuilder, connect, connect_timeout,
};
use ossature::sys::deadline::Deadline;
use ossature::sys::errno::Errno;
use ossature::sys::faults::{Armed, Fault, Rule};

use crate::support::soon;

fn key() -> AuthKey {
    AuthKey::from("peekaboo")
}

fn fresh() -> Address {
    Address::arbitrary(Family::Unix).unwrap()
}

fn keyed() -> ListenerBuilder {
    Listener::builder().authkey(&key())
}

/// Starts a client on a thread of its own, because the listener has its part in the handshake.
fn client(address: &Address) -> std::thread::JoinHandle<ossature::Result<Connection>> {
    let address = address.clone();
    std::thread::spawn(move || ConnectBuilder::new().authkey(&key()).connect(address))
}

/// Arms a rule for the calling thread, and sends it to another thread.
fn armed(rule: Rule, shown: &Sender<Arc<Armed>>) -> Arc<Armed> {
    let rule = Arc::new(rule.arm().unwrap());
    shown.send(rule.clone()).unwrap();
    rule
}

/// Waits until `it_is_so` returns true, within the caller's [`soon`].
fn until(it_is_so: impl Fn() -> bool) {
    while !it_is_so() {
        std::thread::yield_now();
    }
}

/// A listener is stopped between its check of a dead file and the removal. Without the lock another listener would take
/// the path meanwhile, and lose its file.
#[test]
fn a_dead_file_is_removed_by_one_listener() {
    let _alone = crate::alone();
    soon(|| {
        let Address::Unix(path) = fresh() else { panic!("not a path") };
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (shown, rules) = channel();
        let slow = std::thread::spawn({
            let path = path.clone();
            move || {
                let rule = armed(Rule::on("unlink", Fault::Delay(Duration::from_millis(400))), &shown);
                let listener = Listener::bind(path); // waits until the file is old enough to be dead
                assert_eq!(rule.seen(), 1);
                listener
            }
        });
        let rule = rules.recv().unwrap();
        until(|| rule.hits() == 1);
        let quick = Listener::bind(path.as_path());
        let slow = slow.join().unwrap().unwrap();
        assert_eq!(quick.unwrap_err().errno(), Some(Errno::ADDRINUSE));
        assert!(slow.removed_stale_file());
        let client = connect(path.as_path()).unwrap();
        slow.accept().unwrap().send_bytes(b"mine").unwrap();
        assert_eq!(client.recv_bytes().unwrap(), b"mine");
    });
}

/// A process that removes another's lock file ends the exclusion. The other notices that before it removes a file.
#[test]
fn a_listener_whose_lock_file_is_gone_locks_again() {
    let _alone = crate::alone();
    soon(|| {
        let Address::Unix(path) = fresh() else { panic!("not a path") };
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (shown, rules) = channel();
        let lock_file = path.with_file_name(format!(".{}.bind-lock", path.file_name().unwrap().to_str().unwrap()));
        let slow = std::thread::spawn({
            let path = path.clone();
            move || {
                // The one connect is that of the look at the dead file, which is old enough afterwards.
                let _rule = armed(Rule::on("connect", Fault::Delay(Duration::from_millis(400))).nth(1), &shown);
                Listener::bind(path)
            }
        });
        let rule = rules.recv().unwrap();
        until(|| rule.hits() == 1);
        std::fs::remove_file(&lock_file).unwrap();
        let other = std::ffi::CString::new(lock_file.to_str().unwrap()).unwrap();
        let held = ossature::sys::flock::FileLock::try_create(&other).unwrap().unwrap();
        let error = slow.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("no lock file can be locked"), "{error}");
        assert!(path.exists() && lock_file.exists(), "what another has locked stays");
        drop(held);
        assert!(Listener::bind(path.as_path()).unwrap().removed_stale_file());
    });
}

/// A listener opens the lock file, and the file is removed and replaced before the listener locks it. Its lock then
/// excludes nobody, so the listener waits for the new file.
#[test]
fn a_lock_on_a_removed_file_does_not_count() {
    let _alone = crate::alone();
    soon(|| {
        let Address::Unix(path) = fresh() else { panic!("not a path") };
        let lock_file = path.with_file_name(format!(".{}.bind-lock", path.file_name().unwrap().to_str().unwrap()));
        let (shown, rules) = channel();
        let slow = std::thread::spawn({
            let path = path.clone();
            move || {
                let _rule = armed(Rule::on("flock", Fault::Delay(Duration::from_millis(300))).nth(1), &shown);
                Listener::bind(path)
            }
        });
        let rule = rules.recv().unwrap();
        until(|| rule.hits() == 1);
        std::fs::remove_file(&lock_file).unwrap();
        let other = std::ffi::CString::new(lock_file.to_str().unwrap()).unwrap();
        let held = ossature::sys::flock::FileLock::try_create(&other).unwrap().unwrap();
        until(|| rule.seen() > 3); // it has looked at the new file, and again
        assert!(!path.exists(), "another listener has the right to bind");
        drop(held);
        drop(slow.join().unwrap().unwrap());
        assert!(!lock_file.exists() && !path.exists());
    });
}

/// A peer that another thread is handling still counts, although the table does not contain the peer meanwhile.
#[test]
fn a_peer_whose_handshake_goes_on_counts_among_the_pending() {
    let _alone = crate::alone();
    const HELD: Duration = Duration::from_secs(2);
    soon(|| {
        let listener = keyed().handshakes(1).bind(fresh()).unwrap();
        let Address::Unix(path) = listener.address() else { panic!("not a path") };
        std::thread::scope(|scope| {
            let (shown, rules) = channel();
            let listener = &listener;
            let held = scope.spawn(move || {
                let _rule = armed(Rule::on("recv", Fault::Delay(HELD)).nth(1), &shown);
                listener.accept().map(drop)
            });
            let first = client(listener.address());
            let rule = rules.recv().unwrap();
            until(|| rule.hits() == 1); // the client has answered, and the other thread reads that
            let mut second = UnixStream::connect(path).unwrap();
            second.set_nonblocking(true).unwrap();
            assert!(listener.accept_timeout(Duration::from_millis(200)).unwrap().is_none());
            let early = second.read(&mut [0]).unwrap_err();
            assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock, "there is no room for a challenge");
            // The first has been there for so long that the second may take its place now.
            drop(held.join().unwrap());
            drop(first.join().unwrap());
            while second.read(&mut [0]).is_err() {
                assert!(listener.accept_timeout(Duration::from_millis(100)).unwrap().is_none());
            }
        });
    });
}

/// The first message of either side finds no room in the socket at first.
#[test]
fn what_found_no_room_is_said_later() {
    let _alone = crate::alone();
    soon(|| {
        let listener = keyed().handshake_timeout(Duration::from_secs(3)).bind(fresh()).unwrap();
        let full = || Rule::on("send", Fault::Fail(Errno::AGAIN)).times(1).arm().unwrap();
        let honest = client(listener.address());
        let rule = full();
        listener.accept().unwrap();
        assert_eq!(rule.hits(), 1);
        drop(rule);
        honest.join().unwrap().unwrap();
        std::thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept().map(drop));
            let rule = full();
            ConnectBuilder::new().authkey(&key()).connect(listener.address()).unwrap();
            assert_eq!(rule.hits(), 1);
            accepting.join().unwrap().unwrap();
        });
    });
}

/// The pauses double from 5 to 100 ms, so only a few attempts fit into the time.
#[test]
fn an_accept_without_descriptors_tries_seldom() {
    let _alone = crate::alone();
    soon(|| {
        for builder in [Listener::builder(), keyed()] {
            let listener = builder.bind(fresh()).unwrap();
            let Address::Unix(path) = listener.address() else { panic!("not a path") };
            let _peer = UnixStream::connect(path).unwrap();
            let rule = Rule::on("accept4", Fault::Fail(Errno::MFILE)).arm().unwrap();
            let error = listener.accept_timeout(Duration::from_millis(400)).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::MFILE));
            assert!((2..=12).contains(&rule.hits()), "{}", rule.hits());
        }
    });
}

/// Rules without `everywhere` match the calls of this thread only, so the other side of each handshake is not affected.
#[test]
fn a_listener_outlives_what_the_system_refuses_it() {
    let _alone = crate::alone();
    soon(|| {
        let listener = keyed().bind(fresh()).unwrap();
        let Address::Unix(path) = listener.address() else { panic!("not a path") };
        let mut silent = Vec::new();
        for (call, errno, kind) in [
            ("accept4", Errno::MFILE, ErrorKind::Os),
            ("accept4", Errno::NOMEM, ErrorKind::Os),
            ("getrandom", Errno::NOSYS, ErrorKind::Os),
            ("send", Errno::PIPE, ErrorKind::Auth),
            ("recv", Errno::CONNRESET, ErrorKind::Auth),
            ("recv", Errno::NOMEM, ErrorKind::Os),
            ("send", Errno::NOBUFS, ErrorKind::Os),
            ("epoll_wait", Errno::NOMEM, ErrorKind::Os),
            ("ppoll", Errno::NOMEM, ErrorKind::Os),
            ("epoll_ctl", Errno::NOSPC, ErrorKind::Os),
        ] {
            if call == "epoll_ctl" {
                silent.push(UnixStream::connect(path).unwrap()); // beside another peer, each needs its entry in the set
            }
            let honest = client(listener.address());
            let rule = Rule::on(call, Fault::Fail(errno)).arm().unwrap();
            let error = listener.accept().unwrap_err();
            drop(rule);
            assert_eq!((error.kind(), error.errno()), (kind, Some(errno)), "{call}");
            // Who was not lost by it gets in now, and if not the next one.
            let next = client(listener.address());
            let mut let_in = 0;
            while !(honest.is_finished() && next.is_finished()) {
                let_in += usize::from(listener.accept_timeout(Duration::from_millis(10)).unwrap().is_some());
            }
            while listener.accept_timeout(Duration::from_millis(50)).unwrap().is_some() {
                let_in += 1;
            }
            let happy = [honest, next].into_iter().filter_map(|client| client.join().unwrap().ok()).count();
            assert!(let_in >= 1 && happy == let_in, "{call}: {let_in} of 2 were let in, {happy} know of it");
        }
    });
}

#[test]
fn a_handshake_survives_interruptions_and_single_bytes() {
    let _alone = crate::alone();
    let calls = ["send", "recv", "epoll_wait", "epoll_pwait2", "accept4"];
    soon(|| {
        let listener = keyed().bind(fresh()).unwrap();
        let interrupted = client(listener.address());
        let rules = calls.map(|call| Rule::on(call, Fault::Fail(Errno::INTR)).times(1).arm().unwrap());
        listener.accept().unwrap();
        interrupted.join().unwrap().unwrap();
        drop(rules);
        let slow = client(listener.address());
        let rules = ["send", "recv"].map(|call| Rule::on(call, Fault::Shorten(1)).arm().unwrap());
        listener.accept().unwrap();
        slow.join().unwrap().unwrap();
        drop(rules);
    });
}

#[test]
fn a_client_says_what_the_system_refused_it() {
    let _alone = crate::alone();
    let listener = keyed().bind(fresh()).unwrap();
    for (call, errno) in [("socket", Errno::MFILE), ("connect", Errno::CONNREFUSED), ("getrandom", Errno::PERM)] {
        let rule = Rule::on(call, Fault::Fail(errno)).arm().unwrap();
        let error = ConnectBuilder::new().authkey(&AuthKey::from("x")).connect(listener.address()).unwrap_err();
        drop(rule);
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(errno)), "{call}");
    }
    for (errno, remedy) in [(Errno::MFILE, "RLIMIT_NOFILE"), (Errno::NFILE, "fs.file-max")] {
        let _rule = Rule::on("socket", Fault::Fail(errno)).arm().unwrap();
        for error in [connect(listener.address()).map(drop), Listener::bind(fresh()).map(drop)] {
            let error = error.unwrap_err();
            assert!(error.errno() == Some(errno) && error.to_string().contains(remedy), "{error}");
        }
    }
    // What the first two had connected meanwhile is nobody's any more.
    while !matches!(listener.accept_timeout(Deadline::NOW), Ok(None)) {}
    for (call, errno, kind) in [
        ("recv", Errno::NOMEM, ErrorKind::Os),
        ("send", Errno::NOBUFS, ErrorKind::Os),
        ("recv", Errno::CONNRESET, ErrorKind::Closed),
        ("send", Errno::PIPE, ErrorKind::Closed),
    ] {
        let rule = Rule::on(call, Fault::Fail(errno)).arm().unwrap();
        // The listener says its challenge first.
        let failing = || ConnectBuilder::new().authkey(&key()).connect(listener.address()).map(drop);
        let error = std::thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept().map(drop));
            let error = failing().unwrap_err();
            assert_eq!(accepting.join().unwrap().unwrap_err().kind(), ErrorKind::Auth, "it went away");
            error
        });
        drop(rule);
        assert_eq!((error.kind(), error.errno()), (kind, Some(errno)), "{call}");
    }
    let rule = Rule::on("listen", Fault::Fail(Errno::ADDRINUSE)).arm().unwrap();
    let Address::Unix(path) = fresh() else { panic!("not a path") };
    let error = keyed().bind(path.as_path()).unwrap_err();
    drop(rule);
    assert_eq!(error.errno(), Some(Errno::ADDRINUSE));
    assert!(!path.exists(), "the file was made by bind, and nobody listens there");
}

#[test]
fn a_socket_from_elsewhere_is_refused_when_the_system_does() {
    let _alone = crate::alone();
    use std::os::fd::{AsFd, OwnedFd};
    let first = Listener::bind(fresh()).unwrap();
    let copy = || -> OwnedFd { first.as_fd().try_clone_to_owned().unwrap() };
    for (call, nth) in [("getsockopt", 1), ("getsockopt", 2), ("getsockname", 1), ("fcntl", 1), ("ioctl", 1)] {
        let fd = copy();
        let rule = Rule::on(call, Fault::Fail(Errno::NOBUFS)).nth(nth).arm().unwrap();
        let error = Listener::builder().adopt(fd).unwrap_err();
        drop(rule);
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::NOBUFS)), "{call} {nth}");
    }
    Listener::builder().adopt(copy()).unwrap();
}

#[test]
fn a_thread_that_is_held_up_in_a_handshake_holds_up_no_other() {
    let _alone = crate::alone();
    const HELD: Duration = Duration::from_secs(3);
    soon(|| {
        let listener = keyed().bind(fresh()).unwrap();
        std::thread::scope(|scope| {
            let (shown, rules) = channel();
            let listener = &listener;
            let held = scope.spawn(move || {
                let _rule = armed(Rule::on("recv", Fault::Delay(HELD)), &shown);
                listener.accept().map(drop)
            });
            let first = client(listener.address());
            let rule = rules.recv().unwrap();
            until(|| rule.hits() == 1); // the client has answered, and the other thread reads that
            let start = std::time::Instant::now();
            let second = client(listener.address());
            listener.accept().unwrap();
            second.join().unwrap().unwrap();
            assert!(start.elapsed() < HELD / 2, "{:?}", start.elapsed());
            held.join().unwrap().unwrap();
            first.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_listener_that_finds_no_descriptor_for_its_own_set_says_so() {
    let _alone = crate::alone();
    let listener = keyed().bind(fresh()).unwrap();
    for call in ["epoll_create1", "eventfd"] {
        let rule = Rule::on(call, Fault::Fail(Errno::MFILE)).arm().unwrap();
        let error = listener.accept_timeout(Deadline::NOW).unwrap_err();
        drop(rule);
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::MFILE)), "{call}");
    }
    assert!(listener.accept_timeout(Deadline::NOW).unwrap().is_none());
}

/// The limit of a connect may carry a `CancelFd`. Without one no call is added, nor with one where there is nothing to
/// wait for.
#[test]
fn connect_without_a_cancel_makes_no_call_more() {
    let _alone = crate::alone();
    soon(|| {
        let listener = Listener::bind(fresh()).unwrap();
        let calls = |connect: &dyn Fn(&Address) -> Connection| {
            let rules =
                ["socket", "connect", "ppoll", "getsockopt"].map(|call| Rule::on(call, Fault::Count).arm().unwrap());
            drop(connect(listener.address()));
            rules.map(|rule| rule.seen())
        };
        let plain = calls(&|address| connect(address).unwrap());
        assert_eq!(plain[..3], [1, 1, 0]);
        let minute = Duration::from_secs(60);
        assert_eq!(calls(&|address| connect_timeout(address, minute).unwrap().unwrap()), plain);
        let stop = CancelFd::new().unwrap();
        assert_eq!(calls(&|address| connect_timeout(address, &stop).unwrap().unwrap()), plain);
    });
}
