//! Products of int8 matrices, `[m, k] * [n, k]^T`, and the float arithmetic between them.
//!
//! Activations are quantised row by row when they come, weights channel by channel beforehand, both
//! symmetrically to -127..=127. Sums are exact int32, the same bits from every [`Kernel`]; on the
//! way out they are scaled to float, and bias, activation and residual are applied.

mod attention;
mod depthwise;
mod floats;
mod kernels;
mod norm;
mod pack;
mod workers;

pub use attention::{AttentionShape, Heads, attention};
pub use depthwise::depthwise;
pub use floats::Activation;
pub(crate) use kernels::vectorised;
pub use kernels::{Kernel, Layout, available_kernels};
pub use norm::LayerNorm;
pub use pack::{INT8_MAX, K_MAX, PackedRows, PackedWeights, Panels};
pub use workers::Workers;

use serde::{Deserialize, Serialize};

use floats::add;
use kernels::Operands;
use pack::Tile;

/// Most and fewest columns that a task computes before it finishes their lines: enough to make the
/// finish cheap.
const BLOCK_MAX: usize = 128;
const BLOCK_MIN: usize = 64;
/// Bytes of weights that a task reads again for each tile of rows, and that should stay in a core's own cache.
const BLOCK_BYTES: usize = 128 * 1024;
/// Most rows of a tile, over all kernels.
const MR_MAX: usize = 12;
/// Tasks for each thread: so many that one that was held up costs the others little.
const TASKS_PER_THREAD: usize = 4;

/// Why a kernel can't be had.
#[derive(Debug, thiserror::Error)]
#[error("this CPU has no kernel '{wanted}'; it has {available}")]
pub struct NoKernel {
    wanted: String,
    available: String,
}

/// The fastest kernel of this CPU, or the one of that name if the CPU has it.
///
/// # Errors
/// [`NoKernel`], with the names that there are.
pub fn choose_kernel(name: Option<&str>) -> Result<&'static Kernel, NoKernel> {
    let kernels = available_kernels();
    let chosen = kernels.iter().find(|kernel| name.is_none_or(|name| name == kernel.name()));
    chosen.copied().ok_or_else(|| NoKernel {
        wanted: name.unwrap_or_default().to_owned(),
        available: kernels.iter().map(|kernel| kernel.name()).collect::<Vec<_>>().join(", "),
    })
}

/// What happens to a product's sums on their way out: `sum * row scale * channel scale + bias`, and
/// then activation and residual in the order that is asked for.
#[derive(Clone, Copy)]
pub struct Epilogue<'a> {
    /// `[n]`
    pub bias: &'a [f32],
    /// Applied to each value.
    pub activation: Activation,
    /// `[m, n]`, and when it is added.
    pub residual: Option<(&'a [f32], Place)>,
}

/// When a residual is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Before the activation, as residual networks do.
    BeforeActivation,
    /// After it, as transformers do.
    AfterActivation,
}

/// `rows * weights^T` with its epilogue, into `out`, `[m, n]`.
///
/// # Panics
/// Where the operands were packed for different kernels, or a size differs from what they say.
pub fn product(
    workers: &mut Workers,
    rows: &PackedRows,
    weights: &PackedWeights,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    let ([m, _], [n, _]) = (rows.shape(), weights.shape());
    assert_eq!(epilogue.bias.len(), n, "a bias for each channel");
    assert!(
        epilogue.residual.is_none_or(|(residual, _)| residual.len() == m * n),
        "a residual for each element"
    );
    for_each_row(workers, rows, weights, out, |row, first, sums, out| {
        let Epilogue { bias, activation, residual } = epilogue;
        let columns = first..first + out.len();
        let by_column = [&weights.scales()[columns.clone()], &bias[columns.clone()]];
        let row_scale = rows.scales()[row];
        let residual = residual.map(|(values, place)| (&values[row * n..][columns], place));
        if let Some((residual, Place::BeforeActivation)) = residual {
            Activation::None.of_sums(sums, row_scale, by_column, out);
            add(residual, out);
            activation.apply(out);
        } else {
            activation.of_sums(sums, row_scale, by_column, out);
        }
        if let Some((residual, Place::AfterActivation)) = residual {
            add(residual, out);
        }
    });
}

/// The bare sums of a product, into `out`, `[m, n]`.
///
/// # Panics
/// As [`product`].
pub fn product_int32(
    workers: &mut Workers,
    rows: &PackedRows,
    weights: &PackedWeights,
    out: &mut [i32],
) {
    for_each_row(workers, rows, weights, out, |_, _, sums, out| out.copy_from_slice(sums));
}

/// Computes all tiles, and has `finish` write each row of each block of columns: its row, its first
/// column, its sums, and where they go.
fn for_each_row<T: Send>(
    workers: &mut Workers,
    rows: &PackedRows,
    weights: &PackedWeights,
    out: &mut [T],
    finish: impl Fn(usize, usize, &[i32], &mut [T]) + Sync,
) {
    let ([m, k], [n, weights_k], kernel) = (rows.shape(), weights.shape(), rows.kernel());
    assert_eq!(kernel.layout(), weights.layout(), "operands packed for one kernel");
    assert_eq!(k, weights_k, "one K");
    assert_eq!(out.len(), m * n, "room for the product");
    if m == 0 || n == 0 {
        return;
    }
    let nr = kernel.layout().nr;
    let widest = (BLOCK_BYTES / k).clamp(BLOCK_MIN, BLOCK_MAX);
    let width = (n / (workers.threads() * TASKS_PER_THREAD)).clamp(1, widest).next_multiple_of(nr);
    workers.run_on_columns(out, n, width, |task, mut block| {
        let mut sums = [0; MR_MAX * BLOCK_MAX];
        let columns = task * width..(task * width + width).min(n);
        let (starts, panels) = weights.block(columns.clone());
        // The next block's weights are asked for in even shares.
        let (_, mut later) = weights.block(columns.end..(columns.end + width).min(n));
        let share = later.len().div_ceil(rows.tiles().count());
        for (Tile { first, height }, rows) in rows.tiles() {
            let (soon, rest) = later.split_at(share.min(later.len()));
            later = rest;
            let (columns, sums) = (columns.clone(), &mut sums);
            let stride = width;
            kernel.tiles(Operands { height, rows, starts, columns: panels, soon, sums, stride });
            for (row, sums) in (first..m).zip(sums.chunks_exact(width)).take(height) {
                finish(row, columns.start, &sums[..columns.len()], block.row(row));
            }
        }
    });
}
