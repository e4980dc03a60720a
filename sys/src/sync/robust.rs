//! The list that the kernel walks when a thread dies, and our entries in it.
//!
//! Every thread has one robust list, and libc owns it: its head lies in libc's thread descriptor, and libc told the
//! kernel where. We never call `set_robust_list`, which would disable libc's own; we link our nodes into that list, in
//! the form that libc's robust mutexes have. When the thread dies, by SIGKILL too, the kernel goes through the list, and
//! through the one entry that [`Here::pend`] names, and marks each word that the dead thread still owns.
//!
//! | libc, word size | futex word before `next` | list | proved by |
//! | --- | --- | --- | --- |
//! | glibc, 64 bit | 32 | double | the head's own `futex_offset`, when first used |
//! | glibc, 32 bit | 20 | single: taking out walks it | the same |
//! | musl | 28 or 12 | double | the same, after a robust mutex has made musl register its head |
//! | none, or another form | | | nothing fits: the pthread form of `fallback` serves, where libc makes it |
//!
//! The head is found without a system call: it lies at a constant distance from the thread pointer, learned once from
//! `get_robust_list(2)`; the thread's id lies at a known place beside it, checked once against `gettid(2)`. Whether this
//! thread's head is registered is checked at each use, since the kernel's offset is stored in it.
//!
//! **The order of stores** is what makes it survive a kill between any two instructions. `pend(node)` comes before the
//! word is touched and is cleared only after the node is linked (or the word is free again and whoever had to be woken
//! is awake), so at every instant the node of an owned word is in the list or pending. The kernel reads all of it from
//! the dying thread itself, in program order, so compiler fences are all it takes.
//!
//! **The kernel's part.** A dying thread whose pending word has no owner wakes one sleeper there. Before Linux 6.2 (some
//! stable kernels of January 2023 on have it too) that was so for a word of plain 0 only. On those a release that is killed
//! between its store and its wake, or a chosen sleeper killed beside a free lock, would leave the others asleep, so there
//! everyone sleeps in slices of 50 ms and looks.
//!
//! Source: get_robust_list(2), and robust-futex-ABI in the kernel's locking documents.

use core::marker::PhantomData;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicIsize, AtomicU8, AtomicU32, AtomicUsize, compiler_fence};

use static_assertions::const_assert_eq;

use crate::raw;
use crate::sync::word::{FUTEX_AT, Word};

const GLIBC_32: bool = cfg!(all(not(target_env = "musl"), target_pointer_width = "32"));

/// One entry of a thread's list: the futex word at the distance from `next` that this libc's mutexes have.
#[repr(C, align(8))]
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) word: Word,
    /// What the node is. In a pthread mutex the owner's id or a count stands here, neither of which has the top bit.
    pub(crate) kind: AtomicU32,
    /// How many entries the list had with this one, at most: what [`Here::room`] goes by.
    #[cfg(not(all(target_env = "musl", target_pointer_width = "32")))]
    depth: AtomicU32,
    #[cfg(target_pointer_width = "64")]
    spare: [u32; 2],
    #[cfg(all(not(target_env = "musl"), target_pointer_width = "32"))]
    spare: u32,
    /// 32-bit glibc's lists have none.
    #[cfg(not(all(not(target_env = "musl"), target_pointer_width = "32")))]
    prev: AtomicUsize,
    next: AtomicUsize,
    /// Where the node is in the memory of the process whose thread linked it last.
    home: AtomicUsize,
    /// With 32-bit musl there is no room for it before the links.
    #[cfg(all(target_env = "musl", target_pointer_width = "32"))]
    depth: AtomicU32,
}

/// How far before `next` the futex word lies, as the head says it: negative.
const FUTEX_OFFSET: isize = FUTEX_AT as isize - core::mem::offset_of!(Node, next) as isize;

const _: () = {
    let expected = match (cfg!(target_env = "musl"), size_of::<usize>()) {
        (false, 8) => -32,
        (false, _) => -20,
        (true, 8) => -28,
        (true, _) => -12,
    };
    assert!(FUTEX_OFFSET == expected, "the node must have the form of this libc's robust mutexes");
};

/// An exclusive holding: a lock, a permit.
pub(crate) const LOCK: u32 = 0x8000_0001;
/// A participant's lease, which excludes nobody: a forked child may begin without it.
pub(crate) const LEASE: u32 = 0x8000_0002;

