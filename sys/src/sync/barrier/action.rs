//! The types that the action of a barrier may return.

use core::{error, fmt};

use crate::sync::barrier::Broken;

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for super::Never {}
    impl<E> Sealed for Result<(), E> {}
}

/// A type that an action of [`wait_with`](super::Barrier::wait_with) may return: `()`, or a `Result` whose error breaks
/// the barrier.
///
/// # Examples
/// ```
/// use ossature_sys::sync::barrier::{Action, Barrier};
///
/// fn pass<A: Action>(barrier: &Barrier, action: impl FnOnce() -> A) -> Result<u32, A::Failure> {
///     barrier.wait_with(action)
/// }
/// assert_eq!(pass(&Barrier::new(1), || ()), Ok(0));
/// ```
#[diagnostic::on_unimplemented(
    message = "the action of a barrier must return `()` or `Result<(), E>`, not `{Self}`",
    note = "end the closure with `;` or with `.map(drop)`"
)]
pub trait Action: sealed::Sealed {
    /// The error of the wait.
    type Failure: From<Broken>;

    /// The error of the wait after an action that failed.
    #[doc(hidden)]
    fn failure(self) -> Option<Self::Failure>;
}

impl Action for () {
    type Failure = Broken;

    #[inline]
    fn failure(self) -> Option<Broken> {
        None
    }
}

/// The type `!`, which stable Rust names only as the return type of a function. A closure that only panics returns it.
type Never = <fn() -> ! as Answers>::Answer;

#[doc(hidden)]
pub trait Answers {
    type Answer;
}

impl<A> Answers for fn() -> A {
    type Answer = A;
}

impl Action for Never {
    type Failure = Broken;

    fn failure(self) -> Option<Broken> {
        self
    }
}

impl<E> Action for Result<(), E> {
    type Failure = WaitError<E>;

    #[inline]
    fn failure(self) -> Option<WaitError<E>> {
        self.err().map(WaitError::Action)
    }
}

/// The reason why a wait with an action that may fail has ended.
///
/// # Examples
/// ```
/// use ossature_sys::sync::barrier::{Barrier, WaitError};
///
/// let alone = Barrier::new(1);
/// assert_eq!(alone.wait_with(|| Err("no disk")), Err(WaitError::Action("no disk")));
/// assert!(alone.is_broken());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError<E> {
    /// The barrier is broken.
    Broken(Broken),
    /// The action, which this thread ran, returned this error. The barrier is broken for all parties.
    Action(E),
}

impl<E> From<Broken> for WaitError<E> {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl<E: fmt::Display> fmt::Display for WaitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::Action(error) => write!(f, "the barrier is broken: its action returned an error: {error}"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for WaitError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Broken(broken) => Some(broken),
            Self::Action(error) => Some(error),
        }
    }
}
