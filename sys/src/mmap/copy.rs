//! Copies between memory that anybody may write and memory that is ours.
//!
//! Rust has no such copy yet (RFC 3301, atomic byte-wise memcpy, is open). What these functions promise is one relaxed atomic
//! load or store for each byte, in no order. Byte by byte that is eight times slower than it need be, so on the common
//! machines the copy is a short piece of assembly: to the compiler it is an opaque operation whose effect is exactly that of
//! the relaxed atomics, and the machine is allowed to do them sixteen at a time.

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whether the copy is the assembly. Where it is not, it is one atomic for each byte, which memory that is otherwise used by
/// wider atomics must not mix with: there an owner of such memory copies by its own width.
pub(crate) const IS_ASSEMBLY: bool = cfg!(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)));

/// Copies `len` bytes out of shared memory.
///
/// # Safety
/// * `from` is readable for `len` bytes, which others may be writing by atomics or from outside this program;
/// * `into` is writable for `len` bytes, which nobody else reaches, and the two do not overlap.
#[inline]
pub(crate) unsafe fn load(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { transfer(from, into, len) }
}

/// Copies `len` bytes into shared memory.
///
/// # Safety
/// * `from` is readable for `len` bytes, which nobody writes;
/// * `into` is writable for `len` bytes, which others may be reading or writing by atomics or from outside this program, and the
///   two do not overlap.
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

/// From here on the string instruction, which moves whole cache lines, is faster than the loop.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LONG: usize = 1500;

/// # Safety
/// `from` is readable and `into` writable for `len` bytes, and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
unsafe fn transfer(from: *const u8, into: *mut u8, len: usize) {
    use core::arch::asm;

    if len >= LONG {
        // SAFETY: moves exactly `len` bytes upwards (the ABI keeps the direction flag clear) between ranges that the caller
        // vouches for.
        unsafe {
            asm!("rep movsb", inout("rcx") len => _, inout("rsi") from => _, inout("rdi") into => _,
                options(nostack, preserves_flags));
        }
        return;
    }
    // SAFETY: each part moves as many bytes as it takes from the count, which is `len` at first and never drops below zero:
    // 64 while there are 64, then 16 while there are 16, then one for each bit of the rest.
    unsafe {
        asm!(
            "sub {n}, 64",
            "jb 3f",
            "2:",
            "movdqu {a}, [{f}]",
            "movdqu {b}, [{f} + 16]",
            "movdqu {c}, [{f} + 32]",
            "movdqu {d}, [{f} + 48]",
            "movdqu [{t}], {a}",
            "movdqu [{t} + 16], {b}",
            "movdqu [{t} + 32], {c}",
            "movdqu [{t} + 48], {d}",
            "add {f}, 64",
            "add {t}, 64",
            "sub {n}, 64",
            "jae 2b",
            "3:",
            "add {n}, 48", // n is now what is left, less 16
            "js 5f",
            "4:",
            "movdqu {a}, [{f}]",
            "movdqu [{t}], {a}",
            "add {f}, 16",
            "add {t}, 16",
            "sub {n}, 16",
            "jns 4b",
            "5:", // the low four bits of n are those of what is left
            "test {n:l}, 8",
            "jz 6f",
            "mov {w}, [{f}]",
            "mov [{t}], {w}",
            "add {f}, 8",
            "add {t}, 8",
            "6:",
            "test {n:l}, 4",
            "jz 7f",
            "mov {w:e}, [{f}]",
            "mov [{t}], {w:e}",
            "add {f}, 4",
            "add {t}, 4",
            "7:",
            "test {n:l}, 2",
            "jz 8f",
            "mov {w:x}, [{f}]",
            "mov [{t}], {w:x}",
            "add {f}, 2",
            "add {t}, 2",
            "8:",
            "test {n:l}, 1",
            "jz 9f",
            "mov {w:l}, [{f}]",
            "mov [{t}], {w:l}",
            "9:",
            n = inout(reg) len => _,
            f = inout(reg) from => _,
            t = inout(reg) into => _,
            w = out(reg) _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// `from` is readable and `into` writable for `len` bytes, and they do not overlap.
#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline]
unsafe fn transfer(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: each part moves as many bytes as it takes from the count, which is `len` at first and never drops below zero.
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
        // SAFETY: readable, and a byte is always aligned; a relaxed load of one byte is a plain load on every machine, so memory
        // that may not be written is fine.
        let from = unsafe { AtomicU8::from_ptr(from.cast_mut()) };
        // SAFETY: writable, and a byte is always aligned.
        let into = unsafe { AtomicU8::from_ptr(into) };
        // Relaxed: bytes, in no order; who needs order puts an atomic beside them.
        into.store(from.load(Relaxed), Relaxed);
    }
}
