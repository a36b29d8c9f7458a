//! `model.toml`: everything about a model that its graphs don't say.

use serde::Deserialize;
use toml::Spanned;

use crate::classify::{ScoreKind, Scoring};
use crate::lines::line_at;
use crate::preprocess::{self, Filter, ResizeRule};
use crate::prompts::Template;
use crate::tokenizer::{self, Padding};

/// The version of `model.toml` that this build reads.
pub const FORMAT: u32 = 1;

/// Largest image side and text length that a manifest may ask for.
const IMAGE_SIZE_MAX: u32 = 1024;
const CONTEXT_LENGTH_MAX: usize = 4096;
const EMBEDDING_DIM_MAX: usize = 8192;

/// A parsed and checked `model.toml`.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// Terms of the weights.
    pub licence: String,
    /// Where the weights come from.
    pub source: String,
    /// Values of an embedding.
    pub embedding_dim: usize,
    /// Logits to scores.
    pub scoring: Scoring,
    /// What the image tower expects.
    pub preprocess: preprocess::Options,
    /// What the text tower expects.
    pub tokenizer: tokenizer::Options,
    /// Templates for label sets that bring none.
    pub templates: Vec<Template>,
    pub(super) vision: FileDigest,
    pub(super) text: FileDigest,
    pub(super) vocabulary: FileDigest,
}

/// A file of the bundle and what it must contain.
#[derive(Clone, Debug)]
pub(super) struct FileDigest {
    pub(super) file: String,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub(super) sha256: String,
}

/// What is wrong with a `model.toml`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ManifestError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    format: Spanned<u32>,
    name: String,
    licence: String,
    source: String,
    embedding_dim: Spanned<usize>,
    logit_scale: Spanned<f32>,
    logit_bias: Spanned<f32>,
    score: ScoreKind,
    vision: RawVision,
    text: RawText,
    prompts: RawPrompts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVision {
    file: Spanned<String>,
    sha256: Spanned<String>,
    image_size: Spanned<u32>,
    resize: ResizeRule,
    filter: Filter,
    mean: Spanned<[f32; 3]>,
    std: Spanned<[f32; 3]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    file: Spanned<String>,
    sha256: Spanned<String>,
    tokenizer: Spanned<String>,
    tokenizer_sha256: Spanned<String>,
    context_length: Spanned<usize>,
    pad: Spanned<RawPad>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected \"none\" or { id = .., to = .. }")]
enum RawPad {
    None(NoPad),
    To(RawPadTo),
}

#[derive(Deserialize)]
enum NoPad {
    #[serde(rename = "none")]
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPadTo {
    id: i64,
    to: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrompts {
    templates: Spanned<Vec<String>>,
}

impl Manifest {
    /// Parses and checks a `model.toml`.
    ///
    /// # Errors
    /// [`ManifestError`] with the line: unknown or missing keys, values out of range, file names
    /// that leave the bundle.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ManifestError {
            line: line_at(text, error.span().map_or(0, |span| span.start)),
            reason: error.message().to_owned(),
        })?;
        let check = Check { text };
        check.that(&raw.format, *raw.format.get_ref() == FORMAT, || {
            format!("format {} is unknown: this build reads {FORMAT}", raw.format.get_ref())
        })?;
        check.range("embedding_dim", &raw.embedding_dim, 1, EMBEDDING_DIM_MAX)?;
        Ok(Self {
            embedding_dim: *raw.embedding_dim.get_ref(),
            scoring: check.scoring(&raw)?,
            preprocess: check.preprocess(&raw.vision)?,
            tokenizer: check.tokenizer(&raw.text)?,
            templates: check.templates(&raw.prompts.templates)?,
            vision: check.file(&raw.vision.file, &raw.vision.sha256)?,
            text: check.file(&raw.text.file, &raw.text.sha256)?,
            vocabulary: check.file(&raw.text.tokenizer, &raw.text.tokenizer_sha256)?,
            name: raw.name,
            licence: raw.licence,
            source: raw.source,
        })
    }
}

/// Turns a failed condition into an error with its line.
struct Check<'a> {
    text: &'a str,
}

