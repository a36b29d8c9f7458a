//! Scaled dot-product attention over views of tensors, so that heads need not be moved apart.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike, EvalContext, EvalOp, Op, StaticName, ensure};
use tract_onnx::tract_core::{as_op, not_out_of_plan, op_as_typed_op};

use super::{concrete, typed_op, values};
use crate::encoder::engine::Engine;
use crate::gemm::{AttentionShape, Heads, attention};

/// Where queries, keys or values lie within an input: steps count values, and a head is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::encoder) struct Operand {
    pub(in crate::encoder) input: usize,
    pub(in crate::encoder) start: usize,
    pub(in crate::encoder) batch_step: TDim,
    pub(in crate::encoder) head_step: TDim,
    pub(in crate::encoder) token_step: TDim,
}

/// `softmax(scale q k^T) v`, to `[batch, queries, heads, head_width]`.
#[derive(Clone, Debug)]
pub(in crate::encoder) struct Attention {
    pub(in crate::encoder) engine: Arc<Engine>,
    /// Queries, keys and values.
    pub(in crate::encoder) operands: [Operand; 3],
    pub(in crate::encoder) batch: TDim,
    pub(in crate::encoder) heads: usize,
    pub(in crate::encoder) head_width: usize,
    pub(in crate::encoder) queries: TDim,
    pub(in crate::encoder) keys: TDim,
    pub(in crate::encoder) scale: f32,
    pub(in crate::encoder) is_causal: bool,
    /// Of the result.
    pub(in crate::encoder) shape: ShapeFact,
}

impl Attention {
    /// Multiply-adds; none where sizes are free.
    pub(in crate::encoder) fn macs(&self) -> usize {
        let sizes =
            [&self.batch, &self.queries, &self.keys].map(|size| size.to_usize().unwrap_or(0));
        2 * sizes.iter().product::<usize>() * self.heads * self.head_width
    }

    fn compute(&self, symbols: &SymbolValues, inputs: &[TValue]) -> TractResult<TValue> {
        let size = |dim: &TDim| dim.eval(symbols).to_usize();
        let shape = AttentionShape {
            heads: self.heads,
            head_width: self.head_width,
            queries: size(&self.queries)?,
            keys: size(&self.keys)?,
            scale: self.scale,
            is_causal: self.is_causal,
        };
        let batch = size(&self.batch)?;
        let operand = |at: usize, tokens: usize| -> TractResult<(&[f32], [usize; 3])> {
            let Operand { input, start, batch_step, head_step, token_step } = &self.operands[at];
            let steps = [size(batch_step)?, size(head_step)?, size(token_step)?];
            let values = values(&inputs[*input])?;
            let last =
                [batch, self.heads, tokens].iter().zip(steps).try_fold(*start, |end, (n, step)| {
                    n.checked_sub(1)?.checked_mul(step)?.checked_add(end)
                });
            let fits = last.and_then(|last| last.checked_add(self.head_width));
            ensure!(fits.is_some_and(|end| end <= values.len()), "an operand beyond its tensor");
            Ok((&values[*start..], steps))
        };
        let (queries, keys) = (shape.queries, shape.keys);
        let operands = [operand(0, queries)?, operand(1, keys)?, operand(2, keys)?];
        self.engine.result(&concrete(&self.shape, symbols)?, |out| {
            let each = shape.queries * self.heads * self.head_width;
            ensure!(out.len() == batch * each && each > 0, "an attention of another size");
            let mut at_work = self.engine.lock();
            for (number, out) in out.chunks_exact_mut(each).enumerate() {
                let heads = operands.map(|(values, [batch_step, head_stride, token_stride])| {
                    Heads { values: &values[number * batch_step..], head_stride, token_stride }
                });
                attention(&mut at_work.workers, shape, heads, out);
            }
            Ok(())
        })
    }
}

impl PartialEq for Attention {
    fn eq(&self, other: &Self) -> bool {
        self.operands == other.operands
            && self.shape == other.shape
            && [&self.batch, &self.queries, &self.keys]
                == [&other.batch, &other.queries, &other.keys]
            && self.head_width == other.head_width
            && (self.heads, self.is_causal, self.scale.to_bits())
                == (other.heads, other.is_causal, other.scale.to_bits())
    }
}
impl Eq for Attention {}

impl Op for Attention {
    op_as_typed_op!();

    fn name(&self) -> StaticName {
        "Attention".into()
    }
}
typed_op!(Attention);
