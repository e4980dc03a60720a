//! Sets of processors, and the processors that a thread may use.

use core::ffi::c_ulong;
use core::fmt;

use super::{Pid, number};
use crate::errno::Result;
use crate::raw::sched as raw;

const BITS: usize = c_ulong::BITS as usize;
const WORDS: usize = CpuSet::CAPACITY / BITS;

/// A set of processors, by number.
///
/// Differs from C's `cpu_set_t`, which ends at 1,024: this one holds the 8,192 that Linux can be built for.
///
/// # Examples
/// ```
/// use ossature_sys::sched::{CpuSet, Cpus};
///
/// let mut set = CpuSet::new();
/// assert!(set.is_empty() && set.insert(2) && set.insert(0));
/// assert!(!set.insert(CpuSet::CAPACITY), "no kernel has that many");
/// assert_eq!(set, CpuSet::of([0, 2]));
/// assert!(set.contains(2) && set.len() == 2);
/// let numbers: Cpus<'_> = set.iter();
/// assert!(numbers.eq([0, 2]));
/// set.remove(2);
/// assert!(!set.contains(2));
/// ```
#[doc(alias = "cpu_set_t")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CpuSet([c_ulong; WORDS]);

impl CpuSet {
    /// The number of processors that a set has room for: all processor numbers are below it.
    #[doc(alias = "CPU_SETSIZE")]
    pub const CAPACITY: usize = 8192;

    /// The empty set.
    #[doc(alias = "CPU_ZERO")]
    pub const fn new() -> Self {
        Self([0; WORDS])
    }

    /// The set of `cpus`; numbers at or above [`CAPACITY`](Self::CAPACITY), which no kernel has, are ignored.
    pub fn of(cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut set = Self::new();
        for cpu in cpus {
            set.insert(cpu);
        }
        set
    }

    /// Adds a processor; returns `false` when the number is beyond the capacity.
    #[doc(alias = "CPU_SET")]
    pub fn insert(&mut self, cpu: usize) -> bool {
        self.0.get_mut(cpu / BITS).map(|word| *word |= 1 << (cpu % BITS)).is_some()
    }

    /// Removes a processor.
    #[doc(alias = "CPU_CLR")]
    pub fn remove(&mut self, cpu: usize) {
        if let Some(word) = self.0.get_mut(cpu / BITS) {
            *word &= !(1 << (cpu % BITS));
        }
    }

    /// Whether the processor is in the set.
    #[doc(alias = "CPU_ISSET")]
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.get(cpu / BITS).is_some_and(|word| word >> (cpu % BITS) & 1 == 1)
    }

    /// The number of processors in the set.
    #[doc(alias = "CPU_COUNT")]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no processor is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// The numbers in the set, in order.
    pub fn iter(&self) -> Cpus<'_> {
        Cpus { set: self, next: 0 }
    }
}

impl Default for CpuSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a CpuSet {
    type Item = usize;
    type IntoIter = Cpus<'a>;

    fn into_iter(self) -> Cpus<'a> {
        self.iter()
    }
}

/// The numbers in a [`CpuSet`].
#[derive(Clone, Debug)]
pub struct Cpus<'a> {
    set: &'a CpuSet,
    next: usize,
}

impl Iterator for Cpus<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while let Some(word) = self.set.0.get(self.next / BITS) {
            let rest = word >> (self.next % BITS);
            if rest != 0 {
                let cpu = self.next + rest.trailing_zeros() as usize;
                self.next = cpu + 1;
                return Some(cpu);
            }
            // On to the next word.
            self.next = (self.next / BITS + 1) * BITS;
        }
        None
    }
}

/// `sched_getaffinity(thread, ...)`: the processors that a thread may run on.
///
/// # Errors
/// `ESRCH` when there is no such thread.
#[doc(alias = "sched_getaffinity")]
pub fn affinity(thread: Option<Pid>) -> Result<CpuSet> {
    let mut set = CpuSet::new();
    raw::affinity(number(thread), &mut set.0)?;
    Ok(set)
}

/// `sched_setaffinity(thread, ...)`: binds a thread to processors. A thread that runs on another processor is moved
/// before this returns.
///
/// # Errors
/// `EINVAL` when the set holds no existing, allowed processor, `EPERM` when the thread belongs to another user, `ESRCH`
/// when there is none.
///
/// # Examples
/// ```
/// use ossature_sys::sched::{CpuSet, affinity, set_affinity};
///
/// let allowed = affinity(None)?;
/// let first = allowed.iter().next().expect("a thread runs somewhere");
/// set_affinity(None, &CpuSet::of([first]))?;
/// assert_eq!(affinity(None)?, CpuSet::of([first]));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "sched_setaffinity")]
pub fn set_affinity(thread: Option<Pid>, cpus: &CpuSet) -> Result<()> {
    raw::set_affinity(number(thread), &cpus.0)
}
