//! `preprocessor_config.json`: how transformers' image processors make a tower's input.

use super::settings::Settings;
use super::{CLIP_MEAN, CLIP_STD, ImportError};
use crate::preprocess::{Crop, Filter, Options, ResizeRule};

/// What an image processor of transformers does where its file says nothing.
struct Kind {
    /// Its name, without `ImageProcessor` or `FeatureExtractor`, and `Fast`.
    name: &'static str,
    rule: ResizeRule,
    edge: usize,
    /// The edge of the crop; none where it does not crop.
    crop: Option<usize>,
    filter: Filter,
    mean: [f64; 3],
    std: [f64; 3],
}

const CLIP: Kind = Kind {
    name: "CLIP",
    rule: ResizeRule::ShortestEdge,
    edge: 224,
    crop: Some(224),
    filter: Filter::Bicubic,
    mean: CLIP_MEAN,
    std: CLIP_STD,
};
const HALF: [f64; 3] = [0.5; 3];
/// The defaults of transformers 4.57, `image_processing_*.py`.
const KINDS: [Kind; 7] = [
    CLIP,
    Kind { name: "ChineseCLIP", ..CLIP },
    Kind { name: "Bit", ..CLIP },
    Kind { name: "Siglip", rule: ResizeRule::Squash, crop: None, mean: HALF, std: HALF, ..CLIP },
    Kind {
        name: "ViT",
        rule: ResizeRule::Squash,
        crop: None,
        filter: Filter::Bilinear,
        mean: HALF,
        std: HALF,
        ..CLIP
    },
    Kind { name: "DeiT", rule: ResizeRule::Squash, edge: 256, mean: HALF, std: HALF, ..CLIP },
    Kind {
        name: "DINOv3ViT",
        rule: ResizeRule::Squash,
        crop: None,
        filter: Filter::Bilinear,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        ..CLIP
    },
];

/// What a processor would do that edgeclip does not.
const NOT_DONE: [(&str, &str); 9] = [
    ("do_pad", "pads pictures"),
    ("do_flip_channel_order", "swaps red and blue"),
    ("do_reduce_labels", "is for labelled maps"),
    ("do_thumbnail", "makes thumbnails first"),
    ("do_align_long_axis", "turns pictures"),
    ("crop_pct", "crops by a share of the edge"),
    ("size_divisor", "makes edges multiples of a number"),
    ("rescale_offset", "moves values after the rescaling"),
    ("max_num_patches", "makes patches of pictures of any shape"),
];

const HONOURED: [&str; 14] = [
    "image_processor_type",
    "feature_extractor_type",
    "do_resize",
    "size",
    "default_to_square",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    // All pictures are RGB here.
    "do_convert_rgb",
];

/// Fields that change no pixel of one RGB picture.
const HARMLESS: [&str; 11] = [
    "auto_map",
    "data_format",
    "device",
    "disable_grouping",
    "input_data_format",
    "model_input_names",
    // What is padded with where `do_pad` is on.
    "pad_size",
    "processor_class",
    "return_tensors",
    "transformers_version",
    "image_seq_length",
];

/// Largest edge of a tower's input, in pixels.
const EDGE_MAX: usize = 4096;

/// What a tower is given, as the file says it; `usual` is the kind of processor that the model's type has where the
/// file names none.
///
/// # Errors
/// The field that can't be honoured, and why.
pub(super) fn options(
    settings: &Settings,
    usual: Option<&'static str>,
) -> Result<Options, ImportError> {
    let kind = kind(settings, usual)?;
    refuse_unknown(settings)?;
    if !settings.flag("do_resize", true)? {
        let reason = "is false: frames of a camera have to be resized";
        return Err(settings.wrong("do_resize", reason));
    }
    settings.flag("do_convert_rgb", true)?;
    let (resize, resize_edge) = size(settings, kind)?;
    let image_size = match (settings.flag("do_center_crop", kind.crop.is_some())?, kind.crop) {
        (true, Some(usual)) => {
            edge_of(settings, "crop_size", settings.square("crop_size")?.unwrap_or(usual))?
        }
        (true, None) => {
            let reason = format!("is true, and not every {} processor does it", kind.name);
            return Err(settings.wrong("do_center_crop", &reason));
        }
        (false, _) if resize == ResizeRule::Squash => resize_edge,
        (false, _) => {
            let reason =
                "is false, so pictures of different shapes stay different: a tower reads squares";
            return Err(settings.wrong("do_center_crop", reason));
        }
    };
    if image_size > resize_edge {
        let reason =
            format!("is {image_size}, more than size ({resize_edge}): edgeclip adds no edges");
        return Err(settings.wrong("crop_size", &reason));
    }
    let (mean, std) = normalisation(settings, kind)?;
    let filter = filter(settings, kind)?;
    Ok(Options { image_size, resize_edge, resize, crop: Crop::Floor, filter, mean, std })
}

