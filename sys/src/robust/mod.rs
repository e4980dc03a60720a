//! The list that the kernel walks when a thread dies, and this crate's entries in it.
//!
//! Every thread has one robust list, and libc owns it: its head is in libc's thread descriptor, and libc registered the
//! address with the kernel. This crate never calls `set_robust_list`, which would disable libc's list. It links its
//! nodes into that list, in the form of libc's robust mutexes. When the thread dies, by SIGKILL too, the kernel walks
//! the list, and handles the one entry that [`RobustList::set_pending`] names. It marks each word that the dead thread
//! still owns.
//!
//! | libc, word size | futex word before `next` | list | proved by |
//! | --- | --- | --- | --- |
//! | glibc, 64 bit | 32 | double | the head's own `futex_offset`, when first used |
//! | glibc, 32 bit | 20 | single: a removal walks it | the same |
//! | musl | 28 or 12 | double | the same, after a robust mutex has made musl register its head |
//! | none, or another form | | | nothing fits: the pthread form of `fallback`, if libc can make such a mutex |
//!
//! The head is found without a system call. It is at a constant distance from the thread pointer, which is determined
//! once by `get_robust_list(2)`. The thread's id is at a known place beside it, checked once against `gettid(2)`.
//! Whether this thread's head is registered is checked at each use, since the kernel's offset is stored in it.
//!
//! **The order of stores** makes the list survive a kill between any two instructions. `set_pending(node)` comes before
//! the word is changed. The pending entry is cleared only after the node is linked (or the word is free again and the
//! wake has been sent). So at every instant the node of an owned word is in the list or pending. The kernel reads all
//! of it from the dying thread itself, in program order, so compiler fences are enough.
//!
//! **What libc does to the list.** glibc leaves a thread's end to the kernel, and reads nothing of an entry but its
//! links, when its own mutexes are linked beside it. A forked child begins with an empty list. musl does more:
//!
//! | musl | reads or writes of an entry | so |
//! | --- | --- | --- |
//! | a thread ends normally | the word becomes `DIED`, without `WAITERS` | see `word` |
//! | then it wakes one thread | by the shared futex if bit 7 of the type before the word is set | see `word`: the bit is always set |
//! | if | the old word had `WAITERS`, or the count after the word is not 0 | the node's kind is at that place, and is never 0 |
//! | a mutex is linked or unlinked | the links, like this crate | |
//! | a process forks | forgets that the list is registered, but leaves its entries in it | the child drops them |
//!
//! **A list that is not registered** (musl, before a thread's first process-shared mutex) may contain private recursive
//! mutexes, which stay. After a fork the list may also contain the parent's mutexes, which
//! [`RobustList::keep_own_entries`] removes. None of this crate's nodes is lost. Before the registration the list has
//! no node; during the registration its one new entry is a mutex on the stack, which is removed again. A thread that is
//! killed in between holds no lock for which others wait.
//!
//! **The kernel's part.** A dying thread whose pending word has no owner wakes one sleeper there. Before Linux 6.2
//! (some stable kernels of January 2023 on have it too) that was so for a word of plain 0 only. On those systems a
//! release may be killed between its store and its wake, or a chosen sleeper beside a free lock. That would leave the
//! others asleep, so there every sleeper wakes every 50 ms and checks the word.
//!
//! Source: get_robust_list(2), and robust-futex-ABI in the kernel's locking documents.

use core::marker::PhantomData;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::compiler_fence;

mod backend;
pub(crate) mod fallback;
mod node;
pub(crate) mod word;

pub use backend::LockBackend;
pub(crate) use backend::{gettid, lock_backend, thread_pointer, wakes_are_passed_on};
pub(crate) use node::{LEASE, LOCK, Node};

use backend::{HEAD, HEAD_WITHOUT_ID, Head, UNKNOWN, find_head, id_place, register_thread};
#[cfg(not(all(not(target_env = "musl"), target_pointer_width = "32")))]
use node::prev_of;
use node::{FUTEX_OFFSET, futex_at, link_at, node_at};

use word::OWNER;

/// The calling thread and its list. A value is made for each operation and never kept.
#[derive(Clone, Copy)]
pub(crate) struct RobustList<'t> {
    head: &'t Head,
    stays: PhantomData<*const ()>,
}

