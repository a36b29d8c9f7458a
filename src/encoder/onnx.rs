//! ONNX files as they are published: read with the data that lie beside them, cut down to one tower, and
//! written again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
    attribute_proto::AttributeType,
};
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;

use super::graph::reason;

/// Why an ONNX file can't be read or cut.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct OnnxError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// A published graph: one tower, or two that meet.
pub struct OnnxGraph {
    path: PathBuf,
    data: Vec<PathBuf>,
    model: ModelProto,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its sizes; none where one is free.
    pub dims: Vec<Option<usize>>,
}

/// What a tower is cut out by.
#[derive(Clone, Debug)]
pub struct Cut<'a> {
    /// The input that stays.
    pub input: &'a str,
    /// Inputs of the same shape that have one value everywhere: of a text at its own length, the attention
    /// mask is all ones and the token types are all zeros.
    pub uniform: Vec<(&'a str, Uniform)>,
    /// The output that stays.
    pub output: &'a str,
    /// Whether the output has a row for each token, of which the first one is meant.
    pub first_token: bool,
}

/// One value everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uniform {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
}

impl OnnxGraph {
    /// Reads a file, and what of its data lies beside it.
    ///
    /// # Errors
    /// [`OnnxError`]: it can't be read, is no ONNX file, or its data are missing.
    pub fn read(path: &Path) -> Result<Self, OnnxError> {
        let failed = |reason| OnnxError { path: path.into(), reason };
        let model = tract_onnx::onnx().proto_model_for_path(path);
        let mut model = model.map_err(|error| failed(reason(&error)))?;
        let graph = model.graph.as_mut().ok_or_else(|| failed("it holds no graph".into()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let data = take_in_data(graph, folder).map_err(failed)?;
        Ok(Self { path: path.into(), data, model })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files beside it that hold its data.
    #[must_use]
    pub fn data_files(&self) -> &[PathBuf] {
        &self.data
    }

    /// What the graph must be given.
    #[must_use]
    pub fn inputs(&self) -> Vec<Port> {
        let graph = self.graph();
        let constants: HashSet<&str> = graph.initializer.iter().map(|c| c.name.as_str()).collect();
        let free = graph.input.iter().filter(|input| !constants.contains(input.name.as_str()));
        free.map(port).collect()
    }

    /// What the graph gives.
    #[must_use]
    pub fn outputs(&self) -> Vec<Port> {
        self.graph().output.iter().map(port).collect()
    }

    /// The part of the graph that computes one output from one input, as an ONNX file.
    ///
    /// # Errors
    /// [`OnnxError`]: it has no such output, or the output needs another input.
    pub fn cut(&self, cut: &Cut) -> Result<Vec<u8>, OnnxError> {
        let failed = |reason| OnnxError { path: self.path.clone(), reason };
        let graph = self.graph();
        let declared = |ports: &[ValueInfoProto], name: &str| {
            ports.iter().find(|port| port.name == name).cloned()
        };
        let missing = |what, name| failed(format!("it has no {what} named {name}"));
        let input = declared(&graph.input, cut.input).ok_or_else(|| missing("input", cut.input))?;
        let mut output =
            declared(&graph.output, cut.output).ok_or_else(|| missing("output", cut.output))?;
        let mut given = vec![cut.input];
        let mut node = Vec::new();
        let mut initializer = Vec::new();
        for (name, value) in
            cut.uniform.iter().filter(|(name, _)| declared(&graph.input, name).is_some())
        {
            given.push(name);
            node.extend(uniform(cut.input, name, *value));
        }
        let needed = Needed::of(graph, cut.output, &given).map_err(failed)?;
        node.extend(needed.nodes.into_iter().cloned());
        initializer.extend(needed.constants.into_iter().cloned());
        if cut.first_token {
            let (index, gather) = first_of(cut.output);
            output = ValueInfoProto { name: gather.output[0].clone(), ..ValueInfoProto::default() };
            initializer.push(index);
            node.push(gather);
        }
        let graph = GraphProto {
            name: graph.name.clone(),
            node,
            initializer,
            input: vec![input],
            output: vec![output],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            functions: self.model.functions.clone(),
            ir_version: self.model.ir_version,
            opset_import: self.model.opset_import.clone(),
            producer_name: self.model.producer_name.clone(),
            producer_version: self.model.producer_version.clone(),
            ..ModelProto::default()
        };
        Ok(prost::Message::encode_to_vec(&model))
    }

    /// The constant that scales the cosines of two towers that meet, and the one that is added, where the
    /// output is such a sum of products: `logit_scale`, which the graph may hold as its logarithm, and
    /// `logit_bias`, 0 where nothing is added.
    #[must_use]
    pub fn logit_scale(&self, output: &str) -> Option<(f32, f32)> {
        let graph = self.graph();
        let reader = Scalars::of(graph);
        let mut at = output;
        let mut bias = 0.0;
        // Towards the product of the embeddings: each step takes off one operation.
        for _ in 0..graph.node.len() {
            let node = *reader.producers.get(at)?;
            match node.op_type.as_str() {
                "Transpose" | "Identity" | "Cast" => at = node.input.first()?,
                "Add" => {
                    let (value, rest) = reader.operand(node)?;
                    (bias, at) = (bias + value, rest);
                }
                "Mul" => return reader.operand(node).map(|(scale, _)| (scale, bias)),
                // The scale may be in one of the factors.
                "MatMul" => {
                    let scale = node.input.iter().find_map(|factor| reader.scale_within(factor));
                    return scale.map(|scale| (scale, bias));
                }
                _ => return None,
            }
        }
        None
    }

    fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("a graph is there since it was read")
    }
}

/// The nodes and constants that an output needs, in the graph's order.
struct Needed<'a> {
    nodes: Vec<&'a NodeProto>,
    constants: Vec<&'a TensorProto>,
}

impl<'a> Needed<'a> {
    fn of(graph: &'a GraphProto, output: &'a str, given: &[&str]) -> Result<Self, String> {
        let producers = producers(graph);
        let mut constants: HashMap<&str, &TensorProto> =
            graph.initializer.iter().map(|constant| (constant.name.as_str(), constant)).collect();
        let mut known: HashSet<&str> = HashSet::new();
        let mut open = vec![output];
        let (mut nodes, mut taken): (HashSet<*const NodeProto>, Vec<&TensorProto>) =
            (HashSet::new(), Vec::new());
        while let Some(name) = open.pop() {
            if name.is_empty() || given.contains(&name) || !known.insert(name) {
                continue;
            }
            if let Some(node) = producers.get(name) {
                if nodes.insert(std::ptr::from_ref(*node)) {
                    read_by(node, &mut open);
                }
            } else if let Some(constant) = constants.remove(name) {
                taken.push(constant);
            } else if graph.input.iter().any(|input| input.name == name) {
                return Err(format!(
                    "its output {output} needs the input {name}, which edgeclip does not give"
                ));
            }
        }
        let nodes = graph.node.iter().filter(|node| nodes.contains(&std::ptr::from_ref(*node)));
        let nodes: Vec<&NodeProto> = nodes.collect();
        Ok(Self { nodes: in_order(&nodes, given)?, constants: taken })
    }
}

/// Nodes, each after those that it reads: converters to half floats append theirs at the end. A graph that leads back
/// to itself has no such order.
fn in_order<'a>(nodes: &[&'a NodeProto], given: &[&str]) -> Result<Vec<&'a NodeProto>, String> {
    let outputs = nodes.iter().flat_map(|node| &node.output).map(String::as_str);
    let mut pending: HashSet<&str> = outputs.filter(|name| !given.contains(name)).collect();
    let (mut sorted, mut rest) = (Vec::with_capacity(nodes.len()), nodes.to_vec());
    while let Some(first) = rest.first() {
        let (first, left) = (first.name.as_str(), rest.len());
        rest.retain(|node| {
            let mut names = Vec::new();
            read_by(node, &mut names);
            // What a node's branches compute themselves is not pending.
            let waits = names.iter().any(|name| pending.contains(name));
            if !waits {
                node.output.iter().for_each(|name| _ = pending.remove(name.as_str()));
                sorted.push(*node);
            }
            waits
        });
        if rest.len() == left {
            return Err(format!("its node {first} reads what is computed of it"));
        }
    }
    Ok(sorted)
}

