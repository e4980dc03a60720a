//! The rules: a table of faults and the calls that they affect, and the hook that checks the table before each call.

use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use core::time::Duration;

use crate::errno::{Errno, Result};

/// Whether this program is built with the hook: `--cfg ossature_faults`.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, faults::{ENABLED, Fault, Rule}};
///
/// if !ENABLED {
///     assert_eq!(Rule::on("read", Fault::Count).arm().unwrap_err(), Errno::NOSYS);
/// }
/// ```
pub const ENABLED: bool = cfg!(ossature_faults);

/// The fault that happens at the chosen call.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{errno::Errno, eventfd::EventFd, faults::{Fault, Rule}};
///
/// for fault in [Fault::Count, Fault::Delay(Duration::from_micros(1)), Fault::Fail(Errno::MFILE)] {
///     let Ok(armed) = Rule::on("eventfd", fault).arm() else { break }; // built without the hook
///     assert_eq!(EventFd::counter(0).is_err(), matches!(fault, Fault::Fail(_)));
///     assert_eq!(armed.hits(), 1);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call is not made and returns this error.
    Fail(Errno),
    /// The call moves at most this many bytes (never fewer than one, which would read as end of file).
    Shorten(usize),
    /// The call is made after this delay.
    Delay(Duration),
    /// The process kills itself with SIGKILL before the call.
    Kill,
    /// The call is made; the rule only counts.
    Count,
}

/// The calls that a fault affects: configured, then [armed](Rule::arm).
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, eventfd::EventFd, faults::{ENABLED, Fault, Rule}};
///
/// if ENABLED {
///     let second = Rule::on("eventfd", Fault::Fail(Errno::MFILE)).nth(2).arm()?;
///     assert!(EventFd::counter(0).is_ok() && EventFd::counter(0).is_err());
///     assert_eq!((second.seen(), second.hits()), (2, 1));
///     drop(second);
///     let later = Rule::on("*", Fault::Count).from(2).times(1).everywhere().arm()?;
///     assert!(EventFd::counter(0).is_ok() && EventFd::counter(0).is_ok());
///     assert_eq!((later.seen(), later.hits()), (2, 1));
/// }
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a rule does nothing until it is armed"]
pub struct Rule {
    name: &'static str,
    fault: Fault,
    first: u64,
    times: u64,
    everywhere: bool,
}

impl Rule {
    /// Every call of `name` from the first on (`"*"`: of anything).
    pub fn on(name: &'static str, fault: Fault) -> Self {
        Self { name, fault, first: 1, times: u64::MAX, everywhere: false }
    }

    /// Only the `nth` call, counted from 1.
    pub fn nth(self, nth: u64) -> Self {
        Self { first: nth, times: 1, ..self }
    }

    /// From the `first` call on, counted from 1.
    pub fn from(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// At most `times` calls.
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// The rule applies in every thread, and in forked children too (which count on their own).
    pub fn everywhere(self) -> Self {
        Self { everywhere: true, ..self }
    }

    /// Puts the rule into force until the returned [`Armed`] is dropped.
    ///
    /// # Errors
    /// `ENOSYS` in a program that is built without `--cfg ossature_faults`: no call would check the rule. `ENOSPC` when
    /// 16 rules are in force already.
    pub fn arm(self) -> Result<Armed> {
        if !ENABLED {
            return Err(Errno::NOSYS);
        }
        let (kind, argument) = encode(self.fault);
        for slot in &TABLE {
            if slot.state.compare_exchange(FREE, FILLING, SeqCst, SeqCst).is_err() {
                continue;
            }
            slot.name.store(self.name.as_ptr() as usize, SeqCst);
            slot.name_len.store(self.name.len(), SeqCst);
            slot.kind.store(kind, SeqCst);
            slot.argument.store(argument, SeqCst);
            slot.first.store(self.first, SeqCst);
            slot.times.store(self.times, SeqCst);
            slot.seen.store(0, SeqCst);
            slot.hits.store(0, SeqCst);
            slot.met.clear();
            slot.thread.store(if self.everywhere { 0 } else { this_thread() }, SeqCst);
            slot.state.store(IN_FORCE, SeqCst);
            return Ok(Armed { slot });
        }
        Err(Errno::NOSPC)
    }
}

/// A rule in force. Dropping this removes the rule.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, eventfd::EventFd, faults::{ENABLED, Fault, Name, Rule}};
///
/// if ENABLED {
///     let armed = Rule::on("*", Fault::Fail(Errno::MFILE)).arm()?;
///     assert_eq!(EventFd::counter(0).unwrap_err(), Errno::MFILE);
///     let met: Name = armed.met();
///     assert_eq!((&*met, armed.seen(), armed.hits()), ("eventfd", 1, 1));
/// }
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping this takes the rule back"]
pub struct Armed {
    slot: &'static Slot,
}

impl Armed {
    /// The number of calls so far that matched the rule's name, chosen or not.
    pub fn seen(&self) -> u64 {
        self.slot.seen.load(SeqCst)
    }

    /// The number of calls that the fault affected. A test asserts that it is not 0, because a rule that never matched
    /// proves nothing.
    pub fn hits(&self) -> u64 {
        self.slot.hits.load(SeqCst)
    }

