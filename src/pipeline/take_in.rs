//! A published model becomes a bundle or a packed model that is known to work: its towers are cut out, loaded and
//! run, in float and in int8, before anything is put in its place.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::golden::Golden;
use super::{Model, ModelError};
use crate::bundle::{Bundle, BundleError, FileDigest, MANIFEST, Manifest};
use crate::digest::sha256;
use crate::disk;
use crate::encoder::{self, Precision};
use crate::import;

/// The end of a packed model's name.
const PACKED: &str = "eclip";
const GOLDEN_FILE: &str = "golden.safetensors";

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

/// Takes in a folder of a published model, or a bundle, which gets new golden embeddings. `target` is a
/// packed model where its name ends so, for a kernel or for this machine's; or else a bundle's folder, which must not be
/// there yet. It is there whole or not at all.
///
/// # Errors
/// [`ModelError::Import`] names the file and the field; [`ModelError::Exists`]; other [`ModelError`]s where a tower
/// doesn't load or run.
pub fn take_in(
    folder: &Path,
    target: &Path,
    options: &import::Options,
    kernel: Option<&str>,
) -> Result<TakenIn, ModelError> {
    let is_packed = target.extension().is_some_and(|extension| extension == PACKED);
    if !is_packed && target.exists() {
        return Err(ModelError::Exists { path: target.into() });
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::Bundle(BundleError::Io { path, source })
    };
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let part = tempfile::Builder::new().prefix(disk::PART_PREFIX).tempdir_in(parent);
    let part: TempDir = part.map_err(io(parent))?;

    let compute = |precision| encoder::Options { precision, ..encoder::Options::default() };
    let float = encoder::Compute::start(&compute(Precision::Float))?;
    let mut manifest = if folder.join(MANIFEST).exists() {
        copy(folder, part.path())?
    } else {
        import::import(folder, part.path(), options, &float)?
    };
    drop(float);
    write_manifest(part.path(), &manifest)?;
    let open = |precision| Model::open_with(Some(part.path()), &compute(precision));
    let golden = Golden::of(&open(Precision::Float)?, &open(Precision::Auto)?)?;
    let (image_int8, text_int8) = golden.int8_to_float();
    let bytes = golden.to_bytes().map_err(|error| io(part.path())(std::io::Error::other(error)))?;
    disk::replace(&part.path().join(GOLDEN_FILE), &bytes).map_err(io(part.path()))?;
    manifest.golden = Some(FileDigest { file: GOLDEN_FILE.into(), sha256: sha256(&bytes) });
    let digest = write_manifest(part.path(), &manifest)?;

    if is_packed {
        let model = open(Precision::Auto)?;
        model.pack(target, kernel.unwrap_or(model.compute().kernel().name()))?;
    } else {
        settle(part, target).map_err(io(target))?;
    }
    Ok(TakenIn { path: target.into(), manifest, digest, image_int8, text_int8 })
}

/// Puts a finished folder in its place, for good.
fn settle(part: TempDir, target: &Path) -> std::io::Result<()> {
    open_to_others(part.path())?;
    disk::sync_folder(part.path())?;
    let part = part.keep();
    std::fs::rename(&part, target).inspect_err(|_| drop(std::fs::remove_dir_all(&part)))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    disk::sync_folder(parent.unwrap_or(Path::new(".")))
}

/// A temporary folder and its files are their owner's alone; a model is for whoever runs it.
fn open_to_others(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for entry in std::fs::read_dir(folder)? {
            std::fs::set_permissions(entry?.path(), PermissionsExt::from_mode(0o644))?;
        }
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// A bundle's files, as its manifest means them.
fn copy(folder: &Path, part: &Path) -> Result<Manifest, ModelError> {
    let bundle = Bundle::open(folder)?;
    let manifest = bundle.manifest().clone();
    let mut files = vec![(&manifest.vision, bundle.vision()?)];
    if let Some(words) = &manifest.text {
        files.extend([(&words.graph, bundle.text()?), (&words.vocabulary, bundle.tokenizer()?)]);
    }
    for (meant, file) in files {
        let path = part.join(&meant.file);
        disk::replace(&path, &file.bytes).map_err(|source| BundleError::Io { path, source })?;
    }
    Ok(manifest)
}

/// Writes `model.toml`; the model's digest.
fn write_manifest(part: &Path, manifest: &Manifest) -> Result<String, ModelError> {
    let path = part.join(MANIFEST);
    let failed = |source| BundleError::Io { path: path.clone(), source };
    let text = manifest.to_toml().map_err(|error| failed(std::io::Error::other(error)))?;
    disk::replace(&path, text.as_bytes()).map_err(failed)?;
    Ok(format!("sha256:{}", sha256(text.as_bytes())))
}
