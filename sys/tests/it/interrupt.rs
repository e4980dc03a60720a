//! Many real signals to one thread, which neither end a wait early nor make it longer.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::soon;

static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn note(_: libc::c_int) {
    CAUGHT.fetch_add(1, SeqCst);
}

/// A signal that no other test uses.
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 7
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeros are a valid sigaction: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // Without SA_RESTART: every sleep that can be interrupted is.
        action.sa_sigaction = note as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler only adds to an atomic, which is async-signal-safe; a null old action is allowed.
        assert_eq!(unsafe { libc::sigaction(signal(), &action, std::ptr::null_mut()) }, 0);
    });
}

/// Runs `wait` while this thread gets a signal every millisecond until it returns. A wait that began anew at each
/// signal would never end.
#[track_caller]
pub fn under_signals<R>(wait: impl FnOnce() -> R) -> R {
    install();
    // SAFETY: pthread_self has no preconditions.
    let target = unsafe { libc::pthread_self() } as usize;
    let over = AtomicBool::new(false);
    let at_first = CAUGHT.load(SeqCst);
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    // SAFETY: the target outlives this scope, so its pthread_t is valid.
                    unsafe { libc::pthread_kill(target as libc::pthread_t, signal()) };
                    thread::sleep(Duration::from_millis(1));
                }
            });
            // The thread that sends may be slow to begin.
            while CAUGHT.load(SeqCst) == at_first {
                thread::yield_now();
            }
            let before = CAUGHT.load(SeqCst);
            let answer = wait();
            over.store(true, SeqCst);
            assert!(CAUGHT.load(SeqCst) > before, "no signal came: the test shows nothing");
            answer
        })
    })
}

/// Asserts that `wait` (with a given span) lasts at least that span and returns, although many signals arrive.
#[track_caller]
pub fn keeps_its_deadline<R>(wait: impl FnOnce(Duration) -> R) -> R {
    let span = Duration::from_millis(60);
    under_signals(|| {
        let start = Instant::now();
        let answer = wait(span);
        assert!(start.elapsed() >= span, "ended {:?} into {span:?}", start.elapsed());
        answer
    })
}
