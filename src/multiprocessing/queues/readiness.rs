//! A queue as a descriptor, for a poll together with other descriptors.

use std::fmt;
use std::sync::Arc;

use ossature_sys::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use ossature_sys::process::generation;
use ossature_sys::sync::ring::{Readiness as OfRing, Ring};

use crate::error::{Error, Result};

/// A descriptor that is readable while a queue may have an item, and once the queue is shut down and empty.
///
/// The descriptor may be readable although there is no item. When it is readable, get items until there is none: a get
/// that finds no item ([`try_get`](super::Queue::try_get) returns `None`) makes it unreadable. It is never unreadable
/// while there is an item, whichever process is killed. For an item that a killed process had begun to get, it becomes
/// readable within 10 ms.
///
/// All handles that this process has made of one handle by `try_clone` share the descriptor, which belongs to this
/// process. A forked child requests its own.
///
/// # Examples
/// Several queues at once, by [`wait`](crate::multiprocessing::connection::wait):
///
/// ```
/// use ossature::multiprocessing::{Queue, connection::wait, queues::Readiness};
///
/// let (words, numbers) = (Queue::new()?, Queue::new()?);
/// let (word, number): (_, Readiness) = (words.readiness()?, numbers.readiness()?);
/// words.put("one".to_owned())?;
/// numbers.put(2)?;
/// let (mut got, mut sum) = (Vec::new(), 0);
/// while got.is_empty() || sum == 0 {
///     for place in wait(&[&word, &number], None)? {
///         match place {
///             0 => got.extend(words.try_get()?),
///             _ => sum += numbers.try_get()?.unwrap_or(0),
///         }
///     }
/// }
/// assert_eq!((got, sum), (vec!["one".to_owned()], 2));
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// In an epoll set:
///
/// ```
/// use std::mem::MaybeUninit;
/// use ossature::multiprocessing::Queue;
/// use ossature::sys::epoll::{Epoll, Interest};
///
/// let (queue, epoll) = (Queue::new()?, Epoll::new()?);
/// let readiness = queue.readiness()?;
/// epoll.register(&readiness, Interest::IN, 7)?;
/// queue.put('a')?;
/// let mut room = [const { MaybeUninit::uninit() }; 4];
/// assert_eq!(epoll.poll(&mut room, None)?[0].token(), 7);
/// assert_eq!((queue.try_get()?, queue.try_get()?), (Some('a'), None));
/// assert!(epoll.poll(&mut room, std::time::Duration::ZERO)?.is_empty());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone)]
pub struct Readiness(Arc<Descriptor>);

/// The descriptor of a ring. A get clears it while a `Readiness` exists.
pub(super) struct Descriptor {
    inner: OfRing<Arc<Ring>>,
    forks: u32,
}

impl Descriptor {
    /// Makes a descriptor for the ring, which is also readable while `also` is.
    pub(super) fn of(ring: Arc<Ring>, also: Option<BorrowedFd<'_>>) -> Result<Self> {
        let failed = |errno| Error::os(errno, "cannot make a descriptor for a queue");
        let inner = OfRing::new(ring).map_err(failed)?;
        also.map_or(Ok(()), |fd| inner.also(fd)).map_err(failed)?;
        Ok(Self { inner, forks: generation() })
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        self.forks == generation()
    }

    /// Makes the descriptor unreadable; false if there is an item to get.
    pub(super) fn clear(&self) -> Result<bool> {
        Ok(self.inner.clear()?)
    }
}

impl Readiness {
    pub(super) fn new(descriptor: Arc<Descriptor>) -> Self {
        Self(descriptor)
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        self.0.is_of_this_process()
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.inner.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.0.inner.as_raw_fd()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.inner.fmt(f)
    }
}
