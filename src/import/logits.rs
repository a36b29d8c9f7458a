//! The scale and bias that make logits of cosines. They are trained, so they are weights: files of settings hold
//! but what training began with.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};

use super::facts::Facts;
use super::towers::Towers;
use super::{ImportError, Options};
use crate::classify::{ScoreKind, Scoring};

/// Checkpoints that may lie beside the graphs.
const CHECKPOINTS: [&str; 2] = ["model.safetensors", "open_clip_model.safetensors"];
/// Largest header of a checkpoint, in bytes; safetensors has the same.
const HEADER_MAX: u64 = 100_000_000;

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
            let io = |source| ImportError::Io { path: path.clone(), source };
            match std::fs::metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(io(error)),
                Ok(_) => {}
            }
            let mut weights = Weights::open(path.clone())?;
            let scale = weights.number("logit_scale")?.map(f32::exp);
            return Ok(Self { name: Some(name), scale, bias: weights.number("logit_bias")? });
        }
        Ok(Self::default())
    }
}

/// A safetensors file of which but the header is in memory.
struct Weights {
    path: PathBuf,
    file: File,
    /// Where the tensors begin, in bytes.
    start: u64,
    tensors: Metadata,
}

impl Weights {
    fn open(path: PathBuf) -> Result<Self, ImportError> {
        let wrong = |reason: String| ImportError::File { path: path.clone(), reason };
        let io = |source| ImportError::Io { path: path.clone(), source };
        if !path.is_file() {
            return Err(wrong("it is no file".into()));
        }
        let mut file = File::open(&path).map_err(io)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_MAX {
            return Err(wrong("it is no safetensors file".into()));
        }
        let mut header = Vec::new();
        let read = file.by_ref().take(length).read_to_end(&mut header).map_err(io)?;
        if read as u64 != length {
            return Err(wrong("it was cut off".into()));
        }
        let tensors = serde_json::from_slice(&header).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path, file, start: 8 + length, tensors })
    }

    /// The one number that is in a tensor.
    fn number(&mut self, name: &str) -> Result<Option<f32>, ImportError> {
        let Some(info) = self.tensors.info(name) else { return Ok(None) };
        let (from, to) = info.data_offsets;
        let mut bytes = [0; 4];
        let bytes = match (info.dtype, to.saturating_sub(from)) {
            (Dtype::F32, 4) => &mut bytes[..],
            (Dtype::F16 | Dtype::BF16, 2) => &mut bytes[..2],
            (dtype, size) => {
                let reason = format!("{name} is no number: it has {size} bytes of {dtype:?}");
                return Err(ImportError::File { path: self.path.clone(), reason });
            }
        };
        let dtype = info.dtype;
        let read = self.file.seek(SeekFrom::Start(self.start + from as u64));
        let read: io::Result<()> = read.and_then(|_| self.file.read_exact(bytes));
        read.map_err(|source| ImportError::Io { path: self.path.clone(), source })?;
        Ok(Some(match (dtype, &*bytes) {
            (Dtype::F16, &[low, high]) => half::f16::from_le_bytes([low, high]).to_f32(),
            (_, &[low, high]) => half::bf16::from_le_bytes([low, high]).to_f32(),
            (_, bytes) => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint whose scale lies behind more than a small board's memory, of which nothing is read.
    #[test]
    fn one_number_is_read_of_a_large_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let write = |header: &str, rest: &[(u64, &[u8])]| {
            use std::io::Write;
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
