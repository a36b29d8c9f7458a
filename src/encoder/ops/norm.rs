//! Layer normalisation over the last axis, where no product takes it in.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{EvalContext, EvalOp, Op, StaticName, ensure};
use tract_onnx::tract_core::{as_op, not_out_of_plan, op_as_typed_op};

use super::{concrete, typed_op, values};
use crate::encoder::engine::Engine;
use crate::gemm::LayerNorm;

/// `[.., width]` to `[.., width]`.
#[derive(Clone, Debug)]
pub(in crate::encoder) struct Norm {
    pub(in crate::encoder) engine: Arc<Engine>,
    pub(in crate::encoder) constants: Arc<LayerNorm>,
    /// Of the result.
    pub(in crate::encoder) shape: ShapeFact,
}

impl PartialEq for Norm {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.constants, &other.constants) && self.shape == other.shape
    }
}
impl Eq for Norm {}

impl Norm {
    fn compute(&self, symbols: &SymbolValues, inputs: &[TValue]) -> TractResult<TValue> {
        let width = self.constants.width();
        let input = values(&inputs[0])?;
        self.engine.result(&concrete(&self.shape, symbols)?, |out| {
            ensure!(input.len() == out.len() && input.len().is_multiple_of(width), "whole rows");
            for (row, out) in input.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                self.constants.apply(row, out);
            }
            Ok(())
        })
    }
}

impl Op for Norm {
    op_as_typed_op!();

    fn name(&self) -> StaticName {
        "LayerNorm".into()
    }
}
typed_op!(Norm);