    /// The name of the last call that the fault affected; empty when there was none.
    ///
    /// For a rule on `"*"`, which does not contain the name itself.
    pub fn met(&self) -> Name {
        self.slot.met.load()
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.slot.state.store(FREE, SeqCst);
    }
}

/// The name of a call, or the first 32 bytes of a longer one.
///
/// # Examples
/// See the example of [`Armed`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME],
}

/// The room for a name; the longest of C's names for calls has 29 bytes.
const NAME: usize = 32;

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        let bytes = self.bytes.get(..len).unwrap_or_default();
        // A longer name may be cut within a character.
        bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A [`Name`] that any thread may write. A reader beside a writer may see a mixture of two names.
#[derive(Debug)]
struct Shown([AtomicU8; NAME]);

impl Shown {
    fn clear(&self) {
        self.store("");
    }

    fn store(&self, name: &str) {
        let bytes = name.bytes().chain(core::iter::repeat(0));
        self.0.iter().zip(bytes).for_each(|(place, byte)| place.store(byte, SeqCst));
    }

    fn load(&self) -> Name {
        let mut bytes = [0; NAME];
        self.0.iter().zip(&mut bytes).for_each(|(place, byte)| *byte = place.load(SeqCst));
        Name { bytes }
    }
}

const FREE: u32 = 0;
const FILLING: u32 = 1;
const IN_FORCE: u32 = 2;

#[derive(Debug)]
struct Slot {
    state: AtomicU32,
    kind: AtomicU32,
    thread: AtomicU32,
    name: AtomicUsize,
    name_len: AtomicUsize,
    argument: AtomicU64,
    first: AtomicU64,
    times: AtomicU64,
    seen: AtomicU64,
    hits: AtomicU64,
    met: Shown,
}

static TABLE: [Slot; 16] = [const {
    Slot {
        state: AtomicU32::new(FREE),
        kind: AtomicU32::new(0),
        thread: AtomicU32::new(0),
        name: AtomicUsize::new(0),
        name_len: AtomicUsize::new(0),
        argument: AtomicU64::new(0),
        first: AtomicU64::new(0),
        times: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        hits: AtomicU64::new(0),
        met: Shown([const { AtomicU8::new(0) }; NAME]),
    }
}; 16];

const FAIL: u32 = 1;
const SHORTEN: u32 = 2;
const DELAY: u32 = 3;
const KILL: u32 = 4;
const COUNT: u32 = 5;

fn encode(fault: Fault) -> (u32, u64) {
    match fault {
        Fault::Fail(errno) => (FAIL, errno.raw_os_error() as u64),
        Fault::Shorten(len) => (SHORTEN, len.max(1) as u64),
        Fault::Delay(span) => (DELAY, u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        Fault::Kill => (KILL, 0),
        Fault::Count => (COUNT, 0),
    }
}

impl Slot {
    fn matches(&self, name: &str) -> bool {
        if self.state.load(SeqCst) != IN_FORCE {
            return false;
        }
        let thread = self.thread.load(SeqCst);
        if thread != 0 && thread != this_thread() {
            return false;
        }
        let wanted = (self.name.load(SeqCst) as *const u8, self.name_len.load(SeqCst));
        // SAFETY: pointer and length were taken from one `&'static str` before the slot came into force.
        let wanted = unsafe { core::slice::from_raw_parts(wanted.0, wanted.1) };
        wanted == b"*" || wanted == name.as_bytes()
    }

    /// Counts a match and returns whether the fault affects this call.
    fn chosen(&self, name: &str) -> bool {
        let nth = self.seen.fetch_add(1, SeqCst) + 1;
        let first = self.first.load(SeqCst);
        let chosen = nth >= first && nth - first < self.times.load(SeqCst);
        if chosen {
            self.met.store(name);
            self.hits.fetch_add(1, SeqCst);
        }
        chosen
    }
}

/// The hook: runs before every foreign call.
#[cfg_attr(not(ossature_faults), allow(dead_code, reason = "no call looks"))]
pub(crate) fn before(name: &str) -> Result<()> {
    for slot in &TABLE {
        let kind = slot.kind.load(SeqCst);
        if kind == SHORTEN || !slot.matches(name) || !slot.chosen(name) {
            continue;
        }
        let argument = slot.argument.load(SeqCst);
        match kind {
            FAIL => return Err(Errno::from_raw_os_error(argument as i32)),
            DELAY => delay(argument),
            KILL => kill_self(),
            _ => {}
        }
    }
    Ok(())
}

/// The hook of transfers: the number of bytes that may move, never more than `len`.
#[cfg_attr(not(ossature_faults), allow(dead_code, reason = "no call looks"))]
pub(crate) fn shortened(name: &str, len: usize) -> usize {
    let mut allowed = len;
    for slot in &TABLE {
        if slot.kind.load(SeqCst) == SHORTEN && slot.matches(name) && slot.chosen(name) {
            allowed = allowed.min(slot.argument.load(SeqCst) as usize);
        }
    }
    allowed
}

fn this_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

pub(crate) fn delay(nanos: u64) {
    let span = rustix::time::Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as _ };
    // An interrupted delay is a shorter delay: nothing depends on its length.
    let _ = rustix::thread::nanosleep(&span);
}

fn kill_self() {
    let me = rustix::process::getpid();
    // A process may always signal itself; an error could not be reported.
    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
}
