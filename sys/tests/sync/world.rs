//! The worlds: each has a kind of participants, and the scope in which they wait.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::process::fork;
use ossature_sys::scope::{Local, Private, Refused, Scope, Shared};

use crate::ledger::{Ledger, MOST, Me, PATIENCE, Peers};

/// The time limit for participants of a test that has failed already.
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);

/// A setting in which a behaviour is tested.
pub trait World: 'static {
    type Scope: Scope;

    /// Whether data can be marked as abandoned.
    const NAMES_DEATHS: bool = false;

    /// Converts an outcome of this scope to a result.
    fn settle<G>(outcome: <Self::Scope as Scope>::Outcome<G>) -> Result<G, Refused> {
        <Self::Scope>::settle(outcome)
    }
}

/// A world with other participants.
pub trait WithPeers:
    World<Scope: Scope<Lock: Sync, RLock: Sync, Gate: Sync, Queue<120>: Sync, Participants<120>: Sync>>
{
    /// Runs `each` in `size` participants beside `main`. Fails if one of them fails, or does not end.
    fn with_peers<R>(size: usize, each: impl Fn(&Me<'_>) + Sync, main: impl FnOnce(&Peers<'_>) -> R) -> R;

    /// Runs `body` in one other participant, beside `main`.
    fn with_one_peer<R>(body: impl Fn() + Sync, main: impl FnOnce() -> R) -> R {
        Self::with_peers(1, |_| body(), |_| main())
    }

    /// Runs `body` in one other participant to its end, and nothing else meanwhile.
    #[track_caller]
    fn other(body: impl Fn() + Sync) {
        Self::with_peers(1, |_| body(), |_| ());
    }
}

/// A world in which a participant may die without the others.
pub trait Killable: WithPeers<Scope = Shared> {}
impl Killable for Threads<Shared> {}
impl Killable for Processes {}

/// Threads of this process, waiting in scope `S`.
pub struct Threads<S>(PhantomData<S>);

/// Children of this process, which is one of them.
pub enum Processes {}

/// One thread.
pub enum Alone {}

impl World for Threads<Private> {
    type Scope = Private;
}

impl World for Threads<Shared> {
    type Scope = Shared;
    const NAMES_DEATHS: bool = true;
}

impl World for Processes {
    type Scope = Shared;
    const NAMES_DEATHS: bool = true;
}

impl World for Alone {
    type Scope = Local;
}

impl WithPeers for Threads<Private> {
    fn with_peers<R>(size: usize, each: impl Fn(&Me<'_>) + Sync, main: impl FnOnce(&Peers<'_>) -> R) -> R {
        threads(size, each, main)
    }
}

impl WithPeers for Threads<Shared> {
    fn with_peers<R>(size: usize, each: impl Fn(&Me<'_>) + Sync, main: impl FnOnce(&Peers<'_>) -> R) -> R {
        threads(size, each, main)
    }
}

fn threads<R>(size: usize, each: impl Fn(&Me<'_>) + Sync, main: impl FnOnce(&Peers<'_>) -> R) -> R {
    assert!(size <= MOST);
    let ledger = Ledger::new();
    let (ledger, each) = (&ledger, &each);
    let result = thread::scope(|scope| {
        let crew: Vec<_> = (0..size).map(|index| scope.spawn(move || ledger.sit(index, each))).collect();
        let peers = Peers { ledger, size, children: &[] };
        let result = catch_unwind(AssertUnwindSafe(|| main(&peers)));
        if !ledger.all_ended(size, if result.is_ok() { PATIENCE } else { LITTLE_PATIENCE }) {
            // Threads cannot be ended from outside, so neither can the tests go on.
            eprintln!("HANG: {}", ledger.complaints(size));
            std::process::exit(1);
        }
        for member in crew {
            member.join().expect("its panic is on the ledger");
        }
        result
    });
    finish(result, ledger.complaints(size))
}

impl WithPeers for Processes {
    fn with_peers<R>(size: usize, each: impl Fn(&Me<'_>) + Sync, main: impl FnOnce(&Peers<'_>) -> R) -> R {
        assert!(size <= MOST);
        let ledger = Ledger::new();
        let start = |index| {
            fork(|| {
                // SAFETY: prctl(2) takes plain numbers here; the child shall not outlive a test that hangs.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                ledger.sit(index, &each);
                0
            })
            .expect("a child")
        };
        let mut children: Vec<_> = (0..size).map(start).collect();
        let peers = Peers { ledger: &ledger, size, children: &children };
        let result = catch_unwind(AssertUnwindSafe(|| main(&peers)));
        let patience = Deadline::after(if result.is_ok() { PATIENCE } else { LITTLE_PATIENCE });
        let mut complaints = String::new();
        for (index, child) in children.iter_mut().enumerate() {
            let exit = child.wait_timeout(patience).expect("one's child");
            complaints += &match exit.filter(|exit| !ledger.expects(index, *exit)) {
                Some(exit) => format!("participant {index} ended by itself: {exit:?}\n"),
                None => ledger.complaint(index).unwrap_or_default(),
            };
        }
        for mut child in children {
            child.kill().and_then(|()| child.wait()).expect("one may kill one's child");
        }
        finish(result, complaints)
    }
}

/// Returns the result, or fails with the first error of the test or of its participants.
fn finish<R>(result: thread::Result<R>, complaints: String) -> R {
    match result {
        Ok(result) => {
            assert!(complaints.is_empty(), "{complaints}");
            result
        }
        Err(panic) => {
            eprint!("{complaints}");
            resume_unwind(panic)
        }
    }
}
