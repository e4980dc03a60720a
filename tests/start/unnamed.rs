//! Children of the fork server whose name does not reach their client: each is known to the client, or killed.

use std::fs::File;
#[cfg(ossature_faults)]
use std::io::Read;
#[cfg(ossature_faults)]
use std::time::Duration;

use ossature::multiprocessing::transfer::Handle;
#[cfg(ossature_faults)]
use ossature::multiprocessing::{
    Context, Process, Target, process::ProcessBuilder, set_forkserver_preload, set_forkserver_spares, stop_forkserver,
};
#[cfg(ossature_faults)]
use ossature::{
    Error, ErrorKind,
    sys::errno::Errno,
    sys::faults::{Fault, Rule},
    sys::process::ExitStatus,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::orders::wait_for_ever;
#[cfg(ossature_faults)]
use crate::{
    forkserver::with_server,
    harness::{Test, pipe},
};

#[cfg(ossature_faults)]
pub const TESTS: &[Test] = &[
    ("child_whose_name_is_lost_is_killed", child_whose_name_is_lost_is_killed),
    ("child_that_is_not_named_is_known", child_that_is_not_named_is_known),
    ("child_that_is_not_named_and_has_no_request_is_given_up", child_without_a_request_is_given_up),
    ("child_that_is_named_too_late_is_killed", child_that_is_named_too_late_is_killed),
    ("child_whose_name_cannot_be_sent_is_killed", child_whose_name_cannot_be_sent_is_killed),
];

#[cfg(ossature_faults)]
const PATIENCE: Duration = Duration::from_secs(30);

/// The message with the child's number does not arrive, and the child has begun already.
#[cfg(ossature_faults)]
fn child_whose_name_is_lost_is_killed() {
    let ((read, hold), start) = (pipe(), || Process::builder().context(Context::Forkserver));
    with_server(0, || {
        assert!(start().start(crate::spawn::none, ()).unwrap().join_timeout(PATIENCE).unwrap().is_some());
        let rule = Rule::on("recvmsg", Fault::Fail(Errno::MFILE)).times(1).arm().unwrap();
        let error = start().start(crate::forkserver::sleep_for_ever, (Handle(read),)).unwrap_err();
        assert_eq!((rule.hits(), error.kind(), error.errno()), (1, ErrorKind::Os, Some(Errno::MFILE)), "{error}");
        // The server ends only after all of its children.
    });
    drop(hold);
}

/// Makes the server end at its first message to a client.
pub fn preload_an_end_at_the_first_name() {
    #[cfg(ossature_faults)]
    std::mem::forget(Rule::on("sendmsg", Fault::Kill).arm().unwrap());
}

#[cfg(ossature_faults)]
pub fn start_and_kill() -> u8 {
    set_forkserver_spares(0);
    set_forkserver_preload(preload_an_end_at_the_first_name).unwrap();
    let (read, _hold) = pipe();
    let builder = Process::builder().context(Context::Forkserver);
    let process = builder.start(crate::forkserver::sleep_for_ever, (Handle(read),)).unwrap();
    let lives = process.is_alive().unwrap() && process.pid().is_some();
    process.kill().unwrap();
    let exit = process.join_timeout(PATIENCE).unwrap();
    let known = matches!(exit, Some(ExitStatus::Signal { signal: 9, .. } | ExitStatus::Unknown));
    u8::from(!lives) + 2 * u8::from(!known) + 4 * u8::from(!stop_forkserver(PATIENCE).unwrap())
}

#[cfg(not(ossature_faults))]
pub fn start_and_kill() -> u8 {
    0
}

#[cfg(ossature_faults)]
fn child_that_is_not_named_is_known() {
    alone(start_and_kill);
}

/// Every server ends before it has named the child, whose request is too long for the order.
#[cfg(ossature_faults)]
pub fn start_with_a_long_request() -> u8 {
    set_forkserver_spares(0);
    set_forkserver_preload(preload_an_end_at_the_first_name).unwrap();
    let builder = Process::builder().context(Context::Forkserver).start_timeout(None);
    let started = builder.start(take, (vec![0_u8; 5000],));
    u8::from(started.is_ok()) + 2 * u8::from(!stop_forkserver(PATIENCE).unwrap())
}

#[cfg(not(ossature_faults))]
pub fn start_with_a_long_request() -> u8 {
    0
}

pub fn take(_: Vec<u8>) {}

#[cfg(ossature_faults)]
fn child_without_a_request_is_given_up() {
    alone(start_with_a_long_request);
}

/// Makes the server name its second child late.
pub fn preload_a_late_name() {
    #[cfg(ossature_faults)]
    std::mem::forget(Rule::on("sendmsg", Fault::Delay(Duration::from_millis(300))).nth(2).arm().unwrap());
}

/// Makes the server fail to name its second child.
pub fn preload_a_failing_name() {
    #[cfg(ossature_faults)]
    std::mem::forget(Rule::on("sendmsg", Fault::Fail(Errno::NOBUFS)).nth(2).arm().unwrap());
}

/// An argument whose decoding never ends.
#[derive(Serialize)]
pub struct Endless;

impl<'de> Deserialize<'de> for Endless {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        wait_for_ever();
        Ok(Self)
    }
}

