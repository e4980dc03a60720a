//! Signals that queues block and unblock for programs that were written for a BSD, where a counted signal needs no
//! mask.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::errno::Result;
use crate::kqueue::{Filter, Flags, Kevent};
use crate::signal::{self, Signal, mask, numbered};

/// The number of knotes for which each signal was blocked. It is 0 for a signal that the program blocks itself, which
/// stays blocked.
static BLOCKED: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

fn count(signal: Signal) -> Option<&'static AtomicU32> {
    BLOCKED.get(usize::try_from(signal.as_raw()).ok()?.checked_sub(1)?)
}

/// The signal of a change that adds a knote, or deletes one.
pub(super) fn of(change: &Kevent, flag: Flags) -> Option<Signal> {
    let is_meant = change.filter() == Filter::SIGNAL && change.flags() & (Flags::ADD | Flags::DELETE) == flag;
    i32::try_from(change.ident()).ok().and_then(numbered).filter(|_| is_meant)
}

/// Blocks a signal in the calling thread, for one more knote.
pub(super) fn block(signal: Signal) -> Result<()> {
    let Some(count) = count(signal) else { return Ok(()) };
    let is_blocked = mask()?.contains(signal);
    if is_blocked && count.load(Relaxed) == 0 {
        return Ok(());
    }
    if !is_blocked {
        signal::block(signal)?.keep();
    }
    count.fetch_add(1, Relaxed);
    Ok(())
}

/// Unblocks a signal in the calling thread, if it was blocked for this knote and no other knote needs that.
pub(super) fn unblock(signal: Signal) -> Result<()> {
    let one_less = |count: &AtomicU32| count.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1)) == Ok(1);
    if count(signal).is_some_and(one_less) {
        signal::unblock(signal)?.keep();
    }
    Ok(())
}
