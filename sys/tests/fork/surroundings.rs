//! The modules in a root directory without /proc, without /dev and without any file.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{self, Epoll, Interest};
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::inotify::{self, Inotify};
use ossature_sys::mmap::{Memfd, Region};
use ossature_sys::process::{
    self, Argument, ExitStatus, ForkError, Plan, Resource, Signal, fork, pidfd_open, pidfd_send_signal, pidfd_wait,
};
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::signal::{self, SignalSet};
use ossature_sys::signalfd::SignalFd;
use ossature_sys::socket::{Kind, Socket};
use ossature_sys::sync::barrier::Barrier;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;
use ossature_sys::sync::semaphore::Semaphore;
use ossature_sys::timerfd::{Clock, TimerFd};
use ossature_sys::{poll, pthread, random, sched, shareable, tty};

use crate::child::kernel;
use crate::harness::Test;
use crate::shm::{attach, descriptor};

pub const TESTS: &[Test] = &[
    ("memory_is_attached_to_without_proc", memory_is_attached_to_without_proc),
    ("processes_and_locks_need_no_proc", processes_and_locks_need_no_proc),
    ("thin_modules_need_no_proc", thin_modules_need_no_proc),
];

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `body` in a child whose root is an empty directory.
pub fn jailed(body: impl FnOnce()) {
    let jail = std::env::temp_dir().join(format!("ossature-jail-{}", std::process::id()));
    std::fs::create_dir_all(&jail).unwrap();
    let mut child = fork(|| {
        if let Err(error) = std::os::unix::fs::chroot(&jail) {
            println!("SKIPPED: may not change the root: {error}");
            return 0;
        }
        std::env::set_current_dir("/").unwrap();
        assert!(std::fs::metadata("/proc").is_err());
        body();
        0
    })
    .unwrap();
    let exit = child.wait();
    std::fs::remove_dir(jail).unwrap();
    assert_eq!(exit, Ok(ExitStatus::Code(0)));
}

