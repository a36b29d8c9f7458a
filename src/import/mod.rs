//! Published models taken in: a folder in the layout of transformers (as Optimum and transformers.js export it)
//! or of `OpenCLIP` becomes a bundle. Everything that the folder's files say is honoured, or refused
//! with the reason; nothing is assumed.

mod card;
mod facts;
mod logits;
mod open_clip;
mod processor;
mod settings;
mod tokens;
mod towers;
mod variant;
mod words;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::bundle::{FileDigest, Manifest, Provenance, ProvenanceFile, Text};
use crate::digest::{sha256, sha256_of};
use crate::disk;
use crate::encoder::{Compute, EncoderError, OnnxError};
use crate::prompts::{Template, TemplateError};
use crate::tokenizer::TokenizerError;
use facts::Facts;
use towers::{Tower, Towers};
pub use variant::{Graphs, Selection, Variant, select};
use words::Words;

/// Mean and deviation of CLIP's training pictures, the default of transformers and of `OpenCLIP` (its `constants.py`).
const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// What is known of a model from elsewhere, or wished.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The graphs to take; the best ones where nothing is asked for.
    pub variant: Option<Variant>,
    /// The model's name; the repository's or folder's where there is none.
    pub name: Option<String>,
    /// Terms of the weights; those that README.md begins with where there are none.
    pub licence: Option<String>,
    /// Scale of the logits, the exponential of the temperature.
    pub logit_scale: Option<f32>,
    /// What is added to the logits.
    pub logit_bias: Option<f32>,
    /// Templates for label sets that bring none; the family's where this is empty.
    pub templates: Vec<String>,
    /// Where the folder comes from, such as `Xenova/clip-vit-base-patch32`, and its commit.
    pub repository: Option<(String, String)>,
}

/// Why a folder can't be taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file can't be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is missing, or says what can't be honoured.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The field, what is wrong with it, and the way out.
        reason: String,
    },
    /// The graphs that are wanted are not there.
    #[error("{0}")]
    Selection(String),
    /// A graph can't be read or cut.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The vocabulary doesn't load.
    #[error("{}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TokenizerError,
    },
    /// A text tower doesn't load or run.
    #[error("{}", path.display())]
    Tower {
        /// The file that holds it.
        path: PathBuf,
        /// Why.
        source: EncoderError,
    },
    /// A template has no place for the label.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Nothing says how cosines become scores.
    #[error(
        "none of the files holds the trained logit scale, without which scores mean nothing: take a variant with both \
         towers in one model.onnx, or give --logit-scale (CLIP's is 100, Radford et al. 2021, section 2.5)"
    )]
    NoLogitScale,
    /// Nothing says what is added to the logits, without which sigmoid scores mean nothing.
    #[error(
        "none of the files holds the trained logit bias, without which sigmoid scores mean nothing: take a variant with \
         both towers in one model.onnx, or give --logit-bias (the model's card or checkpoint has it)"
    )]
    NoLogitBias,
    /// The logit scale is no scale.
    #[error("the logit scale is {0}: it must be above 0, see --logit-scale")]
    LogitScale(f32),
    /// The logit bias is no number.
    #[error("the logit bias is {0}, see --logit-bias")]
    LogitBias(f32),
}

/// Makes a bundle's files of a folder, and puts them into another one, which is there and empty.
///
/// # Errors
/// [`ImportError`], which names the file and the field.
pub fn import(
    folder: &Path,
    bundle: &Path,
    options: &Options,
    compute: &Compute,
) -> Result<Manifest, ImportError> {
    let files = files(folder)?;
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let selection = select(&names, options.variant).map_err(|error| match error {
        ImportError::Selection(reason) => ImportError::File { path: folder.into(), reason },
        other => other,
    })?;
    let facts = Facts::read(folder)?;
    let towers = Towers::read(folder, &selection.graphs, &facts)?;
    let embedding_dim = embedding_dim(folder, &facts, &towers)?;
    let (scoring, checkpoint) = logits::scoring(folder, &facts, options, &towers)?;
    let text = match &towers.text {
        None => None,
        Some(tower) => {
            let words = Words::read(folder, &facts, tower, embedding_dim, compute)?;
            Some(text(bundle, &words, tower, &facts, &options.templates)?)
        }
    };
    let data = towers.data.iter().filter_map(|path| path.strip_prefix(folder).ok());
    let opened = data.map(slashed).chain(checkpoint.map(str::to_owned));
    Ok(Manifest {
        name: name(folder, options),
        licence: licence(folder, options),
        source: options.repository.as_ref().map_or_else(
            || format!("the folder {}", folder_name(folder)),
            |(repository, revision)| format!("https://huggingface.co/{repository} at {revision}"),
        ),
        embedding_dim,
        scoring,
        preprocess: facts.preprocess,
        vision: write(bundle, "vision.onnx", &towers.vision.onnx)?,
        text,
        golden: None,
        provenance: Some(provenance(folder, options, selection, opened)?),
    })
}

