//! Pipes: their ends, their flags and their capacity.

use std::fs::File;

use ossature_sys::errno::Errno;
use ossature_sys::fd::{is_cloexec, read, write};
use ossature_sys::pipe::{Flags, PIPE_BUF, capacity, pipe, set_capacity, unread};

#[test]
fn both_ends_are_closed_on_exec() {
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    assert!(is_cloexec(&reader).unwrap());
    assert!(is_cloexec(&writer).unwrap());
}

#[test]
fn nonblocking_pipe_says_when_it_is_empty_and_when_it_is_full() {
    let (reader, writer) = pipe(Flags::NONBLOCK).unwrap();
    assert_eq!(read(&reader, &mut [0; 1]), Err(Errno::AGAIN));
    let size = capacity(&writer).unwrap();
    let mut written = 0;
    let full = loop {
        match write(&writer, &[7; PIPE_BUF]) {
            Ok(len) => written += len,
            Err(errno) => break errno,
        }
    };
    assert_eq!((full, written), (Errno::AGAIN, size));
    assert_eq!(unread(&reader).unwrap(), size as u64);
}

#[test]
fn packets_stay_apart() {
    let (reader, writer) = pipe(Flags::DIRECT | Flags::NONBLOCK).unwrap();
    write(&writer, b"one").unwrap();
    write(&writer, b"three").unwrap();
    let mut buffer = [0; 64];
    assert_eq!(read(&reader, &mut buffer), Ok(3));
    assert_eq!(read(&reader, &mut buffer), Ok(5));
    assert_eq!(&buffer[..5], b"three");
}

#[test]
fn reading_after_the_last_writer_went_is_the_end() {
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    drop(writer);
    assert_eq!(read(&reader, &mut [0; 1]), Ok(0));
}

#[test]
fn capacity_is_rounded_up_and_what_was_given_is_told() {
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    let given = set_capacity(&writer, 100_000).unwrap();
    assert!(given >= 100_000, "{given}");
    assert_eq!(capacity(&reader).unwrap(), given);
}

#[test]
fn pipe_does_not_shrink_below_what_is_in_it() {
    let (_reader, writer) = pipe(Flags::NONBLOCK).unwrap();
    // More than one page of any size that Linux knows.
    let size = set_capacity(&writer, 1 << 18).unwrap();
    let mut left = size;
    while left > 0 {
        left -= write(&writer, &vec![0; left]).unwrap();
    }
    assert_eq!(set_capacity(&writer, 1), Err(Errno::BUSY));
    assert_eq!(capacity(&writer), Ok(size));
}

#[test]
fn what_is_no_pipe_has_no_capacity() {
    let null = File::open("/dev/null").unwrap();
    assert_eq!(capacity(&null), Err(Errno::BADF));
    assert_eq!(set_capacity(&null, 4096), Err(Errno::BADF));
}

#[test]
fn unknown_flag_is_an_error() {
    assert_eq!(pipe(Flags::from_bits_retain(1 << 30)).unwrap_err(), Errno::INVAL);
}
