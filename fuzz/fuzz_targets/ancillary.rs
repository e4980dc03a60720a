//! What a stranger may put beside the bytes: control messages, events and addresses of any shape stay within their
//! buffers, and no number of descriptors sent into any room leaves one open.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, read};
use ossature_sys::socket::{Address, ControlMessages, Kind, Received, Socket};
use ossature_sys::{inotify, pipe};

/// Parts that follow each other in `whole`, each behind `header` bytes that belong to it.
fn in_order<'b>(whole: &'b [u8], header: usize, parts: impl Iterator<Item = &'b [u8]>) {
    let mut from = whole.as_ptr() as usize;
    for part in parts.filter(|part| !part.is_empty()) {
        let start = part.as_ptr() as usize;
        assert!(start >= from + header && start + part.len() <= whole.as_ptr() as usize + whole.len());
        from = start + part.len();
    }
}

fn receive<const N: usize>(socket: &Socket, room: usize) -> (usize, bool) {
    let got: Received<N> = socket.recv_with(&mut [0; 8][..room], Deadline::NOW).expect("bytes").expect("there now");
    assert!(got.len <= room && (got.descriptors.is_empty() || !got.descriptors_lost));
    (got.descriptors.into_iter().count(), got.descriptors_lost)
}

fuzz_target!(|input: (&[u8], u8, u8, u8)| {
    let (bytes, sent, room, how) = input;
    let header = size_of::<usize>() + 8;
    in_order(bytes, header, ControlMessages::new(bytes).map(|message| message.data));
    assert!(ControlMessages::new(bytes).count() <= bytes.len() / header);
    in_order(bytes, 16, inotify::Iter::new(bytes).filter_map(|event| event.name()));
    assert!(inotify::Iter::new(bytes).count() <= bytes.len() / 16);
    if let Address::Unix(name) = Address::from_bytes(bytes) {
        assert!(name.as_path().or(name.as_abstract()).is_none_or(|name| name.len() <= 108 && bytes.len() >= 3));
    }

    let kind = [Kind::Stream, Kind::Datagram, Kind::SeqPacket][usize::from(how) % 3];
    let (near, far) = Socket::pair(kind).expect("a pair");
    if how & 0x80 != 0 {
        far.set_pass_credentials().expect("an option");
    }
    let (reader, writer) = pipe::pipe(pipe::Flags::NONBLOCK).expect("a pipe");
    let sent = usize::from(sent % 254);
    near.send_with(b"bytes", &vec![writer.as_fd(); sent], Deadline::NOW).expect("room").expect("room");
    let (most, got) = match room % 4 {
        0 => (0, receive::<0>(&far, usize::from(room >> 5).max(1))),
        1 => (1, receive::<1>(&far, usize::from(room >> 5).max(1))),
        2 => (5, receive::<5>(&far, usize::from(room >> 5).max(1))),
        _ => (253, receive::<253>(&far, usize::from(room >> 5).max(1))),
    };
    assert_eq!(got, if sent <= most { (sent, false) } else { (0, true) });
    drop(writer);
    // What the kernel itself lets go of it may close a moment later.
    let patience = Deadline::after(Duration::from_secs(2));
    let mut end = read(&reader, &mut [0; 1]);
    while end == Err(Errno::AGAIN) && !patience.has_passed() {
        end = read(&reader, &mut [0; 1]);
    }
    assert_eq!(end, Ok(0), "a descriptor for the writer is still open");
});
