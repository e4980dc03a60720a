//! Which thread holds which init lock, and what each thread waits for.

use std::collections::BTreeMap;

use crate::thread::Ident;

/// The holder of each lock, and what each waiting thread waits for. One graph per process; in a forked child no thread
/// holds a lock.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) holders: BTreeMap<u64, Ident>,
    pub(super) waiting: BTreeMap<Ident, Awaited>,
}

/// The object that a thread waits for.
#[derive(Clone, Copy)]
pub(super) enum Awaited {
    Lock(u64),
    End(Ident),
}

impl Graph {
    /// The locks that `me` holds, for a child that `me` forks while it holds them.
    pub(super) fn of(&self, me: Ident) -> Self {
        let mine = self.holders.iter().filter(|(_, holder)| **holder == me);
        Self { holders: mine.map(|(lock, holder)| (*lock, *holder)).collect(), waiting: BTreeMap::new() }
    }

    /// Whether a wait for `what` would be a wait for `me` itself.
    pub(super) fn leads_to(&self, me: Ident, mut what: Awaited) -> bool {
        loop {
            let holder = match what {
                Awaited::Lock(lock) => self.holders.get(&lock).copied(),
                Awaited::End(thread) => Some(thread),
            };
            match holder {
                None => return false,
                Some(holder) if holder == me => return true,
                // The loop ends: there is no circle of waits, because each circle is found before it closes.
                Some(holder) => match self.waiting.get(&holder) {
                    None => return false,
                    Some(next) => what = *next,
                },
            }
        }
    }
}
