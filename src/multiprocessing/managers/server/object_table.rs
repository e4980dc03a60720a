//! The objects of a server, and the references to them.
//!
//! | a reference of | is taken by | and given back by |
//! | --- | --- | --- |
//! | a client in Rust (session) | `create`, `incref`, a proxy in a reply, `claim` | `decref`, the end of its control connection |
//! | a client in Python | `create`, `incref`, `#PROXY` | `decref` |
//! | a proxy in transit (ticket) | `lend` | `claim`; ten minutes after the end of the session that lent it |
//! | a value in a built-in object | storing it | its removal |
//!
//! An object is dropped with its last reference. A client in Rust gives back only references that it has taken. A
//! client in Python can give back the references of another, because the server cannot distinguish them over TCP.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ossature_sys::random;

use super::super::Exception;
use super::super::access::{Entered, Rule};
use super::super::limits::Limits;
use super::holder::{Holder, SessionId};
use super::local::{Body, Made, Owner};
use super::usage::{Charge, Resource, Usage, Who, too_much};
use crate::error::{Error, Result};

/// The maximum time for which a lent proxy lasts after its sender has ended.
const UNDER_WAY: Duration = Duration::from_secs(600);

pub(super) struct Entry {
    pub(super) made: Made,
    /// The number of all references.
    refs: usize,
    /// The references of clients in Python, for each of the clients.
    python: Vec<Charge>,
    rule: Option<Entered>,
    /// The number of calls that are parked at the object.
    pub(super) parked: usize,
    /// The connections that may hold the object, if it is a lock or the like.
    pub(super) touched_by: HashSet<Owner>,
}

/// A client in Rust.
pub(super) struct Session {
    secret: String,
    refs: HashMap<String, usize>,
    /// The number of all references and lent proxies.
    charge: Charge,
    /// The tickets of the proxies that the client has lent.
    tickets: HashSet<String>,
}

/// A lent proxy.
struct Ticket {
    ident: String,
    lender: SessionId,
    over: Option<Instant>,
    _charge: Charge,
}

/// The objects, keyed by the bytes of their names. The server chooses the names, so no client can make them collide.
pub(super) type Objects = HashMap<Vec<u8>, Entry, BuildHasherDefault<ByName>>;

/// A hasher for names whose last letters count up.
#[derive(Default)]
pub(super) struct ByName(u64);

impl ByName {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for ByName {
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((chunk, others)) = rest.split_first_chunk() {
            self.add(u64::from_le_bytes(*chunk));
            rest = others;
        }
        self.add(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }

    /// Ignores the length: the bytes are enough.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

pub(super) struct ObjectTable {
    pub(super) objects: Objects,
    pub(super) sessions: HashMap<SessionId, Session>,
    /// The sessions, keyed by their secrets.
    secrets: HashMap<String, SessionId>,
    tickets: HashMap<String, Ticket>,
    /// The times at which the tickets of ended sessions expire.
    over: BTreeSet<(Instant, String)>,
    /// A random number in all names, so that no name refers to an object of an earlier server at the same address.
    epoch: u32,
    next: u32,
    next_session: SessionId,
    limits: Limits,
}

/// Returns 128 random bits that cannot be guessed.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes).map_err(|errno| Error::os(errno, "cannot make the secret of a session"))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

impl ObjectTable {
    pub(super) fn new(limits: Limits) -> Result<Self> {
        let mut epoch = [0; 4];
        random::fill(&mut epoch).map_err(|errno| Error::os(errno, "cannot make the manager's server"))?;
        Ok(Self {
            objects: Objects::default(),
            sessions: HashMap::new(),
            secrets: HashMap::new(),
            tickets: HashMap::new(),
            over: BTreeSet::new(),
            epoch: u32::from_ne_bytes(epoch) | 1 << 31, // eight digits
            next: 0,
            next_session: 0,
            limits,
        })
    }

    /// Makes the exception for a name that refers to no object here.
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

