//! A number for each thread that no other thread of the process ever has.
//!
//! A thread's address and its kernel id are used again after its end. This number is not. A 64-bit counter gives the
//! number when a thread first needs one, and the thread's own storage keeps it. A forked child has a copy of the
//! number, and copies of the locks that hold it.
//!
//! | target | where the number is | a look costs |
//! | --- | --- | --- |
//! | x86_64, aarch64, riscv64 with glibc | a thread-local variable of this object | two to four instructions |
//! | all others | pthread_setspecific(3) | a call |
//!
//! The variable has the *initial-exec* model. glibc has a reserve for such variables of objects that are loaded late.
//! musl refuses to load such an object, so musl uses the other form. The variable is hidden, because two objects that
//! contain this crate must not share it: each object has its own counter. So another Rust `dylib` cannot reach the
//! variable.
//!
//! Source: pthread_key_create(3p), pthread_getspecific(3p).

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

/// Returns the number of the calling thread, or 0 if it has none yet. No thread has the number 0.
#[inline(always)]
pub(crate) fn known() -> u64 {
    place::load()
}

/// Returns the number of the calling thread.
#[inline(always)]
pub(crate) fn mine() -> u64 {
    match known() {
        0 => first(),
        number => number,
    }
}

#[cold]
#[inline(never)]
fn first() -> u64 {
    // At a billion threads a second this lasts 584 years.
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Relaxed) + 1;
    place::store(number);
    number
}

/// A variable of the object's own thread-local storage. Stable Rust without std can express such a variable only in
/// assembly.
#[cfg(all(
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    not(miri)
))]
mod place {
    /// The variable's name. Each version of the crate has its own name.
    macro_rules! name {
        () => {
            concat!(
                "ossature_sys.",
                env!("CARGO_PKG_VERSION_MAJOR"),
                ".",
                env!("CARGO_PKG_VERSION_MINOR"),
                ".",
                env!("CARGO_PKG_VERSION_PATCH"),
                ".thread_number"
            )
        };
    }

    core::arch::global_asm!(
        ".pushsection .tbss.ossature_thread_number, \"awT\", %nobits",
        concat!(".globl ", name!()),
        concat!(".hidden ", name!()),
        concat!(".type ", name!(), ", %tls_object"),
        concat!(".size ", name!(), ", 8"),
        ".p2align 3",
        concat!(name!(), ":"),
        ".zero 8",
        ".popsection",
    );

    // `access!(load, ...)` and `access!(store, ...)` find the variable's place, then read or write it by `value`.

    #[cfg(target_arch = "x86_64")]
    macro_rules! access {
        (load, $($rest:tt)+) => { access!("mov {value}, qword ptr fs:[{place}]", $($rest)+) };
        (store, $($rest:tt)+) => { access!("mov qword ptr fs:[{place}], {value}", $($rest)+) };
        ($instruction:literal, $($rest:tt)+) => {
            core::arch::asm!(
                concat!("mov {place}, qword ptr [rip + ", name!(), "@GOTTPOFF]"),
                $instruction,
                place = out(reg) _,
                $($rest)+
            )
        };
    }

    #[cfg(target_arch = "aarch64")]
    macro_rules! access {
        (load, $($rest:tt)+) => { access!("ldr {value}, [{thread}, {place}]", $($rest)+) };
        (store, $($rest:tt)+) => { access!("str {value}, [{thread}, {place}]", $($rest)+) };
        ($instruction:literal, $($rest:tt)+) => {
            core::arch::asm!(
                concat!("adrp {place}, :gottprel:", name!()),
                concat!("ldr {place}, [{place}, #:gottprel_lo12:", name!(), "]"),
                "mrs {thread}, tpidr_el0",
                $instruction,
                place = out(reg) _,
                thread = out(reg) _,
                $($rest)+
            )
        };
    }

