//! `open_clip_config.json`: a model as `OpenCLIP` describes it. Where it says nothing, `OpenCLIP`'s defaults are meant
//! (`CLIPTextCfg` and `CLIPVisionCfg` in its `model.py`, `PreprocessCfg` in its `transform.py`).

use super::facts::{CLIP_TEMPLATES, Facts, Family, Wording, logits};
use super::processor::{edge_of, finite, positive};
use super::settings::Settings;
use super::{CLIP_MEAN, CLIP_STD, ImportError};
use crate::classify::ScoreKind;
use crate::preprocess::{Crop, Filter, Options, ResizeRule};
use crate::tokenizer::Cleaning;

const IMAGE_SIZE: usize = 224;
const CONTEXT_LENGTH: usize = 77;

pub(super) fn facts(config: &Settings) -> Result<Facts, ImportError> {
    let model = config.part("model_cfg")?;
    let (vision, text) = (model.part("vision_cfg")?, model.part("text_cfg")?);
    let embedding_dim = model.said("embed_dim")?;
    if embedding_dim.is_none() {
        return Err(model.wrong("embed_dim", "is missing"));
    }
    let is_sigmoid = model.number("init_logit_bias")?.is_some();
    Ok(Facts {
        kind: "a model of OpenCLIP".into(),
        family: Family::Projected,
        preprocess: pictures(config, &vision)?,
        // The settings of pictures were checked against it.
        image_size: None,
        score: if is_sigmoid { ScoreKind::Sigmoid } else { ScoreKind::Softmax },
        embedding_dim,
        projection_dim: None,
        context_length: Some(text.said_or("context_length", CONTEXT_LENGTH)?),
        vocab_size: text.said("vocab_size")?,
        words: words(&text)?,
        templates: if is_sigmoid { &["a photo of {}"] } else { CLIP_TEMPLATES },
        logits: logits(config)?,
    })
}

fn words(text: &Settings) -> Result<Wording, ImportError> {
    let is_own = text.text("hf_tokenizer_name")?.is_none();
    let tokenizer = text.part("tokenizer_kwargs")?;
    let is_known = |field: &str| field == "clean" || !tokenizer.has(field);
    if let Some(field) = tokenizer.fields().find(|field| !is_known(field)) {
        return Err(tokenizer.wrong(field, "is not known to edgeclip"));
    }
    let clean = tokenizer.text("clean")?;
    Ok(Wording {
        cleaning: match clean {
            Some("canonicalize") => Cleaning::Canonical,
            // Not every tokenizer makes small letters, as `OpenCLIP`'s own does.
            Some("lower") if !is_own => Cleaning::Lower,
            Some("lower" | "whitespace") | None => Cleaning::Clip,
            Some(other) => {
                let reason = format!("is {other}: known are canonicalize, lower and whitespace");
                return Err(tokenizer.wrong("clean", &reason));
            }
        },
        is_lower_case: match clean {
            Some("lower") => Some(true),
            None if is_own => Some(true),
            _ => None,
        },
        // `OpenCLIP`'s own tokenizer fills up with zeros, others with what their files say.
        pad_id: is_own.then_some(0),
        ends: if is_own { 2 } else { 1 },
    })
}

fn pictures(config: &Settings, vision: &Settings) -> Result<Options, ImportError> {
    let settings = config.part("preprocess_cfg")?;
    let image_size = vision.square("image_size")?.unwrap_or(IMAGE_SIZE);
    let edge = edge_of(vision, "image_size", image_size)?;
    if let Some(size) = settings.square("size")?.filter(|size| *size != image_size) {
        let reason = format!("is {size}, but vision_cfg.image_size is {image_size}");
        return Err(settings.wrong("size", &reason));
    }
    if let Some(mode) = settings.text("mode")?.filter(|mode| *mode != "RGB") {
        return Err(settings.wrong("mode", &format!("is {mode}: pictures are RGB here")));
    }
    let fill = settings.channels("fill_color")?.unwrap_or_default();
    let is_black = fill.iter().all(|value| value.abs() <= 0.0);
    let resize = match settings.text("resize_mode")? {
        None | Some("shortest") => ResizeRule::ShortestEdge,
        Some("squash") => ResizeRule::Squash,
        Some("longest") if is_black => ResizeRule::LongestEdgePad,
        Some("longest") => return Err(settings.wrong("fill_color", "is not black")),
        Some(other) => {
            let reason = format!("is {other}: known are shortest, longest and squash");
            return Err(settings.wrong("resize_mode", &reason));
        }
    };
    let filter = match settings.text("interpolation")? {
        None | Some("bicubic" | "random") => Filter::Bicubic,
        Some("bilinear") => Filter::Bilinear,
        Some(other) => {
            let reason = format!("is {other}: known are bicubic and bilinear");
            return Err(settings.wrong("interpolation", &reason));
        }
    };
    let [mean, std] = [("mean", CLIP_MEAN), ("std", CLIP_STD)]
        .map(|(field, usual)| settings.channels(field).map(|values| values.unwrap_or(usual)));
    Ok(Options {
        image_size: edge,
        resize_edge: edge,
        resize,
        crop: Crop::Round,
        filter,
        mean: finite(&settings, "mean", mean?)?,
        std: positive(&settings, "std", std?)?,
    })
}
