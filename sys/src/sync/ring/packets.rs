//! Messages with descriptors, beside the other messages of a ring: packets in a pair of sockets.
//!
//! A *packet* is a datagram with descriptors, in a pair of sockets that every process of the ring has. A *token* is a
//! record of the ring that announces a packet, and the packet names its token. [`receipt`](super::receipt) describes
//! how packet and token find each other, and what a death leaves.
//!
//! This module has the sockets, and the waits for room in them. A socket can be full of packets whose senders died,
//! with no token in the ring. A sender that finds it so drops all these packets. It holds the senders' lock, so no
//! token comes meanwhile, and without a token no participant receives.

use core::cell::Cell;
use core::ops::Deref;
use core::time::Duration;

use super::bytes::{Received, copy_out, granules_in};
use super::error::{RingError, in_time};
use super::flow::{CLOSED, Flow, Stop, put_back, received};
use super::grounds::Grounds;
use super::memory::Ring;
use super::participant::{AT_ONCE, Participant, done_with, same};
use super::post::{self, Missing, Post, Unsent};
use super::take::Taking;
use super::track::Claim;
use super::waits::take;
use super::word::RecordState;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result as ErrnoResult};
use crate::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd};
use crate::futex::Limit;
use crate::poll::{PollFd, PollFlags, poll};
use crate::socket::{Descriptors, Kind, MOST_DESCRIPTORS, Socket};
use crate::sync::gate::Gate;
use crate::sync::scope::RawLock;

/// The size of the packet number, in front of the packet's bytes.
const NUMBER: usize = size_of::<u64>();
/// How long a sender waits at a time for events that no receiver of the ring reports.
const SLICE: Duration = Duration::from_millis(10);
/// How long a sender retries if its user has too many descriptors in transit, none of them in these packets.
const PATIENCE: Duration = Duration::from_secs(1);

/// The channel for the packets of one [`Ring`]: a pair of sockets. Each process of the ring has both ends, and no other
/// process has one.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::EventFd, fd::AsFd, sync::ring::{Packets, Ring}};
///
/// let (ring, packets) = (Ring::new(1 << 16)?, Packets::new()?);
/// let mut user = ring.join()?;
/// let event = EventFd::counter(3)?;
/// assert!(user.send_packet(&packets, b"an event", &[event.as_fd()], 0, Duration::from_secs(5))?);
/// user.send(b"a message")?;
///
/// let mut bytes = [0; Packets::BUFFER];
/// let mut parcel = None;
/// let first = user.recv_packet(&packets, &mut bytes, &mut parcel, Duration::from_secs(5))?.expect("it was sent");
/// assert_eq!(&bytes[..first.len], b"an event");
/// let came = parcel.take().expect("it is a packet").descriptors.into_iter().next().expect("one came");
/// assert_eq!(EventFd::try_from(came)?.try_take()?, Some(3));
/// let second = user.recv_packet(&packets, &mut bytes, &mut parcel, Duration::from_secs(5))?.expect("it was sent");
/// assert!(parcel.is_none() && &bytes[..second.len] == b"a message");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Packets {
    near: Socket,
    far: Socket,
}

/// The part of a packet beside its bytes. It takes a kilobyte, so [`recv_packet`](Participant::recv_packet) never moves
/// one.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::sync::ring::{Packets, Parcel, Ring};
///
/// let (ring, packets) = (Ring::new(1 << 16)?, Packets::new()?);
/// let mut user = ring.join()?;
/// user.send_packet(&packets, b"x", &[], 0, Duration::ZERO)?;
/// let mut parcel = None;
/// user.recv_packet(&packets, &mut [0; Packets::BUFFER], &mut parcel, Duration::ZERO)?.expect("it was sent");
/// let Parcel { descriptors, descriptors_lost } = parcel.expect("it is a packet");
/// assert!(descriptors.is_empty() && !descriptors_lost);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Parcel {
    /// The descriptors of the packet, closed on exec.
    pub descriptors: Descriptors<MOST_DESCRIPTORS>,
    /// Whether descriptors of the packet were lost, for example at this process's limit of open descriptors. All of
    /// them were closed then.
    pub descriptors_lost: bool,
}

