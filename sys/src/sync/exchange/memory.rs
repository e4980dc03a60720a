//! The two sides of an exchange, over a sealed memory file.
//!
//! | bytes | content | written by |
//! | --- | --- | --- |
//! | `0..4`, `4..8` | `asked`, `client_sleeps` | the client |
//! | `16..4096` | the request | the client |
//! | `4096..4100`, `4104..4108` | `answered`, `server_sleeps` | the server |
//! | `4112..8128` | the reply | the server |
//! | `8128..8132` | `taken` | the server |
//!
//! A short message is in one cache line with the word that publishes it. `taken` has a separate line: the client reads
//! the line of `answered` meanwhile, and each store there would take that line away from it.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

use super::words::{AWAKE, ELSEWHERE, FOR_NOTIFICATION, ON_WORD, Wake, Words, before, next};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::eventfd::EventFd;
use crate::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, duplicate};
use crate::futex::{self, Reach, Wait};
use crate::mmap::{Memfd, Region, Seals};
use crate::sync::spin::Spin;

/// The length of the memory.
const LEN: usize = 8192;
/// The offset of the server's half.
const HALF: usize = 4096;
/// The offset of the bytes in each half.
const BYTES: usize = 16;
/// The offset of the last cache line.
const TAKEN: usize = LEN - 64;

/// The length of the longest request and of the longest reply, in bytes.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, sync::exchange::{Client, ROOM, Server}};
///
/// let (_server, memory, wakeup) = Server::new()?;
/// let mut client = Client::new(memory, wakeup)?;
/// assert_eq!(client.ask(&[0; ROOM + 1]), Err(Errno::MSGSIZE));
/// client.ask(&[0; ROOM])?;
/// # Ok::<(), Errno>(())
/// ```
pub const ROOM: usize = TAKEN - HALF - BYTES;

/// The seals that the memory must have.
const SEALS: Seals = Seals::SHRINK.union(Seals::GROW);

/// The longest sleep of a client on the word before it must check that the server lives. Most kernels have a tick every
/// four milliseconds or more often. A timer before the next tick is set and cancelled in the hardware, and both cost
/// microseconds in a virtual machine.
const SLICE: Duration = Duration::from_millis(5);

/// The words in the memory, for [`Words`]. A single check covers all of them, and cannot fail for memory of this
/// length.
#[inline]
fn words(region: &Region) -> Result<Words<'_>> {
    let all: &[AtomicU32; LEN / 4] = region.atomics_u32(0)?;
    Ok(Words {
        asked: &all[0],
        client_sleeps: &all[1],
        answered: &all[HALF / 4],
        taken: &all[TAKEN / 4],
        server_sleeps: &all[HALF / 4 + 2],
    })
}

/// Copies a message out of its half; `EBADMSG` for an invalid length.
#[inline]
fn copy_out<'r>(region: &Region, half: usize, length: u32, room: &'r mut [u8; ROOM]) -> Result<&'r [u8]> {
    let bytes = room.get_mut(..length as usize).ok_or(Errno::BADMSG)?;
    region.copy_out(half + BYTES, bytes)?;
    Ok(bytes)
}

/// Copies a message into its half, and returns its length.
#[inline]
fn copy_in(region: &Region, half: usize, bytes: &[u8]) -> Result<u32> {
    if bytes.len() > ROOM {
        return Err(Errno::MSGSIZE);
    }
    region.copy_in(half + BYTES, bytes)?;
    Ok(bytes.len() as u32) // less than a page
}

/// The server side. Its descriptor, the wake-up, is for an edge-triggered epoll set and is never read.
///
/// # Examples
/// A server that sleeps:
///
/// ```
/// use core::{mem::MaybeUninit, time::Duration};
/// use ossature_sys::{epoll::{Epoll, Event, Interest}, sync::exchange::{Client, ROOM, Server}};
///
/// let (mut server, memory, wakeup) = Server::new()?;
/// let epoll = Epoll::new()?;
/// epoll.register(&server, Interest::IN | Interest::ET, 7)?;
/// let mut client = Client::new(memory, wakeup)?;
/// assert!(server.sleep()?, "there is no request yet");
/// client.ask(b"ring")?;
/// let mut events = [MaybeUninit::<Event>::uninit(); 4];
/// assert_eq!(epoll.poll(&mut events, Duration::from_secs(60))?.len(), 1);
/// server.wake()?;
/// assert!(server.has_request()?);
/// server.take(&mut [0; ROOM])?;
/// server.answer_elsewhere()?;
/// assert!(client.wait(Duration::ZERO)?);
/// assert_eq!(client.reply(&mut [0; ROOM])?, None, "it comes another way");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct Server {
    region: Region,
    wakeup: EventFd,
    /// The number of the last request that was taken.
    last: u32,
}

