//! Two towers out of the graphs of a repository.

use std::path::Path;

use super::facts::Family;
use super::variant::Graphs;
use super::{ImportError, Side};
use crate::encoder::{Cut, OnnxGraph, Port, Uniform};

/// A tower as an ONNX file with one input and one output.
pub(super) struct Tower {
    pub(super) onnx: Vec<u8>,
    /// Values of an embedding, where the graph says so.
    pub(super) embedding_dim: Option<usize>,
    /// The input's sizes.
    pub(super) input: Vec<Option<usize>>,
    /// Whether it was told which tokens are there, so that short texts need no padding.
    pub(super) is_masked: bool,
}

/// What the graphs hold.
pub(super) struct Towers {
    pub(super) vision: Tower,
    pub(super) text: Option<Tower>,
    /// Scale and bias of the logits, where both towers meet in one graph.
    pub(super) logits: Option<(f32, f32)>,
}

/// Names that exporters give to a tower's input, most common first.
const IMAGE_INPUTS: [&str; 3] = ["pixel_values", "image", "input"];
const TEXT_INPUTS: [&str; 3] = ["input_ids", "text", "tokens"];
/// Inputs that are known for texts without padding.
const UNIFORM: [(&str, Uniform); 2] =
    [("attention_mask", Uniform::Ones), ("token_type_ids", Uniform::Zeros)];
/// Names of the logits of pictures by texts, and the other way round.
const LOGITS: [&str; 2] = ["logits_per_image", "logits_per_text"];
/// An output with a row for each token.
const ALL_TOKENS: &str = "last_hidden_state";

impl Towers {
    pub(super) fn read(
        folder: &Path,
        graphs: &Graphs,
        family: Family,
    ) -> Result<Self, ImportError> {
        let open = |file: &str| OnnxGraph::read(&folder.join(file)).map_err(ImportError::from);
        match graphs {
            Graphs::Separate { vision, text } => {
                let text = cut(&open(text)?, Side::Text, family)?;
                let vision = cut(&open(vision)?, Side::Vision, family)?;
                Ok(Self { vision, text: Some(text), logits: None })
            }
            Graphs::Joint(file) | Graphs::Features(file) => {
                let graph = open(file)?;
                let has_text = named(&graph.inputs(), &TEXT_INPUTS).is_some();
                let text = has_text.then(|| cut(&graph, Side::Text, family)).transpose()?;
                let logits = LOGITS.iter().find_map(|output| graph.logit_scale(output));
                Ok(Self { vision: cut(&graph, Side::Vision, family)?, text, logits })
            }
        }
    }
}

fn named<'a>(ports: &'a [Port], names: &[&str]) -> Option<&'a Port> {
    names.iter().find_map(|name| ports.iter().find(|port| port.name == *name))
}

/// One side of a graph.
fn cut(graph: &OnnxGraph, side: Side, family: Family) -> Result<Tower, ImportError> {
    let (inputs, outputs) = (graph.inputs(), graph.outputs());
    let known_inputs = if side == Side::Vision { IMAGE_INPUTS } else { TEXT_INPUTS };
    let only = |ports: &[Port]| if let [port] = ports { Some(port.clone()) } else { None };
    let input = named(&inputs, &known_inputs).cloned().or_else(|| only(&inputs));
    let input = input.ok_or_else(|| unknown(graph, "input", &inputs))?;
    let known_outputs: &[&str] = match (side, family) {
        (Side::Vision, Family::Features) => &["pooler_output", "image_embeds"],
        (Side::Vision, Family::Pooled) => &["image_embeds", "image_features", "pooler_output"],
        (Side::Vision, Family::Projected) => {
            &["image_embeds", "image_embeddings", "image_features"]
        }
        (Side::Text, Family::Pooled) => &["text_embeds", "text_features", "pooler_output"],
        (Side::Text, _) => &["text_embeds", "text_embeddings", "text_features"],
    };
    let output = named(&outputs, known_outputs).cloned();
    let tokens = || named(&outputs, &[ALL_TOKENS]).filter(|_| family == Family::Features).cloned();
    let flat = || only(&outputs).filter(|port| [0, 2].contains(&port.dims.len()));
    let (output, first_token) = match output.or_else(flat) {
        Some(output) => (output, false),
        None => (tokens().ok_or_else(|| unknown(graph, "output", &outputs))?, true),
    };
    let uniform = match side {
        Side::Vision => vec![],
        Side::Text => UNIFORM.to_vec(),
    };
    let onnx =
        graph.cut(&Cut { input: &input.name, uniform, output: &output.name, first_token })?;
    let embedding_dim = output.dims.last().copied().flatten();
    let is_masked = side == Side::Text && named(&inputs, &[UNIFORM[0].0]).is_some();
    Ok(Tower { onnx, embedding_dim, input: input.dims, is_masked })
}

fn unknown(graph: &OnnxGraph, what: &str, ports: &[Port]) -> ImportError {
    let names = ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
    ImportError::File {
        path: graph.path().into(),
        reason: format!("none of its {what}s is known to be the one of a tower: {names}"),
    }
}
