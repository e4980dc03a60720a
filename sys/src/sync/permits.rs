//! Where the units of permits live.

use core::sync::atomic::AtomicU32;

use crate::futex::Limit;
use crate::scope::{Refused, Scope};
use crate::sync::gate::{Gate, Woke};
use crate::sync::units::Units;

/// Where the units of permits live, beside the count.
pub(crate) trait Table<S: Scope> {
    /// How many units lie here that nobody has, those on their way included.
    fn lying(&self) -> u32;

    /// Moves a unit that lies here to the count, if there is one; false when the time ran out.
    ///
    /// # Errors
    /// Why the table cannot be changed.
    fn bring_out(&self, units: &Units<S>, limit: Limit<'_>) -> Result<bool, Refused>;

    /// Whether somebody who died may have left a unit half-way.
    fn may_need_mending(&self) -> bool;

    /// Sleeps while the word holds `expected` and nothing changes here.
    fn sleep(&self, gate: &S::Gate, word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke;
}

/// No table: a permit is a unit of the count like any other.
#[derive(Debug, Default)]
pub(crate) struct NoTable;

impl<S: Scope> Table<S> for NoTable {
    #[inline(always)]
    fn lying(&self) -> u32 {
        0
    }

    fn bring_out(&self, _units: &Units<S>, _limit: Limit<'_>) -> Result<bool, Refused> {
        Ok(true)
    }

    #[inline(always)]
    fn may_need_mending(&self) -> bool {
        false
    }

    #[inline]
    fn sleep(&self, gate: &S::Gate, word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        gate.sleep(word, expected, limit)
    }
}
