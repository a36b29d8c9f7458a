//! `preprocessor_config.json`: how transformers' image processors make a tower's input.

use serde_json::Value;

use super::ImportError;
use super::settings::Settings;
use crate::preprocess::{Crop, Filter, Options, ResizeRule};

/// What a processor would do that edgeclip does not.
const NOT_DONE: [(&str, &str); 5] = [
    ("do_pad", "pads pictures"),
    ("do_flip_channel_order", "swaps red and blue"),
    ("do_reduce_labels", "is for labelled maps"),
    ("do_thumbnail", "makes thumbnails first"),
    ("do_align_long_axis", "turns pictures"),
];

/// What a tower is given, as the file says it.
///
/// # Errors
/// The field that can't be honoured, and why.
pub(super) fn options(settings: &Settings) -> Result<Options, ImportError> {
    for (field, what) in NOT_DONE {
        if settings.flag(field, false)? {
            return Err(settings.wrong(field, &format!("{what}: edgeclip does not")));
        }
    }
    if settings.has("crop_pct") {
        return Err(settings.wrong("crop_pct", "crops by a share of the edge: edgeclip does not"));
    }
    if !settings.flag("do_resize", true)? {
        let reason = "is false: frames of a camera have to be resized";
        return Err(settings.wrong("do_resize", reason));
    }
    let (resize, resize_edge) = size(settings)?;
    let image_size = if settings.flag("do_center_crop", resize == ResizeRule::ShortestEdge)? {
        crop_size(settings)?.unwrap_or(resize_edge)
    } else if resize == ResizeRule::Squash {
        resize_edge
    } else {
        let reason =
            "is false, so pictures of different shapes stay different: a tower reads squares";
        return Err(settings.wrong("do_center_crop", reason));
    };
    if image_size > resize_edge {
        let reason =
            format!("is {image_size}, more than size ({resize_edge}): edgeclip adds no edges");
        return Err(settings.wrong("crop_size", &reason));
    }
    let (mean, std) = normalisation(settings)?;
    let filter = filter(settings)?;
    Ok(Options { image_size, resize_edge, resize, crop: Crop::Floor, filter, mean, std })
}

/// `size`: an edge, `{"shortest_edge": ..}` or `{"height": .., "width": ..}`.
fn size(settings: &Settings) -> Result<(ResizeRule, u32), ImportError> {
    let edge = |of: &Settings, field: &str| -> Result<u32, ImportError> {
        let edge =
            of.size(field)?.and_then(|edge| u32::try_from(edge).ok()).filter(|edge| *edge > 0);
        edge.ok_or_else(|| of.wrong(field, "is missing or no edge in pixels"))
    };
    match settings.value("size") {
        Value::Number(_) => {
            let edge = edge(settings, "size")?;
            // transformers reads a bare number as the shorter edge for these, as both edges for others.
            let kind =
                settings.text("image_processor_type").or(settings.text("feature_extractor_type"));
            let shortest = kind.is_some_and(|kind| {
                ["CLIP", "ChineseCLIP", "Bit", "ConvNext"]
                    .iter()
                    .any(|known| kind.starts_with(known))
            });
            let rule = if shortest { ResizeRule::ShortestEdge } else { ResizeRule::Squash };
            Ok((rule, edge))
        }
        Value::Object(_) => {
            let part = settings.part("size");
            if part.has("shortest_edge") {
                if part.has("longest_edge") {
                    return Err(
                        part.wrong("longest_edge", "bounds the other edge: edgeclip does not")
                    );
                }
                return Ok((ResizeRule::ShortestEdge, edge(&part, "shortest_edge")?));
            }
            let (height, width) = (edge(&part, "height")?, edge(&part, "width")?);
            if height != width {
                let reason = format!("is {width} and height {height}: a tower reads squares");
                return Err(part.wrong("width", &reason));
            }
            Ok((ResizeRule::Squash, height))
        }
        other => Err(settings.wrong("size", &format!("is {other}: it says no edge"))),
    }
}

fn crop_size(settings: &Settings) -> Result<Option<u32>, ImportError> {
    let part = settings.part("crop_size");
    let (height, width) = match settings.value("crop_size") {
        Value::Null => return Ok(None),
        Value::Object(_) => (part.size("height")?, part.size("width")?),
        _ => (settings.size("crop_size")?, settings.size("crop_size")?),
    };
    match (height, width) {
        (Some(height), Some(width)) if height == width && height > 0 => {
            let edge = u32::try_from(height);
            edge.map(Some).map_err(|_| settings.wrong("crop_size", "is too large"))
        }
        _ => Err(settings.wrong("crop_size", "is no square")),
    }
}

