//! Python's poll object: the answers of poll(2) at the cost of epoll.

use std::fmt;
use std::mem::{MaybeUninit, take};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AboveStandard, is_character_device};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::generation;

use crate::error::{Error, ErrorKind, Result};

/// A set of objects to wait for, with the exact answers of poll(2) in order of registration.
///
/// It uses an epoll set of the kernel, made at the first registration. So the cost of a call depends on how many
/// descriptors are ready and not on how many there are, and a call allocates nothing. Some descriptors are checked by
/// ppoll in the same call, at the cost of poll(2): plain files, which epoll refuses, and descriptors for which epoll
/// reports less than poll(2). The latter are terminals and other devices, whose drivers do not announce every change,
/// and events with `RDNORM` but not `IN`, or `WRNORM` but not `OUT`.
///
/// An event costs three times as much from epoll as from ppoll. So a set of 128 descriptors or more takes a few events
/// first. If there are more, and the last time most of the set was ready, ppoll answers for all descriptors.
///
/// A set **owns** what is registered, as a [selector](crate::select::selectors) does. An object is anything `AsFd`: a
/// `&socket`, a `BorrowedFd`, an `Arc` of a socket or the socket itself. [`unregister`](Self::unregister) gives the
/// object back. So none can be closed while in it. With borrowed objects the compiler refuses the program that would
/// have seen `POLLNVAL`:
///
/// ```compile_fail,E0505
/// use ossature::select::{Poll, PollFlags};
/// let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
/// let mut poll = Poll::new();
/// poll.register(&reader, PollFlags::IN);
/// drop(reader);
/// poll.poll(None).unwrap();
/// ```
///
/// A descriptor that unsafe code had closed before it was registered still answers [`PollFlags::NVAL`]. A descriptor
/// that it closes afterwards breaks the promise of `BorrowedFd` and is silent. Calling `poll` takes `&mut self`: two at
/// once, an error in Python, do not compile.
///
/// A forked child continues with a set of its own: registrations in one process do not affect the other.
///
/// # Examples
/// ```
/// use ossature::select::{Poll, PollFlags};
/// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
///
/// let (reader, mut writer) = UnixStream::pair().unwrap();
/// let mut poll = Poll::new();
/// poll.register(&reader, PollFlags::IN);
/// assert_eq!(poll.poll(Duration::ZERO).unwrap().count(), 0);
/// writer.write_all(b"x").unwrap();
/// for (ready, flags) in poll.poll(Duration::from_secs(1)).unwrap() {
///     assert!(std::ptr::eq(*ready, &reader) && flags == PollFlags::IN);
/// }
/// ```
///
/// In a struct beside what it watches, the set has `Arc`s:
///
/// ```
/// use std::{io::Read, os::unix::net::UnixStream, sync::Arc, time::Duration};
/// use ossature::select::{Poll, PollFlags};
///
/// #[derive(Default)]
/// struct Room {
///     guests: Vec<Arc<UnixStream>>,
///     poll: Poll<Arc<UnixStream>>,
/// }
///
/// impl Room {
///     fn enter(&mut self, guest: UnixStream) {
///         let guest = Arc::new(guest);
///         self.poll.register(guest.clone(), PollFlags::IN);
///         self.guests.push(guest);
///     }
///
///     /// Removes the guests that have sent something, or have disconnected.
///     fn part(&mut self, timeout: Duration) -> ossature::Result<usize> {
///         let gone: Vec<_> = self.poll.poll(timeout)?.map(|(guest, _)| guest.clone()).collect();
///         for guest in &gone {
///             self.poll.unregister(guest)?;
///             self.guests.retain(|other| !Arc::ptr_eq(other, guest));
///         }
///         Ok(gone.len())
///     }
/// }
///
/// let mut room = Room::default();
/// let (near, far) = UnixStream::pair()?;
/// room.enter(near);
/// assert_eq!(room.part(Duration::ZERO)?, 0);
/// drop(far);
/// assert_eq!((room.part(Duration::from_secs(60))?, room.guests.len()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To wait for something else, and for nothing more:
///
/// ```
/// use ossature::select::{Poll, PollFlags};
/// use std::time::Duration;
///
/// let (one, _other) = std::os::unix::net::UnixStream::pair()?;
/// let mut poll = Poll::new();
/// poll.register(&one, PollFlags::IN);
/// poll.modify(&one, PollFlags::OUT)?;
/// assert_eq!((poll.len(), poll.poll(Duration::ZERO)?.count()), (1, 1));
/// let (same, events) = poll.unregister(&one)?;
/// assert!(poll.is_empty() && std::ptr::eq(same, &one) && events == PollFlags::OUT);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Poll<F> {
    entries: Vec<Option<Entry<F>>>, // by descriptor number, which is also the token in the kernel's set
    registered: usize,
    next_sequence: u64,
    set: Option<Epoll>,
    generation: u32,        // of the process that made the set
    one_by_one: Vec<usize>, // the numbers of those that are not in the set
    many: bool,             // whether many were ready when there were last more than a first look takes
    room: Vec<MaybeUninit<Event>>,
    found: Vec<Found>,
    asked: Vec<PollFd<'static>>, // always empty: kept for its memory
}

