//! One graph, ready to run: what both towers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;

use super::graph::{Size, check, guarded, read, reason};
use super::lower::{Report, lower};
use super::ops::{Attention, Product};
use super::packed::{PackedTower, put_together, take_apart};
use super::{Compute, EncoderError, Precision};
use crate::embedding::Embedding;
use crate::gemm::Layout;

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
    /// The node's name in the graph.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Multiply-adds, where it is one of ours.
    pub macs: u64,
    /// Wall-clock time.
    pub time: Duration,
    /// How far the caller's count went meanwhile.
    pub counted: usize,
}

impl Tower {
    /// Reads a graph and makes it ready to run.
    pub(super) fn load(
        name: &'static str,
        onnx: &[u8],
        datum: DatumType,
        shape: &[Size],
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        let read = || Self::read(name, onnx, datum, shape, embedding_dim, compute);
        guarded(read).map_err(|reason| EncoderError::Load { tower: name, reason })?
    }

    fn read(
        name: &'static str,
        onnx: &[u8],
        datum: DatumType,
        shape: &[Size],
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        let load = no_load(name);
        let (mut model, dequantised) = read(name, onnx, datum, shape)?;
        let mut report = Report::default();
        if compute.precision() == Precision::Float {
            let parts = dequantised.eight_bit + dequantised.four_bit;
            if parts > 0 {
                log::warn!("the {name} graph was quantised; {parts} of its parts become float");
            }
            model.declutter().map_err(load)?;
        } else {
            let layout = compute.kernel().layout();
            (model, report) = lower(model, &compute.engine(), layout).map_err(load)?;
            report.four_bit = dequantised.four_bit;
        }
        if compute.precision() == Precision::Int8 && report.products == 0 {
            return Err(EncoderError::NothingInt8 { tower: name });
        }
        if compute.precision() == Precision::Auto && report.products == 0 {
            log::warn!("nothing in the {name} graph can be int8: edgeclip model info says why");
        }
        Self::ready(name, model, embedding_dim, report)
    }

    /// Reads a graph and lowers it to be stored, its weights packed for a kernel of that layout.
    pub(super) fn pack(
        name: &'static str,
        onnx: &[u8],
        datum: DatumType,
        shape: &[Size],
        compute: &Compute,
        layout: Layout,
    ) -> Result<PackedTower, EncoderError> {
        let load = no_load(name);
        let (model, dequantised) = read(name, onnx, datum, shape)?;
        let (model, mut report) = lower(model, &compute.engine(), layout).map_err(load)?;
        report.four_bit = dequantised.four_bit;
        take_apart(model, report).map_err(load)
    }

    /// Makes a stored tower ready to run; its input has one of the shapes.
    pub(super) fn load_packed(
        name: &'static str,
        packed: &PackedTower,
        layout: Layout,
        (datum, shapes): (DatumType, &[&[Size]]),
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        if compute.precision() == Precision::Float {
            return Err(EncoderError::PackedIsInt8 { tower: name });
        }
        let load = no_load(name);
        let (model, report) = put_together(packed, layout, &compute.engine()).map_err(load)?;
        let checks = shapes.iter().map(|shape| check(&model, datum, shape));
        checks
            .reduce(Result::or)
            .unwrap_or(Ok(()))
            .map_err(|reason| EncoderError::Shape { tower: name, reason })?;
        Self::ready(name, model, embedding_dim, report)
    }

    fn ready(
        name: &'static str,
        mut model: TypedModel,
        embedding_dim: usize,
        report: Report,
    ) -> Result<Self, EncoderError> {
        let load = no_load(name);
        let misfit = |reason| EncoderError::Shape { tower: name, reason };
        model.optimize().map_err(load)?;
        check_output(model.output_fact(0).map_err(load)?, embedding_dim).map_err(misfit)?;
        let plan = model.into_runnable().map_err(load)?;
        Ok(Self { name, plan, embedding_dim, report })
    }

    /// The input's first two sizes: rows of a run, and what a row has of the second one; none where they are free.
    pub(super) fn input_sizes(&self) -> [Option<usize>; 2] {
        let fact = self.plan.model().input_fact(0).ok();
        [0, 1].map(|axis| fact?.shape.get(axis)?.to_usize().ok())
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
        let run = self.failed();
        let input = Tensor::from_shape(shape, values).map_err(run)?;
        let outputs = self.plan.run(tvec!(input.into_tvalue())).map_err(run)?;
        self.embeddings(shape[0], &outputs)
    }

    /// As [`run`](Self::run), and the time of each step, and how far `count` went on in it.
    pub(super) fn run_timed<T: Datum + Copy>(
        &self,
        shape: &[usize],
        values: &[T],
        count: impl Fn() -> usize,
    ) -> Result<(Vec<Embedding>, Vec<NodeTime>), EncoderError> {
        let run = self.failed();
        let input = Tensor::from_shape(shape, values).map_err(run)?;
        let mut times = Vec::new();
        let mut state = self.plan.spawn().map_err(run)?;
        let outputs =
            state.run_plan_with_eval(tvec!(input.into_tvalue()), |ctx, op_state, node, inputs| {
                let macs = macs(node, &inputs);
                let (before, begun) = (count(), Instant::now());
                let outputs = tract_onnx::tract_core::plan::eval(ctx, op_state, node, inputs);
                let (time, counted) = (begun.elapsed(), count() - before);
                let (name, operator) = (node.name.clone(), node.op.name().into_owned());
                times.push(NodeTime { name, operator, macs, time, counted });
                outputs
            });
        Ok((self.embeddings(shape[0], &outputs.map_err(run)?)?, times))
    }

    /// tract's error in a run as ours.
    fn failed(&self) -> impl Fn(TractError) -> EncoderError + Copy {
        let tower = self.name;
        move |error| EncoderError::Run { tower, reason: reason(&error) }
    }

    fn embeddings(&self, rows: usize, outputs: &[TValue]) -> Result<Vec<Embedding>, EncoderError> {
        let run = self.failed();
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

/// tract's error in loading as ours.
fn no_load(tower: &'static str) -> impl Fn(TractError) -> EncoderError + Copy {
    move |error| EncoderError::Load { tower, reason: reason(&error) }
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
