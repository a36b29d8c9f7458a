//! AVX-512 VNNI: `vpdpbusd` multiplies unsigned by signed bytes, four at a time, into int32.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_storeu_si512,
};

use super::layouts::AVX512VNNI as LAYOUT;
use super::{CHUNK, Checked, Kernel, Operands, group_of, prefetch, with_height};

pub(super) static KERNEL: Kernel = Kernel { name: "avx512vnni", layout: LAYOUT, tiles };

fn tiles(operands: Operands) {
    for at in operands.checked(LAYOUT) {
        // SAFETY: available_kernels found the features; every length was checked.
        unsafe { with_height!(at.height, [1 2 3 4 5 6 7 8 9 10 11 12], tile_of(at)) }
    }
}

/// A group of K: `4 * H` bytes of rows, 128 of columns.
///
/// # Safety
/// The CPU has the features; so many bytes are there.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn step<const H: usize>(sums: &mut [[__m512i; 2]; H], rows: *const i8, columns: *const i8) {
    // SAFETY: see above.
    unsafe {
        let b = [_mm512_loadu_si512(columns.cast()), _mm512_loadu_si512(columns.add(64).cast())];
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = _mm512_set1_epi32(group_of(rows.add(row * 4)));
            sums[0] = _mm512_dpbusd_epi32(sums[0], a, b[0]);
            sums[1] = _mm512_dpbusd_epi32(sums[1], a, b[1]);
        }
    }
}

/// # Safety
/// The CPU has the features; the operands are of this layout and height.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile_of<const H: usize>(at: Checked) {
    let Checked { chunks, mut rows, start, mut columns, soon: (mut soon, ahead), .. } = at;
    let (acc, stride) = (at.sums, at.stride);
    // SAFETY: the operands' lengths bound every access.
    unsafe {
        let from: [__m512i; 2] =
            [_mm512_loadu_si512(start.cast()), _mm512_loadu_si512(start.add(16).cast())];
        let mut sums = [from; H];
        for _ in 0..chunks {
            prefetch(soon, ahead);
            soon = soon.wrapping_add(ahead);
            // Not as a loop: the compiler would keep it one.
            step(&mut sums, rows, columns);
            step(&mut sums, rows.add(4 * H), columns.add(128));
            step(&mut sums, rows.add(8 * H), columns.add(256));
            step(&mut sums, rows.add(12 * H), columns.add(384));
            rows = rows.add(CHUNK * H);
            columns = columns.add(CHUNK * 32);
        }
        for (row, sums) in sums.iter().enumerate() {
            _mm512_storeu_si512(acc.add(row * stride).cast(), sums[0]);
            _mm512_storeu_si512(acc.add(row * stride + 16).cast(), sums[1]);
        }
    }
}
