//! AVX2: `vpmaddwd` on values widened to 16 bits, whose pairs of products are exact in int32.
//!
//! `vpmaddubsw` takes twice as many products, but wants magnitudes and signs apart; with the `vpsignb`
//! that this takes it was the slower way (67 against 80 billion products a second on one Zen 4 core).

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_set1_epi32, _mm256_storeu_si256,
};

use super::layouts::AVX2 as LAYOUT;
use super::{CHUNK, Checked, Kernel, Operands, group_of, prefetch, with_height};

pub(super) static KERNEL: Kernel = Kernel { name: "avx2", layout: LAYOUT, tiles };

fn tiles(operands: Operands) {
    for at in operands.checked(LAYOUT) {
        // SAFETY: available_kernels found the feature; every length was checked.
        unsafe { with_height!(at.height, [1 2 3 4 5 6], tile_of(at)) }
    }
}

/// A group of K: `4 * H` bytes of rows, 32 of columns.
///
/// # Safety
/// The CPU has AVX2; so many bytes are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn step<const H: usize>(sums: &mut [[__m256i; 2]; H], rows: *const i8, columns: *const i8) {
    // SAFETY: see above.
    unsafe {
        let b = [_mm_loadu_si128(columns.cast()), _mm_loadu_si128(columns.add(16).cast())];
        let b = b.map(|b| _mm256_cvtepi8_epi16(b));
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = _mm256_set1_epi32(group_of(rows.add(row * 4)));
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(a, b[0]));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(a, b[1]));
        }
    }
}

/// # Safety
/// The CPU has AVX2; the operands are of this layout and height.
#[target_feature(enable = "avx2")]
unsafe fn tile_of<const H: usize>(at: Checked) {
    let Checked { chunks, mut rows, start, mut columns, soon: (mut soon, ahead), .. } = at;
    let (acc, stride) = (at.sums, at.stride);
    // SAFETY: the operands' lengths bound every access.
    unsafe {
        let from = [_mm256_loadu_si256(start.cast()), _mm256_loadu_si256(start.add(8).cast())];
        let mut sums: [[__m256i; 2]; H] = [from; H];
        for _ in 0..chunks {
            prefetch(soon, ahead);
            soon = soon.wrapping_add(ahead);
            for group in 0..CHUNK / LAYOUT.group {
                step(&mut sums, rows.add(group * 4 * H), columns.add(group * 32));
            }
            rows = rows.add(2 * CHUNK * H);
            columns = columns.add(CHUNK * 16);
        }
        for (row, sums) in sums.iter().enumerate() {
            _mm256_storeu_si256(acc.add(row * stride).cast(), sums[0]);
            _mm256_storeu_si256(acc.add(row * stride + 8).cast(), sums[1]);
        }
    }
}
