//! Which shares of a table are in use, and the search for a free one.
//!
//! The shares of a table form pairs: the shares 0 and 1, then 2 and 3, and so on. The pairs come into use one after the
//! other. A reader takes the first share of a pair. The second shares are in use only if all pairs are.
//!
//! | pairs in use | shares in use | why |
//! | --- | --- | --- |
//! | some | the first of each such pair | two readers on different processors then change different cache lines |
//! | all | all | the table has room for as many readers as it has shares |
//!
//! **The search** begins at a pair that depends on the thread's number. It goes through the shares in use until it
//! finds a free one. If there is none, the reader adds pairs:
//!
//! | step | killed before it | killed after it |
//! | --- | --- | --- |
//! | the new pairs get pages and numbers | nothing has changed | the next reader does the same again |
//! | the number of pairs in use is raised | the same | all threads see the new shares, which are free |
//! | the reader takes a share | the same | see `table` |
//!
//! So a writer that has closed the lock sees each share that was taken before: the number was raised first, and all
//! these steps are in one order.
//!
//! **Cost.** After a long search the reader adds pairs as well, if more than three in four shares are taken. So a
//! search in a table that still has unused pairs ends after a few shares on average. The number of pairs in use stays
//! below about one and a half times the maximum number of simultaneous readers. These are linear in the shares in use:
//! the wait of a writer, the count of the readers, and a search in a table whose pairs are all in use.
//!
//! **A full table.** One pass over the shares may find none, although some share was free at every instant. So the
//! search ends only if two passes have seen the same words, or after [`PASSES`] passes. If two passes see the same
//! words, all shares were taken at the instant between them: each new holder of a word starts a generation.

use crate::atomic::Ordering::{Acquire, SeqCst};
use crate::atomic::{AtomicU32, step};
use crate::futex::{Limit, Wait};
use crate::robust::word::LockWord;
use crate::sync::lease::Look;
use crate::sync::participants::SLOTS;
use crate::sync::readers::table::{self, Entry};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

/// The maximum number of passes over the shares, if the shares keep changing.
const PASSES: u32 = 1000;

/// A search is long if it has passed so many shares.
const LONG: usize = 16;

/// A share in a table. The model checker has its own implementation.
pub(crate) trait InTable: Sized {
    /// The share's word.
    fn word(&self) -> &LockWord;

    /// Prepares the shares from `from` to `to`, which no thread has used yet. Other threads may do so at the same time.
    ///
    /// # Errors
    /// [`NoMemory`](Refused::NoMemory).
    fn prepare(shares: &[Self], from: usize, to: usize) -> Result<(), Refused>;
}

/// The number of pairs in use. Zero bytes are a table without shares in use.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Extent(AtomicU32);

/// The result of one pass over the shares in use.
enum Pass<'s, P> {
    /// The search is over. The second value is the number of shares that it has passed.
    Over(Option<&'s P>, usize),
    /// No share is free. The value depends on the words that the pass has seen.
    Full(u64),
}

/// The pair where a thread searches first.
#[inline(always)]
fn place(id: u32, pairs: u32) -> u32 {
    // The upper bits of the product are well mixed, also for numbers that follow each other.
    ((u64::from(id.wrapping_mul(0x9e37_79b9)) * u64::from(pairs)) >> 32) as u32
}

/// The shares at `from`, `from + step` and so on.
#[inline(always)]
fn every<P>(step: usize, shares: &[P], from: usize) -> impl Iterator<Item = &P> {
    let mut at = from;
    core::iter::from_fn(move || {
        let share = shares.get(at)?;
        at += step;
        Some(share)
    })
}

impl Extent {
    #[cfg(loom)]
    pub(crate) fn of(pairs: u32) -> Self {
        Self(AtomicU32::new(pairs))
    }

    /// The number of pairs in use, at most `all`.
    fn pairs(&self, all: u32) -> u32 {
        self.0.load(SeqCst).min(all)
    }

