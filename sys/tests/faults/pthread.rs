//! Process-shared pthread mutexes: libc refuses, or lacks a feature.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::mmap::Region;
use ossature_sys::pthread::{Kind, Mutex, Options};

use crate::sweep::{alone, fails_with, survives, sweep};

#[test]
fn a_mutex_is_set_up_and_used_whatever_fails() {
    let _alone = alone();
    let region = Region::anonymous(size_of::<Mutex>()).expect("a page");
    let place = region.as_ptr().cast::<Mutex>();
    sweep("pthread", &[], || -> Result<()> {
        // SAFETY: a page of its own that outlives the sweep, and no run is going on any more: a mutex that a failed
        // unlock left locked is neither robust nor linked to anything, and is set up afresh.
        let mutex = unsafe { Options::new().kind(Kind::ErrorChecking).init_at(place) }?;
        mutex.lock()?.unlock()?;
        if let Some(guard) = mutex.try_lock()? {
            guard.unlock()?;
        }
        if let Some(guard) = mutex.lock_timeout(Duration::from_secs(1))? {
            guard.unlock()?;
        }
        // SAFETY: nobody uses it any more.
        unsafe { mutex.destroy() }
    });
}

#[test]
fn a_mutex_that_cannot_be_set_up_leaves_nothing() {
    let _alone = alone();
    for call in ["mmap", "pthread_mutexattr_init", "pthread_mutexattr_setpshared", "pthread_mutex_init"] {
        fails_with(call, Errno::NOMEM, || Options::new().leak());
    }
    fails_with("pthread_mutexattr_setprotocol", Errno::NOTSUP, || Options::new().priority_inheritance().leak());
}

#[test]
fn the_answers_of_libc_come_back() {
    let _alone = alone();
    let mutex = Options::new().robust().leak().expect("a mutex");
    fails_with("pthread_mutex_lock", Errno::AGAIN, || mutex.lock());
    fails_with("pthread_mutex_lock", Errno::NOTRECOVERABLE, || mutex.lock());
    survives("pthread_mutex_lock", Errno::OWNERDEAD, || {
        let guard = mutex.lock()?;
        assert!(guard.owner_died());
        // The hook stood in for libc, which knows that nobody has it.
        core::mem::forget(guard);
        Ok(())
    });
}

#[test]
#[cfg(target_env = "gnu")]
fn without_the_steady_clock_the_wall_clock_serves() {
    let _alone = alone();
    let mutex = Options::new().robust().priority_inheritance().leak().expect("a mutex");
    for missing in [Errno::INVAL, Errno::NOSYS] {
        survives("pthread_mutex_clocklock", missing, || {
            assert!(mutex.lock_timeout(Duration::from_secs(3600))?.is_some());
            Ok(())
        });
    }
    survives("pthread_mutex_clocklock", Errno::INVAL, || {
        assert!(mutex.try_lock()?.is_some());
        Ok(())
    });
    thread::scope(|scope| {
        let (held, hold) = channel();
        let (end, ended) = channel::<()>();
        scope.spawn(move || {
            let _guard = mutex.lock().expect("free");
            held.send(()).expect("somebody listens");
            let _ = ended.recv();
        });
        hold.recv().expect("it is held");
        survives("pthread_mutex_clocklock", Errno::INVAL, || {
            assert!(mutex.lock_timeout(Duration::from_millis(20))?.is_none());
            Ok(())
        });
        drop(end);
    });
}

#[test]
#[cfg(target_env = "gnu")]
fn a_clock_that_runs_fast_does_not_end_the_wait_early() {
    let _alone = alone();
    let mutex = Options::new().leak().expect("a mutex");
    survives("pthread_mutex_clocklock", Errno::TIMEDOUT, || {
        assert!(mutex.lock_timeout(Duration::from_secs(3600))?.is_some());
        Ok(())
    });
}
