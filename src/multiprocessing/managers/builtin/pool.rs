//! Typed proxies of a pool on a server, and of its results.

use std::marker::PhantomData;
use std::time::Duration;

use super::super::served::Answer;
use super::super::served::Arrived;
use super::super::served::Outcome;
use super::super::served::Returned;
use super::super::server::pool::{PoolResults, ServedPool};
use super::super::{Exception, Handed, Managed, Proxy};
use super::proxies::seconds;
use super::typed::{calls, typed, unless};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::Manager;
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::tasks::{Arguments, BuildId, Form, Target, nameable, registered};
use crate::multiprocessing::transfer::{self, Bounds, Descriptors, Packed, Transfer, Trust, pack};

/// The exception class for a wait that has run out of time.
const LATE: &str = "multiprocessing.context.TimeoutError";

typed! {
    /// A proxy of a pool of processes on a server.
    ///
    /// The workers are children of the server, at most 1,024 of all pools together, and run the tasks of the program.
    /// Client and server have to be of one build. Any client that knows the key may run any task of the table, with any
    /// arguments. Arguments and values hold no descriptors.
    ///
    /// A client of CPython cannot name tasks: the calls of its pool proxy are errors. A pool of CPython is driven by
    /// [`Proxy::call`], with a [`Global`](crate::multiprocessing::connection::pickle::Global) as the function.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, Tasks, freeze_support, tasks};
    ///
    /// fn power(base: u64, exponent: u32) -> u64 {
    ///     base.pow(exponent)
    /// }
    ///
    /// fn half(number: u64) -> u64 {
    ///     number / 2
    /// }
    ///
    /// static TASKS: Tasks = tasks![power, half];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let manager = Manager::start(Context::Spawn)?;
    ///     let pool = manager.pool(2)?;
    ///     assert_eq!((pool.workers()?, pool.apply(power, (2, 10))?), (2, 1024));
    ///     let result = pool.apply_async(power, (3, 3))?;
    ///     assert!(result.wait_timeout(Duration::from_secs(60))? && result.ready()? && result.successful()?);
    ///     assert_eq!((result.get()?, result.get()?), (27, 27));
    ///
    ///     assert_eq!(pool.map(half, 0..4)?, [0, 0, 1, 1]);
    ///     assert_eq!(pool.starmap(power, [(2, 2), (2, 3)])?, [4, 8]);
    ///     let halves = pool.map_async(half, [8, 6])?;
    ///     assert_eq!(halves.get_timeout(Duration::from_secs(60))?, Some(vec![4, 3]));
    ///     assert_eq!(pool.starmap_async(power, [(1, 1)])?.get()?, [1]);
    ///     assert_eq!(pool.imap(half, [4, 2])?.collect::<ossature::Result<Vec<_>>>()?, [2, 1]);
    ///     assert_eq!(pool.imap_unordered(half, [4, 2])?.sum::<ossature::Result<u64>>()?, 3);
    ///     pool.close()?;
    ///     assert!(pool.join_timeout(Duration::from_secs(60))?);
    ///     pool.join()
    /// }
    /// ```
    PoolProxy
}

typed! {
    /// A proxy of the result of one call.
    ///
    /// Differs from the result of a [`Pool`](crate::multiprocessing::Pool): the value may be requested again.
    ///
    /// # Examples
    /// See the example of [`PoolProxy`].
    #[doc(alias = "AsyncResult")]
    AsyncResultProxy<R>
}

typed! {
    /// A proxy of the results of a map.
    ///
    /// # Examples
    /// See the example of [`PoolProxy`].
    #[doc(alias = "MapResult")]
    MapResultProxy<R>
}

/// An iterator over the results of an [`imap`](PoolProxy::imap).
///
/// # Examples
/// See the example of [`PoolProxy`].
#[doc(alias = "IteratorProxy")]
#[derive(Debug)]
pub struct ImapProxy<R> {
    proxy: Proxy,
    ordered: bool,
    /// Whether an error of the connection has ended the iteration.
    over: bool,
    kind: PhantomData<fn() -> R>,
}

/// A reply without conversion.
struct Plain;

impl Returned for Plain {
    type There = Value;

    fn answer(self) -> Outcome {
        Ok(Answer::Value(Value::None))
    }

    fn arrive(reply: Arrived) -> Result<Value> {
        match reply {
            Arrived::Value(value) => Ok(value),
            Arrived::Proxy(proxy) => proxy.to_value(),
        }
    }
}

