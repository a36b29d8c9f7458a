//! The scale and bias that make logits of cosines. They are trained, so they are weights: files of settings hold
//! but what training began with.

use std::io::ErrorKind;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::facts::Facts;
use super::towers::Towers;
use super::{ImportError, Options};
use crate::classify::{ScoreKind, Scoring};
use crate::disk;
use crate::memory;

/// Checkpoints that may lie beside the graphs.
const CHECKPOINTS: [&str; 2] = ["model.safetensors", "open_clip_model.safetensors"];

/// As asked for; or as the graph of both towers has them; or as the settings or the checkpoint beside the graphs say.
/// And the checkpoint's name, where one was read. A model without words has no logits.
pub(super) fn scoring(
    folder: &Path,
    facts: &Facts,
    options: &Options,
    towers: &Towers,
) -> Result<(Scoring, Option<&'static str>), ImportError> {
    let kind = facts.score;
    if towers.text.is_none() {
        return Ok((Scoring { kind, logit_scale: 1.0, logit_bias: 0.0 }, None));
    }
    let is_biased = kind == ScoreKind::Sigmoid;
    let (of_graph, graph_bias) = towers.logits.unzip();
    // A graph that adds nothing says nothing of a bias.
    let graph_bias = graph_bias.filter(|bias| !is_biased || *bias != 0.0);
    let (of_settings, settings_bias) = facts.logits;
    let mut scale = options.logit_scale.or(of_graph).or(of_settings);
    let mut bias = options.logit_bias.or(graph_bias).or(settings_bias);
    let mut read = None;
    if scale.is_none() || (is_biased && bias.is_none()) {
        let checkpoint = Checkpoint::read(folder)?;
        scale = scale.or(checkpoint.scale);
        bias = bias.or(checkpoint.bias);
        read = checkpoint.name;
    }
    let logit_scale = scale.ok_or(ImportError::NoLogitScale)?;
    if !(logit_scale.is_finite() && logit_scale > 0.0) {
        return Err(ImportError::LogitScale(logit_scale));
    }
    let logit_bias = match bias {
        Some(bias) if !bias.is_finite() => return Err(ImportError::LogitBias(bias)),
        Some(bias) => bias,
        None if is_biased => return Err(ImportError::NoLogitBias),
        // It changes nothing there.
        None => 0.0,
    };
    Ok((Scoring { kind, logit_scale, logit_bias }, read))
}

#[derive(Default)]
struct Checkpoint {
    name: Option<&'static str>,
    scale: Option<f32>,
    bias: Option<f32>,
}

impl Checkpoint {
    /// `logit_scale`, stored as its logarithm, and `logit_bias`; empty where there is no checkpoint.
    fn read(folder: &Path) -> Result<Self, ImportError> {
        for name in CHECKPOINTS {
            let path = folder.join(name);
            let file = match disk::open_regular(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.and_then(|file| memory::map(&file)),
            };
            let bytes = file.map_err(|source| ImportError::Io { path: path.clone(), source })?;
            let wrong = |reason: String| ImportError::File { path: path.clone(), reason };
            let tensors =
                SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
            let number = |name: &str| match tensors.tensor(name) {
                Ok(tensor) => number(&tensor).map(Some).ok_or_else(|| {
                    let (size, dtype) = (tensor.data().len(), tensor.dtype());
                    wrong(format!("{name} is no number: it has {size} bytes of {dtype:?}"))
                }),
                Err(_) => Ok(None),
            };
            let scale = number("logit_scale")?.map(f32::exp);
            return Ok(Self { name: Some(name), scale, bias: number("logit_bias")? });
        }
        Ok(Self::default())
    }
}

/// The one number that is in a tensor.
fn number(tensor: &TensorView<'_>) -> Option<f32> {
    match (tensor.dtype(), tensor.data()) {
        (Dtype::F32, &[a, b, c, d]) => Some(f32::from_le_bytes([a, b, c, d])),
        (Dtype::F16, &[a, b]) => Some(half::f16::from_le_bytes([a, b]).to_f32()),
        (Dtype::BF16, &[a, b]) => Some(half::bf16::from_le_bytes([a, b]).to_f32()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    /// A checkpoint whose scale lies behind more than a small board's memory, of which nothing is read.
    #[test]
    fn one_number_is_read_of_a_large_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let write = |header: &str, rest: &[(u64, &[u8])]| {
            let mut file = File::create(&path).unwrap();
            file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
            file.write_all(header.as_bytes()).unwrap();
            for (at, bytes) in rest {
                file.seek(SeekFrom::Start(8 + header.len() as u64 + at)).unwrap();
                file.write_all(bytes).unwrap();
            }
        };
        let large = 1_u64 << 31;
        let header = format!(
            r#"{{"weight": {{"dtype": "F32", "shape": [{}], "data_offsets": [0, {large}]}},
            "logit_scale": {{"dtype": "F32", "shape": [], "data_offsets": [{large}, {}]}},
            "logit_bias": {{"dtype": "F16", "shape": [1], "data_offsets": [{}, {}]}}}}"#,
            large / 4,
            large + 4,
            large + 4,
            large + 6
        );
        let bias = half::f16::from_f32(-16.5).to_le_bytes();
        write(&header, &[(large, &4.5_f32.to_le_bytes()), (large + 4, &bias)]);
        let read = Checkpoint::read(folder.path()).unwrap();
        assert_eq!((read.scale, read.bias), (Some(4.5_f32.exp()), Some(-16.5)));

        let wide = r#"{"logit_scale": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#;
        write(wide, &[(0, &[0; 8])]);
        let error = Checkpoint::read(folder.path()).err().unwrap().to_string();
        assert!(error.ends_with("logit_scale is no number: it has 8 bytes of F32"), "{error}");
        for damaged in [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x40\0\0\0\0\0\0\0{", b"1"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(Checkpoint::read(folder.path()).is_err());
        }
    }
}
