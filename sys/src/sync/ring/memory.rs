//! The ring's memory: its layout, and how it grows.
//!
//! | part | bytes |
//! | --- | --- |
//! | header, control | some hundreds |
//! | participants | 64 for each |
//! | words | 16 for each granule |
//! | messages | 64 for each granule |

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use core::time::Duration;

use super::error::RingError;
use super::event_count::EventCount;
use super::flow::{Flow, close, inherit, reclaim};
use super::grounds::{Grounds, WORDS};
use super::owners::OWNERS;
use super::participants::{Entry, PARTICIPANTS, ParticipantTable};
use super::receipt::Receipt;
use super::track::{Blocked, Cell, Claim, Line, Positions, Track};
use super::watch::Watch;
use super::word::{BACKED, GRANULES_MAX, KEEP};
use crate::atomic::AtomicU32;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result as ErrnoResult};
use crate::eventfd::EventFd;
use crate::futex::{self, Limit, Reach, Waiter};
use crate::process::Pid;
use crate::raw;
use crate::robust::{LockBackend, lock_backend};
use crate::shm::growing::Growing;
use crate::shm::{Fingerprint, Shareable};
use crate::sync::gate::{Gate, SharedGate, Woke};
use crate::sync::lease::Holder;
use crate::sync::scope::{RawLock, Refused};
use crate::sync::shared::SharedLock;

/// The size of a granule in bytes. A record is a whole number of granules.
pub(super) const GRANULE: usize = 64;

/// A ring of messages between processes. See the [module](super).
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::sync::ring::Ring;
///
/// let ring = Ring::new(64 << 10)?;
/// let mut user = ring.join()?;
/// user.send(b"one")?;
/// user.send(b"two")?;
/// assert_eq!(ring.len()?, 2);
/// let mut bytes = [0; 8];
/// assert_eq!(user.recv(&mut bytes)?.len, 3);
/// assert_eq!(&bytes[..3], b"one");
/// user.recv(&mut bytes)?;
/// assert!(user.recv_timeout(&mut bytes, Duration::from_millis(1))?.is_none() && ring.is_empty()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its size, and a second mapping as another process has it:
///
/// ```
/// use core::time::Duration;
/// use ossature_sys::{fd::duplicate, sync::ring::Ring};
///
/// let ring = Ring::new(1 << 20)?;
/// assert_eq!((ring.capacity(), ring.max_message()), (1 << 20, 1 << 20));
/// assert_eq!(ring.backed(), 16 << 10, "pages come as they are needed");
/// // SAFETY: the descriptor stays in this program, which uses it as a ring.
/// let memory = duplicate(unsafe { ring.descriptor() })?;
/// // SAFETY: as above.
/// let there = unsafe { Ring::from_fd(memory) }?;
/// there.try_clone()?.join()?.send(b"hello")?;
/// let Some(mut user) = ring.join_timeout(Duration::from_secs(1))? else { return Ok(()) };
/// assert_eq!(&*user.read()?, b"hello");
/// assert_eq!(ring.reclaim_lost()?, 0, "all threads are alive");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ring {
    pub(super) memory: Growing,
    pub(super) granules: usize,
    /// The event that makes descriptors readable when it is written. Every process that has the ring has this event.
    pub(super) event: Option<EventFd>,
}

/// The part that all participants share. Zero bytes are the state of a new ring, except for the locks and `mark`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Control {
    /// Held by a thread while it enrols.
    lock: SharedLock,
    /// Held by a thread while it sends a packet: see `packets`.
    pub(super) packets: SharedLock,
    gate: SharedGate,
    /// The greatest number of participants so far. Their entries have pages.
    used: AtomicU32,
    /// Whether messages may be sent.
    closed: AtomicU32,
    watch: Watch,
    /// 1 if the ring has an event: a process must then attach with that event.
    pub(super) pollable: AtomicU32,
    positions: Positions,
    messages: Line<EventCount>,
    room: Line<EventCount>,
    /// Where participants sleep until all tasks are done.
    idle: Line<EventCount>,
    /// The number of messages that were received as tasks.
    received: Line<AtomicU64>,
    receipt: Line<Receipt>,
}

