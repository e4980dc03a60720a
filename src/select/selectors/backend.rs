//! The ways to wait in the kernel, small enough to compare side by side.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{self, Epoll, Event};
use ossature_sys::errno::{self, Errno};
use ossature_sys::fd::AboveStandard;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::generation;

use super::{Interest, Map, Token};
use crate::error::{Error, Result};

mod sealed {
    pub trait Sealed {}
}

/// One of the kernel's ways to wait; the [aliases](super) name the selectors that use them.
///
/// Sealed: what it is given has been checked against the selector's map.
///
/// # Examples
/// ```
/// use std::os::unix::net::UnixStream;
/// use ossature::select::selectors::{Backend, EpollBackend, FirstUsable, KqueueBackend, PollBackend, SelectBackend};
/// use ossature::select::selectors::{Interest, Selecting, Selector};
///
/// /// The same program over each of the kernel's ways.
/// fn ready<B: Backend>() -> Result<usize, Box<dyn std::error::Error>> {
///     let mut selector = Selecting::<B, UnixStream>::new()?;
///     selector.register(UnixStream::pair()?.0, Interest::WRITE, ())?;
///     Ok(selector.select(None)?.len())
/// }
///
/// let counts = [ready::<SelectBackend>()?, ready::<PollBackend>()?, ready::<EpollBackend>()?, ready::<FirstUsable>()?];
/// assert_eq!(counts, [1; 4]);
/// assert_eq!(ready::<KqueueBackend>()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Backend: sealed::Sealed + Sized {
    /// Makes the kernel object, if the backend needs one.
    ///
    /// # Errors
    /// The error of the kernel.
    fn new() -> Result<Self>;

    /// Ensures, before any other call, that the kernel object belongs to this process.
    ///
    /// # Errors
    /// The error of the kernel; the next call tries again.
    fn own<F: AsFd, T>(&mut self, _map: &Map<F, T>) -> errno::Result<()> {
        Ok(())
    }

    /// Begins to watch `fd` for `interest`.
    ///
    /// # Errors
    /// The error of the kernel; `fd` is not watched then.
    fn add(&mut self, _fd: BorrowedFd<'_>, _interest: Interest, _token: Token) -> errno::Result<()> {
        Ok(())
    }

    /// Changes the interest of `fd`.
    ///
    /// # Errors
    /// The error of the kernel; `fd` is watched as before then.
    fn change(&mut self, _fd: BorrowedFd<'_>, _interest: Interest, _token: Token) -> errno::Result<()> {
        Ok(())
    }

    /// Stops watching `fd`, even if it was closed meanwhile.
    fn remove(&mut self, _fd: BorrowedFd<'_>) {}

    /// Waits, and returns the ready tokens.
    ///
    /// # Errors
    /// The error of the kernel.
    fn wait<F: AsFd, T>(&mut self, map: &Map<F, T>, deadline: Deadline) -> Result<Vec<(Token, Interest)>>;
}

/// The backend that uses select.
///
/// # Examples
/// See the example of [`Backend`].
#[derive(Debug)]
pub struct SelectBackend(());

impl sealed::Sealed for SelectBackend {}

impl Backend for SelectBackend {
    fn new() -> Result<Self> {
        Ok(Self(()))
    }

    fn wait<F: AsFd, T>(&mut self, map: &Map<F, T>, deadline: Deadline) -> Result<Vec<(Token, Interest)>> {
        let wanting = |wanted: Interest| -> Vec<Asked<'_>> {
            let keys = map.iter().filter(|(_, key)| key.interest().contains(wanted));
            keys.map(|(token, key)| Asked { token, fd: key.file().as_fd() }).collect()
        };
        let (read, write) = (wanting(Interest::READ), wanting(Interest::WRITE));
        let found = crate::select::select(&read, &write, &[], deadline)?;
        let mut ready: Vec<(Token, Interest)> = Vec::with_capacity(found.read.len() + found.write.len());
        let lists = [(found.read, Interest::READ), (found.write, Interest::WRITE)];
        for (list, flag) in lists {
            ready.extend(list.into_iter().map(|asked| (asked.token, flag)));
        }
        merge_interests(&mut ready);
        Ok(ready)
    }
}

