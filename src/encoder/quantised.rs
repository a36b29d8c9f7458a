//! Graphs that were quantised elsewhere, read as the float graphs that they stand for. Lowering then
//! quantises them its own way; weights that were int8, channel by channel and around zero, come out as
//! they went in.
//!
//! Five forms are known: ONNX Runtime's dynamic one (`DynamicQuantizeLinear`, then `MatMulInteger` or
//! `ConvInteger`), pairs of `QuantizeLinear` and `DequantizeLinear`, `DequantizeLinear` of constants,
//! of what is looked up in one (`Gather`), and `MatMulNBits` with weights of four bits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto::DataType};
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_core::internal::bail;

use super::four_bit;

/// Where things are in a graph, by the names of its values.
struct Names<'a> {
    graph: &'a GraphProto,
    constants: HashMap<&'a str, &'a TensorProto>,
    producers: HashMap<&'a str, &'a NodeProto>,
    readers: HashMap<&'a str, Vec<&'a NodeProto>>,
}

impl<'a> Names<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut names = Self {
            graph,
            constants: HashMap::new(),
            producers: HashMap::new(),
            readers: HashMap::new(),
        };
        names
            .constants
            .extend(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)));
        for node in &graph.node {
            names.producers.extend(node.output.iter().map(|name| (name.as_str(), node)));
            for input in &node.input {
                names.readers.entry(input).or_default().push(node);
            }
        }
        names
    }

    /// The one node of that type that reads a value, if nobody else does.
    fn only_reader(&self, value: &str, op_type: &str) -> Option<&'a NodeProto> {
        let is_output = self.graph.output.iter().any(|output| output.name == value);
        match self.readers.get(value).map(Vec::as_slice) {
            Some([node]) if node.op_type == op_type && !is_output => Some(node),
            _ => None,
        }
    }

    /// The type of the node that computes a value, past those that but move or copy it.
    fn computed_by(&self, value: &'a str) -> &'a str {
        let mut value = value;
        for _ in 0..self.graph.node.len() {
            let Some(node) = self.producers.get(value) else { break };
            match (node.op_type.as_str(), node.input.first()) {
                ("Cast" | "Identity" | "Reshape" | "Transpose", Some(input)) => value = input,
                (op_type, _) => return op_type,
            }
        }
        ""
    }

    fn producer(&self, value: &str, op_type: &str) -> Option<&'a NodeProto> {
        self.producers.get(value).copied().filter(|node| node.op_type == op_type)
    }
}

/// What is to be changed.
#[derive(Default)]
struct Changes {
    /// Nodes to take out, by the name of their first result.
    gone: BTreeSet<String>,
    /// Nodes to put in place of the one with that first result.
    replaced: BTreeMap<String, NodeProto>,
    /// Values that are another one from now on.
    renamed: BTreeMap<String, String>,
    constants: Vec<TensorProto>,
}

/// How many parts of a graph came quantised.
#[derive(Clone, Copy, Default)]
pub(super) struct Dequantised {
    /// Products and pairs of eight bits.
    pub(super) eight_bit: usize,
    /// Products with weights of four bits.
    pub(super) four_bit: usize,
}

/// Turns the quantised parts of a graph into float.
pub(super) fn to_float(graph: &mut GraphProto) -> TractResult<Dequantised> {
    let names = Names::of(graph);
    let (mut changes, mut count) = (Changes::default(), Dequantised::default());
    for node in &graph.node {
        let is_eight_bit = match node.op_type.as_str() {
            "MatMulInteger" | "ConvInteger" => integer_product(&names, node, &mut changes)?,
            "DequantizeLinear" => {
                looked_up(&names, node, &mut changes)? || dequantised(&names, node, &mut changes)?
            }
            "MatMulNBits" => {
                four_bit_product(&names, node, &mut changes)?;
                count.four_bit += 1;
                false
            }
            _ => false,
        };
        count.eight_bit += usize::from(is_eight_bit);
    }
    changes.apply(graph);
    Ok(count)
}

