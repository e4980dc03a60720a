//! Requests to the server and to its objects.

use std::sync::Arc;
use std::time::Instant;

use super::super::acceptor::Notification;
use super::super::local::{Answer, Body, Call, Made, Outcome, Owner, Step};
use super::super::object_table::Entry;
use super::super::peer::{Role, Taken};
use super::super::segments::Segments;
use super::EventLoop;
use super::state::{Handled, Parked, traceback};
use crate::error::{Error, ErrorKind};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::access::{COMMON, Rule};
use crate::multiprocessing::managers::registry::Maker;
use crate::multiprocessing::managers::served::Served;
use crate::multiprocessing::managers::token::{Token, each_proxy};
use crate::multiprocessing::managers::wire::{Reply, Request, VERSION};
use crate::multiprocessing::managers::{Arguments, Exception, Serializer, compact};
use crate::multiprocessing::process::unreported;
use crate::multiprocessing::shared_memory::SharedMemory;
use crate::thread::{catch, report_panics};

impl EventLoop {
    pub(super) fn handle(&mut self, owner: Owner, message: &[u8]) {
        let Some(peer) = self.peers.get_mut(&owner) else { return };
        peer.busy = true;
        peer.asked = message.len();
        peer.count_buffers();
        peer.last = peer.role == Role::First;
        peer.by_memory = false;
        peer.is_compact = matches!(peer.role, Role::Session(_)) && compact::is_compact(message);
        peer.serializer = if peer.is_compact { Serializer::Pickle } else { Serializer::of(message) };
        let request = if peer.is_compact {
            let no_request = || Error::new(ErrorKind::Decode, "no request is in the compact form");
            compact::read_request(message).ok_or_else(no_request)
        } else {
            Request::decode(message, peer.serializer)
        };
        self.carry_out(owner, request);
    }

    /// Carries out a request of a connection, which is busy meanwhile.
    pub(super) fn carry_out(&mut self, owner: Owner, request: crate::error::Result<Request<'_>>) {
        let Some(peer) = self.peers.get_mut(&owner) else { return };
        let role = peer.role;
        if !Arc::ptr_eq(&self.context.caller, peer.usage()) {
            self.context.caller = peer.usage().clone();
        }
        if !request.as_ref().is_ok_and(Request::is_unread) {
            peer.taken.clear(); // the last reply was read
        }
        let request = match request {
            Ok(request) => request,
            Err(_) if matches!(role, Role::Control(_)) => return self.end(owner),
            Err(error) => return self.reply(owner, &Reply::Traceback(format!("{error}\n"))),
        };
        if let Err(refused) = self.may_name(owner, &request) {
            return self.reply(owner, &Reply::Traceback(traceback(&refused)));
        }
        let handled = match (role, request.ident.is_some()) {
            (Role::Session(_), false) if request.is_unread() => {
                self.give_back_taken(owner);
                Handled::Silent
            }
            (Role::Objects, _) | (Role::Session(_), true) => self.ask_object(owner, request),
            (Role::Control(_), _) if request.method == "decref" => {
                let arguments = Arguments { args: request.args, kwds: request.kwds };
                if let Ok((ident,)) = arguments.take::<(String,)>(&["ident"]) {
                    let holder = self.holder(owner);
                    let _ = self.give_back(&holder, &ident);
                }
                Handled::Silent
            }
            (Role::First | Role::Session(_) | Role::Control(_), _) => self.ask_server(owner, role, request),
        };
        match handled {
            Handled::Reply(reply) => self.reply(owner, &reply),
            Handled::Later => self.watch(owner),
            Handled::Silent => {
                if let Some(peer) = self.peers.get_mut(&owner) {
                    (peer.busy, peer.asked) = (false, 0);
                    peer.count_buffers();
                }
                self.watch(owner);
            }
        }
        self.apply_changes();
    }

