//! The stages put together: the only file that names them all.

mod appliance;
mod candidates;
mod eye;
mod golden;
mod lookout;
mod maker;
mod options;
mod profile;
mod relabel;
mod take_in;
mod watched;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::bundle::{Bundle, BundleError, StoredTower};
use crate::capture::Frame;
use crate::classify::{Scoring, ZeroShotHead};
use crate::embedding::Embedding;
use crate::encoder::{self, Compute, EncoderError, ImageEncoder, PackedTower, TextEncoder};
use crate::gemm::Layout;
use crate::import::ImportError;
use crate::memory;
use crate::preprocess::Preprocessor;
use crate::probe::ModelName;
use crate::prompts::{
    self, Built, EncodePrompts, LabelSet, PromptCache, PromptError, Template, TextTower,
};
use crate::tokenizer::{Tokenizer, TokenizerError};

pub use appliance::{Appliance, Handle, Summary};
pub use golden::Verified;
pub use options::{LabelsOptions, ModelOptions, Options};
pub use profile::{FrameTimes, Profile};
pub use take_in::{TakenIn, check_target, take_in};

/// Why a model can't be loaded or can't embed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bundle is missing, wrong or damaged.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A tower's file doesn't load.
    #[error("{}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EncoderError,
    },
    /// The vocabulary's file doesn't load.
    #[error("{}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TokenizerError,
    },
    /// The model is packed, and was to be packed.
    #[error("the model is packed already: pack the folder that it was made of")]
    IsPacked,
    /// A packed model is for a kernel that this build does not know.
    #[error("{} is packed for a kernel '{kernel}' that this edgeclip does not know: pack the model anew", path.display())]
    PackedForUnknown {
        /// The file.
        path: PathBuf,
        /// What it says.
        kernel: String,
    },
    /// A kernel that no CPU has.
    #[error("there is no kernel '{kernel}'; there are {known}")]
    UnknownKernel {
        /// What was asked for.
        kernel: String,
        /// Those that there are.
        known: String,
    },
    /// A published model can't be taken in.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// There is something where the bundle is to be.
    #[error("{} is there already: remove it, or name another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder that it is to be in is missing.
    #[error("{}: its folder is not there", path.display())]
    NoFolder {
        /// Where the model was to be.
        path: PathBuf,
    },
    /// There is something else where the packed model is to be.
    #[error("{} is there and is no packed model: remove it, or name another file", path.display())]
    Occupied {
        /// What is there.
        path: PathBuf,
    },
    /// A bundle's folder is for all kernels.
    #[error("{} is to be a bundle's folder, which is for any kernel: --for is for a packed model, whose name ends in .eclip", path.display())]
    KernelOfFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The golden embeddings can't be read.
    #[error("{} is damaged or of another model: import the model anew", path.display())]
    NoGolden {
        /// The file.
        path: PathBuf,
    },
    /// A tower gives something else than it gave when the bundle was made.
    #[error(
        "the {tower} tower computes something else than when the model was made (cosine {cosine:.4} on a known input, kernel {kernel}): the \
         file or this machine's memory is damaged, or the kernel is wrong; edgeclip model verify says more"
    )]
    WrongEmbedding {
        /// `image` or `text`.
        tower: &'static str,
        /// To the golden embedding.
        cosine: f32,
        /// The kernel that computed it.
        kernel: &'static str,
    },
    /// A tower failed on an input.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// A text has no tokens, or too many.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A label can't be embedded.
    #[error(transparent)]
    Prompt(#[from] PromptError),
}

/// The prompt cache's file in the state folder.
pub const CACHE_FILE: &str = "prompts.safetensors";

/// The folder of the label sets' history in the state folder.
pub const SETS_FOLDER: &str = "labels";

/// A model bundle, ready to load either side.
#[derive(Debug)]
pub struct Model {
    bundle: Bundle,
    compute: Compute,
}

/// Pictures to embeddings.
pub struct ImageSide {
    /// Frame to pixel values.
    pub preprocessor: Preprocessor,
    /// Pixel values to embedding.
    pub encoder: ImageEncoder,
}

/// Words to embeddings. Only needed while labels change: drop it to give its memory back.
pub struct TextSide {
    templates: Vec<Template>,
    scoring: Scoring,
    tokenizer: Tokenizer,
    encoder: TextEncoder,
}