/// An object for one call of select; it is found again by its token, even if its descriptor changed.
struct Asked<'a> {
    token: Token,
    fd: BorrowedFd<'a>,
}

impl AsFd for Asked<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

/// The backend that uses ppoll.
///
/// # Examples
/// See the example of [`Backend`].
#[derive(Debug)]
pub struct PollBackend(());

impl sealed::Sealed for PollBackend {}

impl Backend for PollBackend {
    fn new() -> Result<Self> {
        Ok(Self(()))
    }

    fn wait<F: AsFd, T>(&mut self, map: &Map<F, T>, deadline: Deadline) -> Result<Vec<(Token, Interest)>> {
        let question = |interest: Interest| {
            let read = if interest.contains(Interest::READ) { PollFlags::IN } else { PollFlags::empty() };
            let write = if interest.contains(Interest::WRITE) { PollFlags::OUT } else { PollFlags::empty() };
            read | write
        };
        let mut asked: Vec<PollFd<'_>> =
            map.iter().map(|(_, key)| PollFd::new(key.file(), question(key.interest()))).collect();
        poll(&mut asked, deadline).map_err(|errno| Error::os(errno, "selector"))?;
        let answers = map.iter().zip(&asked).map(|((token, key), asked)| {
            let flags = asked.revents();
            let other_than = |flag: PollFlags| !flags.difference(flag).is_empty();
            (token, meaning(other_than(PollFlags::OUT), other_than(PollFlags::IN)) & key.interest())
        });
        Ok(answers.filter(|(_, ready)| !ready.is_empty()).collect())
    }
}

/// The backend that uses epoll.
///
/// # Examples
/// See the example of [`Backend`].
pub struct EpollBackend {
    set: Epoll,
    generation: u32, // of the process that made the set
    room: Vec<MaybeUninit<Event>>,
}

impl sealed::Sealed for EpollBackend {}

