//! Linear layers: a product with constant weights, its bias, gain and residual.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{Axis, DimLike, TractErrorContext as _};
use tract_onnx::tract_core::ops::array::Slice;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{Add, Mul};

use super::axes::reorder;
use super::{Change, Lowering, constant, only_successor, replace};
use crate::encoder::ops::{Product, Weights};
use crate::gemm::{Activation, K_MAX, Place};

/// Why products of one row stay as they are: they take next to no time, and what they get wrong no other row
/// makes up for. Gates of whole channels and the last projection are of that kind.
pub(super) const ONE_ROW: &str = "it has one row, for which float costs no more";

/// The axes of an `EinSum` of activations and weights, as places in its operands.
#[derive(Default)]
struct Roles {
    /// Of the activations: those of rows, in the order of the result, and those that are summed over.
    rows: Vec<usize>,
    summed: Vec<usize>,
    /// Of the weights: those of channels, in the order of the result, and those that are summed over.
    channels: Vec<usize>,
    weights_summed: Vec<usize>,
    /// Axes of one: of the activations, of the weights.
    dropped: Vec<usize>,
    weights_dropped: Vec<usize>,
    /// Of the result: where rows and channels are, and where axes of one are put in.
    rows_in_result: Vec<usize>,
    channels_in_result: Vec<usize>,
    ones_in_result: Vec<usize>,
}

impl Roles {
    /// None where the axes do something else than a product with the weights.
    fn of(op: &EinSum, x: usize, w: usize, x_fact: &TypedFact, w_shape: &[usize]) -> Option<Self> {
        let mut roles = Self::default();
        let mut axes: Vec<&Axis> = op.axes.iter_all_axes().collect();
        // The result's order for what is in it, the weights' order for what is summed over.
        axes.sort_by_key(|axis| {
            (axis.outputs[0].first().copied(), axis.inputs[w].first().copied())
        });
        for axis in axes {
            let one_in_x = |at: usize| x_fact.shape[at].is_one();
            match (&*axis.inputs[x], &*axis.inputs[w], &*axis.outputs[0]) {
                (&[at], &[], &[to]) => {
                    roles.rows.push(at);
                    roles.rows_in_result.push(to);
                }
                // Weights that are the same for all of an axis.
                (&[at], &[weight], &[to]) if w_shape[weight] == 1 => {
                    roles.rows.push(at);
                    roles.rows_in_result.push(to);
                    roles.weights_dropped.push(weight);
                }
                (&[at], &[weight], &[]) if x_fact.shape[at] == w_shape[weight].to_dim() => {
                    roles.summed.push(at);
                    roles.weights_summed.push(weight);
                }
                (&[], &[weight], &[to]) => {
                    roles.channels.push(weight);
                    roles.channels_in_result.push(to);
                }
                (&[at], &[], &[]) if one_in_x(at) => roles.dropped.push(at),
                (&[], &[weight], &[]) if w_shape[weight] == 1 => roles.weights_dropped.push(weight),
                (&[], &[], &[to]) => roles.ones_in_result.push(to),
                _ => return None,
            }
        }
        (!roles.summed.is_empty() && !roles.channels.is_empty()).then_some(roles)
    }
}

