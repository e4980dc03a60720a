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
//! The last column names the tests of a line, which `cargo test -p ossature-redis` runs.
//!
//! | what fails | what a call of a pool does | tests |
//! | --- | --- | --- |
//! | a process of a worker is killed | it ends as [`WorkerDied`](ossature::ErrorKind::WorkerDied) at once, with number and signal; or it runs again, with [`retries`](PoolBuilder::retries) | `a_killed_process_ends_its_call_at_once_and_no_other` |
//! | a host is lost, or its worker | calls in chunks that it had begun end as `WorkerDied` after ten seconds, or run again with `retries`; chunks that it had only taken go elsewhere, uncharged | `a_lost_host_ends_what_it_had_begun_and_no_more`, `what_a_lost_host_ran_runs_again_with_retries` |
//! | a call takes an hour | its worker says every second that it lives, so nobody else gets the call | `a_long_call_on_a_living_host_is_made_once` |
//! | a host stands still for longer than its lease | the call ends as on a lost host; what the host still answers is dropped, so each call has one end | `a_host_that_stood_still_does_not_answer_twice` |
//! | a connection breaks, and with it the server's answer | the step is repeated, and counts once; a chunk that was claimed goes back | `a_claim_whose_answer_was_lost_goes_back`, `answers_that_are_lost_in_any_step_lose_no_call` |
//! | the server restarts | calls wait, and go on; after [`outage`](PoolBuilder::outage) they end as [`Closed`](ossature::ErrorKind::Closed) | `a_server_that_comes_back_goes_on_where_it_was`, `leases_begin_anew_after_an_outage`, `a_server_that_stays_away_ends_calls_as_closed` |
//! | a replica takes over | what it had not got is given out again by the client: a call may run twice, its result comes once | `what_a_promoted_replica_lost_is_given_out_again`, `what_was_cancelled_does_not_run_after_a_fail_over`, `sentinels_name_the_server_that_took_over` |
//! | the primary's host is lost, or cut off from the others | both of the above | `a_host_that_is_killed_with_its_primary_loses_nothing`, `a_host_that_is_cut_off_with_its_primary_loses_nothing` |
//! | the replica is empty | the same, of everything | `an_empty_server_gets_everything_again` |
//! | the server has no memory left | new chunks wait, results go on | `a_server_without_memory_delays_calls` |
//! | the program that waits is killed | its chunks and results leave the server after a minute; workers end its calls | `the_records_of_a_killed_client_go_and_its_calls_end` |
//! | a call kills every host that runs it | it is tried as often as `retries` says; then it ends as `WorkerDied`, and lies among the [dead letters](Pool::dead_letters), from where it can be [put back](Pool::put_back) | `a_call_that_kills_hosts_is_buried_and_can_be_put_back` |
//! | bytes of a stranger in the stream | they go to the dead letters, and nobody stops | `bytes_of_a_stranger_go_to_the_dead_letters` |
//! | workers of another build | they never see the chunks; with no others there, calls end as [`Incompatible`](ossature::ErrorKind::Incompatible), naming both builds; [`accept`](PoolBuilder::accept) vouches for a version | `workers_of_another_build_are_told_by_name` |
//! | wrong password or rights, certificate or name; no such server | [`Auth`](ossature::ErrorKind::Auth), [`Unsupported`](ossature::ErrorKind::Unsupported), [`Closed`](ossature::ErrorKind::Closed) from [`Pool::connect`] within its limit, with the address | `a_wrong_password_is_told_with_the_address`, `a_user_without_rights_is_told_what_is_missing`, `a_server_is_trusted_by_its_certificate_and_name`, `nobody_at_the_address_is_told_within_the_limit`, `somebody_else_at_the_address_is_told_within_the_limit` |
//! | a node of a cluster that has other keys | [`Unsupported`](ossature::ErrorKind::Unsupported), naming the node that has them; of several addresses, that one is used | `a_node_of_a_cluster_names_the_one_that_has_the_keys` |
//! | arguments with a descriptor or shared memory | [`Unsupported`](ossature::ErrorKind::Unsupported), before anything is sent | `a_descriptor_is_refused_before_it_is_sent` |
//! | arguments or values above 512 MiB | [`TooLong`](ossature::ErrorKind::TooLong), before anything is sent; [`InvalidInput`](ossature::ErrorKind::InvalidInput) for a value | `above_512_mib_all_is_refused_where_it_is` |
//!
//! | what fails | what a queue does | tests |
//! | --- | --- | --- |
//! | a getter is killed | an item of [`get_guarded`](Queue::get_guarded) comes again after the lease; one of [`get`](Queue::get) is gone | `an_item_of_a_killed_getter_comes_again`, `a_guarded_item_stays_for_as_long_as_its_getter_lives` |
//! | the connection breaks in a call | the call is repeated, and is one | `a_put_over_a_broken_connection_is_one`, `a_call_whose_answer_is_lost_is_made_once` |
//! | a put ends as `Closed` | the item may be there. Puts after it are not touched. [`put_once`](Queue::put_once) lets the caller repeat it | `a_put_whose_end_is_unknown_takes_no_other_with_it`, `a_put_under_one_name_is_one_though_a_replica_takes_over` |
//! | a replica takes over | items that it had not got are lost, though their puts have returned; `put_once` of the same name brings such an item back, and no other | `what_a_replica_lacks_of_a_queue_is_lost`, `a_put_under_one_name_is_one_though_a_replica_takes_over` |
//! | the server has no memory left | puts wait, as in a full queue | `a_put_waits_for_memory_within_its_limit` |
//! | an item of another type | [`Decode`](ossature::ErrorKind::Decode), and the item is gone | `items_come_out_in_the_order_in_which_they_were_put` |
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
//! A queue has `{name}:tasks:q`, `{name}:alive`, `{name}:workers` and `{name}:sweep` in the same way, and these:
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{name}:unfinished` | number | how many items were put and not said to be finished |
//! | `{name}:q:USER` | number | the last call of this user that changed something. It expires after the longest time in which a call may be repeated |
//! | `{name}:once:NAME` | string | that an item of this name was put. It expires after an hour |
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
mod futures;
mod hub;
mod imap;
mod job;
mod life;
mod link;
mod place;
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
pub use futures::{Executor, Future};
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
