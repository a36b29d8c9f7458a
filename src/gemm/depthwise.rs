//! Depthwise convolution in float: each channel by itself, channels last.

use super::floats::{add, add_products};
use super::{Epilogue, Place, Workers};

/// Cells of the result that a task computes.
const CELLS: usize = 8;

/// For each cell of the result, the sum over the taps of a window of `picture` times `weights`, with its
/// epilogue, into `out`, `[cells, channels]`. `weights` are `[taps, channels]`; `at` tells which cell of the
/// picture a cell's tap is on, and none where that is beyond its edge.
///
/// # Panics
/// Where a length does not fit the channels, of which there are as many as the epilogue's bias has, or a
/// tap is on no cell of the picture.
pub fn depthwise(
    workers: &mut Workers,
    picture: &[f32],
    weights: &[f32],
    at: impl Fn(usize, usize) -> Option<usize> + Sync,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    let Epilogue { bias, activation, residual } = epilogue;
    let channels = bias.len();
    assert!(channels > 0 && weights.len().is_multiple_of(channels), "whole taps");
    assert!(out.len().is_multiple_of(channels), "whole cells");
    assert!(
        residual.is_none_or(|(residual, _)| residual.len() == out.len()),
        "a residual for each"
    );
    if out.is_empty() {
        return;
    }
    workers.run_on_columns(out, out.len(), CELLS * channels, |task, mut block| {
        for (cell, out) in block.row(0).chunks_exact_mut(channels).enumerate() {
            let cell = task * CELLS + cell;
            out.copy_from_slice(bias);
            for (tap, weights) in weights.chunks_exact(channels).enumerate() {
                if let Some(at) = at(cell, tap) {
                    add_products(&picture[at * channels..][..channels], weights, out);
                }
            }
            let residual =
                residual.map(|(all, place)| (&all[cell * channels..][..channels], place));
            if let Some((residual, Place::BeforeActivation)) = residual {
                add(residual, out);
            }
            activation.apply(out);
            if let Some((residual, Place::AfterActivation)) = residual {
                add(residual, out);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Activation;

    #[test]
    fn a_cell_is_the_sum_over_its_window() {
        // A row of 20 cells of 3 channels, a window of 3 cells around each.
        let value = |at: usize, step: usize| (at * step % 17) as f32 - 8.0;
        let picture: Vec<f32> = (0..60).map(|at| value(at, 5)).collect();
        let weights: Vec<f32> = (0..9).map(|at| value(at, 7)).collect();
        let residual: Vec<f32> = (0..60).map(|at| value(at, 11)).collect();
        let bias = [1.0, -2.0, 0.5];
        let at = |cell: usize, tap: usize| (cell + tap).checked_sub(1).filter(|at| *at < 20);
        for (threads, place) in [(1, Place::BeforeActivation), (3, Place::AfterActivation)] {
            let mut out = vec![f32::NAN; 60];
            let added = Some((&*residual, place));
            let epilogue = Epilogue { bias: &bias, activation: Activation::Relu, residual: added };
            let mut workers = Workers::start(threads).unwrap();
            depthwise(&mut workers, &picture, &weights, at, epilogue, &mut out);
            for (index, out) in out.iter().enumerate() {
                let (cell, channel) = (index / 3, index % 3);
                let taps = (0..3).filter_map(|tap| Some((tap, at(cell, tap)?)));
                let product = |(tap, at): (usize, usize)| {
                    picture[at * 3 + channel] * weights[tap * 3 + channel]
                };
                let sum = bias[channel] + taps.map(product).sum::<f32>();
                let more = residual[index];
                let wanted = match place {
                    Place::BeforeActivation => (sum + more).max(0.0),
                    Place::AfterActivation => sum.max(0.0) + more,
                };
                assert!((out - wanted).abs() < 1e-4, "{index}: {out}, not {wanted}");
            }
        }
    }
}
