//! Where the units of permits live: with all the others, or in slots that outlive their holders.

mod slots;

use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::{Refused, Scope};
use crate::sync::units::Units;

pub(crate) use slots::*;

/// Where the units of permits live, beside the count.
pub trait Permits<S: Scope> {
    /// What a permit remembers.
    type Ticket;

    /// Whether units may live in slots.
    const TABLED: bool = false;

    /// How many units lie here that nobody has, those on their way included.
    fn free_in_slots(&self) -> u32;

    /// How many of them can be taken at once.
    fn free(&self) -> u32;

    /// Takes a unit for a permit, waiting within the limit.
    ///
    /// # Errors
    /// Why a permit cannot be taken.
    fn take(&self, units: &Units<S>, limit: Limit<'_>) -> Result<Option<Self::Ticket>, Refused>;

    /// Gives a permit's unit back. In a forked child of its holder this does nothing.
    fn give(&self, units: &Units<S>, ticket: &Self::Ticket);

    /// Removes the owner from a permit's unit; false if that was not possible within the limit, or at all.
    fn disown(&self, units: &Units<S>, ticket: &Self::Ticket, limit: Limit<'_>) -> bool;

    /// Moves a unit that lies here to the count, if there is one; false when the time ran out.
    ///
    /// # Errors
    /// Why the table cannot be changed.
    fn move_to_count(&self, units: &Units<S>, limit: Limit<'_>) -> Result<bool, Refused>;

    /// Whether somebody who died may have left a unit half-way.
    fn may_need_mending(&self) -> bool;

    /// Sleeps while the futex half holds `expected`, no unit is in the count, and nothing changes here.
    fn sleep(&self, units: &Units<S>, expected: u32, limit: Limit<'_>) -> Woke;
}

/// No table: a permit's unit is one of the count like any other.
#[derive(Debug, Default)]
pub struct NoTable;

impl<S: Scope> Permits<S> for NoTable {
    type Ticket = ();

    #[inline(always)]
    fn free_in_slots(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn free(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn take(&self, units: &Units<S>, limit: Limit<'_>) -> Result<Option<()>, Refused> {
        units.take_within(self, limit).map(|taken| taken.then_some(()))
    }

    #[inline(always)]
    fn give(&self, units: &Units<S>, _ticket: &()) {
        // A bounded semaphore that was released too often meanwhile keeps its bound: the unit is there already.
        let _ = units.give(1);
    }

    fn disown(&self, _units: &Units<S>, _ticket: &(), _limit: Limit<'_>) -> bool {
        true
    }

    fn move_to_count(&self, _units: &Units<S>, _limit: Limit<'_>) -> Result<bool, Refused> {
        Ok(true)
    }

    #[inline(always)]
    fn may_need_mending(&self) -> bool {
        false
    }

    #[inline]
    fn sleep(&self, units: &Units<S>, expected: u32, limit: Limit<'_>) -> Woke {
        units.gate().sleep_without(units.word(), expected, units.count_word(), limit)
    }
}
