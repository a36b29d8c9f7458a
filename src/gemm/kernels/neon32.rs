//! The NEON of 32-bit systems (Cortex-A7 and what came after): VMULL, VMLAL, VPADAL. In assembly, as stable Rust has
//! neither these instructions by name nor a way to enable them for one function.

use std::arch::naked_asm;

use super::layouts::NEON as LAYOUT;
use super::{CHUNK, Checked, Kernel, Operands};

pub(super) static KERNEL: Kernel = Kernel { name: "neon", layout: LAYOUT, tiles };

/// Whether this CPU has it, by what the system says: `HWCAP_NEON` in Linux's `arch/arm/include/uapi/asm/hwcap.h`.
pub(super) fn is_here() -> bool {
    rustix::param::linux_hwcap().0 & (1 << 12) != 0
}

/// Two rows of a tile, which may be the same one, in the order in which [`pair`] takes them.
#[repr(C)]
struct Pair {
    rows: [*const i8; 2],
    /// Bytes from a row's chunk to its next one.
    step: usize,
    columns: *const i8,
    chunks: usize,
    start: *const i32,
    sums: [*mut i32; 2],
}

fn tiles(operands: Operands) {
    for at in operands.checked(LAYOUT) {
        let Checked { height, chunks, rows, start, columns, sums, stride, .. } = at;
        for row in (0..height).step_by(2) {
            // The last of an odd number is computed twice.
            let both = [row, (row + 1).min(height - 1)];
            let pair_of_rows = Pair {
                rows: both.map(|row| rows.wrapping_add(row * CHUNK)),
                step: height * CHUNK,
                columns,
                chunks,
                start,
                sums: both.map(|row| sums.wrapping_add(row * stride)),
            };
            // SAFETY: the CPU has NEON, and every length was checked.
            unsafe { pair(&raw const pair_of_rows) };
        }
    }
}

/// Four sums for each of two rows, each in four parts: q0 to q3 and q4 to q7.
///
/// # Safety
/// The CPU has NEON, and the operands are as long as they say.
// SAFETY: r4 to r8 and d8 to d15 are put back, as the calling convention asks for.
#[unsafe(naked)]
unsafe extern "C" fn pair(operands: *const Pair) {
    naked_asm!(
        ".fpu neon",
        "push {{r4-r8, lr}}",
        "vpush {{d8-d15}}",
        "ldm r0, {{r1-r8}}",
        "vmov.i32 q0, #0",
        "vmov.i32 q1, #0",
        "vmov.i32 q2, #0",
        "vmov.i32 q3, #0",
        "vmov.i32 q4, #0",
        "vmov.i32 q5, #0",
        "vmov.i32 q6, #0",
        "vmov.i32 q7, #0",
        "b 3f",
        // A chunk. Step by step for both rows and two columns: an in-order core finds independent work behind each
        // step. Two products of at most 127 * 127 fit 16 bits.
        "2:",
        "vld1.8 {{d16-d17}}, [r1], r3",
        "vld1.8 {{d18-d19}}, [r2], r3",
        "vld1.8 {{d20-d23}}, [r4]!",
        "vmull.s8 q12, d16, d20",
        "vmull.s8 q13, d18, d20",
        "vmull.s8 q14, d16, d22",
        "vmull.s8 q15, d18, d22",
        "vmlal.s8 q12, d17, d21",
        "vmlal.s8 q13, d19, d21",
        "vmlal.s8 q14, d17, d23",
        "vmlal.s8 q15, d19, d23",
        "vld1.8 {{d20-d23}}, [r4]!",
        "vpadal.s16 q0, q12",
        "vpadal.s16 q4, q13",
        "vpadal.s16 q1, q14",
        "vpadal.s16 q5, q15",
        "vmull.s8 q12, d16, d20",
        "vmull.s8 q13, d18, d20",
        "vmull.s8 q14, d16, d22",
        "vmull.s8 q15, d18, d22",
        "vmlal.s8 q12, d17, d21",
        "vmlal.s8 q13, d19, d21",
        "vmlal.s8 q14, d17, d23",
        "vmlal.s8 q15, d19, d23",
        "vpadal.s16 q2, q12",
        "vpadal.s16 q6, q13",
        "vpadal.s16 q3, q14",
        "vpadal.s16 q7, q15",
        "3:",
        "subs r5, r5, #1",
        "bpl 2b",
        // The four parts of each sum become one.
        "vpadd.i32 d0, d0, d1",
        "vpadd.i32 d1, d2, d3",
        "vpadd.i32 d2, d4, d5",
        "vpadd.i32 d3, d6, d7",
        "vpadd.i32 d8, d8, d9",
        "vpadd.i32 d9, d10, d11",
        "vpadd.i32 d10, d12, d13",
        "vpadd.i32 d11, d14, d15",
        "vpadd.i32 d0, d0, d1",
        "vpadd.i32 d1, d2, d3",
        "vpadd.i32 d2, d8, d9",
        "vpadd.i32 d3, d10, d11",
        "vld1.32 {{d4-d5}}, [r6]",
        "vadd.i32 q0, q0, q2",
        "vadd.i32 q1, q1, q2",
        "vst1.32 {{d0-d1}}, [r7]",
        "vst1.32 {{d2-d3}}, [r8]",
        "vpop {{d8-d15}}",
        "pop {{r4-r8, pc}}",
    )
}