impl Model {
    /// A bundle's folder, or a packed model; the built-in model where there is none. Computes as is best for this CPU.
    ///
    /// # Errors
    /// [`ModelError::Bundle`] and [`ModelError::Encoder`].
    pub fn open(folder: Option<&Path>) -> Result<Self, ModelError> {
        Self::open_with(folder, &encoder::Options::default())
    }

    /// As [`open`](Self::open), computing as the options say.
    ///
    /// # Errors
    /// [`ModelError::Bundle`] and [`ModelError::Encoder`].
    pub fn open_with(
        folder: Option<&Path>,
        options: &encoder::Options,
    ) -> Result<Self, ModelError> {
        let bundle = folder.map_or_else(Bundle::built_in, Bundle::open)?;
        log::info!("model {}, {}", bundle.manifest().name, bundle.digest());
        Ok(Self { bundle, compute: Compute::start(options)? })
    }

    /// How the towers compute.
    #[must_use]
    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Loads the image side.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn image_side(&self) -> Result<ImageSide, ModelError> {
        let (begun, manifest) = (Instant::now(), self.bundle.manifest());
        let preprocessor = Preprocessor::new(&manifest.preprocess);
        let image_size = manifest.preprocess.image_size as usize;
        let dim = manifest.embedding_dim;
        let (path, encoder) = if let Some(tower) = self.bundle.stored("vision")? {
            let (path, layout, packed) = stored(tower)?;
            (path, ImageEncoder::load_packed(&packed, layout, image_size, dim, &self.compute))
        } else {
            let file = self.bundle.vision()?;
            (file.path, ImageEncoder::load(&file.bytes, image_size, dim, &self.compute))
        };
        let encoder = encoder.map_err(|source| ModelError::Graph { path, source })?;
        memory::give_back();
        log::info!("image side ready after {} ms", begun.elapsed().as_millis());
        Ok(ImageSide { preprocessor, encoder })
    }

    /// Loads the text side.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn text_side(&self) -> Result<TextSide, ModelError> {
        let (begun, manifest) = (Instant::now(), self.bundle.manifest());
        let (words, file) = (self.bundle.words()?, self.bundle.tokenizer()?);
        let tokenizer = Tokenizer::from_json(&file.bytes, words.tokenizer)
            .map_err(|source| ModelError::Vocabulary { path: file.path, source })?;
        let (context, dim) = (words.tokenizer.context_length, manifest.embedding_dim);
        let (path, encoder) = if let Some(tower) = self.bundle.stored("text")? {
            let (path, layout, packed) = stored(tower)?;
            (path, TextEncoder::load_packed(&packed, layout, context, dim, &self.compute))
        } else {
            let file = self.bundle.text()?;
            (file.path, TextEncoder::load(&file.bytes, context, dim, &self.compute))
        };
        let encoder = encoder.map_err(|source| ModelError::Graph { path, source })?;
        log::info!("text side ready after {} ms", begun.elapsed().as_millis());
        let (templates, scoring) = (words.templates.clone(), manifest.scoring);
        Ok(TextSide { templates, scoring, tokenizer, encoder })
    }
}

impl Model {
    /// The model as a trained head knows it.
    #[must_use]
    pub fn name(&self) -> ModelName {
        let (name, digest) = (self.bundle.manifest().name.clone(), self.bundle.digest().to_owned());
        ModelName { name, digest }
    }

    /// The cache of what this model's text side encodes, in a file; or one that is only in memory.
    #[must_use]
    pub fn prompt_cache(&self, path: Option<&Path>) -> PromptCache {
        let identity = format!("{} {:?}", self.bundle.digest(), self.compute.precision());
        match path {
            Some(path) => PromptCache::open(path, identity),
            None => PromptCache::new(identity),
        }
    }

    /// The head of a label set. The text side is loaded only where a prompt is not in the cache, and dropped.
    ///
    /// # Errors
    /// [`PromptError`], which names the label.
    pub fn head(&self, labels: &LabelSet, cache: &mut PromptCache) -> Result<Built, PromptError> {
        let (bundle, scoring) = (&self.bundle, self.bundle.manifest().scoring);
        let words = bundle.words().map_err(|error| PromptError::TextSide(Box::new(error)))?;
        let mut text_side = LazyTextSide { model: self, side: None };
        prompts::build_head(labels, &words.templates, cache, &mut text_side, scoring)
    }

