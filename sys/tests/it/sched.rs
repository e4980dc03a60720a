//! Scheduling: settings are read back, each in a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::sched::{self, Barriers, CpuSet, Flags, Pid, Place, Policy, Scheduling};

use crate::support::soon;

/// Runs `body` in a thread of its own: its settings end with the thread.
fn apart(body: impl FnOnce() + Send) {
    soon(|| std::thread::scope(|scope| scope.spawn(body).join().unwrap()));
}

fn nobody() -> Option<Pid> {
    Pid::from_raw(i32::MAX - 1)
}

#[test]
fn set_of_processors_holds_what_was_put_in() {
    let mut set = CpuSet::of([0, 63, 64, 1024, 8191, 8192]);
    assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 1024, 8191]);
    assert_eq!((set.len(), set.is_empty()), (5, false));
    assert!(set.contains(1024) && !set.contains(1023) && !set.contains(usize::MAX));
    assert!(!set.insert(CpuSet::CAPACITY));
    assert!(set.insert(7));
    set.remove(64);
    set.remove(usize::MAX);
    assert_eq!(format!("{set:?}"), "{0, 7, 63, 1024, 8191}");
    assert!(CpuSet::new().is_empty() && CpuSet::default().iter().next().is_none());
}

#[test]
fn bound_thread_runs_on_its_processor() {
    apart(|| {
        let allowed = sched::affinity(None).unwrap();
        assert!(!allowed.is_empty());
        for cpu in &allowed {
            sched::set_affinity(None, &CpuSet::of([cpu])).unwrap();
            assert_eq!(sched::affinity(None), Ok(CpuSet::of([cpu])));
            assert_eq!(sched::current_cpu(), cpu);
            let Place { cpu: here, node } = sched::place().unwrap();
            assert_eq!(here, cpu);
            assert!(node < 1024, "{node}");
        }
        // Those that do not exist do no harm beside one that does.
        let mut wide = allowed;
        wide.insert(8191);
        sched::set_affinity(None, &wide).unwrap();
        assert_eq!(sched::affinity(None), Ok(allowed));
    });
}

#[test]
fn binding_to_no_processor_is_refused() {
    apart(|| {
        assert_eq!(sched::set_affinity(None, &CpuSet::new()), Err(Errno::INVAL));
        assert_eq!(sched::set_affinity(None, &CpuSet::of([8191])), Err(Errno::INVAL));
        assert_eq!(sched::affinity(nobody()), Err(Errno::SRCH));
    });
}

#[test]
fn policies_are_told_as_they_were_set() {
    apart(|| {
        for policy in [Policy::Batch { nice: 3 }, Policy::Normal { nice: 4 }, Policy::Idle] {
            sched::set_policy(None, policy).unwrap();
            assert_eq!(sched::policy(None), Ok(policy));
        }
        assert_eq!(sched::nice(None), Ok(4));
        let scheduling = Scheduling { policy: Policy::Batch { nice: 6 }, flags: Flags::RESET_ON_FORK };
        // Out of SCHED_IDLE an unprivileged thread may come only where RLIMIT_NICE allows.
        match sched::set_scheduling(None, scheduling) {
            Ok(()) => assert_eq!(sched::scheduling(None), Ok(scheduling)),
            Err(errno) => assert_eq!(errno, Errno::PERM),
        }
    });
}

#[test]
fn real_time_is_granted_or_refused_by_name() {
    apart(|| {
        for policy in [Policy::Fifo { priority: 1 }, Policy::RoundRobin { priority: 2 }] {
            match sched::set_policy(None, policy) {
                Ok(()) => assert_eq!(sched::policy(None), Ok(policy)),
                Err(errno) => assert_eq!(errno, Errno::PERM),
            }
        }
        let flags = Flags::empty();
        let wrong = Scheduling { policy: Policy::Fifo { priority: 100 }, flags };
        assert_eq!(sched::set_scheduling(None, wrong), Err(Errno::INVAL));
        let _ = sched::set_policy(None, Policy::Normal { nice: 0 });
    });
}

