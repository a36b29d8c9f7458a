//! A lowered tower in a form to be stored: its graph as NNEF, in which each of our ops is a number; what
//! these ops are; and their weights, in the order in which a kernel reads them.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tract_nnef::ast::RValue;
use tract_nnef::internal::{
    IntoAst, ModelBuilder, Nnef, Registry, ResolvedInvocation, TypeName, Value, invocation, numeric,
};
use tract_nnef::ser::tdims;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, SymbolScope, TractErrorContext, bail, ensure,
};
use tract_onnx::tract_core::{as_op, not_out_of_plan, op_as_typed_op};

use super::engine::Engine;
use super::lower::{Report, settle_moves};
use super::ops::{Attention, Norm, Operand, Patches, Product, Weights};
use crate::gemm::{Activation, LayerNorm, Layout, PackedWeights, Place};

/// Arrays of the weights begin at multiples of this: a line of the cache.
const ALIGNMENT: usize = 64;

/// A tower to be stored, or as it was stored.
#[derive(Clone, Debug)]
pub struct PackedTower {
    /// A tar archive of NNEF.
    pub graph: Bytes,
    /// JSON: what lowering did, and the ops that the graph has by number.
    pub ops: Bytes,
    /// The arrays that the ops have by place.
    pub weights: Bytes,
}

/// What `PackedTower::ops` holds.
#[derive(Serialize, Deserialize)]
struct Index {
    report: Report,
    ops: Vec<Stored>,
}

/// An op without its tensors. Free sizes are text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Product {
        n: usize,
        k: usize,
        panels: Span,
        scales: Span,
        starts: Span,
        bias: Span,
        patches: Option<Patches>,
        norm: Option<StoredNorm>,
        activation: Activation,
        residual: Option<Place>,
    },
    Depthwise {
        weights: Span,
        bias: Span,
        patches: Patches,
        activation: Activation,
        residual: Option<Place>,
    },
    Attention {
        operands: [StoredOperand; 3],
        batch: String,
        heads: usize,
        head_width: usize,
        queries: String,
        keys: String,
        scale: f32,
        is_causal: bool,
    },
    Norm(StoredNorm),
}

#[derive(Serialize, Deserialize)]
struct StoredNorm {
    gain: Span,
    bias: Span,
    epsilon: f32,
}

#[derive(Serialize, Deserialize)]
struct StoredOperand {
    input: usize,
    start: usize,
    batch_step: String,
    head_step: String,
    token_step: String,
}

/// Bytes within the weights.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Span {
    start: usize,
    len: usize,
}

/// Stands for an op in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbered {
    number: usize,
    shape: ShapeFact,
}

impl Op for Numbered {
    op_as_typed_op!();

    fn name(&self) -> StaticName {
        "Numbered".into()
    }
}

impl EvalOp for Numbered {
    not_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, _inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        bail!("op {} was not put in its place", self.number)
    }
}

impl TypedOp for Numbered {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::datum_type().fact(self.shape.clone())))
    }
}

/// NNEF with the one operator that is ours.
fn nnef() -> Nnef {
    let mut registry = Registry::new("edgeclip");
    registry.register_dumper(write_numbered);
    registry.register_primitive(
        "edgeclip_op",
        &[
            TypeName::Scalar.tensor().array().named("inputs"),
            TypeName::Integer.named("number"),
            TypeName::Integer.array().named("shape"),
        ],
        &[("output", TypeName::Scalar.tensor())],
        read_numbered,
    );
    Nnef::default().with_onnx().with_registry(registry)
}

#[expect(clippy::unnecessary_wraps, reason = "tract says what a dumper returns")]
fn write_numbered(
    ast: &mut IntoAst,
    node: &TypedNode,
    op: &Numbered,
) -> TractResult<Option<Arc<RValue>>> {
    let inputs: Vec<RValue> =
        node.inputs.iter().map(|input| (*ast.mapping[input]).clone()).collect();
    let inputs = Arc::new(RValue::Array(inputs));
    let named = [("number", numeric(op.number)), ("shape", tdims(op.shape.dims()))];
    Ok(Some(invocation("edgeclip_op", &[inputs], &named)))
}

fn read_numbered(
    builder: &mut ModelBuilder,
    invocation: &ResolvedInvocation,
) -> TractResult<Value> {
    let inputs: TVec<OutletId> = invocation.named_arg_as(builder, "inputs")?;
    let number = invocation.named_arg_as(builder, "number")?;
    let shape: TVec<TDim> =
        builder.allowing_new_symbols(|builder| invocation.named_arg_as(builder, "shape"))?;
    builder.wire(Numbered { number, shape: shape.into() }, &inputs)
}