/// `struct robust_list_head` of the kernel, in libc's thread descriptor.
#[repr(C)]
struct Head {
    list: AtomicUsize,
    futex_offset: AtomicIsize,
    pending: AtomicUsize,
}
const_assert_eq!(size_of::<Head>(), 3 * size_of::<usize>());

/// How the shared locks of this process survive a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A node of our own in libc's robust list: any participant may die at any instruction.
    Node,
    /// A pthread robust mutex, because the list's form is not known here: a dead holder is reported, but a waiter that is
    /// killed when it has been chosen and before it takes the lock may leave the others asleep beside it.
    ///
    /// Some emulators (qemu's of user space) keep no robust list, and the C library makes the mutex all the same: nobody hears
    /// of a death there.
    Pthread,
    /// None: the kernel keeps no robust list, and the C library makes no robust mutex (glibc for riscv64 under an emulator).
    /// What has a lock in it cannot be placed in shared memory: the answer is `EOPNOTSUPP`.
    Unsupported,
}

/// The distance from the thread pointer to the head, once learned and if the id beside it was right; [`UNKNOWN`] before.
static HEAD: AtomicIsize = AtomicIsize::new(UNKNOWN);
/// The same distance, even where the id was not: then it is asked from the kernel.
static HEAD_WITHOUT_ID: AtomicIsize = AtomicIsize::new(UNKNOWN);
/// A distance inside every descriptor at which no pointer to itself stands, so that what is found there never looks like
/// the head of an empty list, nor like that of a list with a node of ours: the second word, which is the vector of
/// dynamic modules with glibc and with musl below the thread pointer, and otherwise a link to another descriptor.
const UNKNOWN: isize = size_of::<usize>() as isize;
/// 0 until learned, then a [`Form`] as a number.
static FORM: AtomicU8 = AtomicU8::new(0);
const NODE: u8 = 1;
const PTHREAD: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// The calling thread, as its list sees it. Made anew for each operation and never kept.
#[derive(Clone, Copy)]
pub(crate) struct Here<'t> {
    head: &'t Head,
    stays: PhantomData<*const ()>,
}