    #[cfg(target_arch = "riscv64")]
    macro_rules! access {
        (load, $($rest:tt)+) => { access!("ld {value}, 0({place})", $($rest)+) };
        (store, $($rest:tt)+) => { access!("sd {value}, 0({place})", $($rest)+) };
        ($instruction:literal, $($rest:tt)+) => {
            core::arch::asm!(
                concat!("la.tls.ie {place}, ", name!()),
                "add {place}, {place}, tp",
                $instruction,
                place = out(reg) _,
                $($rest)+
            )
        };
    }

    #[inline(always)]
    pub(super) fn load() -> u64 {
        let number: u64;
        // SAFETY: reads the variable above, which every thread has and only itself writes; touches registers of the
        // compiler's.
        unsafe { access!(load, value = out(reg) number, options(nostack, preserves_flags, readonly, pure)) };
        number
    }

    pub(super) fn store(number: u64) {
        // SAFETY: writes the calling thread's own variable, which only `load` reads, in the same thread.
        unsafe { access!(store, value = in(reg) number, options(nostack, preserves_flags)) };
    }
}

/// Thread-specific data of pthreads: one key for each word of the number.
#[cfg(not(all(
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    not(miri)
)))]
mod place {
    use core::ffi::c_void;
    use core::sync::atomic::AtomicU64;
    use core::sync::atomic::Ordering::{Acquire, Release};

    use crate::errno::Errno;
    use crate::raw;

    const WORDS: usize = 8 / size_of::<usize>();

    /// Each key plus one; 0 before the key is made.
    static KEYS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

    pub(super) fn load() -> u64 {
        let mut number = 0;
        for (word, key) in KEYS.iter().enumerate() {
            let Some(key) = key.load(Acquire).checked_sub(1) else { return 0 };
            // SAFETY: a key that was made and is never deleted.
            let value = unsafe { libc::pthread_getspecific(key as libc::pthread_key_t) };
            number |= (value as usize as u64) << (word * usize::BITS as usize % 64);
        }
        number
    }

    pub(super) fn store(number: u64) {
        for (word, key) in KEYS.iter().enumerate() {
            let value = (number >> (word * usize::BITS as usize % 64)) as usize;
            set(made(key, word), value as *const c_void);
        }
    }

    fn set(key: libc::pthread_key_t, value: *const c_void) {
        // SAFETY: a key that was made and is never deleted; the value is a number and not followed.
        let set = raw::call_errno("pthread_setspecific", || unsafe { libc::pthread_setspecific(key, value) });
        checked(set);
    }

    fn made(place: &AtomicU64, word: usize) -> libc::pthread_key_t {
        if let Some(key) = place.load(Acquire).checked_sub(1) {
            return key as libc::pthread_key_t;
        }
        let mut key: libc::pthread_key_t = 0;
        let again = if word == 0 { keep::<0> } else { keep::<1> };
        // SAFETY: the place is valid for the write; the destructor accepts any value of the key.
        let made =
            raw::call_errno("pthread_key_create", || unsafe { libc::pthread_key_create(&raw mut key, Some(again)) });
        checked(made);
        match place.compare_exchange(0, u64::from(key) + 1, Release, Acquire) {
            Ok(_) => key,
            Err(other) => {
                // SAFETY: made above, and no other code knows it.
                let deleted = raw::call_errno("pthread_key_delete", || unsafe { libc::pthread_key_delete(key) });
                checked(deleted);
                (other - 1) as libc::pthread_key_t
            }
        }
    }

    /// Keeps the number while a round of destructors is left. A thread that ends loses its values in an arbitrary
    /// order, and another value may contain a guard that is dropped later.
    unsafe extern "C" fn keep<const WORD: usize>(value: *mut c_void) {
        if let Some(key) = KEYS.get(WORD).and_then(|key| key.load(Acquire).checked_sub(1)) {
            // SAFETY: a key that was made and is never deleted. In a thread that ends, a failure cannot be reported.
            unsafe { libc::pthread_setspecific(key as libc::pthread_key_t, value) };
        }
    }

    #[track_caller]
    fn checked(answer: Result<(), Errno>) {
        if let Err(errno) = answer {
            panic!("no thread-specific storage is left for the number of a thread, which an RLock needs: {errno}");
        }
    }
}