struct Entry<F> {
    file: F,
    events: PollFlags,
    sequence: u64,
    asked: Asked,
}

/// The system call that checks an entry.
#[derive(Clone, Copy)]
enum Asked {
    BySet,
    /// By ppoll, at this index of the list of entries that are not in the kernel's set.
    OneByOne(usize),
}

#[derive(Clone, Copy)]
struct Found {
    sequence: u64,
    number: usize,
    flags: PollFlags,
}

impl<F> Default for Poll<F> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            registered: 0,
            next_sequence: 0,
            set: None,
            generation: 0,
            one_by_one: Vec::new(),
            many: false,
            room: Vec::new(),
            found: Vec::new(),
            asked: Vec::new(),
        }
    }
}

impl<F: AsFd> Poll<F> {
    /// Makes an empty set; makes no kernel object yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers `file`, to wait for `events` from the next call on; Python's default is `PollFlags::default()`.
    ///
    /// If an object with the same descriptor is in already, `file` takes its place in the order, and that object is
    /// dropped.
    ///
    /// An object returns the same descriptor for as long as it is registered, as all types of std and of this crate do.
    /// If an object later returns another descriptor, the call does not wait for that one.
    pub fn register(&mut self, file: F, events: PollFlags) {
        self.own_the_set();
        let number = number(file.as_fd());
        if let Some(known) = self.take(number) {
            self.replace(number, Entry { file, events, ..known });
            return;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.registered += 1;
        // Room for the case that all are ready, so that `poll` need not allocate.
        if self.room.len() < self.registered {
            self.room.resize(self.registered.next_power_of_two(), MaybeUninit::uninit());
            self.found.clear();
            self.found.reserve(self.room.len());
        }
        let asked = self.watch(file.as_fd(), number, events);
        self.put(number, Entry { file, events, sequence, asked });
    }

    /// Changes the events of a registered `fd`. The cost does not depend on how many are registered, whether `fd` is in
    /// the kernel's set or not. There are two exceptions: the kernel's own search in its set, and the first call after
    /// a fork.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `ENOENT` when `fd` is not registered.
    pub fn modify(&mut self, fd: impl AsFd, events: PollFlags) -> Result<()> {
        self.own_the_set();
        let number = number(fd.as_fd());
        let known = self.take(number).ok_or_else(|| {
            Error::os(Errno::NOENT, format!("poll: descriptor {number} is not registered: register it first"))
        })?;
        self.replace(number, Entry { events, ..known });
        Ok(())
    }

    /// Removes `fd`, and returns the registered object and its events. The cost does not depend on how many are
    /// registered, also for a plain file: each entry knows its place in the list of those that ppoll checks. The
    /// exceptions are those of [`modify`](Self::modify).
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] when `fd` is not in.
    pub fn unregister(&mut self, fd: impl AsFd) -> Result<(F, PollFlags)> {
        self.own_the_set();
        let number = number(fd.as_fd());
        let known = self.take(number).ok_or_else(|| {
            let message = format!("poll: descriptor {number} cannot be removed: it is not registered");
            Error::new(ErrorKind::NotRegistered, message)
        })?;
        self.forget(&known);
        self.registered -= 1;
        Ok((known.file, known.events))
    }

    /// The number of registered descriptors.
    pub fn len(&self) -> usize {
        self.registered
    }

    /// Whether no descriptor is registered.
    pub fn is_empty(&self) -> bool {
        self.registered == 0
    }

    /// Waits until a registered object is ready; yields each ready object with its events, in order of registration.
    /// Yields nothing when the time ran out.
    ///
    /// The set stays borrowed until the last was yielded. To unregister objects meanwhile, collect clones of the `Arc`s
    /// or references first, or use a [selector](crate::select::selectors), whose tokens name what it owns.
    ///
    /// Differs from Python: the timeout is a duration or a deadline, not a number of milliseconds.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `ENOMEM` when the kernel lacks memory.
    pub fn poll(&mut self, timeout: impl Into<Deadline>) -> Result<impl ExactSizeIterator<Item = (&F, PollFlags)>> {
        let deadline = timeout.into();
        self.own_the_set();
        self.found.clear();
        let Self { set, room, entries, found, .. } = self;
        match set {
            Some(_) if self.one_by_one.is_empty() && self.registered >= LARGE => self.look_first(deadline)?,
            Some(set) if self.one_by_one.is_empty() => look_in_set(set, room, entries, found, deadline)?,
            _ => self.ask(deadline)?,
        }
        self.found.sort_unstable_by_key(|found| found.sequence);
        let Self { entries, found, .. } = self;
        Ok(found.iter().map(|found| match entries.get(found.number) {
            Some(Some(entry)) => (&entry.file, found.flags),
            _ => unreachable!("the entry was found just now"),
        }))
    }

