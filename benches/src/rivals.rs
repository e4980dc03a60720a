//! Rivals that have no crate: a futex lock of three states, and pthread's robust mutex.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::*};

use ossature_sys::futex::{Reach, Waiter, wait_any};

use crate::machine;

/// The textbook futex lock with three states. It reads the word `LOOKS` times before it sleeps, and does not survive
/// its holder's death.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct FutexLock<const LOOKS: u32> {
    /// 0: free; 1: taken; 2: taken, and a thread may sleep.
    word: AtomicU32,
    value: UnsafeCell<u64>,
}

/// A futex lock that sleeps at once.
pub type PlainFutex = FutexLock<0>;

/// A futex lock that reads the word a hundred times before it sleeps.
pub type LookingFutex = FutexLock<100>;

// SAFETY: `value` is reached only between lock and unlock, by one party at a time.
unsafe impl<const LOOKS: u32> Sync for FutexLock<LOOKS> {}

impl<const LOOKS: u32> FutexLock<LOOKS> {
    /// Runs `body` on the value under the lock.
    #[inline]
    pub fn with<R>(&self, body: impl FnOnce(&mut u64) -> R) -> R {
        if self.word.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            self.lock_contended();
        }
        // SAFETY: the word says that the value is ours alone until it is given back below.
        let result = body(unsafe { &mut *self.value.get() });
        if self.word.swap(0, Release) == 2 {
            futex_wake(&self.word, 1);
        }
        result
    }

    #[cold]
    fn lock_contended(&self) {
        for _ in 0..LOOKS {
            let is_free = self.word.load(Relaxed) == 0;
            if is_free && self.word.compare_exchange(0, 1, Acquire, Relaxed).is_ok() {
                return;
            }
            std::hint::spin_loop();
        }
        while self.word.swap(2, Acquire) != 0 {
            futex_wait(&self.word, 2);
        }
    }
}

/// A lock that only spins: the minimum cost of mutual exclusion. No waiter sleeps, and no holder may die.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SpinLock {
    word: AtomicU32,
    value: UnsafeCell<u64>,
}

// SAFETY: `value` is reached only between lock and unlock, by one party at a time.
unsafe impl Sync for SpinLock {}

impl SpinLock {
    /// Runs `body` on the value under the lock.
    #[inline]
    pub fn with<R>(&self, body: impl FnOnce(&mut u64) -> R) -> R {
        while self.word.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            while self.word.load(Relaxed) != 0 {
                std::hint::spin_loop();
            }
        }
        // SAFETY: the word says that the value is ours alone until it is given back below.
        let result = body(unsafe { &mut *self.value.get() });
        self.word.store(0, Release);
        result
    }
}

/// `pthread_mutex_t` with `PTHREAD_MUTEX_ROBUST` and `PTHREAD_PROCESS_SHARED`.
#[repr(align(128))]
pub struct PthreadRobust {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    value: UnsafeCell<u64>,
}

// SAFETY: the mutex is made to be used by many threads, and `value` is reached only while it is held.
unsafe impl Sync for PthreadRobust {}

impl std::fmt::Debug for PthreadRobust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PthreadRobust").finish_non_exhaustive()
    }
}

impl PthreadRobust {
    /// Creates a mutex in memory that children share.
    pub fn shared() -> &'static Self {
        let mutex = UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
        let place = machine::shared(Self { mutex, value: UnsafeCell::new(0) });
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: pthread_mutexattr_init(3) initialises the place it is given.
        check(unsafe { libc::pthread_mutexattr_init(attributes) });
        // SAFETY: the attributes are initialised.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) });
        // SAFETY: the attributes are initialised.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) });
        // SAFETY: nobody else knows the mutex yet, and it never moves.
        check(unsafe { libc::pthread_mutex_init(place.mutex.get(), attributes) });
        place
    }

    /// Runs `body` on the value under the lock.
    #[inline]
    pub fn with<R>(&self, body: impl FnOnce(&mut u64) -> R) -> R {
        // SAFETY: `shared` initialised the mutex in place.
        match unsafe { libc::pthread_mutex_lock(self.mutex.get()) } {
            0 => (),
            error => self.recover(error),
        }
        // SAFETY: the mutex is held until it is given back below.
        let result = body(unsafe { &mut *self.value.get() });
        // SAFETY: this thread holds the mutex.
        check(unsafe { libc::pthread_mutex_unlock(self.mutex.get()) });
        result
    }

    #[cold]
    fn recover(&self, error: i32) {
        assert_eq!(error, libc::EOWNERDEAD, "pthread_mutex_lock");
        // SAFETY: EOWNERDEAD means that this thread holds the mutex.
        check(unsafe { libc::pthread_mutex_consistent(self.mutex.get()) });
    }
}

