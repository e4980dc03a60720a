//! Messages that count as unfinished until a receiver marks them as done, and waits for the state of a ring.
//!
//! | unfinished | because |
//! | --- | --- |
//! | a message that no participant has received | it is in the ring |
//! | a task that a living thread has received | that thread's entry counts it |
//!
//! A receiver counts the task before it gives the record back, and a waiting thread looks at the records before the
//! entries. So a task is seen in one place at least. A task that came after the look is found by a second look at the
//! records, and by the number of receipts. The entry of a dead thread counts nothing: the tasks that it had are lost.

use core::ops::Deref;
use core::sync::atomic::Ordering::SeqCst;

use super::bytes::Received;
use super::error::RingError;
use super::event_count::EventCount;
use super::flow::{Flow, Stop};
use super::grounds::Grounds;
use super::memory::Ring;
use super::participant::{Participant, same};
use super::waits::{unless_below, wait_until};
use crate::futex::Limit;
use crate::sync::gate::Gate;
use crate::sync::lease::Holder;
use crate::sync::scope::Refused;

impl Ring {
    /// Counts the messages that are not received, and the tasks that living threads have received but not done. The
    /// numbers are those of a moment ago.
    ///
    /// # Errors
    /// As for [`len`](Self::len).
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::sync::ring::Ring;
    ///
    /// let ring = Ring::new(1 << 16)?;
    /// let mut user = ring.join()?;
    /// user.send(b"a task")?;
    /// let mut bytes = [0; 16];
    /// assert_eq!(user.recv_task_timeout(&mut bytes, Duration::ZERO)?.map(|task| task.len), Some(6));
    /// assert_eq!(ring.unfinished()?, 1);
    /// assert!(!ring.wait_until_done(Duration::from_millis(1))?);
    /// assert!(user.task_done()? && !user.task_done()?, "there was one task");
    /// assert!(ring.wait_until_done(Duration::ZERO)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unfinished(&self) -> Result<usize, RingError> {
        Ok(self.look_at_tasks(usize::MAX)?.0)
    }

    /// Waits until all tasks are done, within the limit. Returns false if the time ran out or the wait was cancelled.
    ///
    /// # Errors
    /// As for [`len`](Self::len).
    ///
    /// # Examples
    /// See the example of [`unfinished`](Self::unfinished).
    pub fn wait_until_done<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool, RingError> {
        let look = || {
            let (unfinished, grounds) = self.look_at_tasks(1)?;
            Ok((unfinished != 0).then_some(grounds))
        };
        self.wait_until(self.idle(), look, limit.into())
    }

    /// Waits until fewer than `most` messages are unread, within the limit. Returns false if the time ran out or the
    /// wait was cancelled.
    ///
    /// # Errors
    /// [`Closed`](RingError::Closed); as for [`len`](Self::len).
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::sync::ring::Ring;
    ///
    /// let ring = Ring::new(1 << 16)?;
    /// let mut user = ring.join()?;
    /// user.send(b"one")?;
    /// assert!(ring.wait_until_below(2, Duration::ZERO)?);
    /// user.send(b"two")?;
    /// assert!(!ring.wait_until_below(2, Duration::from_millis(1))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_until_below<'c>(&self, most: usize, limit: impl Into<Limit<'c>>) -> Result<bool, RingError> {
        self.wait_until(self.room(), || unless_below(self, most), limit.into())
    }

    pub(super) fn wait_until<'r>(
        &'r self,
        event_count: &'r EventCount,
        look: impl Fn() -> Result<Option<Grounds<'r>>, Stop>,
        limit: Limit<'r>,
    ) -> Result<bool, RingError> {
        let waited = self.gate().protected(|| wait_until(self, event_count, look, limit));
        match waited {
            Ok(answer) => Ok(answer),
            Err(Stop::Over) => Ok(false),
            Err(Stop::Closed) => Err(RingError::Closed),
            Err(Stop::NoMemory) => Err(RingError::NoMemory),
            Err(Stop::Refused(refused)) => Err(refused.into()),
        }
    }

    /// The number of unfinished tasks, up to `most`, and the grounds on which there are any.
    fn look_at_tasks(&self, most: usize) -> Result<(usize, Grounds<'_>), Refused> {
        loop {
            let before = self.received().load(SeqCst);
            let (mut count, mut grounds) = self.track().count_on(most)?;
            for (at, entry) in self.table().0.iter().enumerate() {
                let in_hand = entry.in_hand.load(SeqCst);
                if in_hand != 0 && matches!(entry.lease.holder(), Holder::Thread(_)) {
                    count = count.saturating_add(in_hand as usize);
                    grounds.owner(at as u32 + 1);
                }
                if count >= most {
                    break;
                }
            }
            // A task may have come, and another been done, after this look. If there was no receipt since, entries only
            // fall, and a task that is half received is still in a record.
            if count > 0 || self.track().count(1)? == 0 && self.received().load(SeqCst) == before {
                return Ok((count, grounds));
            }
        }
    }
}

impl<R: Deref<Target = Ring>> Participant<R> {
    /// Receives a message as a task, as [`recv_timeout`](Self::recv_timeout) does. The task is unfinished until this
    /// thread calls [`task_done`](Self::task_done), leaves the ring or ends.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// # Examples
    /// See the example of [`Ring::unfinished`].
    pub fn recv_task_timeout<'c>(
        &mut self,
        bytes: &mut [u8],
        limit: impl Into<Limit<'c>>,
    ) -> Result<Option<Received>, RingError> {
        self.recv_counted(bytes, limit.into(), true)
    }

    /// Marks one of the tasks that this thread has received as done. Returns false if this thread has none.
    ///
    /// # Errors
    /// [`OtherRing`](RingError::OtherRing).
    ///
    /// # Examples
    /// See the example of [`Ring::unfinished`].
    pub fn task_done(&mut self) -> Result<bool, RingError> {
        if !self.enter(Limit::NOW)? {
            return Ok(false);
        }
        let ring = same(&self.ring, self.base)?;
        let table = ring.table();
        let Some(entry) = table.get(self.who) else { return Ok(false) };
        let in_hand = entry.in_hand.load(SeqCst);
        if in_hand == 0 {
            return Ok(false);
        }
        ring.gate().protected(|| {
            entry.in_hand.store(in_hand - 1, SeqCst);
            if ring.idle().has_sleepers() {
                ring.idle().notify(ring.gate(), u32::MAX);
            }
        });
        Ok(true)
    }
}
