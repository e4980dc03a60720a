//! One listener, and children of every start method that accept on it.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ossature::Result;
use ossature::multiprocessing::connection::{Address, ConnectBuilder, Family, Listener};
use ossature::multiprocessing::transfer::{Handle, Trust};
use ossature::multiprocessing::{Context, Process, current_process, stop_forkserver};

use crate::harness::Test;

pub const TESTS: &[Test] =
    &[("children_of_every_start_method_accept_on_one_listener", children_accept_on_one_listener)];

const PATIENCE: Duration = Duration::from_secs(30);

/// Accepts one client, and sends it the number of this process.
pub fn let_one_in(Handle(socket): Handle<OwnedFd>) -> Result<u8> {
    let listener = Listener::builder().authkey(&current_process().authkey()?).handshakes(1).adopt(socket)?;
    let connection = listener.accept()?;
    connection.send(&std::process::id())?;
    Ok(if connection.trust() == Trust::SameProgram { 0 } else { 3 })
}

fn children_accept_on_one_listener() {
    let key = current_process().authkey().unwrap();
    let listener = Listener::builder().authkey(&key).bind(Address::arbitrary(Family::Unix).unwrap()).unwrap();
    let workers: Vec<Process> = [Context::Spawn, Context::Forkserver, Context::Fork, Context::Spawn]
        .into_iter()
        .map(|context| {
            let socket = listener.as_fd().try_clone_to_owned().unwrap();
            Process::builder().context(context).start(let_one_in, (Handle(socket),)).unwrap()
        })
        .collect();
    let served: BTreeSet<u32> = workers
        .iter()
        .map(|_| {
            let client = ConnectBuilder::new().authkey(&key).connect_timeout(listener.address(), PATIENCE);
            let pid = client.unwrap().expect("nobody accepts").recv_timeout::<u32>(PATIENCE);
            pid.unwrap().expect("nobody says who it is")
        })
        .collect();
    let pids = workers.iter().map(|worker| worker.pid().unwrap().as_raw_nonzero().get() as u32).collect();
    assert_eq!(served, pids, "each let one in");
    for worker in workers {
        assert!(worker.join_timeout(PATIENCE).unwrap().is_some(), "it does not end");
        assert_eq!(worker.exit_code(), Some(0));
    }
    assert!(stop_forkserver(PATIENCE).unwrap(), "the server does not end");
    let Address::Unix(path) = listener.address() else { panic!("{listener:?}") };
    assert!(path.exists(), "no child removes it");
}