impl Here<'_> {
    /// The calling thread, if it is known without asking and its list is empty: the state of nearly every first lock.
    #[inline(always)]
    pub(crate) fn alone() -> Option<Self> {
        let here = Self::guess();
        // musl registers a head late, with its first robust mutex; until then this field of it is 0.
        if cfg!(target_env = "musl") && here.head.futex_offset.load(Relaxed) != FUTEX_OFFSET {
            return None;
        }
        (here.head.list.load(Relaxed) == here.end()).then_some(here)
    }

    /// The calling thread, if it is known without asking and `node` is the one entry of its list.
    ///
    /// That also proves that this thread owns the node's word: glibc empties the list of a forked child, and musl unregisters it.
    #[inline(always)]
    pub(crate) fn holding_only(node: &Node) -> Option<Self> {
        let here = Self::guess();
        if cfg!(target_env = "musl") && here.head.futex_offset.load(Relaxed) != FUTEX_OFFSET {
            return None;
        }
        (here.head.list.load(Relaxed) == node.entry() && node.next.load(Relaxed) == here.end()).then_some(here)
    }

    /// The calling thread by the learned distance. Before that is known it is some other part of the descriptor, which
    /// the callers tell from a head by what its list would be.
    #[inline(always)]
    fn guess() -> Self {
        let this = thread_pointer();
        let head = this.wrapping_offset(HEAD.load(Relaxed)).cast::<Head>();
        // SAFETY: the address lies in this thread's descriptor, which lives as long as the thread; `Here` is not kept.
        Self { head: unsafe { &*head }, stays: PhantomData }
    }

    /// The id of the calling thread, where [`alone`](Self::alone) gave this.
    #[inline(always)]
    pub(crate) fn id(self) -> u32 {
        // SAFETY: the id's place was checked when the distance was learned, and it is set before the thread runs.
        unsafe { *id_place(thread_pointer(), self.head) }
    }

    /// What ends the list: the head's own address.
    #[inline(always)]
    fn end(self) -> usize {
        core::ptr::from_ref(self.head) as usize
    }

    /// The calling thread and its id; `None` where the form is not [`Form::Node`], and for a thread whose list the kernel was never
    /// told of.
    pub(crate) fn now() -> Option<(Self, u32)> {
        if form() != Form::Node {
            return None;
        }
        let head = thread_pointer().wrapping_offset(HEAD_WITHOUT_ID.load(Relaxed)).cast::<Head>();
        // SAFETY: the address lies in this thread's descriptor, which lives as long as the thread; `Here` is not kept.
        let here = Self { head: unsafe { &*head }, stays: PhantomData };
        if here.head.futex_offset.load(Relaxed) != FUTEX_OFFSET {
            // musl leaves the parent's entries in a forked child's list, unregistered: they are not this thread's.
            here.head.list.store(here.end(), Relaxed);
            register_thread();
            if here.head.futex_offset.load(Relaxed) != FUTEX_OFFSET {
                return None;
            }
        }
        let id = if HEAD.load(Relaxed) == UNKNOWN { gettid() } else { here.id() };
        Some((here, id))
    }

    /// Names the node that the coming stores are about. The kernel looks at it if the thread dies before
    /// [`settle`](Self::settle).
    #[inline(always)]
    pub(crate) fn pend(self, node: &Node) {
        self.head.pending.store(node.entry(), Relaxed);
        compiler_fence(SeqCst);
    }

    /// Names a word that is always 0. If the thread dies before [`settle`](Self::settle), the kernel wakes one sleeper there.
    #[inline(always)]
    pub(crate) fn pend_word(self, word: &AtomicU32) {
        let entry = (core::ptr::from_ref(word) as usize).wrapping_add_signed(-FUTEX_OFFSET);
        self.head.pending.store(entry, Relaxed);
        compiler_fence(SeqCst);
    }

    /// The stores that [`pend`](Self::pend) announced are done.
    #[inline(always)]
    pub(crate) fn settle(self) {
        compiler_fence(SeqCst);
        self.head.pending.store(0, Relaxed);
    }

    /// How many entries the list will have, at most, with one more; `None` when that is more than the kernel is sure to
    /// walk.
    pub(crate) fn room(self) -> Option<u32> {
        let first = self.head.list.load(Relaxed);
        if first == self.end() {
            return Some(1);
        }
        let (node, kind) = node_at(first);
        if kind == LOCK || kind == LEASE {
            // SAFETY: the kind says that this is a node of ours, which is linked and so still mapped.
            let depth = unsafe { &*node }.depth.load(Relaxed).max(1) + 1;
            if depth <= HOLDINGS_MAX {
                return Some(depth);
            }
        }
        // Nodes that were taken out since may have made the bound too high, and libc's mutexes carry none: count.
        let depth = self.entries().count() as u32 + 1;
        (depth <= HOLDINGS_MAX).then_some(depth)
    }

    /// Links a node whose word this thread owns into an empty list. It is pending.
    ///
    /// `depth` is left as it was: any number is a bound of one entry.
    #[inline(always)]
    pub(crate) fn link_alone(self, node: &Node) {
        node.home.store(core::ptr::from_ref(node).expose_provenance(), Relaxed);
        node.next.store(self.end(), Relaxed);
        // `prev` is not looked at while a node is at the front, and is set when another comes before it.
        compiler_fence(SeqCst);
        self.head.list.store(node.entry(), Relaxed);
    }

    /// Takes the one entry out of this thread's list. It is pending.
    #[inline(always)]
    pub(crate) fn unlink_alone(self) {
        self.head.list.store(self.end(), Relaxed);
        compiler_fence(SeqCst);
    }

    /// Links a node whose word this thread owns, at the front. It is pending.
    pub(crate) fn link(self, node: &Node, depth: u32) {
        let first = self.head.list.load(Relaxed);
        node.depth.store(depth, Relaxed);
        node.home.store(core::ptr::from_ref(node).expose_provenance(), Relaxed);
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

    /// Takes a node out of this thread's list. It is pending.
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

    /// The entries of this thread's list, as far as the kernel would go.
    fn entries(self) -> impl Iterator<Item = usize> {
        let end = self.end();
        let mut entry = self.head.list.load(Relaxed);
        core::iter::from_fn(move || {
            if entry & !1 == end {
                return None;
            }
            let this = entry & !1;
            // SAFETY: an entry of this thread's list stays mapped while it is linked (pthreads' rule, and ours by `Shm`).
            entry = unsafe { link_at(this) }.load(Relaxed);
            Some(this)
        })
        .take(KERNEL_LIMIT)
    }
}

