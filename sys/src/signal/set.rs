//! Sets of signals.

use core::mem::MaybeUninit;

use rustix::process::Signal;

use super::number::numbered;

/// A set of signals, as one word. Functions with a parameter for a set also accept one signal or an array of signals.
///
/// ```
/// use ossature_sys::signal::{Signal, SignalSet};
///
/// let set = SignalSet::from([Signal::INT, Signal::TERM]);
/// assert!(set.contains(Signal::INT) && !set.contains(Signal::HUP));
/// assert_eq!(set.iter().count(), 2);
/// assert!(SignalSet::FULL.without(Signal::INT).contains(Signal::TERM));
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::signal::{Signal, SignalSet, Signals};
///
/// let ends = SignalSet::EMPTY.with(Signal::INT).union(SignalSet::from(Signal::TERM));
/// assert!(!ends.is_empty() && ends.without(Signal::INT).without(Signal::TERM).is_empty());
/// let members: Signals = ends.iter();
/// assert_eq!(members.collect::<SignalSet>(), ends);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[doc(alias = "sigset_t")]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    #[doc(alias = "sigemptyset")]
    pub const EMPTY: Self = Self(0);
    /// Every signal. Signals that are reserved for libc are skipped wherever the set is used.
    #[doc(alias = "sigfillset")]
    pub const FULL: Self = Self(!0);

    /// This set with `signal` added.
    #[doc(alias = "sigaddset")]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | bit(signal.as_raw()))
    }

    /// This set with `signal` removed.
    #[doc(alias = "sigdelset")]
    pub const fn without(self, signal: Signal) -> Self {
        Self(self.0 & !bit(signal.as_raw()))
    }

    /// Whether `signal` is in the set.
    #[doc(alias = "sigismember")]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & bit(signal.as_raw()) != 0
    }

    /// Whether no signal is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals that are in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The signals of the set in ascending order, without those that are reserved for libc.
    pub fn iter(self) -> Signals {
        Signals(self.0)
    }

    /// The same set in libc's form.
    pub(crate) fn to_c(self) -> libc::sigset_t {
        let mut set = MaybeUninit::zeroed();
        // SAFETY: the pointer is valid for a write of a sigset_t.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: sigset_t is plain integers, all of them zeroed and then set up by sigemptyset.
        let mut set = unsafe { set.assume_init() };
        for signal in self.iter() {
            // SAFETY: the set is initialised; a number that libc refuses leaves it as it was.
            unsafe { libc::sigaddset(&mut set, signal.as_raw()) };
        }
        set
    }

    pub(super) fn from_c(set: &libc::sigset_t) -> Self {
        let mut word = 0;
        for number in 1..=i64::BITS as i32 {
            // SAFETY: the set is initialised; a number that libc refuses returns -1.
            if unsafe { libc::sigismember(set, number) } == 1 {
                word |= bit(number);
            }
        }
        Self(word)
    }
}

/// The bit of a signal: signal 1 is bit 0. A number beyond 64 (there is none on the targets of this crate) has no bit.
const fn bit(number: i32) -> u64 {
    match number {
        1..=64 => 1 << (number - 1),
        _ => 0,
    }
}

/// The signals of a [`SignalSet`], in ascending order.
#[derive(Clone, Debug)]
pub struct Signals(u64);

impl Iterator for Signals {
    type Item = Signal;

    fn next(&mut self) -> Option<Signal> {
        while self.0 != 0 {
            let number = self.0.trailing_zeros() as i32 + 1;
            self.0 &= self.0 - 1;
            if let Some(signal) = numbered(number) {
                return Some(signal);
            }
        }
        None
    }
}

impl From<Signal> for SignalSet {
    fn from(signal: Signal) -> Self {
        Self::EMPTY.with(signal)
    }
}

impl<const N: usize> From<[Signal; N]> for SignalSet {
    fn from(signals: [Signal; N]) -> Self {
        signals.into_iter().collect()
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl IntoIterator for SignalSet {
    type Item = Signal;
    type IntoIter = Signals;

    fn into_iter(self) -> Signals {
        self.iter()
    }
}

impl core::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
