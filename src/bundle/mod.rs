//! A model on disk, or inside the binary: `model.toml` and the files that it names, each checked against
//! its digest before it is used; or a packed model, whose parts have checksums.

mod manifest;
mod packed;
mod store;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::digest::sha256;
pub use manifest::{FORMAT, FileDigest, Manifest, ManifestError, Provenance, ProvenanceFile, Text};
use packed::Packed;
pub use packed::PackedError;
pub use store::{Store, StoredModel, locate};

/// Name of the manifest in a bundle.
pub(crate) const MANIFEST: &str = "model.toml";

/// Largest `model.toml` that is read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Names and contents.
type Files = &'static [(&'static str, &'static [u8])];

/// The built-in model's files; none without the feature `mini`.
#[cfg(not(feature = "mini"))]
const BUILT_IN: Option<Files> = None;
#[cfg(feature = "mini")]
const BUILT_IN: Option<Files> = Some(&[
    (MANIFEST, include_bytes!("../../models/edgeclip-mini/model.toml")),
    ("vision.onnx", include_bytes!("../../models/edgeclip-mini/vision.onnx")),
    ("text.onnx", include_bytes!("../../models/edgeclip-mini/text.onnx")),
    ("tokenizer.json", include_bytes!("../../models/edgeclip-mini/tokenizer.json")),
    ("golden.safetensors", include_bytes!("../../models/edgeclip-mini/golden.safetensors")),
]);

/// Why a bundle can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file is missing or can't be read.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no packed model.
    #[error("{} is neither a packed model nor a bundle's folder, or is damaged", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
    },
    /// A name that is neither a path nor in the folder of models.
    #[error(
        "there is no model {name}: neither here, nor {name}.eclip or {name}/ in {}; edgeclip model list shows those that there are, edgeclip model pull fetches one", folder.display()
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The folder of models.
        folder: PathBuf,
    },
    /// A name that would lead out of the folder of models, or hide what is there.
    #[error(
        "'{name}' can't be a model's name: it has at most 200 bytes, no / and \\, and begins with neither . nor -"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The folder is no bundle.
    #[error("{} is not a model bundle: it has no {MANIFEST}", path.display())]
    NoManifest {
        /// The folder.
        path: PathBuf,
    },
    /// `model.toml` is wrong.
    #[error("{}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        source: ManifestError,
    },
    /// A file is not the one that the manifest means.
    #[error("{} is damaged or was changed: its SHA-256 is {found}, {MANIFEST} says {wanted}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Digest of the file as it is.
        found: String,
        /// Digest in the manifest.
        wanted: String,
    },
    /// A packed model is of another version, damaged, or can't be written.
    #[error("{}", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PackedError,
    },
    /// The model knows no words.
    #[error("{} has no text side: it can't embed labels, only tell apart what a linear classifier was trained on (--head)", path.display())]
    NoText {
        /// The manifest.
        path: PathBuf,
    },
    /// The binary was built without the built-in model.
    #[error("this edgeclip was built without a built-in model: name a bundle with --model DIR")]
    NoBuiltIn,
}

/// A model's manifest, and access to its files.
#[derive(Debug)]
pub struct Bundle {
    origin: Origin,
    manifest: Manifest,
    digest: String,
}

/// One file of a bundle, the one that the manifest means.
#[derive(Debug)]
pub struct ModelFile {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Cow<'static, [u8]>,
}

#[derive(Debug)]
enum Origin {
    BuiltIn(Files),
    Folder(PathBuf),
    Packed(PathBuf, Packed),
}

/// The parts of a stored tower, and the kernel that its weights were packed for.
#[derive(Debug)]
pub struct StoredTower {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// A kernel's name.
    pub kernel: String,
    /// The graph, a tar archive of NNEF.
    pub graph: Bytes,
    /// Its ops, JSON.
    pub ops: Bytes,
    /// Their arrays.
    pub weights: Bytes,
}

impl Bundle {
    /// The model inside the binary, edgeclip-mini.
    ///
    /// # Errors
    /// [`BundleError::NoBuiltIn`] where the binary was built without it.
    pub fn built_in() -> Result<Self, BundleError> {
        Self::from_origin(Origin::BuiltIn(BUILT_IN.ok_or(BundleError::NoBuiltIn)?))
    }

