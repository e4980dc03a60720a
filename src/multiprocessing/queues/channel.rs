//! A queue that ends when no sender is left.
//!
//! The senders hold the writing end of a pipe open, and the receivers the reading end. The kernel closes the ends of a
//! process that dies, however it dies, and counts ends that are in transit to another process. So the pipe ends with
//! the last sender, and no process counts the senders.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AboveStandard, AsFd, BorrowedFd, duplicate};
use ossature_sys::pipe;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::PutError;
use super::queue::{Queue, QueueBuilder};
use super::readiness::Readiness;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::handle;

/// Makes a channel between processes: a queue that ends when the last sender is dropped, like channels of
/// `std::sync::mpsc` and crossbeam.
///
/// A sender ends when it is dropped, or when its process ends, killed or not. A sender inside a message to
/// another process still counts. With Python's queues, a get waits forever for a producer that was killed.
///
/// **Fork.** A forked child has copies of all that its parent has, the senders included. It counts as a sender until it
/// ends, even if it never sends. Start children by spawn, or make the channel after the fork.
///
/// # Errors
/// As for [`Queue::new`].
///
/// # Examples
/// ```standalone_crate
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::{Process, Tasks, freeze_support, queues::{Sender, channel}, tasks};
///
/// fn count(numbers: Sender<u32>) -> ossature::Result<()> {
///     for number in 1..=3 {
///         numbers.send(number)?;
///     }
///     Ok(())
/// }
/// static TASKS: Tasks = tasks![count];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let (sender, receiver) = channel()?;
///     let worker = Process::spawn(count, (sender,))?; // the sender is the worker's now
///     let numbers: Vec<u32> = receiver.iter().collect::<ossature::Result<_>>()?;
///     assert_eq!(numbers, [1, 2, 3]);
///     assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::Closed);
///     worker.join()?;
///     Ok(())
/// }
/// ```
pub fn channel<T>() -> Result<(Sender<T>, Receiver<T>)> {
    QueueBuilder::new().build_channel()
}

impl QueueBuilder {
    /// Makes a [`channel`] with these sizes.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::queues::QueueBuilder;
    ///
    /// let (sender, receiver) = QueueBuilder::new().maxsize(1).build_channel()?;
    /// sender.send('a')?;
    /// assert!(sender.try_send('b').is_err_and(|error| error.is_full()));
    /// assert_eq!(receiver.recv()?, 'a');
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn build_channel<T>(self) -> Result<(Sender<T>, Receiver<T>)> {
        let failed = |errno| Error::os(errno, "cannot make the pipe of a channel");
        let (near, far) = pipe::pipe(pipe::Flags::NONBLOCK).and_then(AboveStandard::above_standard).map_err(failed)?;
        let queue = self.build()?;
        let sender = Sender { queue: queue.try_clone()?, line: far };
        Ok((sender, Receiver { queue, line: near, readiness: Mutex::default() }))
    }
}

/// The sending end of a [`channel`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::queues::{Sender, channel};
///
/// let (sender, receiver) = channel()?;
/// let again: Sender<u8> = sender.try_clone()?;
/// sender.try_send(1)?;
/// again.send_timeout(2, Duration::from_secs(1))?;
/// drop((sender, again));
/// assert_eq!(receiver.iter().count(), 2);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Sender<T> {
    queue: Queue<T>,
    #[serde(with = "handle")]
    line: OwnedFd,
}

/// The interval at which a sender that waits for room checks whether a receiver is left.
const SLICE: Duration = Duration::from_millis(50);

impl<T> Sender<T> {
    /// Makes another sender of the same channel.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` without descriptors.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { queue: self.queue.try_clone()?, line: again(&self.line)? })
    }
}

impl<T: Serialize> Sender<T> {
    /// Waits for room, and sends an item.
    ///
    /// # Errors
    /// [`ShutDown`](PutError::ShutDown) with the item, when there is no room and no receiver is left, within 50 ms; or
    /// [`Failed`](PutError::Failed). An item for which there is room is sent, even if no receiver is left.
    pub fn send(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.send_timeout(item, Deadline::NEVER)
    }

    /// Sends an item without waiting.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`Full`](PutError::Full).
    pub fn try_send(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.send_timeout(item, Deadline::NOW)
    }

    /// Sends an item within the time limit.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`Full`](PutError::Full) when the time is over.
    pub fn send_timeout(&self, item: T, timeout: impl Into<Deadline>) -> std::result::Result<(), PutError<T>> {
        let (mut item, deadline) = (item, timeout.into());
        loop {
            match self.queue.put_timeout(item, deadline.or_sooner(Deadline::after(SLICE))) {
                Err(PutError::Full(back)) if has_ended(self.line.as_fd()) => return Err(PutError::ShutDown(back)),
                Err(PutError::Full(back)) if !deadline.has_passed() => item = back,
                done => return done,
            }
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.queue).finish()
    }
}

