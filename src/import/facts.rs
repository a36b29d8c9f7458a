//! What the files beside the graphs say of a model.

use std::path::Path;

use super::ImportError;
use super::processor;
use super::settings::Settings;
use crate::classify::ScoreKind;
use crate::preprocess::{Crop, Filter, Options, ResizeRule};
use crate::tokenizer::Cleaning;

/// Mean and deviation of CLIP's training pictures, `OpenCLIP`'s default (its `constants.py`).
const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

const CLIP_TEMPLATES: &[&str] =
    &["a photo of a {}", "a picture of a {}", "a close-up photo of a {}", "{}"];

/// What is known of a model before its graphs are read.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) family: Family,
    pub(super) preprocess: Options,
    pub(super) score: ScoreKind,
    pub(super) embedding_dim: Option<usize>,
    /// Most tokens of a text, where the settings say it.
    pub(super) context_length: Option<usize>,
    pub(super) cleaning: Cleaning,
    /// The token that fills up, where the tokenizer's files don't say it.
    pub(super) pad_id: Option<i64>,
    pub(super) templates: &'static [&'static str],
    /// Scale and bias of the logits, where the settings hold the trained ones.
    pub(super) logits: (Option<f32>, Option<f32>),
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
            Some(config) => Self::of_open_clip(&config),
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
        let model_type = config.text("model_type").unwrap_or_default();
        let family = match model_type {
            "clip" | "chinese_clip" | "jina_clip" | "mobileclip" | "metaclip_2" => {
                Family::Projected
            }
            "siglip" | "siglip2" => Family::Pooled,
            "clip_vision_model"
            | "siglip_vision_model"
            | "dinov2"
            | "dinov2_with_registers"
            | "dinov3_vit"
            | "vit"
            | "deit" => Family::Features,
            other => {
                let reason = format!(
                    "is {other}: known are clip, chinese_clip, jina_clip, siglip, siglip2 (of one size), and dinov2, vit, deit \
                     for features"
                );
                return Err(config.wrong("model_type", &reason));
            }
        };
        if processor.has("max_num_patches") {
            let reason = "is set: towers that take pictures of any shape in patches are not known";
            return Err(processor.wrong("max_num_patches", reason));
        }
        let class = tokenizer.and_then(|of| of.text("tokenizer_class")).unwrap_or_default();
        let text = config.part("text_config");
        let (vision, hidden) = (config.part("vision_config"), config.size("hidden_size")?);
        let embedding_dim = match family {
            Family::Projected => config.size("projection_dim")?,
            Family::Pooled => vision.size("hidden_size")?,
            Family::Features => hidden,
        };
        let is_pooled = family == Family::Pooled;
        Ok(Self {
            family,
            preprocess: processor::options(processor)?,
            score: if is_pooled { ScoreKind::Sigmoid } else { ScoreKind::Softmax },
            embedding_dim,
            context_length: text.size("max_position_embeddings")?,
            cleaning: match family {
                Family::Projected if model_type == "clip" => Cleaning::Clip,
                // `SigLIP` 2 was trained on texts in lower case, which Gemma's tokenizer does not make.
                Family::Pooled if class.starts_with("Gemma") => Cleaning::Lower,
                _ => Cleaning::None,
            },
            pad_id: None,
            templates: match model_type {
                "siglip" | "siglip2" => &["This is a photo of {}."],
                "chinese_clip" => &["{}的图片", "一张{}的照片", "{}"],
                _ => CLIP_TEMPLATES,
            },
            logits: logits(config)?,
        })
    }

    fn of_open_clip(config: &Settings) -> Result<Self, ImportError> {
        let model = config.part("model_cfg");
        let (vision, text) = (model.part("vision_cfg"), model.part("text_cfg"));
        let is_sigmoid = model.has("init_logit_bias");
        let tokenizer = text.part("tokenizer_kwargs");
        Ok(Self {
            family: Family::Projected,
            preprocess: open_clip_pictures(config, &vision)?,
            score: if is_sigmoid { ScoreKind::Sigmoid } else { ScoreKind::Softmax },
            embedding_dim: model.size("embed_dim")?,
            context_length: text.size("context_length")?.or(Some(77)),
            cleaning: match tokenizer.text("clean") {
                Some("canonicalize") => Cleaning::Canonical,
                Some("lower" | "whitespace") | None => Cleaning::Clip,
                Some(other) => {
                    let reason =
                        format!("is {other}: known are canonicalize, lower and whitespace");
                    return Err(tokenizer.wrong("clean", &reason));
                }
            },
            // `OpenCLIP`'s own tokenizer fills up with zeros, others with what their files say.
            pad_id: (!text.has("hf_tokenizer_name")).then_some(0),
            templates: if is_sigmoid { &["a photo of {}"] } else { CLIP_TEMPLATES },
            logits: logits(config)?,
        })
    }
}

/// Keys of ours, which `models/export.py` writes: the trained scale and bias, since the files of transformers
/// hold but what training began with.
fn logits(config: &Settings) -> Result<(Option<f32>, Option<f32>), ImportError> {
    let [scale, bias] = [config.number("logit_scale")?, config.number("logit_bias")?];
    Ok((scale.map(|scale| scale as f32), bias.map(|bias| bias as f32)))
}

/// `preprocess_cfg`, whose defaults are `OpenCLIP`'s (`PreprocessCfg` in its `transform.py`).
fn open_clip_pictures(config: &Settings, vision: &Settings) -> Result<Options, ImportError> {
    let settings = config.part("preprocess_cfg");
    let image_size = match vision.value("image_size").as_array().map(Vec::as_slice) {
        Some([height, width]) if height == width => height.as_u64().map(|size| size as usize),
        Some(_) => None,
        None => vision.size("image_size")?.or(Some(224)),
    };
    let edge = image_size.and_then(|size| u32::try_from(size).ok());
    let edge = edge.ok_or_else(|| vision.wrong("image_size", "is no square"))?;
    let resize = match settings.text("resize_mode") {
        None | Some("shortest") => ResizeRule::ShortestEdge,
        Some("squash") => ResizeRule::Squash,
        Some("longest") if settings.size("fill_color")?.unwrap_or(0) == 0 => {
            ResizeRule::LongestEdgePad
        }
        Some("longest") => return Err(settings.wrong("fill_color", "is not black")),
        Some(other) => {
            let reason = format!("is {other}: known are shortest, longest and squash");
            return Err(settings.wrong("resize_mode", &reason));
        }
    };
    let filter = match settings.text("interpolation") {
        None | Some("bicubic" | "random") => Filter::Bicubic,
        Some("bilinear") => Filter::Bilinear,
        Some(other) => {
            let reason = format!("is {other}: known are bicubic and bilinear");
            return Err(settings.wrong("interpolation", &reason));
        }
    };
    let channels = |field, default| -> Result<[f32; 3], ImportError> {
        Ok(settings.channels(field)?.unwrap_or(default).map(|value| value as f32))
    };
    Ok(Options {
        image_size: edge,
        resize_edge: edge,
        resize,
        crop: Crop::Round,
        filter,
        mean: channels("mean", CLIP_MEAN)?,
        std: channels("std", CLIP_STD)?,
    })
}
