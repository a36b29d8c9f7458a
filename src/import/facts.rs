//! What the files beside the graphs say of a model.

use std::path::Path;

use super::ImportError;
use super::open_clip;
use super::processor;
use super::settings::{Said, Settings};
use crate::classify::ScoreKind;
use crate::preprocess::Options;
use crate::tokenizer::Cleaning;

pub(super) const CLIP_TEMPLATES: &[&str] =
    &["a photo of a {}", "a picture of a {}", "a close-up photo of a {}", "{}"];

/// What is known of a model before its graphs are read.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What it is by its files, such as "`model_type` clip".
    pub(super) kind: String,
    pub(super) family: Family,
    pub(super) preprocess: Options,
    pub(super) score: ScoreKind,
    /// The one edge of pictures, where the tower's settings say it.
    pub(super) image_size: Option<Said>,
    /// Values of an embedding, where the settings say it.
    pub(super) embedding_dim: Option<Said>,
    /// The same of an image tower's projection, where it may have one.
    pub(super) projection_dim: Option<Said>,
    /// Most tokens of a text, where the settings say it.
    pub(super) context_length: Option<Said>,
    pub(super) vocab_size: Option<Said>,
    pub(super) words: Wording,
    pub(super) templates: &'static [&'static str],
    /// Scale and bias of the logits, where the settings hold the trained ones.
    pub(super) logits: (Option<f32>, Option<f32>),
}

/// What is done with texts that `tokenizer.json` may not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wording {
    pub(super) cleaning: Cleaning,
    /// Whether capital letters are as small ones, where the settings say it.
    pub(super) is_lower_case: Option<bool>,
    /// The token that fills up, where the tokenizer's files don't say it.
    pub(super) pad_id: Option<i64>,
    /// Least number of tokens that are put around every text.
    pub(super) ends: usize,
}

/// How a model's outputs are named and pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Both towers give projected embeddings.
    Projected,
    /// Both towers give what their attention pooling gives (`SigLIP`).
    Pooled,
    /// An image tower alone.
    Features,
    /// An image tower alone, whose first token stands for the picture.
    ClassToken,
}

/// A `model_type` of transformers.
struct Known {
    model_type: &'static str,
    family: Family,
    /// Its image processor, where `preprocessor_config.json` names none.
    processor: Option<&'static str>,
    /// Whether its towers read pictures of one size alone.
    has_one_size: bool,
}

const fn known(
    model_type: &'static str,
    family: Family,
    processor: Option<&'static str>,
    has_one_size: bool,
) -> Known {
    Known { model_type, family, processor, has_one_size }
}

const KNOWN: [Known; 14] = [
    known("clip", Family::Projected, Some("CLIP"), true),
    known("chinese_clip", Family::Projected, Some("ChineseCLIP"), true),
    known("jina_clip", Family::Projected, None, false),
    known("mobileclip", Family::Projected, None, false),
    known("metaclip_2", Family::Projected, Some("CLIP"), true),
    known("siglip", Family::Pooled, Some("Siglip"), true),
    known("siglip2", Family::Pooled, None, true),
    known("clip_vision_model", Family::Features, Some("CLIP"), true),
    known("siglip_vision_model", Family::Features, Some("Siglip"), true),
    known("dinov2", Family::ClassToken, Some("Bit"), false),
    known("dinov2_with_registers", Family::ClassToken, Some("Bit"), false),
    known("dinov3_vit", Family::ClassToken, Some("DINOv3ViT"), false),
    known("vit", Family::ClassToken, Some("ViT"), true),
    known("deit", Family::ClassToken, Some("DeiT"), true),
];

impl Family {
    pub(super) fn has_words(self) -> bool {
        matches!(self, Self::Projected | Self::Pooled)
    }
}

impl Facts {
    /// Reads a folder in the layout of transformers or of `OpenCLIP`.
    ///
    /// # Errors
    /// [`ImportError`]: files are missing, or say what edgeclip can't honour.
    pub(super) fn read(folder: &Path) -> Result<Self, ImportError> {
        if let Some(config) = Settings::read(&folder.join("config.json"))?
            && config.has("model_type")
        {
            let processor = Settings::required(&folder.join("preprocessor_config.json"))?;
            let tokenizer = Settings::read(&folder.join("tokenizer_config.json"))?;
            return Self::of_transformers(&config, &processor, tokenizer.as_ref());
        }
        match Settings::read(&folder.join("open_clip_config.json"))? {
            Some(config) => open_clip::facts(&config),
            None => Err(ImportError::File {
                path: folder.join("config.json"),
                reason:
                    "it is missing or has no model_type, and there is no open_clip_config.json: is \
                         this the folder of a model?"
                        .into(),
            }),
        }
    }

