//! Requests through shared memory: how the loop looks for them, and when it sleeps.
//!
//! | an exchange is | the loop | the client |
//! | --- | --- | --- |
//! | asleep | sleeps in the epoll set, which contains the wake-up | signals the wake-up when it sends a request |
//! | awake | looks at its word in every round | sends a request without a system call |
//!
//! An exchange awakes when its wake-up is signalled. The loop looks at the awake exchanges for a bounded time, and then
//! puts them to sleep. It adapts that time to its success: on a busy processor a look is of no use. A round serves at
//! most [`ROUND`] requests before the loop looks at its sockets, so that no client keeps the others waiting. At most
//! [`MOST_AWAKE`] exchanges are awake.
//!
//! Clients may write anything at any time: see [`exchange`]. A client that violates the protocol is disconnected.

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::Interest;
use ossature_sys::errno::Errno;
use ossature_sys::fd::AsFd;
use ossature_sys::sync::exchange::{self, Wake};

use super::super::super::compact::{self, Unread, Writer};
use super::super::super::{Serializer, proof};
use super::super::local::{Body, Owner};
use super::super::object_table::ObjectTable;
use super::super::peer::Peer;
use super::EventLoop;
use super::state::{Awake, Handled, Shared, WAKEUP};
use crate::error::{Error, ErrorKind};
use crate::multiprocessing::logging::debug;
use crate::multiprocessing::managers::wire::Reply;
use crate::multiprocessing::reduction::{Acknowledgement, send_handles};

/// The maximum number of awake exchanges.
const MOST_AWAKE: usize = 8;

/// The number of requests of awake exchanges that one round serves.
const ROUND: usize = 32;

impl EventLoop {
    /// Shares memory with a client that runs this program, if there is room. The reply says whether the memory follows.
    pub(super) fn share(&mut self, owner: Owner) -> Handled {
        let Some(peer) = self.peers.get_mut(&owner) else { return Handled::Silent };
        let is_possible = self.shared.count < self.limits.exchanges
            && peer.exchange.is_none()
            && peer.serializer == Serializer::Pickle
            && proof::is_same_program(peer.connection());
        let made = if is_possible { exchange::Server::new().ok() } else { None };
        let Some((server, memory, wakeup)) = made else { return Handled::Reply(Reply::Return(false.into())) };
        // The wake-up is what wakes the loop from here on.
        let asleep = server.sleep().unwrap_or(false);
        if !asleep || self.epoll.register(&server, Interest::IN | Interest::ET, owner | WAKEUP).is_err() {
            return Handled::Reply(Reply::Return(false.into()));
        }
        peer.exchange = Some(server);
        self.shared.count += 1;
        let sent = Reply::Return(true.into()).encode(peer.serializer).and_then(|reply| {
            peer.enqueue(&reply);
            peer.flush()?;
            let handles = [memory.as_fd(), wakeup.as_fd()];
            // An idle connection has room for both.
            let sent =
                peer.is_flushed() && send_handles(peer.connection(), &handles, Acknowledgement::None, Deadline::NOW)?;
            if sent { Ok(()) } else { Err(Error::new(ErrorKind::Closed, "the client does not read")) }
        });
        if let Err(error) = sent {
            debug!("the manager's server closes a connection: {error}");
            self.end(owner);
        }
        Handled::Silent
    }

    /// Forgets the exchange of a connection that ends.
    pub(super) fn unshare(&mut self, owner: Owner, server: &exchange::Server) {
        let _ = self.epoll.unregister(server); // the client has the wakeup too, which would be signalled on
        self.shared.count -= 1;
        self.shared.awake.retain(|awake| awake.owner != owner);
    }

    /// Records that a wake-up was signalled. The loop answers it after the other events of its round, so that a client
    /// that has disconnected is already removed.
    pub(super) fn wakeup_signalled(&mut self, owner: Owner) {
        self.shared.rung.push(owner);
    }

    /// Wakes the exchanges whose wake-ups were signalled.
    pub(super) fn answer_bells(&mut self) {
        while let Some(owner) = self.shared.rung.pop() {
            let Some(peer) = self.peers.get(&owner) else { continue };
            let is_new = self.shared.awake.iter().all(|awake| awake.owner != owner);
            let wakes = |exchange: &exchange::Server| exchange.wake().is_ok();
            if is_new && self.shared.awake.len() < MOST_AWAKE && peer.exchange.as_ref().is_some_and(wakes) {
                self.shared.awake.push(Awake { owner, has_asked: false });
            }
            if peer.is_asking() {
                self.serve(owner);
            }
        }
    }

    /// Serves one round of requests of the awake exchanges. Returns whether the loop may sleep then.
    pub(super) fn serve_awake(&mut self) -> bool {
        if self.shared.awake.is_empty() {
            return true;
        }
        self.shared.awake.iter_mut().for_each(|awake| awake.has_asked = false);
        for _ in 0..ROUND {
            let Some(place) = self.find_asking() else {
                self.put_to_sleep(|_| true);
                return self.shared.awake.is_empty();
            };
            // The others come first in the next look.
            if place > 0 {
                self.shared.awake.get_mut(..=place).unwrap_or_default().rotate_right(1);
            }
            let Some(awake) = self.shared.awake.get_mut(0) else { return false };
            awake.has_asked = true;
            let owner = awake.owner;
            self.serve(owner);
        }
        self.put_to_sleep(|awake| !awake.has_asked);
        false
    }