/// `MatMulNBits(x, weights)` is `MatMul(x, weights as floats)`.
fn four_bit_product(names: &Names, node: &NodeProto, changes: &mut Changes) -> TractResult<()> {
    let (Some(x), Some(output)) = (node.input.first(), node.output.first()) else {
        bail!("{}: MatMulNBits without input or output", node.name);
    };
    let name = format!("{output}.dequantised");
    let constant =
        |at: usize| names.constants.get(node.input.get(at)?.as_str()).map(|of| (*of).clone());
    changes.constants.push(four_bit::weights(node, constant, &name)?);
    let float = NodeProto {
        op_type: "MatMul".into(),
        domain: String::new(),
        input: vec![x.clone(), name],
        attribute: vec![],
        ..node.clone()
    };
    changes.replaced.insert(output.clone(), float);
    Ok(())
}

/// `DequantizeLinear` of what is looked up in a constant table is what is looked up in the table as floats.
fn looked_up(names: &Names, node: &NodeProto, changes: &mut Changes) -> TractResult<bool> {
    let found = (|| {
        let gather = names.producer(node.input.first()?, "Gather")?;
        let table = names.constants.get(gather.input.first()?.as_str())?;
        let scale = names.constants.get(node.input.get(1)?.as_str())?;
        let zero = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => Some(*names.constants.get(name.as_str())?),
            None => None,
        };
        Some((gather, *table, *scale, zero, node.output.first()?, gather.output.first()?))
    })();
    let Some((gather, table, scale, zero, output, found)) = found else { return Ok(false) };
    let name = format!("{output}.dequantised");
    changes.constants.push(dequantise(table, scale, zero, 0, &name)?);
    changes.gone.insert(output.clone());
    let mut input = gather.input.clone();
    input[0] = name;
    let float = NodeProto { input, output: node.output.clone(), ..gather.clone() };
    changes.replaced.insert(found.clone(), float);
    Ok(true)
}

impl Changes {
    fn apply(self, graph: &mut GraphProto) {
        let first = |node: &NodeProto| node.output.first().cloned().unwrap_or_default();
        graph.node.retain(|node| !self.gone.contains(&first(node)));
        for node in &mut graph.node {
            if let Some(other) = self.replaced.get(&first(node)) {
                *node = other.clone();
            }
            for value in node.input.iter_mut().chain(&mut node.output) {
                // As often as there are names: those that lead to themselves are left where they are.
                for _ in 0..self.renamed.len() {
                    let Some(name) = self.renamed.get(value) else { break };
                    value.clone_from(name);
                }
            }
        }
        graph.initializer.extend(self.constants);
    }
}

/// `Mul(Cast(MatMulInteger(quantised x, weights)), x's scale * weights' scale)` is `MatMul(x, weights)`.
fn integer_product(names: &Names, node: &NodeProto, changes: &mut Changes) -> TractResult<bool> {
    let found = (|| {
        let quantised = names.producer(node.input.first()?, "DynamicQuantizeLinear")?;
        let (x, x_scale) = (quantised.input.first()?, quantised.output.get(1)?);
        let cast = names.only_reader(node.output.first()?, "Cast")?;
        let scaled = names.only_reader(cast.output.first()?, "Mul")?;
        scaled.output.first()?;
        let factor = scaled.input.iter().find(|input| Some(*input) != cast.output.first())?;
        let factor = names.producer(factor, "Mul")?;
        let of_weights = factor.input.iter().find(|input| *input != x_scale)?;
        let weights = names.constants.get(node.input.get(1)?.as_str())?;
        let scale = names.constants.get(of_weights.as_str())?;
        let zero = match node.input.get(3).filter(|name| !name.is_empty()) {
            Some(name) => Some(*names.constants.get(name.as_str())?),
            None => None,
        };
        factor.input.contains(x_scale).then_some((x, cast, scaled, *weights, *scale, zero))
    })();
    let Some((x, cast, scaled, weights, scale, zero)) = found else { return Ok(false) };
    let is_matmul = node.op_type == "MatMulInteger";
    let axis = if is_matmul { weights.dims.len().saturating_sub(1) } else { 0 };
    let name = format!("{}.dequantised", scaled.output[0]);
    changes.constants.push(dequantise(weights, scale, zero, axis, &name)?);
    changes.gone.extend([node.output[0].clone(), cast.output[0].clone()]);
    let float = NodeProto {
        op_type: if is_matmul { "MatMul" } else { "Conv" }.into(),
        input: vec![x.clone(), name],
        output: scaled.output.clone(),
        ..node.clone()
    };
    changes.replaced.insert(scaled.output[0].clone(), float);
    Ok(true)
}

