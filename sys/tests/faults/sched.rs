//! Scheduling calls that fail.

use std::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::sched::{self, Policy};

use crate::sweep::{alone, fails_with, sweep};

#[test]
fn every_call_of_a_scheduler_fails_by_itself_and_leaks_nothing() {
    let born = sched::timer_slack().expect("told");
    let allowed = sched::affinity(None).expect("told");
    let seen = sweep("sched", &[], || -> Result<()> {
        sched::affinity(None)?;
        sched::set_affinity(None, &allowed)?;
        let policy = sched::policy(None)?;
        sched::set_policy(None, policy)?;
        policy.priorities()?;
        let nice = sched::nice(None)?;
        sched::set_nice(None, nice)?;
        sched::timer_slack()?;
        sched::set_timer_slack(born.max(Duration::from_nanos(1)))?;
        sched::reset_timer_slack()?;
        sched::set_thread_name(c"swept")?;
        sched::place()?;
        sched::barriers()?;
        Ok(())
    });
    assert_eq!(seen.calls, 14);
    assert_eq!(seen.survived, 0);
}

#[test]
fn missing_privilege_is_told() {
    let _alone = alone();
    fails_with("sched_setattr", Errno::PERM, || sched::set_policy(None, Policy::Fifo { priority: 1 }));
    fails_with("setpriority", Errno::ACCESS, || sched::set_nice(None, -1));
    fails_with("membarrier", Errno::PERM, sched::membarrier_private);
    fails_with("getcpu", Errno::NOSYS, sched::place);
}