    fn full(&self, holder: &Holder) -> Option<Exception> {
        let count = match holder {
            Holder::Session(id) => self.sessions.get(id)?.charge.usage().of(Resource::References),
            Holder::Python(usage) => usage.of(Resource::References),
            Holder::Server => return None,
        };
        let most = self.limits.references;
        (count >= most).then(|| too_much(&format!("holds {count} references"), most, "references"))
    }

    /// Adds a new object, with one reference. Returns the object if there is no room for it.
    pub(super) fn add(
        &mut self,
        made: Made,
        rule: Option<&Arc<Rule>>,
        holder: &Holder,
    ) -> std::result::Result<String, Box<(Exception, Made)>> {
        if self.objects.len() >= self.limits.objects {
            let message = format!("the server has {} objects, and Limits::objects allows no more", self.limits.objects);
            return Err(Box::new((Exception::new("MemoryError", message), made)));
        }
        if let Some(full) = self.full(holder) {
            return Err(Box::new((full, made)));
        }
        let rule = match rule.map(Rule::enter).transpose() {
            Ok(rule) => rule,
            Err(full) => return Err(Box::new((full, made))),
        };
        let ident = loop {
            self.next = self.next.wrapping_add(1);
            let ident = format!("{:x}{:x}", self.epoch, self.next);
            if !self.objects.contains_key(ident.as_bytes()) {
                break ident;
            }
        };
        let (python, touched_by) = (Vec::new(), HashSet::new());
        self.objects.insert(ident.clone().into_bytes(), Entry { made, refs: 0, python, rule, parked: 0, touched_by });
        let _ = self.take(&ident, holder); // there is room for the reference, and the object is there
        Ok(ident)
    }

    /// Takes a reference.
    pub(super) fn take(&mut self, ident: &str, holder: &Holder) -> std::result::Result<(), Exception> {
        if let Some(full) = self.full(holder) {
            return Err(full);
        }
        let Some(entry) = self.objects.get_mut(ident.as_bytes()) else { return Err(self.unknown(ident)) };
        match holder {
            Holder::Session(id) => {
                let Some(session) = self.sessions.get_mut(id) else { return Ok(()) }; // it has just ended
                *session.refs.entry(ident.to_owned()).or_default() += 1;
                session.charge.set(session.charge.amount() + 1);
            }
            Holder::Python(usage) => match entry.python.iter_mut().find(|it| Arc::ptr_eq(it.usage(), usage)) {
                Some(charge) => charge.set(charge.amount() + 1),
                None => entry.python.push(Charge::new(usage, Resource::References, 1)),
            },
            Holder::Server => {}
        }
        entry.refs += 1;
        Ok(())
    }

    /// Gives a reference back. Returns the object if that was the last reference.
    pub(super) fn give_back(&mut self, ident: &str, holder: &Holder) -> std::result::Result<Option<Entry>, Exception> {
        let Some(entry) = self.objects.get_mut(ident.as_bytes()) else { return Err(self.unknown(ident)) };
        let foreign = || Exception::new("ValueError", format!("this client holds no reference to {ident}"));
        match holder {
            Holder::Session(id) => {
                let session = self.sessions.get_mut(id).ok_or_else(foreign)?;
                let count = session.refs.get_mut(ident).ok_or_else(foreign)?;
                *count -= 1;
                if *count == 0 {
                    session.refs.remove(ident);
                }
                session.charge.set(session.charge.amount() - 1);
            }
            Holder::Python(usage) => {
                let own = entry.python.iter().position(|it| Arc::ptr_eq(it.usage(), usage));
                let place = own.or_else(|| entry.python.len().checked_sub(1)).ok_or_else(foreign)?;
                let charge = entry.python.get_mut(place).ok_or_else(foreign)?;
                charge.set(charge.amount() - 1);
                if charge.amount() == 0 {
                    entry.python.swap_remove(place);
                }
            }
            Holder::Server => {}
        }
        entry.refs = entry.refs.saturating_sub(1);
        Ok(if entry.refs == 0 { self.objects.remove(ident.as_bytes()) } else { None })
    }

