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
//! The tests of each line are listed below, under its number. `cargo test -p ossature-redis` runs them.
//!
//! | | what fails | what a call of a pool does |
//! | --- | --- | --- |
//! | 1 | a process of a worker is killed | it ends as [`WorkerDied`] at once, or runs again with [`retries`] |
//! | 2 | a host is lost, or its worker | a call that had begun ends as [`WorkerDied`] after ten seconds, or runs again |
//! | 3 | a host is lost, or its worker | another worker gets the chunks that it had claimed and not begun; this counts as no attempt |
//! | 4 | a call takes an hour | its worker sends a heartbeat every second, so no other worker gets the call |
//! | 5 | a host is stopped for longer than its lease | as 2; later answers of the host are dropped |
//! | 6 | a connection breaks, and an answer is lost | the step is repeated, and counts once; a lost claim is returned |
//! | 7 | the server restarts | calls wait and continue; after [`outage`] they end as [`Closed`] |
//! | 8 | a replica takes over | the client submits lost chunks again: calls may run twice, results arrive once |
//! | 9 | the primary's host is lost, or cut off | as 2 and 8 |
//! | 10 | the replica is empty, or its stream has no group | as 8, for all chunks |
//! | 11 | the server has no memory left | new chunks wait, results continue |
//! | 12 | the program that waits is killed | its keys expire at the server after a minute; its calls end |
//! | 13 | a call kills every host that runs it | after its `retries` it is a [dead letter], and can be [put back] |
//! | 14 | another program wrote bytes to the stream | they become dead letters, and no worker stops |
//! | 15 | all workers are of another build | [`Incompatible`], naming both builds; [`accept`] allows a version |
//! | 16 | the password, the certificate or the name in the certificate is wrong | [`Auth`] from [`Pool::connect`], with the address |
//! | 17 | the user of the server lacks a right | [`Unsupported`], naming the missing right |
//! | 18 | no server, or another program, is at the address | [`Closed`] or [`Unsupported`], with the address, within the limit |
//! | 19 | the node of the cluster does not have the keys | [`Unsupported`], naming the node that has them |
//! | 20 | arguments contain a descriptor or shared memory | [`Unsupported`], before anything is sent |
//! | 21 | arguments or a value are longer than 512 MiB | [`TooLong`] for arguments, before they are sent; [`InvalidInput`] for a value |
//! | 22 | a worker cannot start processes any more | it ends and prints the reason; another worker gets the chunks not begun; this counts as no attempt |
//!
//! | | what fails | what a queue does |
//! | --- | --- | --- |
//! | 23 | a getter is killed | an item of [`get_guarded`] is delivered again after the lease; one of [`get`] is lost |
//! | 24 | the connection breaks in a call | the call is repeated, and counts once |
//! | 25 | a put ends as [`Closed`] | the item may be in the queue; [`put_once`] lets the caller repeat it |
//! | 26 | a replica takes over | items that it had not received are lost; [`put_once`] of the same name restores one |
//! | 27 | the server has no memory left | puts wait, as in a full queue |
//! | 28 | an item has another type | [`Decode`], and the item is lost |
//!
//! 1. `a_killed_process_ends_its_call_at_once_and_no_other`
//! 2. `a_lost_host_ends_what_it_had_begun_and_no_more`, `what_a_lost_host_ran_runs_again_with_retries`
//! 3. `a_lost_host_ends_what_it_had_begun_and_no_more`
//! 4. `a_long_call_on_a_living_host_is_made_once`
//! 5. `a_host_that_stood_still_does_not_answer_twice`
//! 6. `a_claim_whose_answer_was_lost_goes_back`, `answers_that_are_lost_in_any_step_lose_no_call`
//! 7. `a_server_that_comes_back_goes_on_where_it_was`, `leases_begin_anew_after_an_outage`,
//!    `a_server_that_stays_away_ends_calls_as_closed`
//! 8. `what_a_promoted_replica_lost_is_given_out_again`, `what_was_cancelled_does_not_run_after_a_fail_over`,
//!    `sentinels_name_the_server_that_took_over`
//! 9. `a_host_that_is_killed_with_its_primary_loses_nothing`, `a_host_that_is_cut_off_with_its_primary_loses_nothing`
//! 10. `an_empty_server_gets_everything_again`
//! 11. `a_server_without_memory_delays_calls`
//! 12. `the_records_of_a_killed_client_go_and_its_calls_end`
//! 13. `a_call_that_kills_hosts_becomes_a_dead_letter_and_can_be_put_back`
//! 14. `bytes_of_a_stranger_go_to_the_dead_letters`
//! 15. `workers_of_another_build_are_told_by_name`
//! 16. `a_wrong_password_is_told_with_the_address`, `a_server_is_trusted_by_its_certificate_and_name`
//! 17. `a_user_without_rights_is_told_what_is_missing`
//! 18. `nobody_at_the_address_is_told_within_the_limit`, `somebody_else_at_the_address_is_told_within_the_limit`
//! 19. `a_node_of_a_cluster_names_the_one_that_has_the_keys`
//! 20. `a_descriptor_is_refused_before_it_is_sent`
//! 21. `above_512_mib_all_is_refused_where_it_is`
//! 22. `what_a_broken_worker_had_not_begun_goes_elsewhere`, `a_broken_worker_gives_back_what_it_claims`
//! 23. `an_item_of_a_killed_getter_comes_again`, `a_guarded_item_stays_for_as_long_as_its_getter_lives`
//! 24. `a_put_over_a_broken_connection_is_one`, `a_call_whose_answer_is_lost_is_made_once`
//! 25. `a_put_whose_end_is_unknown_takes_no_other_with_it`, `a_put_under_one_name_is_one_though_a_replica_takes_over`
//! 26. `what_a_replica_lacks_of_a_queue_is_lost`, `a_put_under_one_name_is_one_though_a_replica_takes_over`
//! 27. `a_put_waits_for_memory_within_its_limit`
//! 28. `items_come_out_in_the_order_in_which_they_were_put`
//!
//! [`WorkerDied`]: ossature::ErrorKind::WorkerDied
//! [`Closed`]: ossature::ErrorKind::Closed
//! [`Incompatible`]: ossature::ErrorKind::Incompatible
//! [`Auth`]: ossature::ErrorKind::Auth
//! [`Unsupported`]: ossature::ErrorKind::Unsupported
//! [`TooLong`]: ossature::ErrorKind::TooLong
//! [`InvalidInput`]: ossature::ErrorKind::InvalidInput
//! [`Decode`]: ossature::ErrorKind::Decode
//! [`retries`]: PoolBuilder::retries
//! [`outage`]: PoolBuilder::outage
//! [`accept`]: PoolBuilder::accept
//! [dead letter]: Pool::dead_letters
//! [put back]: Pool::put_back
//! [`get`]: Queue::get
//! [`get_guarded`]: Queue::get_guarded
//! [`put_once`]: Queue::put_once
//!
//! A user who may write to the keys of a pool can make its workers run any task of the table with any arguments.
//!
//! # Keys
//!
//! All keys begin with the pool's name in braces, so that a cluster stores them in one slot.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{name}:tasks:LABEL` | stream, group `w` | client `c`, number `n` and bytes `b` of each chunk that has not ended |
//! | `{name}:labels` | set | the labels: the build of the program, or `v:VERSION` |
//! | `{name}:c:CLIENT:at` | hash | number of each chunk that has not ended, and its record's id |
//! | `{name}:c:CLIENT:big` | hash | bytes of chunks above 256 KiB |
//! | `{name}:c:CLIENT:out` | stream | answers that the client has not received: number `n`, bytes `r` |
//! | `{name}:c:CLIENT:out:big` | hash | answers above 256 KiB |
//! | `{name}:alive` | sorted set | the end of each worker's lease |
//! | `{name}:workers` | hash | each worker's description of itself |
//! | `{name}:sweep` | string | the time of the last sweep for workers without a lease |
//! | `{name}:dead` | stream | dead letters, about the last thousand |
//!
//! The keys of a client expire a minute after its last request. A queue has `{name}:tasks:q`, `{name}:alive`,
//! `{name}:workers` and `{name}:sweep` in the same way, and these:
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{name}:unfinished` | number | the number of items that were put and not reported as finished |
//! | `{name}:q:USER` | number | the last call of this user that changed something, for as long as it may be repeated |
//! | `{name}:once:NAME` | string | marks that an item of this name was put; expires after an hour |
//!
//! A worker reads the group as two consumers: `WORKER/r` has the chunks that run, `WORKER/a` those claimed ahead of
//! their turn. The consumer `~` has returned chunks. `XINFO CONSUMERS` and `XPENDING` show all of them.
//!
//! # States of a chunk
//!
//! A call moves with its chunk. The number in `at` exists while a client waits for the chunk. Every step that ends a
//! chunk removes that number in the same script, so each chunk has one answer.
//!
//! | state | at the server | steps to the next state |
//! | --- | --- | --- |
//! | cut | nothing | the client submits it: *waiting* |
//! | waiting | record, number | a worker claims it: *taken* or *running*; the client withdraws it: *withdrawn* |
//! | taken | pending at `WORKER/a` | the worker begins it: *running*; the worker returns it, or its lease ends: *returned* |
//! | returned | pending at `~` | a worker claims it: *taken* or *running* |
//! | running | pending at `WORKER/r` | the worker finishes it: *answered*; its lease ends: *answered* with "lost" |
//! | answered | answer in `out`, no number, no record | the client takes the answer: *ended* |
//! | withdrawn | nothing | the replies to the next heartbeats show its worker that no client waits; the worker kills the call |
//! | lost at a fail-over | some or none of the above | the client submits it again: *waiting* |
//! | abandoned | record without a number | workers drop it when they claim it |
//!
//! | party that dies | outcome of the chunk |
//! | --- | --- |
//! | a client, before it submits | the call was never made |
//! | a client, later | number and answer expire: *abandoned* |
//! | a worker that has taken it | the lease ends; another worker claims it; this counts as no attempt |
//! | a worker that runs it | the lease ends; the client receives that the host was lost |
//!
//! A worker gives its local pool short chunks ahead of their turn: work for five milliseconds, at most 32 chunks for
//! each process. These chunks count as running.
//!
//! Only a chunk without a number in `at` is added, so a submission may be repeated. After each reconnection, and after
//! two heartbeats of silence, the client queries which of its chunks are neither waiting nor claimed. It records all
//! answers, and submits the rest.
//!
//! A chunk that was lost at a fail-over may still run at a worker that the new server does not know. The first worker
//! that finishes removes the number; the other's answer is dropped.
//!
//! The reply to a worker's heartbeat lists all chunks that it has claimed. A chunk that the worker does not know is
//! returned. Either the answer to its claim was lost, or a replica took over before it knew of the chunk's end.
//!
//! Every heartbeat of a worker or client runs a sweep. If no sweep ran for half a lease, the server was unavailable;
//! then all leases begin anew, because their holders could not renew them.
//!
//! # Requests
//!
//! | sender | request | when |
//! | --- | --- | --- |
//! | client | `SUBMIT`, XDEL of the answers it has, XREAD that waits: one request | whenever it waits for results |
//! | client | `SUBMIT` | for calls submitted without a wait |
//! | worker with room | XREADGROUP that waits | until there is none |
//! | busy worker | `TURN`: ends chunks, begins others, claims more | whenever chunks have ended |
//! | each | `TICK` or `BEAT`, at ten to a lease, over other connections or between two waits | always |
//!
//! `SUBMIT` runs three commands for a chunk. `TURN` runs five for the end of a chunk, one for its claim, and three for
//! its beginning if it was claimed ahead. Each request runs some more, however many chunks it has. So a single call
//! costs thirteen commands in three requests: `SUBMIT` (4), XDEL and XREAD; XREADGROUP; `TURN` (6).

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
mod reader;
mod receiver;
mod records;
mod result;
mod scripts;
mod state;
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
