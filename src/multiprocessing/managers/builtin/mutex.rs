//! The lock inside the loop of a server: its owner, and the waiters in order of arrival.
//!
//! The owner is a connection, which represents a thread of a client. When the connection ends, the next waiter owns the
//! lock.

use std::collections::BTreeMap;

use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::local::{CallContext, Owner, WaiterId};

#[derive(Default)]
pub(super) struct Mutex {
    owner: Option<Owner>,
    depth: u32,
    waiting: BTreeMap<WaiterId, Claim>,
}

/// The state that a waiter takes over with the lock.
struct Claim {
    owner: Owner,
    depth: u32,
    answer: Value,
    /// Whether the waiter was notified of a condition, so that its time limit no longer applies.
    notified: bool,
}

impl Mutex {
    pub(super) fn is_held(&self) -> bool {
        self.owner.is_some()
    }

    pub(super) fn is_held_by(&self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    /// Takes the lock if it is free, or again if `again` allows the owner to.
    pub(super) fn take(&mut self, owner: Owner, again: bool) -> bool {
        if self.owner.is_none() || (again && self.is_held_by(owner)) {
            self.owner = Some(owner);
            self.depth += 1;
            return true;
        }
        false
    }

    pub(super) fn wait(&mut self, waiter: WaiterId, owner: Owner, depth: u32, answer: Value) {
        self.waiting.insert(waiter, Claim { owner, depth, answer, notified: false });
    }

    /// Whether a waiter was notified of a condition.
    pub(super) fn was_notified(&self, waiter: WaiterId) -> bool {
        self.waiting.get(&waiter).is_some_and(|claim| claim.notified)
    }

    /// Releases one level; after the last level the next waiter has the lock.
    pub(super) fn release(&mut self, context: &mut CallContext) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.pass_on(context);
        }
    }

    /// Releases all levels, and returns their number.
    pub(super) fn release_all(&mut self, context: &mut CallContext) -> u32 {
        let depth = std::mem::take(&mut self.depth);
        self.pass_on(context);
        depth
    }

    pub(super) fn pass_on(&mut self, context: &mut CallContext) {
        self.owner = None;
        if let Some((waiter, claim)) = self.waiting.pop_first() {
            (self.owner, self.depth) = (Some(claim.owner), claim.depth);
            context.answer_value(waiter, claim.answer);
        }
    }

    /// Waits for the lock again after a notification or timeout of a condition, or takes the lock if it is free.
    pub(super) fn enter(
        &mut self,
        waiter: WaiterId,
        owner: Owner,
        depth: u32,
        answer: Value,
        context: &mut CallContext,
    ) {
        self.waiting.insert(waiter, Claim { owner, depth, answer, notified: true });
        if self.owner.is_none() {
            self.pass_on(context);
        }
    }

    pub(super) fn cancel(&mut self, waiter: WaiterId) {
        self.waiting.remove(&waiter);
    }

    pub(super) fn client_gone(&mut self, owner: Owner, context: &mut CallContext) {
        if self.is_held_by(owner) {
            self.release_all(context);
        }
    }
}
