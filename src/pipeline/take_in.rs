//! A published model becomes a bundle or a packed model that is known to work: its towers are cut out, loaded and
//! run, in float and in int8, before anything is put in its place.

use std::io;
use std::path::{Path, PathBuf};

use super::golden::Golden;
use super::{Model, ModelError, layout};
use crate::bundle::{Bundle, BundleError, FileDigest, MANIFEST, Manifest};
use crate::digest::sha256;
use crate::disk::{self, PartFolder};
use crate::encoder::{self, Precision};
use crate::import::{self, ImportError};
use crate::prompts::Template;

/// The end of a packed model's name.
const PACKED: &str = "eclip";
/// Names of a bundle's files.
const VISION_FILE: &str = "vision.onnx";
const TEXT_FILE: &str = "text.onnx";
const VOCABULARY_FILE: &str = "tokenizer.json";
const GOLDEN_FILE: &str = "golden.safetensors";
/// A packed model before it is in its place.
const PACKED_FILE: &str = "model.eclip";

/// What was taken in.
#[derive(Clone, Debug)]
pub struct TakenIn {
    /// The bundle's folder, or the packed model.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its digest.
    pub digest: String,
    /// Least cosine of int8 to float over the known pictures.
    pub image_int8: f32,
    /// Least cosine of int8 to float over the known texts; none without a text side.
    pub text_int8: Option<f32>,
}

/// Whether a model can be put there: a packed model where the name ends so, in the place of another one or where
/// nothing is, for a kernel that exists; or else a bundle's folder, which must not be there yet.
///
/// # Errors
/// [`ModelError`] that names what is in the way.
pub fn check_target(target: &Path, kernel: Option<&str>) -> Result<(), ModelError> {
    if let Some(kernel) = kernel {
        layout(kernel)?;
    }
    let there = target.exists();
    if is_packed_name(target) {
        if there && !Bundle::is_packed_file(target) {
            return Err(ModelError::Occupied { path: target.into() });
        }
    } else if kernel.is_some() {
        return Err(ModelError::KernelOfFolder { path: target.into() });
    } else if there {
        return Err(ModelError::Exists { path: target.into() });
    }
    if !disk::folder_of(target).is_dir() {
        return Err(ModelError::NoFolder { path: target.into() });
    }
    Ok(())
}

fn is_packed_name(target: &Path) -> bool {
    target.extension().is_some_and(|extension| extension == PACKED)
}

/// Takes in a folder of a published model, or a bundle, which gets new golden embeddings. `target` is as
/// [`check_target`] wants it; a packed model is for a kernel or for this machine's. It is there whole or not at all.
///
/// # Errors
/// [`ModelError::Import`] names the file and the field; those of [`check_target`]; other [`ModelError`]s where a tower
/// doesn't load or run.
pub fn take_in(
    folder: &Path,
    target: &Path,
    options: &import::Options,
    kernel: Option<&str>,
) -> Result<TakenIn, ModelError> {
    check_target(target, kernel)?;
    let parent = disk::folder_of(target);
    let part = PartFolder::begin(&parent).map_err(io_error(&parent))?;
    let taken = Making { folder, part: part.path() }.make(options);
    let (manifest, digest, golden) = taken.map_err(|error| of_user(error, folder, part.path()))?;
    if is_packed_name(target) {
        let model = Model::open(Some(part.path()))?;
        let kernel = kernel.unwrap_or(model.compute().kernel().name());
        model.pack(&part.path().join(PACKED_FILE), kernel)?;
        part.settle_file(PACKED_FILE, target).map_err(io_error(target))?;
    } else {
        part.settle(target).map_err(io_error(target))?;
    }
    let (image_int8, text_int8) = golden.int8_to_float();
    Ok(TakenIn { path: target.into(), manifest, digest, image_int8, text_int8 })
}

/// A bundle that is being made of a folder.
struct Making<'a> {
    folder: &'a Path,
    part: &'a Path,
}

