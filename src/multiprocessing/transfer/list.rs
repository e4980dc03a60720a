//! The lists of the descriptors of the value that this thread is sending or receiving.
//!
//! Serialising one value may send another, so the lists are stacked; a list is taken off when its value is done, by
//! unwinding too.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::LocalKey;

use ossature_sys::fd::duplicate;
use ossature_sys::shm::is_shared_memory;
use serde::{de, ser};

use super::fd_kind::{Descriptors, FdCounts, FdKind};
use super::trust::Trust;
use crate::error::{Error, ErrorKind, Result};

/// The lists of one value that is being sent: one of each kind.
#[derive(Default)]
struct Out {
    memory: Vec<OwnedFd>,
    ends: Vec<OwnedFd>,
    handles: Vec<OwnedFd>,
    /// Memory that holds several objects of the value, and its place. Kept, so that no other memory takes its address.
    blocks: Vec<(Block, u32)>,
    refusal: Option<Error>,
}

/// Memory that holds many objects of any type.
type Block = Arc<dyn Any + Send + Sync>;

impl Out {
    fn of(&mut self, kind: FdKind) -> &mut Vec<OwnedFd> {
        match kind {
            FdKind::Memory => &mut self.memory,
            FdKind::End => &mut self.ends,
            FdKind::Handle => &mut self.handles,
        }
    }
}

/// The lists of one value that is being received, one after the other.
#[derive(Default)]
struct In {
    descriptors: Vec<Option<OwnedFd>>,
    fd_counts: FdCounts,
    /// Memory that was taken already and holds several objects, with its place.
    blocks: Vec<(u32, Block)>,
    refusal: Option<Error>,
}

/// The marks that are read for each value, beside the list on top. Each mark is a separate cell. A processor that reads
/// all marks at once, just after one of them was written, waits for that store.
#[derive(Clone)]
struct Marks {
    /// Whether a value is being sent or received.
    open: Cell<bool>,
    /// Whether that value is inside another.
    covers: Cell<bool>,
    /// Between two values of one message: nothing is being sent or received.
    paused: Cell<bool>,
    /// Whether a descriptor was put on the list, or refused.
    used: Cell<bool>,
    /// How far the sender of the value is trusted.
    trust: Cell<Trust>,
}

impl Marks {
    const fn closed() -> Self {
        Self {
            open: Cell::new(false),
            covers: Cell::new(false),
            paused: Cell::new(false),
            used: Cell::new(false),
            trust: Cell::new(Trust::Untrusted),
        }
    }

    #[inline]
    fn set(&self, marks: &Self) {
        self.open.set(marks.open.get());
        self.covers.set(marks.covers.get());
        self.paused.set(marks.paused.get());
        self.used.set(marks.used.get());
        self.trust.set(marks.trust.get());
    }
}

/// The lists of this thread: the list of the current value, and those of the values around it. Never dropped, so that
/// values can be sent in a finalizer too, after std has dropped the main thread's thread-local values; an empty stack
/// owns nothing.
struct Stacked<L> {
    /// The list on top, made on demand: most values put nothing there.
    top: RefCell<Option<L>>,
    marks: Marks,
    below: RefCell<Vec<(Option<L>, Marks)>>,
}

type Stack<L> = ManuallyDrop<Stacked<L>>;

impl<L> Stacked<L> {
    const fn new() -> Stack<L> {
        ManuallyDrop::new(Self { top: RefCell::new(None), marks: Marks::closed(), below: RefCell::new(Vec::new()) })
    }

    #[cold]
    fn cover(&self, marks: Marks) {
        self.below.borrow_mut().push((self.top.take(), marks));
    }

    #[cold]
    fn take_off(&self, covers: bool) -> Option<L> {
        if !covers {
            return self.top.take();
        }
        let mut below = self.below.borrow_mut();
        let (uncovered, marks) = below.pop().unwrap_or((None, Marks::closed()));
        if below.is_empty() {
            *below = Vec::new();
        }
        self.marks.set(&marks);
        self.top.replace(uncovered)
    }
}

thread_local! {
    static OUT: Stack<Out> = const { Stacked::new() };
    static IN: Stack<In> = const { Stacked::new() };
}

/// Runs `body` on the list on top, if there is one.
#[inline]
fn on_top<L: Default, R>(stack: &'static LocalKey<Stack<L>>, body: impl FnOnce(&mut L) -> R) -> Option<R> {
    stack.with(|stack| stack.marks.open.get().then(|| body(stack.top.borrow_mut().get_or_insert_default())))
}

#[inline]
fn is_paused<L>(stack: &'static LocalKey<Stack<L>>) -> bool {
    stack.with(|stack| stack.marks.paused.get())
}

#[inline]
fn set_paused<L>(stack: &'static LocalKey<Stack<L>>, paused: bool) {
    stack.with(|stack| stack.marks.paused.set(paused));
}