fn refuse_unknown(settings: &Settings) -> Result<(), ImportError> {
    for field in settings.fields() {
        let value = settings.value(field);
        let is_off = value.is_null() || value.as_bool() == Some(false);
        if is_off
            || field.starts_with('_')
            || HONOURED.contains(&field)
            || HARMLESS.contains(&field)
        {
            continue;
        }
        let known = NOT_DONE.iter().find(|(known, _)| *known == field);
        let reason = match known {
            Some((_, what)) => format!("is {value}, which {what}: edgeclip does not"),
            None => "is not known, and may change pixels: remove it where it does not".into(),
        };
        return Err(settings.wrong(field, &reason));
    }
    Ok(())
}

fn kind(settings: &Settings, usual: Option<&'static str>) -> Result<&'static Kind, ImportError> {
    let mut field = "image_processor_type";
    if !settings.has(field) && settings.has("feature_extractor_type") {
        field = "feature_extractor_type";
    }
    let known = KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    let named = settings.text(field)?;
    let name = named.or(usual).ok_or_else(|| {
        settings.wrong(field, &format!("is missing: known are the processors of {known}"))
    })?;
    let short = name.strip_suffix("Fast").unwrap_or(name);
    let short = short.strip_suffix("ImageProcessor").or(short.strip_suffix("FeatureExtractor"));
    let short = short.unwrap_or(name);
    KINDS.iter().find(|kind| kind.name == short).ok_or_else(|| {
        let reason = format!(
            "is {name}, which makes pictures in a way that edgeclip lacks: take a model that has one of {known}"
        );
        settings.wrong(field, &reason)
    })
}

/// An edge in pixels, within reason.
pub(super) fn edge_of(settings: &Settings, field: &str, edge: usize) -> Result<u32, ImportError> {
    let fits = (1..=EDGE_MAX).contains(&edge);
    let edge = u32::try_from(edge).ok().filter(|_| fits);
    edge.ok_or_else(|| settings.wrong(field, &format!("is no edge of 1 to {EDGE_MAX} pixels")))
}

/// `size`: an edge, `{"shortest_edge": ..}` or `{"height": .., "width": ..}`.
fn size(settings: &Settings, kind: &Kind) -> Result<(ResizeRule, u32), ImportError> {
    let part = settings.value("size");
    let (rule, edge) = if part.is_null() {
        (kind.rule, kind.edge)
    } else if part.is_object() && !settings.part("size")?.has("shortest_edge") {
        (ResizeRule::Squash, settings.square("size")?.unwrap_or(0))
    } else if part.is_object() {
        let part = settings.part("size")?;
        if part.has("longest_edge") {
            return Err(part.wrong("longest_edge", "bounds the other edge: edgeclip does not"));
        }
        (ResizeRule::ShortestEdge, part.size("shortest_edge")?.unwrap_or(0))
    } else {
        // A bare number is both edges, or the shorter one.
        let is_square = matches!(kind.name, "ViT" | "DeiT" | "DINOv3ViT");
        let is_square = settings.flag("default_to_square", is_square)?;
        let rule = if is_square { ResizeRule::Squash } else { ResizeRule::ShortestEdge };
        (rule, settings.size("size")?.unwrap_or(0))
    };
    Ok((rule, edge_of(settings, "size", edge)?))
}

/// Mean and deviation of values 0..1, whatever the file scales bytes by: `(v * factor - mean) / std` for a byte v
/// is `(v / 255 - mean / s) / (std / s)` with `s = 255 * factor`.
fn normalisation(settings: &Settings, kind: &Kind) -> Result<([f32; 3], [f32; 3]), ImportError> {
    let factor = if settings.flag("do_rescale", true)? {
        settings.number("rescale_factor")?.unwrap_or(1.0 / 255.0)
    } else {
        1.0
    };
    let scale = factor * 255.0;
    if !(scale.is_finite() && scale > 0.0) {
        return Err(settings.wrong("rescale_factor", "must be above 0"));
    }
    let (mean, std) = if settings.flag("do_normalize", true)? {
        let mean = settings.channels("image_mean")?.unwrap_or(kind.mean);
        (mean, settings.channels("image_std")?.unwrap_or(kind.std))
    } else {
        ([0.0; 3], [1.0; 3])
    };
    let [mean, std] = [mean, std].map(|values| values.map(|value| value / scale));
    Ok((finite(settings, "image_mean", mean)?, positive(settings, "image_std", std)?))
}

/// Numbers that a tower can be given.
pub(super) fn finite(
    settings: &Settings,
    field: &str,
    values: [f64; 3],
) -> Result<[f32; 3], ImportError> {
    let values = values.map(|value| value as f32);
    let fits = values.iter().all(|value| value.is_finite());
    fits.then_some(values).ok_or_else(|| settings.wrong(field, "is too large"))
}

/// Numbers to divide by.
pub(super) fn positive(
    settings: &Settings,
    field: &str,
    values: [f64; 3],
) -> Result<[f32; 3], ImportError> {
    let values = finite(settings, field, values)?;
    let fits = values.iter().all(|value| *value > 0.0 && value.recip().is_finite());
    fits.then_some(values).ok_or_else(|| settings.wrong(field, "must be above 0"))
}

/// `resample`, a number of Pillow's.
fn filter(settings: &Settings, kind: &Kind) -> Result<Filter, ImportError> {
    match settings.size("resample")? {
        None => Ok(kind.filter),
        Some(1) => Ok(Filter::Lanczos),
        Some(2) => Ok(Filter::Bilinear),
        Some(3) => Ok(Filter::Bicubic),
        Some(4) => Ok(Filter::Box),
        Some(5) => Ok(Filter::Hamming),
        Some(0) => Err(settings.wrong("resample", "is 0, nearest: edgeclip has no such filter")),
        Some(other) => Err(settings.wrong("resample", &format!("is {other}: Pillow has 0 to 5"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(settings: &Value, usual: Option<&'static str>) -> Result<Options, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preprocessor_config.json");
        std::fs::write(&path, settings.to_string()).unwrap();
        let settings = Settings::required(&path).unwrap();
        options(&settings, usual)
            .map_err(|error| error.to_string().split(": ").skip(1).collect::<Vec<_>>().join(": "))
    }

    #[test]
    fn published_processors_are_read() {
        let read = |settings: &Value| read(settings, None);
        let clip = json!({
            "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true,
            "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.25, 0.125],
            "image_std": [0.25, 0.5, 1.0], "resample": 3, "rescale_factor": 0.003_921_568_627_450_98,
            "size": {"shortest_edge": 224}, "image_processor_type": "CLIPImageProcessor"
        });
        let options = read(&clip).unwrap();
        assert_eq!((options.image_size, options.resize_edge), (224, 224));
        assert_eq!((options.resize, options.filter), (ResizeRule::ShortestEdge, Filter::Bicubic));
        assert_eq!((options.mean, options.std), ([0.5, 0.25, 0.125], [0.25, 0.5, 1.0]));

        // As it was first published: bare numbers.
        let old = json!({
            "crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.5, 0.25, 0.125],
            "image_std": [0.25, 0.5, 1.0], "resample": 3, "size": 224
        });
        assert_eq!(read(&old).unwrap(), options);

        let siglip = json!({
            "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 2,
            "size": {"height": 256, "width": 256}
        });
        let options = read(&siglip).unwrap();
        assert_eq!((options.resize, options.image_size), (ResizeRule::Squash, 256));
        assert_eq!(options.filter, Filter::Bilinear);

        let dino = json!({
            "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_normalize": false,
            "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}
        });
        let options = read(&dino).unwrap();
        assert_eq!((options.image_size, options.resize_edge), (224, 256));
        assert_eq!((options.mean, options.std), ([0.0; 3], [1.0; 3]));

        // Bytes that are scaled to -1..1 by the factor and the mean together.
        let scaled = json!({
            "image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}, "rescale_factor": 0.007_843_137_254_901_96,
            "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]
        });
        let options = read(&scaled).unwrap();
        assert!((options.mean[0] - 0.5).abs() < 1e-6 && (options.std[0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_file_that_says_little_means_the_defaults_of_its_kind() {
        let table = [
            (
                "CLIPImageProcessor",
                (224, 224),
                ResizeRule::ShortestEdge,
                Filter::Bicubic,
                0.481_454_66,
            ),
            (
                "CLIPFeatureExtractor",
                (224, 224),
                ResizeRule::ShortestEdge,
                Filter::Bicubic,
                0.481_454_66,
            ),
            (
                "BitImageProcessorFast",
                (224, 224),
                ResizeRule::ShortestEdge,
                Filter::Bicubic,
                0.481_454_66,
            ),
            ("SiglipImageProcessor", (224, 224), ResizeRule::Squash, Filter::Bicubic, 0.5),
            ("ViTImageProcessorFast", (224, 224), ResizeRule::Squash, Filter::Bilinear, 0.5),
            ("DeiTImageProcessor", (224, 256), ResizeRule::Squash, Filter::Bicubic, 0.5),
            (
                "DINOv3ViTImageProcessorFast",
                (224, 224),
                ResizeRule::Squash,
                Filter::Bilinear,
                0.485,
            ),
        ];
        for (kind, sizes, resize, filter, mean) in table {
            let options = read(&json!({"image_processor_type": kind}), None).unwrap();
            assert_eq!((options.image_size, options.resize_edge), sizes, "{kind}");
            assert_eq!((options.resize, options.filter), (resize, filter), "{kind}");
            assert!((options.mean[0] - mean).abs() < 1e-6, "{kind}");
        }
        assert_eq!(read(&json!({}), Some("ViT")).unwrap().filter, Filter::Bilinear);
        let refusal = read(&json!({}), None).unwrap_err();
        assert!(refusal.starts_with("image_processor_type is missing: known are"), "{refusal}");
        let shortest = read(&json!({"size": 224}), Some("Siglip")).unwrap_err();
        assert!(shortest.starts_with("do_center_crop is false"), "{shortest}");
        assert_eq!(read(&json!({"size": 64}), Some("ViT")).unwrap().image_size, 64);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_its_field() {
        let sound = json!({
            "image_processor_type": "CLIPImageProcessor", "size": {"height": 8, "width": 8},
            "crop_size": 8, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            "do_pad": false, "size_divisor": null, "_valid_processor_keys": ["images"], "auto_map": {}
        });
        assert!(read(&sound, None).is_ok());
        let cases = [
            (json!({"do_pad": true}), "do_pad is true, which pads"),
            (json!({"do_flip_channel_order": true}), "do_flip_channel_order is true, which swaps"),
            (json!({"size_divisor": 32}), "size_divisor is 32, which makes"),
            (json!({"rescale_offset": true}), "rescale_offset is true, which moves"),
            (json!({"max_num_patches": 256}), "max_num_patches is 256, which makes"),
            (json!({"crop_pct": 0.9}), "crop_pct is 0.9, which crops"),
            (json!({"gamma": 2.2}), "gamma is not known, and may change pixels"),
            (
                json!({"image_processor_type": "LevitImageProcessor"}),
                "image_processor_type is LevitImageProcessor, which makes",
            ),
            (
                json!({"image_processor_type": "EfficientNetImageProcessor", "include_top": true}),
                "image_processor_type is EfficientNetImageProcessor, which makes",
            ),
            (json!({"image_processor_type": 1}), "image_processor_type is 1, a text is meant"),
            (
                json!({"image_processor_type": "ViTImageProcessor", "do_center_crop": true}),
                "do_center_crop is true, and not every ViT",
            ),
            (json!({"do_resize": false}), "do_resize is false"),
            (json!({"resample": 0}), "resample is 0"),
            (json!({"resample": 9}), "resample is 9"),
            (json!({"resample": "bicubic"}), "resample is \"bicubic\", a whole"),
            (
                json!({"size": {"height": 8, "width": 9}}),
                "size is {\"height\":8,\"width\":9}, no square",
            ),
            (json!({"size": {"shortest_edge": 8, "longest_edge": 12}}), "size.longest_edge bounds"),
            (
                json!({"size": {"shortest_edge": 8}, "do_center_crop": false}),
                "do_center_crop is false",
            ),
            (json!({"size": {"shortest_edge": 0}}), "size is no edge of 1 to 4096"),
            (json!({"size": {"shortest_edge": "8"}}), "size.shortest_edge is \"8\", a whole"),
            (json!({"size": {"height": 5000, "width": 5000}}), "size is no edge of 1 to 4096"),
            (json!({"size": {}}), "size is {}, no square"),
            (json!({"size": "large"}), "size is \"large\""),
            (json!({"crop_size": {"height": 9, "width": 9}}), "crop_size is 9"),
            (json!({"crop_size": {"height": 4, "width": 5}}), "crop_size is {"),
            (json!({"image_std": [1.0, 2.0]}), "image_std is [1.0,2.0], three"),
            (json!({"image_mean": [0.5, "0.5", 0.5, 0.5]}), "image_mean is [0.5,\"0.5\""),
            (json!({"image_mean": [1e300, 0, 0]}), "image_mean is too large"),
            (json!({"image_std": [0.5, 0.0, 0.5]}), "image_std must be above 0"),
            (json!({"rescale_factor": 0}), "rescale_factor must be above 0"),
            (json!({"do_rescale": "yes"}), "do_rescale is \"yes\", true or false"),
            (json!({"do_convert_rgb": 1}), "do_convert_rgb is 1, true or false"),
        ];
        for (change, wanted) in cases {
            let mut settings = sound.clone();
            for (field, value) in change.as_object().unwrap() {
                settings[field] = value.clone();
            }
            let refusal = read(&settings, None).unwrap_err();
            assert!(refusal.starts_with(wanted), "{change}: {refusal}");
        }
    }
}
