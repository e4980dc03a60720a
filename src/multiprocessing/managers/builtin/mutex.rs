//! What a lock is in the loop of a server: an owner, and those who wait for it in the order of their arrival.
//!
//! The owner is a connection, which stands for a thread of a client. When the connection ends, the next waiter owns the
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

/// What a waiter gets with the lock.
struct Claim {
    owner: Owner,
    depth: u32,
    answer: Value,
    /// Whether it comes from a wait for a notification, and no longer has a time limit.
    notified: bool,
}

impl Mutex {
    pub(super) fn is_held(&self) -> bool {
        self.owner.is_some()
    }

    pub(super) fn is_held_by(&self, owner: Owner) -> bool {
        self.owner == Some(owner)
    }

    /// Takes the lock if it is free, or once more if the owner may.
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

    /// Whether a waiter comes from a wait for a notification.
    pub(super) fn was_notified(&self, waiter: WaiterId) -> bool {
        self.waiting.get(&waiter).is_some_and(|claim| claim.notified)
    }

    /// Gives one level back; the next waiter follows after the last.
    pub(super) fn release(&mut self, context: &mut CallContext) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.pass_on(context);
        }
    }

    /// Gives all levels back, and says how many.
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

    /// After a wait for a notification: waits for the lock again, or gets it at once.
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