#[test]
fn deadline_is_granted_or_refused_by_name() {
    apart(|| {
        let (runtime, period) = (Duration::from_millis(1), Duration::from_millis(100));
        let policy = Policy::Deadline { runtime, deadline: period, period };
        match sched::set_policy(None, policy) {
            Ok(()) => assert_eq!(sched::policy(None), Ok(policy)),
            Err(errno) => assert!(matches!(errno, Errno::PERM | Errno::BUSY), "{errno}"),
        }
        // More than there is.
        let policy = Policy::Deadline { runtime: period, deadline: runtime, period };
        assert_eq!(sched::set_policy(None, policy), Err(Errno::INVAL));
        let policy = Policy::Deadline { runtime, deadline: Duration::MAX, period };
        assert_eq!(sched::set_policy(None, policy), Err(Errno::INVAL));
    });
}

#[test]
fn unknown_policy_is_not_set_and_nobody_has_none() {
    apart(|| {
        assert_eq!(sched::set_policy(None, Policy::Unknown(77)), Err(Errno::INVAL));
        assert_eq!(sched::policy(nobody()), Err(Errno::SRCH));
        assert_eq!(Policy::Unknown(77).priorities(), Err(Errno::INVAL));
        assert_eq!(Policy::Fifo { priority: 1 }.priorities(), Ok((1, 99)));
        assert_eq!(Policy::Normal { nice: 0 }.priorities(), Ok((0, 0)));
    });
}

#[test]
fn nice_value_is_clamped_and_told() {
    apart(|| {
        sched::set_nice(None, 7).unwrap();
        assert_eq!(sched::nice(None), Ok(7));
        assert_eq!(sched::policy(None), Ok(Policy::Normal { nice: 7 }));
        sched::set_nice(None, 1000).unwrap();
        assert_eq!(sched::nice(None), Ok(19));
        assert_eq!(sched::nice(nobody()), Err(Errno::SRCH));
    });
}

#[test]
fn timer_slack_is_told_as_it_was_set() {
    apart(|| {
        let born = sched::timer_slack().unwrap();
        sched::set_timer_slack(Duration::from_micros(3)).unwrap();
        assert_eq!(sched::timer_slack(), Ok(Duration::from_micros(3)));
        assert_eq!(sched::set_timer_slack(Duration::ZERO), Err(Errno::INVAL));
        assert_eq!(sched::set_timer_slack(Duration::MAX), Err(Errno::RANGE));
        sched::reset_timer_slack().unwrap();
        assert_eq!(sched::timer_slack(), Ok(born));
    });
}

#[test]
fn barriers_work_once_registered() {
    let offered = sched::barriers().unwrap();
    type Step = fn() -> ossature_sys::errno::Result<()>;
    let steps: [(Barriers, Step); 7] = [
        (Barriers::REGISTER_PRIVATE_EXPEDITED, sched::register_private),
        (Barriers::PRIVATE_EXPEDITED, sched::membarrier_private),
        (Barriers::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, sched::register_private_sync_core),
        (Barriers::PRIVATE_EXPEDITED_SYNC_CORE, sched::membarrier_private_sync_core),
        (Barriers::REGISTER_GLOBAL_EXPEDITED, sched::register_global),
        (Barriers::GLOBAL_EXPEDITED, sched::membarrier_global_expedited),
        (Barriers::GLOBAL, sched::membarrier_global),
    ];
    for (kind, step) in steps {
        match step() {
            Ok(()) => assert!(offered.contains(kind), "{kind:?} works but is not offered"),
            Err(errno) => {
                assert!(matches!(errno, Errno::INVAL | Errno::NOSYS), "{kind:?}: {errno}");
                assert!(!offered.contains(kind), "{kind:?} is offered but fails");
            }
        }
    }
}

#[test]
fn yielding_lets_another_thread_on_the_same_processor_run() {
    apart(|| {
        let cpu = sched::affinity(None).unwrap().iter().next().unwrap();
        sched::set_affinity(None, &CpuSet::of([cpu])).unwrap();
        let ran = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Inherits the processor.
            scope.spawn(|| ran.store(true, SeqCst));
            while !ran.load(SeqCst) {
                sched::yield_now();
            }
        });
    });
}

#[test]
fn a_thread_has_a_number_and_a_name_of_15_bytes() {
    std::thread::spawn(|| {
        let number = sched::thread_id();
        assert_ne!(number, ossature_sys::process::id(), "not the first thread");
        sched::set_thread_name(c"seventeen letters").unwrap();
        let comm = format!("/proc/self/task/{}/comm", number.as_raw_nonzero());
        assert_eq!(std::fs::read_to_string(comm).unwrap(), "seventeen lette\n");
    })
    .join()
    .unwrap();
}
