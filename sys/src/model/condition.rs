//! The queue of a condition between participants that may die at any change of a word.

use super::barrier::Place;
use super::killable::{KillableGate, die, mourned, step};
use super::rwlock::{become_participant, walk};
use crate::atomic::Ordering::SeqCst;
use crate::futex::Limit;
use crate::robust::word::LockWord;
use crate::sync::queue::{Queue, SharedQueue, WITH_LIST};

/// The maximum number of participants that wait at a time.
const MOST: usize = 4;

/// The queue.
#[derive(Debug)]
pub struct Waiters<const N: usize = MOST>(SharedQueue<Place, KillableGate, N>);

/// A queue whose notifiers leave a list of the next waiters.
pub type ListedWaiters = Waiters<WITH_LIST>;

impl<const N: usize> Waiters<N> {
    /// An empty queue.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        Self(SharedQueue::of(KillableGate::default(), || Place(LockWord::new())))
    }

    /// A queue whose bell a process has overwritten.
    pub fn with_another_bell() -> Self {
        let queue = Self::new();
        queue.0.bell.store(7, SeqCst);
        queue
    }

    /// Waits to be notified, as the participant `id`. Calls `entered` when it is in the queue, and returns whether it
    /// was notified.
    pub fn wait(&self, id: u32, limit: Limit<'_>, entered: impl FnOnce()) -> bool {
        become_participant(id);
        self.0.wait(limit, entered, step).unwrap().0
    }

    /// [`wait`](Self::wait) of a participant that dies after `steps` steps; `None` if it died. Calls `locked` when the
    /// participant has its lock again.
    pub fn doomed(&self, steps: u32, id: u32, entered: impl FnOnce(), locked: impl FnOnce()) -> Option<bool> {
        become_participant(id);
        let take_again = || {
            step();
            locked();
        };
        mourned(steps, walk, || self.0.wait(Limit::NEVER, entered, take_again).unwrap().0)
    }

    /// [`wait`](Self::wait) of a participant that is killed once it is notified, before it has its lock.
    pub fn dies_notified(&self, id: u32, entered: impl FnOnce()) {
        become_participant(id);
        let survived = mourned(u32::MAX, walk, || self.0.wait(Limit::NEVER, entered, die).map(drop));
        assert_eq!(survived, None);
    }

    /// Notifies `count` waiters.
    pub fn notify(&self, count: u32) -> u32 {
        self.0.notify(count)
    }

    /// Notifies all waiters.
    pub fn notify_all(&self) -> u32 {
        self.notify(u32::MAX)
    }

    /// [`notify`](Self::notify) of a notifier that dies after `steps` steps; `None` if it died.
    pub fn doomed_notify(&self, steps: u32, count: u32) -> Option<u32> {
        mourned(steps, walk, || self.notify(count))
    }
}
