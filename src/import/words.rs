//! How a model wants its texts: what its tokenizer's files say, and what its text tower shows.

use std::path::Path;

use serde_json::Value;

use super::facts::{Facts, Family};
use super::settings::Settings;
use super::towers::Tower;
use super::{ImportError, Side};
use crate::embedding::Embedding;
use crate::encoder::{Compute, TextEncoder};
use crate::tokenizer::{Options, Padding, Tokenizer};

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
    /// Reads the files, and asks the tower whether it must be given padding.
    pub(super) fn read(
        folder: &Path,
        facts: &Facts,
        tower: &Tower,
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, ImportError> {
        let path = folder.join("tokenizer.json");
        let vocabulary = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ImportError::File {
                path: path.clone(),
                reason: "it is missing: write it with transformers, \
                         AutoTokenizer.from_pretrained(..).save_pretrained(..)"
                    .into(),
            },
            _ => ImportError::Io { path: path.clone(), source },
        })?;
        let fixed = tower.input.get(1).copied().flatten();
        let context_length = context_length(folder, facts, fixed)?;
        let unpadded = Options { context_length, padding: Padding::None, cleaning: facts.cleaning };
        let failed = |source| ImportError::Tokenizer { path: path.clone(), source };
        let tokenizer = Tokenizer::from_json(&vocabulary, unpadded).map_err(failed)?;
        let pad_id = pad_id(folder, facts, &tokenizer);
        let with = |id| Options { padding: Padding::To { id, to: context_length }, ..unpadded };
        let needs_padding = if fixed.is_some() {
            true
        } else if tower.is_masked && facts.family != Family::Pooled {
            false
        } else {
            // Any token will do to see whether the tower looks at what comes after the end.
            let options = with(*pad_id.as_ref().unwrap_or(&0));
            let long = Tokenizer::from_json(&vocabulary, options).map_err(failed)?;
            let texts = [tokenizer.encode(SHORT), long.encode(SHORT)];
            let [short, long] = texts.map(|text| text.map_err(failed));
            let texts = [short?, long?];
            let encoder = TextEncoder::load(&tower.onnx, context_length, embedding_dim, compute);
            let rows = encoder.and_then(|encoder| encoder.encode(&texts));
            !is_same(&rows.map_err(|source| ImportError::Tower { side: Side::Text, source })?)
        };
        let options = if needs_padding { with(pad_id?) } else { unpadded };
        Ok(Self { vocabulary, options })
    }
}

fn is_same(rows: &[Embedding]) -> bool {
    rows.windows(2).all(|pair| pair[0].cosine(&pair[1]) >= SAME)
}

/// The least of what the settings, the tokenizer and the graph allow.
fn context_length(
    folder: &Path,
    facts: &Facts,
    fixed: Option<usize>,
) -> Result<usize, ImportError> {
    if let Some(fixed) = fixed {
        return Ok(fixed);
    }
    let path = folder.join("tokenizer_config.json");
    // "Any" is written as 1e30.
    let longest = Settings::read(&path)?.and_then(|of| of.value("model_max_length").as_u64());
    let longest = longest.and_then(|longest| usize::try_from(longest).ok());
    let known = [longest, facts.context_length].into_iter().flatten();
    let least = known.min().filter(|length| (2..=CONTEXT_LENGTH_MAX).contains(length));
    least.ok_or(ImportError::File {
        path,
        reason: "neither model_max_length here nor max_position_embeddings in config.json says \
                 how long texts may be"
            .into(),
    })
}

/// The token that fills up: by the tokenizer's settings, or by `tokenizer.json` itself.
fn pad_id(folder: &Path, facts: &Facts, tokenizer: &Tokenizer) -> Result<i64, ImportError> {
    if let Some(id) = facts.pad_id {
        return Ok(id);
    }
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        let Some(settings) = Settings::read(&folder.join(file))? else { continue };
        let token = match settings.value("pad_token") {
            Value::Null => continue,
            Value::String(token) => token.as_str(),
            token => token.get("content").and_then(Value::as_str).unwrap_or_default(),
        };
        let id = tokenizer.token_id(token);
        let reason =
            || settings.wrong("pad_token", &format!("is {token}, which tokenizer.json lacks"));
        return id.ok_or_else(reason);
    }
    let padding = Settings::required(&folder.join("tokenizer.json"))?.part("padding");
    let id = padding.size("pad_id")?.and_then(|id| i64::try_from(id).ok());
    id.ok_or_else(|| ImportError::File {
        path: folder.join("tokenizer_config.json"),
        reason: "pad_token is missing, and this text tower needs padding".into(),
    })
}
