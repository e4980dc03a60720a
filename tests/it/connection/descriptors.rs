//! Open files beside messages, and CPython's way of passing one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Access, Connection, Receiver, Sender, pipe, pipe_one_way};
use ossature::multiprocessing::reduction::{Acknowledgement, recv_handle, recv_handles, send_handle, send_handles};
use ossature::multiprocessing::transfer::{Handle, Memory, Trust};
use ossature::multiprocessing::{Lock, RawValue};
use ossature::sys::shm::Shm;
use rustix::fs::{Mode, OFlags};

use super::{bare, kind};
use crate::support::{pipe as os_pipe, soon};

// _TestConnection.test_fd_transfer, test_large_fd_transfer
#[test]
fn handle_arrives_as_cpython_passes_it() {
    let (near, far) = pipe().unwrap();
    let (mut reader, writer) = os_pipe().unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&writer, 600).unwrap();
    assert!(high.as_raw_fd() >= 600);
    send_handle(&near, &high).unwrap();
    drop((writer, high));
    File::from(recv_handle(&far).unwrap()).write_all(b"foo").unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "foo");
}

// _TestConnection.test_missing_fd_transfer
#[test]
fn byte_without_a_descriptor_is_invalid() {
    let (near, mut far) = bare();
    far.write_all(b"\0").unwrap();
    assert_eq!(kind(recv_handle(&near)), ErrorKind::Decode);
    drop(far);
    assert_eq!(kind(recv_handle(&near)), ErrorKind::Closed);
}

#[test]
fn acknowledgement_is_a_byte_that_the_sender_waits_for() {
    soon(|| {
        let (near, far) = pipe().unwrap();
        let taking = std::thread::spawn(move || {
            let handles = recv_handles(&far, 2, Acknowledgement::Byte, None).unwrap().unwrap();
            (handles.len(), far)
        });
        let handles = [near.as_fd(), near.as_fd()];
        assert!(send_handles(&near, &handles, Acknowledgement::Byte, None).unwrap());
        let (taken, far) = taking.join().unwrap();
        assert_eq!(taken, 2);
        // Another answer.
        rustix::io::write(&far, b"B").unwrap();
        assert_eq!(kind(send_handles(&near, &handles, Acknowledgement::Byte, None)), ErrorKind::Decode);
        assert_eq!(kind(recv_handles(&far, 1, Acknowledgement::None, None)), ErrorKind::Decode, "two came");
        assert!(recv_handles(&far, 1, Acknowledgement::None, Duration::ZERO).unwrap().is_none());
        assert_eq!(kind(send_handles(&near, &[], Acknowledgement::None, None)), ErrorKind::InvalidInput);
        let (reader, _writer) = pipe_one_way().unwrap();
        assert_eq!(kind(recv_handle(&reader)), ErrorKind::InvalidInput);
        let (tcp, _far) = super::bare_tcp();
        assert_eq!(kind(send_handle(&tcp, &tcp)), ErrorKind::InvalidInput);
    });
}

// _TestPicklingConnections.test_access
#[test]
fn connections_and_their_access_travel() {
    let (near, far) = pipe().unwrap();
    let (reader, writer) = pipe_one_way().unwrap();
    near.send(&(reader, writer)).unwrap();
    let (reader, writer): (Connection, Connection) = far.recv().unwrap();
    assert!(reader.readable() && !reader.writable() && writer.writable() && !writer.readable());
    writer.send("all is well").unwrap();
    assert_eq!(reader.recv::<String>().unwrap(), "all is well");
    // The word of the same program that a connection stays within the program holds.
    let (one, other) = pipe().unwrap();
    near.send(&other).unwrap();
    drop(other);
    let other: Connection = far.recv().unwrap();
    one.send(&Lock::new().unwrap()).unwrap();
    other.recv::<Lock>().unwrap().acquire().unwrap();
    let (receiver, sender) = one.split();
    near.send(&(&receiver, &sender)).unwrap();
    let (receiver, sender): (Receiver, Sender) = far.recv().unwrap();
    sender.send_bytes(b"through the half").unwrap();
    assert_eq!(other.recv_bytes().unwrap(), b"through the half");
    other.send_bytes(b"back").unwrap();
    assert_eq!(receiver.recv_bytes().unwrap(), b"back");
}

