//! The text side: a [`LabelSet`] to a [`ZeroShotHead`]. Runs at start and when labels change, never
//! for a frame.

mod labels;
mod templates;

pub use labels::{
    BACKGROUND_MAX, LABELS_MAX, Label, LabelSet, LabelsError, PROMPTS_MAX, TEMPLATES_MAX,
    TEXT_BYTES_MAX,
};
pub use templates::{Template, TemplateError};

use crate::classify::{Scoring, ZeroShotHead};
use crate::embedding::{Embedding, NoDirection};
use crate::encoder::{EncoderError, TextEncoder};
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Why labels can't be turned into a head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// A prompt has no tokens or too many.
    #[error("the label \"{label}\"")]
    Tokenizer {
        /// Name of the label, or `background`.
        label: String,
        /// What is wrong with the prompt.
        source: TokenizerError,
    },
    /// The text tower failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// A label's prompts cancel each other out.
    #[error("the label \"{label}\"")]
    NoDirection {
        /// Name of the label, or `background`.
        label: String,
        /// What is wrong with the mean.
        source: NoDirection,
    },
}

/// Embeds a label set. Each prompt goes into each template; the embeddings of a label are averaged
/// and normalised again. Background prompts go into the templates too, and each stays by itself.
///
/// # Errors
/// [`PromptError`], which names the label.
pub fn build_head(
    set: &LabelSet,
    model_templates: &[Template],
    tokenizer: &Tokenizer,
    encoder: &TextEncoder,
    scoring: Scoring,
) -> Result<ZeroShotHead, PromptError> {
    let templates = set.templates().unwrap_or(model_templates);
    let filled = |prompts: &[String]| -> Vec<String> {
        prompts.iter().flat_map(|p| templates.iter().map(move |t| t.fill(p))).collect()
    };
    let mut ensembles: Vec<(&str, Vec<String>)> =
        set.labels().iter().map(|l| (l.name.as_str(), filled(&l.prompts))).collect();
    for prompt in set.background() {
        ensembles.push(("background", filled(std::slice::from_ref(prompt))));
    }
    let embeddings = encode(&ensembles, tokenizer, encoder)?;
    let (labels, background) = embeddings.split_at(set.labels().len());
    let names = set.labels().iter().map(|label| label.name.clone());
    Ok(ZeroShotHead::new(names.zip(labels.iter().cloned()).collect(), background.to_vec(), scoring))
}

/// One embedding for each ensemble of prompts; all prompts run through the tower together.
fn encode(
    ensembles: &[(&str, Vec<String>)],
    tokenizer: &Tokenizer,
    encoder: &TextEncoder,
) -> Result<Vec<Embedding>, PromptError> {
    let mut tokens = Vec::new();
    for (label, prompts) in ensembles {
        for prompt in prompts {
            tokens.push(
                tokenizer.encode(prompt).map_err(|source| PromptError::Tokenizer {
                    label: (*label).to_owned(),
                    source,
                })?,
            );
        }
    }
    let mut embeddings = encoder.encode(&tokens)?.into_iter();
    let mean = |(label, prompts): &(&str, Vec<String>)| {
        let ensemble: Vec<Embedding> = embeddings.by_ref().take(prompts.len()).collect();
        Embedding::mean(&ensemble)
            .map_err(|source| PromptError::NoDirection { label: (*label).to_owned(), source })
    };
    ensembles.iter().map(mean).collect()
}
