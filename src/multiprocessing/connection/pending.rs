//! The unfinished handshakes of a listener, limited in number and in time.
//!
//! Every accepting thread waits at one epoll set, and takes the next handshake that is ready. So no thread waits for
//! another, and any of them takes the peer whose handshake is done.
//!
//! | a handshake | is | its entry in the set is |
//! | --- | --- | --- |
//! | is the newest of its thread | owned by this thread | missing |
//! | waits for its peer | in the table | armed |
//! | runs | owned by one thread | disarmed, by `EPOLLONESHOT` |
//! | is over | dropped, or a connection | removed |
//!
//! A thread holds the table's lock only to change the table, never during a wait.
//!
//! **The newest.** Most peers answer at once, while nothing else happens. So the thread that accepted a peer waits for
//! this peer and for the set together, which takes one call where an entry in the set takes two more. If the set is
//! ready, or after [`GRACE`], the thread puts the peer into the table.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::Result as SysResult;
use ossature_sys::eventfd::{EventFd, Until};
use ossature_sys::fd::AboveStandard;
use ossature_sys::poll::{PollFd, PollFlags};
use ossature_sys::process::generation;
use ossature_sys::socket::{self, Socket};
use ossature_sys::sync::lock::Lock;

use super::handshake_io::HandshakeIo;
use super::rules::Rules;
use super::shortage::{Shortage, cannot_accept};
use super::wait::poll_until;
use super::{Address, AuthKey, Handshake};
use crate::error::{Error, ErrorKind, Result};

/// The minimum time of a peer before a full table removes it in favour of another peer. It is enough for some round
/// trips around the world, and a flood of silent peers does not shorten it.
const GRACE: Duration = Duration::from_millis(500);

/// The token of the listener's own entry in the set.
const LISTENER: u64 = u64::MAX;
/// The token by which a thread that leaves wakes a thread that stays.
const WAKE: u64 = u64::MAX - 1;

/// The peers whose handshakes are not done yet.
///
/// Their time runs only while some thread is in [`serve`](Self::serve), because a busy listener is not their fault.
#[derive(Default)]
pub(super) struct Pending {
    table: Lock<PendingTable>,
}

#[derive(Default)]
struct PendingTable {
    /// The waiting peers by their numbers, in order of arrival.
    waiting: BTreeMap<u64, Box<Peer>>,
    /// The number of further peers, which threads own.
    in_hand: usize,
    next: u64,
    /// The number of threads that are accepting.
    accepting: usize,
    /// The time since which no thread accepts.
    left: Option<Instant>,
    set: Option<Arc<Set>>,
    /// Whether the listener's entry in the set is disarmed.
    is_muted: bool,
    /// The time until which the listener's entry stays disarmed, because the system has no descriptor for a new peer.
    muted_until: Option<Instant>,
    /// The generation of the process that owns the peers and the set: a forked child must not use its parent's.
    generation: u32,
}

/// The epoll set on which the threads wait.
struct Set {
    epoll: Epoll,
    wake: EventFd,
}

struct Peer {
    number: u64,
    io: HandshakeIo,
    came: Instant,
    address: Option<Address>,
}

/// The socket and the address of a peer that has proved that it knows the key.
pub(super) type Accepted = (Socket, Option<Address>);

/// What a thread does next.
enum Next {
    Wait(Option<Instant>),
    PutOut(Box<Peer>, &'static str),
}

const LATE: &str = "handshake dropped: the peer did not finish it in time";
const MADE_ROOM: &str = "handshake dropped: too many are pending, and this peer was the slowest";

/// The arguments of one call of [`Pending::serve`].
struct Call<'c> {
    pending: &'c Pending,
    set: Arc<Set>,
    listener: &'c Socket,
    key: &'c AuthKey,
    rules: &'c Rules,
}

impl Pending {
    /// Accepts new peers, and continues all handshakes until one succeeds or fails; `None` if the deadline passes
    /// before. The other handshakes continue with the next call, or in another thread.
    pub(super) fn serve(
        &self,
        listener: &Socket,
        key: &AuthKey,
        rules: &Rules,
        until: Until<'_>,
    ) -> Result<Option<Accepted>> {
        let mut shortage = Shortage::default();
        let set = loop {
            let entered = self.table.lock().enter(listener);
            match entered {
                Ok(set) => break set,
                Err(errno) => thread::sleep(shortage.pause(errno, until.deadline())?),
            }
        };
        let call = Call { pending: self, set, listener, key, rules };
        let served = call.run(until);
        self.table.lock().leave();
        served
    }
}

