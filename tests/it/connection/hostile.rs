//! Messages from hostile peers: an error in time, bounded memory, and never a part of a message.

use std::io::Write;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Access, Connection, pipe, pipe_one_way};

use super::{bare, bare_tcp, kind};
use crate::support::soon;

#[test]
fn headers_that_are_no_length_spoil_the_connection() {
    for header in [-2_i32, -3, i32::MIN, i32::MIN + 254, -1000] {
        let (near, mut far) = bare();
        far.write_all(&[&header.to_be_bytes()[..], b"\0\0\0\x02hi"].concat()).unwrap();
        assert_eq!(kind(near.recv_bytes()), ErrorKind::Decode, "{header}");
        assert!(!near.readable() && near.writable());
        assert_eq!(kind(near.recv_bytes()), ErrorKind::Closed, "where the next message begins nobody knows");
    }
}

#[test]
fn announced_lengths_ask_for_no_memory() {
    for len in [u64::MAX, i64::MAX as u64 + 1] {
        let (near, mut far) = bare();
        far.write_all(&[&[0xff; 4][..], &len.to_be_bytes()].concat()).unwrap();
        near.set_max_message(None);
        let error = near.recv_bytes_timeout(Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLong);
        assert!(!error.to_string().contains("set_max_message"), "it is allowed already: {error}");
    }
    // What could be addressed is waited for, in small pieces, if anything may come.
    let before = resident();
    let (near, mut far) = bare();
    near.set_max_message(None);
    far.write_all(&[&[0xff; 4][..], &(isize::MAX as u64 / 2).to_be_bytes(), &[1; 100_000]].concat()).unwrap();
    assert_eq!(near.recv_bytes_timeout(Duration::from_millis(20)).unwrap(), None);
    assert!(resident() < before + (64 << 20), "{before} {}", resident());
    drop(far);
    assert_eq!(kind(near.recv_bytes()), ErrorKind::Closed);
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn messages_beyond_the_limit_are_refused_unread_and_end_the_receiving() {
    let (near, mut far) = bare();
    far.write_all(b"\0\0\0\x05hello\0\0\0\x06hello!").unwrap();
    assert_eq!(near.recv_bytes_max(5).unwrap(), b"hello");
    let error = near.recv_bytes_max(5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLong);
    assert!(error.to_string().contains("bad message length"), "{error}");
    assert!(!error.to_string().contains("set_max_message"), "the call's own limit holds: {error}");
    assert!(!near.readable() && near.writable());
    near.send_bytes(b"answer").unwrap();

    let (reader, writer) = pipe_one_way().unwrap();
    writer.send_bytes(b"too long").unwrap();
    assert_eq!(kind(reader.recv_bytes_max(0)), ErrorKind::TooLong);
    assert!(reader.is_closed());
}

#[test]
fn strangers_send_no_more_than_is_allowed_and_the_program_what_it_likes() {
    const USUAL: u32 = 256 << 20;
    type Receive = fn(&Connection) -> ossature::Result<()>;
    let ways: [Receive; 5] = [
        |near| near.recv::<u8>().map(drop),
        |near| near.recv_bytes().map(drop),
        |near| near.recv_pickled().map(drop),
        |near| near.recv_bytes_into(&mut [0; 8]).map(drop),
        |near| near.recv_bytes_timeout(Duration::from_secs(5)).map(drop),
    ];
    soon(move || {
        for receive in ways {
            let (near, mut far) = bare();
            assert_eq!(near.max_message(), USUAL as usize);
            far.write_all(&(USUAL + 1).to_be_bytes()).unwrap();
            let error = receive(&near).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLong);
            assert!(error.to_string().contains("set_max_message") && !near.readable(), "{error}");
            let (near, mut far) = bare_tcp();
            near.set_max_message(2);
            far.write_all(b"\0\0\0\x09123456789").unwrap();
            assert_eq!(kind(receive(&near)), ErrorKind::TooLong);
        }
    });
    // As much as that is waited for.
    let (near, mut far) = bare();
    far.write_all(&USUAL.to_be_bytes()).unwrap();
    assert_eq!(near.recv_bytes_timeout(Duration::ZERO).unwrap(), None);
    // A limit of the call's own counts instead, and room that is there already.
    let (near, mut far) = bare();
    near.set_max_message(2);
    let (receiver, _sender) = near.split();
    assert_eq!(receiver.max_message(), 2, "the half keeps it");
    far.write_all(b"\0\0\0\x01\x07\0\0\0\x03abc\0\0\0\x03abc\0\0\0\x03abc").unwrap();
    assert_eq!(receiver.recv_max::<u8>(1).unwrap(), 7);
    assert_eq!(receiver.recv_bytes_max(3).unwrap(), b"abc");
    assert_eq!(receiver.recv_bytes_into(&mut [0; 3]).unwrap(), 3);
    assert_eq!(kind(receiver.recv_max::<(u8, u8, u8)>(2)), ErrorKind::TooLong);
    let (near, mut far) = bare();
    far.write_all(b"\0\0\0\x03K\x07.\0\0\0\x03K\x07.").unwrap();
    near.recv_pickled_max(3).unwrap();
    assert_eq!(kind(near.recv_pickled_max(2)), ErrorKind::TooLong);
    let (near, _far) = pipe().unwrap();
    assert_eq!(near.max_message(), usize::MAX);
}

#[test]
fn end_within_a_message_is_no_message() {
    for part in [&b"\0"[..], b"\0\0\0\x05", b"\0\0\0\x05hell", b"\xff\xff\xff\xff\0\0"] {
        let (near, mut far) = bare();
        far.write_all(part).unwrap();
        drop(far);
        let error = near.recv_bytes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("within a message"), "{error}");
        assert_eq!(kind(near.recv_bytes_into(&mut [0; 8])), ErrorKind::Closed);
    }
}

#[test]
fn reset_by_the_peer_is_closed() {
    soon(|| {
        let (near, far) = bare_tcp();
        near.send_bytes(&[0; 100]).unwrap();
        let far = Connection::from_fd(far.into(), Access::Both).unwrap();
        assert!(far.poll(None).unwrap());
        drop(far); // with bytes unread, so the kernel resets the connection
        assert_eq!(kind(near.recv_bytes()), ErrorKind::Closed);
    });
}

#[test]
fn slow_drip_is_over_at_the_deadline_and_goes_on_later() {
    let (near, mut far) = bare();
    let frame = b"\0\0\0\x0bhello world";
    for byte in &frame[..14] {
        far.write_all(&[*byte]).unwrap();
        assert_eq!(near.recv_bytes_timeout(Duration::from_millis(1)).unwrap(), None);
    }
    far.write_all(&frame[14..]).unwrap();
    assert_eq!(near.recv_bytes().unwrap(), b"hello world");
}

#[test]
fn announced_descriptors_that_do_not_come_spoil_the_connection() {
    let (near, mut far) = bare();
    far.write_all(b"\x80\0\0\x01\0\0\0\0\0\0\0\x01x").unwrap();
    assert_eq!(kind(near.recv_bytes()), ErrorKind::Decode);
    assert!(!near.readable());
}

#[test]
fn descriptors_announced_by_tcp_are_refused() {
    let (near, mut far) = bare_tcp();
    far.write_all(b"\x80\0\0\x01\0\0\0\0\0\0\0\x01x").unwrap();
    assert_eq!(kind(near.recv_bytes()), ErrorKind::NotAllowed);
    assert!(!near.readable());
}
