//! The ops that a lowered tower is made of. Each computes in the order of its last axis and says the
//! shape of its result, which may hold axes of one or be split further: memory is the same.

mod attention;
mod norm;
mod patches;
mod product;

pub(super) use attention::{Attention, Operand};
pub(super) use norm::Norm;
pub(super) use patches::Patches;
pub(super) use product::{Product, Weights};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;

/// What every op says in the same words.
macro_rules! typed_op {
    ($op:ty) => {
        impl EvalOp for $op {
            not_out_of_plan!();

            fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
                Ok(tvec!(self.compute(ctx.symbols, &inputs)?))
            }
        }

        impl TypedOp for $op {
            as_op!();

            fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
                Ok(tvec!(f32::datum_type().fact(self.shape.clone())))
            }
        }
    };
}
use typed_op;

/// A shape whose free sizes have their values.
fn concrete(shape: &ShapeFact, symbols: &SymbolValues) -> TractResult<TVec<usize>> {
    shape.iter().map(|dim| Ok(dim.eval(symbols).to_usize()?)).collect()
}

/// A tensor's values, in order.
fn values(tensor: &TValue) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}