impl PendingTable {
    fn enter(&mut self, listener: &Socket) -> SysResult<Arc<Set>> {
        if self.generation != generation() {
            // Closes the child's copies of the descriptors and sends nothing to the peers.
            *self = Self { generation: generation(), ..Self::default() };
        }
        let set = match &self.set {
            Some(set) => set.clone(),
            None => {
                let set = Arc::new(Set::new(listener)?);
                self.set.insert(set).clone()
            }
        };
        if let Some(left) = self.left.take() {
            let away = left.elapsed();
            self.waiting.values_mut().for_each(|peer| peer.came += away);
        }
        self.accepting += 1;
        Ok(set)
    }

    fn leave(&mut self) {
        self.accepting -= 1;
        if self.accepting == 0 {
            self.left = Some(Instant::now());
        } else if let Some(set) = &self.set {
            // Another thread may not know the next peer whose time ends, or that there is room again.
            if self.is_muted || !self.waiting.is_empty() {
                let _ = set.wake.try_add(1);
            }
        }
    }

    fn is_full(&self, rules: &Rules) -> bool {
        self.waiting.len() + self.in_hand >= rules.most.max(1)
    }

    /// Returns the time at which a full table accepts a new peer: after the minimum time of the oldest peer.
    fn opens(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, oldest)| oldest.came + GRACE)
    }

    fn next(&mut self, call: &Call<'_>) -> SysResult<Next> {
        let now = Instant::now();
        let late = call.rules.timeout.and_then(|span| self.waiting.first_key_value()?.1.came.checked_add(span));
        if late.is_some_and(|late| late <= now) {
            return Ok(self.put_oldest_out(LATE));
        }
        let is_full = self.is_full(call.rules);
        let opens = self.opens().filter(|_| is_full);
        self.muted_until = self.muted_until.filter(|until| *until > now);
        let is_closed = is_full && opens.is_none_or(|opens| opens > now);
        self.mute(is_closed || self.muted_until.is_some(), call)?;
        let opens = opens.filter(|opens| *opens > now);
        Ok(Next::Wait([late, opens, self.muted_until].into_iter().flatten().min()))
    }

    fn mute(&mut self, mute: bool, call: &Call<'_>) -> SysResult<()> {
        if self.is_muted != mute {
            let interest = if mute { Interest::empty() } else { Interest::IN };
            call.set.epoll.modify(call.listener, interest, LISTENER)?;
            self.is_muted = mute;
        }
        Ok(())
    }

    fn put_oldest_out(&mut self, why: &'static str) -> Next {
        match self.waiting.pop_first() {
            Some((_, peer)) => {
                self.in_hand += 1;
                Next::PutOut(peer, why)
            }
            None => Next::Wait(None),
        }
    }

    /// Takes a peer that is ready out of the table. `None` if another thread has removed the peer meanwhile.
    fn take(&mut self, number: u64) -> Option<Box<Peer>> {
        let peer = self.waiting.remove(&number)?;
        self.in_hand += 1;
        Some(peer)
    }
}

impl Set {
    fn new(listener: &Socket) -> SysResult<Self> {
        let set = Self { epoll: Epoll::new()?.above_standard()?, wake: EventFd::counter(0)?.above_standard()? };
        set.epoll.register(listener, Interest::IN, LISTENER)?;
        // Edge-triggered: each addition wakes one thread, and no thread has to read the event.
        set.epoll.register(&set.wake, Interest::IN | Interest::ET, WAKE)?;
        Ok(set)
    }
}

impl Peer {
    fn wanted(&self) -> Interest {
        let ready = if self.io.wanted() == PollFlags::IN { Interest::IN } else { Interest::OUT };
        ready | Interest::ONESHOT
    }