#[test]
fn connection_within_a_message_stays_here() {
    let (near, far) = pipe().unwrap();
    let (begun, mut other) = bare();
    other.write_all(b"\0\0\0\x05he").unwrap();
    assert_eq!(begun.recv_bytes_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(kind(near.send(&begun)), ErrorKind::InvalidInput);
    assert!(!far.poll(Duration::ZERO).unwrap(), "nothing of it was sent");
}

#[test]
fn bytes_alone_close_what_came_along() {
    let (near, far) = pipe().unwrap();
    let (mut reader, writer) = os_pipe().unwrap();
    near.send(&Handle(&writer)).unwrap();
    near.send(&Handle(&writer)).unwrap();
    near.send(&(1_u8, Handle(&writer))).unwrap();
    near.send(&(2_u8, Handle(&writer))).unwrap();
    near.send_bytes(b"after").unwrap();
    drop(writer);
    far.recv_bytes().unwrap();
    far.recv_bytes_into(&mut [0; 32]).unwrap();
    assert_eq!(kind(far.recv::<u8>()), ErrorKind::Decode, "more than a number");
    assert_eq!(kind(far.recv_bytes_into(&mut [0; 1])), ErrorKind::TooLong);
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0, "nobody has the writer any more");
    assert_eq!(far.recv_bytes().unwrap(), b"after");
}

#[test]
fn descriptors_by_hundreds_arrive_and_more_are_refused() {
    let (near, far) = pipe().unwrap();
    let handles = |count| vec![Handle(near.as_fd()); count];
    near.send(&handles(253)).unwrap();
    assert_eq!(far.recv::<Vec<Handle<OwnedFd>>>().unwrap().len(), 253);
    assert_eq!(kind(near.send(&handles(254))), ErrorKind::InvalidInput);
    near.send(&1).unwrap();
    assert_eq!(far.recv::<i32>().unwrap(), 1);
}

#[test]
fn one_way_pipes_carry_no_descriptors() {
    let (_reader, writer) = pipe_one_way().unwrap();
    assert_eq!(kind(writer.send(&Handle(writer.as_fd()))), ErrorKind::InvalidInput);
}

/// Makes two ends that do not trust each other, of one user.
fn strangers() -> (Connection, Connection) {
    let (one, other) = UnixStream::pair().unwrap();
    let end = |stream: UnixStream| Connection::from_fd(stream.into(), Access::Both).unwrap();
    (end(one), end(other))
}

#[test]
fn strangers_of_the_same_user_exchange_files_but_no_memory() {
    let (near, far) = strangers();
    let (mut reader, writer) = os_pipe().unwrap();
    near.send(&Handle(writer)).unwrap();
    far.recv::<Handle<File>>().unwrap().0.write_all(b"!").unwrap();
    assert_eq!(reader.read(&mut [0; 2]).unwrap(), 1);

    let memory = RawValue::new(5_u32).unwrap();
    assert_eq!(kind(near.send(&memory)), ErrorKind::NotAllowed);
    // The same program at one end only: its descriptors come, and are not taken.
    let (near, far) = same_program_and_stranger();
    near.send(&memory).unwrap();
    assert_eq!(kind(far.recv::<RawValue<u32>>()), ErrorKind::NotAllowed);
    near.send(&7).unwrap();
    assert_eq!(far.recv::<i32>().unwrap(), 7);
}

// The pair was made by this process, which is all that SO_PEERCRED tells.
#[test]
fn strangers_of_another_user_send_no_files_over_a_pair_of_this_one() {
    for (user, taken) in [(None, true), (Some(61_234), false)] {
        let (near, far) = strangers();
        let sent = std::thread::spawn(move || {
            if let Some(user) = user {
                // Of this thread alone; only root may.
                let user = rustix::thread::Uid::from_raw(user);
                rustix::thread::set_thread_res_uid(user, user, user).ok()?;
            }
            Some(near.send(&Handle(file())))
        });
        let Some(sent) = sent.join().unwrap() else { continue };
        sent.unwrap();
        let got = far.recv::<Handle<File>>().map(drop).map_err(|error| error.kind());
        assert_eq!(got, if taken { Ok(()) } else { Err(ErrorKind::NotAllowed) });
        assert_eq!(far.readable(), taken);
    }
}

