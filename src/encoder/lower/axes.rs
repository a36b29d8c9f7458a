//! Axes in the order in which an op needs them, and axes that cost nothing.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::AxisOp;

use super::{Change, only_successor, replace};
use crate::encoder::ops::{Attention, Norm, Product};

/// Wires moves, as few as there need be, after which axis `order[i]` of the outlet is axis `i`.
pub(super) fn reorder(
    patch: &mut TypedModelPatch,
    name: &str,
    mut wire: OutletId,
    order: &[usize],
) -> TractResult<OutletId> {
    let up = moves(order, 0..order.len());
    let down = moves(order, (0..order.len()).rev());
    for (at, (from, to)) in if up.len() <= down.len() { up } else { down }.into_iter().enumerate() {
        wire = patch.wire_node(format!("{name}.{at}"), AxisOp::Move(from, to), &[wire])?[0];
    }
    Ok(wire)
}

/// The moves that bring axes to their places, one place after the other.
fn moves(order: &[usize], places: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
    let mut now: Vec<usize> = (0..order.len()).collect();
    let mut moves = Vec::new();
    for to in places {
        let from = now.iter().position(|axis| *axis == order[to]).expect("an order has every axis");
        if from != to {
            let axis = now.remove(from);
            now.insert(to, axis);
            moves.push((from, to));
        }
    }
    moves
}

/// What an axis op makes of a shape, where it moves nothing in memory.
fn reshaped(op: &AxisOp, shape: &ShapeFact) -> TractResult<Option<ShapeFact>> {
    if matches!(op, AxisOp::Move(..)) {
        return Ok(None);
    }
    let mut shape = shape.to_tvec();
    op.change_shape_array(&mut shape, false)?;
    Ok(Some(shape.into()))
}

/// An op whose result is but a run of values gives it in the shape that is asked for next.
fn absorb(
    model: &TypedModel,
    node: &TypedNode,
    with_shape: impl Fn(ShapeFact) -> Box<dyn TypedOp>,
) -> Change {
    let Some(next) = only_successor(model, node) else { return Ok(None) };
    let Some(axis_op) = next.op_as::<AxisOp>() else { return Ok(None) };
    let Some(shape) = reshaped(axis_op, &node.outputs[0].fact.shape)? else { return Ok(None) };
    replace(model, &node.name, &node.inputs, with_shape(shape), next.id.into())
}

pub(super) fn absorb_after_product(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &Product,
) -> Change {
    absorb(model, node, |shape| Box::new(Product { shape, ..op.clone() }))
}

pub(super) fn absorb_after_attention(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &Attention,
) -> Change {
    absorb(model, node, |shape| Box::new(Attention { shape, ..op.clone() }))
}

pub(super) fn absorb_after_norm(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &Norm,
) -> Change {
    absorb(model, node, |shape| Box::new(Norm { shape, ..op.clone() }))
}

/// A product doesn't care for the shape of what it reads, as long as the values come in order.
pub(super) fn absorb_before(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Product,
) -> Change {
    let mut inputs = node.inputs.clone();
    for input in &mut inputs {
        let before = model.node(input.node);
        if before.op_as::<AxisOp>().is_some_and(|op| !matches!(op, AxisOp::Move(..))) {
            *input = before.inputs[0];
        }
    }
    if inputs == node.inputs {
        return Ok(None);
    }
    replace(model, name, &inputs, op.clone(), node.id.into())
}