    /// Returns the socket of a handshake that is over, or why it failed.
    fn outcome(self, outcome: Result<()>) -> Result<Accepted> {
        match outcome {
            Ok(()) => Ok((self.io.into_socket(), self.address)),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Returns the error of a peer that was not accepted, including a peer that closed its connection. An error of this
    /// system keeps its kind.
    fn lost(&self, error: Error) -> Error {
        let told = match &self.address {
            Some(address) => format!("{address}: {error}"),
            None => error.to_string(),
        };
        match error.kind() {
            ErrorKind::Closed => Error::caused(ErrorKind::Auth, error.errno(), error).with_message(told),
            ErrorKind::Auth => error.with_message(told),
            _ => error,
        }
    }
}

impl Call<'_> {
    fn run(&self, until: Until<'_>) -> Result<Option<Accepted>> {
        let mut newest = None;
        let ended = self.run_beside(&mut newest, until);
        // A handshake that is not over continues in another call.
        let admitted = newest.map_or(Ok(()), |peer| self.admit(peer));
        match ended {
            Ok(None) => admitted.map(|()| None),
            ended => ended,
        }
    }

    /// Continues all handshakes, of which `newest` is not in the table.
    fn run_beside(&self, newest: &mut Option<Box<Peer>>, until: Until<'_>) -> Result<Option<Accepted>> {
        let mut room = [MaybeUninit::<Event>::uninit(); 1];
        let mut shortage = Shortage::default();
        // After the deadline this thread still looks once at each peer, and at one new peer.
        let mut rest = None;
        loop {
            let next = self.pending.table.lock().next(self)?;
            let soonest = match next {
                Next::Wait(soonest) => soonest,
                Next::PutOut(peer, why) => return self.put_out(peer, why).map(Some),
            };
            let first = soonest.map_or(until, |soonest| {
                until.or_sooner(Deadline::after(soonest.saturating_duration_since(Instant::now())))
            });
            let (nothing, ended) = match newest.take() {
                Some(peer) => (false, self.attend(peer, newest, first)?),
                None => {
                    let epoll = &self.set.epoll;
                    let look =
                        |deadline| epoll.poll(&mut room, deadline).map(|events| events.first().map(Event::token));
                    let token = first.when_readable(epoll, look)?;
                    let ended = match token {
                        None | Some(WAKE) => None,
                        Some(LISTENER) => self.newcomer(newest, &mut shortage, until.deadline())?,
                        Some(number) => self.go_on(number)?,
                    };
                    (token.is_none(), ended)
                }
            };
            if ended.is_some() {
                return Ok(ended);
            }
            if until.is_over()? {
                let others = || self.pending.table.lock().waiting.len() + usize::from(newest.is_some());
                let rest = rest.get_or_insert_with(|| 1 + others());
                *rest -= 1;
                if nothing || *rest == 0 {
                    return shortage.into_error().map_or(Ok(None), Err);
                }
            }
        }
    }

    /// Waits for the newest peer and for the set at the same time. If the peer is ready, its handshake continues. The
    /// peer goes into the table afterwards if the set is ready too, or if the wait ended before the peer was ready.
    fn attend(
        &self,
        mut peer: Box<Peer>,
        newest: &mut Option<Box<Peer>>,
        until: Until<'_>,
    ) -> Result<Option<Accepted>> {
        let left = self.rules.timeout.unwrap_or(GRACE).min(GRACE).saturating_sub(peer.came.elapsed());
        if left.is_zero() {
            return self.admit(peer).map(|()| None);
        }
        let until = until.or_sooner(Deadline::after(left));
        let mut fds = [PollFd::new(&peer.io, peer.io.wanted()), PollFd::new(&self.set.epoll, PollFlags::IN)];
        let polled = poll_until(&mut fds, until);
        let [this, others] = fds.map(|fd| !fd.revents().is_empty());
        if polled.is_ok() && this {
            let advanced = peer.io.advance();
            if advanced.is_err() || peer.io.is_done() {
                self.pending.table.lock().in_hand -= 1;
                return peer.outcome(advanced).map(Some);
            }
            if !others {
                *newest = Some(peer);
                return Ok(None);
            }
        }
        self.admit(peer)?;
        polled.map(|_| None).map_err(cannot_accept)
    }

    /// Accepts a new peer, or removes the oldest to make room for one.
    fn newcomer(
        &self,
        newest: &mut Option<Box<Peer>>,
        shortage: &mut Shortage,
        deadline: Deadline,
    ) -> Result<Option<Accepted>> {
        let number = {
            let mut table = self.pending.table.lock();
            if table.is_full(self.rules) {
                if table.opens().is_none_or(|opens| opens > Instant::now()) {
                    return Ok(None);
                }
                let Next::PutOut(peer, why) = table.put_oldest_out(MADE_ROOM) else { return Ok(None) };
                drop(table);
                return self.put_out(peer, why).map(Some);
            }
            table.in_hand += 1;
            table.next += 1;
            table.next
        };
        let accepted = accept(self.listener, Deadline::NOW);
        let newcomer = match accepted {
            Ok(Some((socket, address))) => {
                *shortage = Shortage::default();
                self.welcome(number, socket, &address).map(Some)
            }
            Ok(None) => Ok(None),
            Err(errno) => match shortage.pause(errno, deadline) {
                Err(error) => Err(error),
                Ok(pause) => {
                    self.pending.table.lock().muted_until = Some(Instant::now() + pause);
                    Ok(None)
                }
            },
        };
        if !matches!(newcomer, Ok(Some(_))) {
            self.pending.table.lock().in_hand -= 1;
        }
        *newest = newcomer?;
        Ok(None)
    }

    fn welcome(&self, number: u64, socket: Socket, address: &socket::Address) -> Result<Box<Peer>> {
        if let socket::Address::Ip(_) = address {
            let _ = socket.set_no_delay(); // EINVAL: it is gone already, as it will turn out
        }
        let io = HandshakeIo::new(socket, self.rules.apply(Handshake::server(self.key)?));
        let mut peer = Box::new(Peer { number, io, came: Instant::now(), address: Address::of_socket(address) });
        let flushed = peer.io.flush();
        flushed.map_err(|error| peer.lost(error))?;
        Ok(peer)
    }

    /// Puts a new peer into the table, which has already counted the peer.
    fn admit(&self, peer: Box<Peer>) -> Result<()> {
        let mut table = self.pending.table.lock();
        table.in_hand -= 1;
        self.set.epoll.register(&peer.io, peer.wanted(), peer.number).map_err(cannot_accept)?;
        table.waiting.insert(peer.number, peer);
        Ok(())
    }

    /// Continues the handshake of a peer that is ready, as far as possible without waiting.
    fn go_on(&self, number: u64) -> Result<Option<Accepted>> {
        let Some(mut peer) = self.pending.table.lock().take(number) else { return Ok(None) };
        let advanced = peer.io.advance();
        if advanced.is_err() || peer.io.is_done() {
            return self.end(peer, advanced).map(Some);
        }
        // Armed again under the lock, so that a thread that is woken for the peer finds the peer in the table.
        let mut table = self.pending.table.lock();
        if let Err(errno) = self.set.epoll.modify(&peer.io, peer.wanted(), number) {
            drop(table);
            return self.end(peer, Err(Error::os(errno, "handshake"))).map(Some);
        }
        table.in_hand -= 1;
        table.waiting.insert(number, peer);
        Ok(None)
    }

    /// Drops a peer that is out of time, after a last look at the bytes that the peer has sent.
    fn put_out(&self, mut peer: Box<Peer>, why: &'static str) -> Result<Accepted> {
        let advanced = peer.io.advance();
        let is_over = advanced.is_err() || peer.io.is_done();
        let outcome = if is_over { advanced } else { Err(Error::new(ErrorKind::Auth, why)) };
        self.end(peer, outcome)
    }

    fn end(&self, peer: Box<Peer>, outcome: Result<()>) -> Result<Accepted> {
        // Removed before the close: if another process has a copy of the descriptor, the entry would stay.
        let removed = self.set.epoll.unregister(&peer.io);
        self.pending.table.lock().in_hand -= 1;
        let ended = peer.outcome(outcome)?;
        removed?;
        Ok(ended)
    }
}

/// Accepts a peer. Its descriptor is private, because the caller receives a connection.
pub(super) fn accept(listener: &Socket, deadline: Deadline) -> SysResult<Option<(Socket, socket::Address)>> {
    let accepted = listener.accept(deadline)?;
    accepted.map(|(socket, peer)| Ok((socket.above_standard()?, peer))).transpose()
}
