//! A ring of messages in shared memory: many threads of many processes send and receive, and any of them may be killed.
//!
//! ```standalone_crate
//! use ossature_sys::{process::fork, sync::ring::Ring};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ring = Ring::new(1 << 20)?;
//! let mut child = fork(|| {
//!     let mut sender = ring.join().unwrap();
//!     sender.send(b"from the child").unwrap();
//!     0
//! })?;
//! let mut bytes = [0; 64];
//! let received = ring.join()?.recv(&mut bytes)?;
//! assert_eq!(&bytes[..received.len], b"from the child");
//! child.wait()?;
//! # Ok(()) }
//! ```
//!
//! A thread [joins](Ring::join) and gets a [`Participant`], which sends and receives. Messages are bytes of any length
//! up to
//! [`max_message`](Ring::max_message). [`send`](Participant::send) and [`recv`](Participant::recv) copy; a message is
//! written in place with [`reserve`](Participant::reserve) and read in place with [`read`](Participant::read).
//!
//! **Order.** What one participant sends is received in that order. Messages of several participants have no order
//! among them, and several receivers get each message once.
//!
//! **Beside other descriptors.** A [`pollable`](Ring::pollable) ring has a [`Readiness`]: a descriptor for poll(2),
//! epoll(7) and event loops, which is readable while there may be a message.
//!
//! **When a participant is killed**, at any instruction, the others carry on immediately:
//!
//! | killed | what happens to the message |
//! | --- | --- |
//! | in `send` | the message is sent or not |
//! | between `reserve` and `publish` | the message is not sent |
//! | in `recv` | another receiver gets the message |
//! | while it reads in place | the message is lost |
//!
//! **Descriptors** are sent beside the messages as [`Packets`]: [`send_packet`](Participant::send_packet) and
//! [`recv_packet`](Participant::recv_packet). The rules for messages apply to them, with one exception: a receiver that
//! is killed while it receives a packet may lose the packet. While a receiver is stopped there, the others receive
//! messages only.
//!
//! **When a participant is stopped** between `reserve` and `publish`, the others go past its record. The others use the
//! room after that record until the ring is full. [`blocked_by`](Ring::blocked_by) returns the thread for which a full
//! ring waits.
//!
//! **Memory.** The capacity is reserved as addresses only. Pages are allocated as they are needed, twice as many each
//! time. A ring that has no unread message begins again in the pages that it has, and in the first MiB of them if there
//! is more. So it needs as much memory as the messages that wait at the same time. A ring that always has an unread
//! message cycles through its whole capacity.
//!
//! Memory above 1 MiB is given back by a receiver that has slept for a second in an empty ring, or by
//! [`trim`](Participant::trim).
//!
//! **Cost.** A message of up to 1 KiB sent and received takes three atomic read-modify-write instructions, a longer one
//! four, and neither takes a system call unless a participant sleeps. A message of up to 8 bytes moves one cache line
//! from core to core, a longer one at least two. While a descriptor watches the ring, the first message after a
//! [`clear`](Readiness::clear) takes a `write(2)` more.

// For maintainers: the files of this module.
//
// | file | idea |
// | --- | --- |
// | `word` | the state of one record |
// | `track` | the records as a protocol: reserve, publish, take, finish, recover |
// | `take` | the part of this protocol for consumers |
// | `flow` | the protocol with its wakes, and after a death |
// | `waits` | reserving a record and taking one, with their waits |
// | `grounds` | what a participant has seen before it sleeps, and compares when it is queued |
// | `owners` | the participants whose deaths a sleeper watches |
// | `participants` | the enrolled threads, and which of them died |
// | `event_count` | sleeping until there is something to do |
// | `memory` | the layout of the memory file |
// | `attach` | the descriptors, for other processes |
// | `participant` | sending and receiving |
// | `bytes` | the bytes of a message, and where they are stored |
// | `batch` | several messages at once |
// | `error` | why a ring could not be used |
// | `tasks` | messages that count until they are done |
// | `claim` | messages written and read in place |
// | `trim` | giving memory back |
// | `watch` | announcing messages to descriptors |
// | `readiness` | a descriptor that is readable while there may be a message |
// | `packets` | descriptors beside the messages |
// | `receipt` | which packet belongs to which record, and which participant receives the next packet |
// | `post` | sending and receiving a packet beside its record |
//
// The kernel's pending entry while a participant is in the ring:
//
// | stretch | pending | if the thread is killed there |
// | --- | --- | --- |
// | `send` and `recv`, from the first look to the last wake | the gate | the kernel wakes one sleeper, which walks over all records, ends what the dead thread was doing and wakes the others |
// | between `reserve` and `publish`, while a message is read in place | the entry of the caller's code | the lease is dead; a participant that the record blocks sleeps on that lease, and a participant that walks past the record looks at the lease |
// | `send_packet`, while the packet is sent | nothing; the packets' lock is held | the record's lease is dead; the next sender of a packet finds the lock abandoned, and the packet has no token |
// | between its last look and its sleep | the gate | as above; and if another is killed there before its wake, the `grounds` end the sleep |
// | asleep | the gate | as above |
// | enrolling | the lease | the lease is free or dead |

mod attach;
mod batch;
mod bytes;
mod claim;
mod error;
pub(crate) mod event_count;
pub(crate) mod flow;
pub(crate) mod grounds;
mod memory;
mod owners;
mod packets;
mod participant;
mod participants;
pub(crate) mod post;
mod readiness;
pub(crate) mod receipt;
pub(crate) mod take;
mod tasks;
pub(crate) mod track;
pub(crate) mod trim;
pub(crate) mod waits;
pub(crate) mod watch;
pub(crate) mod word;

pub use self::{
    bytes::Received,
    claim::{Message, Record},
    error::RingError,
    memory::Ring,
    packets::{Packets, Parcel},
    participant::Participant,
    participants::PARTICIPANTS,
    readiness::Readiness,
};
