//! Connecting, and the two halves of a handshake over an existing connection.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{
    Access, Address, AuthKey, CancelFd, ConnectBuilder, Connection, Handshake, Listener, answer_challenge,
    answer_challenge_timeout, connect, connect_timeout, deliver_challenge, deliver_challenge_timeout, pipe,
};
use ossature::multiprocessing::transfer::Trust;
use ossature::sys::deadline::Deadline;
use ossature::sys::errno::Errno;

use super::{fresh, key, keyed};
use crate::support::{soon, thread_id, until_asleep};

#[test]
fn where_nobody_listens_is_an_error_at_once() {
    let port = {
        let listener = Listener::bind(("127.0.0.1", 0)).unwrap();
        let Address::Inet(_, port) = *listener.address() else { panic!("{listener:?}") };
        port
    };
    assert_eq!(connect(("127.0.0.1", port)).unwrap_err().errno(), Some(Errno::CONNREFUSED));
    assert_eq!(connect(fresh()).unwrap_err().errno(), Some(Errno::NOENT));
    assert_eq!(connect("\0ossature-nobody").unwrap_err().errno(), Some(Errno::CONNREFUSED));
    assert_eq!(connect(r"\\.\pipe\x").unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// Otherwise small messages of a conversation would wait for the acknowledgements of earlier ones.
#[test]
fn both_ends_at_a_port_send_without_delay() {
    let delays = |end: &Connection| {
        let socket = std::net::TcpStream::from(end.as_fd().try_clone_to_owned().unwrap());
        !socket.nodelay().unwrap()
    };
    for builder in [Listener::builder(), keyed()] {
        let has_key = format!("{builder:?}").contains("AuthKey");
        let listener = builder.bind(("127.0.0.1", 0)).unwrap();
        let address = listener.address().clone();
        let client = std::thread::spawn(move || match has_key {
            true => ConnectBuilder::new().authkey(&key()).connect(address),
            false => connect(address),
        });
        let peer = soon(|| listener.accept().unwrap());
        let client = client.join().unwrap().unwrap();
        assert_eq!([&client, &peer].map(delays), [false; 2], "with a key: {has_key}");
    }
}

#[test]
fn a_silent_listener_is_waited_for_until_the_deadline() {
    let path = match fresh() {
        Address::Unix(path) => path,
        other => panic!("{other}"),
    };
    let _silent = UnixListener::bind(&path).unwrap();
    let start = Instant::now();
    let connected = ConnectBuilder::new().authkey(&key()).connect_timeout(path.as_path(), Duration::from_millis(20));
    assert!(connected.unwrap().is_none() && start.elapsed() >= Duration::from_millis(20));
    assert!(connect_timeout(path.as_path(), Deadline::NOW).unwrap().is_some(), "without a key it is done");
}

#[test]
fn a_failed_handshake_names_both_addresses() {
    let listener = keyed().bind(("127.0.0.1", 0)).unwrap();
    let address = listener.address().clone();
    let stranger = std::thread::spawn(move || {
        let error = ConnectBuilder::new().authkey(&AuthKey::from("another")).connect(&address).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{address}: the other side did not accept")), "{error}");
    });
    let error = soon(|| listener.accept().unwrap_err()).to_string();
    assert!(error.starts_with("127.0.0.1:") || error.starts_with("('127.0.0.1'"), "{error}");
    assert!(error.contains("does not know the key"), "{error}");
    stranger.join().unwrap();
}

#[test]
fn a_listener_without_a_key_is_an_error_that_says_so() {
    let listener = Listener::bind(fresh()).unwrap();
    let client = ConnectBuilder::new().authkey(&key()).handshake_timeout(Duration::from_millis(20));
    soon(|| {
        let start = Instant::now();
        for later in [Deadline::NEVER, Deadline::after(Duration::from_secs(60))] {
            let error = client.clone().connect_timeout(listener.address(), later).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Auth);
            assert!(error.to_string().contains("does it listen with a key?"), "{error}");
        }
        assert_eq!(client.clone().connect(listener.address()).unwrap_err().kind(), ErrorKind::Auth);
        assert!(start.elapsed() >= Duration::from_millis(60));
        let sooner = client.clone().connect_timeout(listener.address(), Duration::from_millis(1));
        assert!(sooner.unwrap().is_none(), "the caller's own time ran out first");
    });
}

#[test]
fn a_full_backlog_is_waited_for_until_the_deadline() {
    let listener = Listener::builder().backlog(0).bind(fresh()).unwrap();
    let mut waiting = Vec::new();
    soon(|| {
        while let Some(client) = connect_timeout(listener.address(), Duration::from_millis(20)).unwrap() {
            waiting.push(client);
            assert!(waiting.len() < 5000, "the backlog has an end");
        }
        listener.accept().unwrap();
        assert!(connect_timeout(listener.address(), Duration::from_secs(60)).unwrap().is_some());
    });
}

/// A connection, and the script of its other end: each message is a frame.
fn with_script(script: &[&[u8]]) -> (Connection, Connection) {
    let (near, far) = pipe().unwrap();
    script.iter().for_each(|message| far.send_bytes(message).unwrap());
    (near, far)
}

// OtherTest.test_deliver_challenge_auth_failure
#[test]
fn nonsense_is_no_answer_to_a_challenge() {
    for nonsense in [&b"something bogus"[..], b"", b"{sha256}", b"{nothing}x"] {
        let (near, far) = with_script(&[nonsense]);
        assert_eq!(deliver_challenge(&near, &key()).unwrap_err().kind(), ErrorKind::Auth);
        assert!(far.recv_bytes().unwrap().starts_with(b"#CHALLENGE#{sha256}"));
        assert_eq!(far.recv_bytes().unwrap(), b"#FAILURE#");
    }
}

// OtherTest.test_answer_challenge_auth_failure
#[test]
fn nonsense_is_neither_a_challenge_nor_a_welcome() {
    let challenge = [b"#CHALLENGE#", &[7; 20][..]].concat();
    for script in [&[&b"something bogus"[..]][..], &[&challenge, b"something bogus"], &[&challenge, b""]] {
        let (near, _far) = with_script(script);
        assert_eq!(answer_challenge(&near, &key()).unwrap_err().kind(), ErrorKind::Auth);
    }
}

#[test]
fn who_goes_in_the_middle_has_closed_and_who_says_too_much_is_not_heard() {
    let (near, far) = with_script(&[]);
    drop(far);
    assert_eq!(answer_challenge(&near, &key()).unwrap_err().kind(), ErrorKind::Closed);
    let (near, _far) = with_script(&[&[b'#'; 257]]);
    assert_eq!(answer_challenge(&near, &key()).unwrap_err().kind(), ErrorKind::TooLong);
}

// RFC 6761: no resolver finds it.
#[test]
fn a_host_that_is_not_found_is_named() {
    for address in [Address::from(("nohost.invalid", 4)), Address::Inet6("nohost.invalid".into(), 4)] {
        let error = connect(address.clone()).unwrap_err();
        assert!(error.to_string().contains("nohost.invalid") && std::error::Error::source(&error).is_some(), "{error}");
        let error = Listener::bind(address).unwrap_err();
        assert!(error.to_string().contains("nohost.invalid"), "{error}");
    }
}

#[test]
fn a_half_has_its_deadline() {
    let (near, _far) = with_script(&[]);
    let (start, span) = (Instant::now(), Duration::from_millis(10));
    assert!(!deliver_challenge_timeout(&near, &key(), span).unwrap());
    let (near, _far) = with_script(&[]);
    assert!(!answer_challenge_timeout(&near, &key(), span).unwrap());
    assert!(start.elapsed() >= span * 2);
}

#[test]
fn only_who_has_proved_itself_is_trusted() {
    soon(|| {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let [near, far] = [near, far].map(|end| Connection::from_fd(end.into(), Access::Both).unwrap());
        let other = std::thread::spawn(move || {
            answer_challenge(&far, &key()).unwrap();
            let between = far.trust();
            assert!(Handshake::deliver(&key()).unwrap().run(&far, None).unwrap());
            (between, far.trust())
        });
        deliver_challenge(&near, &key()).unwrap();
        assert_eq!(near.trust(), Trust::SameProgram);
        answer_challenge(&near, &key()).unwrap();
        assert_eq!(other.join().unwrap(), (Trust::Untrusted, Trust::SameProgram));
    });
}

/// A client without a key at a listener with one, which runs until it has rejected the client.
fn without_a_key<T: Send>(work: impl FnOnce(Connection) -> ossature::Result<T> + Send) -> (ossature::Result<T>, bool) {
    let listener = keyed().handshake_timeout(Duration::from_millis(500)).bind(fresh()).unwrap();
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| listener.accept());
        let done = work(connect(listener.address()).unwrap());
        (done, accepting.join().unwrap().is_ok())
    })
}

