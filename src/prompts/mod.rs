//! The text side: a [`LabelSet`] to a [`ZeroShotHead`]. Runs at start and when labels change, never
//! for a frame.

mod cache;
mod file;
mod history;
mod labels;
mod lint;
mod sets;
mod templates;
mod texts;

pub use cache::{CACHE_ROWS_MAX, PromptCache};
pub use file::{read_labels, read_text};
pub use history::{History, HistoryError, Stored};
pub use labels::{
    Action, Articles, BACKGROUND_MAX, BANK, LABELS_MAX, Label, LabelOutput, LabelSet, LabelsError,
    OUTPUTS_MAX, PROMPTS_MAX, SET_BYTES_MAX, TEMPLATES_MAX, TEXT_BYTES_MAX,
};
pub use lint::{ALIKE_COSINE, lint};
pub use sets::{BUILT_IN_SETS, BuiltInSet, built_in_set};
pub use templates::{Template, TemplateError};

use half::f16;

use crate::classify::{LabelDirection, Scoring, ZeroShotHead};
use crate::embedding::{Embedding, NoDirection};
use crate::encoder::{EncoderError, TextEncoder};
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Most texts of a label set: its prompts x its templates.
pub const ENCODINGS_MAX: usize = 100_000;

/// Why labels can't be turned into a head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The text side can't be loaded.
    #[error("the text side")]
    TextSide(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A prompt has no tokens or too many.
    #[error("the label \"{label}\"")]
    Tokenizer {
        /// Name of the label, or `background`.
        label: String,
        /// What is wrong with the prompt.
        source: TokenizerError,
    },
    /// More texts than a board encodes in any reasonable time.
    #[error(
        "prompts x templates are {encodings} texts to encode, the limit is {ENCODINGS_MAX}: use fewer prompts or templates"
    )]
    TooMany {
        /// Prompts x templates.
        encodings: usize,
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

/// What turns prompts into embeddings: a model's text side. Made only when a prompt is not in the cache.
pub trait EncodePrompts {
    /// For each prompt, put into each template, the mean of the embeddings, `[embedding_dim]`, not normalised.
    ///
    /// # Errors
    /// [`PromptError`], which names the owner of the prompt: `(owner, prompt)`.
    fn encode(
        &mut self,
        prompts: &[(&str, &str)],
        templates: &[Template],
    ) -> Result<Vec<Vec<f32>>, PromptError>;
}

/// A tokenizer and a text tower.
pub struct TextTower<'a> {
    /// Prompts to tokens.
    pub tokenizer: &'a Tokenizer,
    /// Tokens to embeddings.
    pub encoder: &'a TextEncoder,
}

impl EncodePrompts for TextTower<'_> {
    fn encode(
        &mut self,
        prompts: &[(&str, &str)],
        templates: &[Template],
    ) -> Result<Vec<Vec<f32>>, PromptError> {
        let mut tokens = Vec::with_capacity(prompts.len() * templates.len());
        for (label, prompt) in prompts {
            for template in templates {
                let encoded = self.tokenizer.encode(&template.fill(prompt));
                tokens.push(encoded.map_err(|source| PromptError::Tokenizer {
                    label: (*label).to_owned(),
                    source,
                })?);
            }
        }
        let embeddings = self.encoder.encode(&tokens)?;
        Ok(embeddings.chunks(templates.len()).map(mean).collect())
    }
}

/// The mean of some embeddings, `[embedding_dim]`.
fn mean(embeddings: &[Embedding]) -> Vec<f32> {
    let mut sum = vec![0.0; embeddings.first().map_or(0, Embedding::dim)];
    for embedding in embeddings {
        sum.iter_mut().zip(embedding.values()).for_each(|(sum, value)| *sum += value);
    }
    sum.into_iter().map(|value| value / embeddings.len() as f32).collect()
}

/// A head, and how much of it had to be encoded.
pub struct Built {
    /// The head.
    pub head: ZeroShotHead,
    /// Prompts that were not in the cache.
    pub encoded: usize,
}

/// Embeds a label set. Each prompt goes into each template; the embeddings of a label are averaged
/// and normalised again (Radford et al. 2021, section 3.1.4). Counter-prompts and background prompts go into
/// the templates too, and each stays by itself. What the cache has is not encoded again; what it has not is
/// put into it.
///
/// # Errors
/// [`PromptError`], which names the label.
pub fn build_head(
    set: &LabelSet,
    model_templates: &[Template],
    cache: &mut PromptCache,
    encoder: &mut dyn EncodePrompts,
    scoring: Scoring,
) -> Result<Built, PromptError> {
    let templates = set.templates().unwrap_or(model_templates);
    let background = set.background().iter().map(|prompt| ("background", prompt.as_str()));
    let of_labels = set.labels().iter().flat_map(Label::all_prompts);
    let prompts: Vec<(&str, &str)> = of_labels.chain(background.clone()).collect();
    let encodings = prompts.len() * templates.len();
    if encodings > ENCODINGS_MAX {
        return Err(PromptError::TooMany { encodings });
    }
    let fresh = cache.fill(&prompts, templates, encoder)?;
    let row = |prompt: &str| cache.row(prompt, templates);
    let single = |(owner, prompt): (&str, &str)| direction(owner, &[row(prompt)]);
    let label = |label: &Label| -> Result<LabelDirection, PromptError> {
        let rows: Vec<_> = label.prompts.iter().map(|prompt| row(prompt)).collect();
        let counters = label.not.iter().map(|prompt| single((&label.name, prompt)));
        Ok(LabelDirection {
            name: label.name.clone(),
            embedding: direction(&label.name, &rows)?,
            counters: counters.collect::<Result<_, _>>()?,
        })
    };
    let labels = set.labels().iter().map(label).collect::<Result<_, _>>()?;
    let background = background.map(single).collect::<Result<_, _>>()?;
    Ok(Built { head: ZeroShotHead::new(labels, background, set.mode(), scoring), encoded: fresh })
}

/// The direction of an ensemble: the sum of its prompts' rows, normalised.
fn direction(owner: &str, rows: &[&[f16]]) -> Result<Embedding, PromptError> {
    let mut sum = vec![0.0; rows.first().map_or(0, |row| row.len())];
    for row in rows {
        sum.iter_mut().zip(*row).for_each(|(sum, value)| *sum += value.to_f32());
    }
    Embedding::normalised(&sum)
        .map_err(|source| PromptError::NoDirection { label: owner.to_owned(), source })
}
