//! Pools over Redis or Valkey Streams: the calls of [`ossature::multiprocessing::Pool`], made on many machines.
//!
//! ```no_run
//! use ossature::multiprocessing::{Tasks, freeze_support, tasks};
//! use ossature_redis::{Pool, worker_support};
//!
//! fn square(number: u64) -> u64 {
//!     number * number
//! }
//!
//! static TASKS: Tasks = tasks![square];
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS);
//!     worker_support(); // prog worker --url redis://broker/ --pool render -j 8
//!     let pool = Pool::connect("redis://broker/", "render")?; // in place of Pool::new(8)
//!     assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
//!     Ok(())
//! }
//! ```
//!
//! On each machine the same program runs as `prog worker`, which has a local pool. The server is Redis 7 or newer, or
//! Valkey.
//!
//! # What happens when something fails
//!
//! | what fails | what a call does |
//! | --- | --- |
//! | a process of a worker is killed | it ends as [`WorkerDied`](ossature::ErrorKind::WorkerDied) at once, with number and signal; or it runs again, with [`retries`](PoolBuilder::retries) |
//! | a host is lost, or its worker | calls in chunks that it had begun end as `WorkerDied` after ten seconds, or run again with `retries`; chunks that it had only taken go elsewhere, uncharged |
//! | a call takes an hour | its worker says every second that it lives, so nobody else gets the call |
//! | the server restarts | calls wait, and go on; after [`outage`](PoolBuilder::outage) they end as [`Closed`](ossature::ErrorKind::Closed) |
//! | a replica takes over | what it had not got is given out again by the client: a call may run twice, its result comes once |
//! | the replica is empty | the same, of everything |
//! | the server has no memory left | new chunks wait, results go on |
//! | the program that waits is killed | its chunks and results leave the server after a minute; workers end its calls |
//! | a call kills every host that runs it | it is tried as often as `retries` says; then it ends as `WorkerDied`, and lies among the [dead letters](Pool::dead_letters) |
//! | bytes of a stranger in the stream | they go to the dead letters, and nobody stops |
//! | workers of another build | they never see the chunks; with no others there, calls end as [`Incompatible`](ossature::ErrorKind::Incompatible), naming both builds |
//! | wrong password, no such server | [`Auth`](ossature::ErrorKind::Auth), [`Closed`](ossature::ErrorKind::Closed) from [`Pool::connect`], with the address |
//! | arguments with a descriptor or shared memory | [`Unsupported`](ossature::ErrorKind::Unsupported), before anything is sent |
//!
//! Whoever may write to the keys of a pool can have its workers run any task of the table with any arguments.
//!
//! # Keys
//!
//! All begin with the pool's name in braces, so that a cluster keeps them in one slot.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{name}:tasks:LABEL` | stream, group `w` | a record for each chunk of calls that has not ended: client `c`, number `n`, bytes `b`. LABEL is the build of the program, or `v:VERSION` |
//! | `{name}:labels` | set | the labels |
//! | `{name}:c:CLIENT:at` | hash | number of each chunk that has not ended, and the record's id. It expires a minute after the client's last word |
//! | `{name}:c:CLIENT:big` | hash | bytes of chunks above 256 KiB |
//! | `{name}:c:CLIENT:out` | stream | answers that the client has not taken: number `n`, bytes `r` |
//! | `{name}:c:CLIENT:out:big` | hash | answers above 256 KiB |
//! | `{name}:alive` | sorted set | until when each worker has a lease |
//! | `{name}:workers` | hash | what each worker says of itself |
//! | `{name}:sweep` | string | when somebody last looked for workers without a lease |
//! | `{name}:dead` | stream | dead letters, a thousand at most |
//!
//! A worker reads the group as two consumers: `WORKER/r` has the chunks that run, `WORKER/a` those that were taken
//! ahead of their turn. The consumer `~` has chunks that were given back. `XINFO CONSUMERS` and `XPENDING` show all of
//! that.
//!
//! # States of a chunk
//!
//! A call moves with its chunk. The number in `at` says whether anybody waits for the chunk, and every step that ends
//! one takes that number away in the same script. So each chunk has one answer.
//!
//! | state | at the server | who changes it, and to what | if that party dies here |
//! | --- | --- | --- | --- |
//! | cut | nothing | client: submit, to *waiting*. Only chunks without a number in `at` are added, so it may be repeated | the call was never made |
//! | waiting | record, number | a worker claims it, to *taken* or *running*; the client withdraws it, to *withdrawn* | any worker claims it |
//! | taken | pending at `WORKER/a` | the worker begins it, to *running*, or gives it back, to *returned*; whoever sweeps, once the lease is over, to *returned* | the lease ends; it goes elsewhere, uncharged |
//! | returned | pending at `~` | a worker claims it, to *taken* or *running* | any worker claims it |
//! | running | pending at `WORKER/r` | the worker finishes it, to *answered*; whoever sweeps, once the lease is over, to *answered* with "lost" | the lease ends; the client hears that the host was lost |
//! | answered | answer in `out`, no number, no record | the client takes the answer, to *ended* | the answer waits; it expires with the client |
//! | ended | nothing | - | - |
//! | withdrawn | nothing | the worker that runs it hears at its next beats that nobody waits, and kills the call | - |
//! | lost at a fail-over | some or none of the above | the client, to *waiting*: after each reconnection and two beats of silence it asks which of its chunks are neither waiting nor claimed, takes in all answers, and submits the rest | the client's death ends the chunk anyway |
//! | abandoned | number and records expire | workers drop records without a number when they claim them | - |
//!
//! A chunk that was lost at a fail-over may still run at a worker that the new server knows nothing of. The first that
//! finishes takes the number away; the other's answer is dropped.
//!
//! What a worker hears at a beat has all that it has claimed. What it does not know of goes back: the answer to its
//! claim was lost on the way, or a replica took over that had not heard of the chunk's end.
//!
//! A sweep is done by every beat of a worker or client. If nobody has looked for half a lease, the server was away;
//! then all leases begin anew, because their holders could not renew them.

mod builder;
mod engine;
mod hub;
mod imap;
mod job;
mod life;
mod link;
mod pool;
mod queue;
mod receiver;
mod records;
mod result;
mod scripts;
mod streams;
mod support;
mod wire;
mod worker;

#[doc(inline)]
pub use builder::PoolBuilder;
#[doc(inline)]
pub use imap::IMapIterator;
#[doc(inline)]
pub use pool::{Chunked, DeadLetter, HostStats, Pool};
#[doc(inline)]
pub use queue::{Guarded, Queue, QueueBuilder};
#[doc(inline)]
pub use result::{AsyncResult, MapResult};
#[doc(inline)]
pub use support::worker_support;
#[doc(inline)]
pub use worker::Worker;

/// The programs in docs/guide/redis.md compile.
#[cfg(doctest)]
#[doc = include_str!("../guide.md")]
mod guide {}
