//! Stage 2 for words: text to [`TokenIds`], equal to the tokenizer that the model was trained with.
//!
//! Where the model asks for it, text is cleaned as in CLIP's `SimpleTokenizer`: HTML entities are resolved twice and runs of
//! whitespace become one space. Three deviations of ours: the mojibake repair (`ftfy`) of the reference is
//! left out, text that spells a special token stays plain text, and entities follow the HTML standard
//! where Python drops those of control characters.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer as Vocabulary;

/// Ids of one text, begin and end tokens included, at its own length.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenIds(Vec<i64>);

impl TokenIds {
    /// Ids from elsewhere, begin and end included.
    #[must_use]
    pub fn new(ids: Vec<i64>) -> Self {
        Self(ids)
    }

    /// The ids, `[tokens]`.
    #[must_use]
    pub fn ids(&self) -> &[i64] {
        &self.0
    }
}

/// What a text graph was trained with after the last token of a short text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: a causal tower pooled at the end token gives the same embedding at any length.
    None,
    /// The token `id` up to `to` tokens.
    To {
        /// Padding token.
        id: i64,
        /// Tokens after padding.
        to: usize,
    },
}

/// What is done to a text before its `tokenizer.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cleaning {
    /// As CLIP's own tokenizer does it: entities resolved twice, runs of whitespace to one space.
    #[default]
    Clip,
    /// As `SigLIP`'s reference: as CLIP's, then `_` is a space, other ASCII punctuation goes, all in lower case.
    Canonical,
    /// To lower case, as `SigLIP` 2's.
    Lower,
    /// Nothing.
    None,
}

/// What a model expects of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most tokens of a text, begin and end included.
    pub context_length: usize,
    /// How short texts are filled up.
    pub padding: Padding,
    /// What is done to a text first.
    pub cleaning: Cleaning,
}

/// Why a text has no tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// `tokenizer.json` can't be used.
    #[error("is damaged or no tokenizer.json of a known kind: {0}")]
    Vocabulary(String),
    /// The text has more tokens than the model reads.
    #[error(
        "\"{text}\" has {tokens} tokens, but the model reads {limit} at most, begin and end included: shorten it"
    )]
    TooLong {
        /// The text, as given.
        text: String,
        /// Its tokens, begin and end included.
        tokens: usize,
        /// The model's context length.
        limit: usize,
    },
    /// The tokenizer failed on this text.
    #[error("\"{text}\" can't be split into tokens: {reason}")]
    Encode {
        /// The text, as given.
        text: String,
        /// What the tokenizer says.
        reason: String,
    },
}

/// A model's vocabulary and its rules.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    options: Options,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding that the file asks for are switched off:
    /// `options` decide.
    ///
    /// # Errors
    /// [`TokenizerError::Vocabulary`].
    pub fn from_json(json: &[u8], options: Options) -> Result<Self, TokenizerError> {
        let damaged = |error: tokenizers::Error| TokenizerError::Vocabulary(error.to_string());
        let json = std::str::from_utf8(json).map_err(|error| damaged(error.into()))?;
        // The library panics on some damaged files.
        let parsed = std::panic::catch_unwind(|| json.parse::<Vocabulary>());
        let parsed = parsed.map_err(|_| damaged("its parts don't fit each other".into()))?;
        let mut vocabulary = parsed.map_err(damaged)?;
        vocabulary.with_truncation(None).map_err(damaged)?.with_padding(None);
        vocabulary.set_encode_special_tokens(true);
        Ok(Self { vocabulary, options })
    }

    /// The id of a token as the vocabulary spells it.
    #[must_use]
    pub fn token_id(&self, token: &str) -> Option<i64> {
        self.vocabulary.token_to_id(token).map(i64::from)
    }

    /// Tokens of the vocabulary, without those that were added to it.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.get_vocab_size(false)
    }

    /// The ids of one text.
    ///
    /// # Errors
    /// [`TokenizerError::TooLong`] rather than a cut, and [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str) -> Result<TokenIds, TokenizerError> {
        let failed = |error: tokenizers::Error| TokenizerError::Encode {
            text: text.to_owned(),
            reason: error.to_string(),
        };
        let cleaned = match self.options.cleaning {
            Cleaning::Clip => Cow::Owned(clean(text)),
            Cleaning::Canonical => Cow::Owned(canonical(text)),
            Cleaning::Lower => Cow::Owned(text.to_lowercase()),
            Cleaning::None => Cow::Borrowed(text),
        };
        let encoding = self.vocabulary.encode_fast(cleaned, true).map_err(failed)?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().copied().map(i64::from).collect();
        let limit = self.options.context_length;
        if ids.len() > limit {
            return Err(TokenizerError::TooLong {
                text: text.to_owned(),
                tokens: ids.len(),
                limit,
            });
        }
        if let Padding::To { id, to } = self.options.padding {
            ids.resize(to.max(ids.len()), id);
        }
        Ok(TokenIds(ids))
    }
}

/// CLIP's cleaning: entities resolved twice (`&amp;lt;` is `<`), whitespace runs to one space, trimmed.
fn clean(text: &str) -> String {
    let once = htmlize::unescape(text);
    let twice = htmlize::unescape(once.as_ref());
    twice.split(is_python_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Plain words (`canonicalize_text` of `big_vision` and `OpenCLIP`).
fn canonical(text: &str) -> String {
    let words = clean(text).replace('_', " ").replace(|c: char| c.is_ascii_punctuation(), "");
    words.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What Python's `\s` matches in text: Unicode white space and the four ASCII separators.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::{canonical, clean};

    #[test]
    fn canonical_texts_are_plain_words() {
        assert_eq!(canonical(" A_photo of &quot;Dogs&quot;, two. "), "a photo of dogs two");
    }

    #[test]
    fn cleaning_resolves_entities_twice_and_joins_words() {
        let table = [
            ("a  cat", "a cat"),
            ("\t a\u{a0}cat\r\n", "a cat"),
            ("fish &amp; chips", "fish & chips"),
            ("&amp;lt;", "<"),
            ("caf&eacute;&nbsp;", "café"),
            ("", ""),
        ];
        for (text, cleaned) in table {
            assert_eq!(clean(text), cleaned, "{text:?}");
        }
    }
}