/// How many entries the kernel walks (its `ROBUST_LIST_LIMIT`). It forgets those that were linked first.
const KERNEL_LIMIT: usize = 2048;

/// How many entries a thread may have: some room is left for libc's own robust mutexes.
pub(crate) const HOLDINGS_MAX: u32 = 1900;

impl Node {
    /// The node's address as lists have it: that of its `next`.
    #[inline(always)]
    fn entry(&self) -> usize {
        (&raw const self.next) as usize
    }

    /// The futex half of the word, for the kernel alone: this crate reads and writes the whole word only.
    pub(crate) fn futex(&self) -> &AtomicU32 {
        let half = (&raw const self.word).cast::<u32>().cast_mut().wrapping_add(FUTEX_AT / 4);
        // SAFETY: the half lies inside the word and is aligned for u32; nothing is accessed through the reference but by
        // the kernel's own atomic instructions.
        unsafe { AtomicU32::from_ptr(half) }
    }

    /// The node as the calling thread linked it: through another mapping of the same memory, perhaps. The thread owns the word.
    pub(crate) fn as_linked(&self) -> &Self {
        let home = core::ptr::with_exposed_provenance::<Self>(self.home.load(Relaxed));
        // SAFETY: only the owner of the word stores `home`, when it links the node, and this thread is the owner; a mapping in
        // which a node is linked is never unmapped.
        unsafe { &*home }
    }

    /// Whether a thread of this process has the node in its list, through this very mapping of it.
    pub(crate) fn is_linked_here(&self) -> bool {
        let owner = self.word.futex() & crate::sync::word::OWNER;
        owner != 0 && self.home.load(Relaxed) == core::ptr::from_ref(self) as usize && is_thread_of_ours(owner)
    }
}

/// Whether the calling thread holds anything exclusively in shared memory: our locks and permits, or libc's robust mutexes.
pub(crate) fn holds_exclusively() -> bool {
    match Here::now() {
        None => crate::sync::fallback::holds_any(),
        Some((here, _)) => here.entries().any(|entry| node_at(entry).1 != LEASE),
    }
}

/// The node of an entry of the calling thread's list, if it is one of ours, and its kind, which tells.
fn node_at(entry: usize) -> (*const Node, u32) {
    let node = (entry & !1).wrapping_sub(core::mem::offset_of!(Node, next));
    let node = core::ptr::with_exposed_provenance::<Node>(node);
    // SAFETY: an entry of the list lies at this place of either a node or a libc mutex, whose first words are as long.
    let kind = unsafe { &raw const (*node).kind };
    // SAFETY: as above: in both it is an aligned u32.
    (node, unsafe { &*kind }.load(Relaxed))
}

/// # Safety
/// `entry` is an entry of the calling thread's list, or its head.
#[inline(always)]
unsafe fn link_at<'l>(entry: usize) -> &'l AtomicUsize {
    // The lowest bit of a link marks priority-inheritance mutexes of libc.
    // SAFETY: the caller says that a link lies there.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>(entry & !1) }
}

/// # Safety
/// `entry` is an entry of the calling thread's list.
#[cfg(not(all(not(target_env = "musl"), target_pointer_width = "32")))]
#[inline(always)]
unsafe fn prev_of<'l>(entry: usize) -> &'l AtomicUsize {
    // SAFETY: double lists keep `prev` in the word before `next`.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>((entry & !1) - size_of::<usize>()) }
}

/// An address at a constant distance from the thread's descriptor.
#[inline(always)]
pub(crate) fn thread_pointer() -> *const u8 {
    #[cfg(target_arch = "x86_64")]
    {
        let this: *const u8;
        // SAFETY: the System V ABI for x86-64 has the thread pointer stand at %fs:0.
        unsafe {
            core::arch::asm!("mov {}, fs:[0]", out(reg) this, options(nostack, preserves_flags, readonly, pure));
        }
        this
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // SAFETY: pthread_self(3) has no preconditions. In glibc and musl its value is the descriptor's address.
        let this = unsafe { libc::pthread_self() };
        this as usize as *const u8
    }
}