#[test]
fn strangers_that_do_not_say_who_they_are_send_no_files() {
    use ossature::sys::socket::Socket;
    let (near, far) = bare();
    let far = Socket::try_from(OwnedFd::from(far)).unwrap();
    let (mut reader, writer) = os_pipe().unwrap();
    far.send(b"\x80\0\0\x01", None).unwrap();
    far.send_with(b"\0\0\0\0\0\0\0\x01\0", &[writer.as_fd()], None).unwrap();
    drop(writer);
    assert_eq!(kind(near.recv::<Handle<File>>()), ErrorKind::NotAllowed);
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0, "it is closed");
}

/// Makes an end that takes the peer for the same program, and an end that does not.
fn same_program_and_stranger() -> (Connection, Connection) {
    let (near, far) = pipe().unwrap();
    (near, Connection::from_fd(far.into(), Access::Both).unwrap())
}

#[test]
fn memory_is_never_had_as_a_file() {
    let (near, far) = pipe().unwrap();
    let memory = Memory(Shm::place(5_u32).unwrap());
    near.send(&memory).unwrap();
    assert_eq!(kind(far.recv::<Handle<File>>()), ErrorKind::Decode);
    // A value that lies about the sort: it names the memory's place as if it were a file's.
    near.send(&(&memory, 0_u32)).unwrap();
    assert_eq!(kind(far.recv::<(u32, Handle<File>)>()), ErrorKind::Decode);
    // Nor is one thing had twice.
    near.send(&(Handle(file()), 0_u32)).unwrap();
    assert_eq!(kind(far.recv::<(Handle<File>, Handle<File>)>()), ErrorKind::Decode);
    near.send(&(&memory, 0_u32)).unwrap();
    assert_eq!(kind(far.recv::<(Memory<u32>, Memory<u32>)>()), ErrorKind::Decode);
}

fn file() -> File {
    File::open("/dev/null").unwrap()
}

/// A hostile peer puts memory into the list of files, where safe code could write to it.
#[test]
fn memory_in_the_list_of_files_is_refused() {
    let (near, far) = pipe().unwrap();
    let memory = Shm::place(5_u32).unwrap();
    // SAFETY: what is sent is refused, so nobody maps it or writes to it.
    let copy = unsafe { memory.descriptor() }.try_clone_to_owned().unwrap();
    near.send(&Handle(copy)).unwrap();
    assert_eq!(kind(far.recv::<Handle<File>>()), ErrorKind::Decode);
    near.send(&7).unwrap();
    assert_eq!(far.recv::<i32>().unwrap(), 7);
}

// Each of these names a place by the value's own bytes. Were the file tried at all, it would be `Incompatible`.
#[test]
fn file_is_never_had_as_memory_whatever_the_bytes_say() {
    let (near, far) = pipe().unwrap();
    near.send(&Handle(file())).unwrap();
    assert_eq!(kind(far.recv::<Memory<u32>>()), ErrorKind::Decode);
    for place in 0..3_u32 {
        near.send(&(place, Handle(file()))).unwrap();
        assert_eq!(kind(far.recv::<(Memory<u32>, u32)>()), ErrorKind::Decode);
        near.send(&((1_u8, place), Handle(file()))).unwrap();
        assert_eq!(kind(far.recv::<(RawValue<u32>, (u8, u32))>()), ErrorKind::Decode);
        // With memory beside it, the places beyond that are none.
        let memory = Memory(Shm::place(5_u32).unwrap());
        near.send(&(&memory, place, Handle(file()))).unwrap();
        let both = far.recv::<(u32, Memory<u32>, u32)>();
        assert_eq!(
            both.map(|(zero, ..)| zero).map_err(|error| error.kind()),
            if place == 0 { Ok(0) } else { Err(ErrorKind::Decode) }
        );
    }
    near.send(&7).unwrap();
    assert_eq!(far.recv::<i32>().unwrap(), 7);
}

#[test]
fn file_is_never_taken_as_an_end_of_the_program_whatever_the_bytes_say() {
    let (near, far) = pipe().unwrap();
    let (end, _other) = UnixStream::pair().unwrap();
    near.send(&(Handle(&end), true, true, true)).unwrap();
    assert_eq!(kind(far.recv::<Connection>()), ErrorKind::Decode);
    near.send(&(Handle(&end), true, true, false)).unwrap();
    assert_eq!(far.recv::<Connection>().unwrap().trust(), Trust::Untrusted);
    // Nor can an end of the same program be taken as a file.
    near.send(&pipe().unwrap().0).unwrap();
    assert_eq!(kind(far.recv::<(Handle<File>, bool, bool, bool)>()), ErrorKind::Decode);
}