impl Check<'_> {
    fn that<T>(
        &self,
        at: &Spanned<T>,
        holds: bool,
        reason: impl FnOnce() -> String,
    ) -> Result<(), ManifestError> {
        if holds {
            return Ok(());
        }
        Err(ManifestError { line: line_at(self.text, at.span().start), reason: reason() })
    }

    fn range<T: PartialOrd + Copy + std::fmt::Display>(
        &self,
        key: &str,
        value: &Spanned<T>,
        low: T,
        high: T,
    ) -> Result<(), ManifestError> {
        self.that(value, (low..=high).contains(value.get_ref()), || {
            format!("{key} is {}, {low} to {high} is possible", value.get_ref())
        })
    }

    fn scoring(&self, raw: &Raw) -> Result<Scoring, ManifestError> {
        let (scale, bias) = (*raw.logit_scale.get_ref(), *raw.logit_bias.get_ref());
        self.that(&raw.logit_scale, scale > 0.0 && scale.is_finite(), || {
            "logit_scale must be a number above 0: it is the exponential of the temperature".into()
        })?;
        self.that(&raw.logit_bias, bias.is_finite(), || "logit_bias must be a number".into())?;
        Ok(Scoring { kind: raw.score, logit_scale: scale, logit_bias: bias })
    }

    fn preprocess(&self, vision: &RawVision) -> Result<preprocess::Options, ManifestError> {
        self.range("image_size", &vision.image_size, 1, IMAGE_SIZE_MAX)?;
        let [mean, std] = [*vision.mean.get_ref(), *vision.std.get_ref()];
        self.that(&vision.mean, mean.iter().all(|value| value.is_finite()), || {
            "mean must be a number in every channel".into()
        })?;
        self.that(&vision.std, std.iter().all(|v| *v > 0.0 && v.is_finite()), || {
            "std must be a number above 0 in every channel".into()
        })?;
        let (image_size, resize, filter) =
            (*vision.image_size.get_ref(), vision.resize, vision.filter);
        Ok(preprocess::Options { image_size, resize, filter, mean, std })
    }

    /// A plain file name beside `model.toml`, and a SHA-256.
    fn file(
        &self,
        file: &Spanned<String>,
        sha256: &Spanned<String>,
    ) -> Result<FileDigest, ManifestError> {
        let name = file.get_ref();
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        self.that(file, plain, || format!("{name:?} must be a file's name, without folders"))?;
        let digest = sha256.get_ref();
        let fits =
            digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        self.that(sha256, fits, || {
            "a SHA-256 has 64 lower-case hexadecimal digits, as sha256sum prints them".to_owned()
        })?;
        Ok(FileDigest { file: name.clone(), sha256: digest.clone() })
    }

    fn tokenizer(&self, text: &RawText) -> Result<tokenizer::Options, ManifestError> {
        self.range("context_length", &text.context_length, 2, CONTEXT_LENGTH_MAX)?;
        let context_length = *text.context_length.get_ref();
        let padding = match text.pad.get_ref() {
            RawPad::None(NoPad::None) => Padding::None,
            RawPad::To(RawPadTo { id, to }) => Padding::To { id: *id, to: *to },
        };
        let fits = !matches!(padding, Padding::To { to, .. } if to > context_length);
        self.that(&text.pad, fits, || "pad.to is longer than context_length".to_owned())?;
        let known = !matches!(padding, Padding::To { id, .. } if id < 0);
        self.that(&text.pad, known, || "pad.id is below 0".to_owned())?;
        Ok(tokenizer::Options { context_length, padding })
    }

    fn templates(&self, templates: &Spanned<Vec<String>>) -> Result<Vec<Template>, ManifestError> {
        let parsed: Result<Vec<_>, _> =
            templates.get_ref().iter().map(|text| Template::parse(text)).collect();
        let line = line_at(self.text, templates.span().start);
        let parsed = parsed.map_err(|error| ManifestError { line, reason: error.to_string() })?;
        self.that(templates, !parsed.is_empty(), || "templates needs at least one".to_owned())?;
        Ok(parsed)
    }
}