fn unpacked<R: Transfer>(value: Value) -> Result<R> {
    let Value::Bytes(bytes) = value else {
        let message = format!("a pool returned a {} instead of bytes", value.type_name());
        return Err(Error::new(ErrorKind::Decode, message));
    };
    let bounds = Bounds::of_stranger(bytes.len());
    transfer::unpack(Packed { bytes, descriptors: Descriptors::new() }, Trust::Untrusted, bounds)
}

fn unpacked_all<R: Transfer>(value: Value) -> Result<Vec<R>> {
    match value {
        Value::List(values) | Value::Tuple(values) => values.into_iter().map(unpacked).collect(),
        other => {
            let message = format!("a pool returned a {} instead of a list", other.type_name());
            Err(Error::new(ErrorKind::Decode, message))
        }
    }
}

fn packed<A: serde::Serialize>(task: &str, args: &A) -> Result<Value> {
    let Packed { bytes, descriptors } = pack(args)?;
    if !descriptors.is_empty() {
        let message = format!(
            "cannot send the arguments of {task}: they contain a descriptor or shared memory, which a server does not pass on"
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(Value::Bytes(bytes))
}

impl PoolProxy {
    calls! {
        /// The number of workers.
        workers() -> u64 = "workers"();
        /// Refuses new calls. Earlier calls continue.
        close() -> () = "close"();
        /// Ends the pool, and the calls that are still running.
        terminate() -> () = "terminate"() waits;
    }

    /// Waits until the workers have ended, after [`close`](Self::close) or [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    pub fn join(&self) -> Result<()> {
        self.proxy.call::<bool>("join", ()).map(drop)
    }

    /// Does what [`join`](Self::join) does for at most `limit`; `false` when the time ran out.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    pub fn join_timeout(&self, limit: Duration) -> Result<bool> {
        self.proxy.call_within::<bool>("join", (seconds(limit),), limit)
    }

    /// Sends calls of a task to the workers.
    fn submit<F, Args>(&self, target: F, calls: impl IntoIterator<Item = Args>, chunksize: Option<u64>) -> Result<Proxy>
    where
        F: Target<Args>,
        Args: Arguments,
    {
        nameable::<F>();
        let task = registered(target, Form::Value)?.name;
        let own = BuildId::own()
            .map_err(|error| Error::from(error).with_message("cannot determine the build of this program"))?;
        let build = pack(own)?.bytes;
        let calls = calls.into_iter().map(|args| packed(task, &args)).collect::<Result<Vec<_>>>()?;
        let chunksize = chunksize.map_or(Value::None, Value::from);
        let args = vec![Value::Bytes(build), task.into(), Value::List(calls), chunksize];
        self.proxy.call_with::<Handed<PoolResults>>("submit", args, Vec::new())
    }

    /// Runs `target` with `args` in a worker of the server, and waits for its value.
    ///
    /// # Errors
    /// As for [`apply_async`](Self::apply_async) and [`AsyncResultProxy::get`].
    pub fn apply<F, Args>(&self, target: F, args: Args) -> Result<F::Output>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        self.apply_async(target, args)?.get()
    }

    /// Sends a call of `target` with `args` to a worker of the server. Does not wait for the value.
    ///
    /// # Errors
    /// As for [`Proxy::call`]. [`UnknownTask`](ErrorKind::UnknownTask) when no table of tasks contains `target`.
    /// [`Remote`](ErrorKind::Remote) for a server of another program or build, and for a pool that was closed.
    /// [`Unsupported`](ErrorKind::Unsupported) when `args` hold a descriptor or shared memory.
    pub fn apply_async<F, Args>(&self, target: F, args: Args) -> Result<AsyncResultProxy<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        self.submit(target, [args], None).map(Into::into)
    }

    /// Calls `target` with each item, in the workers of the server, and waits for all values, in the order of the
    /// items.
    ///
    /// # Errors
    /// As for [`apply_async`](Self::apply_async) and [`MapResultProxy::get`].
    pub fn map<F, A, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.map_async(target, items)?.get()
    }

    /// Does what [`map`](Self::map) does, without the wait.
    ///
    /// # Errors
    /// As for [`apply_async`](Self::apply_async).
    pub fn map_async<F, A, I>(&self, target: F, items: I) -> Result<MapResultProxy<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.starmap_async(target, items.into_iter().map(|item| (item,)))
    }

    /// Does what [`map`](Self::map) does, for functions of several arguments.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    pub fn starmap<F, Args, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
    {
        self.starmap_async(target, items)?.get()
    }

    /// Does what [`starmap`](Self::starmap) does, without the wait.
    ///
    /// # Errors
    /// As for [`apply_async`](Self::apply_async).
    pub fn starmap_async<F, Args, I>(&self, target: F, items: I) -> Result<MapResultProxy<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
    {
        self.submit(target, items, None).map(Into::into)
    }

    /// Calls `target` with each item, and yields the values in the order of the items. All items are sent first.
    ///
    /// # Errors
    /// As for [`apply_async`](Self::apply_async).
    pub fn imap<F, A, I>(&self, target: F, items: I) -> Result<ImapProxy<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        let proxy = self.submit(target, items.into_iter().map(|item| (item,)), Some(1))?;
        Ok(ImapProxy { proxy, ordered: true, over: false, kind: PhantomData })
    }

    /// Does what [`imap`](Self::imap) does, but yields the values in the order in which the calls end.
    ///
    /// # Errors
    /// As for [`apply_async`](Self::apply_async).
    pub fn imap_unordered<F, A, I>(&self, target: F, items: I) -> Result<ImapProxy<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        Ok(ImapProxy { ordered: false, ..self.imap(target, items)? })
    }
}