impl Server {
    /// Makes an exchange: the server side, and for the client the memory and its wake-up.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` without descriptors, `ENOMEM` or `ENOSPC` without memory.
    pub fn new() -> Result<(Self, OwnedFd, OwnedFd)> {
        let memory = Memfd::new(c"ossature-exchange")?;
        memory.reserve(LEN as u64)?;
        memory.add_seals(SEALS.union(Seals::SEAL))?;
        let region = Region::shared(&memory, LEN)?;
        let wakeup = EventFd::counter(0)?.above_standard()?;
        let theirs = duplicate(&wakeup)?;
        Ok((Self { region, wakeup, last: 0 }, memory.into(), theirs))
    }

    /// Whether there is a request that was not taken yet.
    ///
    /// # Errors
    /// None that can happen: the words are within the memory.
    #[inline]
    pub fn has_request(&self) -> Result<bool> {
        Ok(words(&self.region)?.request(self.last).is_some())
    }

    /// Copies a new request out, if there is one.
    ///
    /// # Errors
    /// `EBADMSG` for a length that no request has: the client does not follow the protocol.
    #[inline]
    pub fn take<'r>(&mut self, room: &'r mut [u8; ROOM]) -> Result<Option<&'r [u8]>> {
        let words = words(&self.region)?;
        let Some((number, length)) = words.request(self.last) else { return Ok(None) };
        let bytes = copy_out(&self.region, 0, length, room)?;
        self.last = number;
        words.take(number);
        Ok(Some(bytes))
    }

    /// Replies to the request that was taken last, and wakes its client if the client sleeps on the word.
    ///
    /// # Errors
    /// `EMSGSIZE` for more than [`ROOM`] bytes: no reply is sent then.
    #[inline]
    pub fn answer(&mut self, bytes: &[u8]) -> Result<Wake> {
        let length = copy_in(&self.region, HALF, bytes)?;
        self.publish(length)
    }

    /// Tells the client that the reply is sent by other means.
    ///
    /// # Errors
    /// As for [`has_request`](Self::has_request).
    pub fn answer_elsewhere(&mut self) -> Result<Wake> {
        self.publish(ELSEWHERE)
    }

    #[inline]
    fn publish(&mut self, length: u32) -> Result<Wake> {
        let words = words(&self.region)?;
        let wake = words.answer(self.last, length);
        if wake == Wake::Sleeper {
            // Cannot fail: the word is mapped.
            let _ = futex::wake(words.answered, 1, Reach::Shared);
        }
        Ok(wake)
    }

    /// Announces that this side will sleep until the wake-up is signalled. Returns `false`, and announces nothing, if
    /// there is a request.
    ///
    /// # Errors
    /// As for [`has_request`](Self::has_request).
    pub fn sleep(&self) -> Result<bool> {
        let words = words(&self.region)?;
        let may_sleep = words.server_sleeps(self.last);
        if !may_sleep {
            words.server_is_awake();
        }
        Ok(may_sleep)
    }

    /// Announces that this side is awake again.
    ///
    /// # Errors
    /// As for [`has_request`](Self::has_request).
    pub fn wake(&self) -> Result<()> {
        words(&self.region)?.server_is_awake();
        Ok(())
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }
}

/// Publishes the request of a number, after its bytes are written, and signals the wake-up if the server sleeps.
#[inline]
fn ask(words: Words<'_>, wakeup: &EventFd, number: u32, length: u32) -> Result<()> {
    if words.ask(number, length) {
        // The counter is full after 2⁶⁴ rings, or when the server filled it. Only the server misses a ring then.
        wakeup.try_add(1).inspect_err(|_| words.retract(before(number)))?;
    }
    Ok(())
}

