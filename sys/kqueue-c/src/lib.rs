//! kqueue(2) and kevent(2) for C: a table from descriptors to the queues of `ossature_sys`, and the reading of C's
//! lists.
//!
//! A program closes a queue by close(2), which nobody tells this library. The queue behind the number is dropped when
//! the number is free at the next call of kqueue(2), or given to a queue.
//!
//! The table has a node for each number, whose word counts who uses the queue in it: 1 for the table, and 1 for each
//! call that is inside. Who leaves last drops the queue, and then the word is 0 (`DROPPING` meanwhile, which nobody
//! enters); whoever makes the next queue with this number writes it and sets 1. Orderings: a user takes `Acquire`, a
//! maker publishes `Release`, and a user that leaves does both, so the drop comes after every use. A forked child
//! enters no node that its parent filled: the parent's calls stay counted there, and their threads are gone.
#![no_std]

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::*};
use core::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{AsRawFd, IntoRawFd};
use ossature_sys::kqueue::{Flags, Kevent, Kqueue};
use ossature_sys::{deadline::Deadline, eventfd::EventFd, mmap::Region, process::generation};

struct Node {
    users: AtomicU32,
    /// The process generation in which the queue was made.
    generation: AtomicU32,
    queue: UnsafeCell<Option<Kqueue>>,
}

/// The word of a node whose queue is being dropped.
const DROPPING: u32 = u32::MAX;

/// Nodes to a chunk, and chunks: four times the kernel's own limit of descriptors.
const NODES: usize = 1 << 10;
const CHUNKS: usize = 1 << 12;
static TABLE: [AtomicPtr<Node>; CHUNKS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS];

/// The node of a descriptor's number; `make` maps its chunk.
fn node(number: usize, make: bool) -> Result<&'static Node> {
    let chunk = TABLE.get(number / NODES).ok_or(if make { Errno::MFILE } else { Errno::BADF })?;
    let mut first = chunk.load(Acquire);
    if first.is_null() {
        if !make {
            return Err(Errno::BADF);
        }
        let nodes = Region::private(NODES * size_of::<Node>())?;
        let theirs = chunk.compare_exchange(first, nodes.as_ptr().as_ptr().cast(), AcqRel, Acquire).err();
        first = theirs.unwrap_or_else(|| nodes.leak().as_ptr().cast());
    }
    // SAFETY: a chunk has `NODES` nodes and is never unmapped.
    let node = unsafe { first.add(number % NODES) };
    // SAFETY: zeroed memory is a node: nobody looks at its queue while its word is 0.
    Ok(unsafe { &*node })
}

impl Node {
    fn enter(&'static self) -> Result<User> {
        let is_own = self.generation.load(Acquire) == generation();
        let more = |users: u32| (is_own && users != 0 && users != DROPPING).then(|| users + 1);
        self.users.fetch_update(Acquire, Relaxed, more).map(|_| User(self)).map_err(|_| Errno::BADF)
    }
}

/// One use of a queue.
struct User(&'static Node);

impl Drop for User {
    fn drop(&mut self) {
        let less = |users: u32| Some(if users == 1 { DROPPING } else { users - 1 });
        if self.0.users.fetch_update(AcqRel, Relaxed, less) == Ok(1) {
            // SAFETY: this was the last use, and nobody enters or makes a queue at a node that is being emptied.
            unsafe { *self.0.queue.get() = None };
            self.0.users.store(0, Release);
        }
    }
}

impl User {
    fn queue(&self) -> Result<&Kqueue> {
        // SAFETY: the node counts this user, so the queue stays, and its methods take `&self`.
        unsafe { &*self.0.queue.get() }.as_ref().ok_or(Errno::BADF)
    }
}

/// The node of a free number, without the queue that it may have had: that was closed by close(2).
fn emptied(number: c_int) -> Result<&'static Node> {
    let node = node(number as usize, true)?; // a descriptor is not negative
    let is_own = node.generation.load(Acquire) == generation();
    if is_own && ![0, DROPPING].contains(&node.users.load(Acquire)) {
        drop(User(node)); // the table's own use
    }
    (!is_own || node.users.load(Acquire) == 0).then_some(node).ok_or(Errno::BUSY) // a thread still waits in it
}