macro_rules! results {
    ($($Proxy:ident $value:ty, $take:expr;)*) => {$(
        impl<R: Transfer> $Proxy<R> {
            calls! {
                /// Whether every call has ended.
                ready() -> bool = "ready"();
                /// Whether every call has ended with a value; the exception is `ValueError` while a call has not ended.
                successful() -> bool = "successful"();
            }

            /// Waits until every call has ended, for at most `limit`; `false` when the time ran out.
            ///
            /// # Errors
            /// As for [`Proxy::call`].
            #[doc(alias = "wait")]
            pub fn wait_timeout(&self, limit: Duration) -> Result<bool> {
                self.proxy.call_within::<bool>("wait", (seconds(limit),), limit)
            }

            /// Waits for the value.
            ///
            /// # Errors
            /// As for [`Proxy::call`]; [`Remote`](ErrorKind::Remote) with the text of the pool's error when the task
            /// panicked, or its worker died.
            pub fn get(&self) -> Result<$value> {
                self.proxy.call_with::<Plain>("get", Vec::new(), Vec::new()).and_then($take)
            }

            /// Does what [`get`](Self::get) does for at most `limit`; `None` when the time ran out.
            ///
            /// # Errors
            /// As for [`get`](Self::get).
            pub fn get_timeout(&self, limit: Duration) -> Result<Option<$value>> {
                let value = unless(self.proxy.call_within::<Plain>("get", (seconds(limit),), limit), LATE)?;
                value.map($take).transpose()
            }
        }
    )*};
}

results! {
    AsyncResultProxy R, |value| {
        let mut values: Vec<R> = unpacked_all(value)?;
        values.pop().ok_or_else(|| Error::new(ErrorKind::NoResult, "the call has no value"))
    };
    MapResultProxy Vec<R>, unpacked_all;
}

impl<R: Transfer> ImapProxy<R> {
    /// Waits for the next value, for at most `limit`. `Some(Ok(None))` when the time ran out; `None` after the last
    /// value.
    ///
    /// # Errors
    /// As for [`AsyncResultProxy::get`], for one call.
    ///
    /// # Examples
    /// See the example of [`PoolProxy`].
    pub fn next_timeout(&mut self, limit: Duration) -> Option<Result<Option<R>>> {
        if self.over {
            return None;
        }
        let next = self.proxy.call_within::<Plain>("next", (self.ordered, seconds(limit)), limit);
        match unless(next, "StopIteration") {
            Err(error) if Exception::inside(&error).is_some_and(|it| it.class() == LATE) => Some(Ok(None)),
            next => self.arrived(next).map(|value| value.map(Some)),
        }
    }

    /// Converts a reply to the next item.
    fn arrived(&mut self, next: Result<Option<Value>>) -> Option<Result<R>> {
        match next {
            Ok(value) => value.map(unpacked),
            Err(error) => {
                self.over = error.kind() != ErrorKind::Remote;
                Some(Err(error))
            }
        }
    }
}

/// Iterates past errors of single calls. An error of the connection is the last item.
impl<R: Transfer> Iterator for ImapProxy<R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        if self.over {
            return None;
        }
        let next = self.proxy.call_with::<Plain>("next", vec![self.ordered.into()], Vec::new());
        self.arrived(unless(next, "StopIteration"))
    }
}

impl Manager {
    /// Makes a pool on the server with `workers` processes, for the tasks of this program.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    #[doc(alias = "Pool")]
    pub fn pool(&self, workers: u32) -> Result<PoolProxy> {
        self.create(ServedPool::TYPEID, (workers,)).map(Into::into)
    }
}
