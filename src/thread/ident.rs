//! The identity of the calling thread: this library's number for it, the kernel's, and its name in the kernel.

use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ossature_sys::process::{self, generation};
use ossature_sys::sched;

use crate::error::{Error, Result};

pub use ossature_sys::process::Pid;

/// The number of a thread in this process, for use as a key.
///
/// Differs from Python's, which is an address and is given to later threads again: this one is counted and never comes
/// back.
///
/// # Examples
/// ```
/// use std::collections::HashMap;
/// use ossature::thread::{Ident, get_ident, get_native_id, set_name};
///
/// let mut names: HashMap<Ident, &str> = HashMap::new();
/// names.insert(get_ident(), "this thread");
/// assert!(get_ident().get() > 0 && get_native_id().as_raw_nonzero().get() > 0);
/// set_name("indexer")?; // what ps and debuggers show
/// let other = std::thread::spawn(get_ident).join().unwrap();
/// assert!(!names.contains_key(&other));
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(NonZeroU64);

impl Ident {
    /// The number of the first thread of a process.
    pub(crate) const MAIN: Self = Self(NonZeroU64::MIN);

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns an ident that no thread had before.
    pub(crate) fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(2);
        // Two to the power of 64 threads are not started in the age of a machine.
        Self(NonZeroU64::new(NEXT.fetch_add(1, Relaxed)).unwrap_or(NonZeroU64::MAX))
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

thread_local! {
    // None of these has a destructor, so they can be read until the thread's very end.
    static IDENT: Cell<Option<Ident>> = const { Cell::new(None) };
    static NATIVE: Cell<Option<(u32, Pid)>> = const { Cell::new(None) };
}

/// Returns the number of the calling thread: never zero, never another thread's in this process.
pub fn get_ident() -> Ident {
    IDENT.get().unwrap_or_else(|| {
        let ident = if is_first() { Ident::MAIN } else { Ident::fresh() };
        IDENT.set(Some(ident));
        ident
    })
}

/// Gives the calling thread the number that was reserved for it.
pub(crate) fn adopt_ident(ident: Ident) {
    IDENT.set(Some(ident));
}

/// `gettid()`: returns the kernel's number of the calling thread. In the first thread it is the process's own.
///
/// Asked from the kernel once a thread, and again in a forked child.
///
/// # Examples
/// See the example of [`Ident`].
#[doc(alias = "gettid")]
pub fn get_native_id() -> Pid {
    let now = generation();
    match NATIVE.get() {
        Some((then, native)) if then == now => native,
        _ => {
            let native = sched::thread_id();
            NATIVE.set(Some((now, native)));
            native
        }
    }
}

/// Whether the calling thread is the first of its process; in a forked child, that is the thread that called fork.
pub(crate) fn is_first() -> bool {
    get_native_id() == process::id()
}

/// Names the calling thread for `ps`, `top` and debuggers. The kernel keeps the first 15 bytes of `name`; fewer if a
/// character would be cut in two, or if `name` has a null before.
///
/// # Errors
/// The error of a sandbox that forbids prctl(2).
///
/// # Examples
/// See the example of [`Ident`].
#[doc(alias = "pthread_setname_np")]
pub fn set_name(name: &str) -> Result<()> {
    let mut room = [0; NAME + 1];
    sched::set_thread_name(cut(name, &mut room)).map_err(|errno| Error::os(errno, "cannot name the thread"))
}

/// The number of bytes of a name that the kernel keeps.
const NAME: usize = 15;

/// Returns the part of `name` that the kernel keeps, as a C string.
fn cut<'r>(name: &str, room: &'r mut [u8; NAME + 1]) -> &'r CStr {
    let name = name.split('\0').next().unwrap_or_default();
    let end = (0..=NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    room[..end].copy_from_slice(&name.as_bytes()[..end]);
    CStr::from_bytes_until_nul(room).unwrap_or_default()
}
