//! Messages of a stream with a single reader: a read may bring more than the message.
//!
//! A [`Connection`](super::Connection) never reads beyond its message, and so needs two reads for a short one. The only
//! reader of a stream without descriptors reads header and message at once. The bytes after the message stay here, and
//! are at most those of one read.

use ossature_sys::errno;

use super::frame::{FrameLimit, Incoming};
use super::receive::failed;
use crate::error::Result;

/// The received part of the next message, and the bytes after it.
#[derive(Debug)]
pub(crate) struct Ahead {
    incoming: Incoming,
    /// The bytes after the last complete message.
    rest: Vec<u8>,
    /// The number of consumed bytes in `rest`.
    used: usize,
}

impl Ahead {
    /// Creates a reader for messages within the limit, without descriptors.
    pub(crate) const fn with_limit(limit: FrameLimit) -> Self {
        Self { incoming: Incoming::with_limit(limit), rest: Vec::new(), used: 0 }
    }

    /// Returns the next message. If it is incomplete, calls `read` for bytes, into `room` unless the message is longer;
    /// `None` as soon as `read` returns none.
    ///
    /// # Errors
    /// The errors of `read`; [`Closed`](crate::ErrorKind::Closed) at the end of the stream; the errors of
    /// [`Incoming::advance`] for bytes that are not a message. All of them are final.
    pub(crate) fn next(
        &mut self,
        room: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> errno::Result<Option<usize>>,
    ) -> Result<Option<Vec<u8>>> {
        let (rest, begin) = (std::mem::take(&mut self.rest), std::mem::take(&mut self.used));
        let (whole, used) = self.put(rest.get(begin..).unwrap_or_default())?;
        if whole {
            if begin + used < rest.len() {
                (self.rest, self.used) = (rest, begin + used);
            }
            return Ok(Some(self.incoming.take()));
        }
        loop {
            let is_long = self.incoming.missing().is_some_and(|missing| missing >= room.len());
            let place = if is_long { self.incoming.space() } else { &mut *room };
            let whole = match read(place).map_err(failed)? {
                None => return Ok(None),
                Some(0) => return Err(self.incoming.end()),
                Some(n) if is_long => self.incoming.advance(n)?,
                Some(n) => {
                    let came = room.get(..n).unwrap_or_default();
                    let (whole, used) = self.put(came)?;
                    self.rest.extend_from_slice(came.get(used..).unwrap_or_default());
                    whole
                }
            };
            if whole {
                return Ok(Some(self.incoming.take()));
            }
        }
    }

    /// Adds bytes up to the end of a message; returns whether the message is complete, and the number of used bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<(bool, usize)> {
        let mut used = 0;
        while let Some(left) = bytes.get(used..).filter(|left| !left.is_empty()) {
            let space = self.incoming.space();
            let n = space.len().min(left.len());
            space.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
            used += n;
            if self.incoming.advance(n)? {
                return Ok((true, used));
            }
        }
        Ok((false, used))
    }

    /// The number of bytes held.
    pub(crate) fn held(&self) -> usize {
        self.incoming.held() + self.rest.len()
    }

    /// Whether bytes of a later message are held.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Whether a part of a message is held.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_rest() || self.incoming.has_begun()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::multiprocessing::connection::frame::Outgoing;
    use ossature_sys::errno::Errno;

    /// Reads all messages of a stream with reads of `piece` bytes and a buffer of `room` bytes; also returns the number
    /// of reads.
    fn read_all(stream: &[u8], piece: usize, room: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut ahead, mut at, mut reads) = (Ahead::with_limit(FrameLimit::of_connection(1 << 20)), 0, 0);
        let (mut room, mut messages) = (vec![0; room], Vec::new());
        while let Some(message) = ahead
            .next(&mut room, |space| {
                let n = space.len().min(piece).min(stream.len() - at);
                space[..n].copy_from_slice(&stream[at..at + n]);
                (at, reads) = (at + n, reads + 1);
                Ok((n > 0).then_some(n))
            })
            .unwrap()
        {
            assert!(ahead.held() <= room.len(), "never more than one read brings");
            messages.push(message);
        }
        assert!(!ahead.has_begun());
        (messages, reads)
    }

    #[test]
    fn messages_come_whole_and_in_order_however_the_reads_fall() {
        let sent: Vec<Vec<u8>> = [0, 1, 60, 64, 500, 0, 3].map(|length| vec![length as u8; length]).into();
        let mut outgoing = Outgoing::default();
        sent.iter().for_each(|message| outgoing.push(message));
        for piece in 1..70 {
            for room in [1, 4, 5, 64, 1000] {
                assert_eq!(read_all(outgoing.rest(), piece, room).0, sent, "pieces of {piece}, room for {room}");
            }
        }
    }

    #[test]
    fn a_short_message_takes_one_read() {
        let mut outgoing = Outgoing::default();
        outgoing.push(b"question");
        assert_eq!(read_all(outgoing.rest(), usize::MAX, 64), (vec![b"question".to_vec()], 2), "and one that has none");
        outgoing.push(b"and the next");
        let both = vec![b"question".to_vec(), b"and the next".to_vec()];
        assert_eq!(read_all(outgoing.rest(), usize::MAX, 64), (both, 2));
    }

    #[test]
    fn ends_and_errors_are_told() {
        let mut ahead = Ahead::with_limit(FrameLimit::of_connection(8));
        let mut read = |bytes: &'static [u8]| {
            ahead.next(&mut [0; 16], |space| {
                space[..bytes.len()].copy_from_slice(bytes);
                Ok(Some(bytes.len()))
            })
        };
        assert_eq!(read(&[0, 0, 0, 1, 7, 0, 0]).unwrap(), Some(vec![7]));
        assert!(
            read(&[]).is_err_and(|error| error.kind() == ErrorKind::Closed && error.to_string().contains("within"))
        );
        let mut long = Ahead::with_limit(FrameLimit::of_connection(8));
        let error = long.next(&mut [0; 4], |space| {
            space.copy_from_slice(&[0, 0, 0, 9]);
            Ok(Some(4))
        });
        assert!(error.is_err_and(|error| error.kind() == ErrorKind::TooLong));
        let gone = Ahead::with_limit(FrameLimit::of_connection(8)).next(&mut [0; 4], |_| Err(Errno::CONNRESET));
        assert!(gone.is_err_and(|error| error.kind() == ErrorKind::Closed));
    }
}
