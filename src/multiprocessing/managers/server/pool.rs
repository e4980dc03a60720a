//! A pool of processes on a server. Its workers run the calls of tasks, and helper threads send the replies.
//!
//! Arguments and values are sent as the bytes that the client writes and reads: server and client are of one build.
//! Both sides decode them within the bounds of a stranger's message, because any client that knows the key can send any
//! bytes.

use std::num::NonZero;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError, RwLock};

use ossature_sys::deadline::Deadline;

use super::super::builtin::helpers::limit;
use super::super::served::Answer;
use super::super::served::Handed;
use super::super::served::Outcome;
use super::super::served::Returned;
use super::super::{Arguments, Exception, Managed, Proxy};
use crate::error::Error;
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::context::Context;
use crate::multiprocessing::pool::{Opaque, Pool};
use crate::multiprocessing::tasks::BuildId;
use crate::multiprocessing::transfer::{self, Bounds, Descriptors, Packed, Trust};

type Raised<T> = Result<T, Exception>;

/// A served pool.
pub(in super::super) struct ServedPool {
    pool: Pool,
    _share: Share,
}

/// The results of one call of a served pool.
pub(in super::super) struct PoolResults {
    calls: usize,
    opaque: Opaque,
    /// The values, once a client has requested all of them: as in Python, a client may request them again.
    all: Mutex<Option<Raised<Value>>>,
    /// The number of values that were returned one by one.
    given: Mutex<usize>,
}

/// The maximum number of workers of all pools of this process together.
const MOST: usize = 1024;

/// The workers of one pool, counted against the maximum.
struct Share(usize);

static WORKERS: AtomicUsize = AtomicUsize::new(0);

impl Share {
    fn of(workers: usize) -> Raised<Self> {
        if workers == 0 {
            return Err(Exception::new("ValueError", "Number of processes must be at least 1"));
        }
        let taken = WORKERS.fetch_update(Relaxed, Relaxed, |taken| {
            taken.checked_add(workers).filter(|sum| *sum <= MOST) // a count, which orders nothing else
        });
        taken.map(|_| Self(workers)).map_err(|taken| {
            let message = format!(
                "cannot add workers: the pools of this server have {taken} workers, and may have {MOST} together"
            );
            Exception::new("MemoryError", message)
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        WORKERS.fetch_sub(self.0, Relaxed);
    }
}

fn raised(error: Error) -> Exception {
    Exception::of(error)
}

/// Refuses a client that is another program, or another build of this one.
fn check(build: Vec<u8>) -> Raised<()> {
    let bounds = Bounds::of_stranger(build.len());
    let packed = Packed { bytes: build, descriptors: Descriptors::new() };
    match transfer::unpack::<BuildId>(packed, Trust::Untrusted, bounds) {
        Ok(build) if build.is_own() => Ok(()),
        _ => Err(Exception::new(
            "TypeError",
            "cannot run functions of another program: call this server's pool from the same build of its program",
        )),
    }
}

impl Managed for ServedPool {
    type Proxy = Proxy;

    const TYPEID: &'static str = "Pool";

    const METHODS: &'static [&'static str] = &["close", "join", "submit", "terminate", "workers"];

    fn make(arguments: Arguments) -> Raised<Self> {
        let (workers,): (Option<usize>,) = arguments.take(&["processes"])?;
        let workers = workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
        let _share = Share::of(workers)?;
        // The server has several threads, so that it cannot be forked.
        let builder = Pool::builder().context(Context::Spawn).workers(workers).for_strangers();
        let pool = builder.build().map_err(raised)?;
        Ok(Self { pool, _share })
    }

    fn call(object: &RwLock<Self>, method: &str, arguments: Arguments) -> Outcome {
        let Self { pool, .. } = &*object.read().unwrap_or_else(PoisonError::into_inner);
        let none = |done: crate::Result<()>| done.map(|()| Answer::Value(Value::None)).map_err(raised);
        match method {
            "submit" => {
                let names = ["build", "task", "calls", "chunksize"];
                let [build, task, calls, chunksize] =
                    <[Value; 4]>::try_from(arguments.by_names(&names)?).unwrap_or_default();
                let Value::Bytes(build) = build else { return Err(wrong()) };
                check(build)?;
                let (Value::Text(task), Value::List(calls)) = (task, calls) else { return Err(wrong()) };
                let calls = calls.into_iter().map(|call| match call {
                    Value::Bytes(bytes) => Ok(bytes),
                    _ => Err(wrong()),
                });
                let calls = calls.collect::<Raised<Vec<_>>>()?;
                let chunksize = chunksize.as_int().and_then(|size| usize::try_from(size).ok());
                let opaque = pool.give_opaque(&task, &calls, chunksize).map_err(raised)?;
                let (all, given) = (Mutex::default(), Mutex::default());
                Handed::new(PoolResults { calls: calls.len(), opaque, all, given }).answer()
            }
            "close" => none(pool.close()),
            "terminate" => none(pool.terminate()),
            "join" => {
                let [timeout] = <[Value; 1]>::try_from(arguments.by_names(&["timeout"])?).unwrap_or_default();
                let joined = pool.join_timeout(limit(&timeout)?).map_err(raised)?;
                Ok(Answer::Value(joined.into()))
            }
            "workers" => Ok(Answer::Value(pool.workers().into())),
            other => Err(Exception::new("AttributeError", other)),
        }
    }
}

fn wrong() -> Exception {
    Exception::new("TypeError", "submit takes the bytes of a build, the name of a task and a list of bytes")
}

impl Managed for PoolResults {
    type Proxy = Proxy;

