//! Messages of a stream that one reader alone has: a read may bring more than the message.
//!
//! A [`Connection`](super::Connection) never reads beyond its message, and so takes two reads for a short one. Whoever
//! keeps a stream for himself, and takes no descriptors from it, reads header and message at once. What comes behind
//! them stays here, and is at most what one read brings.

use ossature_sys::errno;

use super::frame::{FrameLimit, Incoming};
use super::receive::failed;
use crate::error::Result;

/// What has come of the next message, and what has come behind it.
#[derive(Debug)]
pub(crate) struct Ahead {
    incoming: Incoming,
    /// What was read and does not belong to an earlier message.
    rest: Vec<u8>,
    /// How much of `rest` is used up.
    used: usize,
}

impl Ahead {
    /// For messages within the limit, without descriptors.
    pub(crate) const fn with_limit(limit: FrameLimit) -> Self {
        Self { incoming: Incoming::with_limit(limit), rest: Vec::new(), used: 0 }
    }

    /// The next message. If it is not here, `read` is asked for bytes, which go to `room` unless the message is longer;
    /// `None` as soon as `read` has none.
    ///
    /// # Errors
    /// Those of `read`; [`Closed`](crate::ErrorKind::Closed) at the end of the stream, and those of
    /// [`Incoming::advance`] for what is not a message. All of them are final.
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

    /// Puts bytes where they belong, up to the end of a message: whether there is one, and how many bytes were used.
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

    /// How many bytes are here.
    pub(crate) fn held(&self) -> usize {
        self.incoming.held() + self.rest.len()
    }

    /// Whether bytes of a later message are here.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Whether a part of a message is here.
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

    /// All messages of a stream whose reads bring `piece` bytes each, with room for `room`; and how many reads there
    /// were.
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