#[inline]
fn is_used<L>(stack: &'static LocalKey<Stack<L>>) -> bool {
    stack.with(|stack| stack.marks.used.get())
}

#[inline]
fn set_used<L>(stack: &'static LocalKey<Stack<L>>, used: bool) {
    stack.with(|stack| stack.marks.used.set(used));
}

#[inline]
fn push<L>(stack: &'static LocalKey<Stack<L>>, list: Option<L>, trust: Trust) {
    stack.with(|stack| {
        let covers = stack.marks.open.get();
        if covers {
            stack.cover(stack.marks.clone());
        }
        if let Some(list) = list {
            *stack.top.borrow_mut() = Some(list);
        }
        stack.marks.set(&Marks {
            open: Cell::new(true),
            covers: Cell::new(covers),
            trust: Cell::new(trust),
            ..Marks::closed()
        });
    });
}

/// Takes the list on top off the stack and drops it, if it was needed.
#[inline]
fn pop<L>(stack: &'static LocalKey<Stack<L>>) {
    stack.with(|stack| {
        let covers = stack.marks.covers.get();
        stack.marks.set(&Marks::closed());
        if covers || stack.top.borrow().is_some() {
            drop(stack.take_off(covers));
        }
    });
}

/// The guard of the list of a value that is being sent.
pub(super) struct Leaving(());

impl Leaving {
    pub(super) fn begin() -> Self {
        push(&OUT, None, Trust::Untrusted);
        Self(())
    }

    /// Returns the descriptors, or the reason why the value cannot be sent.
    pub(super) fn finish(self) -> Result<Descriptors> {
        self.take()
    }

    /// Takes the descriptors of the value so far, so that the list can serve another value; or returns why the value
    /// cannot be sent.
    #[inline]
    pub(super) fn take(&self) -> Result<Descriptors> {
        self.take_any().map(Option::unwrap_or_default)
    }

    /// Takes the descriptors like [`take`](Self::take); `None` when there are none.
    #[inline]
    pub(super) fn take_any(&self) -> Result<Option<Descriptors>> {
        if !is_used(&OUT) { Ok(None) } else { take_out().map(Some) }
    }

    /// Sets whether the list is paused: no value is being written.
    #[inline]
    pub(super) fn set_paused(&self, paused: bool) {
        set_paused(&OUT, paused);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        pop(&OUT);
    }
}

/// The guard of the list of a value that is being received.
pub(super) struct Arriving(());

impl Arriving {
    /// Makes the guard for a value without descriptors.
    #[inline]
    pub(super) fn alone(trust: Trust) -> Self {
        push(&IN, None, trust);
        Self(())
    }

    pub(super) fn begin(descriptors: Descriptors, trust: Trust) -> Self {
        if descriptors.is_empty() {
            return Self::alone(trust);
        }
        let (descriptors, fd_counts) = descriptors.into_parts();
        let descriptors = descriptors.into_iter().map(Some).collect();
        let list = Some(In { descriptors, fd_counts, ..In::default() });
        push(&IN, list, trust);
        Self(())
    }

    /// Returns why a descriptor was refused, which is more precise than the error of the deserialiser.
    #[inline]
    pub(super) fn finish(self) -> Result<()> {
        self.refused()
    }

    /// Returns the same error as [`finish`](Self::finish), for a list from which more values are read.
    #[inline]
    pub(super) fn refused(&self) -> Result<()> {
        if !is_used(&IN) {
            return Ok(());
        }
        set_used(&IN, false);
        on_top(&IN, |list| list.refusal.take()).flatten().map_or(Ok(()), Err)
    }

    /// Sets whether the list is paused: no value is being read.
    #[inline]
    pub(super) fn set_paused(&self, paused: bool) {
        set_paused(&IN, paused);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        pop(&IN); // and closes what nobody took
    }
}

#[cold]
fn take_out() -> Result<Descriptors> {
    set_used(&OUT, false);
    let Out { memory, ends, handles, refusal, .. } = on_top(&OUT, std::mem::take).unwrap_or_default();
    refusal.map_or_else(|| Ok(Descriptors::of(memory, ends, handles)), Err)
}

/// Puts a copy of a descriptor on the list of its kind for the value that is being sent; returns its place there.
pub(crate) fn put<E: ser::Error>(fd: impl AsFd, kind: FdKind) -> std::result::Result<u32, E> {
    let copy = duplicate(fd);
    let put = |list: &mut Out| match copy {
        Ok(copy) => {
            let list = list.of(kind);
            let place = list.len();
            list.push(copy);
            u32::try_from(place).ok()
        }
        Err(errno) => {
            list.refusal.get_or_insert_with(|| Error::os(errno, "cannot duplicate a descriptor to send it"));
            None
        }
    };
    let list = if is_paused(&OUT) { None } else { on_top(&OUT, put) };
    set_used(&OUT, true);
    match list {
        Some(Some(place)) => Ok(place),
        Some(None) => Err(E::custom("cannot duplicate a descriptor to send it")),
        None => Err(E::custom(
            "open files, connections and shared memory can be serialised only while a value is sent to another process: \
             use Connection::send, a queue or the arguments of a process",
        )),
    }
}

