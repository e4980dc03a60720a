//! The notifiers of the queue of processes: who is notified, and how the notified waiters are woken.
//!
//! A notifier changes the words of the waiters one by one, in their order, and wakes the sleepers among them:
//!
//! | futex half | wake | pending meanwhile |
//! | --- | --- | --- |
//! | `WAITING` | none: the waiter is awake | either |
//! | `ASLEEP` with [`BELL`], perhaps with `COVERS`; the notifier notifies all | one wake of the bell, for all such waiters | the gate |
//! | the same; the notifier notifies some | a wake of the waiter's own word | that word |
//! | `ASLEEP` alone, `NUDGED` | a wake of the waiter's own word | that word |
//!
//! **The bell** is a word that is always 0. A waiter that sleeps on several words sleeps on the bell too, and first
//! says so in its own word. So a `notify_all` of any number of waiters makes one system call. Without it, the first of
//! the woken waiters would run before the others are woken. A ring of the bell also wakes waiters that are not
//! notified, because they came later. They look, and sleep again.
//!
//! | a notifier of all is killed | then |
//! | --- | --- |
//! | before it has notified a waiter at the bell | no wake is owed |
//! | after that, before it has rung the bell | the kernel wakes one sleeper at the gate, which wakes all notified waiters at their own words |
//! | the same, while a notified waiter is about to sleep | this waiter finds its word changed: it compares the word once more when it is at the bell and at the gate |
//! | after it has rung the bell | all notified waiters are awake |
//! | after it has notified a waiter that is not at the bell, before it has woken this one | the kernel wakes this waiter |
//!
//! Each sleeper at the bell is at the gate too. So as long as a notified waiter sleeps at the bell, the kernel finds a
//! sleeper at the gate. That one has the gate pending itself until it has woken the others. (If it is stopped before
//! that, by a debugger or a signal, the others sleep until it continues or their limit is over.)

use super::oldest::Oldest;
use super::place::{ASLEEP, BELL, Place, WAITING, age, ticket_of, waits, word};
use super::shared::{LISTED, SharedQueue};
use crate::atomic::Ordering::{Acquire, SeqCst};
use crate::atomic::step;
use crate::sync::lease::Holder;
use crate::sync::participants::{Enrolment, WatchingGate};

/// The number of waiters that one scan of the table finds, if there is no list.
const MANY: usize = 32;

/// The result of an attempt to notify a waiter that need not be woken at its own word.
enum Told {
    /// The waiter was awake.
    Awake,
    /// The waiter sleeps until the bell is rung.
    AtBell,
    /// The waiter is not notified, and must be woken at its own word.
    Alone,
    /// The waiter is no longer in the queue.
    Gone,
}

/// A walk along all waiters that came before `now`, in their order.
struct Walk<'q, L, G, const N: usize, const MOST: usize> {
    queue: &'q SharedQueue<L, G, N>,
    now: u32,
    oldest: Oldest<MOST>,
    next: usize,
}

impl<'q, L: Enrolment, G: WatchingGate, const N: usize, const MOST: usize> Walk<'q, L, G, N, MOST> {
    fn new(queue: &'q SharedQueue<L, G, N>, now: u32) -> Self {
        Self { queue, now, oldest: Oldest::of(queue.in_use(), now), next: 0 }
    }

    /// The place and the ticket of the next waiter.
    fn next(&mut self) -> Option<(&'q Place<L>, u32)> {
        let places = self.queue.in_use();
        if self.next == MOST {
            // The waiters of the last scan are notified, or have left.
            (self.oldest, self.next) = (Oldest::of(places, self.now), 0);
        }
        let found = self.oldest.found().get(self.next)?;
        self.next += 1;
        Some((places.get(found.at as usize)?, self.now.wrapping_sub(found.age)))
    }
}

impl<L: Enrolment, G: WatchingGate, const N: usize> SharedQueue<L, G, N> {
    /// Notifies the first `count` waiters of the queue. Returns how many there were.
    pub(super) fn notify_first(&self, count: u32) -> u32 {
        let used = self.used.load(Acquire) as usize;
        if used == 0 {
            return 0;
        }
        let now = self.now();
        match (count, used > Self::UNLISTED) {
            (u32::MAX, false) => self.notify_all::<MANY>(now),
            (u32::MAX, true) => self.notify_all::<LISTED>(now),
            (_, true) => {
                let told = self.notify_listed(now, count);
                told + self.notify_oldest::<LISTED>(now, count - told)
            }
            (1, false) => self.notify_oldest::<1>(now, 1),
            (_, false) => self.notify_oldest::<MANY>(now, count),
        }
    }