// SAFETY: atomics and a shared lock, no Drop, repr(C); every state that a killed process leaves is one of the tables'.
unsafe impl Shareable for Control {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive("Ring");
    const LOCKS: bool = true;
}

/// The minimum and the maximum number of granules: 64 KiB and 4 GiB of messages.
const LEAST: usize = 1 << 10;
const MOST: usize = 1 << 26;
/// The number of granules with pages in a new ring.
const FIRST: usize = 1 << 8;
/// The number of participants for which pages are allocated at once.
const ENTRIES_AT_ONCE: usize = 64;

/// The number of bytes after the control.
pub(super) fn more(granules: usize) -> Option<usize> {
    let per_granule = size_of::<Cell>() + GRANULE;
    (LEAST..=MOST).contains(&granules).then_some(())?;
    granules.is_power_of_two().then_some(())?;
    granules.checked_mul(per_granule)?.checked_add(PARTICIPANTS * size_of::<Entry>())
}

impl Ring {
    /// Makes a ring with room for `capacity` bytes of messages: at least 64 KiB, at most 4 GiB, rounded up to a power
    /// of two. Each message takes a whole number of 64 bytes.
    ///
    /// # Errors
    /// As for [`Shm::place`](crate::shm::Shm::place); `EOPNOTSUPP` also where locks have the pthread form. The capacity
    /// costs addresses (`ENOMEM` if there are not enough of them), and pages only as they are used.
    pub fn new(capacity: usize) -> ErrnoResult<Self> {
        // Without nodes no participant would see a death, and a fork beside a record in place would not be refused.
        if lock_backend() != LockBackend::Node {
            return Err(Errno::OPNOTSUPP);
        }
        let granules = capacity.div_ceil(GRANULE).clamp(LEAST, MOST).next_power_of_two();
        let memory = Growing::make::<Control>(more(granules).ok_or(Errno::NOMEM)?, granules)?;
        let ring = Self { memory, granules, event: None };
        ring.memory.back(Growing::offset::<Control>(), size_of::<Control>())?;
        ring.back_entries(0)?;
        ring.back_granules(FIRST)?;
        let control = ring.memory.value::<Control>().as_ptr();
        // SAFETY: the control is inside the memory, so its field is in bounds.
        let lock = unsafe { &raw mut (*control).lock };
        // SAFETY: as above.
        let packets = unsafe { &raw mut (*control).packets };
        for lock in [lock, packets] {
            // SAFETY: the place is new, has pages, and stays mapped while the lock is linked (`drop`).
            unsafe { SharedLock::init(lock) }?;
        }
        ring.positions().mark.0.store(FIRST as u64, Release);
        Ok(ring)
    }

    /// The ring's capacity for messages, in bytes.
    pub fn capacity(&self) -> usize {
        self.granules * GRANULE
    }

    /// The maximum length of a message, in bytes: the whole ring, but at most 4 MiB less 640.
    pub fn max_message(&self) -> usize {
        self.granules.min(GRANULES_MAX as usize) * GRANULE
    }

    /// The part of the capacity that has pages, in bytes.
    pub fn backed(&self) -> usize {
        self.track().backed() as usize * GRANULE
    }

