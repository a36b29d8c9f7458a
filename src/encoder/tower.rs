//! One ONNX graph, optimised and ready to run: what both towers share.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_core::transform::ModelTransform;
use tract_onnx::tract_hir::infer::Factoid;

use super::lower::{Report, lower};
use super::ops::{Attention, Product};
use super::{Compute, EncoderError, Precision, quantised};
use crate::embedding::Embedding;

/// A graph with one input and one output, `[n, embedding_dim]`.
pub(super) struct Tower {
    name: &'static str,
    plan: Arc<TypedRunnableModel>,
    embedding_dim: usize,
    report: Report,
}

/// One step of a tower's plan, and how long it took.
#[derive(Clone, Debug)]
pub struct NodeTime {
    /// Its place in the plan.
    pub step: usize,
    /// The node's name in the graph.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Multiply-adds, where it is one of ours.
    pub macs: u64,
    /// Wall-clock time.
    pub time: Duration,
}

/// One size of an input: fixed, or free under a name.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Fixed(usize),
    Free(&'static str),
}

impl Tower {
    /// Parses a graph and optimises it for inputs of this type and shape.
    pub(super) fn load(
        name: &'static str,
        onnx: &[u8],
        datum: DatumType,
        shape: &[Size],
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        let load = |error: TractError| EncoderError::Load { tower: name, reason: reason(&error) };
        let misfit = |reason| EncoderError::Shape { tower: name, reason };
        let mut proto =
            tract_onnx::onnx().proto_model_for_read(&mut Cursor::new(onnx)).map_err(load)?;
        let graph = proto.graph.as_mut().ok_or_else(|| misfit("it has no graph".into()))?;
        // What an exporter notes of inner shapes bears its own names for free sizes; they are derived anew.
        graph.value_info.clear();
        let dequantised = quantised::to_float(graph).map_err(load)?;
        if dequantised > 0 && compute.precision() == Precision::Float {
            log::warn!(
                "the {name} graph was quantised; {dequantised} of its products become float"
            );
        }
        let mut model = tract_onnx::onnx().model_for_proto_model(&proto).map_err(load)?;
        drop(proto);
        let (inputs, outputs) = (model.inputs.len(), model.outputs.len());
        if (inputs, outputs) != (1, 1) {
            let found = format!("it has {inputs} inputs and {outputs} outputs, one each is meant");
            return Err(misfit(found));
        }
        check_input(model.input_fact(0).map_err(load)?, datum, shape).map_err(misfit)?;

        let dims: TVec<TDim> = shape
            .iter()
            .map(|size| match size {
                Size::Fixed(size) => size.to_dim(),
                Size::Free(symbol) => model.sym(symbol).to_dim(),
            })
            .collect();
        // A graph of half floats reads them as well; made float below, it does not.
        let is_half =
            model.input_fact(0).map_err(load)?.datum_type.concretize() == Some(f16::datum_type());
        let given = if is_half { f16::datum_type() } else { datum };
        model.set_input_fact(0, InferenceFact::dt_shape(given, dims)).map_err(load)?;
        // The declared output may bear the exporter's names for free sizes; ours are derived anew.
        model.set_output_fact(0, InferenceFact::default()).map_err(load)?;
        let mut model = model.into_typed().map_err(load)?;
        let single = FloatPrecisionTranslator::new(f16::datum_type(), f32::datum_type());
        single.transform(&mut model).map_err(load)?;
        let (model, report) = match compute.precision() {
            Precision::Float => (model.into_optimized().map_err(load)?, Report::default()),
            _ => lower(model, &compute.engine()).map_err(load)?,
        };
        if compute.precision() == Precision::Int8 && report.products == 0 {
            return Err(EncoderError::NothingInt8 { tower: name });
        }
        check_output(model.output_fact(0).map_err(load)?, embedding_dim).map_err(misfit)?;
        let plan = model.into_runnable().map_err(load)?;
        Ok(Self { name, plan, embedding_dim, report })
    }

    /// What became int8; nothing in a tower of floats.
    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Runs the graph once on `shape[0]` rows; one embedding for each.
    pub(super) fn run<T: Datum + Copy>(
        &self,
        shape: &[usize],
        values: &[T],
    ) -> Result<Vec<Embedding>, EncoderError> {
        let run =
            |error: TractError| EncoderError::Run { tower: self.name, reason: reason(&error) };
        let input = Tensor::from_shape(shape, values).map_err(run)?;
        let outputs = self.plan.run(tvec!(input.into_tvalue())).map_err(run)?;
        self.embeddings(shape[0], &outputs)
    }

