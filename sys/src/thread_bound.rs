//! The mark of a guard that must stay in the thread that made it.

/// In a `PhantomData`, makes what contains it neither `Send` nor `Sync`. The compiler's error names this type: drop the
/// guard in the thread that took it, or send the data instead of the guard.
#[derive(Debug)]
pub(crate) struct GuardStaysInItsThread(#[expect(dead_code, reason = "only its type matters")] *const ());
