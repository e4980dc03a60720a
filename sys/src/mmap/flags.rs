//! The kind of memory of a mapping: those flags of mmap(2) that leave other mappings alone.

use bitflags::bitflags;

use super::page::page_size;
use crate::errno::{Errno, Result};

/// The bit position at which the kernel expects the binary logarithm of the size of huge pages.
const HUGE_SHIFT: u32 = 26;

/// The maximum of this logarithm.
const HUGE_MASK: u32 = 0x3f;

bitflags! {
    /// The kind of a mapping. `MAP_FIXED` and similar flags have no name here, because they replace existing mappings.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::Flags;
    ///
    /// assert_eq!((Flags::SHARED | Flags::ANONYMOUS).bits(), 0x21);
    /// assert!(Flags::huge(2 << 20).is_some_and(|flags| flags.contains(Flags::HUGETLB)));
    /// assert_eq!(Flags::huge(3000), None, "not a power of two");
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Flags: u32 {
        /// Writes reach the file, and the other processes that map the memory.
        #[doc(alias = "MAP_SHARED")]
        const SHARED = libc::MAP_SHARED as u32;
        /// Writes stay in this process.
        #[doc(alias = "MAP_PRIVATE")]
        const PRIVATE = libc::MAP_PRIVATE as u32;
        /// There is no file.
        #[doc(alias = "MAP_ANONYMOUS")]
        #[doc(alias = "MAP_ANON")]
        const ANONYMOUS = libc::MAP_ANONYMOUS as u32;
        /// Linux ignores it.
        #[doc(alias = "MAP_DENYWRITE")]
        const DENYWRITE = libc::MAP_DENYWRITE as u32;
        /// Linux ignores it.
        #[doc(alias = "MAP_EXECUTABLE")]
        const EXECUTABLE = libc::MAP_EXECUTABLE as u32;
        /// All pages are mapped at once, as far as there is memory. For a file that is read once, this costs more than
        /// the faults that it saves.
        #[doc(alias = "MAP_POPULATE")]
        const POPULATE = libc::MAP_POPULATE as u32;
        /// Suitable for a stack: without huge pages.
        #[doc(alias = "MAP_STACK")]
        const STACK = libc::MAP_STACK as u32;
        /// No memory is reserved in advance. When memory runs out at a write, the kernel ends a process.
        #[doc(alias = "MAP_NORESERVE")]
        const NORESERVE = libc::MAP_NORESERVE as u32;
        /// At an address below 2 GiB: on x86 only.
        #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
        #[doc(alias = "MAP_32BIT")]
        const LOW_32_BITS = 0x40;
        /// Huge pages that the administrator has reserved; [`Flags::huge`] adds their size. Parent and child need
        /// private huge pages twice. So a forked child that uses them may end by SIGBUS when none are left.
        #[doc(alias = "MAP_HUGETLB")]
        const HUGETLB = libc::MAP_HUGETLB as u32;
        const _ = !0;
    }
}

impl Flags {
    /// `MAP_HUGETLB` with a page size in bytes, like `MAP_HUGE_2MB`; `None` if there are no pages of that size.
    #[doc(alias = "MAP_HUGE_2MB")]
    #[doc(alias = "MAP_HUGE_1GB")]
    pub const fn huge(page: usize) -> Option<Self> {
        if !page.is_power_of_two() || page.ilog2() == 0 || page.ilog2() > HUGE_MASK {
            return None;
        }
        Some(Self::from_bits_retain(Self::HUGETLB.bits() | page.ilog2() << HUGE_SHIFT))
    }

    /// The flags that have a name here, without the size of huge pages.
    const fn named() -> u32 {
        #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
        let low = Self::LOW_32_BITS.bits();
        #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
        let low = 0;
        let kinds = Self::SHARED.bits() | Self::PRIVATE.bits() | Self::ANONYMOUS.bits() | Self::HUGETLB.bits();
        let ignored = Self::DENYWRITE.bits() | Self::EXECUTABLE.bits();
        kinds | ignored | low | Self::POPULATE.bits() | Self::STACK.bits() | Self::NORESERVE.bits()
    }

    /// The size of the pages of a mapping without a file that has these flags.
    pub(super) fn page(self) -> Result<usize> {
        let (sharing, size) = (self & (Self::SHARED | Self::PRIVATE), self.bits() >> HUGE_SHIFT);
        let strange = self.bits() & !(HUGE_MASK << HUGE_SHIFT) & !Self::named();
        if strange != 0 || ![Self::SHARED, Self::PRIVATE].contains(&sharing) {
            return Err(Errno::INVAL);
        }
        match (self.contains(Self::HUGETLB), size) {
            (false, 0) => Ok(page_size()),
            // Without a reservation the page that is missing ends in SIGBUS.
            (true, 1..) if !self.contains(Self::NORESERVE) => 1_usize.checked_shl(size).ok_or(Errno::INVAL),
            _ => Err(Errno::INVAL),
        }
    }
}