impl Making<'_> {
    fn make(&self, options: &import::Options) -> Result<(Manifest, String, Golden), ModelError> {
        let compute = |precision| encoder::Options { precision, ..encoder::Options::default() };
        let mut manifest = if self.folder.join(MANIFEST).exists() {
            self.copy(options)?
        } else {
            let float = encoder::Compute::start(&compute(Precision::Float))?;
            import::import(self.folder, self.part, options, &float)?
        };
        self.write_manifest(&manifest)?;
        let open = |precision| Model::open_with(Some(self.part), &compute(precision));
        let golden = Golden::of(&open(Precision::Float)?, &open(Precision::Auto)?)?;
        let path = self.part.join(GOLDEN_FILE);
        let bytes = golden.to_bytes().map_err(|error| io_error(&path)(io::Error::other(error)))?;
        disk::replace(&path, &bytes).map_err(io_error(&path))?;
        manifest.golden = Some(FileDigest { file: GOLDEN_FILE.into(), sha256: sha256(&bytes) });
        let digest = self.write_manifest(&manifest)?;
        Ok((manifest, digest, golden))
    }

    /// A bundle's files, as its manifest means them, under the usual names; with what the user knows better.
    fn copy(&self, options: &import::Options) -> Result<Manifest, ModelError> {
        let bundle = Bundle::open(self.folder)?;
        let mut manifest = bundle.manifest().clone();
        known_better(&mut manifest, options).map_err(|reason| self.refusal(reason))?;
        let mut files = vec![(VISION_FILE, &mut manifest.vision, bundle.vision()?)];
        if let Some(words) = &mut manifest.text {
            files.push((TEXT_FILE, &mut words.graph, bundle.text()?));
            files.push((VOCABULARY_FILE, &mut words.vocabulary, bundle.tokenizer()?));
        }
        for (name, meant, file) in files {
            let path = self.part.join(name);
            disk::replace(&path, &file.bytes).map_err(io_error(&path))?;
            name.clone_into(&mut meant.file);
        }
        Ok(manifest)
    }

    /// Writes `model.toml`, if it can be read back; the model's digest.
    fn write_manifest(&self, manifest: &Manifest) -> Result<String, ModelError> {
        let text = manifest.to_toml().map_err(|error| self.refusal(error.to_string()))?;
        Manifest::parse(&text).map_err(|error| self.refusal(error.reason))?;
        let path = self.part.join(MANIFEST);
        disk::replace(&path, text.as_bytes()).map_err(io_error(&path))?;
        Ok(format!("sha256:{}", sha256(text.as_bytes())))
    }

    fn refusal(&self, reason: String) -> ModelError {
        ImportError::File { path: self.folder.into(), reason }.into()
    }
}

/// What options say of a bundle, in the place of what it says itself.
fn known_better(manifest: &mut Manifest, options: &import::Options) -> Result<(), String> {
    let import::Options { variant, name, licence, logit_scale, logit_bias, templates, .. } =
        options;
    if variant.is_some() {
        return Err(
            "it is a bundle, whose graphs are chosen: take a --variant of what it was made of"
                .into(),
        );
    }
    let Manifest { scoring, .. } = manifest;
    scoring.logit_scale = logit_scale.unwrap_or(scoring.logit_scale);
    scoring.logit_bias = logit_bias.unwrap_or(scoring.logit_bias);
    for (known, value) in [(name, &mut manifest.name), (licence, &mut manifest.licence)] {
        if let Some(known) = known {
            known.clone_into(value);
        }
    }
    if templates.is_empty() {
        return Ok(());
    }
    let text = manifest.text.as_mut().ok_or("it knows no words, so it has no use for templates")?;
    let parsed: Result<Vec<_>, _> = templates.iter().map(|text| Template::parse(text)).collect();
    text.templates = parsed.map_err(|error| error.to_string())?;
    Ok(())
}

/// An error of what is being made, told of what the user gave.
fn of_user(error: ModelError, folder: &Path, part: &Path) -> ModelError {
    match error {
        ModelError::Graph { path, source } if path.starts_with(part) => {
            ModelError::Graph { path: folder.into(), source }
        }
        ModelError::Vocabulary { path, source } if path.starts_with(part) => {
            ModelError::Vocabulary { path: folder.join(VOCABULARY_FILE), source }
        }
        error => error,
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| BundleError::Io { path, source }.into()
}
