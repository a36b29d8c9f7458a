//! Armv8.0 NEON without dot product (Cortex-A53, A72): SMULL, SMLAL2, SADALP.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vdupq_n_s32, vget_low_s8, vld1q_s8, vld1q_s32, vmlal_high_s8,
    vmull_s8, vpadalq_s16, vpaddq_s32, vst1q_s32,
};

use super::layouts::NEON as LAYOUT;
use super::{CHUNK, Checked, Kernel, Operands, with_height};

pub(super) static KERNEL: Kernel = Kernel { name: "neon", layout: LAYOUT, tiles };

fn tiles(operands: Operands) {
    for at in operands.checked(LAYOUT) {
        // SAFETY: every AArch64 CPU has NEON; every length was checked.
        unsafe { with_height!(at.height, [1 2 3 4], tile_of(at)) }
    }
}

/// # Safety
/// A chunk of both sides is there.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn chunk<const H: usize>(
    sums: &mut [[int32x4_t; 4]; H],
    rows: *const i8,
    columns: *const i8,
) {
    // SAFETY: see above.
    unsafe {
        let a: [int8x16_t; H] = std::array::from_fn(|row| vld1q_s8(rows.add(row * CHUNK)));
        for column in 0..4 {
            let b = vld1q_s8(columns.add(column * CHUNK));
            // Step by step for all rows: an in-order core finds independent work behind each step.
            // Two products of at most 127 * 127 fit 16 bits.
            let low = a.map(|a| vmull_s8(vget_low_s8(a), vget_low_s8(b)));
            let both: [_; H] = std::array::from_fn(|row| vmlal_high_s8(low[row], a[row], b));
            for row in 0..H {
                sums[row][column] = vpadalq_s16(sums[row][column], both[row]);
            }
        }
    }
}

/// # Safety
/// The operands are of this layout and height.
#[target_feature(enable = "neon")]
unsafe fn tile_of<const H: usize>(at: Checked) {
    let Checked { chunks, mut rows, start, mut columns, sums: acc, stride, .. } = at;
    // SAFETY: the operands' lengths bound every access.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; H];
        for _ in 0..chunks / 2 {
            chunk(&mut sums, rows, columns);
            chunk(&mut sums, rows.add(H * CHUNK), columns.add(4 * CHUNK));
            rows = rows.add(2 * H * CHUNK);
            columns = columns.add(2 * 4 * CHUNK);
        }
        if chunks % 2 == 1 {
            chunk(&mut sums, rows, columns);
        }
        let start = vld1q_s32(start);
        for (row, [a, b, c, d]) in sums.into_iter().enumerate() {
            let line: int32x4_t = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
            vst1q_s32(acc.add(row * stride), vaddq_s32(line, start));
        }
    }
}
