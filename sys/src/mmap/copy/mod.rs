//! Copies between memory that any process may write and memory of this process alone.
//!
//! Rust has no such copy yet (RFC 3301, atomic byte-wise memcpy, is open). What these functions promise is relaxed
//! atomic loads or stores of each byte, in no order and some of them twice. Byte by byte that is eight times slower
//! than it need be. So on the common machines the copy is a short piece of assembly. To the compiler it is an opaque
//! operation whose effect is exactly that of the relaxed atomics. The machine may do many of them at a time.
//!
//! On x86_64 a copy of any length but the longest ends with a move that is as wide as those before it and overlaps
//! them. That move copies bytes twice, and saves the small steps at the end.

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whether the copy is in assembly. Otherwise the copy uses one atomic for each byte. Memory that is otherwise used by
/// wider atomics must not mix with these. There an owner of such memory copies by its own width.
pub(crate) const IS_ASSEMBLY: bool = cfg!(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)));

/// Copies `len` bytes out of shared memory.
///
/// # Safety
/// * `from` is readable for `len` bytes, which others may be writing by atomics or from outside this program;
/// * `into` is writable for `len` bytes, which no other code reaches, and the two do not overlap.
#[inline]
pub(crate) unsafe fn load(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { transfer(from, into, len) }
}

/// Copies `len` bytes into shared memory.
///
/// # Safety
/// * `from` is readable for `len` bytes, which nothing writes;
/// * `into` is writable for `len` bytes, which others may be reading or writing by atomics or from outside this
///   program, and the two do not overlap.
#[inline]
pub(crate) unsafe fn store(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { transfer(from, into, len) }
}

/// Stores `byte` in `len` bytes of shared memory.
///
/// # Safety
/// `into` is writable for `len` bytes, which others may be reading or writing by atomics or from outside this program.
pub(crate) unsafe fn fill(into: *mut u8, len: usize, byte: u8) {
    let pattern = [byte; 256];
    let mut done = 0;
    while done < len {
        let part = pattern.len().min(len - done);
        // SAFETY: `done` is below `len`, so this points into the caller's range.
        let place = unsafe { into.add(done) };
        // SAFETY: `part` bytes are in the pattern, which is ours, and left in the caller's range.
        unsafe { transfer(pattern.as_ptr(), place, part) };
        done += part;
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use x86_64::transfer;

/// # Safety
/// `from` is readable and `into` writable for `len` bytes, and they do not overlap.
#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline]
unsafe fn transfer(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: each part moves as many bytes as it takes from the count, which is `len` at first and never drops below
    // zero.
    unsafe {
        core::arch::asm!(
            "subs {n}, {n}, #64",
            "b.lo 3f",
            "2:",
            "ldp {a:q}, {b:q}, [{f}]",
            "ldp {c:q}, {d:q}, [{f}, #32]",
            "stp {a:q}, {b:q}, [{t}]",
            "stp {c:q}, {d:q}, [{t}, #32]",
            "add {f}, {f}, #64",
            "add {t}, {t}, #64",
            "subs {n}, {n}, #64",
            "b.hs 2b",
            "3:",
            "adds {n}, {n}, #56", // n is now what is left, less 8
            "b.mi 5f",
            "4:",
            "ldr {w}, [{f}], #8",
            "str {w}, [{t}], #8",
            "subs {n}, {n}, #8",
            "b.pl 4b",
            "5:",
            "adds {n}, {n}, #8",
            "b.eq 7f",
            "6:",
            "ldrb {w:w}, [{f}], #1",
            "strb {w:w}, [{t}], #1",
            "subs {n}, {n}, #1",
            "b.ne 6b",
            "7:",
            n = inout(reg) len => _,
            f = inout(reg) from => _,
            t = inout(reg) into => _,
            w = out(reg) _,
            a = out(vreg) _,
            b = out(vreg) _,
            c = out(vreg) _,
            d = out(vreg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// `from` is readable and `into` writable for `len` bytes, and they do not overlap.
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
unsafe fn transfer(from: *const u8, into: *mut u8, len: usize) {
    for at in 0..len {
        // SAFETY: within the caller's range.
        let from = unsafe { from.add(at) };
        // SAFETY: within the caller's range.
        let into = unsafe { into.add(at) };
        // SAFETY: readable, and a byte is always aligned; a relaxed load of one byte is a plain load on every machine,
        // so memory that may not be written is fine.
        let from = unsafe { AtomicU8::from_ptr(from.cast_mut()) };
        // SAFETY: writable, and a byte is always aligned.
        let into = unsafe { AtomicU8::from_ptr(into) };
        // Relaxed: the bytes have no order. A caller that needs order uses an atomic beside them.
        into.store(from.load(Relaxed), Relaxed);
    }
}
