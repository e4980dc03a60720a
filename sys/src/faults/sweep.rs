//! Fails every call of an operation in turn, and checks what the operation leaves behind.
//!
//! ```
//! use ossature_sys::errno::{Errno, Result};
//! use ossature_sys::eventfd::EventFd;
//! use ossature_sys::faults::sweep::{Failure, Sweep};
//!
//! // Two calls, and the first one's descriptor is closed when the second one fails.
//! let pair = || -> Result<()> {
//!     let _one = EventFd::counter(0)?;
//!     let _other = EventFd::counter(0)?;
//!     Ok(())
//! };
//! match Sweep::new(&[Errno::MFILE, Errno::NOMEM]).ignore_threads().run(pair) {
//!     Ok(swept) => assert_eq!((swept.calls, swept.refused), (2, 4)),
//!     Err(Failure::NotBuilt) => println!("build with RUSTFLAGS=\"--cfg ossature_faults\""),
//!     Err(failure) => panic!("{failure}"),
//! }
//! ```
//!
//! Descriptors, mappings and threads are counted for the whole process, by reading /proc. So nothing else should run
//! beside a sweep: tests of one program run one at a time.

use core::convert::Infallible;
use core::fmt;
use core::time::Duration;

pub use super::names::Names;
pub use super::traces::Left;

use super::traces::{Scope, Traces};
use super::{Fault, Name, Rule};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};

/// The time for which a joined thread may remain on the kernel's list.
const PATIENCE: Duration = Duration::from_secs(1);

/// The calls that fail, their errors, and what is compared: configured, then [run](Sweep::run).
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, eventfd::EventFd, faults::sweep::{Call, Failure, Sweep, Swept}};
///
/// let sweep = Sweep::new(&[Errno::MFILE]).of("eventfd").ignore_threads().anonymous(1 << 20);
/// let seen = sweep.run_with(
///     || EventFd::counter(0),
///     |call: Option<Call>, answer| assert_eq!(call.map(|call| call.errno), answer.err()),
/// );
/// match seen {
///     Ok(swept) => assert_eq!(swept, Swept { calls: 1, refused: 1, survived: 0 }),
///     Err(failure) => assert_eq!(failure, Failure::NotBuilt),
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a sweep does nothing until it is run"]
pub struct Sweep<'a> {
    errnos: &'a [Errno],
    name: &'static str,
    scope: Scope,
}

/// The counts of a sweep that found no fault.
///
/// # Examples
/// See the example of [`Sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The calls of one undisturbed run that the hook can see.
    pub calls: u64,
    /// Runs that ended in an error.
    pub refused: u64,
    /// Runs that ended well in spite of the injected error.
    pub survived: u64,
}

/// The call that was made to fail.
///
/// # Examples
/// See the example of [`Sweep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The call's name.
    pub name: Name,
    /// The call's place among the calls that the sweep fails, counted from 1. `Rule::on("*", ..).nth(nth)` meets
    /// the same call again.
    pub nth: u64,
    /// The injected error.
    pub errno: Errno,
}

/// Why a sweep ended early.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, eventfd::EventFd, faults::sweep::{Failure, Names, Sweep}};
///
/// match Sweep::new(&[Errno::MFILE]).of("eventfd2").ignore_threads().run(|| EventFd::counter(0)) {
///     Err(Failure::NotMet { name, met }) => {
///         let met: Names = met;
///         assert_eq!((name, &*met), ("eventfd2", "eventfd")); // the name of C's function
///     }
///     other => assert_eq!(other, Err(Failure::NotBuilt)),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// The program is built without `--cfg ossature_faults`.
    NotBuilt,
    /// Too many rules are in force already.
    NoRuleLeft,
    /// The descriptors, mappings and threads of the process could not be read from /proc.
    Unreadable(Errno),
    /// The operation ends in an error although nothing was made to fail.
    Undisturbed(E),
    /// The operation makes no call that the hook can see.
    NoCall,
    /// The operation makes calls, but none of the name that was [chosen](Sweep::of).
    NotMet {
        /// The chosen name.
        name: &'static str,
        /// The names of the calls that the operation makes.
        met: Names,
    },
    /// The operation made fewer calls than in the run before, so that there was no call to fail.
    Unsteady {
        /// The place of the call that was not made.
        nth: u64,
        /// The calls of the run before.
        calls: u64,
    },
    /// The process is not as it was before.
    Leaked {
        /// The call that was made to fail; `None` in an undisturbed run, or in a [watched](Sweep::watch) run.
        call: Option<Call>,
        /// The difference.
        left: Left,
    },
}