impl Packets {
    /// The maximum length of a packet in bytes. Longer packets go as memory, by its descriptor.
    pub const LONGEST: usize = Self::BUFFER - NUMBER;
    /// The minimum length in bytes of the buffer into which a packet is received.
    pub const BUFFER: usize = 4096;

    /// Makes the channel of a new ring.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    pub fn new() -> ErrnoResult<Self> {
        let (near, far) = Socket::pair(Kind::Datagram)?;
        Ok(Self { near: near.above_standard()?, far: far.above_standard()? })
    }

    /// Makes the channel of a ring that another process made, from both ends in their order.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left above those of the standard streams.
    pub fn from_ends(near: OwnedFd, far: OwnedFd) -> ErrnoResult<Self> {
        Ok(Self { near: Socket::try_from(near)?.above_standard()?, far: Socket::try_from(far)?.above_standard()? })
    }

    /// Returns both ends, to pass to a process that uses the ring.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{fd::duplicate, sync::ring::Packets};
    ///
    /// let packets = Packets::new()?;
    /// let [near, far] = packets.ends();
    /// let there = Packets::from_ends(duplicate(near)?, duplicate(far)?)?;
    /// assert_eq!(there.clear()?, 0, "none is on its way");
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.near.as_fd(), self.far.as_fd()]
    }

    /// Receives all packets and drops them. Returns how many there were. It is meant for a closed ring.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOBUFS`.
    pub fn clear(&self) -> ErrnoResult<usize> {
        let mut count = 0;
        while self.far.recv(&mut [0; 1], Deadline::NOW)?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Sends a datagram. Returns false if there is no room.
    fn send(&self, datagram: &[u8], descriptors: &[BorrowedFd<'_>]) -> ErrnoResult<bool> {
        self.near.send_with(datagram, descriptors, Deadline::NOW).map(|sent| sent.is_some())
    }

    fn has_room(&self) -> bool {
        poll(&mut [PollFd::new(&self.near, PollFlags::OUT)], Deadline::NOW).is_ok_and(|ready| ready > 0)
    }

    fn has_any(&self) -> bool {
        poll(&mut [PollFd::new(&self.far, PollFlags::IN)], Deadline::NOW).is_ok_and(|ready| ready > 0)
    }
}

impl<R: Deref<Target = Ring>> Participant<R> {
    /// Sends a packet within the limit. Returns false if the time ran out or the wait was cancelled.
    ///
    /// The packet takes as much room in the ring as a message of `room` bytes would, or the longest message if it would
    /// be longer. While the sockets are full, or the user has too many descriptors in transit, this waits as for a full
    /// ring. If this thread is killed meanwhile, the packet is sent or not. The descriptors of one that was not sent
    /// are closed when the next packet is sent or received.
    ///
    /// # Errors
    /// As for [`send`](Self::send). [`Packets`](RingError::Packets) with `EMSGSIZE` for more than
    /// [`LONGEST`](Packets::LONGEST) bytes, `EINVAL` for none or for more than 253 descriptors. `ETOOMANYREFS` if for a
    /// second too many were in transit, none of them in these packets.
    ///
    /// # Examples
    /// See the example of [`Packets`].
    pub fn send_packet<'c>(
        &mut self,
        packets: &Packets,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        room: usize,
        limit: impl Into<Limit<'c>>,
    ) -> Result<bool, RingError> {
        let limit = limit.into();
        if bytes.len() > Packets::LONGEST {
            return Err(RingError::Packets(Errno::MSGSIZE));
        }
        if bytes.is_empty() || descriptors.len() > MOST_DESCRIPTORS {
            return Err(RingError::Packets(Errno::INVAL));
        }
        if !self.enter(limit)? {
            return Ok(false);
        }
        let Self { ring, base, who, cursor, room_spin, .. } = self;
        let ring = same(ring, *base)?;
        let granules = granules_in(ring, room.min(ring.max_message()))?;
        let lock = &ring.control().packets;
        if !lock.take(limit)? {
            return Ok(false);
        }
        if lock.abandoned() {
            ring.gate().protected(|| ring.drop_untold(packets));
            lock.mark_consistent();
        }
        let sent = post::send(
            ring,
            cursor,
            room_spin,
            granules,
            *who,
            |number| {
                let mut datagram = [0; Packets::BUFFER];
                let (head, rest) = datagram.split_at_mut(NUMBER);
                head.copy_from_slice(&number.to_ne_bytes());
                if let Some(place) = rest.get_mut(..bytes.len()) {
                    place.copy_from_slice(bytes);
                }
                let datagram = datagram.get(..NUMBER + bytes.len()).unwrap_or_default();
                ring.send_in_time(packets, datagram, descriptors, limit)
            },
            limit,
        );
        // SAFETY: taken above, by this thread.
        unsafe { lock.release() };
        sent.map_err(|unsent| match unsent {
            Unsent::Stop(stop) => in_time::<()>(Err(stop)).err().unwrap_or(RingError::Lost),
            Unsent::Lost => RingError::Lost,
            Unsent::Post(error) => error,
        })
    }

    /// Waits until the sockets have room for packets, within the limit. Returns false if the time ran out or the wait
    /// was cancelled. Returns after a moment if a packet is refused for another cause.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::sync::ring::{Packets, Ring};
    ///
    /// let (ring, packets) = (Ring::new(1 << 16)?, Packets::new()?);
    /// let mut user = ring.join()?;
    /// while user.send_packet(&packets, b"x", &[], 0, Duration::ZERO)? {}
    /// assert!(!user.wait_for_packets(&packets, Duration::from_millis(1))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for_packets<'c>(&mut self, packets: &Packets, limit: impl Into<Limit<'c>>) -> Result<bool, RingError> {
        let limit = limit.into();
        let ring = same(&self.ring, self.base)?;
        let look = |has_room: &dyn Fn() -> bool| {
            let grounds = ring.no_room()?;
            Ok((!has_room()).then_some(grounds))
        };
        let moment = limit.or_sooner(Deadline::after(SLICE / 10));
        ring.wait_until(ring.room(), || look(&|| false), moment)?;
        ring.wait_until(ring.room(), || look(&|| packets.has_room()), limit)
    }

    /// Receives the next message or packet within the limit. Returns `None` if the time ran out or the wait was
    /// cancelled. All receivers of a ring with packets use this function. Afterwards `parcel` is `Some` for a packet
    /// and `None` for a message. The tag of a packet is 0.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv); [`TooSmall`](RingError::TooSmall) for a packet and less than
    /// [`BUFFER`](Packets::BUFFER) bytes; [`Packets`](RingError::Packets) when the kernel has no memory for the
    /// receipt, and the packet stays.
    ///
    /// # Examples
    /// See the example of [`Packets`].
    pub fn recv_packet<'c>(
        &mut self,
        packets: &Packets,
        bytes: &mut [u8],
        parcel: &mut Option<Parcel>,
        limit: impl Into<Limit<'c>>,
    ) -> Result<Option<Received>, RingError> {
        self.recv_packet_counted(packets, bytes, parcel, limit.into(), false)
    }

    /// Like [`recv_packet`](Self::recv_packet), but as a task: see [`recv_task_timeout`](Self::recv_task_timeout).
    ///
    /// # Errors
    /// As for [`recv_packet`](Self::recv_packet).
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::sync::ring::{Packets, Ring};
    ///
    /// let (ring, packets) = (Ring::new(1 << 16)?, Packets::new()?);
    /// let mut user = ring.join()?;
    /// user.send_packet(&packets, b"a task", &[], 0, Duration::ZERO)?;
    /// let mut bytes = [0; Packets::BUFFER];
    /// assert!(user.recv_packet_task(&packets, &mut bytes, &mut None, Duration::ZERO)?.is_some());
    /// assert!(ring.unfinished()? == 1 && user.task_done()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_packet_task<'c>(
        &mut self,
        packets: &Packets,
        bytes: &mut [u8],
        parcel: &mut Option<Parcel>,
        limit: impl Into<Limit<'c>>,
    ) -> Result<Option<Received>, RingError> {
        self.recv_packet_counted(packets, bytes, parcel, limit.into(), true)
    }

    fn recv_packet_counted(
        &mut self,
        packets: &Packets,
        bytes: &mut [u8],
        parcel: &mut Option<Parcel>,
        limit: Limit<'_>,
        as_task: bool,
    ) -> Result<Option<Received>, RingError> {
        *parcel = None;
        // A token shows a length that no record has.
        if !as_task {
            if let Some(received) = self.recv_soon(bytes, limit) {
                return Ok(Some(received));
            }
        }
        self.recv_packet_slow(packets, bytes, parcel, limit, as_task)
    }

    #[cold]
    fn recv_packet_slow(
        &mut self,
        packets: &Packets,
        bytes: &mut [u8],
        parcel: &mut Option<Parcel>,
        limit: Limit<'_>,
        as_task: bool,
    ) -> Result<Option<Received>, RingError> {
        loop {
            *parcel = None;
            match self.recv_packet_once(packets, bytes, parcel, limit, as_task) {
                // As for a message alone.
                Err(RingError::Lost) if self.is_enrolled() => {}
                received => return received,
            }
        }
    }

    fn recv_packet_once(
        &mut self,
        packets: &Packets,
        bytes: &mut [u8],
        parcel: &mut Option<Parcel>,
        limit: Limit<'_>,
        as_task: bool,
    ) -> Result<Option<Received>, RingError> {
        if !self.enter(limit)? {
            return Ok(None);
        }
        let Self { ring, base, who, reader, message_spin, .. } = self;
        let ring = same(ring, *base)?;
        ring.gate().protected(|| {
            let track = ring.track();
            let how = |seen: Claim| {
                if post::is_token(track, seen) {
                    if bytes.len() < Packets::BUFFER {
                        return Taking::Left(Got::Packet(Err(RingError::TooSmall { needed: Packets::BUFFER })));
                    }
                    let mut letters = Letters { packets, bytes, parcel };
                    let give_back = |token| done_with(ring, token, *who, as_task).is_ok();
                    return post::receive(ring, &mut letters, seen, *who, give_back)
                        .map(|packet| Got::Packet(told(packet)));
                }
                if !as_task && seen.word.granules() <= AT_ONCE {
                    return track.receive(seen, |info| copy_out(ring, seen, info, bytes)).map(Got::Whole);
                }
                track.claim(seen, RecordState::Copying, *who).map(Got::Claim)
            };
            let claim = match in_time(take(ring, reader, message_spin, *who, how, limit))? {
                None => return Ok(None),
                Some(Got::Claim(claim)) => claim,
                Some(Got::Packet(packet)) => return packet.map(Some),
                Some(Got::Whole(whole)) => {
                    let whole = whole?;
                    received(ring);
                    return Ok(Some(whole));
                }
            };
            let whole = match copy_out(ring, claim, track.info(claim), bytes) {
                Ok(whole) => whole,
                // The buffer is too small, or the length is damaged. In both cases the message stays.
                Err(error) => {
                    put_back(ring, claim);
                    return Err(error);
                }
            };
            done_with(ring, claim, *who, as_task)?;
            Ok(Some(whole))
        })
    }
}

