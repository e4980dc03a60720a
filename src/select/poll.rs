//! Python's poll object: poll(2)'s answers at epoll's price.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AboveStandard, is_character_device};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::generation;

use crate::error::{Error, ErrorKind, Result};

/// A set of borrowed descriptors to wait for, with the exact answers of poll(2) in order of registration.
///
/// It uses an epoll set of the kernel, made at the first registration. So the cost of a call depends on how many
/// descriptors are ready and not on how many there are, and a call allocates nothing. Some descriptors are asked by
/// ppoll in the same call, at the cost of poll(2): plain files, which epoll refuses, and what epoll tells less of than
/// poll(2). These are terminals and other devices, whose drivers do not announce every change, and events with `RDNORM`
/// but not `IN`, or `WRNORM` but not `OUT`.
///
/// A descriptor stays borrowed for as long as the `Poll` lives, so none can be closed while in it, and the compiler refuses
/// the program that would have seen `POLLNVAL`:
///
/// ```compile_fail,E0505
/// use ossature::select::{Poll, PollFlags};
/// use std::os::fd::AsFd;
/// let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
/// let mut poll = Poll::new();
/// poll.register(reader.as_fd(), PollFlags::IN);
/// drop(reader);
/// poll.poll(None).unwrap();
/// ```
///
/// A descriptor that unsafe code had closed before it was registered still answers [`PollFlags::NVAL`]; one that it
/// closes afterwards breaks the promise of `BorrowedFd` and is silent. Calling `poll` takes `&mut self`: two at once, an
/// error in Python, do not compile.
///
/// To keep a set in a struct beside what it watches, use a [selector](crate::select::selectors) of `Arc`s: a selector owns
/// what it watches, and has no lifetime.
///
/// A forked child goes on with a set of its own: what parent and child register is no concern of the other's.
///
/// # Examples
/// ```
/// use ossature::select::{Poll, PollFlags};
/// use std::{io::Write, os::fd::{AsFd, AsRawFd}, time::Duration};
///
/// let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
/// let mut poll = Poll::new();
/// poll.register(reader.as_fd(), PollFlags::IN);
/// assert_eq!(poll.poll(Duration::ZERO).unwrap().count(), 0);
/// writer.write_all(b"x").unwrap();
/// for (fd, flags) in poll.poll(Duration::from_secs(1)).unwrap() {
///     assert_eq!((fd.as_raw_fd(), flags), (reader.as_raw_fd(), PollFlags::IN));
/// }
/// ```
///
/// To wait for something else, and for nothing more:
///
/// ```
/// use ossature::select::{Poll, PollFlags};
/// use std::{os::fd::AsFd, time::Duration};
///
/// let (one, _other) = std::os::unix::net::UnixStream::pair()?;
/// let mut poll = Poll::new();
/// poll.register(one.as_fd(), PollFlags::IN);
/// poll.modify(&one, PollFlags::OUT)?;
/// assert_eq!((poll.len(), poll.poll(Duration::ZERO)?.count()), (1, 1));
/// assert_eq!(poll.unregister(&one)?, PollFlags::OUT);
/// assert!(poll.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Poll<'fd> {
    entries: Vec<Option<Entry<'fd>>>, // by descriptor number, which is also the token in the kernel's set
    registered: usize,
    next_sequence: u64,
    set: Option<Epoll>,
    generation: u32,              // of the process that made the set
    one_by_one: Vec<PollFd<'fd>>, // what is not in the set
    room: Vec<MaybeUninit<Event>>,
    found: Vec<Found<'fd>>,
    both: Vec<PollFd<'static>>, // always empty: kept for its memory
}

#[derive(Clone, Copy)]
struct Entry<'fd> {
    fd: BorrowedFd<'fd>,
    events: PollFlags,
    sequence: u64,
    in_set: bool,
}

#[derive(Clone, Copy)]
struct Found<'fd> {
    sequence: u64,
    fd: BorrowedFd<'fd>,
    flags: PollFlags,
}