#[test]
fn a_client_without_a_key_is_told_that_one_is_asked_for() {
    type Work = fn(Connection) -> ossature::Result<()>;
    let works: [Work; 9] = [
        |client| client.recv_bytes().map(drop),
        |client| client.recv_bytes_max(1000).map(drop),
        |client| client.recv_bytes_into(&mut [0; 1000]).map(drop),
        |client| client.recv_bytes_into(&mut [0; 4]).map(drop),
        |client| client.recv::<String>().map(drop),
        |client| client.recv::<[u8; 2]>().map(drop),
        |client| client.recv_pickled().map(drop),
        |client| client.split().0.recv::<u8>().map(drop),
        |client| {
            let _ = client.send(&42); // taken for an answer to the challenge
            client.recv::<u8>().map(drop)
        },
    ];
    soon(|| {
        for work in works {
            let (error, let_in) = without_a_key(work);
            let error = error.unwrap_err();
            assert_eq!((error.kind(), let_in), (ErrorKind::Auth, false), "{error}");
            assert!(error.to_string().contains("key"), "{error}");
        }
    });
}

#[test]
fn the_challenge_of_an_old_python_is_one_too() {
    let listener = Listener::bind(fresh()).unwrap();
    let client = connect(listener.address()).unwrap();
    listener.accept().unwrap().send_bytes(&[b"#CHALLENGE#", &[7; 20][..]].concat()).unwrap();
    assert_eq!(client.recv_bytes().unwrap_err().kind(), ErrorKind::Auth);
}

