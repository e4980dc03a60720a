//! Queues over a server: items that any process on any machine may put and get.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ossature::multiprocessing::pool::engine;
use ossature::multiprocessing::transfer::Transfer;
use ossature::sys::deadline::Deadline;
use ossature::{Error, ErrorKind, Result};

use crate::builder::{LEASE, LEASES, unique};
use crate::engine::{Engine, Fault, Name, Put, Records, Serving};
use crate::link::Link;
use crate::place::{Line, Place, WAIT, described, lock};
use crate::wire::{LONGEST, too_long};

/// The longest name of an item, in bytes.
const NAME: usize = 500;

/// A queue on a server: see the [crate](crate) for its behaviour at failures.
///
/// Items come out in the order of their puts; the items of a lost getter are delivered again. Threads may share a
/// `Queue`, but then each call waits for the others; give a thread that waits long its own `Queue`.
///
/// Differs from [`ossature::multiprocessing::Queue`]: an item from [`get`](Self::get) is removed at once. An item from
/// [`get_guarded`](Self::get_guarded) is delivered again if its getter is lost. An item contains no descriptors.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use ossature_redis::Queue;
///
/// # fn main() -> ossature::Result<()> {
/// let queue: Queue<String> = Queue::builder().maxsize(1000).connect("redis://broker/", "pages")?;
/// queue.put("https://example.org/".to_owned())?;
/// while let Some(page) = queue.get_guarded_timeout(Duration::from_secs(1))? {
///     println!("{}", *page); // if this process dies here, another one gets the page
///     page.done()?;
///     queue.task_done()?;
/// }
/// queue.join()
/// # }
/// ```
pub struct Queue<T> {
    place: Arc<Place>,
    keeper: Option<JoinHandle<()>>,
    kind: PhantomData<fn(T) -> T>,
}

/// The settings of a queue before it connects.
///
/// # Examples
/// See the example of [`Queue`].
#[must_use = "the settings do nothing until `connect`"]
#[derive(Clone, Debug)]
pub struct QueueBuilder {
    maxsize: Option<usize>,
    connect: Duration,
    outage: Duration,
    lease: Duration,
    names: Duration,
}

/// An item that is delivered again, to another getter, unless it is [done](Self::done) or its guard is dropped.
///
/// Dropping the guard marks the item as finished, unless the thread panics: then the item returns to the queue.
///
/// # Examples
/// See the example of [`Queue`].
#[must_use = "the item is finished when its guard is dropped"]
pub struct Guarded<T> {
    place: Arc<Place>,
    id: String,
    /// The item; `None` once it is acknowledged.
    item: Option<T>,
}

impl QueueBuilder {
    /// Sets the maximum number of items; [`put`](Queue::put) waits while the queue is full. Guarded items count. All
    /// users must use the same value.
    pub fn maxsize(mut self, items: usize) -> Self {
        self.maxsize = Some(items);
        self
    }

    /// As [`PoolBuilder::connect_timeout`](crate::PoolBuilder::connect_timeout).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// Sets how long a call waits while the server is unavailable; after that it ends as [`Closed`](ErrorKind::Closed).
    /// The default is a minute.
    pub fn outage(mut self, limit: Duration) -> Self {
        self.outage = limit;
        self
    }

    /// Sets the silence after which the guarded items of a getter go to another getter, as
    /// [`PoolBuilder::lease`](crate::PoolBuilder::lease).
    pub fn lease(mut self, limit: Duration) -> Self {
        self.lease = limit;
        self
    }

    /// Sets how long the server keeps the names of [`put_once`](Queue::put_once). The default is an hour.
    pub fn names_stay(mut self, time: Duration) -> Self {
        self.names = time;
        self
    }

    /// Connects to the queue `name` at `url`, with the addresses of [`Pool::connect`](crate::Pool::connect). A queue
    /// and a pool must not have the same name.
    ///
    /// # Errors
    /// As [`PoolBuilder::connect`](crate::PoolBuilder::connect); [`InvalidInput`](ErrorKind::InvalidInput) for a
    /// `maxsize` of 0.
    pub fn connect<T: Transfer>(self, url: &str, name: &str) -> Result<Queue<T>> {
        if self.maxsize == Some(0) {
            let text = "maxsize is 0; use at least 1, or leave maxsize out for an unbounded queue";
            return Err(engine::error(ErrorKind::InvalidInput, text.into()));
        }
        let link = Link::new(url, name)?;
        let failed = |fault: Fault| link.error(&fault);
        let mut engine = link.open_within(self.connect, || false).map_err(failed)?;
        // A put is repeated for as long as an outage lasts, and the server must know it by then.
        let ttl = (self.lease * LEASES).max(self.outage * 2);
        let me = Serving { id: unique(), lease: self.lease, ttl };
        engine.beat(&me, &described(), &[]).map_err(failed)?;
        let place = Arc::new(Place {
            link: link.clone(),
            me,
            maxsize: self.maxsize,
            outage: self.outage,
            names: self.names,
            line: Mutex::new(Line { engine: Some(engine), calls: 0 }),
            has: Mutex::new(Vec::new()),
            over: Mutex::new(false),
            turn: Condvar::new(),
        });
        let theirs = place.clone();
        let keeper = std::thread::Builder::new().name("QueueKeeper".into()).spawn(move || theirs.keep())?;
        Ok(Queue { place, keeper: Some(keeper), kind: PhantomData })
    }
}

