//! An int8 product with constant weights, and what is fused around it.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{EvalContext, EvalOp, Op, StaticName, bail, ensure};
use tract_onnx::tract_core::{as_op, not_out_of_plan, op_as_typed_op};

use super::{Patches, concrete, typed_op, values};
use crate::encoder::engine::{AtWork, Engine};
use crate::gemm::{Activation, Epilogue, LayerNorm, PackedWeights, Place, depthwise, product};

/// The constant side of a product, `[n, k]` unless told otherwise.
pub(in crate::encoder) enum Weights {
    /// As the graph has them, while rules are at work.
    Float { values: Vec<f32>, k: usize },
    /// Quantised, ready to run.
    Packed(PackedWeights),
    /// Of a depthwise convolution, `[k, n]`: each channel has its own k, and stays in float.
    Depthwise { values: Vec<f32>, channels: usize },
}

impl Weights {
    /// Output channels and K.
    pub(in crate::encoder) fn shape(&self) -> [usize; 2] {
        match self {
            Self::Float { values, k } => [values.len() / k, *k],
            Self::Packed(packed) => packed.shape(),
            Self::Depthwise { values, channels } => [*channels, values.len() / channels],
        }
    }
}

/// `activation(rows(norm(input)) * weights^T + bias) + residual`, or the residual within the activation. The first input is as many rows of k
/// as it has, or pictures whose patches are the rows; the second, where there is one, is the residual,
/// of as many values as the result.
#[derive(Clone)]
pub(in crate::encoder) struct Product {
    pub(in crate::encoder) engine: Arc<Engine>,
    pub(in crate::encoder) weights: Arc<Weights>,
    /// `[n]`
    pub(in crate::encoder) bias: Arc<[f32]>,
    pub(in crate::encoder) patches: Option<Patches>,
    pub(in crate::encoder) norm: Option<Arc<LayerNorm>>,
    pub(in crate::encoder) activation: Activation,
    pub(in crate::encoder) residual: Option<Place>,
    /// Of the result, whose last values are the channels.
    pub(in crate::encoder) shape: ShapeFact,
}

impl Product {
    /// Multiply-adds for an input of so many values.
    pub(in crate::encoder) fn macs(&self, values: usize) -> usize {
        let [n, k] = self.weights.shape();
        match &self.patches {
            None => values * n,
            Some(patches) => {
                values / patches.picture() * patches.grid.iter().product::<usize>() * n * k
            }
        }
    }

    fn compute(&self, symbols: &SymbolValues, inputs: &[TValue]) -> TractResult<TValue> {
        let (input, [n, k]) = (values(&inputs[0])?, self.weights.shape());
        let (each, rows_of_each) = match &self.patches {
            None => (k, 1),
            Some(patches) => (patches.picture(), patches.grid.iter().product::<usize>()),
        };
        ensure!(input.len().is_multiple_of(each), "whole rows or pictures");
        let count = input.len() / each * rows_of_each;
        let residual = match self.residual {
            Some(place) => Some((values(&inputs[1])?, place)),
            None => None,
        };
        let epilogue = Epilogue { bias: &self.bias, activation: self.activation, residual };
        self.engine.result(&concrete(&self.shape, symbols)?, |out| {
            ensure!(out.len() == count * n, "a product of another size");
            let fits = residual.is_none_or(|(residual, _)| residual.len() == out.len());
            ensure!(fits, "a residual of another size");
            let AtWork { mut workers, mut rows } = self.engine.lock();
            let weights = match (&*self.weights, &self.patches) {
                (Weights::Packed(weights), _) => weights,
                (Weights::Depthwise { values, .. }, Some(patches)) => {
                    let at = |row: usize, tap| {
                        let cell = patches.cell(row % rows_of_each, tap)?;
                        Some(row / rows_of_each * (each / n) + cell)
                    };
                    depthwise(&mut workers, input, values, at, epilogue, out);
                    return Ok(());
                }
                _ => bail!("weights that are not packed"),
            };
            match (&self.norm, &self.patches) {
                (Some(norm), _) => rows.quantise_normed(&mut workers, input, norm),
                (None, None) => rows.quantise(&mut workers, input, k),
                (None, Some(patches)) => {
                    rows.quantise_lines(&mut workers, count, k, |row, line| {
                        let picture = &input[row / rows_of_each * each..][..each];
                        patches.copy(picture, row % rows_of_each, line);
                    });
                }
            }
            product(&mut workers, &rows, weights, epilogue, out);
            Ok(())
        })
    }
}

impl PartialEq for Product {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.weights, &other.weights)
            && self.bias == other.bias
            && self.patches == other.patches
            && self.norm == other.norm
            && self.activation == other.activation
            && self.residual == other.residual
            && self.shape == other.shape
    }
}
impl Eq for Product {}

impl std::fmt::Debug for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [n, k] = self.weights.shape();
        write!(f, "{k} -> {n}")
    }
}

impl Op for Product {
    op_as_typed_op!();

    fn name(&self) -> StaticName {
        match (&*self.weights, &self.patches) {
            (Weights::Depthwise { .. }, _) => "Depthwise",
            (_, Some(_)) => "Int8Convolution",
            (_, None) => "Int8Product",
        }
        .into()
    }
}
typed_op!(Product);