    const TYPEID: &'static str = "AsyncResult";

    const METHODS: &'static [&'static str] = &["get", "next", "ready", "successful", "wait"];

    fn make(_: Arguments) -> Raised<Self> {
        Err(Exception::new("TypeError", "cannot make results: only the methods of a pool return them"))
    }

    fn call(object: &RwLock<Self>, method: &str, arguments: Arguments) -> Outcome {
        let this = &*object.read().unwrap_or_else(PoisonError::into_inner);
        let value = match method {
            "get" => {
                let [timeout] = <[Value; 1]>::try_from(arguments.by_names(&["timeout"])?).unwrap_or_default();
                this.all(limit(&timeout)?)?
            }
            "next" => {
                let names = ["ordered", "timeout"];
                let [ordered, timeout] = <[Value; 2]>::try_from(arguments.by_names(&names)?).unwrap_or_default();
                this.next(ordered == Value::Bool(true), limit(&timeout)?)?
            }
            "ready" => this.opaque.is_done().map_err(raised)?.into(),
            "successful" => match this.opaque.is_done().map_err(raised)? {
                true => this.opaque.has_only_values().into(),
                false => return Err(Exception::new("ValueError", "the result is not ready")),
            },
            "wait" => {
                let [timeout] = <[Value; 1]>::try_from(arguments.by_names(&["timeout"])?).unwrap_or_default();
                this.opaque.wait(limit(&timeout)?).map_err(raised)?.into()
            }
            other => return Err(Exception::new("AttributeError", other)),
        };
        Ok(Answer::Value(value))
    }
}

impl PoolResults {
    fn late() -> Exception {
        Exception::with_args("multiprocessing.context.TimeoutError", Vec::new())
    }

    /// Waits for the values of all calls, in their order, or the first failure.
    fn all(&self, until: Deadline) -> Raised<Value> {
        if !self.opaque.wait(until).map_err(raised)? {
            return Err(Self::late());
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner); // no change leaves it half made
        let collect = || {
            if let Some(error) = self.opaque.failure() {
                return Err(raised(error));
            }
            let mut values = Vec::with_capacity(self.calls);
            for _ in 0..self.calls {
                let bytes = self.opaque.next(true, Deadline::NOW).map_err(raised)?;
                values.push(Value::Bytes(bytes.ok_or_else(Self::late)?));
            }
            Ok(Value::List(values))
        };
        all.get_or_insert_with(collect).clone()
    }

    /// Waits for the next value, in the order of the calls or of their ends.
    fn next(&self, ordered: bool, until: Deadline) -> Raised<Value> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner); // as above
        if *given == self.calls {
            return Err(Exception::with_args("StopIteration", Vec::new()));
        }
        let next = self.opaque.next(ordered, until);
        match next {
            Ok(None) => Err(Self::late()),
            Ok(Some(bytes)) => {
                *given += 1;
                Ok(Value::Bytes(bytes))
            }
            Err(error) => {
                *given += 1;
                Err(raised(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_all_pools_have_a_bound_and_come_back() {
        let all = Share::of(MOST).unwrap_or_else(|error| panic!("{error}"));
        let refused = Share::of(1).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("have 1024 workers")));
        assert!(Share::of(usize::MAX).is_err() && Share::of(0).is_err());
        drop(all);
        assert!(Share::of(MOST).is_ok());
    }
}