#[test]
fn a_challenge_can_still_be_answered_by_hand() {
    let by_handshake = |client: Connection| Handshake::client(&key())?.run(&client, Deadline::NEVER);
    soon(|| {
        assert!(matches!(without_a_key(by_handshake), (Ok(true), true)));
        assert!(matches!(
            without_a_key(|client| answer_challenge(&client, &key()).and_then(|()| deliver_challenge(&client, &key()))),
            (Ok(()), true)
        ));
    });
}

#[test]
fn what_only_looks_like_a_challenge_is_a_message() {
    let listener = Listener::bind(fresh()).unwrap();
    let challenge = [b"#CHALLENGE#", &[7; 20][..]].concat();
    let long = [b"#CHALLENGE#{sha256}", &[7; 300][..]].concat();
    for first in [&b"#CHALLENGE#"[..], b"#CHALLENGE#{sha257}0123456789", &challenge[..30], &long] {
        let client = connect(listener.address()).unwrap();
        let server = listener.accept().unwrap();
        for message in [first, &challenge] {
            server.send_bytes(message).unwrap();
            assert_eq!(client.recv_bytes().unwrap(), message, "only the first can be one");
        }
        client.send_bytes(&challenge).unwrap();
        assert_eq!(server.recv_bytes().unwrap(), challenge, "nor is a client's");
    }
}

