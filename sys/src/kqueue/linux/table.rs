//! The knotes of a queue: slots in a mapping of their own, found by ident and filter, and the lists of knotes.
//!
//! Links are numbers of slots from 1 on, and 0 is the end, so zeroed memory is an empty table. A slot is two things at
//! once. It is the place of a knote. It is also one cell in each array that has as many cells as there are slots. These
//! are the heads of both hash tables, and the two heaps. So one mapping grows with everything in it.
//!
//! | list | its members |
//! | --- | --- |
//! | `free` | slots without a knote |
//! | by name | every knote, by ident and filter |
//! | by watch | knotes that inotify watches, by the number of the watch |
//! | active | enabled knotes that may have something to report; in order of arrival |
//! | heaps | timers that run, by the instant of their next expiration, a heap for each clock |

use crate::errno::{Errno, Result};
use crate::mmap::{Region, page_size};

/// The place of a knote in the table; 0 for none.
pub(super) type At = u32;

/// How a knote uses its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No use: the knote is in memory only.
    Memory,
    /// An entry in one of the epoll sets.
    Watched,
    /// A descriptor that epoll refuses, because it is always ready; for a regular file, READ looks at the offset.
    Always,
}

/// A knote. All fields are plain numbers, so that zero is a valid value of each.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Slot {
    pub(super) ident: usize,
    pub(super) udata: usize,
    /// The generation, which changes with every knote in this slot; odd while there is one.
    pub(super) generation: u32,
    pub(super) filter: i16,
    /// The flags that are kept: ONESHOT, CLEAR, DISPATCH, RECEIPT.
    pub(super) flags: u16,
    /// The notes that the program requested, or that a USER knote has stored.
    pub(super) notes: u32,
    /// The notes of VNODE and PROC that were found and not reported yet. READ, WRITE: the flags of epoll, of the last
    /// event too.
    pub(super) found: u32,
    /// The low-water mark of READ and WRITE, the data of USER, the status of PROC once the process has ended.
    pub(super) data: i64,
    /// The expirations or signals that were not reported yet; 1 for a triggered USER knote.
    pub(super) count: u64,
    /// TIMER: the next expiration. VNODE: the number of the file.
    pub(super) instant: u64,
    /// TIMER: nanoseconds from one expiration to the next, 0 for none. VNODE: the device.
    pub(super) period: u64,
    /// VNODE: the length of the file. READ, WRITE: the data of the last event.
    pub(super) len: i64,
    /// VNODE: the number of names.
    pub(super) links: u32,
    /// The pidfd of PROC, the watch of VNODE and of READ on a file.
    pub(super) number: i32,
    /// The last collection that reported the knote.
    pub(super) round: u32,
    /// PROC: the parent of a child that was followed.
    pub(super) parent: u32,
    disabled: u8,
    kind: u8,
    wall: u8,
    is_active: u8,
    /// PROC: whether the process has ended.
    is_over: u8,
    /// The place of the timer in its heap, from 1 on; 0 when the timer does not run.
    place: u32,
    next: At,
    next_watch: At,
    before_active: At,
    after_active: At,
    // The cells.
    head: At,
    head_watch: At,
    heap: [At; 2],
}

impl Slot {
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled != 0
    }

    pub(super) fn set_disabled(&mut self, disabled: bool) {
        self.disabled = u8::from(disabled);
    }

    pub(super) fn kind(&self) -> Kind {
        match self.kind {
            0 => Kind::Memory,
            1 => Kind::Watched,
            _ => Kind::Always,
        }
    }

    pub(super) fn set_kind(&mut self, kind: Kind) {
        self.kind = kind as u8;
    }

    /// Whether the process has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over != 0
    }

    pub(super) fn set_over(&mut self) {
        self.is_over = 1;
    }

    /// Whether the timer uses the wall clock.
    pub(super) fn is_wall(&self) -> bool {
        self.wall != 0
    }

    pub(super) fn set_wall(&mut self, wall: bool) {
        self.wall = u8::from(wall);
    }
}

pub(super) struct FilterTable {
    memory: Region,
    slots: u32,
    used: u32,
    free: At,
    first: At,
    last: At,
    active: u32,
    heaps: [u32; 2],
}

