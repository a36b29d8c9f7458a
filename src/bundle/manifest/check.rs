//! The rules that a `model.toml` must keep, each with the line in its error.

use toml::Spanned;

use super::raw::{NoPad, Raw, RawPad, RawPadTo, RawPrompts, RawText, RawVision};
use super::{FORMAT, FileDigest, ManifestError, Text};
use crate::classify::Scoring;
use crate::lines::line_at;
use crate::preprocess;
use crate::prompts::Template;
use crate::tokenizer::{self, Padding};

/// Largest image side and text length that a manifest may ask for.
const IMAGE_SIZE_MAX: u32 = 1024;
const CONTEXT_LENGTH_MAX: usize = 8192;
const EMBEDDING_DIM_MAX: usize = 8192;

/// Turns a failed condition into an error with its line.
pub(super) struct Check<'a> {
    pub(super) text: &'a str,
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

    pub(super) fn format(&self, raw: &Raw) -> Result<(), ManifestError> {
        self.that(&raw.format, *raw.format.get_ref() == FORMAT, || {
            format!("format {} is unknown: this build reads {FORMAT}", raw.format.get_ref())
        })?;
        self.range("embedding_dim", &raw.embedding_dim, 1, EMBEDDING_DIM_MAX)
    }

    /// Words on one line, which stand in messages.
    pub(super) fn line(&self, key: &str, value: &Spanned<String>) -> Result<String, ManifestError> {
        let words = value.get_ref();
        let plain = !words.trim().is_empty() && !words.contains(char::is_control);
        self.that(value, plain, || format!("{key} is {words:?}: it must be words on one line"))?;
        Ok(words.clone())
    }

    pub(super) fn scoring(&self, raw: &Raw) -> Result<Scoring, ManifestError> {
        let (scale, bias) = (*raw.logit_scale.get_ref(), *raw.logit_bias.get_ref());
        self.that(&raw.logit_scale, scale > 0.0 && scale.is_finite(), || {
            "logit_scale must be a number above 0: it is the exponential of the temperature".into()
        })?;
        self.that(&raw.logit_bias, bias.is_finite(), || "logit_bias must be a number".into())?;
        Ok(Scoring { kind: raw.score, logit_scale: scale, logit_bias: bias })
    }

    pub(super) fn preprocess(
        &self,
        vision: &RawVision,
    ) -> Result<preprocess::Options, ManifestError> {
        self.range("image_size", &vision.image_size, 1, IMAGE_SIZE_MAX)?;
        let [mean, std] = [*vision.mean.get_ref(), *vision.std.get_ref()];
        self.that(&vision.mean, mean.iter().all(|value| value.is_finite()), || {
            "mean must be a number in every channel".into()
        })?;
        self.that(&vision.std, std.iter().all(|v| *v > 0.0 && v.is_finite()), || {
            "std must be a number above 0 in every channel".into()
        })?;
        let image_size = *vision.image_size.get_ref();
        let resize_edge = match &vision.resize_edge {
            Some(edge) => {
                self.range("resize_edge", edge, image_size, 2 * IMAGE_SIZE_MAX)?;
                *edge.get_ref()
            }
            None => image_size,
        };
        let (resize, crop, filter) = (vision.resize, vision.crop, vision.filter);
        Ok(preprocess::Options { image_size, resize_edge, resize, crop, filter, mean, std })
    }

    /// A plain file name beside `model.toml`, and a SHA-256.
    pub(super) fn file(
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

    /// The text side, which has both its section and the prompts, or neither.
    pub(super) fn words(
        &self,
        text: Option<&RawText>,
        prompts: Option<&RawPrompts>,
    ) -> Result<Option<Text>, ManifestError> {
        let (text, prompts) = match (text, prompts) {
            (Some(text), Some(prompts)) => (text, prompts),
            (None, None) => return Ok(None),
            (None, Some(prompts)) => {
                let reason = "[prompts] without [text]: nothing could embed them".to_owned();
                let line = line_at(self.text, prompts.templates.span().start);
                return Err(ManifestError { line, reason });
            }
            (Some(text), None) => {
                let reason = "[text] without [prompts]: add templates = [\"a photo of a {}\"]";
                let line = line_at(self.text, text.file.span().start);
                return Err(ManifestError { line, reason: reason.to_owned() });
            }
        };
        Ok(Some(Text {
            tokenizer: self.tokenizer(text)?,
            templates: self.templates(&prompts.templates)?,
            graph: self.file(&text.file, &text.sha256)?,
            vocabulary: self.file(&text.tokenizer, &text.tokenizer_sha256)?,
        }))
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
        Ok(tokenizer::Options { context_length, padding, cleaning: text.clean })
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
