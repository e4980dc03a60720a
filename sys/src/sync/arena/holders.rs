//! The holders of objects: registering a holder, and detecting holders that have ended.
//!
//! All of this is done with the arena's lock held, so the steps of two holders are never mixed. A step that a killed
//! process leaves undone is completed by the next process, as the table of the [module](super) shows.

use super::bits::WORD;
use super::layout::{Entry, FREE, HOLDERS, Memory, State, TAKEN};
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::atomic::{AtomicU64, step};
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, BorrowedFd};
use crate::flock::{is_byte_locked, try_lock_byte};
use crate::mmap::memfd;

/// The number of words of a row that are used for this number of granules.
fn row_words(extent: usize) -> usize {
    extent.div_ceil(WORD)
}

/// The number of entries that may have a holder: all holder numbers are below it.
pub(super) fn most(state: &State) -> usize {
    usize::try_from(state.holders).unwrap_or(HOLDERS).min(HOLDERS)
}

/// Makes the open file description behind `fd` a new holder of no objects, and returns its number.
///
/// # Errors
/// `ETOOMANYREFS` beyond [`HOLDERS`]; `ENOSPC` and `ENOMEM` without memory for its row; `ENOLCK`.
pub(super) fn become_one(memory: &Memory, state: &mut State, extent: usize, fd: BorrowedFd<'_>) -> Result<usize> {
    loop {
        let free = |memory: &Memory, state: &State| {
            let entries = memory.control().entries.iter().take(most(state));
            entries.enumerate().find(|(_, entry)| entry.state.load(Acquire) == FREE).map(|(number, _)| number)
        };
        let number = match free(memory, state) {
            Some(number) => number,
            None => {
                let known = most(state);
                let gone = reclaim(memory, state, None, fd)?;
                // A look at all of them is worth its time if it is made for many new holders at once.
                if gone * 4 <= known && known < HOLDERS {
                    state.holders = (known + (known / 4).max(4)).min(HOLDERS) as u64;
                }
                free(memory, state).ok_or(Errno::TOOMANYREFS)?
            }
        };
        let entry = memory.control().entries.get(number).ok_or(Errno::TOOMANYREFS)?;
        back_row(memory, number, extent, fd)?;
        let is_mine = try_lock_byte(fd, number as u64)?;
        entry.state.store(TAKEN, Release);
        // A free entry has no lock.
        if is_mine {
            return Ok(number);
        }
    }
}

/// Allocates pages for the row of a holder.
pub(super) fn back_row(memory: &Memory, number: usize, extent: usize, fd: BorrowedFd<'_>) -> Result<()> {
    let entry = memory.control().entries.get(number).ok_or(Errno::RANGE)?;
    let (has, needs) = (entry.backed.load(Relaxed), row_words(extent) as u32);
    if has < needs {
        let start = memory.row_offset(number) as u64;
        memfd::allocate(fd, start + u64::from(has) * 8, start + u64::from(needs) * 8)?;
        entry.backed.store(needs, Relaxed);
    }
    Ok(())
}

/// Frees the entries of holders that have ended, but never that of `own`; returns the number of free entries.
pub(super) fn reclaim(memory: &Memory, state: &State, own: Option<usize>, fd: BorrowedFd<'_>) -> Result<usize> {
    let mut free = 0;
    for (number, entry) in memory.control().entries.iter().enumerate().take(most(state)) {
        if entry.state.load(Acquire) == TAKEN {
            if own == Some(number) || is_byte_locked(fd, number as u64)? {
                continue;
            }
            let backed = entry.backed.load(Relaxed) as usize;
            memory.row(number).iter().take(backed).for_each(|word| word.store(0, Relaxed));
            entry.state.store(FREE, Release);
        }
        free += 1;
    }
    Ok(free)
}

/// Frees the objects without a holder. Returns the number of free granules with pages.
pub(super) fn sweep(memory: &Memory, state: &State, extent: usize, own: usize, fd: &impl AsFd) -> Result<usize> {
    reclaim(memory, state, Some(own), fd.as_fd())?;
    let held = |index: usize| {
        let entries = memory.control().entries.iter().enumerate().take(most(state));
        let has = |entry: &Entry| entry.state.load(Relaxed) == TAKEN && (index as u32) < entry.backed.load(Relaxed);
        let rows = entries.filter(|(_, entry)| has(entry)).map(|(number, _)| memory.row(number));
        rows.filter_map(|row| row.get(index)).fold(0, |held, word| held | word.load(Acquire))
    };
    Ok(free_unheld(memory.used(), memory.kinds(), row_words(extent), held))
}

/// Clears the bits in the first `words` of `used` that are not set in `held` for the same word, and returns the number
/// of clear bits.
///
/// Kinds go before the bit in `used`, so a half freed object can be neither taken nor overwritten.
pub(crate) fn free_unheld(used: &[AtomicU64], kinds: &[AtomicU64], words: usize, held: impl Fn(usize) -> u64) -> usize {
    let mut free = 0;
    for (index, used) in used.iter().enumerate().take(words) {
        let before = used.load(Acquire);
        let held = if before == 0 { 0 } else { held(index) };
        let mut gone = before & !held;
        while gone != 0 {
            let bit = gone.trailing_zeros() as usize;
            gone &= gone - 1;
            if let Some(kind) = kinds.get(index * WORD + bit) {
                step();
                kind.store(0, Release);
            }
        }
        step();
        used.fetch_and(held, AcqRel);
        free += (before & held).count_zeros() as usize;
    }
    free
}
