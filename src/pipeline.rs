//! The stages put together: the only file that names them all.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::bundle::{Bundle, BundleError};
use crate::capture::Frame;
use crate::classify::{Scoring, ZeroShotHead};
use crate::embedding::Embedding;
use crate::encoder::{self, Compute, EncoderError, ImageEncoder, TextEncoder};
use crate::preprocess::Preprocessor;
use crate::prompts::{self, LabelSet, PromptError, Template};
use crate::tokenizer::{Tokenizer, TokenizerError};

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
    /// A bundle's folder; the built-in model where there is none. Computes as is best for this CPU.
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
        let file = self.bundle.vision()?;
        let encoder =
            ImageEncoder::load(&file.bytes, image_size, manifest.embedding_dim, &self.compute)
                .map_err(|source| ModelError::Graph { path: file.path, source })?;
        log::info!("image side ready after {} ms", begun.elapsed().as_millis());
        Ok(ImageSide { preprocessor, encoder })
    }

    /// Loads the text side.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn text_side(&self) -> Result<TextSide, ModelError> {
        let (begun, manifest) = (Instant::now(), self.bundle.manifest());
        let file = self.bundle.tokenizer()?;
        let tokenizer = Tokenizer::from_json(&file.bytes, manifest.tokenizer)
            .map_err(|source| ModelError::Vocabulary { path: file.path, source })?;
        let file = self.bundle.text()?;
        let encoder = TextEncoder::load(
            &file.bytes,
            manifest.tokenizer.context_length,
            manifest.embedding_dim,
            &self.compute,
        )
        .map_err(|source| ModelError::Graph { path: file.path, source })?;
        log::info!("text side ready after {} ms", begun.elapsed().as_millis());
        let (templates, scoring) = (manifest.templates.clone(), manifest.scoring);
        Ok(TextSide { templates, scoring, tokenizer, encoder })
    }
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
        let (tokenizer, encoder) = (&self.tokenizer, &self.encoder);
        Ok(prompts::build_head(labels, &self.templates, tokenizer, encoder, self.scoring)?)
    }
}
