//! Armv8.2 dot product (Cortex-A55, A76): SDOT, four products to each int32 lane.

use std::arch::aarch64::{int8x16_t, int32x4_t, vld1q_s8, vld1q_s32, vst1q_s32};
use std::arch::asm;

use super::layouts::DOTPROD as LAYOUT;
use super::{CHUNK, Checked, Kernel, Operands, with_height};

pub(super) static KERNEL: Kernel = Kernel { name: "dotprod", layout: LAYOUT, tiles };

fn tiles(operands: Operands) {
    for at in operands.checked(LAYOUT) {
        // SAFETY: available_kernels found the feature; every length was checked.
        unsafe { with_height!(at.height, [1 2 3 4 5 6 7 8 9 10 11 12], tile_of(at)) }
    }
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

/// Group `G` of a chunk of K.
///
/// # Safety
/// The CPU has SDOT; a chunk of both sides is there.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn step<const H: usize, const G: usize>(
    sums: &mut [[int32x4_t; 2]; H],
    rows: *const i8,
    columns: *const i8,
) {
    // Not as a loop: the compiler would keep it one.
    macro_rules! rows {
        ($($row:literal)*) => {
            // SAFETY: see above; a chunk of rows is H times 16 bytes, and each is loaded once.
            unsafe {
                let b = [vld1q_s8(columns.add(32 * G)), vld1q_s8(columns.add(32 * G + 16))];
                $(if $row < H {
                    let a = vld1q_s8(rows.add((G * H + $row) / 4 * 16));
                    match (G * H + $row) % 4 {
                        0 => row::<0>(&mut sums[$row], b, a),
                        1 => row::<1>(&mut sums[$row], b, a),
                        2 => row::<2>(&mut sums[$row], b, a),
                        _ => row::<3>(&mut sums[$row], b, a),
                    }
                })*
            }
        };
    }
    rows!(0 1 2 3 4 5 6 7 8 9 10 11);
}

/// # Safety
/// The CPU has SDOT; a chunk of both sides is there.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn chunk<const H: usize>(
    sums: &mut [[int32x4_t; 2]; H],
    rows: *const i8,
    columns: *const i8,
) {
    // SAFETY: see above.
    unsafe {
        step::<H, 0>(sums, rows, columns);
        step::<H, 1>(sums, rows, columns);
        step::<H, 2>(sums, rows, columns);
        step::<H, 3>(sums, rows, columns);
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
        for _ in 0..chunks / 2 {
            chunk(&mut sums, rows, columns);
            chunk(&mut sums, rows.add(CHUNK * H), columns.add(CHUNK * 8));
            rows = rows.add(2 * CHUNK * H);
            columns = columns.add(2 * CHUNK * 8);
        }
        if chunks % 2 == 1 {
            chunk(&mut sums, rows, columns);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            vst1q_s32(acc.add(row * stride), sums[0]);
            vst1q_s32(acc.add(row * stride + 4), sums[1]);
        }
    }
}
