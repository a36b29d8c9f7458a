//! `head.toml`: a trained head on disk, rows of half floats, tied to the model whose embeddings it was trained on.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use half::f16;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{HeldOut, Trained, Training, check_names};
use crate::classify::{LinearClass, LinearHead};
use crate::digest::sha256;
use crate::disk;
use crate::lines::line_at;

/// The version of `head.toml` that this build reads and writes.
pub const HEAD_VERSION: u32 = 1;

/// Largest `head.toml` that is read, in bytes: a thousand rows of 8192 half floats take 22 million.
pub const HEAD_BYTES_MAX: u64 = 32 << 20;

const WORDS: &str = "\
# A linear classifier on a model's image embeddings, trained by `edgeclip eval --linear-probe --save`.
# Weights are half floats, little endian, in base64. Use: edgeclip classify --head FILE, edgeclip run --head FILE.
";

/// A model, as a head knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelName {
    /// Its name, for people.
    pub name: String,
    /// Its identity: `sha256:` and 64 digits.
    pub digest: String,
}

/// A trained head, how it was trained, and with which model.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadFile {
    /// The head.
    pub head: LinearHead,
    /// How it was trained.
    pub training: Training,
    /// The model whose embeddings it was trained on.
    pub model: ModelName,
    digest: String,
}

/// Why a head can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadFileError {
    /// It can't be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what a head's file has to be.
    #[error("{}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: HeadTextError,
    },
    /// It was trained with another model.
    #[error(
        "{} was trained with the model {} ({}), and this is {} ({}): give that model with --model, or train a head \
         for this one: edgeclip eval DIR --linear-probe --save FILE",
        path.display(), trained.name, trained.digest, used.name, used.digest
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The model that it was trained with.
        trained: ModelName,
        /// The model that it was to be used with.
        used: ModelName,
    },
}

/// What is wrong with a `head.toml`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct HeadTextError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// `head.toml` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "version")]
    _version: u32,
    embedding_dim: usize,
    model: ModelName,
    training: RawTraining,
    #[serde(rename = "class")]
    classes: Vec<RawClass>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawTraining {
    examples: usize,
    l2: f64,
    converged: bool,
    held_out_examples: Option<usize>,
    held_out_accuracy: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClass {
    name: Spanned<String>,
    bias: f32,
    weights: Spanned<String>,
}

/// What is written, in this order.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    embedding_dim: usize,
    model: &'a ModelName,
    training: RawTraining,
    class: Vec<WrittenClass<'a>>,
}

#[derive(Serialize)]
struct WrittenClass<'a> {
    name: &'a str,
    bias: f32,
    weights: String,
}

impl HeadFile {
    /// What is kept of a head that was trained on a model's embeddings.
    #[must_use]
    pub fn new(trained: Trained, model: ModelName) -> Self {
        let Trained { head, training } = trained;
        let mut file = Self { head, training, model, digest: String::new() };
        file.digest = digest(&file.to_toml());
        file
    }

    /// Reads a file that was trained with the model in use, whose embeddings are `[dim]`.
    ///
    /// # Errors
    /// [`HeadFileError`], which names the file, the line and the way out.
    pub fn read(path: &Path, used: &ModelName, dim: usize) -> Result<Self, HeadFileError> {
        let io = |source| HeadFileError::Io { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(io)?;
        file.take(HEAD_BYTES_MAX + 1).read_to_string(&mut text).map_err(io)?;
        if text.len() as u64 > HEAD_BYTES_MAX {
            return Err(io(io::ErrorKind::FileTooLarge.into()));
        }
        Self::of_text(&text, path, used, dim)
    }

    /// As [`read`](Self::read), of a file whose text is known.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of_text(
        text: &str,
        path: &Path,
        used: &ModelName,
        dim: usize,
    ) -> Result<Self, HeadFileError> {
        let path = || path.to_owned();
        let wrong = |reason| HeadFileError::Wrong { path: path(), reason };
        let file = Self::parse(text).map_err(wrong)?;
        if file.model.digest != used.digest {
            let (trained, used) = (file.model, used.clone());
            return Err(HeadFileError::OtherModel { path: path(), trained, used });
        }
        let found = file.head.embedding_dim();
        if found != dim {
            let line = line_at(text, text.find("embedding_dim").unwrap_or(0));
            let reason = format!("embedding_dim is {found}, and {dim} in the model: train it anew");
            return Err(wrong(HeadTextError { line, reason }));
        }
        Ok(file)
    }

    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// [`HeadFileError::Io`]; the file is then as it was.
    pub fn write(&self, path: &Path) -> Result<(), HeadFileError> {
        disk::publish(path, self.to_toml().as_bytes())
            .map_err(|source| HeadFileError::Io { path: path.to_owned(), source })
    }