/// What a receiver received.
enum Got {
    Whole(Result<Received, RingError>),
    /// A record that must be copied and given back.
    Claim(Claim),
    Packet(Result<Received, RingError>),
}

fn told(packet: Result<Received, Missing<Errno>>) -> Result<Received, RingError> {
    packet.map_err(|missing| match missing {
        Missing::Post(errno) => RingError::Packets(errno),
        Missing::Lost => RingError::Lost,
        Missing::Refused(refused) => refused.into(),
    })
}

/// The packets of a receiver, with its buffer and its room for descriptors.
struct Letters<'p> {
    packets: &'p Packets,
    bytes: &'p mut [u8],
    parcel: &'p mut Option<Parcel>,
}

impl Post for Letters<'_> {
    type Packet = Received;
    type Error = Errno;

    fn first(&mut self) -> ErrnoResult<Option<u64>> {
        let mut number = [0; NUMBER];
        // A shorter packet was not sent by a participant: it is dropped.
        Ok(self.packets.far.peek(&mut number, Deadline::NOW)?.map(|_| u64::from_ne_bytes(number)))
    }

    fn receive(&mut self) -> ErrnoResult<Option<Received>> {
        let Some(came) = self.packets.far.recv_with(self.bytes, Deadline::NOW)? else { return Ok(None) };
        let len = came.len.saturating_sub(NUMBER);
        self.bytes.copy_within(came.len - len..came.len, 0);
        *self.parcel = Some(Parcel { descriptors: came.descriptors, descriptors_lost: came.descriptors_lost });
        Ok(Some(Received { len, tag: 0 }))
    }

    fn discard(&mut self) -> ErrnoResult<()> {
        self.receive()?;
        *self.parcel = None;
        Ok(())
    }
}

