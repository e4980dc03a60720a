//! Queues over a server: items that any process on any machine may put and get.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ossature::multiprocessing::pool::engine;
use ossature::multiprocessing::transfer::Transfer;
use ossature::sys::deadline::Deadline;
use ossature::{Error, ErrorKind, Result};

use crate::builder::{LEASE, LEASES, host, unique};
use crate::engine::{Described, Engine, Fault, Got, Outcome, Records, Serving};
use crate::link::Link;
use crate::receiver::BEATS;
use crate::streams::Streams;

/// How long a getter waits at the server, and a putter between two tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(10));

/// A queue that lives on a server: see the [crate](crate) for what happens when something fails.
///
/// Items come out in the order in which they were put, and those of a getter that was lost come again. Threads may
/// share a `Queue`; each call waits for the others then, so a thread that waits for long has a `Queue` of its own.
///
/// Differs from [`ossature::multiprocessing::Queue`]: an item that was got by [`get`](Self::get) is gone, and one that
/// was got by [`get_guarded`](Self::get_guarded) comes again if its getter is lost. An item holds no descriptors.
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

/// A queue before it is connected.
///
/// # Examples
/// See the example of [`Queue`].
#[must_use = "nothing is connected until `connect`"]
#[derive(Clone, Debug)]
pub struct QueueBuilder {
    maxsize: Option<usize>,
    connect: Duration,
    outage: Duration,
    lease: Duration,
}

/// An item that comes again, to another getter, unless it is [done](Self::done) with or dropped.
///
/// Dropping the guard says that the item is done with, unless the thread panics: then the item goes back.
///
/// # Examples
/// See the example of [`Queue`].
#[must_use = "an item is done with when its guard is dropped"]
pub struct Guarded<T> {
    place: Arc<Place>,
    id: String,
    /// `None` once it is settled.
    item: Option<T>,
}

struct Place {
    link: Link,
    me: Serving,
    maxsize: Option<usize>,
    outage: Duration,
    line: Mutex<Line>,
    /// The records of the items that are guarded.
    has: Mutex<Vec<String>>,
    over: Mutex<bool>,
    turn: Condvar,
}

struct Line {
    engine: Option<Streams>,
    /// How many items were put.
    puts: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
}

impl QueueBuilder {
    /// Says how many items there may be; [`put`](Queue::put) waits for room then. Guarded items count. All users say
    /// the same.
    pub fn maxsize(mut self, items: usize) -> Self {
        self.maxsize = Some(items);
        self
    }

    /// As [`PoolBuilder::connect_timeout`](crate::PoolBuilder::connect_timeout).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// Says how long the server may be away while a call waits; otherwise a minute. The call ends as
    /// [`Closed`](ErrorKind::Closed) then.
    pub fn outage(mut self, limit: Duration) -> Self {
        self.outage = limit;
        self
    }

    /// As [`PoolBuilder::lease`](crate::PoolBuilder::lease): after so much silence guarded items of a getter go
    /// elsewhere.
    pub fn lease(mut self, limit: Duration) -> Self {
        self.lease = limit;
        self
    }

    /// Connects to the queue `name` at `url`, with the addresses of [`Pool::connect`](crate::Pool::connect). A queue
    /// and a pool of one name are two things that must not be: give them two names.
    ///
    /// # Errors
    /// As [`PoolBuilder::connect`](crate::PoolBuilder::connect); [`InvalidInput`](ErrorKind::InvalidInput) for a
    /// `maxsize` of 0.
    pub fn connect<T: Transfer>(self, url: &str, name: &str) -> Result<Queue<T>> {
        if self.maxsize == Some(0) {
            let text = "a queue has room for one item at least: leave maxsize out for one without a bound";
            return Err(engine::error(ErrorKind::InvalidInput, text.into()));
        }
        let link = Link::new(url, name)?;
        let failed = |fault: Fault| link.error(&fault);
        let mut engine = link.open_within(self.connect, || false).map_err(failed)?;
        let me = Serving { id: unique(), lease: self.lease, ttl: self.lease * LEASES };
        engine.beat(&me, &described(), &[]).map_err(failed)?;
        let place = Arc::new(Place {
            link: link.clone(),
            me,
            maxsize: self.maxsize,
            outage: self.outage,
            line: Mutex::new(Line { engine: Some(engine), puts: 0 }),
            has: Mutex::new(Vec::new()),
            over: Mutex::new(false),
            turn: Condvar::new(),
        });
        let theirs = place.clone();
        let keeper = std::thread::Builder::new().name("QueueKeeper".into()).spawn(move || theirs.keep())?;
        Ok(Queue { place, keeper: Some(keeper), kind: PhantomData })
    }
}

fn described() -> Described {
    Described { labels: vec!["q".into()], processes: 0, pid: std::process::id(), calls: 0, running: 0, host: host() }
}