    /// Looks for a request until it finds one, for as long as that pays off.
    fn find_asking(&self) -> Option<usize> {
        let Shared { awake, patience, .. } = &self.shared;
        let is_asking = |awake: &Awake| self.peers.get(&awake.owner).is_some_and(Peer::is_asking);
        let mut found = awake.iter().position(is_asking);
        // A request that has already arrived does not show whether looking is of use: on one processor its client has
        // run meanwhile.
        if found.is_none() {
            patience.until(|| {
                found = awake.iter().position(is_asking);
                found.is_some()
            });
        }
        found
    }

    /// Puts the idle exchanges to sleep, unless they have sent a request meanwhile.
    fn put_to_sleep(&mut self, is_idle: impl Fn(&Awake) -> bool) {
        let Self { peers, shared, .. } = self;
        shared.awake.retain(|awake| {
            let exchange = peers.get(&awake.owner).and_then(|peer| peer.exchange.as_ref());
            !is_idle(awake) || exchange.is_some_and(|exchange| !exchange.sleep().unwrap_or(true))
        });
    }

    /// Carries out the request in the shared memory of a connection.
    fn serve(&mut self, owner: Owner) {
        let Self { peers, shared, table, message, .. } = self;
        let Some(peer) = peers.get_mut(&owner) else { return };
        let Some(exchange) = &mut peer.exchange else { return };
        let room = shared.request.get_or_insert_with(|| Box::new([0; exchange::ROOM]));
        let wake = match exchange.take(room) {
            Ok(None) => return,
            Ok(Some(request)) => match look(table, request, message) {
                Some(reply) => {
                    if !peer.taken.is_empty() {
                        peer.taken.clear(); // the last reply was read
                    }
                    exchange.answer(reply)
                }
                None => {
                    let length = request.len();
                    return self.serve_longer(owner, Some(length));
                }
            },
            Err(_) => return self.serve_longer(owner, None),
        };
        if !matches!(wake, Ok(Wake::Nobody | Wake::Sleeper)) {
            self.has_answered(owner, wake);
        }
    }

    /// Carries out a request of the given length, which was copied out of the shared memory.
    #[inline(never)]
    fn serve_longer(&mut self, owner: Owner, length: Option<usize>) {
        let Some(room) = self.shared.request.take() else { return };
        let request = length.and_then(|length| room.get(..length)).and_then(compact::read_request);
        match (self.peers.get_mut(&owner), request) {
            (Some(peer), Some(request)) => {
                (peer.busy, peer.by_memory, peer.serializer) = (true, true, Serializer::Pickle);
                self.carry_out(owner, Ok(request));
            }
            _ => {
                debug!("the manager's server closes a connection: the shared memory contains no valid request");
                self.end(owner);
            }
        }
        self.shared.request = Some(room);
    }

    /// Replies through shared memory, if the request came that way and the reply fits.
    pub(super) fn reply_by_memory(&mut self, owner: Owner, reply: &Reply) -> bool {
        let Some(peer) = self.peers.get_mut(&owner) else { return false };
        let Some(exchange) = peer.exchange.as_mut().filter(|_| peer.by_memory) else { return false };
        let message = match reply {
            Reply::Return(value) => compact::write_reply(value, &mut self.message).ok(),
            _ => None,
        };
        let Some(message) = message else {
            // The message itself notifies the client of the reply.
            let _ = exchange.answer_elsewhere();
            return false;
        };
        let wake = exchange.answer(message);
        (peer.busy, peer.waits) = (false, None);
        self.has_answered(owner, wake);
        true
    }

    /// Notifies a client of a reply in its shared memory, if the client waits for that.
    fn has_answered(&mut self, owner: Owner, wake: Result<Wake, Errno>) {
        let Some(peer) = self.peers.get_mut(&owner) else { return };
        let is_sent = match wake {
            Ok(Wake::Notify) => {
                peer.enqueue(&[]);
                peer.flush().is_ok()
            }
            done => done.is_ok(),
        };
        if !is_sent {
            self.end(owner);
        } else if peer.has_news() {
            self.watch(owner);
        }
    }
}

/// Answers a request that changes nothing, if its object can do so without a value for each argument.
/// [`serve_longer`](EventLoop::serve_longer) handles objects with an access list.
#[inline]
fn look<'r>(table: &ObjectTable, request: &[u8], room: &'r mut compact::Room) -> Option<&'r [u8]> {
    let Unread { ident, method, args } = compact::take_apart(request)?;
    let entry = table.objects.get(ident)?;
    let Body::Here(local) = &entry.made.body else { return None };
    if entry.rule().is_some() {
        return None;
    }
    let mut writer = Writer::begin(room);
    local.look(method, args, &mut writer)?;
    Some(writer.done())
}