impl EpollBackend {
    /// Replaces the kernel's set in a forked child, which shares it with the parent, by a new set like it.
    #[cold]
    fn make_the_set_anew<F: AsFd, T>(&mut self, map: &Map<F, T>) -> errno::Result<()> {
        let set = Epoll::new()?.above_standard()?;
        for (token, key) in map.iter() {
            match set.register(key.file(), question(key.interest()), token.to_bits()) {
                // Closed by other code: the kernel has removed it from the other set too.
                Ok(()) | Err(Errno::BADF) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.set = set; // closes the child's descriptor of the other, which takes nothing out
        self.generation = generation();
        Ok(())
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

impl Backend for EpollBackend {
    fn new() -> Result<Self> {
        let set = Epoll::new()
            .and_then(AboveStandard::above_standard)
            .map_err(|errno| Error::os(errno, "selector: cannot make an epoll set"))?;
        Ok(Self { set, generation: generation(), room: Vec::new() })
    }

    fn own<F: AsFd, T>(&mut self, map: &Map<F, T>) -> errno::Result<()> {
        if self.generation == generation() { Ok(()) } else { self.make_the_set_anew(map) }
    }

    fn add(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> errno::Result<()> {
        self.set.register(fd, question(interest), token.to_bits())
    }

    fn change(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> errno::Result<()> {
        self.set.modify(fd, question(interest), token.to_bits())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) {
        // ENOENT and EBADF: closed by other code, so the kernel has already removed it. There are no other errors.
        let _ = self.set.unregister(fd);
    }

    fn wait<F: AsFd, T>(&mut self, map: &Map<F, T>, deadline: Deadline) -> Result<Vec<(Token, Interest)>> {
        // At least one, so that an empty selector waits for the whole timeout.
        self.room.resize(map.len().max(1), MaybeUninit::uninit());
        let events = self.set.poll(&mut self.room, deadline).map_err(|errno| Error::os(errno, "selector"))?;
        let came = !events.is_empty();
        let answers = events.iter().filter_map(|event| {
            let (token, flags) = (Token::from_bits(event.token()), event.flags());
            let other_than = |flag: epoll::Interest| !flags.difference(flag).is_empty();
            let ready = meaning(other_than(epoll::Interest::OUT), other_than(epoll::Interest::IN));
            Some((token, ready & map.get(token)?.interest()))
        });
        let ready: Vec<_> = answers.filter(|(_, ready)| !ready.is_empty()).collect();
        if ready.is_empty() && came {
            return without_the_stale(map, deadline);
        }
        Ok(ready)
    }
}

/// Waits by ppoll when the set reported only descriptors that are no longer registered: closed while registered, and
/// kept alive by a duplicate. Nothing can name them to the kernel any more, and the set would report them again at once
/// forever.
#[cold]
fn without_the_stale<F: AsFd, T>(map: &Map<F, T>, deadline: Deadline) -> Result<Vec<(Token, Interest)>> {
    PollBackend(()).wait(map, deadline)
}

fn question(interest: Interest) -> epoll::Interest {
    let read = if interest.contains(Interest::READ) { epoll::Interest::IN } else { epoll::Interest::empty() };
    let write = if interest.contains(Interest::WRITE) { epoll::Interest::OUT } else { epoll::Interest::empty() };
    read | write
}

fn meaning(read: bool, write: bool) -> Interest {
    let read = if read { Interest::READ } else { Interest::empty() };
    let write = if write { Interest::WRITE } else { Interest::empty() };
    read | write
}

impl fmt::Debug for EpollBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EpollBackend").field(&self.set.as_raw_fd()).finish()
    }
}

/// The backend that uses kqueue, on Linux the queue of this library.
///
/// # Examples
/// See the example of [`Backend`].
#[derive(Debug)]
pub struct KqueueBackend {
    queue: Kqueue,
    room: Vec<MaybeUninit<Kevent>>,
}

impl KqueueBackend {
    pub(super) fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        self.queue.descriptor().map_err(|errno| Error::os(errno, "selector: cannot make the descriptor of the queue"))
    }
}

/// The filters of a queue for READ and WRITE.
const FILTERS: [(Interest, Filter); 2] = [(Interest::READ, Filter::READ), (Interest::WRITE, Filter::WRITE)];

/// Makes the change that watches `fd`. The token is cut to the width of a kevent's number; the descriptor distinguishes
/// it from others.
fn knote(fd: BorrowedFd<'_>, filter: Filter, token: Token) -> Kevent {
    // An open descriptor's number is not negative.
    Kevent::new(fd.as_raw_fd() as usize, filter).with_udata(token.to_bits() as usize)
}

impl sealed::Sealed for KqueueBackend {}

impl Backend for KqueueBackend {
    fn new() -> Result<Self> {
        let queue = Kqueue::new().map_err(|errno| Error::os(errno, "selector: cannot make a kqueue"))?;
        Ok(Self { queue, room: Vec::new() })
    }

    fn own<F: AsFd, T>(&mut self, map: &Map<F, T>) -> errno::Result<()> {
        if !self.queue.is_inherited() {
            return Ok(());
        }
        let queue = Kqueue::new()?;
        for (token, key) in map.iter() {
            for (_, filter) in FILTERS.into_iter().filter(|(interest, _)| key.interest().contains(*interest)) {
                match queue.change(&knote(key.file().as_fd(), filter, token)) {
                    // Closed by other code.
                    Ok(()) | Err(Errno::BADF) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        self.queue = queue;
        Ok(())
    }

    fn add(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> errno::Result<()> {
        let added = self.change(fd, interest, token);
        if added.is_err() {
            self.remove(fd);
        }
        added
    }

    fn change(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> errno::Result<()> {
        // Additions come first: if the kernel refuses one, the other filters are unchanged.
        for (_, filter) in FILTERS.into_iter().filter(|(wanted, _)| interest.contains(*wanted)) {
            self.queue.change(&knote(fd, filter, token))?;
        }
        for (_, filter) in FILTERS.into_iter().filter(|(wanted, _)| !interest.contains(*wanted)) {
            // Not in the queue, or closed by other code.
            let _ = self.queue.change(&knote(fd, filter, token).with_flags(Flags::DELETE));
        }
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) {
        for (_, filter) in FILTERS {
            // As in `change`.
            let _ = self.queue.change(&Kevent::new(fd.as_raw_fd() as usize, filter).with_flags(Flags::DELETE));
        }
    }

    fn wait<F: AsFd, T>(&mut self, map: &Map<F, T>, deadline: Deadline) -> Result<Vec<(Token, Interest)>> {
        // At least one, so that an empty selector waits for the whole timeout; each may have both filters.
        self.room.resize((2 * map.len()).max(1), MaybeUninit::uninit());
        loop {
            let events = self.queue.wait(&mut self.room, deadline).map_err(|errno| Error::os(errno, "selector"))?;
            let came = !events.is_empty();
            let mut ready: Vec<(Token, Interest)> = Vec::with_capacity(events.len());
            for event in events {
                let Some(token) = i32::try_from(event.ident()).ok().and_then(|fd| map.of_number(fd)) else { continue };
                let Some(key) = map.get(token).filter(|_| token.to_bits() as usize == event.udata()) else { continue };
                let found = match event.filter() {
                    // An error or a hang-up is ready for both.
                    _ if event.flags().contains(Flags::EOF) => Interest::all(),
                    Filter::READ => Interest::READ,
                    _ => Interest::WRITE,
                };
                ready.push((token, found & key.interest()));
            }
            merge_interests(&mut ready);
            if !ready.is_empty() || !came || deadline.has_passed() {
                return Ok(ready);
            }
        }
    }
}

/// The first of epoll and poll that the system can make.
///
/// # Examples
/// See the example of [`Backend`].
#[derive(Debug)]
pub struct FirstUsable(Usable);

#[derive(Debug)]
enum Usable {
    Epoll(EpollBackend),
    Poll(PollBackend),
}

impl sealed::Sealed for FirstUsable {}

impl Backend for FirstUsable {
    fn new() -> Result<Self> {
        match EpollBackend::new() {
            Ok(epoll) => Ok(Self(Usable::Epoll(epoll))),
            Err(_) => PollBackend::new().map(|poll| Self(Usable::Poll(poll))),
        }
    }

    fn own<F: AsFd, T>(&mut self, map: &Map<F, T>) -> errno::Result<()> {
        match &mut self.0 {
            Usable::Epoll(epoll) => epoll.own(map),
            Usable::Poll(poll) => poll.own(map),
        }
    }

    fn add(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> errno::Result<()> {
        match &mut self.0 {
            Usable::Epoll(epoll) => epoll.add(fd, interest, token),
            Usable::Poll(poll) => poll.add(fd, interest, token),
        }
    }

    fn change(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> errno::Result<()> {
        match &mut self.0 {
            Usable::Epoll(epoll) => epoll.change(fd, interest, token),
            Usable::Poll(poll) => poll.change(fd, interest, token),
        }
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) {
        match &mut self.0 {
            Usable::Epoll(epoll) => epoll.remove(fd),
            Usable::Poll(poll) => poll.remove(fd),
        }
    }

    fn wait<F: AsFd, T>(&mut self, map: &Map<F, T>, deadline: Deadline) -> Result<Vec<(Token, Interest)>> {
        match &mut self.0 {
            Usable::Epoll(epoll) => epoll.wait(map, deadline),
            Usable::Poll(poll) => poll.wait(map, deadline),
        }
    }
}

/// Sorts the ready entries by token, and merges two reports of one token.
fn merge_interests(ready: &mut Vec<(Token, Interest)>) {
    ready.sort_unstable_by_key(|(token, _)| *token);
    ready.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 |= later.1;
        }
        same
    });
}
