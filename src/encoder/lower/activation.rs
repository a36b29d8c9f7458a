//! Activations, known by what they compute: exporters write each in many ways.

use std::collections::HashMap;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;

use super::{Change, replace, uniform};
use crate::encoder::ops::Product;
use crate::gemm::{Activation, Place};

/// Longest way of writing an activation that is looked for, in nodes.
const NODES_MAX: usize = 16;
/// Functions are compared at this many places: in -12 to 12, and at powers of 2 up to 2^12, where a bound
/// would show.
const PLACES: usize = NEAR + 2 * FAR;
const NEAR: usize = 481;
const FAR: usize = 9;
/// How far apart two ways of computing one function may be, relative to 1 + |x|. The nearest two of the
/// activations, the forms of GELU, differ by 4e-4 of it.
const TOLERANCE: f32 = 2e-5;

const KNOWN: [Activation; 4] =
    [Activation::Relu, Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh];

/// A function of a product's result alone, value by value, becomes its activation, if it is one.
pub(super) fn take(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Product,
) -> Change {
    if op.activation != Activation::None || op.residual == Some(Place::AfterActivation) {
        return Ok(None);
    }
    let x = OutletId::new(node.id, 0);
    let region = region(model, x)?;
    // The longest first: a part of one may look like another.
    for (length, last) in region.iter().enumerate().rev() {
        if !is_closed(model, x, &region[..=length]) {
            continue;
        }
        let computed = evaluate(model, x, &region[..=length])?;
        let found = KNOWN.into_iter().find(|activation| agrees(*activation, &computed));
        if let Some(activation) = found {
            let op = Product { activation, ..op.clone() };
            return replace(model, name, &node.inputs, op, OutletId::new(*last, 0));
        }
    }
    Ok(None)
}

/// Nodes that compute something value by value from an outlet and constants of one value, in order.
fn region(model: &TypedModel, x: OutletId) -> TractResult<Vec<usize>> {
    let mut nodes: Vec<usize> = Vec::new();
    let mut at = 0;
    let mut outlets = vec![x];
    while at < outlets.len() && nodes.len() < NODES_MAX {
        for inlet in model.outlet_successors(outlets[at]) {
            let node = model.node(inlet.node);
            let by_value = node.op_is::<ElementWiseOp>() || node.op_is::<TypedBinOp>();
            let mut known = by_value && !nodes.contains(&node.id);
            for input in &node.inputs {
                known &= outlets.contains(input) || uniform(model, *input)?.is_some();
            }
            let (fact, of_x) = (model.outlet_fact(node.id.into())?, model.outlet_fact(x)?);
            if known && fact.datum_type == of_x.datum_type && fact.shape == of_x.shape {
                nodes.push(node.id);
                outlets.push(node.id.into());
            }
        }
        at += 1;
    }
    Ok(nodes)
}

/// Nobody outside of the nodes, but those after the last, sees what they compute.
fn is_closed(model: &TypedModel, x: OutletId, nodes: &[usize]) -> bool {
    let inner = nodes[..nodes.len() - 1].iter().map(|node| OutletId::new(*node, 0));
    inner.chain([x]).all(|outlet| {
        let successors = model.outlet_successors(outlet);
        !model.outputs.contains(&outlet)
            && successors.iter().all(|inlet| nodes.contains(&inlet.node))
    })
}

/// What the nodes make of the places.
fn evaluate(model: &TypedModel, x: OutletId, nodes: &[usize]) -> TractResult<Vec<f32>> {
    let rank = model.outlet_fact(x)?.rank();
    let mut shape: TVec<usize> = tvec![1; rank];
    shape[rank - 1] = PLACES;
    let mut alone = TypedModel::default();
    let mut done: HashMap<OutletId, OutletId> = HashMap::default();
    done.insert(x, alone.add_source("x", f32::datum_type().fact(&shape))?);
    for node in nodes.iter().map(|node| model.node(*node)) {
        let mut inputs: TVec<OutletId> = tvec![];
        for (slot, input) in node.inputs.iter().enumerate() {
            let constant = uniform(model, *input)?.filter(|_| !done.contains_key(input));
            inputs.push(match constant {
                Some(value) => {
                    let value = tensor0(value).broadcast_into_rank(rank)?;
                    alone.add_const(format!("{}.{slot}", node.name), value)?
                }
                None => done[input],
            });
        }
        done.insert(node.id.into(), alone.wire_node(&node.name, node.op.clone(), &inputs)?[0]);
    }
    alone.select_output_outlets(&[done[&OutletId::new(nodes[nodes.len() - 1], 0)]])?;
    let input = Tensor::from_shape(&shape, &places())?;
    let output = alone.into_runnable()?.run(tvec!(input.into_tvalue()))?;
    Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

fn places() -> Vec<f32> {
    let near = (0..NEAR).map(|at| at as f32 / 20.0 - 12.0);
    let far = (0..FAR).map(|at| (16_u32 << at) as f32);
    near.chain(far.flat_map(|place| [place, -place])).collect()
}

fn agrees(activation: Activation, computed: &[f32]) -> bool {
    let places = places();
    let mut ours = places.clone();
    activation.apply(&mut ours);
    let pairs = ours.iter().zip(computed).zip(places);
    pairs
        .into_iter()
        .all(|((ours, theirs), x)| (ours - theirs).abs() <= TOLERANCE * (1.0 + x.abs()))
}