/// `pthread_rwlock_t` with `PTHREAD_PROCESS_SHARED`: glibc's, which does not survive a death.
#[repr(align(128))]
pub struct PthreadRwLock {
    lock: UnsafeCell<libc::pthread_rwlock_t>,
    value: UnsafeCell<u64>,
}

// SAFETY: the lock is made to be used by many threads, and `value` is reached only under it.
unsafe impl Sync for PthreadRwLock {}

impl std::fmt::Debug for PthreadRwLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PthreadRwLock").finish_non_exhaustive()
    }
}

impl PthreadRwLock {
    /// Creates a lock in memory that children share.
    pub fn shared() -> &'static Self {
        let lock = UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER);
        let place = machine::shared(Self { lock, value: UnsafeCell::new(0) });
        let mut attributes = MaybeUninit::<libc::pthread_rwlockattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: pthread_rwlockattr_init(3) initialises the place it is given.
        check(unsafe { libc::pthread_rwlockattr_init(attributes) });
        // SAFETY: the attributes are initialised.
        check(unsafe { libc::pthread_rwlockattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) });
        // SAFETY: nobody else knows the lock yet, and it never moves.
        check(unsafe { libc::pthread_rwlock_init(place.lock.get(), attributes) });
        place
    }

    /// Runs `body` on the value beside other readers.
    #[inline]
    pub fn read<R>(&self, body: impl FnOnce(&u64) -> R) -> R {
        // SAFETY: `shared` initialised the lock in place.
        check(unsafe { libc::pthread_rwlock_rdlock(self.lock.get()) });
        // SAFETY: the lock is held for reading until it is given back below.
        let result = body(unsafe { &*self.value.get() });
        self.unlock();
        result
    }

    /// Runs `body` on the value, alone.
    #[inline]
    pub fn write<R>(&self, body: impl FnOnce(&mut u64) -> R) -> R {
        // SAFETY: `shared` initialised the lock in place.
        check(unsafe { libc::pthread_rwlock_wrlock(self.lock.get()) });
        // SAFETY: the lock is held for writing until it is given back below.
        let result = body(unsafe { &mut *self.value.get() });
        self.unlock();
        result
    }

    #[inline]
    fn unlock(&self) {
        // SAFETY: this thread holds the lock.
        check(unsafe { libc::pthread_rwlock_unlock(self.lock.get()) });
    }
}

/// `pthread_cond_t` and its mutex with `PTHREAD_PROCESS_SHARED`, and a flag: a mailbox for one token.
#[repr(align(128))]
pub struct PthreadMailbox {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    condition: UnsafeCell<libc::pthread_cond_t>,
    full: UnsafeCell<bool>,
}

// SAFETY: mutex and condition are made to be used by many threads, and `full` is reached only while the mutex is held.
unsafe impl Sync for PthreadMailbox {}

impl std::fmt::Debug for PthreadMailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PthreadMailbox").finish_non_exhaustive()
    }
}

impl PthreadMailbox {
    /// Creates an empty mailbox in memory that children share.
    pub fn shared() -> &'static Self {
        let place = machine::shared(Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            condition: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            full: UnsafeCell::new(false),
        });
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: pthread_mutexattr_init(3) initialises the place it is given.
        check(unsafe { libc::pthread_mutexattr_init(attributes) });
        // SAFETY: the attributes are initialised.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) });
        // SAFETY: nobody else knows the mutex yet, and it never moves.
        check(unsafe { libc::pthread_mutex_init(place.mutex.get(), attributes) });
        let mut attributes = MaybeUninit::<libc::pthread_condattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: pthread_condattr_init(3) initialises the place it is given.
        check(unsafe { libc::pthread_condattr_init(attributes) });
        // SAFETY: the attributes are initialised.
        check(unsafe { libc::pthread_condattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) });
        // SAFETY: nobody else knows the condition yet, and it never moves.
        check(unsafe { libc::pthread_cond_init(place.condition.get(), attributes) });
        place
    }

    /// Puts the token in and signals while the mutex is held, as most programs do.
    pub fn post(&self) {
        self.fill(|| self.signal());
    }

    /// Puts the token in and signals after the unlock.
    pub fn post_late(&self) {
        self.fill(|| ());
        self.signal();
    }

    fn fill(&self, then: impl FnOnce()) {
        // SAFETY: `shared` initialised the mutex in place.
        check(unsafe { libc::pthread_mutex_lock(self.mutex.get()) });
        // SAFETY: the mutex is held.
        unsafe { *self.full.get() = true };
        then();
        // SAFETY: this thread holds the mutex.
        check(unsafe { libc::pthread_mutex_unlock(self.mutex.get()) });
    }

    fn signal(&self) {
        // SAFETY: `shared` initialised the condition in place.
        check(unsafe { libc::pthread_cond_signal(self.condition.get()) });
    }

    /// Waits for the token and takes it out.
    pub fn take(&self) {
        // SAFETY: `shared` initialised the mutex in place.
        check(unsafe { libc::pthread_mutex_lock(self.mutex.get()) });
        // SAFETY: the mutex is held.
        while !unsafe { *self.full.get() } {
            // SAFETY: both were initialised in place, and the mutex is held.
            check(unsafe { libc::pthread_cond_wait(self.condition.get(), self.mutex.get()) });
        }
        // SAFETY: the mutex is held.
        unsafe { *self.full.get() = false };
        // SAFETY: this thread holds the mutex.
        check(unsafe { libc::pthread_mutex_unlock(self.mutex.get()) });
    }
}

