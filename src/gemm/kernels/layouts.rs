//! How each kernel wants its operands, on every CPU: weights can be packed for another one's kernel.

/// Rows and columns of tiles, and the order of their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Most rows of a tile.
    pub(in crate::gemm) mr: usize,
    /// Heights of tiles are multiples of this.
    pub(in crate::gemm) mr_step: usize,
    /// Columns of a tile, the width of a weight panel.
    pub(in crate::gemm) nr: usize,
    /// Neighbours in K that stay together in a panel: a panel of `r` rows is `[k / group][r][group]`.
    pub(in crate::gemm) group: usize,
    /// How the rows' values are stored; weights are always int8.
    pub(in crate::gemm) rows: Stored,
}

/// The values of rows within their panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gemm) enum Stored {
    /// As they are.
    Int8,
    /// With 128 added; the starts of weight panels take it away again.
    Uint8,
    /// As int16, least significant byte first.
    Int16,
}

impl Stored {
    pub(in crate::gemm) fn bytes(self) -> usize {
        if self == Self::Int16 { 2 } else { 1 }
    }
}

/// Two vectors of 16 columns; twelve rows of them keep 24 of the 32 registers as accumulators.
pub(super) const AVX512VNNI: Layout =
    Layout { mr: 12, mr_step: 1, nr: 32, group: 4, rows: Stored::Uint8 };
/// Two vectors of 8 columns; six rows of them keep 12 of the 16 registers as accumulators.
pub(super) const AVX2: Layout = Layout { mr: 6, mr_step: 1, nr: 16, group: 2, rows: Stored::Int16 };
/// Four pairs of columns; six pairs of rows keep 24 of the 32 registers as accumulators.
pub(super) const I8MM: Layout = Layout { mr: 12, mr_step: 2, nr: 8, group: 8, rows: Stored::Int8 };
/// Two vectors of 4 columns; twelve rows of them keep 24 of the 32 registers as accumulators.
pub(super) const DOTPROD: Layout =
    Layout { mr: 12, mr_step: 1, nr: 8, group: 4, rows: Stored::Int8 };
/// Each accumulator holds four partial sums of one element: 16 of the 32 registers.
pub(super) const NEON: Layout = Layout { mr: 4, mr_step: 1, nr: 4, group: 16, rows: Stored::Int8 };
pub(super) const SCALAR: Layout = Layout { mr: 4, mr_step: 1, nr: 4, group: 4, rows: Stored::Int8 };

/// Every kernel's layout, by its name.
const ALL: [(&str, Layout); 6] = [
    ("avx512vnni", AVX512VNNI),
    ("avx2", AVX2),
    ("i8mm", I8MM),
    ("dotprod", DOTPROD),
    ("neon", NEON),
    ("scalar", SCALAR),
];

impl Layout {
    /// The layout of a kernel, which this CPU need not have.
    #[must_use]
    pub fn of_kernel(name: &str) -> Option<Self> {
        ALL.iter().find(|(known, _)| *known == name).map(|(_, layout)| *layout)
    }

    /// The names of all kernels.
    pub fn kernels() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, _)| *name)
    }
}