/// The receiving end of a [`channel`]. Each item goes to one of the receivers.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::{ErrorKind, multiprocessing::queues::{Receiver, channel}};
///
/// let (sender, receiver) = channel()?;
/// let other: Receiver<i32> = receiver.try_clone()?;
/// sender.send(1)?;
/// sender.send(2)?;
/// assert_eq!((receiver.len()?, receiver.recv()?, other.try_recv()?), (2, 1, Some(2)));
/// assert_eq!(receiver.recv_timeout(Duration::from_millis(1))?, None);
/// sender.send(3)?;
/// drop(sender);
/// assert!(!receiver.is_empty()?);
/// assert_eq!(receiver.iter().collect::<ossature::Result<Vec<i32>>>()?, [3]);
/// assert_eq!(other.try_recv().unwrap_err().kind(), ErrorKind::Closed);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Receiver<T> {
    queue: Queue<T>,
    #[serde(with = "handle")]
    line: OwnedFd,
    /// The descriptor for waits, made at the first wait.
    #[serde(skip)]
    readiness: Mutex<Option<Readiness>>,
}

/// The time for which a receiver waits for the next item before it checks whether a sender is left.
const NEAR: Duration = Duration::from_micros(50);

impl<T> Receiver<T> {
    /// Makes another receiver of the same channel.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` without descriptors.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { queue: self.queue.try_clone()?, line: again(&self.line)?, readiness: Mutex::default() })
    }

    /// The number of items a moment ago.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    pub fn len(&self) -> Result<usize> {
        self.queue.len()
    }

    /// Whether there was no item a moment ago.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    pub fn is_empty(&self) -> Result<bool> {
        self.queue.is_empty()
    }

    /// Makes a descriptor that is readable while there may be an item, and when no sender is left: see [`Readiness`].
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` without descriptors.
    ///
    /// # Examples
    /// ```
    /// use ossature::{ErrorKind, multiprocessing::{connection::wait, queues::channel}};
    ///
    /// let (sender, receiver) = channel::<u8>()?;
    /// let readiness = receiver.readiness()?;
    /// assert_eq!(receiver.try_recv()?, None);
    /// drop(sender);
    /// assert_eq!(wait(&[&readiness], None)?, [0]);
    /// assert_eq!(receiver.try_recv().unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn readiness(&self) -> Result<Readiness> {
        let mut place = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(readiness) = place.as_ref().filter(|readiness| readiness.is_of_this_process()) {
            return Ok(readiness.clone());
        }
        let readiness = self.queue.handle().readiness(Some(self.line.as_fd()))?;
        Ok(place.insert(readiness).clone())
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Waits for an item, and receives it.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) when there is no item and no sender is left; as for [`Queue::get`].
    pub fn recv(&self) -> Result<T> {
        loop {
            if let Some(item) = self.recv_timeout(Deadline::NEVER)? {
                return Ok(item);
            }
        }
    }

    /// Receives an item if there is one.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<T>> {
        self.recv_timeout(Deadline::NOW)
    }

    /// Receives an item within the time limit; `None` when the time ran out, or a
    /// [`CancelFd`](crate::multiprocessing::connection::CancelFd) ends the wait.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn recv_timeout<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<Option<T>> {
        let until = timeout.into();
        loop {
            // First a short wait in the queue, for a receiver whose next item comes soon.
            if let Some(item) = self.get(until.deadline().or_sooner(Deadline::after(NEAR)))? {
                return Ok(Some(item));
            }
            if has_ended(self.line.as_fd()) {
                // From now on the queue itself reports its end, after the items that the senders have sent.
                self.queue.shutdown();
                return self.get(until.deadline());
            }
            if until.deadline().has_passed() {
                return Ok(None);
            }
            let readiness = self.readiness()?;
            let mut fds = vec![PollFd::new(&readiness, PollFlags::IN)];
            fds.extend(until.cancel().map(|cancel| PollFd::from_borrowed(cancel, PollFlags::IN)));
            poll(&mut fds, until.deadline()).map_err(|errno| Error::os(errno, "cannot wait for an item"))?;
            if fds.get(1).is_some_and(|cancel| !cancel.revents().is_empty()) {
                return self.get(Deadline::NOW);
            }
        }
    }

    fn get(&self, deadline: Deadline) -> Result<Option<T>> {
        match self.queue.get_timeout(deadline) {
            Err(error) if error.kind() == ErrorKind::ShutDown => {
                Err(Error::new(ErrorKind::Closed, "the channel has ended: no sender and no item is left"))
            }
            item => item,
        }
    }

    /// Iterates over the items as they come, until no sender is left.
    pub fn iter(&self) -> impl Iterator<Item = Result<T>> {
        std::iter::from_fn(|| match self.recv() {
            Err(error) if error.kind() == ErrorKind::Closed => None,
            item => Some(item),
        })
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.queue).finish()
    }
}

fn again(line: &OwnedFd) -> Result<OwnedFd> {
    let failed = |errno| Error::os(errno, "cannot copy the end of a channel");
    duplicate(line).and_then(AboveStandard::above_standard).map_err(failed)
}

/// Whether no process has the other end of the pipe any more.
fn has_ended(line: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed(line, PollFlags::empty())];
    poll(&mut fds, Deadline::NOW).is_ok_and(|ready| ready > 0)
}