/// A word on which the taker sleeps at once: the minimum cost of a handover by the kernel.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct FutexMailbox(AtomicU32);

impl FutexMailbox {
    /// Puts the token in.
    pub fn post(&self) {
        self.0.store(1, Release);
        futex_wake(&self.0, 1);
    }

    /// Waits for the token and takes it out.
    pub fn take(&self) {
        while self.0.swap(0, Acquire) == 0 {
            futex_wait(&self.0, 0);
        }
    }
}

/// A word, watched together with `N` words that nothing wakes, at most 8: the cost to a sleeper that must also learn of
/// a death.
#[derive(Debug)]
#[repr(align(128))]
pub struct WatchingMailbox<const N: usize> {
    full: AtomicU32,
    others: [AtomicU32; N],
}

impl<const N: usize> Default for WatchingMailbox<N> {
    fn default() -> Self {
        Self { full: AtomicU32::new(0), others: [const { AtomicU32::new(0) }; N] }
    }
}

impl<const N: usize> WatchingMailbox<N> {
    /// Puts the token in.
    pub fn post(&self) {
        self.full.store(1, Release);
        futex_wake(&self.full, 1);
    }

    /// Waits for the token and takes it out.
    pub fn take(&self) {
        // Of these only the first `N` and one are watched.
        let word = |at: usize| if at == 0 { &self.full } else { &self.others[(at - 1) % N] };
        let waiters: [_; 9] = std::array::from_fn(|at| Waiter::new(word(at), 0, Reach::Shared));
        while self.full.swap(0, Acquire) == 0 {
            let _ = wait_any(&waiters[..=N], None); // whatever ended the wait, the loop looks at the word again
        }
    }
}

/// A word that the taker reads for some microseconds before it sleeps. A partner that answers at once needs no system
/// call.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SpinningMailbox {
    full: AtomicU32,
    sleepers: AtomicU32,
}

impl SpinningMailbox {
    /// Puts the token in.
    pub fn post(&self) {
        self.full.store(1, SeqCst);
        if self.sleepers.load(SeqCst) != 0 {
            futex_wake(&self.full, 1);
        }
    }

    /// Waits for the token and takes it out.
    pub fn take(&self) {
        for _ in 0..400 {
            if self.full.load(Relaxed) == 1 && self.full.swap(0, Acquire) == 1 {
                return;
            }
            std::hint::spin_loop();
        }
        self.sleepers.fetch_add(1, SeqCst);
        while self.full.swap(0, SeqCst) == 0 {
            futex_wait(&self.full, 0);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }
}

fn check(error: i32) {
    assert_eq!(error, 0, "pthread call failed: {}", std::io::Error::from_raw_os_error(error));
}

/// Sleeps while `word` has the value `seen`; the waker may be in any process.
pub fn futex_wait(word: &AtomicU32, seen: u32) {
    let forever = ptr::null::<libc::timespec>();
    // SAFETY: FUTEX_WAIT reads the word, which is borrowed for the call, and a null timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, forever) };
}

/// Wakes up to `sleepers` sleepers on `word`, in any process.
pub fn futex_wake(word: &AtomicU32, sleepers: i32) {
    // SAFETY: FUTEX_WAKE uses only the address of the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, sleepers) };
}
