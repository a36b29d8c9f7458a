//! `model.toml` as it is written: the keys, before anything is checked.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::classify::ScoreKind;
use crate::preprocess::{Filter, ResizeRule};
use crate::tokenizer::Cleaning;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) format: Spanned<u32>,
    pub(super) name: Spanned<String>,
    pub(super) licence: Spanned<String>,
    pub(super) source: Spanned<String>,
    pub(super) embedding_dim: Spanned<usize>,
    pub(super) logit_scale: Spanned<f32>,
    pub(super) logit_bias: Spanned<f32>,
    pub(super) score: ScoreKind,
    pub(super) vision: RawVision,
    pub(super) text: Option<RawText>,
    pub(super) prompts: Option<RawPrompts>,
    pub(super) golden: Option<RawFile>,
    pub(super) provenance: Option<Provenance>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVision {
    pub(super) file: Spanned<String>,
    pub(super) sha256: Spanned<String>,
    pub(super) image_size: Spanned<u32>,
    pub(super) resize: ResizeRule,
    pub(super) resize_edge: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) crop: crate::preprocess::Crop,
    pub(super) filter: Filter,
    pub(super) mean: Spanned<[f32; 3]>,
    pub(super) std: Spanned<[f32; 3]>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawText {
    pub(super) file: Spanned<String>,
    pub(super) sha256: Spanned<String>,
    pub(super) tokenizer: Spanned<String>,
    pub(super) tokenizer_sha256: Spanned<String>,
    pub(super) context_length: Spanned<usize>,
    pub(super) pad: Spanned<RawPad>,
    #[serde(default)]
    pub(super) clean: Cleaning,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "expected \"none\" or { id = .., to = .. }")]
pub(super) enum RawPad {
    None(NoPad),
    To(RawPadTo),
}

#[derive(Deserialize, Serialize)]
pub(super) enum NoPad {
    #[serde(rename = "none")]
    None,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPadTo {
    pub(super) id: i64,
    pub(super) to: usize,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrompts {
    pub(super) templates: Spanned<Vec<String>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) file: Spanned<String>,
    pub(super) sha256: Spanned<String>,
}

/// What a bundle was made of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// A repository such as `Xenova/clip-vit-base-patch32`, or the name of a folder.
    pub repository: String,
    /// The repository's commit; empty where the files came from a folder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Which of its graphs were taken, and why.
    pub graphs: String,
    /// The files that were read.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ProvenanceFile>,
}

/// A file that a bundle was made of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceFile {
    /// Its path in the repository.
    pub path: String,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}