fn make() -> Result<c_int> {
    // The lowest free number. Whether a queue has left it or not, the next one is made.
    let _ = emptied(EventFd::counter(0)?.as_raw_fd());
    let queue = Kqueue::new()?;
    let node = emptied(queue.descriptor()?.as_raw_fd())?;
    let descriptor = queue.give_descriptor()?;
    // SAFETY: the word is 0 or the parent's, and the kernel gave the number to this thread alone. The old value was
    // dropped, or is zeroed, or the parent's, of which this child may have closed everything.
    unsafe { node.queue.get().write(Some(queue)) };
    node.users.store(1, Release);
    node.generation.store(generation(), Release);
    Ok(descriptor.into_raw_fd())
}

/// # Safety
/// The lists are those of kevent(2).
unsafe fn control(
    number: c_int,
    (changes, given): (*const Kevent, c_int),
    (events, room): (*mut MaybeUninit<Kevent>, c_int),
    timeout: *const libc::timespec,
) -> Result<c_int> {
    let user = node(usize::try_from(number).map_err(|_| Errno::BADF)?, false)?.enter()?;
    let queue = user.queue()?;
    // SAFETY: the caller's timeout is null or can be read.
    let deadline = match unsafe { timeout.as_ref() } {
        None => Deadline::NEVER,
        Some(time) => {
            let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::INVAL)?;
            let nanos = u32::try_from(time.tv_nsec).ok().filter(|&nanos| nanos < 1_000_000_000).ok_or(Errno::INVAL)?;
            Deadline::after(Duration::new(seconds, nanos))
        }
    };
    let (given, room) = (given.max(0) as usize, room.max(0) as usize);
    let (given, room) = (if changes.is_null() { 0 } else { given }, if events.is_null() { 0 } else { room });
    let mut answers = 0;
    for n in 0..given {
        // SAFETY: within the caller's list. Both lists may be one array: there are never more answers than changes were
        // read.
        let change = unsafe { changes.add(n).read() };
        let errno = match queue.change_and_mask(&change) {
            Ok(()) if !change.flags().contains(Flags::RECEIPT) => continue,
            Ok(()) => 0,
            Err(errno) if answers == room => return Err(errno),
            Err(errno) => errno.raw_os_error(),
        };
        if answers < room {
            let answer = change.with_flags(Flags::ERROR).with_data(i64::from(errno));
            // SAFETY: within the caller's room.
            unsafe { events.add(answers).write(MaybeUninit::new(answer)) };
            answers += 1;
        }
    }
    if answers > 0 || room == 0 {
        return Ok(answers as c_int);
    }
    // SAFETY: the caller's room; the changes were read before.
    let events = unsafe { core::slice::from_raw_parts_mut(events, room) };
    queue.wait(events, deadline).map(|found| found.len() as c_int)
}

fn to_c(answer: Result<c_int>) -> c_int {
    answer.unwrap_or_else(|errno| {
        // SAFETY: the place of errno is the calling thread's own.
        unsafe { *libc::__errno_location() = errno.raw_os_error() };
        -1
    })
}

/// kqueue(2). The descriptor is closed on exec.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue() -> c_int {
    to_c(make())
}

/// kqueue1(2) of NetBSD.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue1(flags: c_int) -> c_int {
    to_c(if flags & !(libc::O_CLOEXEC | libc::O_NONBLOCK) == 0 { make() } else { Err(Errno::INVAL) })
}

/// kevent(2).
///
/// # Safety
/// The lists have as many records as the counts say; either list may be null, and both may be one array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent(
    kq: c_int,
    changelist: *const Kevent,
    nchanges: c_int,
    eventlist: *mut MaybeUninit<Kevent>,
    nevents: c_int,
    timeout: *const libc::timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    to_c(unsafe { control(kq, (changelist, nchanges), (eventlist, nevents), timeout) })
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort(3) has no preconditions.
    unsafe { libc::abort() }
}
