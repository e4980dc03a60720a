//! What a stranger may send in whatever pieces: messages come as a plain model of the format says, bounded, or an error
//! does; and what is sent in pieces arrives as it was.
#![no_main]

use std::io::Write;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Access, Connection};
use ossature_sys::deadline::Deadline;

/// Whether a header announces descriptors: some of them ends, some of them memory, and so many in all.
fn announces([top, ends, memory, all]: [u8; 4]) -> bool {
    top == 0x80 && (1..=253).contains(&all) && u16::from(ends) + u16::from(memory) <= u16::from(all)
}

/// The first message of `bytes` and how long its frame is; `Ok(None)` when it is not all there, `Err` when it is none.
fn model(bytes: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, ErrorKind> {
    let Some((first, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let (len, rest, header) = match i32::from_be_bytes(*first) {
        short @ 0.. => (short as u64, rest, 4),
        -1 => match rest.split_first_chunk::<8>() {
            Some((long, rest)) => (u64::from_be_bytes(*long), rest, 12),
            None => return Ok(None),
        },
        // Announced descriptors never come here.
        other if rest.is_empty() && announces(other.to_be_bytes()) => return Ok(None),
        _ => return Err(ErrorKind::Decode),
    };
    match usize::try_from(len).ok().filter(|&len| len <= limit) {
        None => Err(ErrorKind::TooLong),
        Some(len) => Ok(rest.get(..len).map(|message| (message, header + len))),
    }
}

fuzz_target!(|input: (&[u8], &[u8], u16, bool)| {
    let (bytes, cuts, limit, into) = input;
    let bytes = &bytes[..bytes.len().min(60_000)];
    let limit = if into { isize::MAX as usize } else { usize::from(limit) };
    let (mut far, near) = UnixStream::pair().expect("a pair");
    let near = Connection::from_fd(near.into(), Access::Both).expect("a socket");
    near.set_max_message(None); // the model's limit is that of each call
    let (mut arrived, mut taken, mut cuts) = (0, 0, cuts.iter());
    loop {
        let result = if into {
            let mut buffer = [0; 40];
            let got = near.recv_bytes_into_timeout(&mut buffer, Deadline::NOW);
            match got {
                Err(error) if error.kind() == ErrorKind::TooLong && near.readable() => {
                    use std::error::Error;
                    let short = error.source().and_then(|source| source.downcast_ref());
                    let short: &ossature::multiprocessing::connection::BufferTooShort = short.expect("the message");
                    assert!(short.message().len() > buffer.len());
                    Ok(Some(short.message().to_vec()))
                }
                got => got.map(|got| got.map(|len| buffer[..len].to_vec())),
            }
        } else {
            near.recv_bytes_max_timeout(limit, Deadline::NOW)
        };
        match (model(&bytes[taken..arrived], limit), result) {
            (Ok(Some((message, len))), Ok(Some(got))) => {
                assert_eq!(message, got);
                taken += len;
            }
            (Ok(None), Ok(None)) if arrived < bytes.len() => {
                let step = cuts.next().map_or(bytes.len(), |&cut| usize::from(cut) + 1);
                let next = (arrived + step).min(bytes.len());
                far.write_all(&bytes[arrived..next]).expect("room");
                arrived = next;
            }
            (Ok(None), Ok(None)) => break,
            (Err(kind), Err(error)) => {
                assert!(error.kind() == kind && !near.readable(), "{error}");
                return;
            }
            (model, got) => panic!("{model:?} but {got:?}"),
        }
    }
    drop(far);
    assert_eq!(near.recv_bytes().expect_err("an end").kind(), ErrorKind::Closed);
});
