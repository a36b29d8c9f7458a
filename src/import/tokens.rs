//! The files about tokens: `tokenizer.json`, which is used, and those around it, with which it must agree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::ImportError;
use super::facts::Wording;
use super::settings::{self, Settings};
use crate::tokenizer::{Cleaning, Tokenizer, TokenizerError};

/// Largest `tokenizer.json` that is read, in bytes: Gemma's has 34 million.
const BYTES_MAX: u64 = 256 << 20;
/// Texts that differ in capital letters alone.
const CASES: [&str; 2] = ["Cat Dog Bird", "cat dog bird"];
const WAY_OUT: &str =
    "write it anew with transformers, AutoTokenizer.from_pretrained(..).save_pretrained(..)";

/// What is read of `tokenizer.json` here; its vocabulary is left out.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    padding: Value,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

/// A token that may be in the vocabulary and needs no row in the tower, such as T5's `<extra_id_0>`.
#[derive(Deserialize)]
struct Added {
    id: usize,
}

/// The files of a folder.
pub(super) struct TokenFiles {
    pub(super) path: PathBuf,
    /// `tokenizer.json`, whole.
    pub(super) vocabulary: Vec<u8>,
    head: Settings,
    added: BTreeSet<usize>,
    config: Option<Settings>,
    map: Option<Settings>,
}

impl TokenFiles {
    pub(super) fn read(folder: &Path) -> Result<Self, ImportError> {
        let path = folder.join("tokenizer.json");
        let wrong = |reason: String| ImportError::File { path: path.clone(), reason };
        let vocabulary = settings::bytes(&path, BYTES_MAX)?
            .ok_or_else(|| wrong(format!("it is missing: {WAY_OUT}")))?;
        let head: Head =
            serde_json::from_slice(&vocabulary).map_err(|error| wrong(error.to_string()))?;
        let added = head.added_tokens.iter().map(|token| token.id).collect();
        let head = serde_json::json!({"normalizer": head.normalizer, "padding": head.padding});
        Ok(Self {
            head: Settings::of(&path, head),
            added,
            config: Settings::read(&folder.join("tokenizer_config.json"))?,
            map: Settings::read(&folder.join("special_tokens_map.json"))?,
            path,
            vocabulary,
        })
    }

    /// The highest id that the vocabulary has of its own.
    pub(super) fn last_id(&self, tokenizer: &Tokenizer) -> usize {
        let ids = (0..tokenizer.vocabulary_size()).rev();
        ids.into_iter().find(|id| !self.added.contains(id)).unwrap_or(0)
    }

    /// The longest text that the tokenizer's settings allow; "any" is written as 1e30.
    pub(super) fn longest(&self, any: usize) -> Result<Option<usize>, ImportError> {
        let Some(config) = &self.config else { return Ok(None) };
        let longest = config.number("model_max_length")?;
        if longest.is_some_and(|longest| longest < 1.0) {
            return Err(config.wrong("model_max_length", "must be above 0"));
        }
        Ok(longest.filter(|longest| *longest <= any as f64).map(|longest| longest as usize))
    }

    /// Refuses what `tokenizer.json` does otherwise than the other files say.
    pub(super) fn check(
        &self,
        tokenizer: &Tokenizer,
        words: Wording,
        encode: impl Fn(&Tokenizer, &str) -> Result<Vec<i64>, ImportError>,
    ) -> Result<(), ImportError> {
        self.check_ends(tokenizer, words.ends, &encode(tokenizer, "")?)?;
        if let Some(is_lower_case) = words.is_lower_case {
            let [capital, small] = CASES.map(|text| encode(tokenizer, text));
            let is_same = capital? == small?;
            // What is trained on small letters alone gets them here, whatever the file says.
            let is_made = matches!(words.cleaning, Cleaning::Lower | Cleaning::Canonical);
            if is_same != is_lower_case && !is_made {
                let does = if is_same { "makes small letters" } else { "keeps capital letters" };
                return Err(self.wrong(&format!(
                    "it {does}, the other settings (tokenizer_class, do_lower_case, clean) mean the contrary: {WAY_OUT}"
                )));
            }
        }
        self.check_bert()?;
        self.check_padding_side()
    }