#[test]
fn strangers_are_not_given_ends_of_the_program() {
    let (near, far) = strangers();
    let (one, other) = pipe().unwrap();
    assert_eq!(kind(near.send(&one)), ErrorKind::NotAllowed);
    assert_eq!(kind(near.send(&other.split())), ErrorKind::NotAllowed);
    let (one, other) = strangers();
    near.send(&one).unwrap();
    far.recv::<Connection>().unwrap().send_bytes(b"through it").unwrap();
    assert_eq!(other.recv_bytes().unwrap(), b"through it");
}

/// The header's total matches the descriptors that came, but its list of kinds is longer.
#[test]
fn descriptors_of_more_sorts_than_came_are_refused() {
    use ossature::sys::socket::Socket;
    let (near, far) = bare();
    let far = Socket::try_from(OwnedFd::from(far)).unwrap();
    far.send(&[0x80, 1, 1, 1], None).unwrap();
    far.send_with(&[0; 8], &[file().as_fd()], None).unwrap();
    assert_eq!(kind(near.recv_bytes()), ErrorKind::Decode);
    assert!(!near.readable());
}

#[test]
fn headers_with_more_of_two_sorts_than_of_all_are_none() {
    for header in [
        [0x80, 0, 2, 1],
        [0x80, 1, 1, 1],
        [0x80, 0xff, 0xff, 0xfd],
        [0x80, 1, 0, 0],
        [0x81, 0, 0, 1],
        [0x80, 0, 0, 0xfe],
    ] {
        let (near, mut far) = bare();
        far.write_all(&[&header[..], &[0; 8]].concat()).unwrap();
        assert_eq!(kind(near.recv_bytes()), ErrorKind::Decode, "{header:x?}");
        assert!(!near.readable());
    }
}

#[test]
fn mixed_descriptors_find_their_places() {
    let (near, far) = pipe().unwrap();
    let memory = |n: u32| Memory(Shm::place(n).unwrap());
    let ends: Vec<Connection> = (0..3).map(|_| strangers().0).collect();
    let (end, end_too) = pipe().unwrap();
    let inode = |fd: &File| std::os::unix::fs::MetadataExt::ino(&fd.metadata().unwrap());
    let (null, zero) = (file(), File::open("/dev/zero").unwrap());
    near.send(&(Handle(&null), memory(1), &end, &ends, memory(2), (Handle(&zero), &end_too, memory(3)))).unwrap();
    type Mixed =
        (Handle<File>, Memory<u32>, Connection, Vec<Connection>, Memory<u32>, (Handle<File>, Connection, Memory<u32>));
    let (first, one, end, ends, two, (second, end_too, three)): Mixed = far.recv().unwrap();
    assert_eq!((inode(&first.0), inode(&second.0)), (inode(&null), inode(&zero)));
    assert_eq!([one, two, three].map(|memory| *memory.0), [1, 2, 3]);
    end.send(&memory(4)).unwrap();
    assert_eq!(*end_too.recv::<Memory<u32>>().unwrap().0, 4);
    assert!(ends.len() == 3 && ends.iter().all(|end| end.trust() == Trust::Untrusted));
}

#[test]
fn connection_of_a_descriptor_does_what_the_descriptor_was_opened_for() {
    let (reader, writer) = ossature::sys::pipe::pipe(ossature::sys::pipe::Flags::empty()).unwrap();
    let (reader, writer) = (Connection::try_from(reader).unwrap(), Connection::try_from(writer).unwrap());
    assert_eq!((reader.readable(), reader.writable()), (true, false));
    assert_eq!((writer.readable(), writer.writable()), (false, true));
    writer.send(&7_u32).unwrap();
    assert_eq!(reader.recv::<u32>().unwrap(), 7);
    assert_eq!(reader.trust(), Trust::Untrusted);
    // Std takes the flag away where O_ACCMODE holds its bit, as musl's does.
    let place = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let refused = Connection::try_from(place).unwrap_err();
    assert_eq!(refused.errno(), Some(ossature::sys::errno::Errno::BADF));
}
