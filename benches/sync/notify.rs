//! Wakes of waiters on a condition: of all of many until the last has run, and of one beside many.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread::{self, Builder, Scope};
use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::monotonic;
use ossature_benches::report::Bar;
use ossature_benches::rivals::{LookingFutex, futex_wait, futex_wake};
use ossature_benches::rounds::Samples;
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;

/// A number under a lock, and a condition to wait for its change.
trait Bell: Sync {
    /// Calls `enters` with the lock held, waits until the number is not `seen`, and returns the number.
    fn wait(&self, seen: u64, enters: &dyn Fn()) -> u64;
    fn add(&self);
    fn notify_one(&self);
    fn notify_all(&self);
}

struct Ours<const N: usize> {
    number: Shm<Lock<u64, Shared>>,
    changed: Shm<Condition<Shared, N>>,
}

impl<const N: usize> Ours<N> {
    fn new() -> Self {
        let number = Shm::place(Lock::shared(0)).expect("shared memory");
        Self { number, changed: Shm::place(Condition::shared_with_capacity()).expect("shared memory") }
    }
}

impl<const N: usize> Bell for Ours<N> {
    fn wait(&self, seen: u64, enters: &dyn Fn()) -> u64 {
        let mut number = self.number.lock().expect("the lock is recoverable");
        enters();
        while *number == seen {
            number = self.changed.wait(number).expect("there is room");
        }
        *number
    }

    fn add(&self) {
        *self.number.lock().expect("the lock is recoverable") += 1;
    }

    fn notify_one(&self) {
        self.changed.notify(1);
    }

    fn notify_all(&self) {
        self.changed.notify_all();
    }
}

/// `pthread_mutex_t` and `pthread_cond_t` with `PTHREAD_PROCESS_SHARED`, which do not survive a death.
struct Pthread {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    changed: UnsafeCell<libc::pthread_cond_t>,
    number: UnsafeCell<u64>,
}

// SAFETY: the mutex and the condition are made to be used by many threads, and the mutex guards the number.
unsafe impl Sync for Pthread {}

impl Pthread {
    fn shared() -> &'static Self {
        // SAFETY: pthread_mutex_t is plain C data, for which zero bytes are a value; see below.
        let mutex = UnsafeCell::new(unsafe { MaybeUninit::zeroed().assume_init() });
        // SAFETY: as above, for pthread_cond_t.
        let changed = UnsafeCell::new(unsafe { MaybeUninit::zeroed().assume_init() });
        let place = machine::shared(Self { mutex, changed, number: UnsafeCell::new(0) });
        let mut mutexes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let mutexes = mutexes.as_mut_ptr();
        let mut conditions = MaybeUninit::<libc::pthread_condattr_t>::uninit();
        let conditions = conditions.as_mut_ptr();
        // SAFETY: pthread_mutexattr_init(3p) initialises the place that it is given.
        assert_eq!(unsafe { libc::pthread_mutexattr_init(mutexes) }, 0);
        // SAFETY: pthread_condattr_init(3p) initialises the place that it is given.
        assert_eq!(unsafe { libc::pthread_condattr_init(conditions) }, 0);
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: the attributes are initialised.
        assert_eq!(unsafe { libc::pthread_mutexattr_setpshared(mutexes, shared) }, 0);
        // SAFETY: the attributes are initialised.
        assert_eq!(unsafe { libc::pthread_condattr_setpshared(conditions, shared) }, 0);
        // SAFETY: nobody else knows the place yet, and it never moves.
        assert_eq!(unsafe { libc::pthread_mutex_init(place.mutex.get(), mutexes) }, 0);
        // SAFETY: nobody else knows the place yet, and it never moves.
        assert_eq!(unsafe { libc::pthread_cond_init(place.changed.get(), conditions) }, 0);
        place
    }

    fn lock(&self) {
        // SAFETY: `shared` made the mutex.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.mutex.get()) }, 0);
    }

    fn unlock(&self) {
        // SAFETY: the calling thread has locked the mutex.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.mutex.get()) }, 0);
    }
}

