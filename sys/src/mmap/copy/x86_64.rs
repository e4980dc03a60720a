//! The copy in assembly for x86_64.
//!
//! Up to 128 bytes are copied as two halves that may overlap: all bytes are read, then all are written. Longer copies
//! are blocks through the registers of 32 bytes, with a last block that overlaps the one before, up to about the size
//! of the first cache. The longest copies use the string instruction, which moves whole cache lines. So do those above
//! 128 bytes if there are no such registers. Copies larger than a core's share of any cache bypass the caches, which
//! saves reading the destination.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The length from which the string instruction is faster than blocks.
const LONG: usize = 24 << 10;
/// The length from which stores that bypass the caches are faster.
const HUGE: usize = 6 << 20;

/// # Safety
/// `from` is readable and `into` writable for `len` bytes, and they do not overlap.
#[inline]
pub(super) unsafe fn transfer(from: *const u8, into: *mut u8, len: usize) {
    if len <= 16 {
        // SAFETY: the caller's promise, and `len` is at most 16.
        unsafe { few(from, into, len) }
    } else {
        // SAFETY: the caller's promise, and `len` is above 16.
        unsafe { many(from, into, len) }
    }
}

/// # Safety
/// As for [`transfer`], and `len` is at most 16.
#[inline]
unsafe fn few(from: *const u8, into: *mut u8, len: usize) {
    macro_rules! halves {
        ($size:literal, $first:literal, $second:literal) => {
            // SAFETY: reads and writes the first and the last `$size` of `len` bytes, which are at least as many.
            unsafe {
                asm!(
                    concat!("mov ", $first, ", [{f}]"),
                    concat!("mov ", $second, ", [{f} + {n} - ", $size, "]"),
                    concat!("mov [{t}], ", $first),
                    concat!("mov [{t} + {n} - ", $size, "], ", $second),
                    f = in(reg) from,
                    t = in(reg) into,
                    n = in(reg) len,
                    a = out(reg) _,
                    b = out(reg) _,
                    options(nostack, preserves_flags),
                );
            }
        };
    }
    match len {
        8.. => halves!(8, "{a}", "{b}"),
        4.. => halves!(4, "{a:e}", "{b:e}"),
        2.. => halves!(2, "{a:x}", "{b:x}"),
        1 => {
            // SAFETY: one byte of one.
            unsafe {
                asm!("mov {a}, [{f}]", "mov [{t}], {a}", f = in(reg) from, t = in(reg) into, a = out(reg_byte) _,
                    options(nostack, preserves_flags));
            }
        }
        0 => {}
    }
}