impl FilterTable {
    pub(super) fn new() -> Result<Self> {
        let memory = Region::private(page_size())?;
        let slots = whole_slots(memory.len());
        let mut table = Self { memory, slots: 0, used: 0, free: 0, first: 0, last: 0, active: 0, heaps: [0; 2] };
        table.take_in(slots);
        Ok(table)
    }

    fn slots_mut(&mut self) -> &mut [Slot] {
        let start = self.memory.as_ptr().cast::<Slot>().as_ptr();
        // SAFETY: the mapping is private, page-aligned and at least `slots` slots long (`new`, `grow`); every byte is
        // zero or was written as part of a slot, and a slot is plain numbers. `&mut self` is the only access to it.
        unsafe { core::slice::from_raw_parts_mut(start, self.slots as usize) }
    }

    fn slots(&self) -> &[Slot] {
        let start = self.memory.as_ptr().cast::<Slot>().as_ptr();
        // SAFETY: as in `slots_mut`; `&self` excludes a writer.
        unsafe { core::slice::from_raw_parts(start, self.slots as usize) }
    }

    /// The knote at a place that the table itself returned.
    #[expect(clippy::indexing_slicing, reason = "places come from the table itself, which never becomes shorter")]
    pub(super) fn at(&self, at: At) -> &Slot {
        &self.slots()[at as usize - 1]
    }

    #[expect(clippy::indexing_slicing, reason = "as in `at`")]
    pub(super) fn at_mut(&mut self, at: At) -> &mut Slot {
        &mut self.slots_mut()[at as usize - 1]
    }

    /// Makes the table `slots` slots long: the new slots are free, and every knote is hashed again.
    fn take_in(&mut self, slots: u32) {
        let before = self.slots;
        self.slots = slots;
        for at in (before + 1..=slots).rev() {
            self.at_mut(at).next = self.free;
            self.free = at;
        }
        for at in 1..=slots {
            let slot = self.at_mut(at);
            (slot.head, slot.head_watch) = (0, 0);
        }
        for at in 1..=before {
            if self.is_used(at) {
                self.link(at);
                if self.is_watched(at) {
                    self.link_watch(at);
                }
            }
        }
    }