/// `DequantizeLinear` of a constant is a constant; of what `QuantizeLinear` gives, that one's input. What saturates at the
/// ends of the type is not cut off, save below 0: a calibrated range holds what the network gives, and our own quantising
/// has the range of each row.
fn dequantised(names: &Names, node: &NodeProto, changes: &mut Changes) -> TractResult<bool> {
    let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
        return Ok(false);
    };
    let constant = |node: &NodeProto, at: usize| {
        let name = node.input.get(at).filter(|name| !name.is_empty())?;
        names.constants.get(name.as_str()).copied()
    };
    let quantised = names.producer(input, "QuantizeLinear");
    if let Some((quantised, x)) = quantised.and_then(|q| Some((q, q.input.first()?))) {
        if quantised.input[1..] != node.input[1..] {
            return Ok(false); // not a pair: it scales
        }
        // Without a zero point it is 0, of bytes.
        let is_bounded = match constant(node, 2) {
            None => true,
            Some(zero) => {
                let least = if zero.data_type == DataType::Int8 as i32 { -128.0 } else { 0.0 };
                floats(zero)?.iter().all(|zero| (zero - least).abs() < 0.5)
            }
        };
        let not_below_0 = ["Relu", "Softmax", "Sigmoid"].contains(&names.computed_by(x));
        if is_bounded && !not_below_0 {
            // Where zero is the least value, quantising cuts off what is below: the quantiser took a ReLU away.
            let relu = NodeProto {
                op_type: "Relu".into(),
                input: vec![x.clone()],
                attribute: vec![],
                ..node.clone()
            };
            changes.replaced.insert(output.clone(), relu);
            return Ok(true);
        }
        changes.gone.insert(output.clone());
        let is_result = names.graph.output.iter().any(|result| result.name == *output);
        // The graph's own names stay.
        let (from, to) = if is_result {
            changes.gone.insert(input.clone());
            (x, output)
        } else {
            (output, x)
        };
        changes.renamed.insert(from.clone(), to.clone());
        return Ok(true);
    }
    let blocks = node.attribute.iter().find(|attribute| attribute.name == "block_size");
    if blocks.is_some_and(|blocks| blocks.i != 0) {
        bail!("{output}: DequantizeLinear in blocks is not known");
    }
    let (Some(values), Some(scale)) = (constant(node, 0), constant(node, 1)) else {
        return Ok(false);
    };
    let axis = node.attribute.iter().find(|attribute| attribute.name == "axis");
    let axis = axis.map_or(1, |attribute| attribute.i);
    let from_end = values.dims.len().saturating_sub(axis.unsigned_abs() as usize);
    let axis = usize::try_from(axis).unwrap_or(from_end);
    changes.constants.push(dequantise(values, scale, constant(node, 2), axis, output)?);
    changes.gone.insert(output.clone());
    Ok(true)
}

/// `(values - zero) * scale` along an axis, as a constant of floats.
fn dequantise(
    values: &TensorProto,
    scale: &TensorProto,
    zero: Option<&TensorProto>,
    axis: usize,
    name: &str,
) -> TractResult<TensorProto> {
    let scale = floats(scale)?;
    let zero = zero.map_or_else(|| Ok(vec![0.0]), floats)?;
    let dims: Vec<usize> = values.dims.iter().map(|dim| *dim as usize).collect();
    let size = dims.get(axis).copied().unwrap_or(1);
    if [&scale, &zero].iter().any(|of| of.len() != 1 && of.len() != size) {
        bail!("{name}: {} scales for {size} channels", scale.len());
    }
    let inner: usize = dims.iter().skip(axis + 1).product();
    let at = |of: &[f32], place: usize| of[if of.len() == 1 { 0 } else { place / inner % size }];
    let places = floats(values)?.into_iter().enumerate();
    let floats = places.map(|(place, value)| (value - at(&zero, place)) * at(&scale, place));
    Ok(TensorProto {
        name: name.into(),
        dims: values.dims.clone(),
        data_type: DataType::Float as i32,
        raw_data: floats.flat_map(f32::to_le_bytes).collect(),
        ..TensorProto::default()
    })
}

/// A constant's values, whatever their type.
pub(super) fn floats(constant: &TensorProto) -> TractResult<Vec<f32>> {
    let tensor = load_tensor(&MmapDataResolver, constant, None)?.cast_to::<f32>()?.into_owned();
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}