    /// A folder with a `model.toml`, whose other files are read when they are asked for; or a packed model;
    /// or the name of one in the folder of models (see [`locate`]).
    ///
    /// # Errors
    /// [`BundleError`], which names the file.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        let folder = &locate(folder)?;
        let metadata = std::fs::metadata(folder)
            .map_err(|source| BundleError::Io { path: folder.to_owned(), source })?;
        if metadata.is_file() && packed::is_packed(folder) {
            let packed = Packed::open(folder)
                .map_err(|source| BundleError::Packed { path: folder.to_owned(), source })?;
            return Self::from_origin(Origin::Packed(folder.to_owned(), packed));
        }
        if !metadata.is_dir() {
            return Err(BundleError::NoModel { path: folder.to_owned() });
        }
        if !folder.join(MANIFEST).exists() {
            return Err(BundleError::NoManifest { path: folder.to_owned() });
        }
        Self::from_origin(Origin::Folder(folder.to_owned()))
    }

    fn from_origin(origin: Origin) -> Result<Self, BundleError> {
        let path = origin.path(MANIFEST);
        let io = |source| BundleError::Io { path: path.clone(), source };
        let bytes = origin.read(MANIFEST, MANIFEST_BYTES_MAX).map_err(io)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| io(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let manifest = Manifest::parse(text)
            .map_err(|source| BundleError::Manifest { path: path.clone(), source })?;
        let digest = format!("sha256:{}", sha256(&bytes));
        Ok(Self { origin, manifest, digest })
    }

    /// What `model.toml` says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's identity: `sha256:` and the digest of `model.toml`, which holds those of the
    /// other files.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The image tower, an ONNX graph.
    ///
    /// # Errors
    /// [`BundleError`], also where the file is not the one that the manifest means.
    pub fn vision(&self) -> Result<ModelFile, BundleError> {
        self.file(&self.manifest.vision)
    }

    /// The text tower, an ONNX graph.
    ///
    /// # Errors
    /// As [`Bundle::vision`], and [`BundleError::NoText`].
    pub fn text(&self) -> Result<ModelFile, BundleError> {
        self.file(&self.words()?.graph)
    }

    /// The vocabulary, a `tokenizer.json`.
    ///
    /// # Errors
    /// As [`Bundle::vision`], and [`BundleError::NoText`].
    pub fn tokenizer(&self) -> Result<ModelFile, BundleError> {
        self.file(&self.words()?.vocabulary)
    }

    /// What the manifest says of words.
    ///
    /// # Errors
    /// [`BundleError::NoText`].
    pub fn words(&self) -> Result<&Text, BundleError> {
        let path = || self.origin.path(MANIFEST);
        self.manifest.text.as_ref().ok_or_else(|| BundleError::NoText { path: path() })
    }

    /// What the towers must make of known inputs, where the bundle says so.
    ///
    /// # Errors
    /// As [`Bundle::vision`].
    pub fn golden(&self) -> Result<Option<ModelFile>, BundleError> {
        self.manifest.golden.as_ref().map(|file| self.file(file)).transpose()
    }

    /// Whether a file begins as a packed model does.
    #[must_use]
    pub fn is_packed_file(path: &Path) -> bool {
        path.is_file() && packed::is_packed(path)
    }

    /// Whether the towers are stored ready to run.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        matches!(self.origin, Origin::Packed(..))
    }

    /// The kernel that the towers were packed for, where the model is packed.
    #[must_use]
    pub fn kernel(&self) -> Option<&str> {
        match &self.origin {
            Origin::Packed(_, packed) => Some(packed.kernel()),
            Origin::BuiltIn(_) | Origin::Folder(_) => None,
        }
    }

    /// A stored tower, `vision` or `text`, where the model is packed.
    ///
    /// # Errors
    /// [`BundleError::Packed`].
    pub fn stored(&self, tower: &str) -> Result<Option<StoredTower>, BundleError> {
        let Origin::Packed(path, packed) = &self.origin else { return Ok(None) };
        let part = |name: &str| {
            packed
                .part(&format!("{tower}.{name}"))
                .map_err(|source| BundleError::Packed { path: path.clone(), source })
        };
        Ok(Some(StoredTower {
            path: path.clone(),
            kernel: packed.kernel().to_owned(),
            graph: part("graph.tar")?,
            ops: part("ops.json")?,
            weights: part("weights")?,
        }))
    }

    /// Writes a packed model with this model's manifest, vocabulary and golden embeddings, and its towers, whose weights
    /// were packed for a kernel: its parts are `graph`, `ops` and `weights` of each.
    ///
    /// # Errors
    /// [`BundleError::Packed`], also where the file can't be written.
    pub fn write_packed(
        &self,
        path: &Path,
        kernel: &str,
        towers: &[(&str, [&[u8]; 3])],
    ) -> Result<(), BundleError> {
        let failed = |source| BundleError::Packed { path: path.to_owned(), source };
        let manifest = self.origin.read(MANIFEST, MANIFEST_BYTES_MAX);
        let manifest = manifest.map_err(|error| failed(error.into()))?;
        let meant = [
            self.manifest.text.as_ref().map(|text| &text.vocabulary),
            self.manifest.golden.as_ref(),
        ];
        let mut files = Vec::new();
        for meant in meant.into_iter().flatten() {
            files.push((meant.file.as_str(), self.file(meant)?.bytes));
        }
        let mut parts: Vec<(&str, &[u8])> = vec![(MANIFEST, &manifest)];
        parts.extend(files.iter().map(|(name, bytes)| (*name, &**bytes)));
        let names: Vec<_> = towers
            .iter()
            .map(|(tower, _)| {
                ["graph.tar", "ops.json", "weights"].map(|part| format!("{tower}.{part}"))
            })
            .collect();
        for (names, (_, bytes)) in names.iter().zip(towers) {
            parts.extend(names.iter().map(String::as_str).zip(*bytes));
        }
        packed::write(path, kernel, &parts).map_err(failed)
    }

    fn file(&self, meant: &FileDigest) -> Result<ModelFile, BundleError> {
        let path = self.origin.path(&meant.file);
        let bytes = self
            .origin
            .read(&meant.file, u64::MAX)
            .map_err(|source| BundleError::Io { path: path.clone(), source })?;
        let found = sha256(&bytes);
        if found != meant.sha256 {
            return Err(BundleError::Digest { path, found, wanted: meant.sha256.clone() });
        }
        Ok(ModelFile { path, bytes })
    }
}

impl Origin {
    fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::BuiltIn(_) => Path::new("(built-in model)").join(name),
            Self::Folder(path) | Self::Packed(path, _) => path.join(name),
        }
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Cow<'static, [u8]>> {
        match self {
            Self::BuiltIn(files) => files
                .iter()
                .find(|(file, _)| *file == name)
                .map(|(_, bytes)| Cow::Borrowed(*bytes))
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
            Self::Packed(_, packed) => {
                packed.part(name).map(|bytes| Cow::Owned(bytes.to_vec())).map_err(io::Error::other)
            }
            Self::Folder(folder) => {
                let path = folder.join(name);
                if std::fs::metadata(&path)?.len() > bytes_max {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                std::fs::read(path).map(Cow::Owned)
            }
        }
    }
}