/// `EinSum` with a constant becomes a product.
pub(super) fn lower(
    ctx: &Lowering,
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &EinSum,
) -> Change {
    if op.q_params.is_some() || node.inputs.len() != 2 {
        return ctx.refuse(node, "its operands are neither float nor int8 with constant weights");
    }
    let constants = [constant(model, node.inputs[0])?, constant(model, node.inputs[1])?];
    let (x, weights) = match constants {
        [None, Some(weights)] => (0, weights),
        [Some(weights), None] => (1, weights),
        _ => return ctx.refuse(node, "neither operand is constant"),
    };
    let x_fact = model.outlet_fact(node.inputs[x])?;
    if x_fact.datum_type != f32::datum_type() {
        return ctx.refuse(node, format!("it reads {:?}", x_fact.datum_type));
    }
    let Some(roles) = Roles::of(op, x, 1 - x, x_fact, weights.shape()) else {
        return ctx.refuse(node, format!("its axes are {}", op.axes));
    };
    // All rows of a picture's tower are known; those of a text's are as many as there are texts.
    let rows = roles.rows.iter().map(|axis| x_fact.shape[*axis].clone());
    if rows.product::<TDim>().is_one() {
        return ctx.refuse(node, ONE_ROW);
    }
    let k: usize = roles.weights_summed.iter().map(|axis| weights.shape()[*axis]).product();
    if k == 0 || k > K_MAX || weights.len() == 0 {
        return ctx.refuse(node, format!("it sums over {k} values, the limit is {K_MAX}"));
    }
    let order = [&*roles.weights_dropped, &roles.channels, &roles.weights_summed].concat();
    let values: Vec<f32> =
        weights.to_plain_array_view::<f32>()?.permuted_axes(order).iter().copied().collect();
    if !are_finite(&values) {
        return ctx.refuse(node, "its weights are not finite");
    }

    let mut patch = TypedModelPatch::default();
    let wire = patch.tap_model(model, node.inputs[x])?;
    let order = [&*roles.dropped, &roles.rows, &roles.summed].concat();
    let wire = reorder(&mut patch, &format!("{name}.rows"), wire, &order)?;
    let rows = roles.rows.iter().map(|axis| x_fact.shape[*axis].clone());
    let channels = roles.channels.iter().map(|axis| weights.shape()[*axis].to_dim());
    // Axes of one come first and go to their places with the others.
    let ones = roles.ones_in_result.iter().map(|_| 1.to_dim());
    let shape: TVec<TDim> = ones.chain(rows).chain(channels).collect();
    let product = ctx.product(Weights::Float { values, k }, shape.into());
    let wire = patch.wire_node(name, product, &[wire])?[0];
    let made = [&*roles.ones_in_result, &roles.rows_in_result, &roles.channels_in_result].concat();
    let mut order = vec![0; made.len()];
    for (at, to) in made.into_iter().enumerate() {
        order[to] = at;
    }
    let wire = reorder(&mut patch, &format!("{name}.result"), wire, &order)?;
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
}

impl Lowering {
    /// A product that has nothing fused to it yet.
    pub(super) fn product(&self, weights: Weights, shape: ShapeFact) -> Product {
        let channels = weights.shape()[0];
        Product {
            engine: Arc::clone(&self.engine),
            weights: Arc::new(weights),
            bias: vec![0.0; channels].into(),
            patches: None,
            norm: None,
            activation: Activation::None,
            residual: None,
            shape,
        }
    }
}

/// Whether weights can be quantised.
pub(super) fn are_finite(weights: &[f32]) -> bool {
    weights.iter().all(|value| value.is_finite())
}

/// What follows a product, where it is a sum (or another operation of two) with a constant that has one
/// value, or one for each channel: that node, and `[n]` values.
fn constant_by_channel<'a>(
    model: &'a TypedModel,
    node: &TypedNode,
    op: &Product,
    is_wanted: impl Fn(&TypedBinOp) -> bool,
) -> TractResult<Option<(&'a TypedNode, Vec<f32>)>> {
    if op.activation != Activation::None || op.residual.is_some() {
        return Ok(None);
    }
    let Some(next) = only_successor(model, node) else { return Ok(None) };
    if !next.op_as::<TypedBinOp>().is_some_and(is_wanted) {
        return Ok(None);
    }
    let other = next.inputs.iter().find(|input| input.node != node.id);
    let Some(values) = other.map(|other| constant(model, *other)).transpose()?.flatten() else {
        return Ok(None);
    };
    if model.outlet_fact(next.id.into())?.shape != node.outputs[0].fact.shape {
        return Ok(None);
    }
    let n = op.bias.len();
    let plain = values.try_as_plain_ram()?;
    let plain = plain.as_slice::<f32>()?;
    if plain.len() == 1 {
        return Ok(Some((next, vec![plain[0]; n])));
    }
    // The values must lie along the last axes alone: those that hold the channels.
    let mut channels = 1;
    let places = values.shape().iter().rev().zip(node.outputs[0].fact.shape.iter().rev());
    for (size, of_result) in places {
        let inside = channels < n;
        if *size != 1 && (!inside || size.to_dim() != *of_result) {
            return Ok(None);
        }
        if inside {
            channels *= of_result.to_usize()?;
        }
    }
    Ok((plain.len() == n).then(|| (next, plain.to_vec())))
}

/// A constant that is added becomes the bias.
pub(super) fn take_bias(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Product,
) -> Change {
    let found = constant_by_channel(model, node, op, |next| next.0.is::<Add>())?;
    let Some((next, added)) = found else { return Ok(None) };
    let bias = op.bias.iter().zip(added).map(|(bias, added)| bias + added).collect();
    replace(model, name, &node.inputs, Product { bias, ..op.clone() }, next.id.into())
}

