//! The loop of a server: one thread for all clients.
//!
//! | event | effect |
//! | --- | --- |
//! | a request to a built-in object on a connection | the loop runs the call at once, or parks it |
//! | a request to another object on a connection | a helper thread runs the call; its reply arrives in the inbox |
//! | a request in the [shared memory](shared) of a connection, or its wake-up | as for a request on the connection |
//! | the end of a connection | its parked call is dropped, its locks are released; with a control connection its session ends |
//! | a message in the inbox | the loop adds a new client, or sends the reply of a helper |
//! | a timer | the end of a parked call whose limit is over, of a client without a first request, of a proxy in transit for too long |
//! | the end of the connection to the parent | the process that started the server has ended: the server ends |

mod requests;
mod shared;
mod state;

use std::collections::{BTreeSet, HashMap};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::fd::AboveStandard;

use super::super::access::{Clients, Rule};
use super::super::limits::Limits;
use super::super::registry::Registry;
use super::super::served::{Answer, Served};
use super::super::timing::keep_alive;
use super::super::token::each_proxy;
use super::super::wire::{Reply, Request};
use super::super::{Exception, Serializer, compact};
use super::acceptor::{Inbox, Notification};
use super::helpers::Helpers;
use super::holder::Holder;
use super::local::{Body, CallContext, Made, Owner, WaiterId};
use super::object_table::{Entry, ObjectTable};
use super::peer::{Peer, Peers, Received, Role, Taken};
use super::segments::Segments;
use super::usage::{Resource, Usages, Who, too_much};
use crate::error::{Error, Result};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::connection::{Address, Connection};
use crate::multiprocessing::logging::debug;
use crate::thread::{catch, report_panics};
use state::{Handled, Parked, Shared, WAKEUP};

/// The tokens of descriptors that are not clients.
const WAKE: u64 = 0;
const PARENT_DEATH: u64 = 1;
const FIRST: u64 = 2;

/// The number of bytes that one read of a connection requests.
const READ: usize = 4096;

/// The size up to which a reply is always accepted.
const SHORT: usize = 4096;

/// The maximum time for which the loop continues after a request to stop, to send pending replies.
const LINGER: Duration = Duration::from_secs(1);

pub(super) struct EventLoop {
    epoll: Epoll,
    inbox: Arc<Inbox>,
    parent_death: Option<Connection>,
    peers: Peers,
    /// A buffer for reads.
    room: Box<[u8; READ]>,
    /// The connections with buffered bytes, which no descriptor will report.
    more: Vec<Owner>,
    next: u64,
    table: ObjectTable,
    context: CallContext,
    parked: HashMap<WaiterId, Parked>,
    timers: BTreeSet<(Instant, WaiterId)>,
    /// Clients that have not sent their first request yet.
    expected: BTreeSet<(Instant, Owner)>,
    registry: Registry,
    /// The access lists of the types.
    rules: HashMap<String, Arc<Rule>>,
    /// The clients that may end the server and inspect it.
    control: Clients,
    usages: Usages,
    helpers: Helpers,
    segments: Segments,
    address: Address,
    limits: Limits,
    /// A buffer for a reply in the compact form.
    message: Box<compact::Room>,
    /// The state of the calls through shared memory.
    shared: Shared,
    stopping: Option<Instant>,
}