    fn of_transformers(
        config: &Settings,
        processor: &Settings,
        tokenizer: Option<&Settings>,
    ) -> Result<Self, ImportError> {
        let model_type = config.text("model_type")?.unwrap_or_default();
        let known = KNOWN.iter().find(|known| known.model_type == model_type).ok_or_else(|| {
            let types = KNOWN.map(|known| known.model_type).join(", ");
            config.wrong("model_type", &format!("is {model_type}: known are {types}"))
        })?;
        let family = known.family;
        let (text, vision) = (config.part("text_config")?, config.part("vision_config")?);
        let preprocess = processor::options(processor, known.processor)?;
        let pictures = if family.has_words() { &vision } else { config };
        let image_size =
            if known.has_one_size { pictures.said_square("image_size")? } else { None };
        let is_lower_case = tokenizer.map_or(Ok(None), lower_case)?;
        let is_clip = model_type == "clip";
        Ok(Self {
            kind: format!("model_type {model_type}"),
            family,
            preprocess,
            image_size,
            score: match family {
                Family::Pooled => ScoreKind::Sigmoid,
                _ => ScoreKind::Softmax,
            },
            embedding_dim: match family {
                Family::Projected => config.said("projection_dim")?,
                Family::Pooled => vision.said("hidden_size")?,
                Family::Features | Family::ClassToken => config.said("hidden_size")?,
            },
            projection_dim: config.said("projection_dim")?,
            context_length: text.said("max_position_embeddings")?,
            vocab_size: text.said("vocab_size")?,
            words: Wording {
                cleaning: match family {
                    Family::Projected if is_clip => Cleaning::Clip,
                    // `SigLIP` and `SigLIP` 2 were trained on texts in lower case, which not every tokenizer makes.
                    Family::Pooled if is_lower_case.is_none() => Cleaning::Lower,
                    _ => Cleaning::None,
                },
                is_lower_case,
                pad_id: None,
                ends: if is_clip || model_type == "chinese_clip" { 2 } else { 1 },
            },
            templates: match model_type {
                "siglip" | "siglip2" => &["This is a photo of {}."],
                "chinese_clip" => &["{}的图片", "一张{}的照片", "{}"],
                _ => CLIP_TEMPLATES,
            },
            logits: logits(config)?,
        })
    }

    /// Values of an output, as the settings say it.
    pub(super) fn dim_of(&self, output: &str) -> Option<&Said> {
        match self.family {
            Family::Features if output == "image_embeds" => self.projection_dim.as_ref(),
            _ => self.embedding_dim.as_ref(),
        }
    }
}

/// Whether capital letters are as small ones: always for CLIP's tokenizer; as its settings say for those that heed them,
/// which T5's, XLM-R's and Gemma's do not.
fn lower_case(tokenizer: &Settings) -> Result<Option<bool>, ImportError> {
    let class = tokenizer.text("tokenizer_class")?.unwrap_or_default();
    if class.starts_with("CLIPTokenizer") {
        return Ok(Some(true));
    }
    let heeds = class.starts_with("Bert") || class.starts_with("SiglipTokenizer");
    if !heeds || !tokenizer.has("do_lower_case") {
        return Ok(None);
    }
    tokenizer.flag("do_lower_case", true).map(Some)
}

/// Keys of ours, which `models/export.py` writes: the trained scale and bias, since the files of transformers
/// hold but what training began with.
pub(super) fn logits(config: &Settings) -> Result<(Option<f32>, Option<f32>), ImportError> {
    let [scale, bias] = [config.number("logit_scale")?, config.number("logit_bias")?];
    let is_scale = |scale: f64| scale > 0.0 && (scale as f32).is_finite();
    if let Some(scale) = scale.filter(|scale| !is_scale(*scale)) {
        let reason = format!("is {scale}, which is no scale: see --logit-scale");
        return Err(config.wrong("logit_scale", &reason));
    }
    Ok((scale.map(|scale| scale as f32), bias.map(|bias| bias as f32)))
}
