//! Connections with failing system calls, byte by byte: present only under `--cfg ossature_faults`.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{CancelFd, Connection, pipe, pipe_one_way};
use ossature::multiprocessing::transfer::Handle;
use ossature::sys::deadline::Deadline;
use ossature::sys::errno::Errno;
use ossature::sys::faults::{Fault, Rule};

use crate::support::soon;
use crate::{bare, kind};

/// The calls that write or read.
const CALLS: [&str; 8] = ["send", "sendmsg", "pwritev2", "writev", "recv", "recvmsg", "read", "ppoll"];

#[test]
fn messages_survive_transfers_of_any_size() {
    let _alone = crate::alone();
    soon(|| [1, 2, 3, 5, 100].into_iter().for_each(survive));
}

fn survive(most: usize) {
    let _rules = CALLS.map(|call| Rule::on(call, Fault::Shorten(most)).arm().unwrap());
    for (near, far) in [pipe().unwrap(), pipe_one_way().map(|(reader, writer)| (writer, reader)).unwrap()] {
        // Each byte sent alone takes up a buffer of the socket, so few are sent before they are read.
        for len in if most < 100 { [0, 1, 30] } else { [64, 600, 900] } {
            near.send_bytes(&vec![7; len]).unwrap();
            assert!(near.send_bytes_timeout(&vec![8; len], Duration::from_secs(5)).unwrap().is_complete());
            assert_eq!(far.recv_bytes().unwrap(), vec![7; len]);
            let mut buffer = vec![0; len];
            assert_eq!(far.recv_bytes_into(&mut buffer).unwrap(), len);
            assert_eq!(buffer, vec![8; len]);
        }
    }
    let (near, far) = pipe().unwrap();
    near.send(&("text", vec![Handle(near.as_fd()), Handle(far.as_fd())])).unwrap();
    assert_eq!(far.recv::<(String, Vec<Handle<OwnedFd>>)>().unwrap().1.len(), 2);
}

#[test]
fn refusals_at_any_call_leave_whole_messages_or_an_error() {
    let _alone = crate::alone();
    soon(refuse);
}

fn refuse() {
    for errno in [Errno::INTR, Errno::NOBUFS, Errno::NOMEM, Errno::CONNRESET, Errno::PIPE] {
        for call in CALLS {
            for nth in 1..6 {
                let (near, far) = pipe().unwrap();
                let rule = Rule::on(call, Fault::Fail(errno)).nth(nth).arm().unwrap();
                let sent = [
                    near.send_bytes(b"one"),
                    near.send_bytes(&[2; 600]),
                    near.send(&Handle(near.as_fd())),
                    near.send_bytes(b"four"),
                ];
                drop(near);
                let mut arrived = 0;
                for _ in 0..sent.len() {
                    match far.recv_bytes() {
                        Ok(message) => {
                            let whole =
                                message == b"one" || message == [2; 600] || message == b"four" || message.len() == 1;
                            assert!(whole, "{errno} {call} {nth}: {message:?}");
                            arrived += 1;
                        }
                        Err(error) => assert!(
                            matches!(error.kind(), ErrorKind::Closed | ErrorKind::Os),
                            "{errno} {call} {nth}: {error}"
                        ),
                    }
                }
                drop(rule);
                let all = sent.iter().all(Result::is_ok);
                if errno == Errno::INTR {
                    assert!(all && arrived == 4, "{call} {nth}: a signal is nobody's concern");
                }
                let went = sent.iter().filter(|sent| sent.is_ok()).count();
                assert!(arrived <= went, "{errno} {call} {nth}");
            }
        }
    }
}

#[test]
fn what_came_before_a_passing_error_is_kept() {
    let _alone = crate::alone();
    let frame = b"\0\0\0\x08ABCDEFGH\0\0\0\x04WXYZ";
    for errno in [Errno::NOMEM, Errno::NOBUFS] {
        for cut in 1..12 {
            for (nth, into) in (1..5).flat_map(|nth| [(nth, true), (nth, false)]) {
                let (far, mut raw) = bare();
                // The first part alone, so that a call is refused after a short read; where there is none, it finds
                // nothing.
                raw.write_all(&frame[..cut]).unwrap();
                let rule = Rule::on("recv", Fault::Fail(errno)).nth(nth).arm().unwrap();
                let mut buffer = [0; 64];
                let begun = match into {
                    true => far.recv_bytes_into_timeout(&mut buffer, Deadline::NOW).map(drop),
                    false => far.recv_bytes_timeout(Deadline::NOW).map(drop),
                };
                drop(rule);
                assert!(begun.is_ok() || begun.unwrap_err().errno() == Some(errno), "{errno} {cut} {nth}");
                assert!(far.readable());
                raw.write_all(&frame[cut..]).unwrap();
                assert_eq!(far.recv_bytes().unwrap(), b"ABCDEFGH", "{errno} {cut} {nth} {into}");
                assert_eq!(far.recv_bytes().unwrap(), b"WXYZ");
            }
        }
    }
}

#[test]
fn out_of_descriptors_is_an_error_before_anything_is_sent() {
    let _alone = crate::alone();
    let (near, far) = pipe().unwrap();
    let rule = Rule::on("fcntl", Fault::Fail(Errno::MFILE)).arm().unwrap();
    let error = near.send(&Handle(far.as_fd())).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::MFILE)));
    drop(rule);
    assert_eq!(far.recv_bytes_timeout(Deadline::NOW).unwrap(), None);
    for call in ["socketpair", "ioctl", "getsockopt"] {
        let rule = Rule::on(call, Fault::Fail(Errno::NOMEM)).arm().unwrap();
        assert_eq!(kind(pipe().map(drop)), ErrorKind::Os, "{call}");
        drop(rule);
    }
    let rule = Rule::on("pipe2", Fault::Fail(Errno::MFILE)).arm().unwrap();
    assert_eq!(kind(pipe_one_way().map(drop)), ErrorKind::Os);
    drop(rule);
}

/// The limit of a wait may carry a `CancelFd`. Without one, no call is added: a receive without a deadline on a
/// blocking stream makes one call for the header and one for the message.
#[test]
fn wait_without_a_cancel_makes_no_call_more() {
    let _alone = crate::alone();
    soon(|| {
        let calls = |receive: &dyn Fn(&Connection)| {
            let (near, far) = pipe().unwrap();
            near.send_bytes(b"there").unwrap();
            let [received, polled] = ["recv", "ppoll"].map(|call| Rule::on(call, Fault::Count).arm().unwrap());
            receive(&far);
            (received.seen(), polled.seen())
        };
        let stop = CancelFd::new().unwrap();
        let plain = calls(&|far| drop(far.recv_bytes().unwrap()));
        assert_eq!(plain.1, 0);
        assert_eq!(calls(&|far| drop(far.recv_bytes_timeout(Duration::from_secs(5)).unwrap().unwrap())), plain);
        assert_eq!(calls(&|far| drop(far.recv_bytes_timeout(&stop).unwrap().unwrap())), plain, "nothing to wait for");
        let (_near, far) = pipe().unwrap();
        let [received, polled] = ["recv", "ppoll"].map(|call| Rule::on(call, Fault::Count).arm().unwrap());
        assert!(far.recv_bytes_timeout(Duration::from_millis(1)).unwrap().is_none());
        assert_eq!((received.seen(), polled.seen()), (2, 1), "a look, a wait, a last look");
    });
}