/// Cancels a call from outside once it waits. Returns its result.
fn called_away<R: Send>(call: impl FnOnce(&CancelFd) -> R + Send) -> R {
    let stop = CancelFd::new().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            tell.send(thread_id()).unwrap();
            call(&stop)
        });
        until_asleep(told.recv().unwrap());
        std::thread::sleep(Duration::from_millis(5));
        assert!(!waiting.is_finished(), "nothing else ends it");
        stop.cancel().unwrap();
        soon(|| waiting.join().unwrap())
    })
}

/// A full queue, at a path and at a port: nothing can connect until a connection is accepted.
#[test]
fn connecting_to_a_full_queue_ends_when_it_is_cancelled() {
    for address in [fresh(), ("127.0.0.1", 0).into()] {
        let listener = Listener::builder().backlog(0).bind(address).unwrap();
        let mut waiting = Vec::new();
        while let Some(client) = connect_timeout(listener.address(), Duration::from_millis(20)).unwrap() {
            waiting.push(client);
            assert!(waiting.len() < 5000, "the backlog has an end");
        }
        assert!(called_away(|stop| connect_timeout(listener.address(), stop)).unwrap().is_none());
        let within = |stop: &CancelFd| connect_timeout(listener.address(), stop.within(Duration::from_secs(60)));
        assert!(called_away(within).unwrap().is_none());
        let stop = CancelFd::new().unwrap();
        let start = Instant::now();
        assert!(connect_timeout(listener.address(), stop.within(Duration::from_millis(20))).unwrap().is_none());
        assert!(start.elapsed() >= Duration::from_millis(20), "its deadline counts as well");
        // Room ends the wait, and a cancel that comes later does nothing.
        std::thread::scope(|scope| {
            let connecting = scope.spawn(|| connect_timeout(listener.address(), &stop));
            soon(|| {
                while !connecting.is_finished() {
                    drop(listener.accept_timeout(Duration::from_millis(5)))
                }
            });
            assert!(connecting.join().unwrap().unwrap().is_some());
        });
    }
}

#[test]
fn a_cancel_ends_no_connect_that_need_not_wait() {
    let stop = CancelFd::new().unwrap();
    stop.cancel().unwrap();
    let listener = Listener::bind(fresh()).unwrap();
    assert!(connect_timeout(listener.address(), &stop).unwrap().is_some());
    assert_eq!(connect_timeout(fresh(), &stop).unwrap_err().errno(), Some(Errno::NOENT));
}

#[test]
fn handshakes_end_when_they_are_cancelled() {
    let silent = Listener::bind(fresh()).unwrap();
    let client = || ConnectBuilder::new().authkey(&key()).handshake_timeout(None);
    assert!(called_away(|stop| client().connect_timeout(silent.address(), stop)).unwrap().is_none());
    let hurried = ConnectBuilder::new().authkey(&key()).handshake_timeout(Duration::from_secs(60));
    assert!(called_away(|stop| hurried.connect_timeout(silent.address(), stop)).unwrap().is_none());

    type Call = fn(&Connection, &CancelFd) -> ossature::Result<bool>;
    let calls: [Call; 4] = [
        |near, stop| deliver_challenge_timeout(near, &key(), stop),
        |near, stop| answer_challenge_timeout(near, &key(), stop),
        |near, stop| Handshake::client(&key())?.run(near, stop),
        |near, stop| Handshake::server(&key())?.run(near, stop.within(Duration::from_secs(60))),
    ];
    for call in calls {
        let (near, _silent) = pipe().unwrap();
        assert!(!called_away(move |stop| call(&near, stop)).unwrap());
    }
}

#[test]
fn passing_descriptors_ends_when_it_is_cancelled() {
    use ossature::multiprocessing::reduction::{Acknowledgement, recv_handles, send_handles};
    let (near, far) = pipe().unwrap();
    let none = called_away(|stop| recv_handles(&{ far }, 1, Acknowledgement::None, stop)).unwrap();
    assert!(none.is_none());
    let (silent_near, _far) = pipe().unwrap();
    drop(near);
    let sent =
        called_away(move |stop| send_handles(&silent_near, &[std::io::stdin().as_fd()], Acknowledgement::Byte, stop));
    assert!(!sent.unwrap(), "nobody acknowledges them");
}
