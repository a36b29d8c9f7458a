//! Moves of axes go down the graph, past what works value by value, until they meet their inverse or an
//! op that needs them. tract does so too, but not past nodes with several readers.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::AxisOp;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::SumPool;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce};

use super::Change;

/// The move that gives an outlet, and what it moves.
fn moved(model: &TypedModel, outlet: OutletId) -> Option<(AxisOp, OutletId)> {
    let node = model.node(outlet.node);
    let op = node.op_as::<AxisOp>().filter(|op| matches!(op, AxisOp::Move(..)))?;
    Some((op.clone(), node.inputs[0]))
}

/// The axis that a move puts at a place.
fn before(op: &AxisOp, place: usize, rank: usize) -> usize {
    let AxisOp::Move(from, to) = op else { return place };
    let mut order: Vec<usize> = (0..rank).collect();
    let moved = order.remove(*from);
    order.insert(*to, moved);
    order[place]
}

/// Puts `op`, reading `inputs`, in a node's place, and the move after it.
fn past(
    model: &TypedModel,
    node: &TypedNode,
    mut patch: TypedModelPatch,
    inputs: &[OutletId],
    op: Box<dyn TypedOp>,
    the_move: AxisOp,
) -> Change {
    let wire = patch.wire_node(&node.name, op, inputs)?[0];
    let wire = patch.wire_node(format!("{}.moved", node.name), the_move, &[wire])?[0];
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
}

pub(super) fn past_element_wise(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &ElementWiseOp,
) -> Change {
    let Some((the_move, from)) = moved(model, node.inputs[0]) else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let tap = patch.tap_model(model, from)?;
    past(model, node, patch, &[tap], Box::new(op.clone()), the_move)
}

pub(super) fn past_reduce(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &Reduce,
) -> Change {
    let Some((the_move, from)) = moved(model, node.inputs[0]) else { return Ok(None) };
    let rank = model.outlet_fact(from)?.rank();
    let mut axes: TVec<usize> = op.axes.iter().map(|axis| before(&the_move, *axis, rank)).collect();
    axes.sort_unstable();
    let mut patch = TypedModelPatch::default();
    let tap = patch.tap_model(model, from)?;
    past(model, node, patch, &[tap], Box::new(Reduce { axes, reducer: op.reducer }), the_move)
}

/// Operations of two: of operands that are moved alike, of constants, and of those that somebody wants
/// moved back anyway.
pub(super) fn past_binary(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &TypedBinOp,
) -> Change {
    let found = node.inputs.iter().find_map(|input| moved(model, *input));
    let Some((the_move, _)) = found else { return Ok(None) };
    let back = the_move.recip();
    let mut patch = TypedModelPatch::default();
    let mut inputs: TVec<OutletId> = tvec![];
    for input in &node.inputs {
        let fact = model.outlet_fact(*input)?;
        let wanted_back = || {
            let mut readers = model.outlet_successors(*input).iter();
            readers.any(|reader| model.node(reader.node).op_as::<AxisOp>() == Some(&back))
        };
        let wire = match moved(model, *input) {
            Some((other, from)) if other == the_move => patch.tap_model(model, from)?,
            _ if fact.konst.is_some() || wanted_back() => {
                let tap = patch.tap_model(model, *input)?;
                patch.wire_node(format!("{name}.{}.back", inputs.len()), back.clone(), &[tap])?[0]
            }
            _ => return Ok(None),
        };
        inputs.push(wire);
    }
    past(model, node, patch, &inputs, Box::new(op.clone()), the_move)
}

/// A pool reads channels last as well as first.
pub(super) fn past_pool(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &SumPool,
) -> Change {
    let Some((the_move, from)) = moved(model, node.inputs[0]) else { return Ok(None) };
    if op.pool_spec.data_format != DataFormat::NCHW || the_move != AxisOp::Move(3, 1) {
        return Ok(None);
    }
    let mut op = op.clone();
    op.pool_spec.data_format = DataFormat::NHWC;
    let mut patch = TypedModelPatch::default();
    let tap = patch.tap_model(model, from)?;
    past(model, node, patch, &[tap], Box::new(op), the_move)
}

/// Axes behind the one that was moved to the front may be split and merged before it is.
pub(super) fn past_reshape(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &AxisOp,
) -> Change {
    let AxisOp::Reshape(at, from, to) = op else { return Ok(None) };
    let Some((AxisOp::Move(last, place), source)) = moved(model, node.inputs[0]) else {
        return Ok(None);
    };
    let rank = model.outlet_fact(source)?.rank();
    if last != rank - 1 || *at <= place {
        return Ok(None);
    }
    let op = AxisOp::Reshape(at - 1, from.clone(), to.clone());
    let the_move = AxisOp::Move(rank - 1 - from.len() + to.len(), place);
    let mut patch = TypedModelPatch::default();
    let tap = patch.tap_model(model, source)?;
    past(model, node, patch, &[tap], Box::new(op), the_move)
}
