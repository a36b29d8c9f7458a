//! How a model wants its texts: what its tokenizer's files say, and what its text tower shows.

use std::path::Path;

use super::ImportError;
use super::facts::{Facts, Family};
use super::tokens::TokenFiles;
use super::towers::Tower;
use crate::embedding::Embedding;
use crate::encoder::{Compute, EncoderError, TextEncoder};
use crate::tokenizer::{Options, Padding, TokenIds, Tokenizer};

/// A context length above it stands for "any".
const CONTEXT_LENGTH_MAX: usize = 8192;
/// Two embeddings that are at least this near are one.
const SAME: f32 = 0.9999;
/// A text that is much shorter than any tower's context.
const SHORT: &str = "cat";

/// `tokenizer.json`, and what the model expects of its tokens.
pub(super) struct Words {
    pub(super) vocabulary: Vec<u8>,
    pub(super) options: Options,
}

impl Words {
    /// Reads the files, and asks the tower whether it agrees with them and must be given padding.
    pub(super) fn read(
        folder: &Path,
        facts: &Facts,
        tower: &Tower,
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, ImportError> {
        let files = TokenFiles::read(folder)?;
        let fixed = tower.input.get(1).copied().flatten();
        let context_length = context_length(&files, facts, tower, fixed)?;
        let cleaning = facts.words.cleaning;
        let unpadded = Options { context_length, padding: Padding::None, cleaning };
        let load = |options| {
            Tokenizer::from_json(&files.vocabulary, options).map_err(|source| files.failed(source))
        };
        let encode = |tokenizer: &Tokenizer, text: &str| {
            tokenizer.encode(text).map_err(|source| files.failed(source))
        };
        let tokenizer = load(unpadded)?;
        files.check(&tokenizer, facts.words, |tokenizer, text| {
            encode(tokenizer, text).map(|ids| ids.ids().to_vec())
        })?;
        let pad_id = facts.words.pad_id.map_or_else(|| files.pad_id(&tokenizer), Ok);
        let with = |id| Options { padding: Padding::To { id, to: context_length }, ..unpadded };

        let failed = |source| ImportError::Tower { path: tower.path.clone(), source };
        let encoder = TextEncoder::load(&tower.onnx, context_length, embedding_dim, compute);
        let encoder = encoder.map_err(failed)?;
        let ends = encode(&tokenizer, "")?;
        let ends = ends.ids().iter().filter_map(|id| usize::try_from(*id).ok());
        let last = ends.chain([files.last_id(&tokenizer)]).max().unwrap_or(0);
        check_vocabulary(last, facts, tower, &encoder, context_length)?;
        let needs_padding = if fixed.is_some() {
            true
        } else if tower.is_masked && facts.family != Family::Pooled {
            false
        } else {
            // Any token will do to see whether the tower looks at what comes after the end.
            let long = load(with(*pad_id.as_ref().unwrap_or(&0)))?;
            let texts = [encode(&tokenizer, SHORT)?, encode(&long, SHORT)?];
            !is_same(&encoder.encode(&texts).map_err(failed)?)
        };
        let options = if needs_padding { with(pad_id?) } else { unpadded };
        Ok(Self { vocabulary: files.vocabulary, options })
    }
}

fn is_same(rows: &[Embedding]) -> bool {
    rows.windows(2).all(|pair| pair[0].cosine(&pair[1]) >= SAME)
}

/// The least of what the settings, the tokenizer and the graph allow.
fn context_length(
    files: &TokenFiles,
    facts: &Facts,
    tower: &Tower,
    fixed: Option<usize>,
) -> Result<usize, ImportError> {
    let range = 2..=CONTEXT_LENGTH_MAX;
    let longest = files.longest(CONTEXT_LENGTH_MAX)?;
    if let (Some(fixed), Some(said)) = (fixed, &facts.context_length)
        && fixed > said.value
    {
        let path = tower.path.display();
        return Err(said.but(&format!("{path} reads texts of {fixed} tokens")));
    }
    let known = [longest, facts.context_length.as_ref().map(|said| said.value)];
    let length = fixed.or(known.into_iter().flatten().min());
    length.filter(|length| range.contains(length)).ok_or_else(|| ImportError::File {
        path: files.path.with_file_name("tokenizer_config.json"),
        reason: format!(
            "neither model_max_length here nor max_position_embeddings in config.json nor the graph has texts of 2 to \
             {CONTEXT_LENGTH_MAX} tokens"
        ),
    })
}

/// The tokenizer, whose highest id is `last`, the settings and the graph mean one vocabulary.
fn check_vocabulary(
    last: usize,
    facts: &Facts,
    tower: &Tower,
    encoder: &TextEncoder,
    context_length: usize,
) -> Result<(), ImportError> {
    let Some(said) = &facts.vocab_size else { return Ok(()) };
    if last >= said.value {
        return Err(said.but(&format!("tokenizer.json has token {last}")));
    }
    let last = i64::try_from(said.value - 1).unwrap_or(i64::MAX);
    let given = encoder.encode(&[TokenIds::new(vec![last; context_length])]);
    let failed = |source| ImportError::Tower { path: tower.path.clone(), source };
    if is_taken(given.map(drop)).map_err(failed)? {
        return Ok(());
    }
    let path = tower.path.display();
    Err(said.but(&format!("{path} can't be given token {last}")))
}

/// Whether a tower had a row for each token.
fn is_taken(given: Result<(), EncoderError>) -> Result<bool, EncoderError> {
    match given {
        // A text of padding alone has no direction where the tower masks it.
        Ok(()) | Err(EncoderError::NoDirection { .. }) => Ok(true),
        Err(EncoderError::Shape { .. } | EncoderError::Run { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_even_where_its_text_has_no_direction() {
        let none = Embedding::normalised(&[f32::NAN]).unwrap_err();
        let (tower, reason) = ("text", String::new());
        assert!(is_taken(Err(EncoderError::NoDirection { tower, source: none })).unwrap());
        assert!(is_taken(Ok(())).unwrap());
        assert!(!is_taken(Err(EncoderError::Run { tower, reason: reason.clone() })).unwrap());
        assert!(is_taken(Err(EncoderError::Load { tower, reason })).is_err());
    }
}