/// Waits for the reply to a request, for one slice at most.
#[inline]
fn wait(words: Words<'_>, spin: &Spin, number: u32, until: Deadline) -> Result<bool> {
    let here = || words.reply(number).is_some();
    // A reply that is there already says nothing of whether looking is of use: on one processor the server has run
    // meanwhile.
    if here() || spin.until(here) || here() {
        return Ok(true);
    }
    sleep_on_word(words, number, until)
}

#[cold]
fn sleep_on_word(words: Words<'_>, number: u32, until: Deadline) -> Result<bool> {
    let slice = until.or_sooner(Deadline::after(SLICE));
    while let Some(seen) = words.client_sleeps(ON_WORD, number) {
        if futex::wait(words.answered, seen, Reach::Shared, slice)? == Wait::TimedOut {
            break;
        }
    }
    words.client_is_awake();
    Ok(words.reply(number).is_some())
}

/// The client side.
///
/// # Examples
/// A call, until the server has ended:
///
/// ```
/// use core::time::Duration;
/// use ossature_sys::sync::exchange::{Client, ROOM, Server, Wake};
///
/// let (mut server, memory, wakeup) = Server::new()?;
/// let mut client = Client::new(memory, wakeup)?;
/// client.ask(b"one")?;
/// assert!(!client.wait(Duration::from_secs(60))?, "after a slice: is the server there?");
/// assert!(!client.was_taken()?);
/// assert!(client.wait_for_notification()?, "there is no reply yet");
/// let mut room = [0; ROOM];
/// server.take(&mut room)?;
/// assert!(client.was_taken()?);
/// assert_eq!(server.answer(b"1")?, Wake::Notify);
/// assert_eq!(client.reply(&mut room)?, Some(&b"1"[..]));
///
/// client.ask(b"two")?;
/// client.retract()?;
/// assert_eq!(server.take(&mut room)?, None);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct Client {
    region: Region,
    wakeup: EventFd,
    /// The number of the last request.
    number: u32,
    spin: Spin,
}

impl Client {
    /// Makes the client side from the descriptors of a [`Server::new`], perhaps in another process.
    ///
    /// # Errors
    /// `EINVAL` for a file that takes no seals, `EPERM` for one that may shrink, `ERANGE` for one that is too short,
    /// `ENOMEM` without addresses.
    pub fn new(memory: OwnedFd, wakeup: OwnedFd) -> Result<Self> {
        let memory = Memfd::from_fd(memory)?;
        if !memory.seals()?.contains(SEALS) {
            return Err(Errno::PERM);
        }
        let region = Region::shared(&memory, LEN)?;
        let wakeup = EventFd::try_from(wakeup)?.above_standard()?;
        Ok(Self { region, wakeup, number: 0, spin: Spin::new() })
    }