impl Place {
    /// Does something at the server within a limit, again after each outage.
    fn with<T>(
        &self,
        until: Deadline,
        mut ask: impl FnMut(&mut Line, &mut Streams) -> Outcome<T>,
    ) -> Result<Option<T>> {
        let mut line = lock(&self.line);
        let mut away: Option<Instant> = None;
        loop {
            let opened = match line.engine.take() {
                Some(engine) => Ok(engine),
                None => self.link.open(),
            };
            let fault = match opened {
                Err(fault) => fault,
                Ok(mut engine) => match ask(&mut line, &mut engine) {
                    Ok(done) => {
                        line.engine = Some(engine);
                        return Ok(Some(done));
                    }
                    Err(fault @ (Fault::Full(_) | Fault::Refused(_))) => {
                        line.engine = Some(engine);
                        fault
                    }
                    Err(fault) => fault,
                },
            };
            let since = *away.get_or_insert_with(Instant::now);
            let lasting = matches!(fault, Fault::Auth(_) | Fault::Refused(_));
            // A server without memory is as a full queue: for as long as the caller waits.
            let too_long = since.elapsed() > self.outage && !matches!(fault, Fault::Full(_));
            if lasting || too_long {
                return Err(self.link.error(&fault));
            }
            if until.has_passed() {
                return match fault {
                    Fault::Full(_) => Ok(None),
                    fault => Err(self.link.error(&fault)),
                };
            }
            std::thread::sleep(until.remaining().map_or(WAIT.1, |left| left.min(WAIT.1)));
        }
    }

    /// The life of the thread that says that this user lives.
    fn keep(&self) {
        let mut engine: Option<Streams> = None;
        loop {
            let over = lock(&self.over);
            let pause = self.me.lease / BEATS;
            let waited = self.turn.wait_timeout_while(over, pause, |over| !*over || !lock(&self.has).is_empty());
            if *waited.unwrap_or_else(PoisonError::into_inner).0 && lock(&self.has).is_empty() {
                break;
            }
            if engine.is_none() {
                engine = self.link.open().ok();
            }
            let beat = engine.as_mut().map(|engine| engine.beat(&self.me, &described(), &[]));
            if beat.is_some_and(|beat| beat.is_err()) {
                engine = None;
            }
        }
        if let Some(mut engine) = engine.or_else(|| self.link.open().ok()) {
            let _ = engine.retire(&self.me); // a server that is away forgets this user by itself
        }
    }

    /// Takes an item, within the limit.
    fn take(&self, until: Deadline) -> Result<Option<(String, Vec<u8>)>> {
        loop {
            let got = self.with(until, |_, engine| {
                let has = lock(&self.has).clone();
                match engine.get(&self.me, &has)? {
                    Got::Unknown => {
                        engine.beat(&self.me, &described(), &[])?;
                        engine.get(&self.me, &has)
                    }
                    Got::Nothing(last) if !until.has_passed() => {
                        let wait = until.remaining().map_or(WAIT.0, |left| left.min(WAIT.0));
                        engine.listen(&last, wait)?;
                        engine.get(&self.me, &has)
                    }
                    got => Ok(got),
                }
            })?;
            match got {
                Some(Got::Item(id, bytes)) => return Ok(Some((id, bytes))),
                _ if until.has_passed() => return Ok(None),
                _ => {}
            }
        }
    }

    /// Says that an item is done with, or gives it back; false when another has it by now.
    fn settle(&self, id: &str, back: bool) -> Result<bool> {
        let limit = Deadline::after(self.outage);
        let settled = self.with(limit, |_, engine| engine.settle(&self.me, id, back));
        lock(&self.has).retain(|has| has != id); // last, so that the item does not come again from here
        self.turn.notify_all();
        Ok(settled?.unwrap_or(false))
    }
}

impl<T: Transfer> Queue<T> {
    /// Connects to the queue `name` at `url`, without a bound of its length.
    ///
    /// # Errors
    /// As [`QueueBuilder::connect`].
    pub fn connect(url: &str, name: &str) -> Result<Self> {
        Queue::builder().connect(url, name)
    }

    /// Puts an item, which may be lent. Waits while the queue is full.
    ///
    /// Returns once the server has the item. A put that was repeated after a broken connection is one. If a replica
    /// takes over at the server's end, items of the last moments may be lost, though their puts have returned: nobody
    /// has them to put again.
    ///
    /// # Errors
    /// * [`InvalidInput`](ErrorKind::InvalidInput) for what cannot be serialised,
    ///   [`Unsupported`](ErrorKind::Unsupported) for descriptors and shared memory.
    /// * [`Closed`](ErrorKind::Closed) when the server is away for longer than [`outage`](QueueBuilder::outage). The
    ///   item may be there.
    pub fn put(&self, item: impl Borrow<T>) -> Result<()> {
        self.put_timeout(item, Deadline::NEVER).map(drop)
    }