    /// Writes the model as one file that starts at once: both towers lowered, their weights in the order
    /// in which a kernel reads them, which this CPU need not have.
    ///
    /// # Errors
    /// [`ModelError`]; the file is then as it was.
    pub fn pack(&self, path: &Path, kernel: &str) -> Result<(), ModelError> {
        let layout = layout(kernel)?;
        let manifest = self.bundle.manifest();
        if self.bundle.is_packed() {
            return Err(ModelError::IsPacked);
        }
        let (size, dim) = (manifest.preprocess.image_size as usize, manifest.embedding_dim);
        let file = self.bundle.vision()?;
        let vision = ImageEncoder::pack(&file.bytes, size, dim, &self.compute, layout)
            .map_err(|source| ModelError::Graph { path: file.path, source })?;
        let mut towers = vec![("vision", vision)];
        if let Some(words) = &manifest.text {
            let (file, context) = (self.bundle.text()?, words.tokenizer.context_length);
            let text = TextEncoder::pack(&file.bytes, context, dim, &self.compute, layout)
                .map_err(|source| ModelError::Graph { path: file.path, source })?;
            towers.push(("text", text));
        }
        let towers: Vec<_> = towers
            .iter()
            .map(|(name, tower)| (*name, [&*tower.graph, &*tower.ops, &*tower.weights]))
            .collect();
        Ok(self.bundle.write_packed(path, kernel, &towers)?)
    }
}

/// Its tower takes as much memory as the image side, and is not needed again for a while.
impl Drop for LazyTextSide<'_> {
    fn drop(&mut self) {
        if self.side.take().is_some() {
            memory::give_back();
        }
    }
}

/// Loads the text tower when the first prompt must be encoded; dropped with it.
struct LazyTextSide<'a> {
    model: &'a Model,
    side: Option<TextSide>,
}

impl EncodePrompts for LazyTextSide<'_> {
    fn encode(
        &mut self,
        prompts: &[(&str, &str)],
        templates: &[Template],
    ) -> Result<Vec<Vec<f32>>, PromptError> {
        let side = match &mut self.side {
            Some(side) => side,
            none => {
                let failed = |error| PromptError::TextSide(Box::new(error));
                let side = self.model.text_side().map_err(failed)?;
                self.model.check_text(&side).map_err(failed)?;
                none.insert(side)
            }
        };
        side.tower().encode(prompts, templates)
    }
}

/// The layout that a kernel's weights have.
fn layout(kernel: &str) -> Result<Layout, ModelError> {
    Layout::of_kernel(kernel).ok_or_else(|| ModelError::UnknownKernel {
        kernel: kernel.into(),
        known: Layout::kernels().collect::<Vec<_>>().join(", "),
    })
}

/// A stored tower as the encoder wants it.
fn stored(tower: StoredTower) -> Result<(PathBuf, Layout, PackedTower), ModelError> {
    let StoredTower { path, kernel, graph, ops, weights } = tower;
    let Some(layout) = Layout::of_kernel(&kernel) else {
        return Err(ModelError::PackedForUnknown { path, kernel });
    };
    Ok((path, layout, PackedTower { graph, ops, weights }))
}

impl ImageSide {
    /// The embedding of one picture.
    ///
    /// # Errors
    /// [`ModelError::Encoder`].
    pub fn encode_image(&mut self, frame: &Frame) -> Result<Embedding, ModelError> {
        Ok(self.encoder.encode(self.preprocessor.run(frame))?)
    }
}

impl TextSide {
    /// What of the text tower became int8.
    #[must_use]
    pub fn report(&self) -> &encoder::Report {
        self.encoder.report()
    }

    /// The embeddings of texts as they are, without a template.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] names the text that is too long.
    pub fn encode_texts(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Embedding>, ModelError> {
        let tokens: Result<Vec<_>, _> =
            texts.iter().map(|text| self.tokenizer.encode(text.as_ref())).collect();
        Ok(self.encoder.encode(&tokens?)?)
    }

    /// The head of a label set.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] names the label.
    pub fn head(&self, labels: &LabelSet) -> Result<ZeroShotHead, ModelError> {
        let (mut cache, mut tower) = (PromptCache::new(""), self.tower());
        let (templates, scoring) = (&self.templates, self.scoring);
        Ok(prompts::build_head(labels, templates, &mut cache, &mut tower, scoring)?.head)
    }

    /// Tokenizer and text tower together.
    fn tower(&self) -> TextTower<'_> {
        TextTower { tokenizer: &self.tokenizer, encoder: &self.encoder }
    }
}
