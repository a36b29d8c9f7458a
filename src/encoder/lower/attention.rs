//! Scaled dot-product attention, plain or causal, anchored at its softmax.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{AxesMapping, DimLike, InOut};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{Add, Mul};
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};
use tract_onnx::tract_core::ops::source::TypedSource;

use super::axes::reorder;
use super::view::View;
use super::{Change, Lowering, only_successor, uniform};
use crate::encoder::ops::{Attention, Operand};

/// Masks are looked at for texts of these lengths.
const LENGTHS: [i64; 3] = [1, 2, 7];
/// A mask takes this or more off what must not be seen.
const MASKED: f32 = -1000.0;

/// Least factor between a mask and the softmax.
const LEAST_SCALE: f32 = 1e-3;

/// The products' way through the logits, back from the softmax.
struct Logits<'a> {
    einsum: &'a TypedNode,
    scale: f32,
    is_causal: bool,
}

/// Queries, keys or values, and which of their axes is what.
struct Side {
    view: View,
    /// Batch, if there is one, and heads.
    shared: TVec<usize>,
    token: usize,
    width: usize,
}

impl Side {
    fn size(&self, axis: usize) -> TDim {
        self.view.axes[axis].0.clone()
    }

    fn tokens(&self) -> TDim {
        self.size(self.token)
    }

    fn head_width(&self) -> TDim {
        self.size(self.width)
    }

    /// How many batches and heads there are.
    fn batch_and_heads(&self) -> [TDim; 2] {
        self.by_shared(1.to_dim(), |axis| self.size(axis))
    }

    fn by_shared(&self, absent: TDim, of: impl Fn(usize) -> TDim) -> [TDim; 2] {
        match *self.shared {
            [batch, head] => [of(batch), of(head)],
            [head] => [absent, of(head)],
            _ => [absent.clone(), absent],
        }
    }

    /// None where a head's values are not side by side.
    fn operand(&self, input: usize) -> Option<Operand> {
        let step = |axis: usize| self.view.axes[axis].1.clone();
        let [batch_step, head_step] = self.by_shared(0.to_dim(), step);
        let start = self.view.start.to_usize().ok()?;
        let operand = Operand { input, start, batch_step, head_step, token_step: step(self.token) };
        step(self.width).is_one().then_some(operand)
    }
}

/// Which axis of the logits is what.
struct Places {
    query: usize,
    key: usize,
    /// Batch, if there is one, and heads.
    shared: TVec<usize>,
}

pub(super) fn lower(
    ctx: &Lowering,
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Softmax,
) -> Change {
    let &[key] = &*op.axes else { return Ok(None) };
    if op.kind != SoftmaxKind::Softmax || op.quant_output_dt.is_some() {
        return Ok(None);
    }
    let logits = match logits(model, node.inputs[0])? {
        Ok(logits) => logits,
        Err(reason) => return ctx.refuse(node, reason),
    };
    let weighted = only_successor(model, node).filter(|next| next.op_is::<EinSum>());
    let Some(weighted) = weighted else {
        return ctx.refuse(node, "its weights go elsewhere than to one product");
    };
    match fused(ctx, model, &logits, weighted, node, key)? {
        Err(reason) => ctx.refuse(node, reason),
        Ok((op, inputs, order)) => {
            let mut patch = TypedModelPatch::default();
            let taps = patch.taps(model, &inputs)?;
            let wire = patch.wire_node(name, op, &taps)?[0];
            let wire = reorder(&mut patch, &format!("{name}.result"), wire, &order)?;
            patch.shunt_outside(model, weighted.id.into(), wire)?;
            Ok(Some(patch))
        }
    }
}