impl Bell for Pthread {
    fn wait(&self, seen: u64, enters: &dyn Fn()) -> u64 {
        self.lock();
        enters();
        loop {
            // SAFETY: the mutex is held.
            let number = unsafe { self.number.get().read() };
            if number != seen {
                self.unlock();
                return number;
            }
            // SAFETY: `shared` made both, and the mutex is held.
            assert_eq!(unsafe { libc::pthread_cond_wait(self.changed.get(), self.mutex.get()) }, 0);
        }
    }

    fn add(&self) {
        self.lock();
        // SAFETY: the mutex is held.
        unsafe { *self.number.get() += 1 };
        self.unlock();
    }

    fn notify_one(&self) {
        // SAFETY: `shared` made the condition.
        assert_eq!(unsafe { libc::pthread_cond_signal(self.changed.get()) }, 0);
    }

    fn notify_all(&self) {
        // SAFETY: `shared` made the condition.
        assert_eq!(unsafe { libc::pthread_cond_broadcast(self.changed.get()) }, 0);
    }
}

/// The minimum of code for the same purpose: sleepers on one word, each of which takes a bare lock once it is woken.
/// This code survives no death.
#[derive(Default)]
struct Bare {
    number: AtomicU32,
    lock: LookingFutex,
}

impl Bell for Bare {
    fn wait(&self, seen: u64, enters: &dyn Fn()) -> u64 {
        self.lock.with(|_| enters());
        while u64::from(self.number.load(SeqCst)) == seen {
            futex_wait(&self.number, seen as u32);
        }
        self.lock.with(|_| u64::from(self.number.load(SeqCst)))
    }

    fn add(&self) {
        self.lock.with(|_| self.number.fetch_add(1, SeqCst));
    }

    fn notify_one(&self) {
        futex_wake(&self.number, 1);
    }

    fn notify_all(&self) {
        futex_wake(&self.number, i32::MAX);
    }
}

/// The processor time of this process without that of the calling thread, in nanoseconds.
fn time_of_others() -> u64 {
    let of = |clock| {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: clock_gettime(2) fills the struct it is given.
        unsafe { libc::clock_gettime(clock, &raw mut now) };
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    };
    let mine = of(libc::CLOCK_THREAD_CPUTIME_ID);
    of(libc::CLOCK_PROCESS_CPUTIME_ID) - mine
}

/// Threads that repeatedly wait on a bell.
struct Crowd<'b> {
    bell: &'b dyn Bell,
    count: u64,
    /// The number of waits begun.
    entered: AtomicU64,
    /// The number of wakes, and the time of the last one.
    left: AtomicU64,
    at: AtomicU64,
    is_over: AtomicBool,
}

impl<'b> Crowd<'b> {
    fn new(bell: &'b dyn Bell, count: u64) -> Self {
        let number = || AtomicU64::new(0);
        Self { bell, count, entered: number(), left: number(), at: number(), is_over: AtomicBool::new(false) }
    }

    fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, cores: &[usize]) {
        for number in 0..self.count as usize {
            let core = cores[number % cores.len()];
            let body = move || {
                machine::pin(&[core]);
                let mut seen = 0;
                while !self.is_over.load(SeqCst) {
                    seen = self.bell.wait(seen, &|| {
                        self.entered.fetch_add(1, SeqCst);
                    });
                    self.at.fetch_max(monotonic(), SeqCst);
                    self.left.fetch_add(1, SeqCst);
                }
            };
            Builder::new().stack_size(128 << 10).spawn_scoped(scope, body).expect("a thread");
        }
        self.settle();
    }

    /// Returns once all threads wait, and most of them sleep.
    fn settle(&self) {
        while self.entered.load(SeqCst) != self.left.load(SeqCst) + self.count {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_millis(2));
    }

    /// The nanoseconds from the notification of all until the last one has run, and the processor time of all waiters
    /// until they wait again.
    fn all(&self) -> [f64; 2] {
        let left = self.left.load(SeqCst) + self.count;
        let (begin, before) = (monotonic(), time_of_others());
        self.bell.add();
        self.bell.notify_all();
        while self.left.load(SeqCst) != left {
            thread::sleep(Duration::from_micros(100));
        }
        let spent = self.at.load(SeqCst).saturating_sub(begin) as f64;
        self.settle();
        [spent, time_of_others().saturating_sub(before) as f64]
    }

    /// Nanoseconds of the notification of one.
    fn one(&self) -> f64 {
        let left = self.left.load(SeqCst) + 1;
        self.bell.add();
        let begin = monotonic();
        self.bell.notify_one();
        let spent = (monotonic() - begin) as f64;
        while self.left.load(SeqCst) != left {
            thread::sleep(Duration::from_micros(20));
        }
        // The woken thread waits again.
        while self.entered.load(SeqCst) != left + self.count {
            thread::sleep(Duration::from_micros(20));
        }
        thread::sleep(Duration::from_micros(100));
        spent
    }

    fn end(&self) {
        self.is_over.store(true, SeqCst);
        self.bell.add();
        self.bell.notify_all();
    }
}

