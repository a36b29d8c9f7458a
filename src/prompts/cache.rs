//! Embeddings of prompts on disk, so that a start encodes nothing twice. A safetensors file of half floats;
//! never trusted when it was made by another model, or is not what was written.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::{EncodePrompts, PromptError, Template};
use crate::digest::sha256;
use crate::disk;

/// Most rows that are kept; beyond, those that were used longest ago go.
pub const CACHE_ROWS_MAX: usize = 20_000;

/// Largest file that is read, in bytes; one set may have more rows than [`CACHE_ROWS_MAX`].
const BYTES_MAX: u64 = 1 << 30;

/// Prompts that are encoded at a time.
const PART_PROMPTS: usize = 64;

/// What takes long is saved on the way: a start that is cut off goes on where it was.
const SAVE_EVERY: Duration = Duration::from_secs(20);

/// Version of the file.
const FORMAT: &str = "edgeclip prompts 1";

const KEY_BYTES: usize = 64;

/// Prompts' embeddings: for each (templates, prompt) the mean over the templates, `[embedding_dim]`, as half
/// floats. All that goes into a head comes out of here, so a cached head has the same bits as a fresh one.
#[derive(Debug)]
pub struct PromptCache {
    /// What the rows are made by: model (and so tokenizer), and arithmetic.
    identity: String,
    rows: HashMap<String, Row>,
    /// Goes up with each fill: how recently a row was used.
    clock: u64,
    /// Where it is kept.
    path: Option<PathBuf>,
    /// Since when something new is not on disk.
    dirty_since: Option<Instant>,
}

#[derive(Debug)]
struct Row {
    values: Box<[f16]>,
    used: u64,
}

impl PromptCache {
    /// An empty cache of what `identity` encodes: the model's digest and the arithmetic.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        let (identity, rows) = (identity.into(), HashMap::new());
        Self { identity, rows, clock: 0, path: None, dirty_since: None }
    }

    /// The cache that is kept in a file; an empty one where there is none yet, or where it can't be trusted,
    /// which is logged.
    #[must_use]
    pub fn open(path: &Path, identity: impl Into<String>) -> Self {
        let mut cache = Self::new(identity);
        match cache.read(path) {
            Ok(()) => log::info!("{}: {} prompts", path.display(), cache.rows.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("{}: {error}: prompts are encoded anew", path.display()),
        }
        cache.path = Some(path.to_owned());
        cache
    }

    /// Writes the file, where something new is in it. What can't be written is encoded again some day.
    fn save(&mut self) {
        let Some(path) = self.path.clone().filter(|_| self.dirty_since.is_some()) else { return };
        match self.write(&path) {
            Ok(()) => self.dirty_since = None,
            Err(error) => {
                log::warn!("{}: {error}: prompts will be encoded again", path.display());
                self.dirty_since = Some(Instant::now());
            }
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(key, row)| (row.used, *key));
        let keys: Vec<u8> = rows.iter().flat_map(|(key, _)| key.as_bytes()).copied().collect();
        let values: Vec<u8> = rows
            .iter()
            .flat_map(|(_, row)| row.values.iter().flat_map(|v| v.to_le_bytes()))
            .collect();
        let count = rows.len();
        let dim = rows.first().map_or(0, |(_, row)| row.values.len());
        let view =
            |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).map_err(io::Error::other);
        let tensors = [
            ("keys", view(Dtype::U8, vec![count, KEY_BYTES], &keys)?),
            ("rows", view(Dtype::F16, vec![count, dim], &values)?),
        ];
        let about = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("identity".to_owned(), self.identity.clone()),
            ("sha256".to_owned(), sha256(&[&*keys, &*values].concat())),
        ]);
        let bytes = serialize(tensors, Some(about)).map_err(io::Error::other)?;
        disk::replace(path, &bytes)
    }

    /// Encodes the prompts `(owner, prompt)` that are not there yet; returns how many.
    pub(super) fn fill(
        &mut self,
        prompts: &[(&str, &str)],
        templates: &[Template],
        encoder: &mut dyn EncodePrompts,
    ) -> Result<usize, PromptError> {
        self.clock += 1;
        let mut missing: Vec<(&str, &str)> = Vec::new();
        let mut asked = HashSet::new();
        for (owner, prompt) in prompts {
            let key = key(prompt, templates);
            if let Some(row) = self.rows.get_mut(&key) {
                row.used = self.clock;
            } else if asked.insert(key) {
                missing.push((owner, prompt));
            }
        }
        if missing.is_empty() {
            return Ok(0);
        }
        for part in missing.chunks(PART_PROMPTS) {
            let rows = encoder.encode(part, templates)?;
            for ((_, prompt), row) in part.iter().zip(rows) {
                let values = row.into_iter().map(f16::from_f32).collect();
                self.rows.insert(key(prompt, templates), Row { values, used: self.clock });
            }
            let since = *self.dirty_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= SAVE_EVERY {
                self.save();
            }
        }
        self.forget();
        self.save();
        Ok(missing.len())
    }

    /// A row that was filled; empty where it was not.
    pub(super) fn row(&self, prompt: &str, templates: &[Template]) -> &[f16] {
        self.rows.get(&key(prompt, templates)).map_or(&[], |row| &row.values)
    }

    /// Keeps the rows of this fill, and of the others the newest.
    fn forget(&mut self) {
        let surplus = self.rows.len().saturating_sub(CACHE_ROWS_MAX);
        let clock = self.clock;
        let mut old: Vec<(u64, String)> = (self.rows.iter())
            .filter(|(_, row)| row.used < clock)
            .map(|(key, row)| (row.used, key.clone()))
            .collect();
        old.sort_unstable();
        for (_, key) in old.into_iter().take(surplus) {
            self.rows.remove(&key);
        }
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        if fs::metadata(path)?.len() > BYTES_MAX {
            return Err(wrong("is larger than any prompt cache"));
        }
        let bytes = fs::read(path)?;
        let damaged = |_| wrong("is damaged");
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let about = header.metadata().clone().unwrap_or_default();
        let says = |key: &str| about.get(key).map_or("", String::as_str);
        if says("format") != FORMAT {
            return Err(wrong("is of another version"));
        }
        if says("identity") != self.identity {
            return Err(wrong("is of another model"));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let keys = tensors.tensor("keys").map_err(damaged)?;
        let rows = tensors.tensor("rows").map_err(damaged)?;
        let (&[count, KEY_BYTES], &[rows_count, dim]) = (keys.shape(), rows.shape()) else {
            return Err(wrong("is damaged"));
        };
        let whole = says("sha256") == sha256(&[keys.data(), rows.data()].concat());
        if !whole || rows_count != count || rows.dtype() != Dtype::F16 || dim == 0 {
            return Err(wrong("is damaged"));
        }
        let pairs = keys.data().chunks_exact(KEY_BYTES).zip(rows.data().chunks_exact(dim * 2));
        for (key, row) in pairs {
            let values = row.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]));
            let key = String::from_utf8_lossy(key).into_owned();
            self.clock += 1;
            self.rows.insert(key, Row { values: values.collect(), used: self.clock });
        }
        Ok(())
    }
}