    /// Replaces the kernel's set in a forked child, which shares it with the parent, by a new set like it.
    #[inline]
    fn own_the_set(&mut self) {
        if self.set.is_some() && self.generation != generation() {
            self.make_the_set_anew();
        }
    }

    #[cold]
    fn make_the_set_anew(&mut self) {
        self.set = None; // closes the child's descriptor of it, which takes nothing out
        for number in 0..self.entries.len() {
            if let Some(mut entry) = self.take(number) {
                if let Asked::BySet = entry.asked {
                    entry.asked = self.watch(entry.file.as_fd(), number, entry.events);
                }
                self.put(number, entry);
            }
        }
    }

    /// Takes a few events from the kernel's set; if there are more, uses the call that was cheaper the last time.
    ///
    /// The first look ends the wait, so few ready descriptors cost what they cost without it. When all are ready, it
    /// costs a hundredth more than ppoll alone.
    fn look_first(&mut self, deadline: Deadline) -> Result<()> {
        let few = (self.registered / 128).max(FEW);
        loop {
            let Self { set: Some(set), room, entries, found, .. } = self else { return Ok(()) };
            let Some(first) = room.get_mut(..few) else { return Ok(()) };
            look_in_set(set, first, entries, found, deadline)?;
            if found.len() < few {
                return Ok(()); // that was all, or the time ran out
            }
            found.clear();
            if self.many {
                self.ask_all()?;
            } else {
                look_in_set(set, room, entries, found, Deadline::NOW)?;
            }
            self.many = self.found.len() >= self.registered / 4;
            if !self.found.is_empty() {
                return Ok(());
            } // another thread has taken what was ready between the two looks
        }
    }

    /// Asks about all descriptors by one ppoll that does not wait. All of them are in the kernel's set.
    fn ask_all(&mut self) -> Result<()> {
        let Self { entries, found, asked, .. } = self;
        let mut list: Vec<PollFd<'_>> = take(asked);
        list.extend(entries.iter().flatten().map(|entry| PollFd::new(&entry.file, entry.events)));
        let asked_all = poll(&mut list, Deadline::NOW).map_err(|errno| Error::os(errno, "poll"));
        let entries = entries.iter().enumerate().filter_map(|(number, entry)| Some((number, entry.as_ref()?)));
        let ready = entries.zip(&list).filter(|(_, answer)| !answer.revents().is_empty());
        found.extend(ready.map(|((number, entry), answer)| Found {
            sequence: entry.sequence,
            number,
            flags: answer.revents(),
        }));
        self.asked = emptied(list);
        asked_all.map(drop)
    }