/// Takes a lowered graph apart.
pub(super) fn take_apart(mut model: TypedModel, report: Report) -> TractResult<PackedTower> {
    let (mut weights, mut ops) = (Writer::default(), Vec::new());
    for node in model.nodes_mut() {
        let stored = if let Some(op) = node.op_as::<Product>() {
            Some((weights.product(op)?, &op.shape))
        } else if let Some(op) = node.op_as::<Attention>() {
            Some((stored_attention(op), &op.shape))
        } else {
            node.op_as::<Norm>().map(|op| (Stored::Norm(weights.norm(&op.constants)), &op.shape))
        };
        if let Some((stored, shape)) = stored {
            let numbered = Numbered { number: ops.len(), shape: shape.clone() };
            ops.push(stored);
            node.op = Box::new(numbered);
        }
    }
    let graph = nnef().write_to_tar_with_config(&model, Vec::new(), false, true)?;
    let ops = serde_json::to_vec(&Index { report, ops })?;
    Ok(PackedTower { graph: graph.into(), ops: ops.into(), weights: weights.0.into() })
}

/// Puts a graph together again, for the engine's kernel; panels stay where they are if they were packed
/// for it.
pub(super) fn put_together(
    tower: &PackedTower,
    packed_for: Layout,
    engine: &Arc<Engine>,
) -> TractResult<(TypedModel, Report)> {
    let Index { report, ops } = serde_json::from_slice(&tower.ops)?;
    let mut model = nnef().model_for_read(&mut &*tower.graph)?;
    let reader = Reader { weights: &tower.weights, packed_for, engine };
    let symbols = model.symbols.clone();
    for node in model.nodes_mut() {
        let Some(Numbered { number, shape }) = node.op_as::<Numbered>().cloned() else { continue };
        let stored = ops.get(number).with_context(|| format!("it has no op {number}"))?;
        let inputs = node.inputs.len();
        node.op = reader.op(stored, shape, inputs, &symbols)?;
    }
    // NNEF knows pools with the channels first only.
    settle_moves(&mut model)?;
    Ok((model, report))
}

fn stored_attention(op: &Attention) -> Stored {
    let operands = op.operands.each_ref().map(|operand| StoredOperand {
        input: operand.input,
        start: operand.start,
        batch_step: operand.batch_step.to_string(),
        head_step: operand.head_step.to_string(),
        token_step: operand.token_step.to_string(),
    });
    Stored::Attention {
        operands,
        batch: op.batch.to_string(),
        heads: op.heads,
        head_width: op.head_width,
        queries: op.queries.to_string(),
        keys: op.keys.to_string(),
        scale: op.scale,
        is_causal: op.is_causal,
    }
}

/// Collects arrays.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn array(&mut self, bytes: &[u8]) -> Span {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let span = Span { start: self.0.len(), len: bytes.len() };
        self.0.extend_from_slice(bytes);
        span
    }

    fn floats(&mut self, values: &[f32]) -> Span {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(&bytes)
    }

    fn norm(&mut self, norm: &LayerNorm) -> StoredNorm {
        let (gain, bias) = (self.floats(norm.gain()), self.floats(norm.bias()));
        StoredNorm { gain, bias, epsilon: norm.epsilon() }
    }

    fn product(&mut self, op: &Product) -> TractResult<Stored> {
        let weights = match (&*op.weights, &op.patches) {
            (Weights::Packed(weights), _) => weights,
            (Weights::Depthwise { values, .. }, Some(patches)) => {
                return Ok(Stored::Depthwise {
                    weights: self.floats(values),
                    bias: self.floats(&op.bias),
                    patches: patches.clone(),
                    activation: op.activation,
                    residual: op.residual,
                });
            }
            _ => bail!("weights that are not packed"),
        };
        let [n, k] = weights.shape();
        let starts: Vec<u8> =
            weights.starts().iter().flat_map(|start| start.to_le_bytes()).collect();
        Ok(Stored::Product {
            n,
            k,
            panels: self.array(bytemuck::cast_slice(weights.panels())),
            scales: self.floats(weights.scales()),
            starts: self.array(&starts),
            bias: self.floats(&op.bias),
            patches: op.patches.clone(),
            norm: op.norm.as_ref().map(|norm| self.norm(norm)),
            activation: op.activation,
            residual: op.residual,
        })
    }
}

/// Panels within the stored weights.
struct Mapped(Bytes);

impl AsRef<[i8]> for Mapped {
    fn as_ref(&self) -> &[i8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Gives ops their arrays.
struct Reader<'a> {
    weights: &'a Bytes,
    packed_for: Layout,
    engine: &'a Arc<Engine>,
}

impl Reader<'_> {
    fn array(&self, span: Span) -> TractResult<Bytes> {
        let end = span.start.checked_add(span.len).filter(|end| *end <= self.weights.len());
        Ok(self.weights.slice(span.start..end.context("an array beyond the end of the weights")?))
    }

    fn words(&self, span: Span) -> TractResult<Vec<[u8; 4]>> {
        let bytes = self.array(span)?;
        let (words, rest) = bytes.as_chunks::<4>();
        ensure!(rest.is_empty(), "an array of {} bytes", bytes.len());
        Ok(words.to_vec())
    }