    /// Begins a session.
    pub(super) fn begin(&mut self, usage: &Arc<Usage>) -> Result<(SessionId, String)> {
        let secret = secret()?;
        self.next_session += 1;
        let charge = Charge::new(usage, Resource::References, 0);
        let session = Session { secret: secret.clone(), refs: HashMap::new(), charge, tickets: HashSet::new() };
        self.sessions.insert(self.next_session, session);
        self.secrets.insert(secret.clone(), self.next_session);
        Ok((self.next_session, secret))
    }

    /// The session with the given secret.
    pub(super) fn session_of(&self, secret: &str) -> Option<SessionId> {
        self.secrets.get(secret).copied()
    }

    /// Ends a session. Returns the objects of which it had the last reference.
    pub(super) fn end(&mut self, id: SessionId) -> Vec<(String, Entry)> {
        let Some(session) = self.sessions.remove(&id) else { return Vec::new() };
        self.secrets.remove(&session.secret);
        let over = Instant::now() + UNDER_WAY;
        for name in session.tickets {
            if let Some(ticket) = self.tickets.get_mut(&name) {
                ticket.over = Some(over);
                self.over.insert((over, name));
            }
        }
        let mut gone = Vec::new();
        for (ident, count) in session.refs {
            if let Some(entry) = self.objects.get_mut(ident.as_bytes()) {
                entry.refs = entry.refs.saturating_sub(count);
                if entry.refs == 0 {
                    gone.extend(self.objects.remove(ident.as_bytes()).map(|entry| (ident, entry)));
                }
            }
        }
        gone
    }

    /// Makes a ticket for a proxy that is about to be sent.
    pub(super) fn lend(&mut self, ident: &str, lender: SessionId) -> std::result::Result<String, Exception> {
        if let Some(full) = self.full(&Holder::Session(lender)) {
            return Err(full);
        }
        let ticket = secret().map_err(Exception::of)?;
        self.take(ident, &Holder::Server)?;
        let session = self.sessions.get_mut(&lender).ok_or_else(|| Exception::new("KeyError", "no such session"))?;
        let _charge = Charge::new(session.charge.usage(), Resource::References, 1);
        session.tickets.insert(ticket.clone());
        self.tickets.insert(ticket.clone(), Ticket { ident: ident.to_owned(), lender, over: None, _charge });
        Ok(ticket)
    }

    /// Turns the reference of a ticket into a reference of the session. A ticket that was used before counts as an
    /// ordinary request for a reference.
    pub(super) fn claim(
        &mut self,
        ticket: &str,
        ident: &str,
        session: SessionId,
    ) -> std::result::Result<(), Exception> {
        self.take(ident, &Holder::Session(session))?;
        if self.tickets.get(ticket).is_some_and(|known| known.ident == ident) {
            self.turn_in(ticket);
            let _ = self.give_back(ident, &Holder::Server); // not the last: the session has one
        }
        Ok(())
    }

    fn turn_in(&mut self, name: &str) -> Option<Ticket> {
        let ticket = self.tickets.remove(name)?;
        if let Some(session) = self.sessions.get_mut(&ticket.lender) {
            session.tickets.remove(name);
        }
        if let Some(over) = ticket.over {
            self.over.remove(&(over, name.to_owned()));
        }
        Some(ticket)
    }

    /// Revokes a ticket that its lender has not received. Returns its object if nothing else refers to it.
    pub(super) fn revoke(&mut self, name: &str) -> Option<(String, Entry)> {
        let ticket = self.turn_in(name)?;
        let entry = self.give_back(&ticket.ident, &Holder::Server).ok().flatten()?;
        Some((ticket.ident, entry))
    }

    /// The time at which the next ticket expires.
    pub(super) fn next_over(&self) -> Option<Instant> {
        self.over.first().map(|(over, _)| *over)
    }

    /// Revokes expired tickets. Returns the objects to which nothing else refers.
    pub(super) fn expire_tickets(&mut self, now: Instant) -> Vec<(String, Entry)> {
        let mut gone = Vec::new();
        while let Some((_, name)) = self.over.first().filter(|(over, _)| *over <= now).cloned() {
            let Some(ticket) = self.turn_in(&name) else { break };
            let entry = self.give_back(&ticket.ident, &Holder::Server);
            gone.extend(entry.ok().flatten().map(|entry| (ticket.ident, entry)));
        }
        gone
    }