impl EventLoop {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        parent_death: Option<Connection>,
        address: Address,
        registry: Registry,
        limits: Limits,
    ) -> Result<Self> {
        let failed = |errno| Error::os(errno, "cannot make the manager's server");
        let epoll = Epoll::new().and_then(AboveStandard::above_standard).map_err(failed)?;
        epoll.register(&inbox.wake, Interest::IN, WAKE).map_err(failed)?;
        if let Some(parent_death) = &parent_death {
            epoll.register(parent_death, Interest::IN, PARENT_DEATH).map_err(failed)?;
        }
        let context = CallContext::new(address.clone(), limits.client_memory);
        let (rules, control) = (registry.rules()?, registry.controllers());
        Ok(Self {
            epoll,
            inbox,
            parent_death,
            peers: Peers::default(),
            room: Box::new([0; READ]),
            more: Vec::new(),
            next: FIRST,
            table: ObjectTable::new(limits.clone())?,
            context,
            parked: HashMap::new(),
            timers: BTreeSet::new(),
            expected: BTreeSet::new(),
            registry,
            rules,
            control,
            usages: Usages::default(),
            helpers: Helpers::new(limits.helpers),
            segments: Segments::new(limits.segments),
            address,
            limits,
            message: Box::new([0; compact::MOST]),
            shared: Shared::default(),
            stopping: None,
        })
    }

    /// Serves until a request to stop.
    pub(super) fn run(mut self) -> Result<()> {
        let mut room = [MaybeUninit::<Event>::uninit(); 64];
        let mut ready: Vec<(u64, Interest)> = Vec::with_capacity(room.len());
        loop {
            let may_sleep = self.serve_awake() && self.more.is_empty();
            ready.clear();
            ready.extend({
                let until = match self.next_timer() {
                    _ if !may_sleep => Deadline::NOW,
                    Some(at) => Deadline::after(at.saturating_duration_since(Instant::now())),
                    None => Deadline::NEVER,
                };
                let events =
                    self.epoll.poll(&mut room, until).map_err(|errno| Error::os(errno, "the manager's server"))?;
                events.iter().map(|event| (event.token(), event.flags()))
            });
            let more = std::mem::take(&mut self.more);
            for (token, flags) in &ready {
                match *token {
                    WAKE => self.take_notifications(),
                    PARENT_DEATH => self.parent_has_ended(),
                    wakeup if wakeup & WAKEUP != 0 => self.wakeup_signalled(wakeup & !WAKEUP),
                    owner => self.ready(owner, *flags),
                }
            }
            for owner in more {
                // A connection that is also in `ready` has been read already.
                if ready.iter().all(|(token, _)| *token != owner) {
                    self.ready(owner, Interest::IN);
                }
            }
            self.answer_bells();
            self.time_passes();
            if let Some(since) = self.stopping {
                if since.elapsed() >= LINGER || self.peers.values().all(|peer| peer.is_flushed()) {
                    return Ok(());
                }
            }
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let timers = self.timers.first().map(|(at, _)| *at);
        let expected = self.expected.first().map(|(at, _)| *at);
        let stop = self.stopping.map(|since| since + LINGER);
        [timers, expected, stop, self.table.next_over()].into_iter().flatten().min()
    }

    fn parent_has_ended(&mut self) {
        if let Some(parent_death) = self.parent_death.take() {
            let _ = self.epoll.unregister(&parent_death);
        }
        self.stop();
    }

    fn stop(&mut self) {
        self.stopping.get_or_insert_with(Instant::now);
    }

    fn time_passes(&mut self) {
        if self.next_timer().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some((at, owner)) = self.expected.first().copied().filter(|(at, _)| *at <= now) {
            self.expected.remove(&(at, owner));
            if self.peers.get(&owner).is_some_and(|peer| peer.role == Role::First && !peer.busy) {
                self.end(owner);
            }
        }
        while let Some((at, waiter)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, waiter));
            let Some(parked) = self.parked.get_mut(&waiter) else { continue };
            parked.until = None;
            let ident = parked.ident.clone();
            self.with_local(&ident, |local, context| {
                if let Some(outcome) = local.timed_out(waiter, context) {
                    context.answer(waiter, outcome);
                }
            });
            self.apply_changes();
        }
        if self.table.next_over().is_some_and(|over| over <= now) {
            let gone = self.table.expire_tickets(now);
            self.remove_all(gone);
        }
    }

    fn take_notifications(&mut self) {
        for notification in self.inbox.take() {
            match notification {
                Notification::Connected(connection) => self.add_client(*connection),
                Notification::Returned(owner, outcome, by) => {
                    let reply = match outcome {
                        Ok(Answer::Value(value)) => Reply::Return(value),
                        Ok(Answer::Object(object)) if !self.peers.contains_key(&owner) => {
                            self.discard(object);
                            continue;
                        }
                        Ok(Answer::Object(object)) => self.return_object(owner, object.into(), by.as_ref()),
                        Err(exception) => Reply::Error(exception),
                    };
                    self.reply(owner, &reply);
                }
                Notification::Made(owner, Ok(object), _) if !self.peers.contains_key(&owner) => self.discard(object),
                Notification::Made(owner, made, rule) => {
                    let made = made.and_then(|object| self.create(owner, object.into(), rule.as_ref()));
                    self.answer(owner, made);
                }
                Notification::Opened(owner, memory) => {
                    // A block is kept even if its client has disconnected: another client may have made the block.
                    let kept = memory.and_then(|memory| self.segments.keep(memory));
                    self.answer(owner, kept.map(|()| Value::None));
                }
                Notification::Stop => self.stop(),
            }
        }
    }

    /// Sends the reply to a request to the server itself.
    fn answer(&mut self, owner: Owner, outcome: std::result::Result<Value, Exception>) {
        if let Handled::Reply(reply) = outcome.into() {
            self.reply(owner, &reply);
        }
    }

    /// Drops an object that no client will refer to, because its client has disconnected. The program's own
    /// destructor may take long, so a helper thread drops it.
    fn discard(&self, object: Arc<dyn Served>) {
        let _ = self.helpers.run(Box::new(move || {
            if let Err(escaped) = catch(|| drop(object)) {
                report_panics(|| drop(escaped));
            }
        }));
    }

    // ---- connections ----------------------------------------------------------------------------------------------

    fn add_client(&mut self, connection: Connection) {
        if self.peers.len() >= self.limits.connections {
            debug!("the manager's server closes a connection: Limits::connections allows no more");
            return;
        }
        let usage = self.usages.of(Who::of(&connection));
        if usage.of(Resource::Connections) >= self.limits.client_connections {
            debug!("the manager's server closes a connection: Limits::client_connections allows its client no more");
            return;
        }
        if let Address::Inet(..) = self.address {
            let _ = keep_alive(&connection); // the client may be gone already, as it will turn out
        }
        let owner = self.next;
        self.next += 1;
        let late = Instant::now().checked_add(self.limits.handshake_timeout);
        let mut peer = Peer::new(connection, &usage, self.limits.message, late);
        peer.interest = peer.wanted();
        if self.epoll.register(peer.connection(), peer.interest, owner).is_ok() {
            self.expected.extend(late.map(|late| (late, owner)));
            self.peers.insert(owner, peer);
        }
    }

    fn ready(&mut self, owner: Owner, flags: Interest) {
        let Some(peer) = self.peers.get_mut(&owner) else { return };
        if flags.contains(Interest::OUT) {
            if peer.flush().is_err() {
                return self.end(owner);
            }
            peer.count_buffers();
        }
        if peer.busy {
            if flags.intersects(Interest::RDHUP | Interest::HUP | Interest::ERR) {
                return self.end(owner);
            }
        } else if peer.is_flushed() {
            if peer.last {
                return self.end(owner);
            }
            match peer.receive(&mut self.room[..]) {
                Received::Message(message)
                    if matches!(peer.role, Role::Session(_)) && flags.intersects(Interest::RDHUP | Interest::HUP) =>
                {
                    if Request::decode(&message, Serializer::of(&message)).is_ok_and(|request| request.is_unread()) {
                        self.give_back_taken(owner);
                    }
                    return self.end(owner);
                }
                Received::Message(message) => self.handle(owner, &message),
                Received::End => return self.end(owner),
                Received::Nothing if peer.count_buffers() > self.limits.client_buffers => {
                    debug!(
                        "the manager's server closes a connection: Limits::client_buffers allows its client no more"
                    );
                    return self.end(owner);
                }
                Received::Nothing => {}
            }
        }
        self.watch(owner);
    }

    /// Tells the epoll set what the connection waits for now.
    fn watch(&mut self, owner: Owner) {
        let Some(peer) = self.peers.get_mut(&owner) else { return };
        if peer.has_more() && self.more.last() != Some(&owner) {
            self.more.push(owner);
        }
        let wanted = peer.wanted();
        if wanted != peer.interest {
            if self.epoll.modify(peer.connection(), wanted, owner).is_err() {
                return self.end(owner);
            }
            peer.interest = wanted;
        }
    }

    /// Forgets a connection, and everything that its client held through it.
    fn end(&mut self, owner: Owner) {
        let Some(mut peer) = self.peers.remove(&owner) else { return };
        let _ = self.epoll.unregister(peer.connection());
        if let Some(exchange) = peer.exchange.take() {
            self.unshare(owner, &exchange);
        }
        if let Some(late) = peer.first_request_by {
            self.expected.remove(&(late, owner));
        }
        if !peer.is_flushed() {
            let holder = peer.holder();
            self.give_back_all(&holder, std::mem::take(&mut peer.taken));
        }
        if let Some(parked) = peer.waits.and_then(|waiter| Some((waiter, self.unpark(waiter)?))) {
            self.with_local(&parked.1.ident, |local, context| local.cancel(parked.0, context));
        }
        for ident in &peer.touched {
            self.with_local(ident, |local, context| local.client_gone(owner, context));
            if let Some(entry) = self.table.objects.get_mut(ident.as_bytes()) {
                entry.touched_by.remove(&owner);
            }
        }
        if let Role::Control(session) = peer.role {
            let others = self.peers.iter().filter(|(_, peer)| peer.role == Role::Session(session));
            for other in others.map(|(owner, _)| *owner).collect::<Vec<_>>() {
                self.end(other);
            }
            let gone = self.table.end(session);
            self.remove_all(gone);
        }
        self.apply_changes();
    }

    fn with_local(&mut self, ident: &str, body: impl FnOnce(&mut dyn super::local::Local, &mut CallContext)) {
        if let Some(Entry { made: Made { body: Body::Here(local), .. }, .. }) =
            self.table.objects.get_mut(ident.as_bytes())
        {
            body(&mut **local, &mut self.context);
        }
    }

    fn holder(&self, owner: Owner) -> Holder {
        // A client that has just disconnected takes no reference: its objects are dropped.
        self.peers.get(&owner).map_or(Holder::Server, Peer::holder)
    }

    /// The client of a connection, as the kernel reports it.
    fn who(&self, owner: Owner) -> Who {
        self.peers.get(&owner).map_or(Who::Unknown, |peer| peer.usage().who)
    }

    /// Sends a reply. The proxies in it are counted for the client, if it has a session.
    fn reply(&mut self, owner: Owner, reply: &Reply) {
        if self.reply_by_memory(owner, reply) || self.reply_compactly(owner, reply) {
            return;
        }
        let Some(peer) = self.peers.get(&owner) else { return }; // it has gone meanwhile
        let serializer = peer.serializer;
        let bytes = reply.encode(serializer);
        let in_place = match &bytes {
            Ok(bytes) => self.refused(owner, bytes.len()),
            Err(error) => Some(Reply::Unserializable(format!("{error}\n"))),
        };
        let bytes = match &in_place {
            Some(other) => {
                self.give_back_taken(owner); // the client does not hear of what it would have got
                other.encode(serializer)
            }
            None => bytes,
        };
        if let (Reply::Return(value), None, holder @ Holder::Session(_)) = (reply, &in_place, self.holder(owner)) {
            let mut idents = Vec::new();
            each_proxy(value, &mut |token| {
                if token.address == self.address {
                    idents.push(token.ident);
                }
            });
            for ident in idents {
                // An object that was dropped meanwhile is unknown to the client, too. An object that the client may not
                // use is not counted for it.
                let allowed = self.may_use(owner, &ident);
                if allowed.and_then(|()| self.table.take(&ident, &holder)).is_ok() {
                    self.has_taken(owner, Taken::Reference(ident));
                }
            }
        }
        match bytes {
            Ok(bytes) => self.send(owner, &bytes),
            Err(_) => self.end(owner),
        }
    }

    /// Replies over the socket in the compact form, if the request had that form and the reply fits it. Such a reply is
    /// always accepted, and has no proxies.
    fn reply_compactly(&mut self, owner: Owner, reply: &Reply) -> bool {
        const { assert!(compact::MOST <= SHORT) };
        let Reply::Return(value) = reply else { return false };
        let Some(peer) = self.peers.get_mut(&owner).filter(|peer| peer.is_compact) else { return false };
        let Ok(message) = compact::write_reply(value, &mut self.message) else { return false };
        peer.answer(message);
        self.flush(owner);
        true
    }

    /// Sends the reply to a request, which completes the request.
    fn send(&mut self, owner: Owner, message: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&owner) {
            peer.answer(message);
            self.flush(owner);
        }
    }

    /// Writes the reply to a request, as far as the socket accepts it.
    fn flush(&mut self, owner: Owner) {
        let Some(peer) = self.peers.get_mut(&owner) else { return };
        if peer.flush().is_err() || (peer.is_flushed() && peer.last) {
            return self.end(owner);
        }
        peer.count_buffers();
        self.watch(owner);
    }

    /// The error that replaces a reply too large for a client that does not read.
    fn refused(&self, owner: Owner, length: usize) -> Option<Reply> {
        let unread = self.peers.get(&owner)?.usage().of(Resource::Buffers);
        let most = self.limits.client_buffers;
        (length > SHORT && unread.saturating_add(length) > most).then(|| {
            let has = format!("has {unread} bytes unread or unfinished and would receive {length} more");
            Reply::Traceback(format!("{}\n", too_much(&has, most, "client_buffers")))
        })
    }

    // ---- parked calls ----------------------------------------------------------------------------------------------

    fn unpark(&mut self, waiter: WaiterId) -> Option<Parked> {
        let parked = self.parked.remove(&waiter)?;
        if let Some(until) = parked.until {
            self.timers.remove(&(until, waiter));
        }
        if let Some(entry) = self.table.objects.get_mut(parked.ident.as_bytes()) {
            entry.parked -= 1;
        }
        Some(parked)
    }

    // ---- references -----------------------------------------------------------------------------------------------

    /// Records what a client has taken with the current request.
    fn has_taken(&mut self, owner: Owner, taken: Taken) {
        if let Some(peer) = self.peers.get_mut(&owner) {
            peer.taken.push(taken);
        }
    }

    /// Gives back what a client has taken with its last request.
    fn give_back_taken(&mut self, owner: Owner) {
        let Some(peer) = self.peers.get_mut(&owner) else { return };
        let (taken, holder) = (std::mem::take(&mut peer.taken), peer.holder());
        self.give_back_all(&holder, taken);
    }

    fn give_back_all(&mut self, holder: &Holder, taken: Vec<Taken>) {
        for taken in taken {
            match taken {
                // The reference may have been given back meanwhile.
                Taken::Reference(ident) => drop(self.give_back(holder, &ident)),
                Taken::Ticket(name) => {
                    let gone = self.table.revoke(&name);
                    self.remove_all(gone.into_iter().collect());
                }
            }
        }
    }

    fn give_back(&mut self, holder: &Holder, ident: &str) -> std::result::Result<(), Exception> {
        let gone = self.table.give_back(ident, holder)?;
        self.remove_all(gone.map(|entry| (ident.to_owned(), entry)).into_iter().collect());
        Ok(())
    }

    /// Drops objects without references. A client that waits for such an object receives an error.
    fn remove_all(&mut self, gone: Vec<(String, Entry)>) {
        for (ident, entry) in gone {
            if entry.parked > 0 {
                let waiters = self.parked.iter().filter(|(_, parked)| parked.ident == ident);
                for waiter in waiters.map(|(waiter, _)| *waiter).collect::<Vec<_>>() {
                    self.context.answer(waiter, Err(self.table.unknown(&ident)));
                }
            }
            for owner in &entry.touched_by {
                if let Some(peer) = self.peers.get_mut(owner) {
                    peer.touched.remove(&ident);
                }
            }
            self.drop_object(entry.made);
        }
    }

    /// Drops an object; an object of the program's own type is dropped on a helper thread.
    fn drop_object(&self, made: Made) {
        match made.body {
            Body::Here(local) => drop(local),
            Body::Apart(object) => self.discard(object),
        }
    }

    /// Carries out the pending changes of objects: references that kept values take or give back, and answers to parked
    /// calls.
    fn apply_changes(&mut self) {
        while self.context.has_changed() {
            for ident in std::mem::take(&mut self.context.taken) {
                let _ = self.table.take(&ident, &Holder::Server); // an object that is gone cannot be kept
            }
            let given_back = std::mem::take(&mut *self.context.given_back.lock());
            let answers = std::mem::take(&mut self.context.answers);
            for (waiter, outcome) in answers {
                if let Some(parked) = self.unpark(waiter) {
                    let by = self.table.objects.get(parked.ident.as_bytes()).and_then(|entry| entry.rule().cloned());
                    let reply = self.local_reply(parked.owner, outcome, by.as_ref());
                    self.reply(parked.owner, &reply);
                }
            }
            for ident in given_back {
                if let Ok(Some(entry)) = self.table.give_back(&ident, &Holder::Server) {
                    self.remove_all(vec![(ident, entry)]);
                }
            }
        }
    }
}
