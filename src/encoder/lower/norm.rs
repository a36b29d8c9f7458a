//! Layer norms, and products that take them in.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::math::{Add, Mul, Sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm};

use super::axes::reorder;
use super::{Change, Lowering, constant, only_successor, replace, uniform};
use crate::encoder::ops::{Norm, Product};
use crate::gemm::LayerNorm;

/// `(x - mean) / sqrt(variance + epsilon) * gain + bias`, anchored at the division.
pub(super) fn lower(
    ctx: &Lowering,
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &RmsNorm,
) -> Change {
    let Some(x) = centred(model, node.inputs[0], op.axis)? else { return Ok(None) };
    let fact = model.outlet_fact(x)?;
    let (Ok(width), true) = (fact.shape[op.axis].to_usize(), fact.datum_type == f32::datum_type())
    else {
        return Ok(None);
    };
    let (mut last, mut gain, mut bias) = (node, vec![1.0; width], vec![0.0; width]);
    if let Some((next, values)) = along::<Mul>(model, last, op.axis)? {
        (last, gain) = (next, values);
    }
    if let Some((next, values)) = along::<Add>(model, last, op.axis)? {
        (last, bias) = (next, values);
    }
    let norm = Arc::new(LayerNorm::new(gain, bias, op.eps.cast_to_scalar::<f32>()?));

    let mut patch = TypedModelPatch::default();
    let wire = patch.tap_model(model, x)?;
    let rank = fact.rank();
    let to_last: Vec<usize> = (0..rank).filter(|axis| *axis != op.axis).chain([op.axis]).collect();
    let wire = reorder(&mut patch, &format!("{name}.rows"), wire, &to_last)?;
    let shape: TVec<TDim> = to_last.iter().map(|axis| fact.shape[*axis].clone()).collect();
    let op_norm = Norm { engine: Arc::clone(&ctx.engine), constants: norm, shape: shape.into() };
    let wire = patch.wire_node(name, op_norm, &[wire])?[0];
    let back: Vec<usize> = (0..op.axis).chain([rank - 1]).chain(op.axis..rank - 1).collect();
    let wire = reorder(&mut patch, &format!("{name}.result"), wire, &back)?;
    patch.shunt_outside(model, last.id.into(), wire)?;
    Ok(Some(patch))
}

/// x, where the outlet is x less its mean along an axis.
fn centred(model: &TypedModel, outlet: OutletId, axis: usize) -> TractResult<Option<OutletId>> {
    let node = model.node(outlet.node);
    let Some(TypedBinOp(op, _)) = node.op_as::<TypedBinOp>() else { return Ok(None) };
    let (true, &[x, mean]) = (op.is::<Sub>(), &*node.inputs) else { return Ok(None) };
    let Ok(width) = model.outlet_fact(x)?.shape[axis].to_usize() else { return Ok(None) };
    let product = model.node(mean.node);
    if !product.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Mul>()) {
        return Ok(None);
    }
    for (sum, factor) in [(0, 1), (1, 0)] {
        let sum = model.node(product.inputs[sum].node);
        let is_sum = sum
            .op_as::<Reduce>()
            .is_some_and(|op| op.reducer == Reducer::Sum && *op.axes == [axis]);
        if let (true, Some(factor)) = (is_sum, uniform(model, product.inputs[factor])?) {
            let is_mean = (factor * width as f32 - 1.0).abs() < 1e-4 && sum.inputs[0] == x;
            return Ok(is_mean.then_some(x));
        }
    }
    Ok(None)
}

/// What follows a node, where it is an operation of two with a constant along an axis: that node, and a
/// value for each place of the axis.
fn along<'a, Op: BinMiniOp>(
    model: &'a TypedModel,
    node: &TypedNode,
    axis: usize,
) -> TractResult<Option<(&'a TypedNode, Vec<f32>)>> {
    let Some(next) = only_successor(model, node) else { return Ok(None) };
    let is_wanted = next.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Op>());
    let other = next.inputs.iter().find(|input| input.node != node.id);
    let (true, Some(other)) = (is_wanted, other) else { return Ok(None) };
    let Some(values) = constant(model, *other)? else { return Ok(None) };
    let Ok(width) = node.outputs[0].fact.shape[axis].to_usize() else { return Ok(None) };
    let plain = values.try_as_plain_ram()?;
    let plain = plain.as_slice::<f32>()?;
    if plain.len() == 1 {
        return Ok(Some((next, vec![plain[0]; width])));
    }
    let fits = plain.len() == width && values.shape().get(axis) == Some(&width);
    Ok(fits.then(|| (next, plain.to_vec())))
}

/// A product norms its own rows, where nobody else wants them.
pub(super) fn take(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Product,
) -> Change {
    let before = model.node(node.inputs[0].node);
    let Some(norm) = before.op_as::<Norm>() else { return Ok(None) };
    let is_alone = only_successor(model, before).is_some();
    let fits = op.norm.is_none()
        && op.patches.is_none()
        && norm.constants.width() == op.weights.shape()[1];
    if !is_alone || !fits {
        return Ok(None);
    }
    let mut inputs = node.inputs.clone();
    inputs[0] = before.inputs[0];
    let op = Product { norm: Some(Arc::clone(&norm.constants)), ..op.clone() };
    replace(model, name, &inputs, op, node.id.into())
}
