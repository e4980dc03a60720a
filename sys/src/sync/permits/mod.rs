//! Where the units of permits are stored: in the semaphore's count, or in slots that outlive their holders.

mod slot;
mod slots;
mod watch;

use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::{Refused, Scope};
use crate::sync::units::{Units, Waiting};

pub(crate) use slot::Slot;
#[cfg(loom)]
pub(crate) use slot::{EMPTY, Listed};
#[cfg(loom)]
pub(crate) use slots::Ticket;
pub(crate) use slots::{SLOTS, Slots};
pub(crate) use watch::Rounds;

/// The store of the units of permits, beside the semaphore's count. At most `N` units are in slots.
pub trait Permits<S: Scope, const N: usize> {
    /// The data that a permit keeps.
    type Ticket;

    /// Whether units may be in slots.
    const TABLED: bool = false;

    /// The number of units in slots that no permit holds, including those that are being moved.
    fn free_in_slots(&self) -> u32;

    /// Whether there is such a unit. A caller that sleeps afterwards need not look at all slots, because the sleep
    /// begins with such a look.
    fn has_free(&self, looks_at_all: bool) -> bool;

    /// Whether there is such a unit in the slots at which a waiter can look all the time.
    fn seems_free(&self) -> bool;

    /// The number of these units that can be taken at once.
    fn free(&self) -> u32;

    /// Takes a unit for a permit, and waits within the limit.
    ///
    /// # Errors
    /// Why a permit cannot be taken.
    fn take(&self, units: &Units<S, N>, limit: Limit<'_>) -> Result<Option<Self::Ticket>, Refused>;

    /// Gives a permit's unit back. In a forked child of its holder this does nothing.
    fn give(&self, units: &Units<S, N>, ticket: &Self::Ticket);

    /// Removes the owner from a permit's unit. Returns false if that was not possible within the limit, or at all.
    fn disown(&self, units: &Units<S, N>, ticket: &Self::Ticket, limit: Limit<'_>) -> bool;

    /// Moves a unit from a slot to the count, if there is one. Returns false if the time ran out.
    ///
    /// # Errors
    /// Why the table cannot be changed.
    fn move_to_count(&self, units: &Units<S, N>, limit: Limit<'_>) -> Result<bool, Refused>;

    /// Whether a thread that died may have left a unit half-way.
    fn may_need_mending(&self) -> bool;

    /// Looks at all slots. Sleeps while the futex half holds `expected`, no unit is in the count, and no slot that it
    /// watches changes. Returns `None` if a unit is on its way to a slot or from it.
    fn sleep(&self, units: &Units<S, N>, expected: u32, waiting: &mut Waiting<'_>) -> Option<Woke>;
}

/// No table: a permit's unit comes from the count like any other.
#[derive(Debug, Default)]
pub struct NoTable;

impl<S: Scope, const N: usize> Permits<S, N> for NoTable {
    type Ticket = ();

    #[inline(always)]
    fn free_in_slots(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn has_free(&self, _looks_at_all: bool) -> bool {
        false
    }

    #[inline(always)]
    fn seems_free(&self) -> bool {
        false
    }

    #[inline(always)]
    fn free(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn take(&self, units: &Units<S, N>, limit: Limit<'_>) -> Result<Option<()>, Refused> {
        units.take_within(self, limit).map(|taken| taken.then_some(()))
    }

    #[inline(always)]
    fn give(&self, units: &Units<S, N>, _ticket: &()) {
        // A bounded semaphore that was released too often meanwhile keeps its bound: the unit is there already.
        let _ = units.give(1);
    }

    fn disown(&self, _units: &Units<S, N>, _ticket: &(), _limit: Limit<'_>) -> bool {
        true
    }

    fn move_to_count(&self, _units: &Units<S, N>, _limit: Limit<'_>) -> Result<bool, Refused> {
        Ok(true)
    }

    #[inline(always)]
    fn may_need_mending(&self) -> bool {
        false
    }

    #[inline]
    fn sleep(&self, units: &Units<S, N>, expected: u32, waiting: &mut Waiting<'_>) -> Option<Woke> {
        Some(units.gate().sleep_without(units.word(), expected, units.count_word(), waiting.limit))
    }
}
