//! The mark of a guard that must stay in the thread that made it.

/// In a `PhantomData<*const GuardStaysInItsThread>`, makes what contains it neither `Send` nor `Sync`. The first line of
/// the compiler's error names this type: drop the guard in the thread that took it, or send the data instead of the guard.
#[derive(Debug)]
pub(crate) enum GuardStaysInItsThread {}
