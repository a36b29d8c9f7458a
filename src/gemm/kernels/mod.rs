//! The tiles: `rows x nr` blocks of an int8 product, one implementation for each kind of CPU.
//!
//! Every kernel gives the same int32 bits for the same bytes. The scalar one says what they are.
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, unused_imports, unused_macros, reason = "fewer kernels use them")
)]
#![allow(unsafe_code)]

mod layouts;
mod scalar;

pub use layouts::Layout;
pub(super) use layouts::Stored;

#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(all(target_arch = "arm", target_os = "linux"))]
mod neon32;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;

/// Bytes of K are padded to whole chunks, in panels of both sides.
pub(super) const CHUNK: usize = 16;

/// One way to compute tiles. Only [`available_kernels`] hands kernels out: to hold one is to know
/// that this CPU can execute it.
pub struct Kernel {
    name: &'static str,
    layout: Layout,
    tiles: fn(Operands),
}

impl Kernel {
    /// A name for people, and to choose it by: `avx512vnni`, `avx2`, `i8mm`, `dotprod`, `neon` or `scalar`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How it wants its operands.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Computes tiles side by side: `sums[r * stride + c] = start[c] + sum over k of rows[r, k] * columns[c, k]`.
    pub(super) fn tiles(&self, operands: Operands) {
        (self.tiles)(operands);
    }
}

/// The operands of tiles side by side.
pub(super) struct Operands<'a> {
    /// Rows of the tiles.
    pub(super) height: usize,
    /// A panel of so many rows.
    pub(super) rows: &'a [i8],
    /// `[nr]` for each tile.
    pub(super) starts: &'a [i32],
    /// A panel of `nr` columns for each tile.
    pub(super) columns: &'a [i8],
    /// Bytes that are needed soon. A kernel asks for them as it goes along, so that they are in the cache
    /// by then, where it knows that the CPU does not see to that by itself.
    pub(super) soon: &'a [i8],
    /// Where the tiles go, a line of all their columns every `stride`.
    pub(super) sums: &'a mut [i32],
    pub(super) stride: usize,
}

/// One tile's operands, whose lengths fit each other and a layout.
#[derive(Clone, Copy)]
struct Checked {
    height: usize,
    /// Chunks of K.
    chunks: usize,
    rows: *const i8,
    start: *const i32,
    columns: *const i8,
    /// The bytes that are needed soon, and how many of them to ask for with each chunk.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "Arm's CPUs see to it"))]
    soon: (*const i8, usize),
    sums: *mut i32,
    stride: usize,
}

impl Operands<'_> {
    /// The tiles, one by one. Panics where the lengths don't fit; every kernel's reads and writes rest on it.
    #[inline]
    fn checked(self, layout: Layout) -> impl Iterator<Item = Checked> {
        let Self { height, rows, starts, columns, soon, sums, stride } = self;
        let Layout { mr, mr_step, nr, .. } = layout;
        let tiles = starts.len() / nr;
        assert!((1..=mr).contains(&height) && height.is_multiple_of(mr_step), "tile height");
        assert!(tiles > 0 && starts.len() == tiles * nr, "a start for each column");
        let chunks = columns.len() / (starts.len() * CHUNK);
        assert_eq!(columns.len(), chunks * starts.len() * CHUNK, "whole chunks of columns");
        assert_eq!(rows.len(), chunks * height * CHUNK * layout.rows.bytes(), "as many of rows");
        let room = stride >= starts.len() && sums.len() >= (height - 1) * stride + starts.len();
        assert!(room, "room for the tiles");
        let ahead = soon.len().div_ceil(tiles * chunks.max(1));
        let [rows, columns, soon] = [rows.as_ptr(), columns.as_ptr(), soon.as_ptr()];
        let (start, sums) = (starts.as_ptr(), sums.as_mut_ptr());
        (0..tiles).map(move |tile| Checked {
            height,
            chunks,
            rows,
            start: start.wrapping_add(tile * nr),
            columns: columns.wrapping_add(tile * nr * chunks * CHUNK),
            soon: (soon.wrapping_add(tile * chunks * ahead), ahead),
            sums: sums.wrapping_add(tile * nr),
            stride,
        })
    }
}

/// The kernels that this CPU can execute, the fastest first. The one list for dispatch, tests and
/// benchmarks; the scalar kernel is always its last.
#[must_use]
pub fn available_kernels() -> Vec<&'static Kernel> {
    let mut kernels: Vec<&'static Kernel> = Vec::new();
    #[cfg(target_arch = "aarch64")]
    {
        if std::arch::is_aarch64_feature_detected!("i8mm") {
            kernels.push(&i8mm::KERNEL);
        }
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            kernels.push(&dotprod::KERNEL);
        }
        kernels.push(&neon::KERNEL);
    }
    #[cfg(all(target_arch = "arm", target_os = "linux"))]
    if neon32::is_here() {
        kernels.push(&neon32::KERNEL);
    }
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            kernels.push(&avx512vnni::KERNEL);
        }
        if is_x86_feature_detected!("avx2") {
            kernels.push(&avx2::KERNEL);
        }
    }
    kernels.push(&scalar::KERNEL);
    kernels
}

/// Four bytes of a panel, to be repeated along a vector.
///
/// # Safety
/// So many bytes are there.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn group_of(bytes: *const i8) -> i32 {
    // SAFETY: see above; bytes have no alignment to keep.
    i32::from_ne_bytes(unsafe { bytes.cast::<[u8; 4]>().read() })
}

/// Asks for the lines of the cache that hold some bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch(from: *const i8, bytes: usize) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    /// Bytes of a line.
    const LINE: usize = 64;
    for at in (0..bytes).step_by(LINE) {
        // SAFETY: a prefetch faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(at)) };
    }
}

/// Calls a tile function that is generic over its height with the height as a constant.
macro_rules! with_height {
    ($height:expr, [$($constant:literal)*], $function:ident $arguments:tt) => {
        match $height {
            $($constant => $function::<$constant> $arguments,)*
            height => unreachable!("tile height {height}"),
        }
    };
}
use with_height;

/// Defines a function over slices that is compiled for wide vectors as well, and called so where
/// the CPU has them. On `AArch64` the one version has NEON anyway. It brings its `unsafe` along.
macro_rules! vectorised {
    ($(#[$doc:meta])* $scope:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        $scope fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                #[target_feature(enable = "avx512f,avx512vl")]
                fn widest($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                    // SAFETY: the CPU has the features.
                    #[allow(unsafe_code)]
                    return unsafe { widest($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the CPU has the features.
                    #[allow(unsafe_code)]
                    return unsafe { wide($($argument),*) };
                }
            }
            body($($argument),*)
        }
    };
}
pub(crate) use vectorised;