fn ends_well(body: impl FnOnce()) {
    let child = fork(|| {
        body();
        0
    });
    assert_eq!(child.unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn memory_is_attached_to_without_proc() {
    /// The offset at which the header of shared memory names the namespace, or contains 0.
    const PID_NAMESPACE_AT: usize = 88;
    let tells = kernel() >= (6, 11);
    let outside = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
    jailed(|| {
        let inside = Shm::place(Lock::<u64, Shared>::shared(8)).unwrap();
        for made in [&outside, &inside] {
            let attached = attach(descriptor(made)).unwrap();
            *attached.lock().unwrap() += 1;
            ends_well(|| *attach(descriptor(made)).unwrap().lock().unwrap() += 1);
        }
        assert_eq!(*inside.lock().unwrap(), 10);
        // From Linux 6.11 on the pidfd tells the namespace, and it does not matter whether the maker lives.
        let mut namespace = [0; 8];
        Region::shared(descriptor(&inside), 128).unwrap().copy_out(PID_NAMESPACE_AT, &mut namespace).unwrap();
        assert_eq!(namespace != [0; 8], tells);
    });
    // 7 where the test may not change the root.
    assert!([7, 9].contains(&*outside.lock().unwrap()));
}

shareable! {
    struct Objects {
        lock: Lock<u64, Shared>,
        rlock: RLock<(), Shared>,
        condition: Condition<Shared>,
        event: Event<Shared>,
        semaphore: Semaphore<Shared>,
        barrier: Barrier<Shared>,
        handoff: HandoffLock<Shared>,
    }
}

fn processes_and_locks_need_no_proc() {
    jailed(|| {
        let barrier = Barrier::shared(2);
        let objects = Shm::place(Objects::init(
            Lock::shared(0),
            RLock::shared(()),
            Condition::shared(),
            Event::shared(),
            Semaphore::shared(0),
            barrier,
            HandoffLock::shared(),
        ))
        .unwrap();
        let mut other = fork(|| {
            let mut count = objects.lock.lock().unwrap();
            while *count == 0 {
                count = objects.condition.wait_timeout(count, PATIENCE).unwrap().0;
            }
            drop(count);
            let _level = objects.rlock.lock().unwrap();
            assert!(objects.event.wait_timeout(PATIENCE).unwrap());
            assert!(objects.semaphore.permit_timeout(PATIENCE).unwrap().is_some());
            objects.barrier.wait_timeout(PATIENCE).unwrap();
            objects.handoff.release().unwrap();
            // Dies while it holds the lock.
            std::mem::forget(objects.lock.lock().unwrap());
            0
        })
        .unwrap();
        objects.handoff.acquire().unwrap();
        *objects.lock.lock().unwrap() = 1;
        objects.condition.notify_all();
        objects.event.set();
        objects.semaphore.release(1).unwrap();
        objects.barrier.wait_timeout(PATIENCE).unwrap();
        assert!(objects.handoff.acquire_timeout(PATIENCE).unwrap());
        assert_eq!(other.wait(), Ok(ExitStatus::Code(0)));
        assert!(objects.lock.lock_timeout(PATIENCE).unwrap().unwrap().abandoned());

        // A second thread is seen, and an end is told, without a look at /proc/self/task.
        std::thread::scope(|scope| {
            let (told, tell) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || tell.recv());
            assert_eq!(fork(|| 0).unwrap_err(), ForkError::MultiThreaded);
            drop(told);
        });
        let mut child = fork(|| {
            loop {
                std::thread::park();
            }
        })
        .unwrap();
        let pidfd = pidfd_open(child.pid()).unwrap();
        pidfd_send_signal(&pidfd, Signal::TERM).unwrap();
        assert_eq!(pidfd_wait(&pidfd, PATIENCE).unwrap().unwrap().signal(), Some(Signal::TERM.as_raw()));
        assert!(child.wait().is_ok());
        let arguments = [Argument::new(c"none"), Argument::END];
        let error = Plan::new(c"/none", &arguments).unwrap().start().unwrap_err();
        assert_eq!(error.errno(), Errno::NOENT);
        process::rlimit_of(process::id(), Resource::Nofile).unwrap();
    });
}

fn thin_modules_need_no_proc() {
    jailed(|| {
        let set = Epoll::new().unwrap();
        let counter = EventFd::counter(1).unwrap();
        set.register(&counter, Interest::IN, 5).unwrap();
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 2];
        assert_eq!(set.poll(&mut events, PATIENCE).unwrap().len(), 1);
        assert_eq!(poll::poll(&mut [poll::PollFd::new(&counter, poll::PollFlags::IN)], Deadline::NOW), Ok(1));
        assert_eq!(counter.take(PATIENCE), Ok(Some(1)));
        let timer = TimerFd::new(Clock::Monotonic).unwrap();
        timer.set_once(Duration::from_millis(1)).unwrap();
        assert_eq!(timer.expirations(PATIENCE), Ok(Some(1)));
        let watcher = Inotify::new().unwrap();
        watcher.add(c"/", inotify::Events::CREATE).unwrap();
        let usual: SignalSet = [Signal::USR1].into_iter().collect();
        let _masked = signal::block(usual).unwrap();
        let signals = SignalFd::new(usual).unwrap();
        signal::raise(Signal::USR1).unwrap();
        let mut infos = [MaybeUninit::uninit(); 1];
        assert_eq!(signals.read(&mut infos, PATIENCE).unwrap().len(), 1);
        let (near, far) = Socket::pair(Kind::Stream).unwrap();
        ossature_sys::fd::write(&near, b"x").unwrap();
        assert!(far.peer_credentials().unwrap().is_some());

        let memory = Memfd::new(c"jailed").unwrap();
        memory.set_len(4096).unwrap();
        memory.reserve(4096).unwrap();
        Region::shared(&memory, 4096).unwrap().copy_in(0, b"bytes").unwrap();
        let words = Region::anonymous(4096).unwrap();
        let word: &AtomicU32 = words.atomic_u32(0).unwrap();
        ends_well(|| word.store(7, Relaxed));
        assert_eq!(word.load(Relaxed), 7);
        let mutex = pthread::Options::new().robust().leak().unwrap();
        drop(mutex.lock().unwrap());
        random::fill(&mut [0; 16]).unwrap();
        assert!(!sched::affinity(None).unwrap().is_empty());
        sched::set_thread_name(c"jailed").unwrap();
        assert!(!tty::is_terminal(&near));
    });
}
