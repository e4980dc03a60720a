//! Where those who have come wait until they have proved themselves: many at once, not too many, and not for ever.

use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::generation;
use ossature_sys::socket::{self, Socket};

use super::exchange::Exchange;
use super::rules::Rules;
use super::{Address, AuthKey};
use crate::error::{Error, ErrorKind, Result};

/// How long one who has come may at least stay before a full lobby puts it out for another: time for some round trips
/// around the world, which a flood of silent peers does not shorten.
const GRACE: Duration = Duration::from_millis(500);

/// Those whose handshakes are not done yet, in the order in which they came.
///
/// Their time runs only while somebody is in [`serve`](Self::serve): they are not to blame for a listener that is busy.
#[derive(Default)]
pub(super) struct Lobby {
    guests: Vec<Guest>,
    left: Option<Instant>,
    /// In a forked child the guests are the parent's.
    generation: u32,
}

struct Guest {
    exchange: Exchange,
    came: Instant,
    address: Option<Address>,
}

/// One who has come, and has proved itself if it had to.
pub(super) type Admitted = (Socket, Option<Address>);

impl Lobby {
    /// Lets in whoever comes, and goes on with all handshakes until one is done or has failed; `None` when neither was the
    /// case by the deadline. The others go on with the next call.
    pub(super) fn serve(
        &mut self,
        listener: &Socket,
        key: &AuthKey,
        rules: &Rules,
        deadline: Deadline,
    ) -> Result<Option<Admitted>> {
        if self.generation != generation() {
            self.guests.clear(); // closes the child's copies of the descriptors and tells the peers nothing
            self.generation = generation();
        }
        if let Some(left) = self.left.take() {
            let away = left.elapsed();
            self.guests.iter_mut().for_each(|guest| guest.came += away);
        }
        let served = self.go_on(listener, key, rules, deadline);
        if !self.guests.is_empty() {
            self.left = Some(Instant::now());
        }
        served
    }

    fn go_on(
        &mut self,
        listener: &Socket,
        key: &AuthKey,
        rules: &Rules,
        deadline: Deadline,
    ) -> Result<Option<Admitted>> {
        loop {
            if self.guests.is_empty() {
                let Some((socket, address)) = listener.accept(deadline).map_err(cannot_accept)? else {
                    return Ok(None);
                };
                self.welcome(socket, &address, key, rules)?;
            }
            let now = Instant::now();
            let is_full = self.guests.len() >= rules.most.max(1);
            // As long as the oldest may stay, a newcomer waits outside.
            let opens = self.guests.first().filter(|_| is_full).map(|oldest| oldest.came + GRACE);
            let closed = opens.is_some_and(|opens| opens > now);
            let late = rules.timeout.and_then(|span| self.guests.first()?.came.checked_add(span));
            let next = [late, opens.filter(|_| closed)].into_iter().flatten().min();
            let until = next.map_or(deadline, |next| {
                let soon = Deadline::after(next.saturating_duration_since(now));
                deadline.or_sooner(soon)
            });
            let mut ready = self.wait(listener, closed, until)?;
            let someone_comes = ready.pop().unwrap_or(false);
            if let Some(end) = self.advance(&ready) {
                return end.map(Some);
            }
            if late.is_some_and(|late| late <= Instant::now()) {
                self.guests.remove(0);
                return Err(Error::new(ErrorKind::Auth, "a peer did not finish the handshake in time"));
            }
            if someone_comes && is_full {
                self.guests.remove(0);
                return Err(Error::new(
                    ErrorKind::Auth,
                    "a peer that was slow with the handshake made room for another",
                ));
            }
            if someone_comes {
                if let Some((socket, address)) = listener.accept(Deadline::NOW).map_err(cannot_accept)? {
                    self.welcome(socket, &address, key, rules)?;
                }
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// Who can go on, and at the end whether somebody comes.
    fn wait(&self, listener: &Socket, closed: bool, until: Deadline) -> Result<Vec<bool>> {
        let mut asked: Vec<_> =
            self.guests.iter().map(|guest| PollFd::new(&guest.exchange, guest.exchange.wanted())).collect();
        asked.push(PollFd::new(listener, if closed { PollFlags::empty() } else { PollFlags::IN }));
        poll(&mut asked, until)?;
        Ok(asked.iter().map(|asked| !asked.revents().is_empty()).collect())
    }

    fn welcome(&mut self, socket: Socket, address: &socket::Address, key: &AuthKey, rules: &Rules) -> Result<()> {
        if let socket::Address::Ip(_) = address {
            let _ = socket.set_no_delay(true); // EINVAL: it is gone already, as it will turn out
        }
        let mut exchange = Exchange::new(socket, rules.apply(super::Handshake::server(key)?));
        exchange.speak().map_err(lost)?;
        self.guests.push(Guest { exchange, came: Instant::now(), address: Address::of_socket(address) });
        Ok(())
    }

    /// Goes on with those who can; the first of them that comes to an end leaves.
    fn advance(&mut self, ready: &[bool]) -> Option<Result<Admitted>> {
        for (index, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            let advanced = self.guests[index].exchange.advance();
            if advanced.is_err() || self.guests[index].exchange.is_done() {
                let guest = self.guests.remove(index);
                let advanced = advanced.map_err(lost);
                return Some(advanced.map(|()| (guest.exchange.into_socket(), guest.address)));
            }
        }
        None
    }
}

/// One kind for whoever comes and does not get in, by going away too; what the system refuses here is another.
fn lost(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Closed => Error::caused(ErrorKind::Auth, error.errno(), error),
        _ => error,
    }
}

pub(super) fn cannot_accept(errno: ossature_sys::errno::Errno) -> Error {
    Error::os(errno, "cannot accept a connection")
}
