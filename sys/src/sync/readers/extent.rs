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
//! **The search** begins at a pair that depends on the thread's number. If its first share is taken, the reader tries
//! the first shares of pairs that are far from each other. The reason is that readers that stay long may be beside each
//! other. Then it goes through all shares in use, from its own pair on. If none is free, it adds pairs:
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
//! **Cost.** After a long search the reader adds pairs as well, if about three in four shares are taken. It counts
//! a sample of about [`SAMPLE`] of them. So a search ends after a few shares on average, unless nearly all shares of
//! the table are taken. The number of pairs in use stays below about one and a half times the maximum number of
//! simultaneous readers. These are linear in the shares in use: the wait of a writer, the count of the readers, and a
//! search in a table whose shares are nearly all taken.
//!
//! **A full table.** One pass over the shares may find none, although some share was free at every instant. So the
//! table counts as full only if two passes have seen the same words, or after [`passes`] passes. If two passes see the
//! same words, all shares were taken at the instant between them: each new holder of a word starts a generation. A
//! search whose limit is over ends after two passes.

use crate::atomic::Ordering::SeqCst;
use crate::atomic::{AtomicU32, step};
use crate::futex::{Limit, Wait};
use crate::robust::word::LockWord;
use crate::sync::lease::Look;
use crate::sync::participants::SLOTS;
use crate::sync::readers::table::{self, Entry};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

/// A search is long if it has passed this number of shares.
const LONG: usize = 16;

/// The least number of shares that a reader counts, in a table with more shares in use, before the reader adds pairs.
/// The reader counts fewer than twice as many.
const SAMPLE: u32 = 128;

/// The maximum number of passes over this number of shares, if the shares keep changing. All passes together must be
/// short, because the reader may have the turn, and the others then wait. They take a few milliseconds up to 4,000
/// shares, and sixteen times as long at 65,536.
///
/// Where readers come and go beside only a few free shares, eight passes together missed them three times in ten
/// thousand. So one pass misses them with a probability of about 0.4, and 32 passes with one of about 1e-13.
const fn passes(shares: usize) -> usize {
    let passes = 120_000 / if shares == 0 { 1 } else { shares };
    if passes < 32 { 32 } else { passes }
}

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
    part_of(pairs, id.wrapping_mul(0x9e37_79b9))
}