    /// Closes the ring for sending, for all participants. Senders get [`Closed`](RingError::Closed), and receivers get
    /// it once they have received all messages. A closed ring cannot be opened again.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::sync::ring::{Ring, RingError};
    ///
    /// let ring = Ring::new(1 << 16)?;
    /// let mut user = ring.join()?;
    /// user.send(b"last")?;
    /// ring.close();
    /// assert!(ring.is_closed());
    /// assert_eq!(user.send(b"too late"), Err(RingError::Closed));
    /// assert_eq!(&*user.read()?, b"last");
    /// assert_eq!(user.read().unwrap_err(), RingError::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        self.control().gate.protected(|| close(self));
    }

    /// Whether the ring was [closed](Self::close).
    pub fn is_closed(&self) -> bool {
        Flow::is_closed(self)
    }

    /// Counts the messages that waited in the ring a moment ago.
    ///
    /// # Errors
    /// [`Unrecoverable`](Refused::Unrecoverable) if the memory holds values that no participant writes.
    pub fn len(&self) -> Result<usize, RingError> {
        Ok(self.track().count(usize::MAX)?)
    }

    /// Whether no message waited in the ring a moment ago.
    ///
    /// # Errors
    /// As for [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool, RingError> {
        Ok(self.track().count(1)? == 0)
    }

    /// Returns the process and the thread whose record is before all others, if the ring waits for one. That thread
    /// reserved the record and did not publish it, or it took a message and did not give it back.
    ///
    /// # Errors
    /// As for [`len`](Self::len).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{process, sync::ring::Ring};
    ///
    /// let ring = Ring::new(1 << 16)?;
    /// let mut user = ring.join()?;
    /// let record = user.reserve(10)?;
    /// let (process, _thread) = ring.blocked_by()?.unwrap();
    /// assert_eq!(process, process::id());
    /// record.publish()?;
    /// assert!(ring.blocked_by()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocked_by(&self) -> Result<Option<(Pid, Pid)>, RingError> {
        let blocked = self.control().gate.protected(|| reclaim(self));
        let Blocked::By(Claim { word, .. }) = blocked? else { return Ok(None) };
        let table = self.table();
        let Some(entry) = table.get(word.who()) else { return Ok(None) };
        let Holder::Thread(thread) = entry.lease.holder() else { return Ok(None) };
        let process = Pid::from_raw(entry.process.load(Relaxed) as i32);
        Ok(process.zip(Pid::from_raw(thread as i32)))
    }

    /// Frees the records and entries of threads that ended without the kernel's report. Returns how many such threads
    /// there were. The kernel loses the report if it kills a process because memory is short, or while it writes a core
    /// dump.
    ///
    /// For a supervisor that has seen the death itself. Asks the kernel for each participant.
    ///
    /// # Errors
    /// As for [`len`](Self::len).
    pub fn reclaim_lost(&self) -> Result<usize, RingError> {
        let lost = self.control().gate.protected(|| {
            let mut lost = 0;
            for entry in self.table().0 {
                let look = entry.lease.look();
                let Holder::Thread(thread) = look.holder() else { continue };
                if !thread_exists(entry.process.load(SeqCst), thread) && entry.lease.declare_dead(look) {
                    lost += 1;
                }
            }
            if lost > 0 { inherit(self).map(|()| lost) } else { Ok(0) }
        })?;
        Ok(lost)
    }

    pub(super) fn control(&self) -> &Control {
        // SAFETY: the control is inside the mapping, which lives as long as `self`, was initialised before any code got
        // the ring, and is changed by atomics only.
        unsafe { self.memory.value::<Control>().as_ref() }
    }

    fn positions(&self) -> &Positions {
        &self.control().positions
    }

    fn records(&self) -> Track<'_> {
        let first = self.part(PARTICIPANTS * size_of::<Entry>()).cast::<Cell>();
        // SAFETY: the cells are inside the mapping (`more`), are aligned (each part is a multiple of 64 bytes long),
        // valid as zero bytes, and changed by atomics only.
        let cells = unsafe { core::slice::from_raw_parts(first.as_ptr(), self.granules) };
        Track { positions: self.positions(), cells }
    }

    pub(super) fn received(&self) -> &AtomicU64 {
        &self.control().received.0
    }

    /// Wakes the participants that wait for a record to be done, because it has another owner. Called in a protected
    /// stretch.
    pub(super) fn wake_watchers(&self) {
        for event_count in [self.room(), self.idle()] {
            if event_count.has_sleepers() {
                event_count.notify(self.gate(), u32::MAX);
            }
        }
    }

    pub(super) fn table(&self) -> ParticipantTable<'_> {
        let used = (self.control().used.load(Acquire) as usize).min(PARTICIPANTS);
        // SAFETY: the entries are inside the mapping (`more`), are aligned, valid as zero bytes, and changed by atomics
        // only.
        ParticipantTable(unsafe { core::slice::from_raw_parts(self.part(0).cast::<Entry>().as_ptr(), used) })
    }

    /// Returns a pointer to `offset` bytes after the control.
    fn part(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: the callers' offsets are within the bytes after the control (`more`).
        unsafe { self.memory.value::<Control>().cast::<u8>().add(size_of::<Control>() + offset) }
    }

    fn part_offset(offset: usize) -> usize {
        Growing::offset::<Control>() + size_of::<Control>() + offset
    }

    fn words_offset() -> usize {
        Self::part_offset(PARTICIPANTS * size_of::<Entry>())
    }

    fn messages_offset(&self) -> usize {
        Self::words_offset() + self.granules * size_of::<Cell>()
    }

    /// Returns a pointer to the message of a claim. The claim was checked by its walk: the record ends before the
    /// memory does.
    pub(super) fn message_at(&self, claim: Claim) -> NonNull<u8> {
        let offset = PARTICIPANTS * size_of::<Entry>() + self.granules * size_of::<Cell>();
        self.part(offset + self.track().index(claim.at) as usize * GRANULE)
    }

    fn back_entries(&self, from: usize) -> ErrnoResult<()> {
        let entry = size_of::<Entry>();
        self.memory.back(Self::part_offset(from * entry), ENTRIES_AT_ONCE * entry)
    }

    /// Allocates pages for the first `count` granules and for one more word, where a producer writes padding.
    fn back_granules(&self, count: usize) -> ErrnoResult<()> {
        let words = (count + 1).min(self.granules);
        self.memory.back(Self::words_offset(), words * size_of::<Cell>())?;
        self.memory.back(self.messages_offset(), count * GRANULE)
    }

    /// Allocates memory for at least `least` granules.
    fn find_memory(&self, least: u64) -> bool {
        let mark = &self.positions().mark.0;
        let most = self.granules as u64;
        if least > most {
            return false;
        }
        'again: loop {
            let seen = mark.load(Acquire);
            let backed = seen & BACKED;
            if least <= backed {
                return true;
            }
            // Not too much at once: a signal makes the kernel begin again.
            for wanted in [least.max((backed * 2).min(backed + (1 << 16))).min(most), least] {
                if self.back_granules(wanted as usize).is_ok() {
                    // If a participant gave memory back meanwhile, these pages may be among it.
                    match mark.compare_exchange(seen, seen & !BACKED | wanted, AcqRel, Acquire) {
                        Ok(_) => return true,
                        Err(_) => continue 'again,
                    }
                }
            }
            return false;
        }
    }

    /// Punches holes after the granules that are kept. The caller has reserved all of them.
    fn give_back(&self) {
        let (keep, backed) = (KEEP as usize, self.track().lower_mark() as usize);
        // The word of the record that reserves them stays. There is one more word than granules, except at the end.
        let last = (backed + 1).min(self.granules);
        let words = Self::words_offset() + (keep + 1) * size_of::<Cell>();
        let messages = self.messages_offset() + keep * GRANULE;
        // Pages that are not given back are given back another time.
        let _ = self.memory.punch(words, last.saturating_sub(keep + 1) * size_of::<Cell>());
        let _ = self.memory.punch(messages, backed.saturating_sub(keep) * GRANULE);
        // A producer may have found memory meanwhile, and part of it is in the holes.
        self.track().lower_mark();
    }

    /// Enrols the calling thread, within the limit. Returns its number.
    #[cold]
    pub(super) fn enrol(&self, limit: Limit<'_>) -> Result<Option<u32>, Refused> {
        let Control { lock, gate, used, .. } = self.control();
        if !lock.take(limit)? {
            return Ok(None);
        }
        // A participant that died with the lock leaves a valid state at every point.
        lock.mark_consistent();
        let process = crate::process::id().as_raw_nonzero().get() as u32;
        let enrolled = (|| {
            if let Some(who) = self.table().enrol(process)? {
                return Ok(who);
            }
            let walk = || gate.protected(|| inherit(self));
            if self.table().free_the_dead(walk)? {
                if let Some(who) = self.table().enrol(process)? {
                    return Ok(who);
                }
            }
            let count = used.load(SeqCst) as usize;
            if count >= PARTICIPANTS {
                return Err(Refused::TableFull);
            }
            if count % ENTRIES_AT_ONCE == 0 && self.back_entries(count).is_err() {
                return Err(Refused::TableFull);
            }
            used.store(count as u32 + 1, SeqCst);
            self.table().enrol(process)?.ok_or(Refused::TableFull)
        })();
        // SAFETY: taken above.
        unsafe { lock.release() };
        enrolled.map(Some)
    }
}

