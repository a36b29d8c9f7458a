//! Armv8.6 int8 matrix multiply (Cortex-A510, Neoverse V1): SMMLA, a 2 x 2 block over eight of K.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vld1q_dup_s64, vld1q_s8, vreinterpretq_s32_s64, vreinterpretq_s64_s32,
    vst1q_s32, vzip1q_s64, vzip2q_s64,
};
use std::arch::asm;

use super::layouts::I8MM as LAYOUT;
use super::{CHUNK, Checked, Kernel, Operands, with_height};

pub(super) static KERNEL: Kernel = Kernel { name: "i8mm", layout: LAYOUT, tiles };

fn tiles(operands: Operands) {
    for at in operands.checked(LAYOUT) {
        // SAFETY: available_kernels found the feature; every length was checked.
        unsafe { with_height!(at.height / 2, [1 2 3 4 5 6], tile_of(at)) }
    }
}

/// `acc += [2 rows, 8] * [2 columns, 8]^T`, row by row. (The intrinsic is not stable yet.)
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(acc: &mut int32x4_t, rows: int8x16_t, columns: int8x16_t) {
    // SAFETY: register operands only.
    unsafe {
        asm!(
            "smmla {acc:v}.4s, {a:v}.16b, {b:v}.16b",
            acc = inout(vreg) *acc, a = in(vreg) rows, b = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// A group of K: `16 * P` bytes of rows, 64 of columns.
///
/// # Safety
/// The CPU has SMMLA; so many bytes are there.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn step<const P: usize>(
    sums: &mut [[int32x4_t; 4]; P],
    rows: *const i8,
    columns: *const i8,
) {
    // SAFETY: see above.
    unsafe {
        let b: [int8x16_t; 4] = std::array::from_fn(|pair| vld1q_s8(columns.add(16 * pair)));
        for (pair, sums) in sums.iter_mut().enumerate() {
            let a = vld1q_s8(rows.add(16 * pair));
            for (sums, b) in sums.iter_mut().zip(b) {
                smmla(sums, a, b);
            }
        }
    }
}

/// A tile of `2 * P` rows.
///
/// # Safety
/// The CPU has SMMLA; the operands are of this layout and height.
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile_of<const P: usize>(at: Checked) {
    let Checked { chunks, mut rows, start, mut columns, sums: acc, stride, .. } = at;
    // SAFETY: the operands' lengths bound every access.
    unsafe {
        // Both rows of a block begin with the starts of its two columns.
        let from: [int32x4_t; 4] = std::array::from_fn(|pair| {
            vreinterpretq_s32_s64(vld1q_dup_s64(start.cast::<i64>().wrapping_add(pair)))
        });
        let mut sums = [from; P];
        for _ in 0..chunks / 2 {
            // Not as a loop: the compiler would keep it one.
            step(&mut sums, rows, columns);
            step(&mut sums, rows.add(16 * P), columns.add(64));
            step(&mut sums, rows.add(32 * P), columns.add(128));
            step(&mut sums, rows.add(48 * P), columns.add(192));
            rows = rows.add(4 * P * CHUNK);
            columns = columns.add(2 * 8 * CHUNK);
        }
        if chunks % 2 == 1 {
            step(&mut sums, rows, columns);
            step(&mut sums, rows.add(16 * P), columns.add(64));
        }
        for (pair, sums) in sums.into_iter().enumerate() {
            let sums = sums.map(|block| vreinterpretq_s64_s32(block));
            for half in 0..2 {
                let [left, right] = [sums[2 * half], sums[2 * half + 1]];
                let lines = [vzip1q_s64(left, right), vzip2q_s64(left, right)];
                for (row, line) in lines.into_iter().enumerate() {
                    let line = vreinterpretq_s32_s64(line);
                    vst1q_s32(acc.add((2 * pair + row) * stride + 4 * half), line);
                }
            }
        }
    }
}