/// Does the same as [`put`] for memory that several objects of the value may share: the first puts a copy, and all get
/// its place.
pub(super) fn put_once<E: ser::Error>(fd: impl AsFd, block: Block) -> std::result::Result<u32, E> {
    let find =
        |list: &mut Out| list.blocks.iter().find(|(known, _)| Arc::ptr_eq(known, &block)).map(|(_, place)| *place);
    let known = if is_paused(&OUT) { None } else { on_top(&OUT, find).flatten() };
    if let Some(place) = known {
        return Ok(place);
    }
    let place = put(fd, FdKind::Memory)?;
    on_top(&OUT, |list| list.blocks.push((block, place)));
    Ok(place)
}

/// Returns the block and its place if [`put_once`] put it on the list of the value that is being sent, and it is of
/// this type and the wanted one.
pub(super) fn put_before<T: Any + Send + Sync>(is_wanted: impl Fn(&T) -> bool) -> Option<(Arc<T>, u32)> {
    let find = |list: &mut Out| {
        let of_type = |(known, place): &(Block, u32)| Some((Arc::clone(known).downcast::<T>().ok()?, *place));
        list.blocks.iter().filter_map(of_type).find(|(known, _)| is_wanted(known))
    };
    if is_paused(&OUT) { None } else { on_top(&OUT, find).flatten() }
}

/// Stores the reason why the value cannot be sent, for the caller of the send; returns the serialiser's error.
pub(crate) fn refuse_to_send<E: ser::Error>(error: Error) -> E {
    let text = error.to_string();
    on_top(&OUT, |list| list.refusal.get_or_insert(error).kind());
    set_used(&OUT, true);
    E::custom(text)
}

/// Does the same as [`refuse_to_send`], for a value that is being received.
pub(crate) fn refuse_to_receive<E: de::Error>(error: Error) -> E {
    let text = error.to_string();
    on_top(&IN, |list| list.refusal.get_or_insert(error).kind());
    set_used(&IN, true);
    E::custom(text)
}

/// Takes a descriptor from the list of its kind for the value that is being received.
///
/// The place is the word of the value's bytes, which any value may have; the kind is that of the list in which the
/// sender's library put it.
pub(crate) fn take<E: de::Error>(place: u32, kind: FdKind) -> std::result::Result<OwnedFd, E> {
    let trust = received_trust();
    let take = |list: &mut In| {
        if kind == FdKind::Memory && trust != Trust::SameProgram {
            return Err(Error::new(
                ErrorKind::NotAllowed,
                "shared memory came from a stranger: it is accepted only from this program's own pipes and from authenticated peers on Unix sockets",
            ));
        }
        let of_kind = list.descriptors.get_mut(list.fd_counts.range(kind));
        let place = usize::try_from(place).ok();
        let found = of_kind.zip(place).and_then(|(of_kind, place)| of_kind.get_mut(place)).and_then(Option::take);
        // A stranger puts what it likes into any list; what safe code shall never write to is looked at itself.
        let found = found.filter(|fd| kind == FdKind::Memory || !is_shared_memory(fd));
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::Decode,
                "a message names a descriptor that did not come with it, or is of another kind",
            )
        })
    };
    let taken = if is_paused(&IN) { None } else { on_top(&IN, take) };
    match taken {
        Some(Ok(fd)) => Ok(fd),
        Some(Err(refusal)) => Err(refuse_to_receive(refusal)),
        None => Err(E::custom("open files, connections and shared memory can be deserialised only from a message")),
    }
}

/// Does the same as [`take`] for memory that several objects of the value may share: the first takes the descriptor and
/// attaches to it, and all get the result.
pub(super) fn take_once<E: de::Error>(
    place: u32,
    attach: impl FnOnce(OwnedFd) -> std::result::Result<Block, E>,
) -> std::result::Result<Block, E> {
    let find = |list: &mut In| list.blocks.iter().find(|(at, _)| *at == place).map(|(_, block)| Arc::clone(block));
    let known = if is_paused(&IN) { None } else { on_top(&IN, find).flatten() };
    if let Some(block) = known {
        return Ok(block);
    }
    let block = attach(take(place, FdKind::Memory)?)?;
    on_top(&IN, |list| list.blocks.push((place, Arc::clone(&block))));
    Ok(block)
}

/// How far the sender of the value that is being received is trusted.
pub(crate) fn received_trust() -> Trust {
    IN.with(|stack| stack.marks.trust.get())
}