/// # Safety
/// As for [`transfer`], and `len` is above 16.
#[inline(never)]
unsafe fn many(from: *const u8, into: *mut u8, len: usize) {
    #[allow(clippy::match_overlapping_arm, reason = "from small to large")]
    match len {
        // SAFETY: moves the first and the last 16 of more than 16 bytes.
        ..=32 => unsafe {
            asm!(
                "movdqu {a}, [{f}]",
                "movdqu {b}, [{f} + {n} - 16]",
                "movdqu [{t}], {a}",
                "movdqu [{t} + {n} - 16], {b}",
                f = in(reg) from, t = in(reg) into, n = in(reg) len, a = out(xmm_reg) _, b = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        },
        // SAFETY: moves the first and the last 32 of more than 32 bytes.
        ..=64 => unsafe {
            asm!(
                "movdqu {a}, [{f}]",
                "movdqu {b}, [{f} + 16]",
                "movdqu {c}, [{f} + {n} - 32]",
                "movdqu {d}, [{f} + {n} - 16]",
                "movdqu [{t}], {a}",
                "movdqu [{t} + 16], {b}",
                "movdqu [{t} + {n} - 32], {c}",
                "movdqu [{t} + {n} - 16], {d}",
                f = in(reg) from, t = in(reg) into, n = in(reg) len,
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        },
        // SAFETY: moves the first and the last 64 of more than 64 bytes.
        ..=128 => unsafe {
            asm!(
                "movdqu {a}, [{f}]",
                "movdqu {b}, [{f} + 16]",
                "movdqu {c}, [{f} + 32]",
                "movdqu {d}, [{f} + 48]",
                "movdqu {g}, [{f} + {n} - 64]",
                "movdqu {h}, [{f} + {n} - 48]",
                "movdqu {i}, [{f} + {n} - 32]",
                "movdqu {j}, [{f} + {n} - 16]",
                "movdqu [{t}], {a}",
                "movdqu [{t} + 16], {b}",
                "movdqu [{t} + 32], {c}",
                "movdqu [{t} + 48], {d}",
                "movdqu [{t} + {n} - 64], {g}",
                "movdqu [{t} + {n} - 48], {h}",
                "movdqu [{t} + {n} - 32], {i}",
                "movdqu [{t} + {n} - 16], {j}",
                f = in(reg) from, t = in(reg) into, n = in(reg) len,
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                g = out(xmm_reg) _, h = out(xmm_reg) _, i = out(xmm_reg) _, j = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        },
        // SAFETY: more than 128 bytes, and the processor has the instructions.
        ..LONG if has_wide_registers() => unsafe { blocks(from, into, len) },
        // SAFETY: more than 160 bytes, and the processor has the instructions.
        HUGE.. if has_wide_registers() => unsafe { past_the_caches(from, into, len) },
        // SAFETY: moves exactly `len` bytes upwards (the ABI keeps the direction flag clear) between ranges that the
        // caller vouches for.
        _ => unsafe {
            asm!("rep movsb", inout("rcx") len => _, inout("rsi") from => _, inout("rdi") into => _,
                options(nostack, preserves_flags));
        },
    }
}

/// # Safety
/// As for [`transfer`], `len` is at least 128, and the processor has AVX.
#[inline]
unsafe fn blocks(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: blocks of 128 bytes, each of which begins before the last 128 bytes and so ends within the range; then
    // these last bytes. `vzeroupper` changes the other vector registers no more than a call may, and the clobbers
    // declare a call.
    unsafe {
        asm!(
            "lea rax, [rsi + rdx - 128]",
            "lea rdx, [rdi + rdx - 128]",
            "2:",
            "vmovdqu ymm0, [rsi]",
            "vmovdqu ymm1, [rsi + 32]",
            "vmovdqu ymm2, [rsi + 64]",
            "vmovdqu ymm3, [rsi + 96]",
            "add rsi, 128",
            "vmovdqu [rdi], ymm0",
            "vmovdqu [rdi + 32], ymm1",
            "vmovdqu [rdi + 64], ymm2",
            "vmovdqu [rdi + 96], ymm3",
            "add rdi, 128",
            "cmp rsi, rax",
            "jb 2b",
            "vmovdqu ymm0, [rax]",
            "vmovdqu ymm1, [rax + 32]",
            "vmovdqu ymm2, [rax + 64]",
            "vmovdqu ymm3, [rax + 96]",
            "vmovdqu [rdx], ymm0",
            "vmovdqu [rdx + 32], ymm1",
            "vmovdqu [rdx + 64], ymm2",
            "vmovdqu [rdx + 96], ymm3",
            "vzeroupper",
            inout("rsi") from => _,
            inout("rdi") into => _,
            inout("rdx") len => _,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
}

/// # Safety
/// As for [`transfer`], `len` is at least 160, and the processor has AVX.
#[inline]
unsafe fn past_the_caches(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: 32 bytes; then blocks of 128 from the first multiple of 32 after `into`, which those 32 reach; then the
    // last 128 bytes. Each block begins before these last bytes, so it ends within the range. `sfence` orders the
    // stores that bypassed the caches before all later stores, like other stores. Prefetching reads nothing. The
    // registers as in `blocks`.
    unsafe {
        asm!(
            "vmovdqu ymm0, [rsi]",
            "vmovdqu [rdi], ymm0",
            "lea rax, [rdi + rdx - 128]",
            "lea rdx, [rsi + rdx - 128]",
            "mov rcx, rdi",
            "or rcx, 31",
            "inc rcx",
            "sub rcx, rdi",
            "add rdi, rcx",
            "add rsi, rcx",
            "2:",
            "prefetchnta [rsi + 1024]",
            "prefetchnta [rsi + 1088]",
            "vmovdqu ymm0, [rsi]",
            "vmovdqu ymm1, [rsi + 32]",
            "vmovdqu ymm2, [rsi + 64]",
            "vmovdqu ymm3, [rsi + 96]",
            "add rsi, 128",
            "vmovntdq [rdi], ymm0",
            "vmovntdq [rdi + 32], ymm1",
            "vmovntdq [rdi + 64], ymm2",
            "vmovntdq [rdi + 96], ymm3",
            "add rdi, 128",
            "cmp rdi, rax",
            "jb 2b",
            "sfence",
            "vmovdqu ymm0, [rdx]",
            "vmovdqu ymm1, [rdx + 32]",
            "vmovdqu ymm2, [rdx + 64]",
            "vmovdqu ymm3, [rdx + 96]",
            "vmovdqu [rax], ymm0",
            "vmovdqu [rax + 32], ymm1",
            "vmovdqu [rax + 64], ymm2",
            "vmovdqu [rax + 96], ymm3",
            "vzeroupper",
            inout("rsi") from => _,
            inout("rdi") into => _,
            inout("rdx") len => _,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
}

const UNKNOWN: u8 = 0;
const NARROW: u8 = 1;
const WIDE: u8 = 2;

/// Whether the processor and the kernel have AVX, once the answer is known.
static REGISTERS: AtomicU8 = AtomicU8::new(if cfg!(target_feature = "avx") { WIDE } else { UNKNOWN });

#[inline]
fn has_wide_registers() -> bool {
    // Relaxed: a thread that checks again gets the same answer.
    match REGISTERS.load(Relaxed) {
        UNKNOWN => ask_for_wide_registers(),
        known => known == WIDE,
    }
}

#[cold]
fn ask_for_wide_registers() -> bool {
    /// The bits of a processor with AVX and a kernel that uses `xsave`, so that `xgetbv` is available.
    const AVX_AND_XSAVE: u32 = 1 << 28 | 1 << 27;
    /// The bits of a kernel that saves the registers of 16 and of 32 bytes.
    const SAVED: u32 = 0b110;
    #[allow(unused_unsafe, reason = "safe in newer versions of core")]
    // SAFETY: every x86_64 has cpuid and its leaf 1.
    let features = unsafe { core::arch::x86_64::__cpuid(1) }.ecx;
    let wide = features & AVX_AND_XSAVE == AVX_AND_XSAVE && {
        let saved: u32;
        // SAFETY: the bit for xsave says that the processor has the instruction, which only reads register 0.
        unsafe {
            asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nomem, nostack, preserves_flags));
        }
        saved & SAVED == SAVED
    };
    REGISTERS.store(if wide { WIDE } else { NARROW }, Relaxed);
    wide
}