/// From the softmax's input back to the product of queries and keys, past scales and masks.
fn logits(model: &TypedModel, mut outlet: OutletId) -> TractResult<Result<Logits<'_>, String>> {
    let (mut scale, mut is_causal) = (1.0, false);
    loop {
        let node = model.node(outlet.node);
        if node.op_is::<EinSum>() {
            return Ok(Ok(Logits { einsum: node, scale, is_causal }));
        }
        let Some(TypedBinOp(op, _)) = node.op_as::<TypedBinOp>() else {
            return Ok(Err(format!("its logits come from {}", node.op.name())));
        };
        let mut before = None;
        for (x, other) in [(0, 1), (1, 0)].map(|(a, b)| (node.inputs[a], node.inputs[b])) {
            // What is broadcast here is more than the product gives.
            if model.outlet_fact(x)?.shape != node.outputs[0].fact.shape {
                continue;
            }
            if op.is::<Mul>() {
                if let Some(factor) = uniform(model, other)? {
                    scale *= factor;
                    before = Some(x);
                    break;
                }
            } else if op.is::<Add>() && !leads_to_input(model, other) {
                // What can't be looked at is a mask of another kind; a scale that is almost nothing, or
                // negative, would show what it hides.
                match causal(model, other).unwrap_or(None).filter(|_| scale > LEAST_SCALE) {
                    Some(found) => is_causal |= found,
                    None => return Ok(Err("its mask is neither empty nor causal".into())),
                }
                before = Some(x);
                break;
            }
        }
        match before {
            Some(before) => outlet = before,
            None => return Ok(Err(format!("its logits come from {}", node.op.name()))),
        }
    }
}

fn leads_to_input(model: &TypedModel, outlet: OutletId) -> bool {
    let node = model.node(outlet.node);
    node.op_is::<TypedSource>() || node.inputs.iter().any(|input| leads_to_input(model, *input))
}