impl RobustList<'_> {
    /// The calling thread, if it is known without a call and its list is empty: the state of nearly every first lock.
    #[inline(always)]
    pub(crate) fn if_empty() -> Option<Self> {
        let here = Self::guess();
        // musl registers a head late, with its first robust mutex; until then this field of it is 0.
        if cfg!(target_env = "musl") && here.head.futex_offset.load(Relaxed) != FUTEX_OFFSET {
            return None;
        }
        (here.head.list.load(Relaxed) == here.end()).then_some(here)
    }

    /// The calling thread, if it is known without a call and `node` is the only entry of its list.
    ///
    /// That also proves that this thread owns the node's word: glibc empties the list of a forked child, and musl
    /// unregisters it.
    #[inline(always)]
    pub(crate) fn if_only(node: &Node) -> Option<Self> {
        let here = Self::guess();
        if cfg!(target_env = "musl") && here.head.futex_offset.load(Relaxed) != FUTEX_OFFSET {
            return None;
        }
        (here.head.list.load(Relaxed) == node.entry() && node.next.load(Relaxed) == here.end()).then_some(here)
    }

    /// The calling thread by the known distance. Before the distance is known, this is another part of the descriptor.
    /// The callers distinguish that part from a head by the list that it would have.
    #[inline(always)]
    fn guess() -> Self {
        let this = thread_pointer();
        let head = this.wrapping_offset(HEAD.load(Relaxed)).cast::<Head>();
        // SAFETY: the address is in this thread's descriptor, which lives as long as the thread; `RobustList` is not
        // kept.
        Self { head: unsafe { &*head }, stays: PhantomData }
    }

    /// The id of the calling thread, for a value from [`if_empty`](Self::if_empty) or [`if_only`](Self::if_only).
    #[inline(always)]
    pub(crate) fn id(self) -> u32 {
        // SAFETY: the id's place was checked when the distance was determined, and it is set before the thread runs.
        unsafe { *id_place(thread_pointer(), self.head) }
    }

    /// The end of the list: the head's own address.
    #[inline(always)]
    fn end(self) -> usize {
        core::ptr::from_ref(self.head) as usize
    }

    /// The calling thread; `None` where [`current`](Self::current) returns `None`.
    #[inline]
    pub(crate) fn here() -> Option<Self> {
        if lock_backend() != LockBackend::Node {
            return None;
        }
        let head = thread_pointer().wrapping_offset(HEAD_WITHOUT_ID.load(Relaxed)).cast::<Head>();
        // SAFETY: the address is in this thread's descriptor, which lives as long as the thread; `RobustList` is not
        // kept.
        let here = Self { head: unsafe { &*head }, stays: PhantomData };
        (here.head.futex_offset.load(Relaxed) == FUTEX_OFFSET || here.register()).then_some(here)
    }

    /// The calling thread and its id; `None` if the backend is not [`LockBackend::Node`], and for a thread whose list
    /// is not registered with the kernel.
    pub(crate) fn current() -> Option<(Self, u32)> {
        let here = Self::here()?;
        let id = if HEAD.load(Relaxed) == UNKNOWN { gettid() } else { here.id() };
        Some((here, id))
    }

    /// Makes musl register the calling thread's list; false if the kernel refused the list.
    #[cold]
    fn register(self) -> bool {
        if cfg!(target_env = "musl") {
            self.keep_own_entries(gettid());
        }
        register_thread();
        if self.head.futex_offset.load(Relaxed) != FUTEX_OFFSET {
            return false;
        }
        // musl ignores the kernel's result.
        let registered = find_head() == Some(core::ptr::from_ref(self.head));
        if !registered {
            self.head.futex_offset.store(0, Relaxed);
        }
        registered
    }

    /// Removes the entries from before a fork from a list that is not registered. Later entries of the thread, for
    /// example a private recursive mutex, are in front of them and hold the thread's own id.
    fn keep_own_entries(self, id: u32) {
        let mut place = &self.head.list;
        for _ in 0..KERNEL_LIMIT {
            let entry = place.load(Relaxed) & !1;
            if entry == self.end() {
                return;
            }
            // SAFETY: an entry of this thread's list, a mutex that is held, whose memory stays (pthreads' rule).
            if unsafe { futex_at(entry) }.load(Relaxed) & OWNER != id {
                return place.store(self.end(), Relaxed);
            }
            // SAFETY: an entry of this thread's list.
            place = unsafe { link_at(entry) };
        }
    }

    /// The node as this thread linked it, if it did: through this mapping, or through another mapping of the same
    /// memory.
    ///
    /// The node in another mapping is found only while the word has this thread's number. So the caller asks before it
    /// changes the word.
    ///
    /// This identifies the owner of a word; the number in the word does not. The kernel gives the number of a dead
    /// thread to another thread, and if the death was not reported, the word still has that number.
    #[inline]
    pub(crate) fn linked(self, node: &Node) -> Option<&Node> {
        if self.head.list.load(Relaxed) == node.entry() {
            return Some(node);
        }
        self.linked_behind(node)
    }

    #[inline(never)]
    fn linked_behind(self, node: &Node) -> Option<&Node> {
        let elsewhere = node.linked_at().wrapping_add(core::mem::offset_of!(Node, next));
        let mut listed = false;
        for entry in self.entries() {
            if entry == node.entry() {
                return Some(node);
            }
            listed |= entry == elsewhere;
        }
        let (home, kind) = if listed { node_at(elsewhere) } else { return None };
        if kind != LOCK && kind != LEASE {
            return None;
        }
        // SAFETY: an entry of this thread's list that is a node of ours, so it is mapped while it is linked.
        let home = unsafe { &*home };
        home.is_same_memory(node).then_some(home)
    }

    /// Sets the pending entry to the node that the next stores change. The kernel looks at the node if the thread dies
    /// before [`clear_pending`](Self::clear_pending).
    #[inline(always)]
    pub(crate) fn set_pending(self, node: &Node) {
        self.head.pending.store(node.entry(), Relaxed);
        compiler_fence(SeqCst);
    }

    /// Sets the pending entry to a word that is always 0. If the thread dies before
    /// [`clear_pending`](Self::clear_pending), the kernel wakes one sleeper there.
    #[inline(always)]
    pub(crate) fn set_pending_word(self, word: &crate::atomic::AtomicU32) {
        let entry = (core::ptr::from_ref(word) as usize).wrapping_add_signed(-FUTEX_OFFSET);
        self.head.pending.store(entry, Relaxed);
        compiler_fence(SeqCst);
    }

    /// Clears the pending entry after the stores that [`set_pending`](Self::set_pending) announced.
    #[inline(always)]
    pub(crate) fn clear_pending(self) {
        compiler_fence(SeqCst);
        self.head.pending.store(0, Relaxed);
    }

    /// A maximum number of entries of the list, known without a walk.
    pub(crate) fn bound(self) -> u32 {
        let first = self.head.list.load(Relaxed);
        if first == self.end() {
            return 0;
        }
        let (node, kind) = node_at(first);
        if kind == LOCK || kind == LEASE {
            // SAFETY: the kind shows that this is a node of ours, which is linked and so still mapped.
            return unsafe { &*node }.depth.load(Relaxed).max(1);
        }
        KERNEL_LIMIT as u32
    }

    /// Whether the list has more than this number of entries.
    pub(crate) fn has_more_than(self, entries: usize) -> bool {
        self.entries().nth(entries).is_some()
    }

    /// The maximum number of entries of the list with one more; `None` when the kernel might not walk that many.
    pub(crate) fn room(self) -> Option<u32> {
        let first = self.head.list.load(Relaxed);
        if first == self.end() {
            return Some(1);
        }
        let (node, kind) = node_at(first);
        if kind == LOCK || kind == LEASE {
            // SAFETY: the kind shows that this is a node of ours, which is linked and so still mapped.
            let depth = unsafe { &*node }.depth.load(Relaxed).max(1).saturating_add(1);
            if depth <= HOLDINGS_MAX {
                return Some(depth);
            }
        }
        // Nodes that were removed since may have made the bound too high, and libc's mutexes have no bound. So count.
        let depth = self.entries().count() as u32 + 1;
        (depth <= HOLDINGS_MAX).then_some(depth)
    }

    /// Links a node whose word this thread owns into an empty list. The node must be pending. `id` is the thread's.
    ///
    /// `depth` is left as it was: any number is a bound of one entry.
    #[inline(always)]
    pub(crate) fn link_alone(self, node: &Node, id: u32) {
        node.home.store(node.mark_of(id), Relaxed);
        node.next.store(self.end(), Relaxed);
        // `prev` is not read while a node is at the front, and is set when another comes before it.
        compiler_fence(SeqCst);
        self.head.list.store(node.entry(), Relaxed);
    }

    /// Removes the only entry from this thread's list. The entry must be pending.
    #[inline(always)]
    pub(crate) fn unlink_alone(self) {
        self.head.list.store(self.end(), Relaxed);
        compiler_fence(SeqCst);
    }

    /// Links a node whose word this thread owns, at the front. The node must be pending.
    pub(crate) fn link(self, node: &Node, depth: u32) {
        let first = self.head.list.load(Relaxed);
        node.depth.store(depth, Relaxed);
        node.home.store(node.mark(), Relaxed);
        node.next.store(first, Relaxed);
        #[cfg(not(all(not(target_env = "musl"), target_pointer_width = "32")))]
        {
            node.prev.store(self.end(), Relaxed);
            if first != self.end() {
                // SAFETY: `first` is an entry of this thread's list.
                unsafe { prev_of(first) }.store(node.entry(), Relaxed);
            }
        }
        compiler_fence(SeqCst);
        self.head.list.store(node.entry(), Relaxed);
    }

    /// Takes a node out of this thread's list. The node must be pending.
    pub(crate) fn unlink(self, node: &Node) {
        let next = node.next.load(Relaxed);
        #[cfg(not(all(not(target_env = "musl"), target_pointer_width = "32")))]
        {
            let front = self.head.list.load(Relaxed) == node.entry();
            let prev = if front { self.end() } else { node.prev.load(Relaxed) };
            // SAFETY: `prev` is an entry of this thread's list, or its head, whose first field has the same meaning.
            unsafe { link_at(prev) }.store(next, Relaxed);
            if next != self.end() {
                // SAFETY: `next` is an entry of this thread's list.
                unsafe { prev_of(next) }.store(prev, Relaxed);
            }
        }
        #[cfg(all(not(target_env = "musl"), target_pointer_width = "32"))]
        {
            let mut place = &self.head.list;
            while place.load(Relaxed) != node.entry() {
                // SAFETY: the list is this thread's own and the node is in it, so each entry before it is mapped.
                place = unsafe { link_at(place.load(Relaxed)) };
            }
            place.store(next, Relaxed);
        }
        compiler_fence(SeqCst);
    }

    /// The addresses of the leases that this thread holds.
    pub(crate) fn leases(self) -> impl Iterator<Item = usize> {
        self.entries().map(node_at).filter(|&(_, kind)| kind == LEASE).map(|(node, _)| node as usize)
    }

    /// The [numbers](Node::number) of the nodes that this thread holds, except leases. A node that is not a reader's
    /// share has the number 0.
    pub(crate) fn numbers(self) -> impl Iterator<Item = u32> {
        self.entries().map(node_at).filter(|&(_, kind)| kind == LOCK).map(|(node, _)| {
            // SAFETY: the kind shows that this is a node of ours, which is linked and so still mapped.
            unsafe { &*node }.number.load(Relaxed)
        })
    }

    /// The entries of this thread's list, up to the number that the kernel walks.
    fn entries(self) -> impl Iterator<Item = usize> {
        let end = self.end();
        let mut entry = self.head.list.load(Relaxed);
        core::iter::from_fn(move || {
            if entry & !1 == end {
                return None;
            }
            let this = entry & !1;
            // SAFETY: an entry of this thread's list stays mapped while it is linked (pthreads' rule, and ours by
            // `Shm`).
            entry = unsafe { link_at(this) }.load(Relaxed);
            Some(this)
        })
        .take(KERNEL_LIMIT)
    }
}

/// The maximum number of entries that the kernel walks (its `ROBUST_LIST_LIMIT`). The kernel skips the entries that
/// were linked first.
const KERNEL_LIMIT: usize = 2048;

/// The maximum number of entries of a thread. The rest is for the robust mutexes of other libraries, which do not check
/// this limit.
pub(crate) const HOLDINGS_MAX: u32 = 1900;

/// Whether the calling thread's list has room for one more entry, for instance a robust mutex of libc. True if the list
/// is not known.
pub(crate) fn has_room() -> bool {
    RobustList::current().is_none_or(|(here, _)| here.room().is_some())
}

/// Whether the calling thread has the mutex or node at that address in its list.
pub(crate) fn lists(address: usize) -> bool {
    let entry = address.wrapping_add(core::mem::offset_of!(Node, next));
    RobustList::current().is_some_and(|(here, _)| here.entries().any(|listed| listed == entry))
}

/// Whether the calling thread holds anything exclusively in shared memory: this crate's locks and permits, or libc's
/// robust mutexes.
pub(crate) fn holds_exclusively() -> bool {
    match RobustList::current() {
        None => fallback::holds_any(),
        Some((here, _)) => here.entries().any(|entry| node_at(entry).1 != LEASE),
    }
}
