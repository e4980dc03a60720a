//! The work of a child as far as the server does it before the fork.
//!
//! A child pays for each page of code and of data that it is the first to touch after the fork; the server has touched
//! them long ago. So the server decodes the request and makes the state of the child. The arguments are decoded in the
//! child, because that runs code of the program.

use std::path::PathBuf;

use ossature_sys::process::exit;
use ossature_sys::socket::Socket;

use super::handle::ParentsServer;
use super::message::{Incoming, Work};
use crate::multiprocessing::start::bootstrap;
use crate::multiprocessing::start::child::{
    Call, Refusal, Request, begun, enter_directory, no_server, run_request, run_task,
};
use crate::multiprocessing::start::wire::{StartRequest, message};
use crate::multiprocessing::state::{ChildConfig, OwnState, ProcessState, process_state};
use crate::multiprocessing::tasks;
use crate::multiprocessing::transfer::Handle;

/// The work of a child before its fork.
pub(super) enum Begin {
    /// The child's state is ready, and this process is as the child will be.
    Prepared(Socket, Box<Prepared>),
    /// The child makes its state, or refuses the request.
    Received(Socket, Result<Box<Request>, Refusal>),
    /// The child receives its request over the line.
    OverTheLine(Socket),
}

/// A child of which everything is ready except for its arguments.
pub(super) struct Prepared {
    state: Box<OwnState>,
    directory: Option<PathBuf>,
    server: Option<ParentsServer>,
    call: Call,
}

impl Begin {
    /// Opens the request, and prepares the child unless it differs from this process in something that only the child
    /// can change.
    pub(super) fn new(Work { line, message }: Work) -> Self {
        let (bytes, descriptors) = match message {
            Incoming::Here(bytes, descriptors) => (bytes, descriptors),
            Incoming::OverTheLine => return Self::OverTheLine(line),
        };
        let request = message::open(&bytes, descriptors).map_err(Refusal::from).and_then(Request::open);
        match request.map(Prepared::new) {
            Ok(Ok(prepared)) => Self::Prepared(line, Box::new(prepared)),
            Ok(Err(request)) => Self::Received(line, request),
            Err(refusal) => Self::Received(line, Err(refusal)),
        }
    }

    /// Does the work, in the child.
    pub(super) fn run(self) -> ! {
        match self {
            Self::Prepared(line, prepared) => prepared.run(line),
            Self::Received(line, request) => run_request(line, |_| request.map(|request| *request)),
            Self::OverTheLine(line) => run_task(line),
        }
    }
}

impl Prepared {
    /// Makes the state of the child, and gives this process the settings of the child. The next child has its own, and
    /// this process uses none of them. Returns a request that cannot be prepared.
    fn new(Request { start, call }: Request) -> Result<Self, Result<Box<Request>, Refusal>> {
        let usual = |config: &ChildConfig| !config.bound && config.surroundings.are_in_effect();
        let is_usual = start.stdout.is_none() && start.config.as_ref().is_some_and(usual);
        if !is_usual || !start.capabilities.are_all_of_this_process() {
            return Err(Ok(Box::new(Request { start, call })));
        }
        let StartRequest { config: Some(config), parent, depth, directory, server, .. } = start else {
            return Err(Err(Refusal::Report("it has no configuration".into())));
        };
        let server = server.map(|(Handle(server), rights)| ParentsServer::new(server, rights)).transpose();
        let server = server.map_err(|errno| Err(no_server(errno)))?;
        config.log.apply();
        tasks::set_max_argument_depth(depth);
        process_state().set_authkey(config.authkey.clone());
        let state = ProcessState::prepare(ChildConfig { sentinel: parent.map(|Handle(fd)| fd), ..config });
        Ok(Self { state, directory, server, call })
    }

    fn run(self, line: Socket) -> ! {
        let Self { state, directory, server, call } = self;
        let body = begun(&line, || {
            directory.as_deref().map_or(Ok(()), enter_directory)?;
            server.into_iter().for_each(ParentsServer::enter);
            call.open()
        });
        exit(bootstrap::run_prepared(state, line.into(), body))
    }
}