    /// As [`put`](Self::put), until the deadline.
    ///
    /// # Errors
    /// As [`put`](Self::put); [`Full`](ErrorKind::Full) when the time ran out.
    pub fn put_timeout(&self, item: impl Borrow<T>, timeout: impl Into<Deadline>) -> Result<()> {
        let until: Deadline = timeout.into();
        let bytes = engine::pack(item.borrow())?;
        let place = &*self.place;
        loop {
            let put = place.with(until, |line, engine| {
                let put = engine.put(&place.me, line.puts + 1, place.maxsize, &bytes)?;
                line.puts += u64::from(put);
                Ok(put)
            })?;
            if put == Some(true) {
                return Ok(());
            }
            if until.has_passed() {
                let text = format!("the queue {} is full, and the time ran out", place.link.name());
                return Err(engine::error(ErrorKind::Full, text));
            }
            std::thread::sleep(until.remaining().map_or(WAIT.1, |left| left.min(WAIT.1)));
        }
    }

    /// Takes the next item. Waits for one.
    ///
    /// The item is done with: if this process is killed now, the item is lost.
    ///
    /// # Errors
    /// * [`Decode`](ErrorKind::Decode) for an item of another type. It is gone.
    /// * [`Closed`](ErrorKind::Closed) when the server is away for longer than [`outage`](QueueBuilder::outage).
    pub fn get(&self) -> Result<T> {
        loop {
            if let Some(item) = self.get_timeout(Deadline::NEVER)? {
                return Ok(item);
            }
        }
    }

    /// As [`get`](Self::get), until the deadline. Returns `None` when the time ran out.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<T>> {
        let until: Deadline = timeout.into();
        while let Some((id, bytes)) = self.place.take(until)? {
            // One that another has by now is the other's.
            if self.place.settle(&id, false)? {
                return engine::unpack(&bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// Takes the next item, which comes again to another getter if this process dies before it is done with.
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

    /// As [`get_guarded`](Self::get_guarded), until the deadline. Returns `None` when the time ran out.
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
                self.place.settle(&id, false)?;
                Err(error)
            }
        }
    }

    /// How many items are there, guarded ones included.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize> {
        self.count().map(|(length, _)| length)
    }

    /// Whether no item is there.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|length| length == 0)
    }

    /// How many items were put and not said to be finished by [`task_done`](Self::task_done).
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

    /// Says that an item which was got is finished.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when it was said as often as items were put (Python's `ValueError`);
    /// [`Closed`](ErrorKind::Closed).
    pub fn task_done(&self) -> Result<()> {
        let limit = Deadline::after(self.place.outage);
        match self.place.with(limit, |_, engine| engine.done())? {
            Some(true) => Ok(()),
            _ => {
                let text = "task_done() called too many times: once for each item that was put";
                Err(engine::error(ErrorKind::InvalidInput, text.into()))
            }
        }
    }

    /// Waits until every item that was put is said to be finished.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Deadline::NEVER).map(drop)
    }

    /// As [`join`](Self::join), until the deadline. Returns false when the time ran out.
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
    /// A queue before it is connected.
    pub fn builder() -> QueueBuilder {
        QueueBuilder { maxsize: None, connect: Duration::from_secs(5), outage: Duration::from_secs(60), lease: LEASE }
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        *lock(&self.place.over) = true;
        self.place.turn.notify_all();
        // Guards that are alive keep their items, and the thread goes on for them.
        if let Some(keeper) = self.keeper.take().filter(|_| lock(&self.place.has).is_empty()) {
            let _ = keeper.join();
        }
    }
}

impl<T> Guarded<T> {
    /// Says that the item is done with, and gives it out of the guard.
    ///
    /// # Errors
    /// [`Abandoned`](ErrorKind::Abandoned) when this process was not heard of for so long that another has the item;
    /// [`Closed`](ErrorKind::Closed) when the server is away: then the item comes again.
    pub fn done(mut self) -> Result<T> {
        let lost = || -> Error {
            let text = "this process was not heard of for so long that another one has got the item";
            engine::error(ErrorKind::Abandoned, text.into())
        };
        let item = self.item.take().ok_or_else(lost)?;
        if self.place.settle(&self.id, false)? { Ok(item) } else { Err(lost()) }
    }

    /// Gives the item back: it comes again, to any getter, before those behind it.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) when the server is away: then the item comes again after the lease.
    pub fn give_back(mut self) -> Result<()> {
        self.item = None;
        self.place.settle(&self.id, true).map(drop)
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Some(item) => item,
            None => unreachable!("a guard that is settled is gone"),
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if self.item.is_some() {
            if let Err(error) = self.place.settle(&self.id, std::thread::panicking()) {
                log::warn!("an item of the queue {} comes again: {error}", self.place.link.name());
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