/// The digest of templates and prompt; no text holds the zero byte between them.
fn key(prompt: &str, templates: &[Template]) -> String {
    let mut text: String = templates.iter().map(|template| template.key() + "\0").collect();
    text.push_str(prompt);
    sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what it encodes; a prompt's row is its length.
    struct Counter(usize);

    impl EncodePrompts for Counter {
        fn encode(
            &mut self,
            prompts: &[(&str, &str)],
            templates: &[Template],
        ) -> Result<Vec<Vec<f32>>, PromptError> {
            self.0 += prompts.len();
            let row =
                |(_, prompt): &(&str, &str)| vec![prompt.len() as f32, templates.len() as f32];
            Ok(prompts.iter().map(row).collect())
        }
    }

    fn templates(texts: &[&str]) -> Vec<Template> {
        texts.iter().map(|text| Template::parse(text).unwrap()).collect()
    }

    #[test]
    fn a_second_start_encodes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.safetensors");
        let (mut encoder, plain) = (Counter(0), templates(&["a {}"]));
        let mut cache = PromptCache::open(&path, "model");
        assert_eq!(
            cache.fill(&[("l", "cat"), ("m", "cat"), ("l", "bird")], &plain, &mut encoder).unwrap(),
            2
        );
        let mut again = PromptCache::open(&path, "model");
        assert_eq!(again.fill(&[("l", "bird"), ("l", "cat")], &plain, &mut encoder).unwrap(), 0);
        assert_eq!(again.row("bird", &plain), [4.0, 1.0].map(f16::from_f32));
        assert_eq!(again.fill(&[("l", "cat")], &templates(&["the {}"]), &mut encoder).unwrap(), 1);
        assert_eq!(encoder.0, 3);
    }

    #[test]
    fn a_file_of_another_model_or_a_damaged_one_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.safetensors");
        let plain = templates(&["{}"]);
        let mut cache = PromptCache::open(&path, "model");
        cache.fill(&[("l", "cat")], &plain, &mut Counter(0)).unwrap();
        assert!(PromptCache::open(&path, "another").rows.is_empty());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let cache = PromptCache::open(&path, "model");
            let kept = cache.row("cat", &plain);
            assert!(kept.is_empty() || kept == [3.0, 1.0].map(f16::from_f32), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(PromptCache::open(&path, "model").rows.is_empty(), "cut at {at}");
        }
    }

    #[test]
    fn the_oldest_rows_go_first() {
        let plain = templates(&["{}"]);
        let mut cache = PromptCache::new("model");
        let names: Vec<String> = (0..CACHE_ROWS_MAX).map(|n| format!("label {n}")).collect();
        let prompts: Vec<(&str, &str)> = names.iter().map(|name| ("l", name.as_str())).collect();
        // In parts, since each part is compared with what is missing of it.
        for part in prompts.chunks(1000) {
            cache.fill(part, &plain, &mut Counter(0)).unwrap();
        }
        cache.fill(&[("l", "label 0"), ("l", "new")], &plain, &mut Counter(0)).unwrap();
        assert_eq!(cache.rows.len(), CACHE_ROWS_MAX);
        assert!(!cache.row("label 0", &plain).is_empty() && !cache.row("new", &plain).is_empty());
        let gone: Vec<_> = names.iter().filter(|name| cache.row(name, &plain).is_empty()).collect();
        let of_the_first_part = names[1..1000].contains(gone[0]);
        assert!(gone.len() == 1 && of_the_first_part, "{gone:?}");
    }
}