/// The names that a node reads, those within its branches among them; some of them are the branches' own.
fn read_by<'a>(node: &'a NodeProto, names: &mut Vec<&'a str>) {
    names.extend(node.input.iter().map(String::as_str));
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        names.extend(graph.output.iter().map(|output| output.name.as_str()));
        graph.node.iter().for_each(|node| read_by(node, names));
    }
}

fn producers(graph: &GraphProto) -> HashMap<&str, &NodeProto> {
    let mut producers = HashMap::new();
    for node in &graph.node {
        producers.extend(node.output.iter().map(|name| (name.as_str(), node)));
    }
    producers
}

/// Nodes that give `name`, of the shape of `like`, with 0 or 1 everywhere: computed of `like` when the graph runs, since
/// tract goes wrong in what it makes of such constants of a free size.
fn uniform(like: &str, name: &str, uniform: Uniform) -> Vec<NodeProto> {
    let node = |op_type: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: op_type.into(),
        name: format!("{name}.{op_type}"),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    match uniform {
        Uniform::Zeros => vec![node("Sub", &[like, like], name)],
        Uniform::Ones => {
            let equal = format!("{name}.equal");
            let to = AttributeProto {
                name: "to".into(),
                r#type: AttributeType::Int as i32,
                i: DataType::Int64 as i64,
                ..AttributeProto::default()
            };
            let cast = NodeProto { attribute: vec![to], ..node("Cast", &[&equal], name) };
            vec![node("Equal", &[like, like], &equal), cast]
        }
    }
}