/// Mean and deviation of values 0..1, whatever the file scales bytes by: `(v * factor - mean) / std` for a byte v
/// is `(v / 255 - mean / s) / (std / s)` with `s = 255 * factor`.
fn normalisation(settings: &Settings) -> Result<([f32; 3], [f32; 3]), ImportError> {
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
        let required = |field: &str| {
            let values = settings.channels(field)?;
            values.ok_or_else(|| settings.wrong(field, "is missing, and do_normalize is on"))
        };
        (required("image_mean")?, required("image_std")?)
    } else {
        ([0.0; 3], [1.0; 3])
    };
    Ok([mean, std].map(|values| values.map(|value| (value / scale) as f32)).into())
}

/// `resample`, a number of Pillow's; bicubic in CLIP's processor, which is what files without it come from.
fn filter(settings: &Settings) -> Result<Filter, ImportError> {
    match settings.size("resample")? {
        Some(1) => Ok(Filter::Lanczos),
        Some(2) => Ok(Filter::Bilinear),
        Some(3) | None => Ok(Filter::Bicubic),
        Some(4) => Ok(Filter::Box),
        Some(5) => Ok(Filter::Hamming),
        Some(0) => Err(settings.wrong("resample", "is 0, nearest: edgeclip has no such filter")),
        Some(other) => Err(settings.wrong("resample", &format!("is {other}: Pillow has 0 to 5"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: &Value) -> Result<Options, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preprocessor_config.json");
        std::fs::write(&path, settings.to_string()).unwrap();
        let settings = Settings::required(&path).unwrap();
        options(&settings)
            .map_err(|error| error.to_string().split(": ").skip(1).collect::<Vec<_>>().join(": "))
    }

    #[test]
    fn published_processors_are_read() {
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
            "size": {"height": 8, "width": 8}, "rescale_factor": 0.007_843_137_254_901_96,
            "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]
        });
        let options = read(&scaled).unwrap();
        assert!((options.mean[0] - 0.5).abs() < 1e-6 && (options.std[0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_its_field() {
        let sound = json!({
            "size": {"height": 8, "width": 8}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]
        });
        assert!(read(&sound).is_ok());
        let cases = [
            (json!({"do_pad": true}), "do_pad pads"),
            (json!({"do_flip_channel_order": true}), "do_flip_channel_order swaps"),
            (json!({"do_resize": false}), "do_resize is false"),
            (json!({"resample": 0}), "resample is 0"),
            (json!({"resample": 9}), "resample is 9"),
            (json!({"crop_pct": 0.9}), "crop_pct crops"),
            (json!({"size": {"height": 8, "width": 9}}), "size.width is 9 and height 8"),
            (json!({"size": {"shortest_edge": 8, "longest_edge": 12}}), "size.longest_edge bounds"),
            (
                json!({"size": {"shortest_edge": 8}, "do_center_crop": false}),
                "do_center_crop is false",
            ),
            (json!({"size": {"shortest_edge": 0}}), "size.shortest_edge is missing or no edge"),
            (json!({"size": "large"}), "size is \"large\""),
            (
                json!({"do_center_crop": true, "crop_size": {"height": 9, "width": 9}}),
                "crop_size is 9",
            ),
            (
                json!({"do_center_crop": true, "crop_size": {"height": 4, "width": 5}}),
                "crop_size is no",
            ),
            (json!({"image_mean": null}), "image_mean is missing"),
            (json!({"image_std": [1.0, 2.0]}), "image_std is [1.0,2.0], three"),
            (json!({"rescale_factor": 0}), "rescale_factor must be above 0"),
            (json!({"do_rescale": "yes"}), "do_rescale is \"yes\", true or false"),
        ];
        for (change, wanted) in cases {
            let mut settings = sound.clone();
            for (field, value) in change.as_object().unwrap() {
                settings[field] = value.clone();
            }
            let refusal = read(&settings).unwrap_err();
            assert!(refusal.starts_with(wanted), "{change}: {refusal}");
        }
    }
}