impl Ring {
    /// Drops all packets if there is no token for one, and wakes the senders that wait for room in the sockets. The
    /// caller holds the senders' lock. Must be called in a protected stretch.
    fn drop_untold(&self, packets: &Packets) {
        // What stays after an error is dropped another time.
        let is_none = post::oldest(self.track()) != Ok(None) || packets.clear() == Ok(0);
        if !is_none && self.room().has_sleepers() {
            self.room().notify(self.gate(), u32::MAX);
        }
    }

    /// The grounds on which a sender sleeps that finds no room in the sockets afterwards.
    fn no_room(&self) -> Result<Grounds<'_>, Stop> {
        let mut grounds = Grounds::new();
        let closing = self.closing();
        if closing == CLOSED {
            return Err(Stop::Closed);
        }
        grounds.word(self.closed(), closing);
        self.receipt().watch(&mut grounds);
        Ok(grounds)
    }

    /// Sends a packet within the limit. Returns false if the time ran out, or the wait was cancelled. The caller holds
    /// the senders' lock.
    fn send_in_time(
        &self,
        packets: &Packets,
        datagram: &[u8],
        descriptors: &[BorrowedFd<'_>],
        limit: Limit<'_>,
    ) -> Result<bool, RingError> {
        let mut given_up = None;
        loop {
            let refused = Cell::new(None);
            let look = || {
                let grounds = self.no_room()?;
                let mut sent = packets.send(datagram, descriptors);
                if sent != Ok(true) {
                    self.drop_untold(packets);
                    sent = packets.send(datagram, descriptors);
                }
                match sent {
                    Ok(true) => Ok(None),
                    Ok(false) => Ok(Some(grounds)),
                    Err(errno) => {
                        refused.set(Some(errno));
                        Ok(None)
                    }
                }
            };
            // A receiver gives the token's record back after the receipt of the packet, which makes room.
            let sent = self.wait_until(self.room(), look, limit)?;
            let Some(errno) = refused.get() else { return Ok(sent) };
            if ![Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM].contains(&errno) {
                return Err(RingError::Packets(errno));
            }
            // A receiver takes these packets. Data elsewhere may stay there forever.
            match given_up {
                _ if packets.has_any() => given_up = None,
                None => given_up = Some(Deadline::after(PATIENCE)),
                Some(deadline) if Deadline::has_passed(deadline) => return Err(RingError::Packets(errno)),
                Some(_) => {}
            }
            let moment = limit.or_sooner(Deadline::after(SLICE));
            let nothing = || Ok(Some(Grounds::new()));
            if !limit.is_over() {
                self.wait_until(self.room(), nothing, moment)?;
            }
            if limit.is_over() {
                return Ok(false);
            }
        }
    }
}
