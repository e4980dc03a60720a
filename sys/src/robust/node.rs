//! One entry of a thread's list, in the form of libc's robust mutexes.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicUsize, fence};

use super::word::{FUTEX_AT, LockWord, OWNER, half};
use crate::raw;

/// One entry of a thread's list: the futex word has the same distance from `next` as in this libc's mutexes.
#[repr(C, align(8))]
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) word: LockWord,
    /// The kind of the node. A pthread mutex has the owner's id or a count here, and neither has the top bit. musl may
    /// keep its count of waiters here; a number other than 0 makes musl wake a thread.
    pub(crate) kind: AtomicU32,
    /// The maximum number of entries that the list had, including this one. [`RobustList::room`] uses this bound.
    #[cfg(not(all(target_env = "musl", target_pointer_width = "32")))]
    pub(super) depth: AtomicU32,
    /// How many times the thread has taken a reader's share beyond the first.
    #[cfg(not(all(target_env = "musl", target_pointer_width = "32")))]
    pub(crate) deeper: AtomicU32,
    /// The number of a reader's share in its table.
    #[cfg(target_pointer_width = "64")]
    pub(crate) number: AtomicU32,
    /// The previous entry, which 32-bit glibc's lists do not have.
    #[cfg(not(all(not(target_env = "musl"), target_pointer_width = "32")))]
    pub(super) prev: AtomicUsize,
    pub(super) next: AtomicUsize,
    /// The [mark](Self::mark) of the thread that linked the node last, and of the address that the node had for it.
    pub(super) home: AtomicUsize,
    /// The depth: 32-bit musl has no room for it before the links.
    #[cfg(all(target_env = "musl", target_pointer_width = "32"))]
    pub(super) depth: AtomicU32,
    /// As in the other forms.
    #[cfg(all(target_env = "musl", target_pointer_width = "32"))]
    pub(crate) deeper: AtomicU32,
    /// As in the other forms.
    #[cfg(target_pointer_width = "32")]
    pub(crate) number: AtomicU32,
}

/// The distance of the futex word from `next`, as in the head: negative.
pub(super) const FUTEX_OFFSET: isize = FUTEX_AT as isize - core::mem::offset_of!(Node, next) as isize;

const _: () = {
    let expected = match (cfg!(target_env = "musl"), size_of::<usize>()) {
        (false, 8) => -32,
        (false, _) => -20,
        (true, 8) => -28,
        (true, _) => -12,
    };
    assert!(cfg!(loom) || FUTEX_OFFSET == expected, "the node must have the form of this libc's robust mutexes");
};

/// An exclusive holding: a lock, a permit.
pub(crate) const LOCK: u32 = 0x8000_0001;
/// A participant's lease, which is not exclusive: a forked child may start without it.
pub(crate) const LEASE: u32 = 0x8000_0002;

impl Node {
    /// The node's address in the form of the list: that of its `next`.
    #[inline(always)]
    pub(super) fn entry(&self) -> usize {
        (&raw const self.next) as usize
    }

    /// The futex half of the word, for the kernel only: this crate reads and writes only the whole word.
    pub(crate) fn futex(&self) -> &AtomicU32 {
        let half = (&raw const self.word).cast::<u32>().cast_mut().wrapping_add(FUTEX_AT / 4);
        // SAFETY: the half is inside the word and is aligned for u32; nothing is accessed through the reference but
        // by the kernel's own atomic instructions.
        unsafe { AtomicU32::from_ptr(half) }
    }

    /// An aligned number in the last eight bytes, for the kernel only.
    pub(crate) fn end(&self) -> &AtomicU32 {
        let end = core::ptr::from_ref(self).cast::<u32>().cast_mut().wrapping_add(size_of::<Self>() / 4 - 2);
        // SAFETY: the number is inside the node and is aligned for u32, because the node's size is a multiple of 8;
        // nothing is accessed through the reference but by the kernel's own atomic instructions.
        unsafe { AtomicU32::from_ptr(end) }
    }

    /// Whether this node, which is in the calling thread's list, is the same memory as `other`, which has the thread's
    /// number. A value that is written through one is read through the other.
    pub(super) fn is_same_memory(&self, other: &Self) -> bool {
        let depth = self.depth.load(Relaxed);
        let is_seen = |mark| {
            self.depth.store(mark, Relaxed);
            fence(SeqCst);
            other.depth.load(Relaxed) == mark
        };
        let same = is_seen(!depth);
        is_seen(depth) && same
    }

    /// The number in `home` if the owner of the word has linked the node here. Two threads never have the same number
    /// for one address.
    #[inline(always)]
    pub(super) fn mark(&self) -> usize {
        self.mark_of(self.word.futex() & OWNER)
    }