impl<'a> Sweep<'a> {
    /// Every call fails in turn, once with each of these errors.
    pub fn new(errnos: &'a [Errno]) -> Self {
        Self { errnos, name: "*", scope: Scope { threads: true, anonymous: None } }
    }

    /// Only calls of this name fail.
    pub fn of(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Does not compare the number of threads: for a test harness that starts and ends threads of its own meanwhile.
    pub fn ignore_threads(self) -> Self {
        Self { scope: Scope { threads: false, ..self.scope }, ..self }
    }

    /// Compares the private anonymous memory as well, in mappings of at least `least` bytes. Choose a size that no
    /// allocator requests.
    pub fn anonymous(self, least: u64) -> Self {
        Self { scope: Scope { anonymous: Some(least), ..self.scope }, ..self }
    }

    /// Runs `operation` twice undisturbed, then once for each of its calls and each of the errors.
    ///
    /// Only calls of the thread that runs the sweep are counted and fail. The result of `operation` is dropped after
    /// the injected error is taken back, and before the process is checked. Drops inside `operation` are part of it.
    /// The first run may set up state that lasts for the life of the process.
    ///
    /// # Errors
    /// The first [`Failure`].
    pub fn run<T, E>(
        &self,
        operation: impl FnMut() -> core::result::Result<T, E>,
    ) -> core::result::Result<Swept, Failure<E>> {
        self.run_with(operation, |_, _| ())
    }

    /// Calls [`run`](Self::run) and passes each result to `after`, with the call that was made to fail, if any. There,
    /// check the error, or end what the operation has started.
    ///
    /// Nothing fails while `after` runs, and the process is checked when it has returned.
    ///
    /// # Errors
    /// The first [`Failure`].
    pub fn run_with<T, E>(
        &self,
        mut operation: impl FnMut() -> core::result::Result<T, E>,
        mut after: impl FnMut(Option<Call>, core::result::Result<T, E>),
    ) -> core::result::Result<Swept, Failure<E>> {
        if !super::ENABLED {
            return Err(Failure::NotBuilt);
        }
        after(None, Ok(operation().map_err(Failure::Undisturbed)?));
        let before = Traces::take(self.scope).map_err(Failure::Unreadable)?;

        let rule = Rule::on(self.name, Fault::Count).arm().map_err(|_| Failure::NoRuleLeft)?;
        let answer = operation();
        let calls = rule.seen();
        drop(rule);
        after(None, Ok(answer.map_err(Failure::Undisturbed)?));
        self.compare(&before, None)?;
        if calls == 0 {
            let met = self.names(&mut operation, &mut after)?;
            return Err(if met.is_empty() { Failure::NoCall } else { Failure::NotMet { name: self.name, met } });
        }
        let mut swept = Swept { calls, ..Swept::default() };
        for nth in 1..=calls {
            for &errno in self.errnos {
                let rule = Rule::on(self.name, Fault::Fail(errno)).nth(nth).arm().map_err(|_| Failure::NoRuleLeft)?;
                let answer = operation();
                let (hits, name) = (rule.hits(), rule.met());
                drop(rule);
                match answer {
                    Ok(_) => swept.survived += 1,
                    Err(_) => swept.refused += 1,
                }
                let call = Call { name, nth, errno };
                after(Some(call), answer);
                if hits == 0 {
                    return Err(Failure::Unsteady { nth, calls });
                }
                self.compare(&before, Some(call))?;
            }
        }
        Ok(swept)
    }

    /// The names of the calls of `operation`, from one undisturbed run for each call.
    fn names<T, E>(
        &self,
        operation: &mut impl FnMut() -> core::result::Result<T, E>,
        after: &mut impl FnMut(Option<Call>, core::result::Result<T, E>),
    ) -> core::result::Result<Names, Failure<E>> {
        let mut names = Names::NONE;
        for nth in 1.. {
            let rule = Rule::on("*", Fault::Count).nth(nth).arm().map_err(|_| Failure::NoRuleLeft)?;
            let answer = operation();
            let (hits, name) = (rule.hits(), rule.met());
            drop(rule);
            after(None, Ok(answer.map_err(Failure::Undisturbed)?));
            if hits == 0 || !names.add(&name) {
                break;
            }
        }
        Ok(names)
    }

    /// Runs `operation` once, under the rules that are in force, and compares the process before and after.
    ///
    /// # Errors
    /// [`Failure::Leaked`] and [`Failure::Unreadable`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature_sys::{eventfd::EventFd, faults::sweep::Sweep};
    ///
    /// let sweep = Sweep::new(&[]).ignore_threads();
    /// assert!(sweep.watch(|| drop(EventFd::counter(0))).is_ok());
    /// assert!(sweep.watch(|| EventFd::counter(0).map(core::mem::forget)).is_err(), "a descriptor is left behind");
    /// ```
    pub fn watch<R>(&self, operation: impl FnOnce() -> R) -> core::result::Result<R, Failure<Infallible>> {
        let before = Traces::take(self.scope).map_err(Failure::Unreadable)?;
        let answer = operation();
        self.compare(&before, None).map(|()| answer)
    }

    fn compare<E>(&self, before: &Traces, call: Option<Call>) -> core::result::Result<(), Failure<E>> {
        let after = self.settled(before).map_err(Failure::Unreadable)?;
        after.since(before).map_or(Ok(()), |left| Err(Failure::Leaked { call, left }))
    }

    /// The state of the process as soon as it has no additional threads, or after [`PATIENCE`].
    fn settled(&self, before: &Traces) -> Result<Traces> {
        let patience = Deadline::after(PATIENCE);
        loop {
            let after = Traces::take(self.scope)?;
            // Only threads end without a call.
            if after.threads() <= before.threads() || patience.has_passed() {
                return Ok(after);
            }
            super::rule::delay(1_000_000);
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (call {}) fails with \"{}\"", self.name, self.nth, self.errno)
    }
}

impl<E: fmt::Debug> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => {
                f.write_str("no call can be made to fail: build the program with RUSTFLAGS=\"--cfg ossature_faults\"")
            }
            Self::NoRuleLeft => f.write_str("no call can be made to fail: 16 rules are in force already, drop one"),
            Self::Unreadable(errno) => {
                write!(f, "cannot read /proc for descriptors, mappings and threads, mount it: {errno}")
            }
            Self::Undisturbed(error) => {
                write!(f, "the operation fails although nothing was made to fail: {error:?}")
            }
            Self::NoCall => f.write_str(
                "the operation makes no call that can be made to fail: wrap its calls in ossature_sys::faults::call",
            ),
            Self::NotMet { name, met } => write!(
                f,
                "the operation makes no call named {name:?}, so nothing was tested: choose one of the names that it calls ({met})"
            ),
            Self::Unsteady { nth, calls } => {
                write!(f, "the operation did not make call {nth} of {calls}: it must make the same calls in each run")
            }
            Self::Leaked { call: Some(call), left } => write!(f, "left behind when {call}: {left}"),
            Self::Leaked { call: None, left } => write!(f, "left behind: {left}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Failure<E> {}