    /// Notifies a waiter, if it is still in the queue.
    pub(super) fn tell(&self, place: &Place<L>, ticket: u32) -> bool {
        let mut seen = place.word.load(Acquire);
        while waits(seen) && ticket_of(seen) == ticket {
            step();
            match place.word.change(seen, word(ticket, 0), SeqCst) {
                Ok(_) => {
                    if seen as u32 & ASLEEP != 0 {
                        self.gate.wake(place.word.futex(), 1);
                    }
                    return true;
                }
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Notifies the oldest waiter; false if there is none. Must be called in a stretch that the gate protects.
    pub(super) fn tell_first(&self) -> bool {
        let now = self.now();
        loop {
            let places = self.in_use();
            let oldest = Oldest::<1>::of(places, now);
            let Some((first, place)) = oldest.found().first().and_then(|f| Some((f, places.get(f.at as usize)?)))
            else {
                return false;
            };
            if self.tell(place, now.wrapping_sub(first.age)) {
                return true;
            }
        }
    }

    /// Notifies a waiter of this place and ticket, if it is in the queue.
    fn notify_at(&self, place: &Place<L>, ticket: u32) -> bool {
        G::protected_word(place.word.futex(), || self.tell(place, ticket))
    }

    /// Notifies waiters of the list that came before `now`, in their order.
    fn notify_listed(&self, now: u32, count: u32) -> u32 {
        let mut told = 0;
        self.list().each(|at, listed| {
            if told == count {
                return false;
            }
            let Some(place) = self.in_use().get(at) else { return true };
            let (lease, seen) = place.look();
            match age(seen, listed) {
                // The waiter left the queue; perhaps another waiter has the place.
                _ if !waits(seen) => {}
                0 => {}
                _ if age(seen, now) == 0 => return false,
                _ if lease.holder() == Holder::Dead => place.reclaim(lease, seen),
                _ => told += u32::from(self.notify_at(place, ticket_of(seen))),
            }
            true
        });
        told
    }

    /// Notifies the oldest waiters that came before `now`, in their order, and leaves a list of the others found.
    fn notify_oldest<const MOST: usize>(&self, now: u32, count: u32) -> u32 {
        let mut told = 0;
        while told < count {
            let places = self.in_use();
            let oldest = Oldest::<MOST>::of(places, now);
            if oldest.found().is_empty() {
                break;
            }
            let mut done = 0;
            for waiter in oldest.found() {
                if told == count {
                    break;
                }
                if let Some(place) = places.get(waiter.at as usize) {
                    told += u32::from(self.notify_at(place, now.wrapping_sub(waiter.age)));
                }
                done += 1;
            }
            if MOST == LISTED {
                oldest.leave(done, now, &self.list());
            }
        }
        told
    }

    /// Notifies all waiters that came before `now`, in their order.
    fn notify_all<const MOST: usize>(&self, now: u32) -> u32 {
        let (mut walk, mut told) = (Walk::<L, G, N, MOST>::new(self, now), 0);
        // Usually at most the first waiter is not at the bell.
        while let Some((place, ticket)) = self.notify_at_bell(&mut walk, &mut told) {
            told += u32::from(self.notify_at(place, ticket));
        }
        told
    }

    /// Notifies waiters up to the next one that must be woken at its own word, wakes them, and returns that one. Adds
    /// their number to `told`.
    fn notify_at_bell<'q, const MOST: usize>(
        &self,
        walk: &mut Walk<'q, L, G, N, MOST>,
        told: &mut u32,
    ) -> Option<(&'q Place<L>, u32)> {
        self.gate.protected(|| {
            let mut is_owed = false;
            let alone = loop {
                let Some((place, ticket)) = walk.next() else { break None };
                match tell_at_bell(place, ticket) {
                    Told::Awake => *told += 1,
                    Told::AtBell => {
                        *told += 1;
                        is_owed = true;
                    }
                    Told::Alone => break Some((place, ticket)),
                    Told::Gone => {}
                }
            };
            if is_owed {
                self.gate.wake(&self.bell, u32::MAX);
            }
            alone
        })
    }
}

/// Notifies a waiter, unless it must be woken at its own word. A waiter at the bell is not woken yet.
fn tell_at_bell<L>(place: &Place<L>, ticket: u32) -> Told {
    let mut seen = place.word.load(Acquire);
    while waits(seen) && ticket_of(seen) == ticket {
        let is_at_bell = seen as u32 & BELL != 0;
        if seen as u32 != WAITING && !is_at_bell {
            return Told::Alone;
        }
        step();
        match place.word.change(seen, word(ticket, 0), SeqCst) {
            Ok(_) => return if is_at_bell { Told::AtBell } else { Told::Awake },
            Err(now) => seen = now,
        }
    }
    Told::Gone
}