    /// The text of CPython's `debug_info`. An object that the client may not see is shown by its type.
    pub(super) fn debug_info(&self, who: Who) -> String {
        let mut idents: Vec<_> = self.objects.iter().collect();
        idents.sort_by_key(|(ident, _)| (ident.len(), *ident));
        let lines = idents.into_iter().map(|(ident, entry)| {
            let shown = if entry.check(who).is_ok() && entry.has("__repr__") {
                entry.repr().chars().take(75).collect()
            } else {
                format!("<{} object>", entry.made.typeid)
            };
            format!("  {}:       refcount={}\n    {shown}", String::from_utf8_lossy(ident), entry.refs)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Entry {
    pub(super) fn rule(&self) -> Option<&Arc<Rule>> {
        self.rule.as_ref().map(Entered::rule)
    }

    /// Checks that a client may use the object at all.
    pub(super) fn check(&self, who: Who) -> std::result::Result<(), Exception> {
        self.rule().map_or(Ok(()), |rule| rule.check_call(who))
    }

    /// Whether the access list allows a method.
    pub(super) fn has(&self, method: &str) -> bool {
        self.rule().is_none_or(|rule| rule.has(method))
    }

    pub(super) fn repr(&self) -> String {
        match &self.made.body {
            Body::Here(local) => local.repr(),
            Body::Apart(_) => format!("<{} object>", self.made.typeid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::builtin::TYPES;
    use super::super::local::CallContext;
    use super::*;
    use crate::multiprocessing::connection::Address;
    use crate::multiprocessing::managers::Arguments;

    fn table() -> (ObjectTable, SessionId) {
        let mut table = ObjectTable::new(Limits::default()).unwrap();
        let (session, _) = table.begin(&Arc::default()).unwrap();
        (table, session)
    }

    fn add(table: &mut ObjectTable, holder: &Holder) -> String {
        let make = TYPES.iter().find(|(name, ..)| *name == "list").unwrap().2;
        let mut context = CallContext::new(Address::Inet("127.0.0.1".to_owned(), 1), 1 << 20);
        table.add(make(Arguments::default(), &mut context).unwrap(), None, holder).unwrap()
    }

    #[test]
    fn ticket_of_a_session_that_has_ended_is_over_after_a_while() {
        let (mut table, session) = table();
        let ident = add(&mut table, &Holder::Session(session));
        table.lend(&ident, session).unwrap();
        assert!(table.end(session).is_empty(), "the ticket refers to the object");
        assert!(table.expire_tickets(Instant::now()).is_empty());
        let gone = table.expire_tickets(Instant::now() + UNDER_WAY + Duration::from_secs(1));
        assert_eq!(gone.iter().map(|(ident, _)| ident).collect::<Vec<_>>(), [&ident]);
        assert!(table.objects.is_empty() && table.next_over().is_none());
    }

    #[test]
    fn ticket_is_turned_in_for_its_own_object_only() {
        let (mut table, session) = table();
        let holder = Holder::Session(session);
        let [own, other] = [(); 2].map(|()| add(&mut table, &holder));
        let ticket = table.lend(&own, session).unwrap();
        table.claim(&ticket, &other, session).unwrap();
        assert!(table.give_back(&own, &holder).unwrap().is_none(), "the ticket refers to it");
        table.claim(&ticket, &own, session).unwrap();
        assert!(table.give_back(&own, &holder).unwrap().is_some(), "the ticket was turned in");
    }

    #[test]
    fn references_of_python_are_charged_until_they_go_back() {
        let (mut table, usage) = (table().0, Arc::<Usage>::default());
        let holder = Holder::Python(usage.clone());
        let ident = add(&mut table, &holder);
        table.take(&ident, &holder).unwrap();
        assert_eq!(usage.of(Resource::References), 2);
        assert!(table.give_back(&ident, &holder).unwrap().is_none());
        assert_eq!(usage.of(Resource::References), 1);
        assert!(table.give_back(&ident, &holder).unwrap().is_some());
        assert_eq!(usage.of(Resource::References), 0);
    }
}