/// A part of the pairs, in units of `1 / 2^32`.
#[inline(always)]
fn part_of(pairs: u32, part: u32) -> u32 {
    ((u64::from(part) * u64::from(pairs)) >> 32) as u32
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
        shares.get((place(id, self.0.load(SeqCst)) as usize).wrapping_mul(2))
    }

    /// The shares in use: a part of the table, and the distance from one to the next.
    #[inline(always)]
    fn part<'s, P>(&self, shares: &'s [P]) -> (usize, &'s [P]) {
        let all = all_pairs(shares);
        let pairs = self.pairs(all);
        if pairs == all { (1, shares) } else { (2, first_of(shares, pairs)) }
    }

    /// The shares in use.
    #[inline(always)]
    pub(crate) fn in_use<'s, P>(&self, shares: &'s [P]) -> impl Iterator<Item = &'s P> {
        let (step, part) = self.part(shares);
        every(step, part, 0)
    }

    /// The shares in use, unless they are more than `most`.
    #[inline(always)]
    pub(crate) fn if_few<'s, P>(&self, shares: &'s [P], most: usize) -> Option<impl Iterator<Item = &'s P>> {
        let (step, part) = self.part(shares);
        (part.len() <= most.saturating_mul(step)).then(|| every(step, part, 0))
    }

    /// Whether a share has a holder.
    #[inline]
    pub(crate) fn has_reader<P: InTable>(&self, shares: &[P]) -> bool {
        self.in_use(shares).any(is_held)
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

    /// Takes a free share by `enter`. Returns `None` if that found the lock closed, or if the limit is over while the
    /// shares keep changing.
    pub(crate) fn take<'s, P: InTable>(
        &self,
        shares: &'s [P],
        id: u32,
        limit: Limit<'_>,
        enter: impl Fn(&'s P) -> Entry,
    ) -> Result<Option<&'s P>, Refused> {
        if let Some(share) = self.first(shares, id) {
            match attempt(share, &enter).0 {
                Entry::Entered => return Ok(Some(share)),
                Entry::Closed => return Ok(None),
                Entry::Taken => {}
            }
        }
        self.search(shares, id, limit, enter)
    }

    /// Takes a share like [`take`](Self::take), once the first one was taken.
    #[inline(never)]
    fn search<'s, P: InTable>(
        &self,
        shares: &'s [P],
        id: u32,
        limit: Limit<'_>,
        enter: impl Fn(&'s P) -> Entry,
    ) -> Result<Option<&'s P>, Refused> {
        let all = all_pairs(shares);
        let (mut last, mut done, mut lacks_memory) = (None, 0, false);
        // The pairs in use never become fewer, so fewer are a damaged number. Then the search adds none. It would have
        // no end if another participant stored a small number again and again.
        let mut least = 0;
        loop {
            let pairs = self.pairs(all);
            match pass(shares, pairs, id, &enter) {
                Pass::Over(share, passed) => {
                    if passed > LONG && pairs < all {
                        self.relieve(shares, pairs, id);
                    }
                    return Ok(share);
                }
                // The pass may have missed a free share. So a lack of memory is an error only after another one.
                Pass::Full(_) if pairs < all && pairs >= least => match self.add(shares, pairs) {
                    Err(refused) if lacks_memory => return Err(refused),
                    Err(_) => lacks_memory = true,
                    Ok(()) => (lacks_memory, least) = (false, pairs + 1),
                },
                Pass::Full(seen) => {
                    done += 1;
                    if last == Some(seen) || done == passes(shares.len()) {
                        return Err(Refused::TableFull);
                    }
                    if done > 1 && limit.is_over() {
                        return Ok(None);
                    }
                    last = Some(seen);
                }
            }
        }
    }

    /// Adds pairs if most shares in use are taken. Counts shares at equal distances, because the taken ones may be
    /// beside each other.
    #[cold]
    fn relieve<P: InTable>(&self, shares: &[P], pairs: u32, id: u32) {
        let distance = (pairs / SAMPLE).max(1);
        let sample = every(2 * distance as usize, first_of(shares, pairs), 2 * place(id, distance) as usize);
        let count = |(all, held), share| (all + 1, held + u32::from(is_held(share)));
        let (all, held) = sample.fold((0_u32, 0_u32), count);
        if held * 4 > all * 3 {
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

/// Takes the share by `enter` if it looks free. The second value is this look.
#[inline(always)]
fn attempt<'s, P: InTable>(share: &'s P, enter: &impl Fn(&'s P) -> Entry) -> (Entry, Look) {
    let look = Look::at(share.word());
    (if table::is_free(look.futex()) { enter(share) } else { Entry::Taken }, look)
}

/// The shares of the first `pairs` pairs.
#[inline(always)]
fn first_of<P>(shares: &[P], pairs: u32) -> &[P] {
    shares.get(..2 * pairs as usize).unwrap_or(shares)
}

/// Every share of those `used`, or every second one, from the thread's own pair on: all to the end, and then those
/// before that pair.
fn from_own<P>(step: usize, used: &[P], id: u32, pairs: u32) -> impl Iterator<Item = &P> {
    let from = 2 * place(id, pairs) as usize;
    every(step, used, from).chain(every(step, used.get(..from).unwrap_or_default(), 0))
}

/// The first shares of some pairs: of [`LONG`] pairs if there are many, of each pair but the thread's own otherwise.
fn far_from_each_other<P>(used: &[P], id: u32, pairs: u32) -> impl Iterator<Item = &P> {
    let own = place(id, pairs);
    (1..pairs.min(LONG as u32 + 1)).filter_map(move |number| {
        let pair = if pairs as usize <= LONG {
            (own + number) % pairs
        } else {
            // The multiples of the square root of one half, without their whole part, are far from each other.
            part_of(pairs, id.wrapping_mul(0x9e37_79b9).wrapping_add(number.wrapping_mul(0xb504_f333)))
        };
        used.get(2 * pair as usize)
    })
}

/// Tries the shares in use, from the thread's own place on.
fn pass<'s, P: InTable>(shares: &'s [P], pairs: u32, id: u32, enter: impl Fn(&'s P) -> Entry) -> Pass<'s, P> {
    let is_all = pairs == all_pairs(shares);
    let used = first_of(shares, pairs);
    let step = if is_all { 1 } else { 2 };
    let (mut passed, mut seen) = (0, 0);
    for share in far_from_each_other(used, id, pairs).chain(from_own(step, used, id, pairs)) {
        let (entry, look) = attempt(share, &enter);
        match entry {
            Entry::Entered => return Pass::Over(Some(share), passed),
            Entry::Closed => return Pass::Over(None, 0),
            Entry::Taken => {}
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

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use core::sync::atomic::AtomicUsize;
    use core::sync::atomic::Ordering::Relaxed;
    use std::vec::Vec;

    use super::*;

    /// A share that counts the looks at it. If its holders change, it has another one after each look.
    struct Seen {
        word: LockWord,
        looks: AtomicUsize,
        changes: bool,
    }

    const HOLDER: u32 = 5;

    impl Seen {
        fn new(held: bool, changes: bool) -> Self {
            // SAFETY: zero bytes are a free word.
            let word: LockWord = unsafe { core::mem::zeroed() };
            word.reset_half(if held { HOLDER } else { 0 });
            Self { word, looks: AtomicUsize::new(0), changes }
        }
    }

    impl InTable for Seen {
        fn word(&self) -> &LockWord {
            self.looks.fetch_add(1, Relaxed);
            if self.changes {
                self.word.swap_half(HOLDER, HOLDER);
            }
            &self.word
        }

        fn prepare(_: &[Self], _: usize, _: usize) -> Result<(), Refused> {
            Ok(())
        }
    }

    /// A share beside a participant that damages the number of the pairs in use at each look. Every second addition
    /// lacks memory, so that the search looks at that number after a look and not only after an addition.
    struct Resets<'e> {
        word: LockWord,
        extent: &'e Extent,
        looks: &'e AtomicUsize,
        additions: AtomicUsize,
    }

    impl InTable for Resets<'_> {
        fn word(&self) -> &LockWord {
            assert!(self.looks.fetch_add(1, Relaxed) < 1_000_000, "the search has no end");
            self.extent.0.store(1, Relaxed);
            &self.word
        }

        fn prepare(shares: &[Self], _: usize, _: usize) -> Result<(), Refused> {
            let is_backed = shares.first().is_some_and(|share| share.additions.fetch_add(1, Relaxed) % 2 == 1);
            if is_backed { Ok(()) } else { Err(Refused::NoMemory) }
        }
    }

    fn looks(shares: &[Seen]) -> usize {
        shares.iter().map(|share| share.looks.swap(0, Relaxed)).sum()
    }

    fn table(shares: usize, held: impl Fn(usize) -> bool, changes: bool) -> Vec<Seen> {
        (0..shares).map(|at| Seen::new(held(at), changes)).collect()
    }

    fn take<'s>(extent: &Extent, shares: &'s [Seen], id: u32, limit: Limit<'_>) -> Result<Option<&'s Seen>, Refused> {
        extent.take(
            shares,
            id,
            limit,
            |share: &Seen| {
                if share.word.swap_half(0, HOLDER) { Entry::Entered } else { Entry::Taken }
            },
        )
    }

    #[test]
    fn search_is_short_beside_readers_that_stay_and_are_beside_each_other() {
        // The first half of the pairs in use is taken.
        let (pairs, shares) = (1_000, table(65_536, |at| at < 1_000, false));
        let extent = Extent(AtomicU32::new(pairs));
        let mut longest = 0;
        for id in 1..400 {
            let taken = take(&extent, &shares, id, Limit::NEVER).ok().flatten();
            assert!(taken.is_some(), "half of them are free");
            taken.into_iter().for_each(|share| share.word.reset_half(0));
            longest = longest.max(looks(&shares));
        }
        assert!(longest <= 2 + LONG, "{longest}");
        assert_eq!(extent.pairs(u32::MAX), pairs, "nothing was added");
    }

    #[test]
    fn search_stays_short_on_average_while_the_table_fills() {
        const READERS: u32 = 1_000;
        let (shares, extent) = (table(4_000, |_| false, false), Extent(AtomicU32::new(1)));
        for id in 1..=READERS {
            assert_eq!(take(&extent, &shares, id, Limit::NEVER).map(|share| share.is_some()), Ok(true));
        }
        let each = looks(&shares) / READERS as usize;
        assert!(each < 2 * LONG, "{each}");
        let pairs = extent.pairs(u32::MAX);
        assert!((READERS..READERS + READERS / 2).contains(&pairs), "{pairs}");
    }

    #[test]
    fn full_table_ends_the_search_after_two_equal_passes() {
        let (shares, extent) = (table(500, |_| true, false), Extent(AtomicU32::new(250)));
        for limit in [Limit::NEVER, Limit::NOW] {
            assert_eq!(take(&extent, &shares, 7, limit).map(|share| share.is_some()), Err(Refused::TableFull));
            let looks = looks(&shares);
            assert!((1_000..1_000 + 3 * LONG).contains(&looks), "{looks}");
        }
    }

    #[test]
    fn search_in_a_table_that_keeps_changing_ends_at_its_limit_or_after_all_passes() {
        for (size, passes) in [(3_000, 40), (8_000, 32)] {
            let (shares, extent) = (table(size, |_| true, true), Extent(AtomicU32::new(size as u32 / 2)));
            assert_eq!(take(&extent, &shares, 7, Limit::NOW).map(|share| share.is_some()), Ok(false));
            assert!((2 * size..2 * size + 3 * LONG).contains(&looks(&shares)), "two passes");
            assert_eq!(take(&extent, &shares, 7, Limit::NEVER).map(|share| share.is_some()), Err(Refused::TableFull));
            let done = looks(&shares) / size;
            assert_eq!(done, passes);
        }
    }

    #[test]
    fn search_ends_while_another_participant_takes_the_pairs_away() {
        let (extent, looks) = (Extent(AtomicU32::new(1)), AtomicUsize::new(0));
        let share = |_| {
            let word = Seen::new(true, false).word;
            Resets { word, extent: &extent, looks: &looks, additions: AtomicUsize::new(0) }
        };
        let shares: Vec<_> = (0..120).map(share).collect();
        for limit in [Limit::NEVER, Limit::NOW] {
            let taken = extent.take(&shares, 7, limit, |_| Entry::Taken);
            assert_eq!(taken.map(|share| share.is_some()), Err(Refused::TableFull));
        }
    }
}
