//! The objects of a server, and who refers to them.
//!
//! | a reference of | is taken by | and given back by |
//! | --- | --- | --- |
//! | a client in Rust (session) | `create`, `incref`, a proxy in a reply, `claim` | `decref`, the end of its control connection |
//! | a client in Python | `create`, `incref`, `#PROXY` | `decref` |
//! | a proxy under way (ticket) | `lend` | `claim`; a while after the end of the session that lent it |
//! | a value in an object of the house | storing it | its removal |
//!
//! An object goes with its last reference. A client gives back only what it has taken: the references of others are not its
//! to count.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ossature_sys::random;

use super::super::Exception;
use super::super::limits::Limits;
use super::local::{Body, Made};
use super::peer::SessionId;
use crate::error::{Error, Result};

/// How long a proxy may be under way after its sender has ended.
const UNDER_WAY: Duration = Duration::from_secs(600);

/// Who takes or gives back a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Session(SessionId),
    /// The clients in Python, together.
    Python,
    /// An object of the house, or a ticket.
    House,
}

pub(super) struct Entry {
    pub(super) made: Made,
    /// All references.
    refs: usize,
    /// Of these, the clients' in Python.
    python: usize,
}

/// A client in Rust.
pub(super) struct Session {
    pub(super) secret: String,
    refs: HashMap<String, usize>,
    count: usize,
}

/// A proxy under way.
struct Ticket {
    ident: String,
    lender: SessionId,
    over: Option<Instant>,
}

pub(super) struct House {
    pub(super) objects: HashMap<String, Entry>,
    pub(super) sessions: HashMap<SessionId, Session>,
    tickets: HashMap<String, Ticket>,
    /// Names no object of an earlier server at the same address.
    epoch: u32,
    next: u32,
    next_session: SessionId,
    python: usize,
    limits: Limits,
}

/// 128 bits that nobody guesses.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes).map_err(|errno| Error::os(errno, "cannot make a secret"))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

impl House {
    pub(super) fn new(limits: Limits) -> Result<Self> {
        let mut epoch = [0; 4];
        random::fill(&mut epoch).map_err(|errno| Error::os(errno, "cannot make a server"))?;
        Ok(Self {
            objects: HashMap::new(),
            sessions: HashMap::new(),
            tickets: HashMap::new(),
            epoch: u32::from_ne_bytes(epoch) | 1 << 31, // eight digits
            next: 0,
            next_session: 0,
            python: 0,
            limits,
        })
    }

    /// What names no object here.
    pub(super) fn unknown(&self, ident: &str) -> Exception {
        let shown: String = ident.chars().take(40).collect();
        let ours = shown.starts_with(&format!("{:x}", self.epoch));
        let why = if ours {
            "its last reference was given back"
        } else {
            "it was made by another server, perhaps an earlier one at this address"
        };
        Exception::new("KeyError", format!("no object {shown}: {why}"))
    }

    fn full(&mut self, holder: Holder) -> Option<Exception> {
        let count = match holder {
            Holder::Session(id) => self.sessions.get(&id).map_or(0, |session| session.count),
            Holder::Python => self.python,
            Holder::House => return None,
        };
        let most = self.limits.references;
        (count >= most).then(|| {
            Exception::new(
                "MemoryError",
                format!("this client holds {most} references, and Limits::references allows no more"),
            )
        })
    }

    /// Takes a new object in, with one reference.
    pub(super) fn add(&mut self, made: Made, holder: Holder) -> std::result::Result<String, Exception> {
        if self.objects.len() >= self.limits.objects {
            let message = format!("the server has {} objects, and Limits::objects allows no more", self.limits.objects);
            return Err(Exception::new("MemoryError", message));
        }
        let ident = loop {
            self.next = self.next.wrapping_add(1);
            let ident = format!("{:x}{:x}", self.epoch, self.next);
            if !self.objects.contains_key(&ident) {
                break ident;
            }
        };
        self.objects.insert(ident.clone(), Entry { made, refs: 0, python: 0 });
        match self.take(&ident, holder) {
            Ok(()) => Ok(ident),
            Err(error) => {
                self.objects.remove(&ident);
                Err(error)
            }
        }
    }