    fn floats(&self, span: Span) -> TractResult<Vec<f32>> {
        Ok(self.words(span)?.into_iter().map(f32::from_le_bytes).collect())
    }

    fn norm(&self, stored: &StoredNorm) -> TractResult<Arc<LayerNorm>> {
        let (gain, bias) = (self.floats(stored.gain)?, self.floats(stored.bias)?);
        ensure!(gain.len() == bias.len() && !gain.is_empty(), "a norm without a width");
        Ok(Arc::new(LayerNorm::new(gain, bias, stored.epsilon)))
    }

    fn op(
        &self,
        stored: &Stored,
        shape: ShapeFact,
        inputs: usize,
        symbols: &SymbolScope,
    ) -> TractResult<Box<dyn TypedOp>> {
        let size = |text: &String| symbols.parse_tdim(text);
        Ok(match stored {
            Stored::Norm(norm) => {
                let (engine, constants) = (Arc::clone(self.engine), self.norm(norm)?);
                ensure!(inputs == 1, "a norm of {inputs} inputs");
                Box::new(Norm { engine, constants, shape })
            }
            Stored::Product { .. } => Box::new(self.product(stored, shape, inputs)?),
            Stored::Depthwise { .. } => Box::new(self.depthwise(stored, shape, inputs)?),
            Stored::Attention {
                operands,
                batch,
                heads,
                head_width,
                queries,
                keys,
                scale,
                is_causal,
            } => {
                let operand = |at: usize| -> TractResult<Operand> {
                    let StoredOperand { input, start, batch_step, head_step, token_step } =
                        &operands[at];
                    ensure!(*input < inputs, "an attention without input {input}");
                    Ok(Operand {
                        input: *input,
                        start: *start,
                        batch_step: size(batch_step)?,
                        head_step: size(head_step)?,
                        token_step: size(token_step)?,
                    })
                };
                Box::new(Attention {
                    engine: Arc::clone(self.engine),
                    operands: [operand(0)?, operand(1)?, operand(2)?],
                    batch: size(batch)?,
                    heads: *heads,
                    head_width: *head_width,
                    queries: size(queries)?,
                    keys: size(keys)?,
                    scale: *scale,
                    is_causal: *is_causal,
                    shape,
                })
            }
        })
    }

    fn depthwise(&self, stored: &Stored, shape: ShapeFact, inputs: usize) -> TractResult<Product> {
        let Stored::Depthwise { weights, bias, patches, activation, residual } = stored else {
            bail!("no depthwise convolution")
        };
        let (values, bias) = (self.floats(*weights)?, self.floats(*bias)?);
        let fits = patches.are_sound()
            && patches.channels_last
            && values.len() == patches.width()
            && bias.len() == patches.channels
            && inputs == 1 + usize::from(residual.is_some());
        ensure!(fits, "a depthwise convolution whose parts don't fit each other");
        Ok(Product {
            engine: Arc::clone(self.engine),
            weights: Arc::new(Weights::Depthwise { values, channels: patches.channels }),
            bias: bias.into(),
            patches: Some(patches.clone()),
            norm: None,
            activation: *activation,
            residual: *residual,
            shape,
        })
    }

    fn product(&self, stored: &Stored, shape: ShapeFact, inputs: usize) -> TractResult<Product> {
        let Stored::Product {
            n,
            k,
            panels,
            scales,
            starts,
            bias,
            patches,
            norm,
            activation,
            residual,
        } = stored
        else {
            bail!("no product")
        };
        let panels = Arc::new(Mapped(self.array(*panels)?));
        let starts = self.words(*starts)?.into_iter().map(i32::from_le_bytes).collect();
        let (scales, bias) = (self.floats(*scales)?, self.floats(*bias)?);
        let weights = PackedWeights::from_parts(self.packed_for, [*n, *k], scales, starts, panels);
        let weights = weights.context("weights of another size than it says")?;
        let norm = norm.as_ref().map(|norm| self.norm(norm)).transpose()?;
        let fits = bias.len() == *n
            && inputs == 1 + usize::from(residual.is_some())
            && norm.as_ref().is_none_or(|norm| norm.width() == *k)
            && !(norm.is_some() && patches.is_some())
            && patches.as_ref().is_none_or(|patches| patches.are_sound() && patches.width() == *k);
        ensure!(fits, "a product whose parts don't fit each other");
        let layout = self.engine.kernel().layout();
        let weights = if layout == self.packed_for {
            weights
        } else {
            weights.repacked(layout).context("weights that are not symmetric int8")?
        };
        Ok(Product {
            engine: Arc::clone(self.engine),
            weights: Arc::new(Weights::Packed(weights)),
            bias: bias.into(),
            patches: patches.clone(),
            norm,
            activation: *activation,
            residual: *residual,
            shape,
        })
    }
}