    /// Sends a request, waits and takes the reply, like [`ask`](Self::ask), [`wait`](Self::wait) and
    /// [`reply`](Self::reply). The request is the first `length` bytes of `room`, which also receives the reply. `None`
    /// if there is no reply after a slice, or if the reply is sent by other means.
    ///
    /// # Errors
    /// As for these three methods; `EMSGSIZE` if `length` is more than [`ROOM`].
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::deadline::Deadline;
    /// use ossature_sys::sync::exchange::{Client, ROOM, Server};
    ///
    /// let (mut server, memory, wakeup) = Server::new()?;
    /// let mut client = Client::new(memory, wakeup)?;
    /// let mut room = [0; ROOM];
    /// room[..3].copy_from_slice(b"two");
    /// assert_eq!(client.call(&mut room, 3, Deadline::NOW)?, None, "no server runs");
    /// assert_eq!(server.take(&mut room)?, Some(&b"two"[..]));
    /// server.answer(b"2")?;
    /// assert_eq!(client.reply(&mut room)?, Some(&b"2"[..]));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[inline]
    pub fn call<'r>(
        &mut self,
        room: &'r mut [u8; ROOM],
        length: usize,
        timeout: impl Into<Deadline>,
    ) -> Result<Option<&'r [u8]>> {
        let Self { region, wakeup, number, spin } = self;
        let bytes = room.get(..length).ok_or(Errno::MSGSIZE)?;
        let length = copy_in(region, 0, bytes)?;
        let words = words(region)?;
        *number = next(*number);
        ask(words, wakeup, *number, length)?;
        if !wait(words, spin, *number, timeout.into())? {
            return Ok(None);
        }
        match words.reply(*number) {
            None | Some(ELSEWHERE) => Ok(None),
            Some(length) => copy_out(region, HALF, length, room).map(Some),
        }
    }

    /// Publishes a request, and signals the wake-up if the server sleeps. Only one request is possible at a time: the
    /// next one must wait for the reply to this one.
    ///
    /// # Errors
    /// `EMSGSIZE` for more than [`ROOM`] bytes, and the errors of the wake-up: no request is sent then.
    #[inline]
    pub fn ask(&mut self, bytes: &[u8]) -> Result<()> {
        let length = copy_in(&self.region, 0, bytes)?;
        let words = words(&self.region)?;
        self.number = next(self.number);
        ask(words, &self.wakeup, self.number, length)
    }

    /// Waits for the reply: spins for a while, if that was useful before, and then sleeps for a slice of some
    /// milliseconds, or until the deadline. Returns `false` if there is no reply by then.
    ///
    /// # Errors
    /// As for [`Server::has_request`].
    #[inline]
    pub fn wait(&self, timeout: impl Into<Deadline>) -> Result<bool> {
        wait(words(&self.region)?, &self.spin, self.number, timeout.into())
    }

    /// Announces that this side will sleep until the server notifies. Returns `false` if the reply is there.
    ///
    /// # Errors
    /// As for [`Server::has_request`].
    pub fn wait_for_notification(&self) -> Result<bool> {
        Ok(words(&self.region)?.client_sleeps(FOR_NOTIFICATION, self.number).is_some())
    }

    /// Announces that this side is awake again.
    ///
    /// # Errors
    /// As for [`Server::has_request`].
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::sync::exchange::{Client, ROOM, Server, Wake};
    ///
    /// let (mut server, memory, wakeup) = Server::new()?;
    /// let mut client = Client::new(memory, wakeup)?;
    /// client.ask(b"?")?;
    /// client.wait_for_notification()?;
    /// client.wake()?;
    /// server.take(&mut [0; ROOM])?;
    /// assert_eq!(server.answer(b"!")?, Wake::Nobody);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn wake(&self) -> Result<()> {
        words(&self.region)?.client_is_awake();
        Ok(())
    }

    /// Whether there is a reply to the last request.
    ///
    /// # Errors
    /// As for [`Server::has_request`].
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::sync::exchange::{Client, ROOM, Server};
    ///
    /// let (mut server, memory, wakeup) = Server::new()?;
    /// let mut client = Client::new(memory, wakeup)?;
    /// client.ask(b"?")?;
    /// assert!(!client.has_reply()?);
    /// server.take(&mut [0; ROOM])?;
    /// server.answer(b"!")?;
    /// assert!(client.has_reply()?);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn has_reply(&self) -> Result<bool> {
        Ok(words(&self.region)?.reply(self.number).is_some())
    }

    /// Copies the reply out; `None` if it is sent by other means.
    ///
    /// # Errors
    /// `EBADMSG` for a length that no reply has, `EAGAIN` if there is no reply yet.
    #[inline]
    pub fn reply<'r>(&self, room: &'r mut [u8; ROOM]) -> Result<Option<&'r [u8]>> {
        match words(&self.region)?.reply(self.number) {
            None => Err(Errno::AGAIN),
            Some(ELSEWHERE) => Ok(None),
            Some(length) => copy_out(&self.region, HALF, length, room).map(Some),
        }
    }

    /// Whether the server has taken the last request, that is, has copied it.
    ///
    /// # Errors
    /// As for [`Server::has_request`].
    pub fn was_taken(&self) -> Result<bool> {
        Ok(words(&self.region)?.was_taken(self.number))
    }

    /// Retracts the last request, unless the server has already looked at it. The exchange cannot be used afterwards.
    ///
    /// # Errors
    /// As for [`Server::has_request`].
    pub fn retract(&mut self) -> Result<()> {
        words(&self.region)?.retract(before(self.number));
        Ok(())
    }
}

// The words of new memory are zero, and so is what they mean.
const _: () = assert!(AWAKE == 0);