    /// As [`run`](Self::run), and the time of each step.
    pub(super) fn run_timed<T: Datum + Copy>(
        &self,
        shape: &[usize],
        values: &[T],
    ) -> Result<(Vec<Embedding>, Vec<NodeTime>), EncoderError> {
        let run =
            |error: TractError| EncoderError::Run { tower: self.name, reason: reason(&error) };
        let input = Tensor::from_shape(shape, values).map_err(run)?;
        let mut times = Vec::new();
        let mut state = self.plan.spawn().map_err(run)?;
        let outputs =
            state.run_plan_with_eval(tvec!(input.into_tvalue()), |ctx, op_state, node, inputs| {
                let macs = macs(node, &inputs);
                let begun = Instant::now();
                let outputs = tract_onnx::tract_core::plan::eval(ctx, op_state, node, inputs);
                let time = begun.elapsed();
                let operator = node.op.name().into_owned();
                times.push(NodeTime {
                    step: times.len(),
                    name: node.name.clone(),
                    operator,
                    macs,
                    time,
                });
                outputs
            });
        Ok((self.embeddings(shape[0], &outputs.map_err(run)?)?, times))
    }

    fn embeddings(&self, rows: usize, outputs: &[TValue]) -> Result<Vec<Embedding>, EncoderError> {
        let run =
            |error: TractError| EncoderError::Run { tower: self.name, reason: reason(&error) };
        let output = outputs[0].to_plain_array_view::<f32>().map_err(run)?;
        if output.shape() != [rows, self.embedding_dim] {
            let reason = format!("it gave {:?} for {rows} rows", output.shape());
            return Err(EncoderError::Shape { tower: self.name, reason });
        }
        let embedding = |row: &[f32]| {
            Embedding::normalised(row)
                .map_err(|source| EncoderError::NoDirection { tower: self.name, source })
        };
        let output = output.as_slice().expect("tract's outputs are contiguous");
        output.chunks_exact(self.embedding_dim).map(embedding).collect()
    }

    /// Rows of the table that the input looks things up in: the size of a vocabulary.
    pub(super) fn table_rows(&self) -> Option<usize> {
        let model = self.plan.model();
        let input = model.inputs[0].node;
        let lookup = model.nodes.iter().find(|node| {
            node.op.name() == "Gather" && node.inputs.get(1).is_some_and(|from| from.node == input)
        })?;
        model.outlet_fact(lookup.inputs[0]).ok()?.shape[0].to_usize().ok()
    }
}

/// The graph's declared input agrees with what it will be given.
fn check_input(declared: &InferenceFact, datum: DatumType, shape: &[Size]) -> Result<(), String> {
    let fits =
        |declared| declared == datum || (declared, datum) == (f16::datum_type(), f32::datum_type());
    if declared.datum_type.concretize().is_some_and(|declared| !fits(declared)) {
        return Err(format!("its input is {:?}, {datum:?} is meant", declared.datum_type));
    }
    let Some(dims) = declared.shape.concretize() else { return Ok(()) };
    let fits = dims.len() == shape.len()
        && dims.iter().zip(shape).all(|(dim, size)| match (dim.to_usize(), size) {
            (Ok(declared), Size::Fixed(given)) => declared == *given,
            (Ok(_), Size::Free(_)) => false,
            (Err(_), _) => true,
        });
    if fits {
        return Ok(());
    }
    let wanted = shape.iter().map(|size| match size {
        Size::Fixed(size) => size.to_string(),
        Size::Free(name) => (*name).to_owned(),
    });
    let [declared, wanted] = [
        dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        wanted.collect::<Vec<_>>().join(", "),
    ];
    Err(format!("its input is [{declared}], [{wanted}] is meant"))
}

/// The optimised graph gives `[n, embedding_dim]` floats.
fn check_output(fact: &TypedFact, embedding_dim: usize) -> Result<(), String> {
    let fits = fact.datum_type == f32::datum_type()
        && fact.rank() == 2
        && fact.shape[1] == embedding_dim.to_dim();
    if fits {
        return Ok(());
    }
    Err(format!("its output is {fact:?}, float [n, {embedding_dim}] is meant"))
}

/// Multiply-adds of a node, where it is one of ours.
fn macs(node: &TypedNode, inputs: &[TValue]) -> u64 {
    let values: usize = inputs.first().map_or(0, |input| input.shape().iter().product());
    let count = if let Some(product) = node.op_as::<Product>() {
        product.macs(values)
    } else if let Some(attention) = node.op_as::<Attention>() {
        attention.macs()
    } else {
        0
    };
    count as u64
}

/// tract's chain of causes on one line; it may quote whole tensors, so it ends somewhere.
fn reason(error: &TractError) -> String {
    const CHARS_MAX: usize = 300;
    let text = format!("{error:#}").replace('\n', " ");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