    /// The [mark](Self::mark) of the owner with this number.
    #[inline(always)]
    pub(super) fn mark_of(&self, owner: u32) -> usize {
        core::ptr::from_ref(self).expose_provenance() ^ spread(owner)
    }

    /// The address of the node where the owner of the word has linked it, if `home` is the owner's mark. Any number
    /// otherwise.
    #[inline(always)]
    pub(super) fn linked_at(&self) -> usize {
        self.home.load(Relaxed) ^ spread(self.word.futex() & OWNER)
    }

    /// Whether a thread of this process has the node in its list, through this mapping of it. Called when nobody uses
    /// the mapping any more.
    ///
    /// **Never wrong as a no.** A thread can only link the node here while it uses this mapping, so it has linked the
    /// node before this call. The call sees both stores: the number in the word, and the mark. Until the thread unlinks
    /// the node or dies, neither changes: other threads store them only after they have taken a free word. There are
    /// two exceptions. The owner of a permit that disowns it changes the number before it unlinks the node, in a call
    /// that uses this mapping. A lease whose holder is known to be dead, although the kernel did not report it, loses
    /// the number. So if the answer is no, no entry is here, or the thread has removed the entry through another
    /// mapping. In that case the word's new state comes after all that the thread did here (acquire). The pending entry
    /// of the thread is the node in the other mapping by then.
    ///
    /// **Seldom wrong as a yes.** A thread takes the word first, and stores its mark afterwards. In between `home` is
    /// the mark of an earlier holder, which is not that of this holder. Only a thread that has itself linked the node
    /// last through this mapping, and now takes the word through another mapping, is in doubt for these few
    /// instructions. A number may also be that of a thread whose death was not reported. The mapping is then kept
    /// without need.
    pub(crate) fn is_linked_here(&self) -> bool {
        let owner = half(self.word.acquired()) & OWNER;
        let here = core::ptr::from_ref(self).addr() ^ spread(owner);
        owner != 0 && self.home.load(Relaxed) == here && is_thread_of_ours(owner)
    }
}

/// Spreads the number of a thread over the bits of an address. Different numbers have different results. The marks of
/// two threads at two addresses are rarely equal.
#[inline(always)]
const fn spread(owner: u32) -> usize {
    (owner as usize).wrapping_mul(0x9e37_79b9)
}

/// The node of an entry of the calling thread's list, and its kind, which shows whether the entry is a node of this
/// crate.
pub(super) fn node_at(entry: usize) -> (*const Node, u32) {
    let node = (entry & !1).wrapping_sub(core::mem::offset_of!(Node, next));
    let node = core::ptr::with_exposed_provenance::<Node>(node);
    // SAFETY: an entry of the list is at this offset in a node and in a libc mutex: their first words have equal sizes.
    let kind = unsafe { &raw const (*node).kind };
    // SAFETY: as above: in both it is an aligned u32.
    (node, unsafe { &*kind }.load(Relaxed))
}

/// # Safety
/// `entry` is an entry of the calling thread's list.
pub(super) unsafe fn futex_at<'l>(entry: usize) -> &'l AtomicU32 {
    // SAFETY: the futex word is at this offset in nodes and in libc's mutexes alike, and is only changed
    // atomically.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicU32>(entry.wrapping_add_signed(FUTEX_OFFSET)) }
}

/// # Safety
/// `entry` is an entry of the calling thread's list, or its head.
#[inline(always)]
pub(super) unsafe fn link_at<'l>(entry: usize) -> &'l AtomicUsize {
    // The lowest bit of a link marks priority-inheritance mutexes of libc.
    // SAFETY: the caller promises that a link is there.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>(entry & !1) }
}

/// # Safety
/// `entry` is an entry of the calling thread's list.
#[cfg(not(all(not(target_env = "musl"), target_pointer_width = "32")))]
#[inline(always)]
pub(super) unsafe fn prev_of<'l>(entry: usize) -> &'l AtomicUsize {
    // SAFETY: double lists keep `prev` in the word before `next`.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>((entry & !1) - size_of::<usize>()) }
}

/// `tgkill(getpid(), id, 0)`: whether a thread of this process has that id.
fn is_thread_of_ours(id: u32) -> bool {
    let process = rustix::process::getpid().as_raw_nonzero().get();
    let answer = raw::call_long("tgkill", || {
        // SAFETY: signal 0 is not delivered: the call only looks the thread up.
        unsafe { libc::syscall(libc::SYS_tgkill, process, id as libc::pid_t, 0) }
    });
    // Any other failure than "no such thread" leaves the question open. Yes is then the safe answer.
    answer != Err(crate::errno::Errno::SRCH)
}