/// The number of waiters, the name of their row, its bar, and its rounds.
const ALL: [(u64, &str, f64, usize); 3] =
    [(10, "notify-all-10", 1.3, 60), (100, "notify-all-100", 1.5, 30), (500, "notify-all-500", 2.0, 15)];

/// Runs the rows. A row that ends in `-floor` has [`Bare`] in place of ours, beside the same bar. A row that ends in
/// `-processor` compares the processor time of the waiters.
pub fn rows(bench: &Bench, cores: [usize; 2]) {
    for (count, row, bar, rounds) in ALL.into_iter().filter(|(_, row, ..)| bench.wants(row)) {
        let (few, many, bare) = (Ours::<120>::new(), Ours::<512>::new(), Bare::default());
        let ours: &dyn Bell = if count > 120 { &many } else { &few };
        let bells: [(_, &dyn Bell); 3] = [("ours", ours), ("bare", &bare), ("pthread-cond", Pthread::shared())];
        let crowds = bells.map(|(name, bell)| (name, Crowd::new(bell, count)));
        let [passed, used] = thread::scope(|scope| {
            let mut samples = [(); 2].map(|()| Samples::of_names(crowds.iter().map(|(name, _)| *name)));
            for (_, crowd) in &crowds {
                crowd.start(scope, &cores);
                crowd.all();
            }
            for round in 0..bench.scaled(rounds) {
                for turn in 0..crowds.len() {
                    let (name, crowd) = &crowds[(turn + round) % crowds.len()];
                    for (samples, figure) in samples.iter_mut().zip(crowd.all()) {
                        samples.push(name, figure / count as f64);
                    }
                }
            }
            crowds.iter().for_each(|(_, crowd)| crowd.end());
            samples
        });
        bench.compare(row, &passed, "ours", "pthread-cond", Bar::AtMost(bar));
        bench.compare(&format!("{row}-floor"), &passed, "bare", "pthread-cond", Bar::AtMost(bar));
        bench.compare(&format!("{row}-processor"), &used, "ours", "pthread-cond", Bar::AtMost(2.0));
    }
    if bench.wants("notify-one-beside-500") {
        one_beside_many(bench, cores);
    }
}

/// Measures waiters that are all on one core, with the notifier on the other.
fn one_beside_many(bench: &Bench, cores: [usize; 2]) {
    let (few, many) = (Ours::<120>::new(), Ours::<512>::new());
    let crowds = [
        ("beside-500", Crowd::new(&many, 500)),
        ("beside-2", Crowd::new(&few, 2)),
        ("pthread-cond", Crowd::new(Pthread::shared(), 500)),
    ];
    let samples = thread::scope(|scope| {
        let mut samples = Samples::of_names(crowds.iter().map(|(name, _)| *name));
        for (_, crowd) in &crowds {
            crowd.start(scope, &cores[1..]);
        }
        machine::on_core(cores[0], || {
            for round in 0..bench.scaled(30) {
                for turn in 0..crowds.len() {
                    let (name, crowd) = &crowds[(turn + round) % crowds.len()];
                    let spent: f64 = (0..50).map(|_| crowd.one()).sum();
                    samples.push(name, spent / 50.0);
                }
            }
        });
        crowds.iter().for_each(|(_, crowd)| crowd.end());
        samples
    });
    bench.compare("notify-one-beside-500", &samples, "beside-500", "beside-2", Bar::AtMost(1.2));
    bench.compare("notify-one-beside-500", &samples, "beside-500", "pthread-cond", Bar::AtMost(1.5));
}