/// Where libc keeps the thread's id: 16 or 8 bytes before glibc's head, after the fixed beginning of musl's descriptor.
#[inline(always)]
fn id_place(this: *const u8, head: &Head) -> *const u32 {
    let _ = (this, head);
    #[cfg(not(target_env = "musl"))]
    return (core::ptr::from_ref(head).cast::<u8>().wrapping_sub(if GLIBC_32 { 8 } else { 16 })).cast();
    #[cfg(target_env = "musl")]
    {
        // self, (dtv,) prev, next, sysinfo, (canary,) id: the two in brackets stand elsewhere where the descriptor lies
        // below the thread pointer.
        let words = if cfg!(any(target_arch = "x86_64", target_arch = "x86", target_arch = "s390x")) { 6 } else { 4 };
        this.wrapping_add(words * size_of::<usize>()).cast()
    }
}

/// The form of this process, learned at the first call.
pub(crate) fn form() -> Form {
    // Acquire: who sees the form sees the distance that was stored before it.
    match FORM.load(Acquire) {
        NODE => Form::Node,
        PTHREAD => Form::Pthread,
        UNSUPPORTED => Form::Unsupported,
        _ => learn(),
    }
}

#[cold]
fn learn() -> Form {
    let found = find_head().or_else(|| {
        register_thread();
        find_head()
    });
    let (number, form) = match found {
        // SAFETY: the kernel answered with the head that libc registered for this thread: it is in the descriptor.
        Some(head) if unsafe { &*head }.futex_offset.load(Relaxed) == FUTEX_OFFSET => {
            let this = thread_pointer();
            let distance = (head as isize).wrapping_sub(this as isize);
            HEAD_WITHOUT_ID.store(distance, Relaxed);
            // SAFETY: as above.
            let place = id_place(this, unsafe { &*head });
            // SAFETY: the place lies inside the descriptor, between its beginning and its head, in every version of this
            // libc, and is readable whatever it means.
            if unsafe { *place } == gettid() {
                HEAD.store(distance, Relaxed);
            }
            (NODE, Form::Node)
        }
        _ if crate::sync::fallback::can_be_made() => (PTHREAD, Form::Pthread),
        _ => (UNSUPPORTED, Form::Unsupported),
    };
    PASSES_ON.store(kernel_passes_wakes_on(), Relaxed);
    FORM.store(number, Release);
    form
}

/// `get_robust_list(0, &head, &len)`.
fn find_head() -> Option<*const Head> {
    let mut head: *const Head = core::ptr::null();
    let mut len = 0_usize;
    raw::call_long("get_robust_list", || {
        // SAFETY: pid 0 is the calling thread; both pointers are valid for the writes that the call makes.
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) }
    })
    .ok()?;
    (!head.is_null() && len == size_of::<Head>()).then_some(head)
}

/// Whether a thread that dies with a pending word of waiters but no owner wakes one of them; false until it is known.
static PASSES_ON: AtomicBool = AtomicBool::new(false);

/// Whether the kernel passes a wake on for a word that has waiters but no owner. Where it does not, sleeps are sliced.
pub(crate) fn wakes_are_passed_on() -> bool {
    PASSES_ON.load(Relaxed)
}

/// By the kernel's version: 6.2 has it. Older kernels that were given it too are taken for those that were not, which costs
/// a sleeper a look now and then.
fn kernel_passes_wakes_on() -> bool {
    let Ok(system) = raw::call("uname", || Ok(rustix::system::uname())) else { return false };
    let mut numbers = system.release().to_bytes().split(|byte| !byte.is_ascii_digit());
    let mut next = || {
        let digits = numbers.next().unwrap_or_default();
        digits.iter().fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    };
    (next(), next()) >= (6, 2)
}

/// Makes musl register the calling thread's head, which it does when the thread first takes a robust mutex.
fn register_thread() {
    crate::sync::fallback::take_one_robust_mutex();
}

/// `gettid()`.
pub(crate) fn gettid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// `tgkill(getpid(), id, 0)`: whether a thread of this process has that id.
fn is_thread_of_ours(id: u32) -> bool {
    let process = rustix::process::getpid().as_raw_nonzero().get();
    let answer = raw::call_long("tgkill", || {
        // SAFETY: signal 0 is delivered to nobody: the call only looks the thread up.
        unsafe { libc::syscall(libc::SYS_tgkill, process, id as libc::pid_t, 0) }
    });
    // Any other failure than "no such thread" leaves the question open, and a yes is the careful answer.
    answer != Err(crate::errno::Errno::SRCH)
}