pub fn tell_of_the_end(tell: Handle<File>, Endless: Endless) {
    drop(tell);
}

/// Runs this task in a process of its own, because the settings of the server stay.
#[cfg(ossature_faults)]
fn alone<F: Target<(), Output = u8>>(task: F) {
    let process = Process::builder().context(Context::Spawn).start(task, ()).unwrap();
    assert_eq!(process.join_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)));
}

/// Makes a server with this preload, and fails to start a second child. Waits until that child has ended.
#[cfg(ossature_faults)]
fn fail_to_start<F: Target<()>>(
    preload: F,
    start: impl FnOnce(ProcessBuilder, Handle<File>) -> ossature::Result<Process>,
) -> Error {
    set_forkserver_spares(0);
    set_forkserver_preload(preload).unwrap();
    let builder = || Process::builder().context(Context::Forkserver);
    assert!(builder().start(crate::spawn::none, ()).unwrap().join_timeout(PATIENCE).unwrap().is_some());
    let (mut told, tell) = pipe();
    let error = start(builder(), Handle(tell)).unwrap_err();
    told.read_to_end(&mut Vec::new()).unwrap();
    assert!(stop_forkserver(PATIENCE).unwrap(), "the server does not end");
    error
}

/// The client has given up when the server names the child, which has begun by then, or still decodes its arguments.
pub fn be_named_too_late() -> u8 {
    #[cfg(ossature_faults)]
    {
        let limit = Duration::from_millis(100);
        let error = fail_to_start(preload_a_late_name, |builder, tell| {
            builder.start_timeout(limit).start(crate::orders::tell_of_the_begin, (tell,))
        });
        assert_eq!(error.kind(), ErrorKind::StartFailed, "{error}");
        let error = fail_to_start(preload_a_late_name, |builder, tell| {
            builder.start_timeout(limit).start(tell_of_the_end, (tell, Endless))
        });
        assert_eq!(error.kind(), ErrorKind::StartFailed, "{error}");
    }
    0
}

#[cfg(ossature_faults)]
fn child_that_is_named_too_late_is_killed() {
    alone(be_named_too_late);
}

/// The server has no memory for the message, and the client waits.
pub fn fail_to_be_named() -> u8 {
    #[cfg(ossature_faults)]
    {
        let error = fail_to_start(preload_a_failing_name, |builder, tell| {
            builder.start(crate::orders::tell_of_the_begin, (tell,))
        });
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::NOBUFS)), "{error}");
    }
    0
}

#[cfg(ossature_faults)]
fn child_whose_name_cannot_be_sent_is_killed() {
    alone(fail_to_be_named);
}