    /// Carries out a request to the server itself.
    fn ask_server(&mut self, owner: Owner, role: Role, request: Request<'_>) -> Handled {
        let Request { method, args, kwds, .. } = request;
        let is_first = role == Role::First;
        let arguments = Arguments { args, kwds };
        let none = |result: Result<(), Exception>| Handled::from(result.map(|()| Value::None));
        match &*method {
            "dummy" => none(Ok(())),
            "shutdown" | "debug_info" | "number_of_objects" if !self.control.has(self.who(owner)) => {
                let message = format!("this server does not allow {} to call {method}", self.who(owner));
                none(Err(Exception::new("PermissionError", message)))
            }
            "shutdown" => {
                self.stop();
                none(Ok(()))
            }
            "debug_info" => Ok(self.table.debug_info(self.who(owner)).into()).into(),
            "number_of_objects" => Ok(self.table.objects.len().into()).into(),
            "incref" => none(arguments.take(&["ident"]).and_then(|(ident,): (String,)| {
                let holder = self.holder(owner);
                self.may_use(owner, &ident).and_then(|()| self.table.take(&ident, &holder))?;
                self.has_taken(owner, Taken::Reference(ident));
                Ok(())
            })),
            "decref" => none(arguments.take(&["ident"]).and_then(|(ident,): (String,)| {
                let holder = self.holder(owner);
                self.give_back(&holder, &ident)
            })),
            "get_methods" => self.get_methods(owner, arguments).into(),
            "create" => self.ask_to_create(owner, arguments),
            "accept_connection" if is_first => none(arguments.take(&["name"]).map(|(_,): (String,)| {
                self.becomes(owner, Role::Objects);
            })),
            "ossature" if is_first => self.hello(owner, arguments).into(),
            "track_segment" if self.segments.is_open() => match Segments::asked(arguments) {
                // Opening looks at all of /dev/shm, and may wait for another program.
                Ok(name) => {
                    self.help(move || SharedMemory::open(&name).map_err(Exception::of), owner, Notification::Opened)
                }
                Err(exception) => none(Err(exception)),
            },
            "release_segment" if self.segments.is_open() => none(self.segments.release(arguments)),
            "list_segments" if self.segments.is_open() => Ok(self.segments.names()).into(),
            "exchange" if matches!(role, Role::Session(_)) => self.share(owner),
            "lend" if !is_first => arguments
                .take(&["ident"])
                .and_then(|(ident,): (String,)| match role {
                    Role::Session(id) => {
                        let ticket = self.may_use(owner, &ident).and_then(|()| self.table.lend(&ident, id))?;
                        self.has_taken(owner, Taken::Ticket(ticket.clone()));
                        Ok(Value::Text(ticket))
                    }
                    _ => Err(Exception::new("AssertionError", "'lend' unrecognized")),
                })
                .into(),
            "claim" if !is_first => {
                none(arguments.take(&["ticket", "ident"]).and_then(|(ticket, ident): (String, String)| match role {
                    Role::Session(id) => {
                        self.may_use(owner, &ident).and_then(|()| self.table.claim(&ticket, &ident, id))?;
                        self.has_taken(owner, Taken::Reference(ident));
                        Ok(())
                    }
                    _ => Err(Exception::new("AssertionError", "'claim' unrecognized")),
                }))
            }
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(Exception::new("AssertionError", format!("'{shown}' unrecognized"))).into()
            }
        }
    }

    fn becomes(&mut self, owner: Owner, role: Role) {
        if let Some(peer) = self.peers.get_mut(&owner) {
            peer.role = role;
            peer.last = false;
            if let Some(late) = peer.first_request_by.take() {
                self.expected.remove(&(late, owner));
            }
        }
    }

    /// Handles the first request of a client in Rust, which begins a session or adds a connection to one.
    fn hello(&mut self, owner: Owner, arguments: Arguments) -> Result<Value, Exception> {
        let (version, _name, secret): (i64, String, Option<String>) =
            arguments.take(&["version", "name", "session"])?;
        if version != VERSION {
            return Err(Exception::new(
                "ValueError",
                format!("version {version} of the protocol is unknown here; this server has version {VERSION}"),
            ));
        }
        if let Some(secret) = secret {
            let session = self.table.session_of(&secret);
            let session = session.ok_or_else(|| Exception::new("KeyError", "no such session"))?;
            self.becomes(owner, Role::Session(session));
            return Ok(true.into()); // the compact form is read here, too
        }
        let usage = self.context.caller.clone();
        let (session, secret) = self.table.begin(&usage).map_err(Exception::of)?;
        self.becomes(owner, Role::Control(session));
        Ok(secret.into())
    }

    /// Checks that the access list lets the client use an object. An unknown object passes this check.
    pub(super) fn may_use(&self, owner: Owner, ident: &str) -> Result<(), Exception> {
        self.table.objects.get(ident.as_bytes()).map_or(Ok(()), |entry| entry.check(self.who(owner)))
    }

    /// Checks that the access lists let the client use all objects that have proxies in a request. A built-in object
    /// that keeps such a proxy refers to its object.
    fn may_name(&self, owner: Owner, request: &Request<'_>) -> Result<(), Exception> {
        let mut allowed = Ok(());
        if self.rules.is_empty() {
            return allowed;
        }
        let mut look = |token: Token| {
            if allowed.is_ok() && token.address == self.address {
                allowed = self.may_use(owner, &token.ident);
            }
        };
        request.args.iter().for_each(|value| each_proxy(value, &mut look));
        request.kwds.iter().for_each(|(_, value)| each_proxy(value, &mut look));
        allowed
    }

    fn get_methods(&self, owner: Owner, arguments: Arguments) -> Result<Value, Exception> {
        let [token] = <[Value; 1]>::try_from(arguments.by_names(&["token"])?).unwrap_or_default();
        let ident = match Token::from_value(&token) {
            Ok(token) => token.ident,
            Err(error) => return Err(Exception::new("TypeError", error.to_string())),
        };
        let entry = self.table.objects.get(ident.as_bytes()).ok_or_else(|| self.table.unknown(&ident))?;
        entry.check(self.who(owner))?;
        Ok(exposed(&entry.made, entry.rule()))
    }

    fn ask_to_create(&mut self, owner: Owner, mut arguments: Arguments) -> Handled {
        if arguments.args.is_empty() {
            return Err(Exception::new("TypeError", "create: no typeid")).into();
        }
        let Value::Text(typeid) = arguments.args.remove(0) else {
            return Err(Exception::new("TypeError", "create: the typeid must be a text")).into();
        };
        let rule = self.rules.get(&typeid).cloned();
        if let Some(Err(refused)) = rule.as_ref().map(|rule| rule.check_create(self.who(owner))) {
            return Err(refused).into();
        }
        match self.registry.maker(&typeid) {
            None => {
                let shown: String = typeid.chars().take(40).collect();
                let known = self.registry.names().collect::<Vec<_>>().join(", ");
                Err(Exception::new("KeyError", format!("no type {shown} is registered here; registered are {known}")))
                    .into()
            }
            Some(Maker::Here(make)) => {
                let made = make(arguments, &mut self.context);
                made.and_then(|made| self.create(owner, made, rule.as_ref())).into()
            }
            Some(Maker::Apart(make)) => {
                self.help(move || make(arguments), owner, move |owner, made| Notification::Made(owner, made, rule))
            }
        }
    }

    pub(super) fn create(&mut self, owner: Owner, made: Made, rule: Option<&Arc<Rule>>) -> Result<Value, Exception> {
        let methods = exposed(&made, rule);
        let holder = self.holder(owner);
        let ident = self.table.add(made, rule, &holder).map_err(|refused| {
            let (exception, made) = *refused;
            self.drop_object(made);
            exception
        })?;
        self.has_taken(owner, Taken::Reference(ident.clone()));
        Ok(Value::Tuple(vec![ident.into(), methods]))
    }

    /// Serves an object that a method of an object under the rule `by` returned.
    pub(super) fn return_object(&mut self, owner: Owner, made: Made, by: Option<&Arc<Rule>>) -> Reply {
        let typeid = made.typeid.to_owned();
        let rule = self.rules.get(&typeid).cloned().or_else(|| by.and_then(|by| by.of_handed()));
        let methods = allowed(&made, rule.as_ref()).map(str::to_owned).collect();
        let holder = self.holder(owner);
        let may_use = rule.as_ref().map_or(Ok(()), |rule| rule.check_call(self.who(owner)));
        let added = match may_use {
            Ok(()) => self.table.add(made, rule.as_ref(), &holder),
            Err(refused) => Err(Box::new((refused, made))),
        };
        match added {
            Ok(ident) => {
                self.has_taken(owner, Taken::Reference(ident.clone()));
                Reply::Proxy(methods, Token { typeid, address: self.address.clone(), ident })
            }
            Err(refused) => {
                let (exception, made) = *refused;
                self.drop_object(made);
                Reply::Error(exception)
            }
        }
    }

    /// Runs `body` on a helper thread, and posts its result with `notify`.
    fn help<T: Send + 'static>(
        &mut self,
        body: impl FnOnce() -> Result<T, Exception> + Send + 'static,
        owner: Owner,
        notify: impl FnOnce(Owner, Result<T, Exception>) -> Notification + Send + 'static,
    ) -> Handled {
        let inbox = self.inbox.clone();
        let job = move || {
            let outcome = catch(body).unwrap_or_else(|escaped| {
                let report = unreported(&escaped);
                report_panics(|| drop(escaped)); // the drop of a payload may panic, too
                let text = format!("{}\n{}\n", report.location(), report.backtrace().unwrap_or_default());
                Err(Exception::panicked(report.message(), text))
            });
            inbox.push(notify(owner, outcome));
        };
        if self.helpers.run(Box::new(job)) {
            return Handled::Later;
        }
        Handled::Reply(Reply::Error(Exception::new("OSError", "the server cannot start a thread for the call")))
    }

    fn ask_object(&mut self, owner: Owner, request: Request<'_>) -> Handled {
        let Request { ident, method, args, kwds } = request;
        let ident = ident.unwrap_or_default();
        let who = self.context.caller.who;
        let Some(entry) = self.table.objects.get_mut(ident.as_bytes()) else {
            return Handled::Reply(Reply::Traceback(traceback(&self.table.unknown(&ident))));
        };
        if let Err(refused) = entry.check(who) {
            return Handled::Reply(Reply::Traceback(traceback(&refused)));
        }
        let arguments = Arguments { args, kwds };
        if !entry.made.exposed.contains(&&*method) || !entry.has(&method) {
            return Handled::Reply(fallback(entry, &ident, &method));
        }
        let rule = entry.rule().cloned();
        let local = match &mut entry.made.body {
            Body::Apart(object) => {
                let (object, method): (Arc<dyn Served>, _) = (object.clone(), method.into_owned());
                let notify = move |owner, outcome| Notification::Returned(owner, outcome, rule);
                return self.help(move || object.call(&method, arguments), owner, notify);
            }
            Body::Here(local) => local,
        };
        let waiter = self.next;
        self.next += 1;
        let step = local.call(Call { method: &method, arguments, owner, waiter }, &mut self.context);
        if matches!(&*method, "acquire" | "wait") {
            entry.touched_by.insert(owner);
            if let Some(peer) = self.peers.get_mut(&owner).filter(|peer| !peer.touched.contains(&*ident)) {
                peer.touched.insert((*ident).to_owned());
            }
        }
        match step {
            Step::Done(outcome) => Handled::Reply(self.local_reply(owner, outcome, rule.as_ref())),
            Step::Park(deadline) => {
                let until = deadline.remaining().and_then(|left| Instant::now().checked_add(left));
                entry.parked += 1;
                self.timers.extend(until.map(|until| (until, waiter)));
                self.parked.insert(waiter, Parked { owner, ident: ident.into_owned(), until });
                if let Some(peer) = self.peers.get_mut(&owner) {
                    peer.waits = Some(waiter);
                }
                Handled::Later
            }
        }
    }

    pub(super) fn local_reply(&mut self, owner: Owner, outcome: Outcome, by: Option<&Arc<Rule>>) -> Reply {
        match outcome {
            Ok(Answer::Value(value)) => Reply::Return(value),
            Ok(Answer::Object(made)) => self.return_object(owner, made, by),
            Err(exception) => Reply::Error(exception),
        }
    }
}