impl Flow for Ring {
    type Gate = SharedGate;

    #[inline]
    fn track(&self) -> Track<'_> {
        self.records()
    }

    #[inline]
    fn gate(&self) -> &SharedGate {
        &self.control().gate
    }

    #[inline]
    fn messages(&self) -> &EventCount {
        &self.control().messages.0
    }

    #[inline]
    fn room(&self) -> &EventCount {
        &self.control().room.0
    }

    fn is_dead(&self, who: u32) -> bool {
        self.table().is_dead(who)
    }

    fn grow(&self, least: u64) -> bool {
        self.find_memory(least)
    }

    #[inline]
    fn idle(&self) -> &EventCount {
        &self.control().idle.0
    }

    #[cold]
    fn shrink(&self) {
        self.give_back();
    }

    fn trims_at(&self) -> Option<Deadline> {
        (self.track().backed() > KEEP).then(|| Deadline::after(IDLE))
    }

    #[inline]
    fn watch(&self) -> &Watch {
        &self.control().watch
    }

    #[cold]
    fn raise(&self) {
        // It fails only at 2^64 - 2, which cannot be reached in steps of 1.
        let _ = self.event.as_ref().map(|event| event.try_add(1));
    }

    #[inline]
    fn receipt(&self) -> &Receipt {
        &self.control().receipt.0
    }

    #[inline]
    fn closed(&self) -> &AtomicU32 {
        &self.control().closed
    }

    fn sleep<'r>(
        &'r self,
        event_count: &'r EventCount,
        expected: u32,
        grounds: &Grounds<'r>,
        limit: Limit<'r>,
    ) -> Woke {
        // The gate, a cancellation and the event count again.
        const MORE: usize = 3;
        let mut words = [Waiter::new(event_count.word(), expected, Reach::Shared); 1 + OWNERS + WORDS + MORE];
        let mut count = 1;
        let table = self.table();
        for who in grounds.owners() {
            let (Some(entry), Some(place)) = (table.get(who), words.get_mut(count)) else { continue };
            let look = entry.lease.look();
            match look.holder() {
                Holder::Thread(_) => {}
                // Its death may have woken nobody: what it left undone is left to this thread.
                Holder::Dead => return Woke::PeerDied,
                Holder::Nobody => return Woke::Look,
            }
            *place = entry.lease.watch(look);
            count += 1;
        }
        let leases = count;
        for word in grounds.words() {
            if let Some(place) = words.get_mut(count) {
                *place = word;
                count += 1;
            }
        }
        // Without the gate a death between a change and its wake is found by looking now and then.
        let sees_all = futex::waits_on_several() && !grounds.is_more();
        let until = if sees_all { limit } else { limit.or_sooner(Deadline::after(SLICE)) };
        match self.gate().sleep_on(&mut words, count, None, until) {
            // The kernel wakes one of the threads that watch a lease: this thread wakes the others.
            (Woke::Look, at) if (1..leases).contains(&at) => Woke::PeerDied,
            (woke, _) => woke,
        }
    }
}

/// How long a receiver sleeps in an empty ring before it gives memory back.
const IDLE: Duration = Duration::from_secs(1);
/// How long a sleeper sleeps at a time where it cannot wait on all words.
const SLICE: Duration = Duration::from_millis(10);

impl Drop for Ring {
    fn drop(&mut self) {
        let Control { lock, packets, .. } = self.control();
        let is_held = lock.is_linked_here() || packets.is_linked_here();
        if is_held || self.table().0.iter().any(|entry| entry.lease.is_linked_here()) {
            // The kernel and this process's threads still know addresses in here.
            self.memory.leak();
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.capacity())
            .field("backed", &self.backed())
            .finish_non_exhaustive()
    }
}

/// `tgkill(process, thread, 0)`: returns whether the thread exists.
fn thread_exists(process: u32, thread: u32) -> bool {
    let answer = raw::call_long("tgkill", || {
        // SAFETY: signal 0 is not delivered: the call only looks the thread up.
        unsafe { libc::syscall(libc::SYS_tgkill, process as libc::pid_t, thread as libc::pid_t, 0) }
    });
    // Any other failure leaves the question open. Yes is then the safe answer.
    answer != Err(Errno::SRCH)
}
