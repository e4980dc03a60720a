//! The permits of a semaphore between participants that may die at any change of a word: the slots, the table's lock,
//! and the sleepers.
//!
//! There are three slots, and a sleeper watches one of them. So a sleeper beside two slots in use does not see all
//! deaths until the [time passes](super::pass_time). The table's lock is the [turn](super::rwlock) of the model of a
//! reader-writer lock, and the slots are in the same lists.

use super::killable::{KillableGate, killable_scope, mourned, step, uncover};
use super::rwlock::{Turn, become_participant, clear_pending, has_linked, link, me, set_pending, unlink, walk};
use crate::futex::{Limit, Reach, Waiter};
use crate::robust::word::LockWord;
use crate::sync::participants::Counter;
use crate::sync::permits::{EMPTY, Listed, Permits as _, Slots, Ticket};
use crate::sync::scope::Refused;
use crate::sync::units::{Units, count};

/// The number of slots.
const MOST: usize = 3;

/// A slot whose list the model keeps.
#[derive(Debug)]
pub struct Slot(LockWord);

impl Listed for Slot {
    type Thread = ();

    fn is_without_lists() -> bool {
        false
    }

    fn thread() -> Option<((), u32)> {
        Some(((), me()))
    }

    fn room((): ()) -> Option<u32> {
        Some(1)
    }

    fn clear_pending((): ()) {
        clear_pending();
    }

    fn half(&self) -> u32 {
        self.0.futex_ordered()
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.0.swap_half(from, to)
    }

    fn free(&self) {
        self.0.free();
    }

    fn back(&self) -> Result<(), Refused> {
        Ok(())
    }

    fn begin(&self) {
        self.0.reset_half(EMPTY);
    }

    fn watch(&self, seen: u32) -> Waiter<'_> {
        Waiter::new(&self.0, seen, Reach::Shared)
    }

    fn take_alone(&self) -> bool {
        false
    }

    fn leave_alone(&self) -> Option<()> {
        None
    }

    fn set_pending(&self, (): ()) {
        uncover();
        set_pending(&self.0);
    }

    fn link(&self, (): (), _depth: u32) {
        link(&self.0);
    }

    fn linked(&self, (): ()) -> Option<impl FnOnce()> {
        has_linked(&self.0).then_some(|| unlink(&self.0))
    }

    fn leave(&self, (): ()) -> bool {
        let is_listed = has_linked(&self.0);
        if is_listed {
            set_pending(&self.0);
            unlink(&self.0);
        }
        is_listed
    }
}

killable_scope! {
    /// The scope of participants that may die with a permit.
    KillableWithPermit, Counter, Slots<Turn, Slot, N>
}

/// The units of a semaphore, and its table of permits.
#[derive(Debug)]
pub struct Permits {
    units: Units<KillableWithPermit, MOST>,
    table: Slots<Turn, Slot, MOST>,
}

impl Permits {
    /// A semaphore of `value` units, none of which is in a slot.
    pub fn new(value: u32) -> Self {
        let units = Units::new(value, u32::MAX, KillableGate::default());
        Self { units, table: Slots::of(Turn::new(), || Slot(LockWord::new())) }
    }

    /// Takes a permit as the participant `id`, and keeps it. Returns false if the limit is over.
    pub fn keep(&self, id: u32, limit: Limit<'_>) -> bool {
        self.permit(id, limit).is_some()
    }

    fn permit(&self, id: u32, limit: Limit<'_>) -> Option<Ticket> {
        become_participant(id);
        let ticket = self.table.take(&self.units, limit).unwrap();
        step();
        ticket
    }

    /// Takes a permit as the participant `id`, and gives it back. Returns false if the limit is over.
    pub fn use_one(&self, id: u32, limit: Limit<'_>) -> bool {
        let Some(ticket) = self.permit(id, limit) else { return false };
        self.table.give(&self.units, &ticket);
        true
    }

    /// Takes a permit as the participant `id`, and removes its owner.
    pub fn forget_one(&self, id: u32) {
        if let Some(ticket) = self.permit(id, Limit::NEVER) {
            assert!(self.table.disown(&self.units, &ticket, Limit::NEVER), "there is no limit");
        }
    }

    /// Takes a unit without an owner, as the participant `id`.
    pub fn take_bare(&self, id: u32, limit: Limit<'_>) -> bool {
        become_participant(id);
        self.units.take_within(&self.table, limit).unwrap()
    }

    /// Releases units.
    pub fn release(&self, units: u32) {
        assert!(self.units.give(units).is_ok(), "there is no bound");
    }

    /// The number of free units.
    pub fn value(&self) -> u32 {
        let free = crate::sync::permits::Permits::<KillableWithPermit, MOST>::free(&self.table);
        count(self.units.state()) + free
    }

    /// Runs `body` in this thread until it has made `steps` steps, and kills the participant at the next. `None` if
    /// it died.
    pub fn doomed<R>(steps: u32, body: impl FnOnce() -> R) -> Option<R> {
        mourned(steps, walk, body)
    }
}