/// A node that takes the first of the rows along the second axis, and the constant that it needs.
fn first_of(rows: &str) -> (TensorProto, NodeProto) {
    let name = format!("{rows}.first");
    let index = TensorProto {
        name: format!("{name}.index"),
        data_type: DataType::Int64 as i32,
        int64_data: vec![0],
        ..TensorProto::default()
    };
    let axis = AttributeProto {
        name: "axis".into(),
        r#type: AttributeType::Int as i32,
        i: 1,
        ..AttributeProto::default()
    };
    let gather = NodeProto {
        op_type: "Gather".into(),
        name: name.clone(),
        input: vec![rows.into(), index.name.clone()],
        output: vec![name],
        attribute: vec![axis],
        ..NodeProto::default()
    };
    (index, gather)
}

/// Constants of one value in a graph.
struct Scalars<'a> {
    producers: HashMap<&'a str, &'a NodeProto>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Scalars<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let constants = graph.initializer.iter().map(|c| (c.name.as_str(), c)).collect();
        Self { producers: producers(graph), constants }
    }

    /// The constant operand of a node of two, and the other operand.
    fn operand(&self, node: &'a NodeProto) -> Option<(f32, &'a str)> {
        let [a, b] = &*node.input else { return None };
        self.value(a).map(|value| (value, b.as_str())).or_else(|| Some((self.value(b)?, a)))
    }

    /// The value of a name that stands for one number, or for the exponential of one.
    fn value(&self, name: &'a str) -> Option<f32> {
        let (mut at, mut exponentials) = (name, 0);
        for _ in 0..=self.producers.len() {
            let found = match (self.constants.get(at), self.producers.get(at)) {
                (Some(constant), _) => single(constant)?,
                (None, Some(node)) => match node.op_type.as_str() {
                    "Constant" => {
                        single(node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?)?
                    }
                    "Exp" | "Identity" | "Cast" | "Reshape" | "Unsqueeze" | "Squeeze" => {
                        exponentials += u32::from(node.op_type == "Exp");
                        at = node.input.first()?;
                        continue;
                    }
                    _ => return None,
                },
                (None, None) => return None,
            };
            return Some((0..exponentials).fold(found, |value, _| value.exp()));
        }
        None
    }

    /// The number that a factor of the logits is multiplied with, past moved axes.
    fn scale_within(&self, factor: &'a str) -> Option<f32> {
        let mut at = factor;
        for _ in 0..=self.producers.len() {
            let node = self.producers.get(at)?;
            match node.op_type.as_str() {
                "Transpose" | "Identity" | "Cast" => at = node.input.first()?,
                "Mul" => return self.operand(node).map(|(scale, _)| scale),
                _ => return None,
            }
        }
        None
    }
}

fn single(constant: &TensorProto) -> Option<f32> {
    let tensor = load_tensor(&MmapDataResolver, constant, None).ok()?;
    let tensor = (tensor.len() == 1).then_some(tensor)?.cast_to::<f32>().ok()?.into_owned();
    tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.first().copied()
}

fn port(value: &ValueInfoProto) -> Port {
    let shape = value.r#type.as_ref().and_then(|of| match &of.value {
        Some(TypeValue::TensorType(tensor)) => tensor.shape.as_ref(),
        _ => None,
    });
    let dims = shape.map_or_else(Vec::new, |shape| {
        shape
            .dim
            .iter()
            .map(|dim| match &dim.value {
                Some(DimValue::DimValue(size)) => usize::try_from(*size).ok(),
                _ => None,
            })
            .collect()
    });
    Port { name: value.name.clone(), dims }
}

/// Brings constants that lie in files beside the graph into it; these files, each once.
fn take_in_data(graph: &mut GraphProto, folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let in_nodes = attributes.filter_map(|attribute| attribute.t.as_mut());
    for constant in graph.initializer.iter_mut().chain(in_nodes) {
        if constant.data_location != Some(DataLocation::External as i32) {
            continue;
        }
        let failed = |reason: String| format!("the data of {}: {reason}", constant.name);
        let entry = |key: &str| {
            constant.external_data.iter().find(|of| of.key == key).map(|of| of.value.as_str())
        };
        let number = |key: &str| {
            entry(key).map(|value| value.parse::<u64>().map_err(|_| format!("{key} is {value}")))
        };
        let location = entry("location").unwrap_or_default();
        let path = beside(folder, location).map_err(failed)?;
        let (offset, length) = (number("offset").transpose(), number("length").transpose());
        let span = (offset.map_err(failed)?.unwrap_or(0), length.map_err(failed)?);
        constant.raw_data = read_span(&path, span)
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        constant.data_location = None;
        constant.external_data.clear();
        if !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// A file of the folder, or of one in it; a link may lead elsewhere, as in the hub's cache, a name may not.
fn beside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let location = Path::new(location);
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.as_os_str().is_empty() || !location.components().all(inside) {
        return Err(format!("{} is no file beside the graph", location.display()));
    }
    Ok(folder.join(location))
}

/// So many bytes from an offset on, or all from there.
fn read_span(path: &Path, (offset, length): (u64, Option<u64>)) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let rest = file.metadata()?.len().checked_sub(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = length.unwrap_or(rest);
    if length > rest {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