    /// Asks by ppoll, when some descriptors are not in the kernel's set, or there is no set.
    #[cold]
    fn ask(&mut self, deadline: Deadline) -> Result<()> {
        let Self { entries, one_by_one, set, room, found, asked, .. } = self;
        let (mut list, set): (Vec<PollFd<'_>>, _) = (take(asked), set.as_ref());
        let entry = |number: usize| entries.get(number).and_then(Option::as_ref);
        let questions = one_by_one.iter().filter_map(|number| entry(*number));
        list.extend(questions.map(|entry| PollFd::new(&entry.file, entry.events)));
        // A set is itself readable while something in it is ready.
        list.extend(set.map(|set| PollFd::new(set, PollFlags::IN)));
        let waited = loop {
            if let Err(errno) = poll(&mut list, deadline) {
                break Err(Error::os(errno, "poll"));
            }
            for (number, asked) in one_by_one.iter().zip(&list).filter(|(_, asked)| !asked.revents().is_empty()) {
                if let Some(Entry { sequence, .. }) = entry(*number) {
                    found.push(Found { sequence: *sequence, number: *number, flags: asked.revents() });
                }
            }
            let Some(set) = set else { break Ok(()) };
            if let Err(error) = look_in_set(set, room, entries, found, Deadline::NOW) {
                break Err(error);
            }
            if !found.is_empty() || deadline.has_passed() {
                break Ok(());
            }
        };
        *asked = emptied(list);
        waited
    }

    /// Takes an entry out, to be put back or removed.
    fn take(&mut self, number: usize) -> Option<Entry<F>> {
        self.entries.get_mut(number)?.take()
    }

    fn put(&mut self, number: usize, entry: Entry<F>) {
        if self.entries.len() <= number {
            self.entries.resize_with(number + 1, || None);
        }
        self.entries[number] = Some(entry);
    }

    fn replace(&mut self, number: usize, mut entry: Entry<F>) {
        let (fd, events) = (entry.file.as_fd(), entry.events);
        let kept = matches!(entry.asked, Asked::BySet)
            && wakes_name_it(events)
            && self.set.as_ref().is_some_and(|set| set.modify(fd, interest(events), number as u64).is_ok());
        if !kept {
            self.forget(&entry);
            entry.asked = self.watch(fd, number, events);
        }
        self.put(number, entry);
    }

    /// Puts `fd` into the kernel's set if the set accepts it and reports the same as poll(2). Otherwise adds it to the
    /// entries that ppoll checks; returns which.
    fn watch(&mut self, fd: BorrowedFd<'_>, number: usize, events: PollFlags) -> Asked {
        // Whether the set reports all that poll(2) would. The answer costs a look at the kind of each new descriptor.
        let told = wakes_name_it(events) && !is_character_device(fd).unwrap_or(true);
        if told && self.set.is_none() {
            self.generation = generation();
            self.set = Epoll::new().and_then(AboveStandard::above_standard).ok(); // without one everything is asked one by one, and the next registration tries again
        }
        let set = self.set.as_ref().filter(|_| told);
        let in_set = set.is_some_and(|set| set.register(fd, interest(events), number as u64).is_ok());
        if in_set {
            return Asked::BySet;
        }
        self.one_by_one.push(number);
        Asked::OneByOne(self.one_by_one.len() - 1)
    }

    /// Stops waiting for an entry that is no longer in `entries`.
    fn forget(&mut self, entry: &Entry<F>) {
        match entry.asked {
            Asked::BySet => {
                // ENOENT: if it is not there (unsafe code closed it), there is nothing to take out.
                let _ = self.set.as_ref().map(|set| set.unregister(entry.file.as_fd()));
            }
            Asked::OneByOne(place) => {
                self.one_by_one.swap_remove(place);
                let moved = self.one_by_one.get(place).and_then(|number| self.entries.get_mut(*number));
                if let Some(Some(moved)) = moved {
                    moved.asked = Asked::OneByOne(place);
                }
            }
        }
    }
}

/// The number of descriptors from which a call takes only a few events first.
const LARGE: usize = 128;

/// The minimum number of events of a first look.
const FEW: usize = 8;

/// Empties a list, and keeps its memory.
fn emptied(mut list: Vec<PollFd<'_>>) -> Vec<PollFd<'static>> {
    list.clear();
    list.into_iter().map(|_| unreachable!("it is empty")).collect() // in place: the memory is kept
}

fn look_in_set<F>(
    set: &Epoll,
    room: &mut [MaybeUninit<Event>],
    entries: &[Option<Entry<F>>],
    found: &mut Vec<Found>,
    deadline: Deadline,
) -> Result<()> {
    for event in set.poll(room, deadline).map_err(|errno| Error::os(errno, "poll"))? {
        let number = event.token() as usize;
        if let Some(Some(entry)) = entries.get(number) {
            // The lower half of epoll's flags are poll's, by definition of both in the kernel's headers.
            let flags = PollFlags::from_bits_retain(event.flags().bits() as u16);
            found.push(Found { sequence: entry.sequence, number, flags });
        }
    }
    Ok(())
}

/// Whether the kernel's set reports all of `events`. It looks at a descriptor again only when a wake-up names an event
/// that was requested. Drivers that are readable by `IN` and `RDNORM` alike name only `IN` (writable: `OUT`).
fn wakes_name_it(events: PollFlags) -> bool {
    let read = PollFlags::RDNORM | PollFlags::RDBAND;
    let write = PollFlags::WRNORM | PollFlags::WRBAND;
    (events.contains(PollFlags::IN) || !events.intersects(read))
        && (events.contains(PollFlags::OUT) || !events.intersects(write))
}

fn interest(events: PollFlags) -> Interest {
    Interest::from_bits_retain(events.bits().into())
}

fn number(fd: BorrowedFd<'_>) -> usize {
    fd.as_raw_fd() as usize // a borrowed descriptor is not negative
}

impl<F> fmt::Debug for Poll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.iter().enumerate();
        let entries = entries.filter_map(|(number, entry)| Some((number as RawFd, entry.as_ref()?.events)));
        f.debug_map().entries(entries).finish()
    }
}
