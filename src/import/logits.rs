//! The scale and bias that make logits of cosines. They are trained, so they are weights: files of settings hold
//! but what training began with.

use std::fs::File;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::facts::Facts;
use super::towers::Towers;
use super::{ImportError, Options};
use crate::classify::{ScoreKind, Scoring};
use crate::memory;

/// Checkpoints that may lie beside the graphs.
const CHECKPOINTS: [&str; 2] = ["model.safetensors", "open_clip_model.safetensors"];

/// As asked for; or as the graph of both towers has them; or as the settings or the checkpoint beside the graphs say.
/// A model without words has no logits.
pub(super) fn scoring(
    folder: &Path,
    facts: &Facts,
    options: &Options,
    towers: &Towers,
) -> Result<Scoring, ImportError> {
    let kind = facts.score;
    if towers.text.is_none() {
        return Ok(Scoring { kind: ScoreKind::Softmax, logit_scale: 1.0, logit_bias: 0.0 });
    }
    let in_checkpoint = checkpoint(folder)?;
    let (of_graph, graph_bias) = towers.logits.unzip();
    let (of_checkpoint, checkpoint_bias) = (in_checkpoint.scale, in_checkpoint.bias);
    let scale = options.logit_scale.or(of_graph).or(facts.logits.0).or(of_checkpoint);
    let logit_scale = scale.ok_or(ImportError::NoLogitScale)?;
    let bias = options.logit_bias.or(graph_bias).or(facts.logits.1).or(checkpoint_bias);
    let logit_bias = match (bias, kind) {
        (Some(bias), _) => bias,
        // It changes nothing there.
        (None, ScoreKind::Softmax) => 0.0,
        (None, ScoreKind::Sigmoid) => return Err(ImportError::NoLogitScale),
    };
    Ok(Scoring { kind, logit_scale, logit_bias })
}

#[derive(Default)]
struct InCheckpoint {
    scale: Option<f32>,
    bias: Option<f32>,
}

/// `logit_scale`, stored as its logarithm, and `logit_bias` of a checkpoint; empty where there is none.
fn checkpoint(folder: &Path) -> Result<InCheckpoint, ImportError> {
    for name in CHECKPOINTS {
        let path = folder.join(name);
        let Ok(file) = File::open(&path) else { continue };
        let io = |source| ImportError::Io { path: path.clone(), source };
        let bytes = memory::map(&file).map_err(io)?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| ImportError::File { path: path.clone(), reason: error.to_string() })?;
        let scale = number(&tensors, "logit_scale").map(f32::exp);
        return Ok(InCheckpoint { scale, bias: number(&tensors, "logit_bias") });
    }
    Ok(InCheckpoint::default())
}

fn number(tensors: &SafeTensors, name: &str) -> Option<f32> {
    let tensor = tensors.tensor(name).ok()?;
    let bytes = tensor.data();
    match (tensor.dtype(), bytes.len()) {
        (Dtype::F32, 4) => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
        (Dtype::F16, 2) => Some(half::f16::from_le_bytes(bytes.try_into().ok()?).to_f32()),
        (Dtype::BF16, 2) => Some(half::bf16::from_le_bytes(bytes.try_into().ok()?).to_f32()),
        _ => None,
    }
}
