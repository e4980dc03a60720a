//! The bytes in a record of the stream, and in its answer. Another program may have written them, so they are not
//! trusted.

use std::sync::Arc;
use std::time::Duration;

use ossature::multiprocessing::pool::engine::{self, CallEnd, Wants};
use ossature::{Error, ErrorKind};

/// The first byte of a chunk. A different layout has a different number.
const VERSION: u8 = 1;
/// The first byte of an answer with outcomes.
const OUTCOMES: u8 = b'O';
/// The first byte of an answer that reports a lost host.
const LOST: u8 = b'L';
/// The number of bytes before the name of the task.
const HEAD: usize = 1 + 1 + 8 + 4 + 2;

/// The longest payload: the server rejects a text of 512 MiB or more.
pub(crate) const LONGEST: usize = (512 << 20) - (1 << 16);

/// The error for payloads that are too long.
pub(crate) fn too_long(what: &str, length: usize) -> Error {
    let text = format!(
        "{what} have {length} bytes, and the server accepts at most 512 MiB: put them in a file that all machines see, \
         and send its name"
    );
    engine::error(ErrorKind::TooLong, text)
}

/// Builds the bytes of a chunk: the task, and the arguments of each call.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    count: u32,
}

impl Body {
    pub(crate) fn new(task: &str, wants: Wants, limit: Option<Duration>) -> Self {
        let name = task.as_bytes();
        let name = name.get(..name.len().min(u16::MAX.into())).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD + name.len() + 64);
        bytes.extend([VERSION, u8::from(wants == Wants::Result)]);
        let limit = limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1));
        bytes.extend(limit.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name);
        Self { bytes, count: 0 }
    }

    /// Makes room for `calls` more calls with `bytes` bytes of arguments.
    pub(crate) fn reserve(&mut self, calls: usize, bytes: usize) {
        self.bytes.reserve(calls.saturating_mul(4).saturating_add(bytes));
    }

    /// Adds a call. Arguments have less than 512 MiB.
    pub(crate) fn push(&mut self, arguments: &[u8]) {
        self.bytes.extend_from_slice(&(arguments.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(arguments);
        self.count += 1; // each takes four bytes at least
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn finish(mut self) -> Arc<[u8]> {
        if let Some(place) = self.bytes.get_mut(10..14) {
            place.copy_from_slice(&self.count.to_le_bytes());
        }
        self.bytes.into()
    }
}

/// A parsed chunk.
#[derive(Debug)]
pub(crate) struct Calls<'b> {
    pub(crate) task: &'b str,
    pub(crate) wants: Wants,
    /// The time limit of one call.
    pub(crate) limit: Option<Duration>,
    /// The arguments of each call.
    pub(crate) arguments: Vec<&'b [u8]>,
}

impl<'b> Calls<'b> {
    /// Parses a chunk; `None` for bytes that are not a chunk of this layout.
    pub(crate) fn read(bytes: &'b [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(HEAD)?;
        if head.first() != Some(&VERSION) {
            return None;
        }
        let wants = match head.get(1)? {
            0 => Wants::Value,
            1 => Wants::Result,
            _ => return None,
        };
        let limit = Some(number(head.get(2..10)?)).filter(|limit| *limit > 0).map(Duration::from_nanos);
        let count = number(head.get(10..14)?) as usize;
        let task = std::str::from_utf8(take(&mut rest, number(head.get(14..)?) as usize)?).ok()?;
        // Each call takes four bytes at least, so a wrong count reserves no more memory than the message justifies.
        let mut arguments = Vec::with_capacity(count.min(rest.len() / 4));
        for _ in 0..count {
            let length = number(take(&mut rest, 4)?) as usize;
            arguments.push(take(&mut rest, length)?);
        }
        rest.is_empty().then_some(Self { task, wants, limit, arguments })
    }
}

/// A builder for the answer of a worker: how long the calls took, on which host, and how each ended.
#[derive(Debug)]
pub(crate) struct Outcomes {
    bytes: Vec<u8>,
    /// The number of bytes of outcomes that may follow. Each call has reserved space for a refusal as well.
    left: usize,
}

impl Outcomes {
    pub(crate) fn new(took: Duration, host: &str, calls: usize) -> Self {
        Self::within(LONGEST, took, host, calls)
    }

    /// [`new`](Self::new) with at most `most` bytes of outcomes. A call whose outcome does not fit counts as failed.
    fn within(most: usize, took: Duration, host: &str, calls: usize) -> Self {
        let host = host.as_bytes();
        let host = host.get(..host.len().min(255)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(10 + host.len() + calls.saturating_mul(USUAL).min(MOST_AT_FIRST));
        bytes.push(OUTCOMES);
        bytes.extend(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.push(host.len() as u8);
        bytes.extend(host);
        Self { bytes, left: most.saturating_sub(calls.saturating_mul(REFUSAL)) }
    }

    /// Adds the end of the next call.
    pub(crate) fn push(&mut self, end: CallEnd<'_>) {
        let (CallEnd::Value(payload) | CallEnd::Failed(payload)) = end;
        if payload.len() > self.left {
            return self.put(1, &engine::unwritable(TOO_MUCH));
        }
        self.put(u8::from(matches!(end, CallEnd::Failed(_))), payload);
    }

    fn put(&mut self, kind: u8, payload: &[u8]) {
        self.left = self.left.saturating_sub(payload.len());
        let [a, b, c, d] = (payload.len() as u32).to_le_bytes();
        self.bytes.extend_from_slice(&[kind, a, b, c, d]);
        self.bytes.extend_from_slice(payload);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The initial capacity for outcomes, before any was read.
const FEW: usize = 256;
/// The length of most outcomes, and the maximum that an answer reserves at first, in bytes.
const USUAL: usize = 16;
const MOST_AT_FIRST: usize = 1 << 16;
/// An upper bound for the length of a refusal, in bytes.
const REFUSAL: usize = 512;
/// The text of a refusal.
const TOO_MUCH: &str = "the values of one chunk have more than 512 MiB, and the server accepts no more: put them in files that \
                        all machines see, or give chunks fewer calls";

/// A parsed answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The end of each call: whether it has a value, and the range of its bytes in the answer.
    Outcomes { took: Duration, host: String, ends: Vec<(bool, usize, usize)> },
    /// The host with this description was lost.
    Lost(String),
}

impl Answer {
    /// Parses an answer; `None` for bytes that are not an answer of this layout.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, mut rest) = bytes.split_first()?;
        match *kind {
            LOST => Some(Self::Lost(String::from_utf8_lossy(rest).into_owned())),
            OUTCOMES => {
                let took = Duration::from_nanos(number(take(&mut rest, 8)?));
                let length = number(take(&mut rest, 1)?) as usize;
                let host = String::from_utf8_lossy(take(&mut rest, length)?).into_owned();
                let mut ends = Vec::with_capacity((rest.len() / 5).min(FEW));
                while !rest.is_empty() {
                    let is_value = match take(&mut rest, 1)? {
                        [0] => true,
                        [1] => false,
                        _ => return None,
                    };
                    let length = number(take(&mut rest, 4)?) as usize;
                    let from = bytes.len() - rest.len();
                    take(&mut rest, length)?;
                    ends.push((is_value, from, from + length));
                }
                Some(Self::Outcomes { took, host, ends })
            }
            _ => None,
        }
    }
}

/// Takes the first `length` bytes of the rest.
fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// Reads up to eight bytes as a little-endian number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_reads_as_it_was_written() {
        let mut body = Body::new("a::task", Wants::Result, Some(Duration::from_millis(3)));
        body.push(b"one");
        body.push(b"");
        let bytes = body.finish();
        let calls = Calls::read(&bytes).unwrap();
        assert_eq!((calls.task, calls.wants, calls.limit), ("a::task", Wants::Result, Some(Duration::from_millis(3))));
        assert_eq!(calls.arguments, [&b"one"[..], b""]);
        assert!(Calls::read(&Body::new("t", Wants::Value, None).finish()).unwrap().limit.is_none());
    }

    #[test]
    fn an_answer_has_room_for_as_many_refusals_as_there_are_calls() {
        let refusal = engine::unwritable(TOO_MUCH);
        assert!(refusal.len() + 5 < REFUSAL, "{}", refusal.len());
        let mut answer = Outcomes::within(8000, Duration::ZERO, "node7", 3);
        [&[1; 4000][..], &[2; 5000], &[3]].into_iter().for_each(|value| answer.push(CallEnd::Value(value)));
        let answer = answer.finish();
        assert!(answer.len() < 8000, "{}", answer.len());
        let Some(Answer::Outcomes { ends, .. }) = Answer::read(&answer) else { panic!("an answer") };
        assert_eq!(ends.iter().map(|(is_value, ..)| *is_value).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn bytes_that_were_cut_or_changed_are_refused_and_never_panic() {
        let mut body = Body::new("a::task", Wants::Value, None);
        body.push(b"arguments");
        let bytes = body.finish();
        for length in 0..bytes.len() {
            assert!(Calls::read(&bytes[..length]).is_none(), "{length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 0x55;
            let _ = Calls::read(&changed);
        }
        let mut answer = Outcomes::new(Duration::from_millis(1), "node7", 2);
        [CallEnd::Value(&[1, 2]), CallEnd::Failed(&[3])].into_iter().for_each(|end| answer.push(end));
        let answer = answer.finish();
        for length in 0..answer.len() {
            // An answer that is cut after an outcome is an answer with fewer outcomes.
            let _ = Answer::read(&answer[..length]);
        }
        let Some(Answer::Outcomes { host, ends, .. }) = Answer::read(&answer) else { panic!("an answer") };
        let shown: Vec<_> = ends.iter().map(|(is_value, from, to)| (*is_value, &answer[*from..*to])).collect();
        assert_eq!((host.as_str(), shown), ("node7", vec![(true, &[1, 2][..]), (false, &[3][..])]));
        assert_eq!(Answer::read(b"Lnode8"), Some(Answer::Lost("node8".into())));
        assert!(Answer::read(b"").is_none() && Answer::read(b"X").is_none());
    }
}