impl<'fd> Poll<'fd> {
    /// An empty set; no kernel object is made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for `events` on `fd` from the next call on; Python's default is `PollFlags::default()`.
    ///
    /// A descriptor that is in already keeps its place in the order and gets the new events.
    pub fn register(&mut self, fd: BorrowedFd<'fd>, events: PollFlags) {
        self.own_the_set();
        match self.entry(fd.as_raw_fd()) {
            Some(known) => self.replace(Entry { fd, events, ..known }),
            None => {
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                self.registered += 1;
                // Room for the case that all are ready, so that `poll` need not allocate.
                if self.room.len() < self.registered {
                    self.room.resize(self.registered.next_power_of_two(), MaybeUninit::uninit());
                    self.found.clear();
                    self.found.reserve(self.room.len());
                }
                let in_set = self.watch(fd, events);
                self.put(Entry { fd, events, sequence, in_set });
            }
        }
    }

    /// Changes what is waited for on a registered `fd`.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `ENOENT` when `fd` is not registered.
    pub fn modify(&mut self, fd: impl AsFd, events: PollFlags) -> Result<()> {
        self.own_the_set();
        let number = fd.as_fd().as_raw_fd();
        let known = self.entry(number).ok_or_else(|| {
            Error::os(Errno::NOENT, format!("poll: descriptor {number} is not registered; register it first"))
        })?;
        self.replace(Entry { events, ..known });
        Ok(())
    }

    /// Takes `fd` out, and says what was waited for on it.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] when `fd` is not in.
    pub fn unregister(&mut self, fd: impl AsFd) -> Result<PollFlags> {
        self.own_the_set();
        let number = fd.as_fd().as_raw_fd();
        let known = self.entry(number).ok_or_else(|| {
            let message = format!("poll: descriptor {number} is not registered, so it cannot be taken out");
            Error::new(ErrorKind::NotRegistered, message)
        })?;
        self.forget(&known);
        self.entries[number as usize] = None;
        self.registered -= 1;
        Ok(known.events)
    }

    /// How many descriptors are registered.
    pub fn len(&self) -> usize {
        self.registered
    }

    /// Whether none is registered.
    pub fn is_empty(&self) -> bool {
        self.registered == 0
    }

    /// Waits until something registered is ready; yields each ready descriptor with what is the case, in order of
    /// registration. Nothing when the time ran out.
    ///
    /// Differs from Python: the timeout is not in milliseconds but in whatever it says.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `ENOMEM` when the kernel lacks memory.
    pub fn poll(
        &mut self,
        timeout: impl Into<Deadline>,
    ) -> Result<impl ExactSizeIterator<Item = (BorrowedFd<'fd>, PollFlags)>> {
        let deadline = timeout.into();
        self.own_the_set();
        self.found.clear();
        if self.one_by_one.is_empty() && self.set.is_some() {
            self.look_in_set(deadline)?;
        } else {
            self.wait_on_both(deadline)?;
        }
        self.found.sort_unstable_by_key(|found| found.sequence);
        Ok(self.found.iter().map(|found| (found.fd, found.flags)))
    }

    /// In a forked child the kernel's set is the parent's as well: leaves it alone and makes another like it.
    #[inline]
    fn own_the_set(&mut self) {
        if self.set.is_some() && self.generation != generation() {
            self.make_the_set_anew();
        }
    }

    #[cold]
    fn make_the_set_anew(&mut self) {
        self.set = None; // closes the child's descriptor of it, which takes nothing out
        for index in 0..self.entries.len() {
            if let Some(entry) = self.entries[index].filter(|entry| entry.in_set) {
                let in_set = self.watch(entry.fd, entry.events);
                self.entries[index] = Some(Entry { in_set, ..entry });
            }
        }
    }

    fn look_in_set(&mut self, deadline: Deadline) -> Result<()> {
        let Some(set) = &self.set else { return Ok(()) };
        for event in set.poll(&mut self.room, deadline).map_err(|errno| Error::os(errno, "poll"))? {
            if let Some(Some(entry)) = self.entries.get(event.token() as usize) {
                // The lower half of epoll's flags are poll's, by definition of both in the kernel's headers.
                let flags = PollFlags::from_bits_retain(event.flags().bits() as u16);
                self.found.push(Found { sequence: entry.sequence, fd: entry.fd, flags });
            }
        }
        Ok(())
    }

