//! `model.toml`: everything about a model that its graphs don't say.

mod check;
mod raw;

use toml::Spanned;

use crate::classify::Scoring;
use crate::lines::line_at;
use crate::preprocess;
use crate::prompts::Template;
use crate::tokenizer::{self, Padding};
use check::Check;
use raw::{NoPad, Raw, RawFile, RawPad, RawPadTo, RawPrompts, RawText, RawVision};
pub use raw::{Provenance, ProvenanceFile};

/// The version of `model.toml` that this build reads.
pub const FORMAT: u32 = 1;

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
    /// The image tower's graph.
    pub vision: FileDigest,
    /// The text side; a model of features alone has none.
    pub text: Option<Text>,
    /// What the towers must make of known inputs.
    pub golden: Option<FileDigest>,
    /// What the bundle was made of.
    pub provenance: Option<Provenance>,
}

/// What `model.toml` says of words.
#[derive(Clone, Debug)]
pub struct Text {
    /// What the text tower expects.
    pub tokenizer: tokenizer::Options,
    /// Templates for label sets that bring none.
    pub templates: Vec<Template>,
    /// The text tower's graph.
    pub graph: FileDigest,
    /// `tokenizer.json`.
    pub vocabulary: FileDigest,
}

/// A file of the bundle and what it must contain.
#[derive(Clone, Debug)]
pub struct FileDigest {
    /// Its name, without folders.
    pub file: String,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
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
        check.format(&raw)?;
        let file = |raw: &RawFile| check.file(&raw.file, &raw.sha256);
        Ok(Self {
            embedding_dim: *raw.embedding_dim.get_ref(),
            scoring: check.scoring(&raw)?,
            preprocess: check.preprocess(&raw.vision)?,
            vision: check.file(&raw.vision.file, &raw.vision.sha256)?,
            text: check.words(raw.text.as_ref(), raw.prompts.as_ref())?,
            golden: raw.golden.as_ref().map(file).transpose()?,
            provenance: raw.provenance,
            name: check.line("name", &raw.name)?,
            licence: check.line("licence", &raw.licence)?,
            source: check.line("source", &raw.source)?,
        })
    }

    /// The manifest as a `model.toml`, which [`parse`](Self::parse) reads back as it is.
    ///
    /// # Errors
    /// A number that TOML can't hold.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let raw = Raw {
            format: spanned(FORMAT),
            name: spanned(self.name.clone()),
            licence: spanned(self.licence.clone()),
            source: spanned(self.source.clone()),
            embedding_dim: spanned(self.embedding_dim),
            logit_scale: spanned(self.scoring.logit_scale),
            logit_bias: spanned(self.scoring.logit_bias),
            score: self.scoring.kind,
            vision: vision(&self.preprocess, &self.vision),
            text: self.text.as_ref().map(text),
            prompts: self.text.as_ref().map(|text| RawPrompts {
                templates: spanned(text.templates.iter().map(ToString::to_string).collect()),
            }),
            golden: self.golden.clone().map(|FileDigest { file, sha256 }| RawFile {
                file: spanned(file),
                sha256: spanned(sha256),
            }),
            provenance: self.provenance.clone(),
        };
        toml::to_string(&raw)
    }
}

fn vision(options: &preprocess::Options, graph: &FileDigest) -> RawVision {
    let preprocess::Options { image_size, resize_edge, resize, crop, filter, mean, std } = *options;
    RawVision {
        file: spanned(graph.file.clone()),
        sha256: spanned(graph.sha256.clone()),
        image_size: spanned(image_size),
        resize_edge: (resize_edge != image_size).then(|| spanned(resize_edge)),
        resize,
        crop,
        filter,
        mean: spanned(mean),
        std: spanned(std),
    }
}

fn text(text: &Text) -> RawText {
    RawText {
        file: spanned(text.graph.file.clone()),
        sha256: spanned(text.graph.sha256.clone()),
        tokenizer: spanned(text.vocabulary.file.clone()),
        tokenizer_sha256: spanned(text.vocabulary.sha256.clone()),
        context_length: spanned(text.tokenizer.context_length),
        pad: spanned(match text.tokenizer.padding {
            Padding::None => RawPad::None(NoPad::None),
            Padding::To { id, to } => RawPad::To(RawPadTo { id, to }),
        }),
        clean: text.tokenizer.cleaning,
    }
}

/// A value that comes from no text.
fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = include_str!("../../../tests/data/manifest_all.toml");

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let manifest = Manifest::parse(ALL).unwrap();
        let again = Manifest::parse(&manifest.to_toml().unwrap()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{manifest:?}"));
        let features = Manifest { text: None, ..manifest };
        let again = Manifest::parse(&features.to_toml().unwrap()).unwrap();
        assert!(again.text.is_none());
    }
}