    /// The share that a thread tries first.
    #[inline(always)]
    pub(crate) fn first<'s, P>(&self, shares: &'s [P], id: u32) -> Option<&'s P> {
        shares.get((place(id, self.0.load(Acquire)) as usize).wrapping_mul(2))
    }

    /// The shares in use.
    #[inline(always)]
    pub(crate) fn in_use<'s, P>(&self, shares: &'s [P]) -> impl Iterator<Item = &'s P> {
        let all = all_pairs(shares);
        let pairs = self.pairs(all);
        let (step, part) = if pairs == all { (1, shares.len()) } else { (2, 2 * pairs as usize) };
        every(step, shares.get(..part).unwrap_or(shares), 0)
    }

    /// The number of shares that have a holder.
    #[inline]
    pub(crate) fn count<P: InTable>(&self, shares: &[P]) -> u32 {
        self.in_use(shares).filter(|share| is_held(*share)).count() as u32
    }

    /// Adds pairs to the `pairs` in use. Other threads may take their shares.
    pub(crate) fn add<P: InTable>(&self, shares: &[P], pairs: u32) -> Result<(), Refused> {
        let more = if shares.len() > SLOTS { pairs / 8 } else { 0 };
        let wanted = pairs.saturating_add(more + 1).min(all_pairs(shares));
        P::prepare(shares, 2 * pairs as usize, shares.len().min(2 * wanted as usize))?;
        step();
        self.0.fetch_max(wanted, SeqCst);
        step();
        Ok(())
    }

    /// Takes a free share by `enter`. Returns `None` if that found the lock closed.
    pub(crate) fn take<'s, P: InTable>(
        &self,
        shares: &'s [P],
        id: u32,
        enter: impl Fn(&'s P) -> Entry,
    ) -> Result<Option<&'s P>, Refused> {
        let all = all_pairs(shares);
        let (mut last, mut passes) = (None, 0);
        loop {
            let pairs = self.pairs(all);
            match pass(shares, pairs, id, &enter) {
                Pass::Over(share, passed) => {
                    if passed > LONG && pairs < all {
                        self.relieve(shares, pairs);
                    }
                    return Ok(share);
                }
                Pass::Full(_) if pairs < all => self.add(shares, pairs)?,
                Pass::Full(seen) => {
                    passes += 1;
                    if last == Some(seen) || passes == PASSES {
                        return Err(Refused::TableFull);
                    }
                    last = Some(seen);
                }
            }
        }
    }

    /// Adds pairs if most shares in use are taken.
    #[cold]
    fn relieve<P: InTable>(&self, shares: &[P], pairs: u32) {
        if u64::from(self.count(shares)) * 4 > u64::from(pairs) * 3 {
            // Without memory the searches stay long.
            let _ = self.add(shares, pairs);
        }
    }

    /// Waits until each share was free once. Returns false if the limit is over. The lock is closed.
    #[inline]
    pub(crate) fn drain<P: InTable>(
        &self,
        shares: &[P],
        spin: &Spin,
        limit: Limit<'_>,
        sleep: impl FnMut(&P, u32) -> Wait,
    ) -> bool {
        let mut held = self.in_use(shares).filter(|share| is_held(*share));
        match held.next() {
            None => true,
            Some(_) if limit.is_now() => false,
            Some(first) => drain_slow(first, held, spin, limit, sleep),
        }
    }
}

/// The number of pairs; the last one may have only one share.
#[inline(always)]
fn all_pairs<P>(shares: &[P]) -> u32 {
    shares.len().div_ceil(2) as u32
}

#[inline(always)]
fn is_held<P: InTable>(share: &P) -> bool {
    !table::is_free(share.word().futex_ordered())
}

/// Tries the shares in use, from the thread's own place on.
fn pass<'s, P: InTable>(shares: &'s [P], pairs: u32, id: u32, enter: impl Fn(&'s P) -> Entry) -> Pass<'s, P> {
    let used = shares.get(..2 * pairs as usize).unwrap_or(shares);
    let from = 2 * place(id, pairs) as usize;
    let before = used.get(..from).unwrap_or_default();
    let second = if pairs == all_pairs(shares) { shares } else { &[] };
    let (mut passed, mut seen) = (0, 0);
    for share in every(2, used, from).chain(every(2, before, 0)).chain(every(2, second, 1)) {
        let look = Look::at(share.word());
        if table::is_free(look.futex()) {
            match enter(share) {
                Entry::Entered => return Pass::Over(Some(share), passed),
                Entry::Closed => return Pass::Over(None, 0),
                Entry::Taken => {}
            }
        }
        passed += 1;
        seen = look.number(seen);
    }
    Pass::Full(seen)
}

/// Waits for the share `next`, and then for each of the `others`. A share that was free once stays free of readers that
/// enter, because the lock is closed.
#[cold]
#[inline(never)]
fn drain_slow<'s, P: InTable>(
    next: &'s P,
    mut others: impl Iterator<Item = &'s P>,
    spin: &Spin,
    limit: Limit<'_>,
    mut sleep: impl FnMut(&P, u32) -> Wait,
) -> bool {
    let mut next = Some(next);
    spin.until(|| {
        while next.is_some_and(|share| !is_held(share)) {
            next = others.next();
        }
        next.is_none()
    });
    let mut is_free = |share: &'s P| table::wait_until_free(share.word(), limit, |seen| sleep(share, seen));
    next.is_none_or(&mut is_free) && others.all(&mut is_free)
}