fn text(
    bundle: &Path,
    words: &Words,
    tower: &Tower,
    facts: &Facts,
    templates: &[String],
) -> Result<Text, ImportError> {
    let parse = |template: &str| Template::parse(template);
    let templates: Result<Vec<_>, _> = if templates.is_empty() {
        facts.templates.iter().copied().map(parse).collect()
    } else {
        templates.iter().map(String::as_str).map(parse).collect()
    };
    Ok(Text {
        tokenizer: words.options,
        templates: templates?,
        graph: write(bundle, "text.onnx", &tower.onnx)?,
        vocabulary: write(bundle, "tokenizer.json", &words.vocabulary)?,
    })
}

/// What the graphs say, or the settings where the graphs say nothing.
fn embedding_dim(folder: &Path, facts: &Facts, towers: &Towers) -> Result<usize, ImportError> {
    let path = || folder.join("config.json");
    let said = facts.dim_of(&towers.vision.output).map(|said| said.value);
    let of_text = towers.text.as_ref().and_then(|text| text.embedding_dim);
    match (towers.vision.embedding_dim, of_text) {
        (Some(vision), Some(text)) if vision != text => Err(ImportError::File {
            path: path(),
            reason: format!(
                "pictures have embeddings of {vision} values, texts of {text}: they can't be compared"
            ),
        }),
        (vision, text) => vision.or(text).or(said).ok_or_else(|| ImportError::File {
            path: path(),
            reason: "neither the graphs nor projection_dim say how many values an embedding has"
                .into(),
        }),
    }
}

/// Files of a folder and of the folders in it, as paths from there with `/`.
fn files(folder: &Path) -> Result<Vec<String>, ImportError> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).max_depth(2).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| unread(folder, error))?;
        if let (true, Ok(path)) = (entry.file_type().is_file(), entry.path().strip_prefix(folder)) {
            files.push(slashed(path));
        }
    }
    Ok(files)
}

/// Why a file of the folder can't be looked at; a link of the hub's cache may have lost its file.
fn unread(folder: &Path, error: walkdir::Error) -> ImportError {
    let path = error.path().unwrap_or(folder).to_owned();
    match path.read_link() {
        Ok(target) if !path.exists() => {
            let target = target.display();
            let reason = format!(
                "it is a link to {target}, which is gone: download it again, or remove the link"
            );
            ImportError::File { path, reason }
        }
        _ => ImportError::Io { path, source: error.into() },
    }
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

fn write(bundle: &Path, file: &str, bytes: &[u8]) -> Result<FileDigest, ImportError> {
    let path = bundle.join(file);
    disk::replace(&path, bytes).map_err(|source| ImportError::Io { path, source })?;
    Ok(FileDigest { file: file.into(), sha256: sha256(bytes) })
}

fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.into());
    whole.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
}

fn name(folder: &Path, options: &Options) -> String {
    let of_repository = || {
        let (repository, _) = options.repository.as_ref()?;
        Some(repository.rsplit('/').next().unwrap_or(repository).to_owned())
    };
    options.name.clone().or_else(of_repository).unwrap_or_else(|| folder_name(folder))
}

/// As asked for, or as the model's card says.
fn licence(folder: &Path, options: &Options) -> String {
    let unknown = || "unknown: ask those who made the weights".to_owned();
    options.licence.clone().or_else(|| card::licence(folder)).unwrap_or_else(unknown)
}

/// Digests of all files that were opened.
fn provenance(
    folder: &Path,
    options: &Options,
    selection: Selection,
    opened: impl Iterator<Item = String>,
) -> Result<Provenance, ImportError> {
    let (repository, revision) =
        options.repository.clone().unwrap_or_else(|| (folder_name(folder), String::new()));
    let mut paths: Vec<String> = selection.wanted.into_iter().chain(opened).collect();
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let whole = folder.join(&path);
        let sha256 = File::open(&whole).and_then(sha256_of);
        let sha256 = sha256.map_err(|source| ImportError::Io { path: whole, source })?;
        files.push(ProvenanceFile { path, sha256 });
    }
    Ok(Provenance { repository, revision, graphs: selection.reason, files })
}
