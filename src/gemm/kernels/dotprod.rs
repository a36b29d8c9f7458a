//! Armv8.2 dot product (Cortex-A55, A76): SDOT, four products to each int32 lane.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vdupq_n_s32, vld1q_s8, vld1q_s32, vreinterpretq_s8_s32, vst1q_s32,
};
use std::arch::asm;

use super::layouts::DOTPROD as LAYOUT;
use super::{CHUNK, Checked, Kernel, Operands, group_of, with_height};

pub(super) static KERNEL: Kernel = Kernel { name: "dotprod", layout: LAYOUT, tile };

fn tile(operands: Operands) {
    let at = operands.checked(LAYOUT);
    // SAFETY: available_kernels found the feature; every length was checked.
    unsafe { with_height!(at.height, [1 2 3 4 5 6 7 8 9 10 11 12], tile_of(at)) }
}

/// `acc[i] += the four bytes of group i of b * group LANE of a`. (The intrinsic is not stable yet.)
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(acc: &mut int32x4_t, b: int8x16_t, a: int8x16_t) {
    // SAFETY: register operands only.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {b:v}.16b, {a:v}.4b[{lane}]",
            acc = inout(vreg) *acc, b = in(vreg) b, a = in(vreg) a, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// Both halves of a row of the tile.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn row<const LANE: usize>(sums: &mut [int32x4_t; 2], b: [int8x16_t; 2], a: int8x16_t) {
    sdot::<LANE>(&mut sums[0], b[0], a);
    sdot::<LANE>(&mut sums[1], b[1], a);
}

/// A group of K: `4 * H` bytes of rows, 32 of columns.
///
/// # Safety
/// The CPU has SDOT; so many bytes are there.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn step<const H: usize>(
    sums: &mut [[int32x4_t; 2]; H],
    rows: *const i8,
    columns: *const i8,
) {
    // SAFETY: see above; rows of fewer than 16 bytes are read one by one.
    unsafe {
        let b = [vld1q_s8(columns), vld1q_s8(columns.add(16))];
        if H < 4 {
            for (at, sums) in sums.iter_mut().enumerate() {
                let group = group_of(rows.add(at * 4));
                row::<0>(sums, b, vreinterpretq_s8_s32(vdupq_n_s32(group)));
            }
            return;
        }
        for quad in 0..H / 4 {
            let a = vld1q_s8(rows.add(16 * quad));
            row::<0>(&mut sums[4 * quad], b, a);
            row::<1>(&mut sums[4 * quad + 1], b, a);
            row::<2>(&mut sums[4 * quad + 2], b, a);
            row::<3>(&mut sums[4 * quad + 3], b, a);
        }
        // The rows that are left are the last lanes of the last 16 bytes.
        let a = vld1q_s8(rows.add(4 * H - 16));
        if H % 4 > 2 {
            row::<1>(&mut sums[H - 3], b, a);
        }
        if H % 4 > 1 {
            row::<2>(&mut sums[H - 2], b, a);
        }
        if H % 4 > 0 {
            row::<3>(&mut sums[H - 1], b, a);
        }
    }
}

/// # Safety
/// The CPU has SDOT; the operands are of this layout and height.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile_of<const H: usize>(at: Checked) {
    let Checked { chunks, mut rows, start, mut columns, sums: acc, stride, .. } = at;
    // SAFETY: the operands' lengths bound every access.
    unsafe {
        let mut sums = [[vld1q_s32(start), vld1q_s32(start.add(4))]; H];
        for _ in 0..chunks {
            // Not as a loop: the compiler would keep it one.
            step(&mut sums, rows, columns);
            step(&mut sums, rows.add(4 * H), columns.add(32));
            step(&mut sums, rows.add(8 * H), columns.add(64));
            step(&mut sums, rows.add(12 * H), columns.add(96));
            rows = rows.add(CHUNK * H);
            columns = columns.add(CHUNK * 8);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            vst1q_s32(acc.add(row * stride), sums[0]);
            vst1q_s32(acc.add(row * stride + 4), sums[1]);
        }
    }
}
