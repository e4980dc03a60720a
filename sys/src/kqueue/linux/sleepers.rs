//! The threads that sleep on a queue, and the changes that must wake them.
//!
//! Everything here is read and changed under the queue's lock. A thread sleeps outside of the lock until its set is
//! readable or its alarm expires. The *wake-up*, an eventfd in every set of the queue, signals the changes that neither
//! the set nor the alarm shows:
//!
//! | change | why a sleeper does not see it |
//! | --- | --- |
//! | a knote in memory becomes active | the kernel does not know of it |
//! | a timer comes that is sooner than the alarm | the alarm was set before |
//! | a waiter leaves, and a timer runs | others may rely on the alarm of this waiter |
//! | the sets are rebuilt | a sleeper looks at the old set until it has left it |
//!
//! The wake-up is readable until none of this applies. `sys/tests/loom/kqueue.rs` explores the rules.

/// The operation on the wake-up descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// Leave the wake-up as it is.
    Keep,
    /// Make the wake-up readable.
    Begin,
    /// Make the wake-up unreadable.
    End,
}

/// The sleepers of a queue.
#[derive(Debug)]
pub struct Sleepers {
    count: u32,
    /// The epoch, which changes when the sets are rebuilt.
    epoch: u32,
    /// The number of sleepers on a set of an earlier epoch.
    left_behind: u32,
    /// The instant of the latest sleeper's alarm; a later change to an earlier instant wakes the sleepers.
    alarm: u64,
    rings: bool,
}

impl Sleepers {
    /// A state without sleepers.
    #[allow(clippy::new_without_default, reason = "a queue begins with it, and nothing else does")]
    pub const fn new() -> Self {
        Self { count: 0, epoch: 0, left_behind: 0, alarm: u64::MAX, rings: false }
    }

    /// Counts a sleeper whose alarm is set for the `next` timer. Returns the epoch, for [`end`](Self::end).
    pub fn begin(&mut self, next: Option<u64>) -> u32 {
        self.alarm = next.unwrap_or(u64::MAX);
        self.count += 1;
        self.epoch
    }

    /// Counts one sleeper less.
    pub fn end(&mut self, epoch: u32) {
        self.count -= 1;
        if epoch != self.epoch {
            self.left_behind -= 1;
        }
    }

    /// Records that a waiter leaves. Other waiters may have relied on its alarm for the `next` timer.
    pub fn leave(&mut self, next: Option<u64>) {
        if self.count > 0 && next.is_some() {
            self.alarm = u64::MAX;
        }
    }

    /// Records that the sets were rebuilt.
    pub fn renew(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.left_behind = self.count;
    }

    /// The operation on the wake-up, with or without an active knote, before the `next` timer. `shown` means that the
    /// queue's own descriptor was requested, at which other threads may sleep.
    pub fn wakeup(&self, is_active: bool, next: Option<u64>, shown: bool) -> Wakeup {
        let sooner = self.count > 0 && next.is_some_and(|next| next < self.alarm);
        let wanted = is_active || sooner || self.left_behind > 0;
        match (wanted, self.rings) {
            (true, false) if self.count > 0 || shown => Wakeup::Begin,
            (false, true) => Wakeup::End,
            _ => Wakeup::Keep,
        }
    }

    /// Records whether the wake-up is readable.
    pub fn set_rings(&mut self, rings: bool) {
        self.rings = rings;
    }
}