/// A constant that is multiplied with goes into the weights.
pub(super) fn take_gain(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Product,
) -> Change {
    let found = constant_by_channel(model, node, op, |next| next.0.is::<Mul>())?;
    let Some((next, gains)) = found else { return Ok(None) };
    let Weights::Float { values, k } = &*op.weights else { return Ok(None) };
    let channels = values.chunks_exact(*k).zip(&gains);
    let values =
        channels.flat_map(|(channel, gain)| channel.iter().map(move |v| v * gain)).collect();
    let values: Vec<f32> = values;
    if !are_finite(&values) {
        return Ok(None);
    }
    let bias = op.bias.iter().zip(&gains).map(|(bias, gain)| bias * gain).collect();
    let weights = Arc::new(Weights::Float { values, k: *k });
    replace(model, name, &node.inputs, Product { weights, bias, ..op.clone() }, next.id.into())
}

/// A sum with another tensor of the same shape becomes the residual.
pub(super) fn take_residual(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Product,
) -> Change {
    let Some(next) = only_successor(model, node) else { return Ok(None) };
    let is_sum = next.op_as::<TypedBinOp>().is_some_and(|next| next.0.is::<Add>());
    let other = next.inputs.iter().find(|input| input.node != node.id);
    let (true, None, Some(other)) = (is_sum, op.residual, other) else { return Ok(None) };
    let fact = model.outlet_fact(*other)?;
    let shape = &node.outputs[0].fact.shape;
    let fits = fact.shape == *shape && fact.datum_type == f32::datum_type();
    if !fits || next.outputs[0].fact.shape != *shape {
        return Ok(None);
    }
    let place = match op.activation {
        Activation::None => Place::BeforeActivation,
        _ => Place::AfterActivation,
    };
    let op = Product { residual: Some(place), ..op.clone() };
    replace(model, name, &[node.inputs[0], *other], op, next.id.into())
}

/// Products of the same rows become one, so that these are normed and quantised once; the results are
/// slices of its result, which attention reads where they are.
pub(super) fn merge_siblings(
    (): &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Product,
) -> Change {
    let Some(rows) = rows_of(op) else { return Ok(None) };
    let mut siblings: Vec<(&TypedNode, &Product)> = Vec::new();
    for inlet in model.outlet_successors(node.inputs[0]) {
        let node = model.node(inlet.node);
        let Some(op) = node.op_as::<Product>() else { continue };
        if inlet.slot == 0 && rows_of(op) == Some(rows) {
            siblings.push((node, op));
        }
    }
    siblings.sort_by_key(|(node, _)| node.id);
    if siblings.len() < 2 || siblings[0].0.id != node.id {
        return Ok(None);
    }
    let k = op.weights.shape()[1];
    let mut values = Vec::new();
    for (_, sibling) in &siblings {
        let Weights::Float { values: more, .. } = &*sibling.weights else { return Ok(None) };
        values.extend_from_slice(more);
    }
    let bias: Arc<[f32]> = siblings.iter().flat_map(|(_, op)| op.bias.iter().copied()).collect();
    let mut shape = op.shape.to_tvec();
    *shape.last_mut().context("channels")? = bias.len().to_dim();
    let weights = Arc::new(Weights::Float { values, k });
    let merged = Product { weights, bias, shape: shape.into(), ..op.clone() };

    let mut patch = TypedModelPatch::default();
    let tap = patch.tap_model(model, node.inputs[0])?;
    let wire = patch.wire_node(format!("{name}.merged"), merged, &[tap])?[0];
    let mut start = 0;
    for (node, op) in siblings {
        let slice = Slice::new(op.shape.rank() - 1, start, start + op.bias.len());
        start += op.bias.len();
        let wire = patch.wire_node(&node.name, slice, &[wire])?[0];
        patch.shunt_outside(model, node.id.into(), wire)?;
    }
    Ok(Some(patch))
}

/// The shape of a plain product's rows, by which siblings know each other.
fn rows_of(op: &Product) -> Option<&[TDim]> {
    let (channels, rows) = op.shape.split_last()?;
    let plain = op.patches.is_none()
        && op.norm.is_none()
        && op.activation == Activation::None
        && op.residual.is_none()
        && *channels == op.bias.len().to_dim();
    plain.then_some(rows)
}