impl<T: Transfer> Queue<T> {
    /// Connects to the queue `name` at `url`, without a maximum length.
    ///
    /// # Errors
    /// As [`QueueBuilder::connect`].
    pub fn connect(url: &str, name: &str) -> Result<Self> {
        Queue::builder().connect(url, name)
    }

    /// Puts an item, owned or borrowed. Waits while the queue is full.
    ///
    /// Returns once the server has the item. The call repeats a put whose connection broke, and the server recognises
    /// the repetition. If a replica takes over after the server's end, items of the last moments may be lost, although
    /// their puts have returned. [`put_once`](Self::put_once) lets the caller repeat puts.
    ///
    /// # Errors
    /// * [`InvalidInput`](ErrorKind::InvalidInput) for what cannot be serialised,
    ///   [`Unsupported`](ErrorKind::Unsupported) for descriptors and shared memory, [`TooLong`](ErrorKind::TooLong)
    ///   above 512 MiB.
    /// * [`Closed`](ErrorKind::Closed) when the server is unavailable for longer than [`outage`](QueueBuilder::outage).
    ///   The item may be in the queue; [`put_once`](Self::put_once) lets the caller repeat the put.
    pub fn put(&self, item: impl Borrow<T>) -> Result<()> {
        self.put_timeout(item, Deadline::NEVER).map(drop)
    }

    /// As [`put`](Self::put), until the deadline.
    ///
    /// # Errors
    /// As [`put`](Self::put); [`Full`](ErrorKind::Full) when the time ran out.
    pub fn put_timeout(&self, item: impl Borrow<T>, timeout: impl Into<Deadline>) -> Result<()> {
        self.put_as(None, item.borrow(), timeout.into()).map(drop)
    }