/// The callable methods.
fn allowed(made: &Made, rule: Option<&Arc<Rule>>) -> impl Iterator<Item = &'static str> {
    made.exposed.iter().copied().filter(move |name| rule.is_none_or(|rule| rule.has(name)))
}

fn exposed(made: &Made, rule: Option<&Arc<Rule>>) -> Value {
    Value::Tuple(allowed(made, rule).map(Value::from).collect())
}

/// The reply to a method that every object has, whatever it exposes.
fn fallback(entry: &Entry, ident: &str, method: &str) -> Reply {
    match (method, &entry.made.body) {
        _ if COMMON.contains(&method) && !entry.has(method) => unlisted(entry, ident, method),
        ("__str__" | "__repr__", _) => Reply::Return(entry.repr().into()),
        ("#GETVALUE", Body::Here(local)) => match local.value() {
            Ok(Answer::Value(value)) => Reply::Return(value),
            Ok(Answer::Object(_)) => {
                Reply::Unserializable("the object returned an object instead of a value\n".to_owned())
            }
            Err(exception) => Reply::Unserializable(traceback(&exception)),
        },
        ("#GETVALUE", Body::Apart(_)) => {
            Reply::Unserializable(format!("cannot send a {}: call its methods\n", entry.made.typeid))
        }
        _ => unlisted(entry, ident, method),
    }
}

fn unlisted(entry: &Entry, ident: &str, method: &str) -> Reply {
    let shown: String = method.chars().take(40).collect();
    let exposed = allowed(&entry.made, entry.rule()).collect::<Vec<_>>().join("', '");
    let typeid = entry.made.typeid;
    Reply::Traceback(format!(
        "AttributeError: method '{shown}' of '{typeid}' object {ident} is not in exposed=['{exposed}']\n"
    ))
}