    /// Some descriptors are not in the kernel's set, or there is no set.
    #[cold]
    fn wait_on_both(&mut self, deadline: Deadline) -> Result<()> {
        loop {
            let first = if self.set.is_some() { Deadline::NOW } else { deadline };
            poll(&mut self.one_by_one, first).map_err(|errno| Error::os(errno, "poll"))?;
            for asked in self.one_by_one.iter().filter(|asked| !asked.revents().is_empty()) {
                if let Some(Some(entry)) = self.entries.get(asked.fd().as_raw_fd() as usize) {
                    self.found.push(Found { sequence: entry.sequence, fd: entry.fd, flags: asked.revents() });
                }
            }
            self.look_in_set(Deadline::NOW)?;
            let Some(set) = self.set.as_ref().filter(|_| self.found.is_empty() && !deadline.has_passed()) else {
                return Ok(());
            };
            // A set is itself readable while something in it is ready.
            let mut both: Vec<PollFd<'_>> = std::mem::take(&mut self.both);
            both.push(PollFd::new(set, PollFlags::IN));
            both.extend(self.one_by_one.iter().cloned());
            let waited = poll(&mut both, deadline);
            both.clear();
            self.both = both.into_iter().map(|_| unreachable!("it is empty")).collect(); // in place: the memory is kept
            waited.map_err(|errno| Error::os(errno, "poll"))?;
        }
    }

    fn entry(&self, number: RawFd) -> Option<Entry<'fd>> {
        *self.entries.get(usize::try_from(number).ok()?)?
    }

    fn put(&mut self, entry: Entry<'fd>) {
        let index = entry.fd.as_raw_fd() as usize; // a borrowed descriptor is not negative
        if self.entries.len() <= index {
            self.entries.resize(index + 1, None);
        }
        self.entries[index] = Some(entry);
    }

    fn replace(&mut self, mut entry: Entry<'fd>) {
        let kept = entry.in_set
            && wakes_name_it(entry.events)
            && self.set.as_ref().is_some_and(|set| {
                set.modify(entry.fd, Interest::from_bits_retain(entry.events.bits().into()), token(entry.fd)).is_ok()
            });
        if !kept {
            self.forget(&entry);
            entry.in_set = self.watch(entry.fd, entry.events);
        }
        self.put(entry);
    }

    /// Puts `fd` into the kernel's set if that will have it and tells of it what poll(2) would, and among those asked
    /// one by one if not; says which.
    fn watch(&mut self, fd: BorrowedFd<'fd>, events: PollFlags) -> bool {
        // Whether it can be told from here at all costs a look at the kind of each new descriptor.
        let told = wakes_name_it(events) && !is_character_device(fd).unwrap_or(true);
        if told && self.set.is_none() {
            self.generation = generation();
            self.set = Epoll::new().and_then(AboveStandard::above_standard).ok(); // without one everything is asked one by one, and the next registration tries again
        }
        let interest = Interest::from_bits_retain(events.bits().into());
        let in_set = told && self.set.as_ref().is_some_and(|set| set.register(fd, interest, token(fd)).is_ok());
        if !in_set {
            self.one_by_one.push(PollFd::from_borrowed(fd, events));
        }
        in_set
    }

    fn forget(&mut self, entry: &Entry<'fd>) {
        match &self.set {
            // ENOENT: if it is not there (unsafe code closed it), there is nothing to take out.
            Some(set) if entry.in_set => drop(set.unregister(entry.fd)),
            _ => self.one_by_one.retain(|asked| asked.fd().as_raw_fd() != entry.fd.as_raw_fd()),
        }
    }
}

/// Whether the kernel's set learns of everything in `events`. It looks at a descriptor again only when a wake-up names
/// something that was asked for, and drivers that are readable by `IN` and `RDNORM` alike name only `IN` (writable: `OUT`).
fn wakes_name_it(events: PollFlags) -> bool {
    let read = PollFlags::RDNORM | PollFlags::RDBAND;
    let write = PollFlags::WRNORM | PollFlags::WRBAND;
    (events.contains(PollFlags::IN) || !events.intersects(read))
        && (events.contains(PollFlags::OUT) || !events.intersects(write))
}

fn token(fd: BorrowedFd<'_>) -> u64 {
    fd.as_raw_fd() as u64
}

impl fmt::Debug for Poll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.iter().flatten();
        f.debug_map().entries(entries.map(|entry| (entry.fd.as_raw_fd(), entry.events))).finish()
    }
}