    /// `sha256:` and the digest of the file's text: what stands for the label set in events and JSON lines.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The names of the labels.
    #[must_use]
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.head.labels().map(|class| class.name.as_str())
    }

    /// Parses and checks the text of a `head.toml`.
    ///
    /// # Errors
    /// [`HeadTextError`] with the line: an unknown version or key, sizes that don't fit, values that are no numbers.
    pub fn parse(text: &str) -> Result<Self, HeadTextError> {
        let wrong = |at: usize, reason: String| HeadTextError { line: line_at(text, at), reason };
        // First, since a later version may have other keys.
        if let Ok(Version { version }) = toml::from_str(text)
            && *version.get_ref() != HEAD_VERSION
        {
            let reason = format!(
                "version {} is unknown, this build reads {HEAD_VERSION}: train it anew",
                version.get_ref()
            );
            return Err(wrong(version.span().start, reason));
        }
        let raw: Raw = toml::from_str(text).map_err(|error| {
            wrong(error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        let dim = raw.embedding_dim;
        let mut classes = Vec::with_capacity(raw.classes.len());
        for RawClass { name, bias, weights } in &raw.classes {
            let class = class(name.get_ref(), *bias, weights.get_ref(), dim);
            classes.push(class.map_err(|reason| wrong(weights.span().start, reason))?);
        }
        let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
        let head = LinearHead::new(classes).map_err(|error| wrong(0, error.to_string()))?;
        check_names(&names).map_err(|error| wrong(0, error.to_string()))?;
        let (model, training) = (raw.model, raw.training.into());
        Ok(Self { head, training, model, digest: digest(text) })
    }

    /// The text of its `head.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let classes = self.head.classes().iter().map(|class| {
            let halves = class.weights.iter().map(|weight| f16::from_f32(*weight).to_le_bytes());
            let weights = BASE64.encode(halves.flatten().collect::<Vec<u8>>());
            WrittenClass { name: &class.name, bias: class.bias, weights }
        });
        let written = Written {
            version: HEAD_VERSION,
            embedding_dim: self.head.embedding_dim(),
            model: &self.model,
            training: (&self.training).into(),
            class: classes.collect(),
        };
        let toml = toml::to_string(&written).unwrap_or_else(|_| unreachable!("texts and numbers"));
        format!("{WORDS}{toml}")
    }
}

/// The one key that every version has.
#[derive(Deserialize)]
struct Version {
    version: Spanned<u32>,
}

fn class(name: &str, bias: f32, weights: &str, dim: usize) -> Result<LinearClass, String> {
    let bytes = BASE64.decode(weights).map_err(|error| format!("weights are base64: {error}"))?;
    let wanted = dim.saturating_mul(size_of::<f16>());
    if bytes.len() != wanted {
        let found = bytes.len();
        return Err(format!(
            "\"{name}\" has {found} bytes of weights, {dim} half floats have {wanted}"
        ));
    }
    let halves = bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]));
    let weights: Box<[f32]> = halves.map(f16::to_f32).collect();
    if !bias.is_finite() || !weights.iter().all(|weight| weight.is_finite()) {
        return Err(format!("\"{name}\" has a weight or a bias that is not a finite number"));
    }
    Ok(LinearClass { name: name.to_owned(), weights, bias })
}

fn digest(text: &str) -> String {
    format!("sha256:{}", sha256(text.as_bytes()))
}

impl From<&Training> for RawTraining {
    fn from(training: &Training) -> Self {
        let Training { examples, l2, converged, held_out } = *training;
        let held_out_examples = held_out.map(|held| held.examples);
        let held_out_accuracy = held_out.map(|held| held.accuracy);
        Self { examples, l2, converged, held_out_examples, held_out_accuracy }
    }
}

impl From<RawTraining> for Training {
    fn from(raw: RawTraining) -> Self {
        let RawTraining { examples, l2, converged, .. } = raw;
        let held_out = raw.held_out_examples.zip(raw.held_out_accuracy);
        let held_out = held_out.map(|(examples, accuracy)| HeldOut { examples, accuracy });
        Self { examples, l2, converged, held_out }
    }
}