    /// Makes room for one more knote. The places of the knotes do not change.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn reserve(&mut self) -> Result<()> {
        if self.free != 0 {
            return Ok(());
        }
        let len = self.memory.len().checked_mul(2).ok_or(Errno::NOMEM)?;
        self.memory.remap(len)?;
        self.take_in(whole_slots(len));
        Ok(())
    }

    fn bucket(&self, hash: u64) -> At {
        // A power of two of slots would waste much of a page, so the hash is scaled and not masked.
        ((u128::from(hash) * u128::from(self.slots)) >> 64) as u32 + 1
    }

    fn bucket_of(&self, ident: usize, filter: i16) -> At {
        self.bucket(mix(ident as u64 ^ (filter as u64) << 48))
    }

    fn link(&mut self, at: At) {
        let slot = *self.at(at);
        let bucket = self.bucket_of(slot.ident, slot.filter);
        let head = core::mem::replace(&mut self.at_mut(bucket).head, at);
        self.at_mut(at).next = head;
    }

    fn link_watch(&mut self, at: At) {
        let bucket = self.bucket(mix(self.at(at).number as u64));
        let head = core::mem::replace(&mut self.at_mut(bucket).head_watch, at);
        self.at_mut(at).next_watch = head;
    }

    /// The knote of this ident and filter.
    pub(super) fn find(&self, ident: usize, filter: i16) -> Option<At> {
        let mut at = self.at(self.bucket_of(ident, filter)).head;
        while at != 0 {
            let slot = self.at(at);
            if slot.ident == ident && slot.filter == filter {
                return Some(at);
            }
            at = slot.next;
        }
        None
    }

    /// Adds a knote of this ident and filter, after [`reserve`](Self::reserve).
    pub(super) fn add(&mut self, ident: usize, filter: i16) -> Result<At> {
        self.reserve()?;
        let at = self.free;
        let slot = self.at_mut(at);
        let (generation, next) = (slot.generation.wrapping_add(1), slot.next);
        let (head, head_watch, heap) = (slot.head, slot.head_watch, slot.heap);
        *slot = Slot { ident, filter, generation, number: -1, next_watch: UNWATCHED, head, head_watch, heap, ..EMPTY };
        self.free = next;
        self.used += 1;
        self.link(at);
        Ok(at)
    }

    /// Removes a knote from every list.
    pub(super) fn remove(&mut self, at: At) {
        self.deactivate(at);
        self.stop(at);
        self.unwatch(at);
        let slot = *self.at(at);
        let mut before = self.bucket_of(slot.ident, slot.filter);
        if self.at(before).head == at {
            self.at_mut(before).head = slot.next;
        } else {
            before = self.at(before).head;
            while self.at(before).next != at {
                before = self.at(before).next;
            }
            self.at_mut(before).next = slot.next;
        }
        let free = core::mem::replace(&mut self.free, at);
        let slot = self.at_mut(at);
        slot.generation = slot.generation.wrapping_add(1);
        slot.next = free;
        self.used -= 1;
    }

    pub(super) fn is_used(&self, at: At) -> bool {
        self.at(at).generation % 2 == 1
    }

    /// The knote at this place, if its generation still matches.
    pub(super) fn of_generation(&self, at: At, generation: u32) -> Option<At> {
        let inside = at >= 1 && at <= self.slots;
        (inside && generation % 2 == 1 && self.at(at).generation == generation).then_some(at)
    }

    /// Every place, used or not.
    pub(super) fn places(&self) -> core::ops::RangeInclusive<At> {
        1..=self.slots
    }

    /// The number of knotes.
    pub(super) fn len(&self) -> u32 {
        self.used
    }

    // ---- watches --------------------------------------------------------------------------------------------------

    /// Records the number of the inotify watch of this knote.
    pub(super) fn watch(&mut self, at: At, number: i32) {
        self.unwatch(at);
        self.at_mut(at).number = number;
        self.link_watch(at);
    }

    pub(super) fn unwatch(&mut self, at: At) {
        let slot = *self.at(at);
        if slot.next_watch == UNWATCHED {
            return;
        }
        let mut before = self.bucket(mix(slot.number as u64));
        if self.at(before).head_watch == at {
            self.at_mut(before).head_watch = slot.next_watch;
        } else {
            before = self.at(before).head_watch;
            while self.at(before).next_watch != at {
                before = self.at(before).next_watch;
            }
            self.at_mut(before).next_watch = slot.next_watch;
        }
        let slot = self.at_mut(at);
        (slot.next_watch, slot.number) = (UNWATCHED, -1);
    }

    /// The first knote with this watch, or the one after `at`.
    pub(super) fn watched(&self, number: i32, at: Option<At>) -> Option<At> {
        let mut next = match at {
            Some(at) => self.at(at).next_watch,
            None => self.at(self.bucket(mix(number as u64))).head_watch,
        };
        while next != 0 && self.at(next).number != number {
            next = self.at(next).next_watch;
        }
        (next != 0).then_some(next)
    }

    pub(super) fn is_watched(&self, at: At) -> bool {
        self.at(at).next_watch != UNWATCHED
    }

    // ---- the active list ------------------------------------------------------------------------------------------

    /// Puts a knote at the end of the active list, unless it is there already or disabled.
    pub(super) fn activate(&mut self, at: At) {
        if self.at(at).is_active != 0 || self.at(at).is_disabled() {
            return;
        }
        let last = core::mem::replace(&mut self.last, at);
        let slot = self.at_mut(at);
        (slot.before_active, slot.after_active, slot.is_active) = (last, 0, 1);
        match last {
            0 => self.first = at,
            last => self.at_mut(last).after_active = at,
        }
        self.active += 1;
    }

    pub(super) fn deactivate(&mut self, at: At) {
        let slot = *self.at(at);
        if slot.is_active == 0 {
            return;
        }
        match slot.before_active {
            0 => self.first = slot.after_active,
            before => self.at_mut(before).after_active = slot.after_active,
        }
        match slot.after_active {
            0 => self.last = slot.before_active,
            after => self.at_mut(after).before_active = slot.before_active,
        }
        self.at_mut(at).is_active = 0;
        self.active -= 1;
    }

    /// Takes the first knote off the active list.
    pub(super) fn next_active(&mut self) -> Option<At> {
        let at = self.first;
        (at != 0).then(|| {
            self.deactivate(at);
            at
        })
    }

    /// The number of active knotes.
    pub(super) fn active(&self) -> u32 {
        self.active
    }

    // ---- the heaps ------------------------------------------------------------------------------------------------

    /// The instant at which the next timer of a clock expires.
    pub(super) fn next_instant(&self, wall: bool) -> Option<u64> {
        let clock = usize::from(wall);
        (self.heap_len(clock) > 0).then(|| self.at(self.cell(clock, 1)).instant)
    }

    /// Removes the timer of a clock that expires next from its heap, if it expires by `now`.
    pub(super) fn next_expired(&mut self, wall: bool, now: u64) -> Option<At> {
        let clock = usize::from(wall);
        if self.next_instant(wall)? > now {
            return None;
        }
        let at = self.cell(clock, 1);
        self.stop(at);
        Some(at)
    }

    /// Starts a timer that runs until its instant.
    pub(super) fn start(&mut self, at: At) {
        self.stop(at);
        let clock = usize::from(self.at(at).is_wall());
        let place = self.heap_len(clock) + 1;
        self.set_heap_len(clock, place);
        self.put(clock, place, at);
        self.rise(clock, place);
    }

    /// Removes a timer from its heap, if it runs.
    pub(super) fn stop(&mut self, at: At) {
        let place = self.at(at).place;
        if place == 0 {
            return;
        }
        let clock = usize::from(self.at(at).is_wall());
        self.at_mut(at).place = 0;
        let len = self.heap_len(clock);
        self.set_heap_len(clock, len - 1);
        if place < len {
            let moved = self.cell(clock, len);
            self.put(clock, place, moved);
            self.rise(clock, place);
            self.sink(clock, self.at(moved).place);
        }
    }

    fn heap_len(&self, clock: usize) -> u32 {
        let [running, wall] = self.heaps;
        if clock == 0 { running } else { wall }
    }

    fn set_heap_len(&mut self, clock: usize, len: u32) {
        let [running, wall] = &mut self.heaps;
        *(if clock == 0 { running } else { wall }) = len;
    }

    fn cell(&self, clock: usize, place: u32) -> At {
        let [running, wall] = self.at(place).heap;
        if clock == 0 { running } else { wall }
    }

    fn put(&mut self, clock: usize, place: u32, at: At) {
        let [running, wall] = &mut self.at_mut(place).heap;
        *(if clock == 0 { running } else { wall }) = at;
        self.at_mut(at).place = place;
    }

    fn instant_at(&self, clock: usize, place: u32) -> u64 {
        self.at(self.cell(clock, place)).instant
    }

    fn swap(&mut self, clock: usize, one: u32, other: u32) {
        let (first, second) = (self.cell(clock, one), self.cell(clock, other));
        self.put(clock, one, second);
        self.put(clock, other, first);
    }

    fn rise(&mut self, clock: usize, mut place: u32) {
        while place > 1 && self.instant_at(clock, place) < self.instant_at(clock, place / 2) {
            self.swap(clock, place, place / 2);
            place /= 2;
        }
    }

    fn sink(&mut self, clock: usize, mut place: u32) {
        let len = self.heap_len(clock);
        loop {
            let mut least = place;
            for child in [place.saturating_mul(2), place.saturating_mul(2).saturating_add(1)] {
                if child <= len && self.instant_at(clock, child) < self.instant_at(clock, least) {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(clock, place, least);
            place = least;
        }
    }
}

/// The link of a knote that has no watch.
const UNWATCHED: At = At::MAX;

const EMPTY: Slot = Slot {
    ident: 0,
    udata: 0,
    generation: 0,
    filter: 0,
    flags: 0,
    notes: 0,
    found: 0,
    data: 0,
    count: 0,
    instant: 0,
    period: 0,
    len: 0,
    links: 0,
    number: 0,
    round: 0,
    parent: 0,
    disabled: 0,
    kind: 0,
    wall: 0,
    is_active: 0,
    is_over: 0,
    place: 0,
    next: 0,
    next_watch: 0,
    before_active: 0,
    after_active: 0,
    head: 0,
    head_watch: 0,
    heap: [0; 2],
};

/// The number of slots in a mapping of this length.
fn whole_slots(len: usize) -> u32 {
    // The mapping would need half a TiB for more.
    u32::try_from(len / size_of::<Slot>()).unwrap_or(u32::MAX - 1)
}

/// Spreads consecutive numbers over all bits.
fn mix(key: u64) -> u64 {
    let key = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (key ^ key >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
