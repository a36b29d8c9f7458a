//! Published families in narrow form (`tests/golden/families.py`): each folder is taken in as a user would do it, and
//! its embeddings are compared with ONNX Runtime's on the same files, pictures and texts prepared by each family's own code.

use std::path::{Path, PathBuf};

use edgeclip::capture;
use edgeclip::embedding::Embedding;
use edgeclip::encoder::{self, Precision};
use edgeclip::import;
use edgeclip::pipeline::{self, Model};
use serde::Deserialize;

/// Least cosine to ONNX Runtime, in float and in int8.
const FLOAT_MIN: f32 = 0.9999;
const INT8_MIN: f32 = 0.99;
/// Int8 of residual networks, whose activations have no norms between layers.
const RESIDUAL_INT8_MIN: f32 = 0.98;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    image_embeds: Vec<Vec<f32>>,
    #[serde(default)]
    text_embeds: Vec<Vec<f32>>,
    logit_scale: Option<f32>,
    logit_bias: Option<f32>,
    score: Option<String>,
}

const FAMILIES: [&str; 23] = [
    "chinese-clip",
    "clip-vit",
    "clip-vit-dynamo",
    "clip-vit-external",
    "clip-vit-fp16",
    "clip-vit-joint",
    "clip-vit-q4",
    "clip-vit-quantized",
    "clip-vit-uint8",
    "dinov2",
    "mobileclip-b",
    "mobileclip-s0",
    "mobileclip-s2",
    "mobileclip2-s0",
    "openclip-vit",
    "rn50",
    "siglip",
    "siglip-dynamo",
    "siglip-fp16",
    "siglip-q4",
    "siglip-quantized",
    "siglip2",
    "tinyclip",
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families")
}

/// The folders of families, by name.
fn families() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(data()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> =
        folders.filter(|folder| folder.join("golden.json").exists()).collect();
    folders.sort();
    folders
}

fn pictures() -> Vec<PathBuf> {
    let files = std::fs::read_dir(data().join("pictures")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn unit(rows: &[Vec<f32>]) -> Vec<Embedding> {
    rows.iter().map(|row| Embedding::normalised(row).unwrap()).collect()
}

/// The least cosine between rows and those that are meant; each must be nearer to its own than to another's.
fn compare(found: &[Embedding], wanted: &[Embedding]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let mut least = 1.0_f32;
    for (at, (found, own)) in found.iter().zip(wanted).enumerate() {
        let cosine = found.cosine(own);
        least = least.min(cosine);
        for (_, other) in wanted.iter().enumerate().filter(|(other, _)| *other != at) {
            assert!(cosine > found.cosine(other), "{at} is nearer to another's");
        }
    }
    least
}

fn check(folder: &Path) {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let golden = std::fs::read(folder.join("golden.json")).unwrap();
    let golden: Golden = serde_json::from_slice(&golden).unwrap();
    let target = tempfile::tempdir().unwrap();
    let bundle = target.path().join("bundle");
    let taken = pipeline::take_in(folder, &bundle, &import::Options::default(), None);
    let taken = taken.unwrap_or_else(|error| panic!("{name}: {:#}", anyhow::Error::from(error)));
    let scoring = taken.manifest.scoring;
    if let (Some(scale), Some(score)) = (golden.logit_scale, &golden.score) {
        let kind = format!("{:?}", scoring.kind).to_lowercase();
        assert_eq!(kind, *score, "{name}");
        assert!((scoring.logit_scale / scale - 1.0).abs() < 1e-3, "{name}: {scoring:?}");
        let bias = golden.logit_bias.unwrap_or(0.0);
        assert!((scoring.logit_bias - bias).abs() < 1e-3, "{name}: {scoring:?}");
    }
    assert_eq!(taken.manifest.text.is_some(), !golden.text_embeds.is_empty(), "{name}");
    let int8_min = if name.contains("rn50") { RESIDUAL_INT8_MIN } else { INT8_MIN };
    let frames: Vec<_> = pictures().iter().map(|file| capture::read(file).unwrap()).collect();
    for (precision, least) in [(Precision::Float, FLOAT_MIN), (Precision::Auto, int8_min)] {
        let options = encoder::Options { precision, threads: Some(1), ..Default::default() };
        let model = Model::open_with(Some(&bundle), &options).unwrap();
        let mut side = model.image_side().unwrap();
        let found: Vec<_> = frames.iter().map(|frame| side.encode_image(frame).unwrap()).collect();
        let image = compare(&found, &unit(&golden.image_embeds));
        let report = side.encoder.report();
        let text = (!golden.text_embeds.is_empty()).then(|| {
            let found = model.text_side().unwrap().encode_texts(&golden.texts).unwrap();
            compare(&found, &unit(&golden.text_embeds))
        });
        println!(
            "{name} {precision:?}: pictures {image:.5}, texts {text:.5?}, {} products, left {:?}",
            report.products,
            report
                .left
                .iter()
                .map(|left| format!("{} {}", left.operator, left.reason))
                .collect::<Vec<_>>()
        );
        assert!(image >= least, "{name}, {precision:?}: pictures {image}");
        assert!(text.is_none_or(|text| text >= least), "{name}, {precision:?}: texts {text:?}");
        assert!(model.verify().unwrap().unwrap().holds, "{name}, {precision:?}");
    }
}

#[test]
fn every_family_is_taken_in_and_computes_what_it_means() {
    let families = families();
    let names = families.iter().map(|folder| folder.file_name().unwrap().to_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), FAMILIES);
    for folder in families {
        check(&folder);
    }
}