    /// The tokens around a text are those of the tokenizer's class.
    fn check_ends(
        &self,
        tokenizer: &Tokenizer,
        least: usize,
        ends: &[i64],
    ) -> Result<(), ImportError> {
        if ends.len() < least {
            let found = ends.len();
            return Err(self.wrong(&format!(
                "its post_processor puts {found} tokens around a text, {least} are meant: {WAY_OUT}"
            )));
        }
        let Some(config) = &self.config else { return Ok(()) };
        let class = config.text("tokenizer_class")?.unwrap_or_default();
        let fields: &[&str] = match class.strip_suffix("Fast").unwrap_or(class) {
            "CLIPTokenizer" => &["bos_token", "eos_token"],
            "BertTokenizer" | "RobertaTokenizer" | "XLMRobertaTokenizer" => {
                &["cls_token", "sep_token"]
            }
            "SiglipTokenizer" | "T5Tokenizer" => &["eos_token"],
            own @ ("GemmaTokenizer" | "Siglip2Tokenizer") => {
                let is_gemma = own == "GemmaTokenizer";
                match (
                    config.flag("add_bos_token", is_gemma)?,
                    config.flag("add_eos_token", !is_gemma)?,
                ) {
                    (true, true) => &["bos_token", "eos_token"],
                    (true, false) => &["bos_token"],
                    (false, true) => &["eos_token"],
                    (false, false) => &[],
                }
            }
            _ => return Ok(()),
        };
        let mut meant = Vec::new();
        for field in fields {
            let Some((settings, token)) = self.special(field)? else { return Ok(()) };
            meant.push(known(tokenizer, settings, field, token)?);
        }
        if meant == ends {
            return Ok(());
        }
        Err(self.wrong(&format!(
            "its post_processor puts tokens {ends:?} around a text, {class} means {meant:?}: {WAY_OUT}"
        )))
    }

    /// transformers has these settings rather than those of `tokenizer.json`.
    fn check_bert(&self) -> Result<(), ImportError> {
        let Some(config) = &self.config else { return Ok(()) };
        let is_bert = config.text("tokenizer_class")?.is_some_and(|of| of.starts_with("Bert"));
        let normalizer = self.head.value("normalizer");
        if !is_bert || normalizer.get("type").and_then(Value::as_str) != Some("BertNormalizer") {
            return Ok(());
        }
        let pairs = [
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ];
        for (field, own) in pairs {
            let (meant, found) = (config.value(field), &normalizer[own]);
            if config.fields().any(|there| there == field) && meant != found {
                let reason = format!("is {meant}, but {own} in tokenizer.json is {found}");
                return Err(config.wrong(field, &reason));
            }
        }
        Ok(())
    }

    fn check_padding_side(&self) -> Result<(), ImportError> {
        let padding = self.head.part("padding")?;
        let config = self.config.as_ref();
        let said = config.map_or(Ok(None), |config| config.text("padding_side"))?;
        let reason = match said.or(padding.text("direction")?) {
            Some(side) if side.eq_ignore_ascii_case("right") => return Ok(()),
            Some(side) => format!("is {side}: texts are filled up on the right here"),
            None => {
                let class = config.map_or(Ok(None), |config| config.text("tokenizer_class"))?;
                match class.filter(|class| class.starts_with("Gemma")) {
                    None => return Ok(()),
                    Some(class) => format!(
                        "is missing, and {class} then fills up on the left: write \"right\" if the model was trained so"
                    ),
                }
            }
        };
        Err(config.unwrap_or(&padding).wrong("padding_side", &reason))
    }

    /// The token that fills up.
    pub(super) fn pad_id(&self, tokenizer: &Tokenizer) -> Result<i64, ImportError> {
        if let Some((settings, token)) = self.special("pad_token")? {
            return known(tokenizer, settings, "pad_token", token);
        }
        let id = self.head.part("padding")?.size("pad_id")?.and_then(|id| i64::try_from(id).ok());
        id.ok_or_else(|| ImportError::File {
            path: self.path.with_file_name("tokenizer_config.json"),
            reason: "pad_token is missing, and this text tower needs padding".into(),
        })
    }

    /// A special token by its role, and who says it.
    fn special(&self, field: &str) -> Result<Option<(&Settings, &str)>, ImportError> {
        for settings in [&self.config, &self.map].into_iter().flatten() {
            if let Some(token) = settings.token(field)? {
                return Ok(Some((settings, token)));
            }
        }
        Ok(None)
    }

    pub(super) fn wrong(&self, reason: &str) -> ImportError {
        ImportError::File { path: self.path.clone(), reason: reason.into() }
    }

    pub(super) fn failed(&self, source: TokenizerError) -> ImportError {
        ImportError::Tokenizer { path: self.path.clone(), source }
    }
}

fn known(
    tokenizer: &Tokenizer,
    settings: &Settings,
    field: &str,
    token: &str,
) -> Result<i64, ImportError> {
    let reason = || settings.wrong(field, &format!("is {token}, which tokenizer.json lacks"));
    tokenizer.token_id(token).ok_or_else(reason)
}