/// Whether a mask, `[.., queries, keys]` and made of sizes alone, hides all later keys (true) or
/// nothing (false).
fn causal(model: &TypedModel, mask: OutletId) -> TractResult<Option<bool>> {
    let mut alone = TypedModel { symbols: model.symbols.clone(), ..TypedModel::default() };
    let outlet = copy(model, mask, &mut alone, &mut HashMap::default())?;
    alone.select_output_outlets(&[outlet])?;
    let symbols: Vec<Symbol> =
        model.outlet_fact(mask)?.shape.iter().flat_map(TDim::symbols).collect();
    let mut kinds = Vec::new();
    for length in LENGTHS {
        let sizes = symbols.iter().map(|symbol| (symbol.clone(), length.to_dim())).collect();
        let values = alone.set_symbols(&sizes)?.into_runnable()?.run(tvec!())?;
        kinds.push(mask_kind(&values[0])?);
    }
    // One token sees itself either way.
    kinds.retain(|kind| *kind != Some(Kind::OneToken));
    Ok(match kinds[..] {
        [] => Some(false),
        [Some(Kind::Causal), ..] if kinds.iter().all(|kind| *kind == Some(Kind::Causal)) => {
            Some(true)
        }
        [Some(Kind::Empty), ..] if kinds.iter().all(|kind| *kind == Some(Kind::Empty)) => {
            Some(false)
        }
        _ => None,
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    OneToken,
    Empty,
    Causal,
}

fn mask_kind(mask: &Tensor) -> TractResult<Option<Kind>> {
    let [.., queries, keys] = *mask.shape() else { return Ok(None) };
    let plain = mask.try_as_plain_ram()?;
    let places = plain.as_slice::<f32>()?.iter().enumerate();
    let places = places.map(|(at, value)| (at / keys % queries < at % keys, *value));
    let hides = |hidden: bool| {
        places
            .clone()
            .filter(|(later, _)| *later == hidden)
            .all(|(_, value)| if hidden { value <= MASKED } else { value.abs() < f32::EPSILON })
    };
    Ok(if places.clone().all(|(_, value)| value.abs() < f32::EPSILON) {
        Some(if keys == 1 { Kind::OneToken } else { Kind::Empty })
    } else if queries == keys && hides(true) && hides(false) {
        Some(Kind::Causal)
    } else {
        None
    })
}

/// Copies what an outlet is made of into another graph.
fn copy(
    model: &TypedModel,
    outlet: OutletId,
    into: &mut TypedModel,
    done: &mut HashMap<usize, TVec<OutletId>>,
) -> TractResult<OutletId> {
    if !done.contains_key(&outlet.node) {
        let node = model.node(outlet.node);
        let inputs: TVec<OutletId> = node
            .inputs
            .iter()
            .map(|input| copy(model, *input, into, done))
            .collect::<TractResult<_>>()?;
        let made = into.wire_node(&node.name, node.op.clone(), &inputs)?;
        done.insert(outlet.node, made);
    }
    Ok(done[&outlet.node][outlet.slot])
}

type Fused = Result<(Attention, TVec<OutletId>, TVec<usize>), String>;

/// The attention, its inputs, and the order in which its result's axes are wanted.
fn fused(
    ctx: &Lowering,
    model: &TypedModel,
    logits: &Logits,
    weighted: &TypedNode,
    softmax: &TypedNode,
    key: usize,
) -> TractResult<Fused> {
    let Some((q, k, places)) = queries_and_keys(model, logits.einsum, key)? else {
        return Ok(Err("its first product is not one of queries and keys".into()));
    };
    let Some((v, made)) = values(model, weighted, softmax, &places)? else {
        return Ok(Err("its second product is not one of weights and values".into()));
    };
    let sizes_agree = [k.head_width(), v.head_width()] == [q.head_width(), q.head_width()]
        && v.tokens() == k.tokens()
        && [k.batch_and_heads(), v.batch_and_heads()] == [q.batch_and_heads(), q.batch_and_heads()];
    let [batch, heads] = q.batch_and_heads();
    let (true, Ok(heads), Ok(head_width)) =
        (sizes_agree, heads.to_usize(), q.head_width().to_usize())
    else {
        return Ok(Err("sizes of queries, keys and values differ".into()));
    };
    if v.view.scale.to_bits() != 1.0_f32.to_bits() {
        return Ok(Err("its values are scaled".into()));
    }
    // A mask is looked at as [.., queries, keys].
    let rank = logits.einsum.outputs[0].fact.rank();
    let in_order = (places.query + 2, places.key + 1) == (rank, rank);
    if logits.is_causal && (!in_order || q.tokens() != k.tokens()) {
        return Ok(Err("a causal mask over other than as many queries as keys".into()));
    }
    let sources = [&q, &k, &v].map(|side| model.outlet_fact(side.view.source));
    for fact in sources {
        if fact?.datum_type != f32::datum_type() {
            return Ok(Err("its operands are not float".into()));
        }
    }
    let mut inputs: TVec<OutletId> = tvec![];
    let mut operand = |side: &Side| {
        let known = inputs.iter().position(|input| *input == side.view.source);
        side.operand(known.unwrap_or_else(|| {
            inputs.push(side.view.source);
            inputs.len() - 1
        }))
    };
    let (Some(q_operand), Some(k_operand), Some(v_operand)) =
        (operand(&q), operand(&k), operand(&v))
    else {
        return Ok(Err("a head's values are not side by side".into()));
    };
    let result = &weighted.outputs[0].fact.shape;
    let shape: TVec<TDim> = made.iter().map(|place| result[*place].clone()).collect();
    let mut order: TVec<usize> = tvec![0; made.len()];
    for (at, to) in made.into_iter().enumerate() {
        order[to] = at;
    }
    let attention = Attention {
        engine: Arc::clone(&ctx.engine),
        operands: [q_operand, k_operand, v_operand],
        batch,
        heads,
        head_width,
        queries: q.tokens(),
        keys: k.tokens(),
        scale: logits.scale * q.view.scale * k.view.scale,
        is_causal: logits.is_causal,
        shape: shape.into(),
    };
    Ok(Ok((attention, inputs, order)))
}

/// Both sides of the first product, whose result's axis `key` is that of the keys.
fn queries_and_keys(
    model: &TypedModel,
    node: &TypedNode,
    key: usize,
) -> TractResult<Option<(Side, Side, Places)>> {
    let (Some(EinSum { axes, .. }), 2) = (node.op_as::<EinSum>(), node.inputs.len()) else {
        return Ok(None);
    };
    // The key axis is of one operand alone, the query axis of the other.
    let k = usize::from(!axes.axis((InOut::Out(0), key))?.inputs[1].is_empty());
    let q = 1 - k;
    let (mut query, mut shared) = (None, tvec![]);
    for place in 0..axes.rank(InOut::Out(0)) {
        let axis = axes.axis((InOut::Out(0), place))?;
        match (axis.inputs[q].len(), axis.inputs[k].len()) {
            (0, 1) if place == key => {}
            (1, 0) if query.is_none() => query = Some(place),
            // One batch, or one head, needs no axis.
            (1, 1) if node.outputs[0].fact.shape[place].is_one() => {}
            (1, 1) => shared.push(place),
            _ => return Ok(None),
        }
    }
    let mut summed = axes.iter_all_axes().filter(|axis| {
        axis.outputs[0].is_empty() && axis.inputs.iter().all(|input| input.len() == 1)
    });
    let (Some(query), Some(width), None, true) =
        (query, summed.next(), summed.next(), shared.len() < 3)
    else {
        return Ok(None);
    };
    if sums_alone(model, node, axes)? {
        return Ok(None);
    }
    let place_in = |input: usize, place: usize| -> TractResult<usize> {
        Ok(axes.axis((InOut::Out(0), place))?.inputs[input][0])
    };
    let side = |input: usize, token: usize| -> TractResult<Side> {
        let view = View::of(model, node.inputs[input])?;
        let shared =
            shared.iter().map(|place| place_in(input, *place)).collect::<TractResult<_>>()?;
        Ok(Side { view, shared, token: place_in(input, token)?, width: width.inputs[input][0] })
    };
    let (queries, keys) = (side(q, query)?, side(k, key)?);
    Ok(Some((queries, keys, Places { query, key, shared })))
}

/// Whether a product sums over an axis that one operand alone has.
fn sums_alone(model: &TypedModel, node: &TypedNode, axes: &AxesMapping) -> TractResult<bool> {
    for axis in axes.iter_all_axes().filter(|axis| axis.outputs[0].is_empty()) {
        for (input, places) in axis.inputs.iter().enumerate() {
            let alone = axis.inputs.iter().filter(|places| !places.is_empty()).count() == 1;
            let shape = &model.outlet_fact(node.inputs[input])?.shape;
            if alone && places.iter().any(|place| !shape[*place].is_one()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The other side of the second product, and which of the result's axes are those of the op's own, in
/// their order: axes of one, then `[batch, queries, heads, head_width]` without those that are not there.
fn values(
    model: &TypedModel,
    node: &TypedNode,
    softmax: &TypedNode,
    places: &Places,
) -> TractResult<Option<(Side, TVec<usize>)>> {
    let (Some(EinSum { axes, .. }), 2) = (node.op_as::<EinSum>(), node.inputs.len()) else {
        return Ok(None);
    };
    if sums_alone(model, node, axes)? {
        return Ok(None);
    }
    let weights = usize::from(node.inputs[1].node == softmax.id);
    let v = 1 - weights;
    let place_in = |io: InOut, place: usize| -> Option<usize> {
        let axis = axes.axis((InOut::In(weights), place)).ok()?;
        axis.interface(io).first().copied()
    };
    let width = axes.iter_all_axes().find(|axis| {
        axis.inputs[weights].is_empty() && axis.inputs[v].len() == 1 && axis.outputs[0].len() == 1
    });
    let all_in = |io| places.shared.iter().map(|place| place_in(io, *place)).collect();
    let (shared, shared_out): (Option<TVec<usize>>, Option<TVec<usize>>) =
        (all_in(InOut::In(v)), all_in(InOut::Out(0)));
    let token = place_in(InOut::In(v), places.key);
    let query_out = place_in(InOut::Out(0), places.query);
    let key_out = place_in(InOut::Out(0), places.key);
    let (Some(width), Some(shared), Some(shared_out), Some(token), Some(query_out), None) =
        (width, shared, shared_out, token, query_out, key_out)
    else {
        return Ok(None);
    };
    let (query, width_out) = (query_out, width.outputs[0][0]);
    let known: TVec<usize> = match *shared_out {
        [batch, head] => tvec![batch, query, head, width_out],
        [head] => tvec![query, head, width_out],
        _ => tvec![query, width_out],
    };
    let rest = (0..axes.rank(InOut::Out(0))).filter(|place| !known.contains(place));
    let ones: TVec<usize> = rest.collect();
    if ones.iter().any(|place| !node.outputs[0].fact.shape[*place].is_one()) {
        return Ok(None);
    }
    let view = View::of(model, node.inputs[v])?;
    let made = ones.into_iter().chain(known).collect();
    Ok(Some((Side { view, shared, token, width: width.inputs[v][0] }, made)))
}
