//! Two towers out of the graphs of a repository.

use std::path::{Path, PathBuf};

use super::ImportError;
use super::facts::{Facts, Family};
use super::variant::Graphs;
use crate::encoder::{Cut, OnnxGraph, Port, Uniform};

/// A tower as an ONNX file with one input and one output.
pub(super) struct Tower {
    /// The file that it was cut out of.
    pub(super) path: PathBuf,
    pub(super) onnx: Vec<u8>,
    /// The output's name.
    pub(super) output: String,
    /// Values of an embedding, where the graph says so.
    pub(super) embedding_dim: Option<usize>,
    /// The input's sizes.
    pub(super) input: Vec<Option<usize>>,
    /// Whether it was told which tokens are there, so that short texts need no padding.
    pub(super) is_masked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Vision,
    Text,
}

/// What the graphs hold.
pub(super) struct Towers {
    pub(super) vision: Tower,
    pub(super) text: Option<Tower>,
    /// Scale and bias of the logits, where both towers meet in one graph.
    pub(super) logits: Option<(f32, f32)>,
    /// Files beside the graphs that hold their data.
    pub(super) data: Vec<PathBuf>,
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
    /// # Errors
    /// [`ImportError`]: a graph can't be read, is not what the settings say, or is missing.
    pub(super) fn read(folder: &Path, graphs: &Graphs, facts: &Facts) -> Result<Self, ImportError> {
        let open = |file: &str| OnnxGraph::read(&folder.join(file)).map_err(ImportError::from);
        let family = facts.family;
        let towers = match graphs {
            Graphs::Separate { vision, text } => {
                let text = open(text)?;
                check_words(folder, graphs, facts, true)?;
                let vision = open(vision)?;
                Self {
                    data: [text.data_files(), vision.data_files()].concat(),
                    text: Some(cut(&text, Side::Text, family)?),
                    vision: cut(&vision, Side::Vision, family)?,
                    logits: None,
                }
            }
            Graphs::Joint(file) | Graphs::Features(file) => {
                let graph = open(file)?;
                let has_text = named(&graph.inputs(), &TEXT_INPUTS).is_some();
                check_words(folder, graphs, facts, has_text)?;
                let text = has_text.then(|| cut(&graph, Side::Text, family)).transpose()?;
                Self {
                    data: graph.data_files().to_vec(),
                    text,
                    vision: cut(&graph, Side::Vision, family)?,
                    logits: LOGITS.iter().find_map(|output| graph.logit_scale(output)),
                }
            }
        };
        towers.check_sizes(facts)?;
        Ok(towers)
    }

    /// The graphs have the sizes that the settings say.
    fn check_sizes(&self, facts: &Facts) -> Result<(), ImportError> {
        for tower in [Some(&self.vision), self.text.as_ref()].into_iter().flatten() {
            if let (Some(dim), Some(said)) = (tower.embedding_dim, facts.dim_of(&tower.output))
                && dim != said.value
            {
                let (path, output) = (tower.path.display(), &tower.output);
                return Err(said.but(&format!("{path} gives {output} of {dim} values")));
            }
        }
        let edge = facts.preprocess.image_size as usize;
        let mut sizes = self.vision.input.iter().skip(1).zip([3, edge, edge]);
        let differs =
            sizes.find_map(|(size, meant)| Some((size.filter(|of| *of != meant)?, meant)));
        if let Some((size, meant)) = differs {
            let reason = format!(
                "it reads pictures of {size} where the settings make {meant}: [3, {edge}, {edge}]"
            );
            return Err(ImportError::File { path: self.vision.path.clone(), reason });
        }
        // A graph that says its edges knows better than settings that were copied from another model.
        let is_fixed = self.vision.input.get(2..4).is_some_and(|of| of.iter().all(Option::is_some));
        let wrong = facts.image_size.as_ref().filter(|said| !is_fixed && said.value != edge);
        wrong.map_or(Ok(()), |said| {
            Err(said.but(&format!("preprocessor_config.json makes pictures of {edge}")))
        })
    }
}

/// There is a text tower where the settings have one, and none where they don't.
fn check_words(
    folder: &Path,
    graphs: &Graphs,
    facts: &Facts,
    has_text: bool,
) -> Result<(), ImportError> {
    let kind = &facts.kind;
    let (file, reason) = match (facts.family.has_words(), has_text, graphs) {
        (true, false, Graphs::Joint(file)) => {
            (file.clone(), format!("it has no input_ids, and {kind} has a text tower"))
        }
        (true, false, _) => {
            (graphs.text_file(), format!("it is missing, and {kind} has a text tower"))
        }
        (false, true, Graphs::Joint(file) | Graphs::Features(file)) => {
            (file.clone(), format!("it has a text tower, and {kind} has none"))
        }
        (false, true, _) => (graphs.text_file(), format!("it is there, and {kind} has no words")),
        _ => return Ok(()),
    };
    Err(ImportError::File { path: folder.join(file), reason })
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
        (Side::Vision, Family::Features) => &["image_embeds", "pooler_output"],
        (Side::Vision, Family::ClassToken) => &["pooler_output"],
        (Side::Vision, Family::Pooled) => &["image_embeds", "image_features", "pooler_output"],
        (Side::Vision, Family::Projected) => {
            &["image_embeds", "image_embeddings", "image_features"]
        }
        (Side::Text, Family::Pooled) => &["text_embeds", "text_features", "pooler_output"],
        (Side::Text, _) => &["text_embeds", "text_embeddings", "text_features"],
    };
    let output = named(&outputs, known_outputs).cloned();
    let has_class_token = side == Side::Vision && family == Family::ClassToken;
    let tokens = || named(&outputs, &[ALL_TOKENS]).filter(|_| has_class_token).cloned();
    // Scores of classes are no features.
    let is_flat = |port: &Port| [0, 2].contains(&port.dims.len()) && !port.name.contains("logits");
    let flat = || only(&outputs).filter(is_flat);
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
    Ok(Tower {
        path: graph.path().into(),
        onnx,
        output: output.name,
        embedding_dim,
        input: input.dims,
        is_masked,
    })
}

fn unknown(graph: &OnnxGraph, what: &str, ports: &[Port]) -> ImportError {
    let names = ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
    ImportError::File {
        path: graph.path().into(),
        reason: format!("none of its {what}s is known to be the one of a tower: {names}"),
    }
}