    /// Puts an item, unless one was put under the same name. Returns whether this call put it.
    ///
    /// So a program may repeat a put whose result it does not know, after an error or after its own death, because both
    /// have the same name. A fail-over loses the name exactly if it loses the item, and the repeated put restores both.
    /// The server keeps a name for an hour, or for [`names_stay`](QueueBuilder::names_stay).
    ///
    /// # Errors
    /// As [`put`](Self::put); [`InvalidInput`](ErrorKind::InvalidInput) for an empty name and one of more than 500
    /// bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> ossature::Result<()> {
    /// let queue: ossature_redis::Queue<String> = ossature_redis::Queue::connect("redis://broker/", "orders")?;
    /// let (number, order) = ("2026-0117", "three pencils".to_owned());
    /// while queue.put_once(number, &order).is_err() {
    ///     eprintln!("order {number} may be there or not; another try does no harm");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn put_once(&self, name: &str, item: impl Borrow<T>) -> Result<bool> {
        self.put_once_timeout(name, item, Deadline::NEVER)
    }

    /// As [`put_once`](Self::put_once), until the deadline.
    ///
    /// # Errors
    /// As [`put_once`](Self::put_once); [`Full`](ErrorKind::Full) when the time ran out.
    pub fn put_once_timeout(&self, name: &str, item: impl Borrow<T>, timeout: impl Into<Deadline>) -> Result<bool> {
        if name.is_empty() || name.len() > NAME {
            let text = format!("the name of an item has {} bytes; use 1 to {NAME}", name.len());
            return Err(engine::error(ErrorKind::InvalidInput, text));
        }
        self.put_as(Some(name), item.borrow(), timeout.into())
    }

    fn put_as(&self, name: Option<&str>, item: &T, until: Deadline) -> Result<bool> {
        let bytes = engine::pack(item)?;
        if bytes.len() > LONGEST {
            return Err(too_long("the contents of the item", bytes.len()));
        }
        let place = &*self.place;
        let name = name.map(|text| Name { text, stays: place.names });
        loop {
            let put = place.change(until, |nth, engine| engine.put(&place.me, nth, place.maxsize, name, &bytes))?;
            match put {
                Some(Put::Done) => return Ok(true),
                Some(Put::Before) => return Ok(false),
                Some(Put::Full) | None => {}
            }
            if until.has_passed() {
                let text = format!("the queue {} is full, and the timeout expired", place.link.name());
                return Err(engine::error(ErrorKind::Full, text));
            }
            std::thread::sleep(until.remaining().map_or(WAIT.1, |left| left.min(WAIT.1)));
        }
    }

    /// Takes the next item. Waits while the queue is empty.
    ///
    /// The item counts as done: if this process is killed now, the item is lost.
    ///
    /// # Errors
    /// * [`Decode`](ErrorKind::Decode) for an item of another type, which is lost.
    /// * [`Closed`](ErrorKind::Closed) when the server is unavailable for longer than [`outage`](QueueBuilder::outage).
    pub fn get(&self) -> Result<T> {
        loop {
            if let Some(item) = self.get_timeout(Deadline::NEVER)? {
                return Ok(item);
            }
        }
    }

    /// As [`get`](Self::get), until the deadline. Returns `None` at the deadline.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<T>> {
        let until: Deadline = timeout.into();
        while let Some((id, bytes)) = self.place.take(until)? {
            // An item that another user has claimed since belongs to that user.
            if self.place.acknowledge(&id, false)? {
                return engine::unpack(&bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// Takes the next item, guarded: the item is delivered to another getter if this process dies before the item is
    /// done.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_guarded(&self) -> Result<Guarded<T>> {
        loop {
            if let Some(item) = self.get_guarded_timeout(Deadline::NEVER)? {
                return Ok(item);
            }
        }
    }

    /// As [`get_guarded`](Self::get_guarded), until the deadline. Returns `None` at the deadline.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_guarded_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<Guarded<T>>> {
        let Some((id, bytes)) = self.place.take(timeout.into())? else { return Ok(None) };
        match engine::unpack(&bytes) {
            Ok(item) => {
                lock(&self.place.has).push(id.clone());
                Ok(Some(Guarded { place: self.place.clone(), id, item: Some(item) }))
            }
            Err(error) => {
                self.place.acknowledge(&id, false)?;
                Err(error)
            }
        }
    }

    /// The number of items, including guarded ones.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize> {
        self.count().map(|(length, _)| length)
    }

    /// Whether the queue has no items.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|length| length == 0)
    }

    /// The number of items that were put and not yet reported as finished by [`task_done`](Self::task_done).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn unfinished(&self) -> Result<usize> {
        self.count().map(|(_, unfinished)| unfinished)
    }

    fn count(&self) -> Result<(usize, usize)> {
        let limit = Deadline::after(self.place.outage);
        Ok(self.place.with(limit, |_, engine| engine.count())?.unwrap_or_default())
    }

    /// Reports that an item from the queue is finished.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when no item is unfinished (Python's `ValueError`);
    /// [`Closed`](ErrorKind::Closed).
    pub fn task_done(&self) -> Result<()> {
        let limit = Deadline::after(self.place.outage);
        match self.place.change(limit, |nth, engine| engine.done(&self.place.me, nth))? {
            Some(true) => Ok(()),
            _ => {
                let text = "task_done() called too many times: once for each item that was put";
                Err(engine::error(ErrorKind::InvalidInput, text.into()))
            }
        }
    }

    /// Waits until the receivers have reported every item that was put as finished.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Deadline::NEVER).map(drop)
    }

    /// As [`join`](Self::join), until the deadline. Returns `false` at the deadline.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: impl Into<Deadline>) -> Result<bool> {
        let until: Deadline = timeout.into();
        loop {
            if self.unfinished()? == 0 {
                return Ok(true);
            }
            if until.has_passed() {
                return Ok(false);
            }
            let pause = WAIT.1 * 2;
            std::thread::sleep(until.remaining().map_or(pause, |left| left.min(pause)));
        }
    }
}

impl Queue<()> {
    /// Returns the settings of a queue, to change before the connection.
    pub fn builder() -> QueueBuilder {
        QueueBuilder {
            maxsize: None,
            connect: Duration::from_secs(5),
            outage: Duration::from_secs(60),
            lease: LEASE,
            names: Duration::from_secs(3600),
        }
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        *lock(&self.place.over) = true;
        self.place.turn.notify_all();
        // Living guards keep their items, and the thread continues for them.
        if let Some(keeper) = self.keeper.take().filter(|_| lock(&self.place.has).is_empty()) {
            let _ = keeper.join();
        }
    }
}

impl<T> Guarded<T> {
    /// Reports that the item is finished, and returns it without the guard.
    ///
    /// # Errors
    /// [`Abandoned`](ErrorKind::Abandoned) when this process sent no heartbeat for too long, so another getter has the
    /// item; [`Closed`](ErrorKind::Closed) when the server is unavailable: then the item is delivered again.
    pub fn done(mut self) -> Result<T> {
        let lost = || -> Error {
            let text = "the item was given to another getter: this process sent no heartbeat for too long";
            engine::error(ErrorKind::Abandoned, text.into())
        };
        let item = self.item.take().ok_or_else(lost)?;
        if self.place.acknowledge(&self.id, false)? { Ok(item) } else { Err(lost()) }
    }

    /// Returns the item to the queue: it is delivered again, to any getter, before later items.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) when the server is unavailable: then the item is delivered again after the lease.
    pub fn give_back(mut self) -> Result<()> {
        self.item = None;
        self.place.acknowledge(&self.id, true).map(drop)
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Some(item) => item,
            None => unreachable!("an acknowledged item has no guard"),
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if self.item.is_some() {
            if let Err(error) = self.place.acknowledge(&self.id, std::thread::panicking()) {
                log::warn!("an item of the queue {} will be delivered again: {error}", self.place.link.name());
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guarded").field(&self.item).finish()
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.place.link.name()).finish_non_exhaustive()
    }
}