    /// Takes a reference.
    pub(super) fn take(&mut self, ident: &str, holder: Holder) -> std::result::Result<(), Exception> {
        if let Some(full) = self.full(holder) {
            return Err(full);
        }
        let Some(entry) = self.objects.get_mut(ident) else { return Err(self.unknown(ident)) };
        match holder {
            Holder::Session(id) => {
                let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) }; // it has just ended
                *session.refs.entry(ident.to_owned()).or_default() += 1;
                session.count += 1;
            }
            Holder::Python => {
                entry.python += 1;
                self.python += 1;
            }
            Holder::House => {}
        }
        entry.refs += 1;
        Ok(())
    }

    /// Gives a reference back; the object if that was the last one.
    pub(super) fn give_back(&mut self, ident: &str, holder: Holder) -> std::result::Result<Option<Entry>, Exception> {
        let Some(entry) = self.objects.get_mut(ident) else { return Err(self.unknown(ident)) };
        let foreign = || Exception::new("ValueError", format!("this client holds no reference to {ident}"));
        match holder {
            Holder::Session(id) => {
                let session = self.sessions.get_mut(&id).ok_or_else(foreign)?;
                let count = session.refs.get_mut(ident).ok_or_else(foreign)?;
                *count -= 1;
                if *count == 0 {
                    session.refs.remove(ident);
                }
                session.count -= 1;
            }
            Holder::Python => {
                entry.python = entry.python.checked_sub(1).ok_or_else(foreign)?;
                self.python -= 1;
            }
            Holder::House => {}
        }
        entry.refs = entry.refs.saturating_sub(1);
        Ok(if entry.refs == 0 { self.objects.remove(ident) } else { None })
    }

    /// Begins a session.
    pub(super) fn begin(&mut self) -> Result<(SessionId, String)> {
        let secret = secret()?;
        self.next_session += 1;
        let session = Session { secret: secret.clone(), refs: HashMap::new(), count: 0 };
        self.sessions.insert(self.next_session, session);
        Ok((self.next_session, secret))
    }

    /// The session of a secret.
    pub(super) fn session_of(&self, secret: &str) -> Option<SessionId> {
        self.sessions.iter().find(|(_, session)| session.secret == secret).map(|(id, _)| *id)
    }

    /// Ends a session; the objects of which it had the last reference.
    pub(super) fn end(&mut self, id: SessionId) -> Vec<(String, Entry)> {
        let Some(session) = self.sessions.remove(&id) else { return Vec::new() };
        let over = Instant::now() + UNDER_WAY;
        self.tickets.values_mut().filter(|ticket| ticket.lender == id).for_each(|ticket| ticket.over = Some(over));
        let mut gone = Vec::new();
        for (ident, count) in session.refs {
            if let Some(entry) = self.objects.get_mut(&ident) {
                entry.refs = entry.refs.saturating_sub(count);
                if entry.refs == 0 {
                    gone.extend(self.objects.remove(&ident).map(|entry| (ident, entry)));
                }
            }
        }
        gone
    }

    /// A ticket for a proxy that is about to be sent.
    pub(super) fn lend(&mut self, ident: &str, lender: SessionId) -> std::result::Result<String, Exception> {
        if self.tickets.len() >= self.limits.references {
            let message =
                format!("{} proxies are under way, and Limits::references allows no more", self.tickets.len());
            return Err(Exception::new("MemoryError", message));
        }
        let ticket = secret().map_err(Exception::of)?;
        self.take(ident, Holder::House)?;
        self.tickets.insert(ticket.clone(), Ticket { ident: ident.to_owned(), lender, over: None });
        Ok(ticket)
    }

    /// Turns the reference of a ticket into one of the session. A ticket that was turned in before is an ordinary request for a
    /// reference.
    pub(super) fn claim(
        &mut self,
        ticket: &str,
        ident: &str,
        session: SessionId,
    ) -> std::result::Result<(), Exception> {
        self.take(ident, Holder::Session(session))?;
        if self.tickets.get(ticket).is_some_and(|known| known.ident == ident) {
            self.tickets.remove(ticket);
            let _ = self.give_back(ident, Holder::House); // not the last: the session has one
        }
        Ok(())
    }

    /// When the next ticket is over.
    pub(super) fn next_over(&self) -> Option<Instant> {
        self.tickets.values().filter_map(|ticket| ticket.over).min()
    }

    /// Tears up tickets whose time is over; the objects that nobody else refers to.
    pub(super) fn tear_up(&mut self, now: Instant) -> Vec<(String, Entry)> {
        let over: Vec<String> = self
            .tickets
            .iter()
            .filter(|(_, ticket)| ticket.over.is_some_and(|over| over <= now))
            .map(|(name, _)| name.clone())
            .collect();
        let mut gone = Vec::new();
        for ticket in over.iter().filter_map(|name| self.tickets.remove(name)).collect::<Vec<_>>() {
            let entry = self.give_back(&ticket.ident, Holder::House);
            gone.extend(entry.ok().flatten().map(|entry| (ticket.ident, entry)));
        }
        gone
    }

    /// What CPython's `debug_info` says.
    pub(super) fn debug_info(&self) -> String {
        let mut idents: Vec<_> = self.objects.iter().collect();
        idents.sort_by_key(|(ident, _)| (ident.len(), *ident));
        let lines = idents.into_iter().map(|(ident, entry)| {
            let shown: String = entry.repr().chars().take(75).collect();
            format!("  {ident}:       refcount={}\n    {shown}", entry.refs)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Entry {
    pub(super) fn repr(&self) -> String {
        match &self.made.body {
            Body::Here(local) => local.repr(),
            Body::Apart(_) => format!("<{} object>", self.made.typeid),
        }
    }
}
