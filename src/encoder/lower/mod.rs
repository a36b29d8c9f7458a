//! Lowering: a tower's graph in tract's plain operators becomes one of int8 products, attention and
//! layer norms, by small rules that look for one thing each. What they don't know stays as it is.
//!
//! The rules read decluttered graphs, in which tract has brought the many ways of writing a thing to
//! few: a linear layer is an `EinSum` with a constant, a layer norm ends in `RmsNorm`.
#![allow(clippy::trivially_copy_pass_by_ref, reason = "tract says what a rule's arguments are")]

mod activation;
mod attention;
mod axes;
mod convolution;
mod moves;
mod norm;
mod product;
mod report;
mod view;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::model::Rewriter;

use super::engine::Engine;
use super::ops::{Product, Weights};
use crate::gemm::{Layout, PackedWeights};
pub use report::{LeftInFloat, Report};

/// Number of this way of lowering. It goes up when embeddings change by more than rounding: golden ones of another
/// number are compared less strictly.
pub const LOWERING: u32 = 1;

/// What a rule makes of a node: a change, or nothing.
type Change = TractResult<Option<TypedModelPatch>>;

/// The rules at work on one graph.
struct Lowering {
    engine: Arc<Engine>,
    /// By a node's name, why it stays in float.
    refusals: RefCell<BTreeMap<String, String>>,
}

impl Lowering {
    /// Leaves a node as it is, and says why.
    #[expect(clippy::unnecessary_wraps, reason = "it is what a rule returns")]
    fn refuse(&self, node: &TypedNode, reason: impl Into<String>) -> Change {
        self.refusals.borrow_mut().insert(node.name.clone(), reason.into());
        Ok(None)
    }
}

/// A rule that knows the graph's lowering, in the form that tract wants.
fn rule<O: 'static>(
    ctx: &Rc<Lowering>,
    rule: fn(&Lowering, &TypedModel, &TypedNode, &str, &O) -> Change,
) -> impl Fn(&(), &TypedModel, &TypedNode, &str, &O) -> Change + 'static {
    let ctx = Rc::clone(ctx);
    move |(), model, node, name, op| rule(&ctx, model, node, name, op)
}

/// Lowers a graph, its weights packed for a kernel of that layout.
pub(super) fn lower(
    mut model: TypedModel,
    engine: &Arc<Engine>,
    layout: Layout,
) -> TractResult<(TypedModel, Report)> {
    let ctx = Rc::new(Lowering { engine: Arc::clone(engine), refusals: RefCell::default() });
    model.declutter()?;
    Rewriter::default()
        .with_rule_for("convolution", rule(&ctx, convolution::lower))
        .with_rule_for("product", rule(&ctx, product::lower))
        .with_rule_for("layer norm", rule(&ctx, norm::lower))
        .rewrite(&(), &mut model)?;
    let with_bias = || {
        Rewriter::default()
            .with_rule_for("bias", product::take_bias)
            .with_rule_for("gain", product::take_gain)
    };
    with_bias().rewrite(&(), &mut model)?;
    Rewriter::default()
        .with_rule_for("siblings", product::merge_siblings)
        .rewrite(&(), &mut model)?;
    Rewriter::default()
        .with_rule_for("attention", rule(&ctx, attention::lower))
        .rewrite(&(), &mut model)?;
    settle_moves(&mut model)?;
    with_bias()
        .with_rule_for("axes after a product", axes::absorb_after_product)
        .with_rule_for("axes after attention", axes::absorb_after_attention)
        .with_rule_for("axes after a norm", axes::absorb_after_norm)
        .with_rule_for("axes before a product", axes::absorb_before)
        .with_rule_for("activation", activation::take)
        .with_rule_for("residual", product::take_residual)
        .with_rule_for("norm in a product", norm::take)
        .rewrite(&(), &mut model)?;
    pack(&mut model, layout);
    let report = Report::of(&model, &ctx.refusals.borrow())?;
    Ok((model, report))
}

/// Brings moves of axes to where they meet each other, and go.
pub(super) fn settle_moves(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::default()
        .with_rule_for("moves past one", moves::past_element_wise)
        .with_rule_for("moves past two", moves::past_binary)
        .with_rule_for("moves past a reduction", moves::past_reduce)
        .with_rule_for("moves past a pool", moves::past_pool)
        .with_rule_for("moves past a reshape", moves::past_reshape)
        .rewrite(&(), model)?;
    model.declutter()
}

/// Quantises all weights.
fn pack(model: &mut TypedModel, layout: Layout) {
    for node in model.nodes_mut() {
        let Some(product) = node.op_as::<Product>() else { continue };
        let Weights::Float { values, k } = &*product.weights else { continue };
        let packed = PackedWeights::quantise(layout, values, *k);
        let packed = Product { weights: Arc::new(Weights::Packed(packed)), ..product.clone() };
        node.op = Box::new(packed);
    }
}

/// The one node that takes a node's result, if nothing else does.
fn only_successor<'a>(model: &'a TypedModel, node: &TypedNode) -> Option<&'a TypedNode> {
    let outlet = OutletId::new(node.id, 0);
    let is_output = model.outputs.contains(&outlet);
    match (is_output, &*node.outputs[0].successors) {
        (false, [inlet]) => Some(model.node(inlet.node)),
        _ => None,
    }
}

/// A constant's values, where the outlet is one of floats.
fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Arc<Tensor>>> {
    let fact = model.outlet_fact(outlet)?;
    Ok(fact.konst.clone().filter(|tensor| tensor.datum_type() == f32::datum_type()))
}

/// The one value of a constant that has but one.
fn uniform(model: &TypedModel, outlet: OutletId) -> TractResult<Option<f32>> {
    let fact = model.outlet_fact(outlet)?;
    let uniform = fact.uniform.as_ref().filter(|value| value.datum_type() == f32::datum_type());
    uniform.map(|value| value.cast_to_scalar::<f32>()).transpose()
}

/// Puts `op` in the place of what gives `outlet`.
fn replace(
    model: &TypedModel,
    name: &str,
    inputs: &[OutletId],
    op: impl Into<Box<dyn TypedOp>>,
    outlet: OutletId,
) -> Change {
    let mut patch = TypedModelPatch::default();
    let taps = patch.taps(model, inputs)?;
    let wire = patch.wire_node(name, op, &taps)?[0];
    patch.shunt_outside(model, outlet, wire)?;
    Ok(Some(patch))
}

#[cfg(test)]
mod tests;
