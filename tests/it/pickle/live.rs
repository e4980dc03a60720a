//! CPython's own `Connection` at the other end of a socket: it sends and receives pickles in messages.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ossature::error::ErrorKind;
use ossature::multiprocessing::connection::pickle::{Value, from_value};
use ossature::multiprocessing::connection::{Access, Connection};

use super::cpython::{Random, decoder, describe, interpreters};

/// Starts an interpreter that runs `script` with its end of a socket as `c`.
fn peer(python: &std::path::Path, script: &str) -> (Connection, Child) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors are left");
    let connection = Connection::from_fd(ours.into(), Access::Both).expect("it is a socket");
    let made = "try:\n    from multiprocessing.connection import Connection\n\
        except ImportError:\n    from _multiprocessing import Connection\n\
        c = Connection(0)\n";
    let child = Command::new(python)
        .args(["-c", &format!("{made}{script}")])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .expect("the interpreter starts");
    (connection, child)
}

const SOON: Duration = Duration::from_secs(60);

#[test]
fn what_is_sent_to_any_cpython_comes_back_the_same() {
    let script = "\
try:
    while True:
        c.send(c.recv())
except EOFError:
    pass
";
    let mut random = Random(1);
    let mut values: Vec<_> = (0..50).map(|_| random.value(3)).collect();
    values.push(Value::Text("x".repeat(1 << 20))); // longer than a socket holds
    for python in interpreters() {
        let (connection, mut child) = peer(&python, script);
        for value in &values {
            connection.send_pickled(value).expect("it listens");
            let message = connection.recv_bytes_timeout(SOON).expect("it answers").expect("soon");
            // A str of Python 2 may be any bytes, so not by `recv_pickled`.
            let answer = decoder().decode(&message).expect("plain data");
            assert!(describe(&answer) == describe(value), "{}: {answer:?}", python.display());
        }
        drop(connection);
        assert!(child.wait().expect("it can be waited for").success());
        println!("{}: {} values", python.display(), values.len());
    }
}

#[test]
fn an_object_from_any_cpython_is_an_error_and_the_next_message_comes() {
    let script = "\
class Thing(object):
    pass
c.send(Thing())
c.send((u'spam', [1, 2.5], None))
c.close()
";
    for python in interpreters() {
        let (connection, mut child) = peer(&python, script);
        let error = connection.recv_pickled_timeout(SOON).expect_err("it is not plain data");
        assert_eq!(error.kind(), ErrorKind::Decode);
        let text = error.to_string();
        assert!(text.contains("GLOBAL at offset") && text.contains("only plain data is read"), "{text}");
        let value = connection.recv_pickled_timeout(SOON).expect("plain data").expect("soon");
        let expected = ("spam".to_owned(), (1, 2.5), None::<u8>);
        assert_eq!(from_value::<(String, (i32, f64), Option<u8>)>(value).expect("it fits"), expected);
        assert_eq!(connection.recv_pickled_timeout(SOON).expect_err("it is over").kind(), ErrorKind::Closed);
        assert!(child.wait().expect("it can be waited for").success());
    }
}
