//! Narrow towers as many exporters and quantisers write them (`tests/golden/towers.py`): each is lowered
//! whole, and computes what ONNX Runtime does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use edgeclip::capture::Frame;
use edgeclip::embedding::Embedding;
use edgeclip::encoder::{Compute, ImageEncoder, Options, Precision, Report, TextEncoder};
use edgeclip::preprocess::{self, Crop, Filter, Preprocessor, ResizeRule};
use edgeclip::tokenizer::TokenIds;

const SIZE: u32 = 16;
const DIM: usize = 24;
const CONTEXT: usize = 12;
const END: i64 = 39;
const SEEDS: [u32; 3] = [1, 2, 3];

/// Least cosine to ONNX Runtime on the same file. In float, only half floats differ. In int8, towers this
/// narrow have few values to average over, and where ONNX Runtime computes in int8 as well, both err.
const FLOAT_MIN: f32 = 0.9999;
const HALF_MIN: f32 = 0.999;
const INT8_MIN: f32 = 0.995;

/// A file, and what of it must become what.
struct Case {
    name: &'static str,
    products: usize,
    convolutions: usize,
    attentions: usize,
    norms: usize,
    activations: usize,
    residuals: usize,
    /// Nodes that stay in float.
    left: usize,
    float_min: f32,
}

/// A vision tower of CLIP's shape: one layer.
const CLIP: Case = Case {
    name: "",
    products: 6,
    convolutions: 1,
    attentions: 1,
    norms: 4,
    activations: 1,
    residuals: 2,
    left: 0,
    float_min: FLOAT_MIN,
};

fn cases() -> Vec<Case> {
    vec![
        Case { name: "vision-opset11", ..CLIP },
        Case { name: "vision-opset14", ..CLIP },
        Case { name: "vision-opset17", ..CLIP },
        Case { name: "vision-dynamo", ..CLIP },
        Case { name: "vision-half", float_min: HALF_MIN, ..CLIP },
        Case { name: "vision-dynamic-u8", float_min: INT8_MIN, ..CLIP },
        Case { name: "vision-dynamic-i8", float_min: INT8_MIN, ..CLIP },
        Case { name: "vision-qdq", float_min: INT8_MIN, ..CLIP },
        Case { name: "vision-openclip", norms: 2, ..CLIP },
        Case {
            name: "vision-residual",
            products: 5,
            convolutions: 3,
            attentions: 0,
            norms: 0,
            activations: 4,
            residuals: 1,
            left: 0,
            float_min: FLOAT_MIN,
        },
        Case {
            name: "vision-residual-qdq",
            products: 5,
            convolutions: 3,
            attentions: 0,
            norms: 0,
            activations: 4,
            residuals: 1,
            left: 0,
            float_min: INT8_MIN,
        },
        Case { name: "text-opset14", products: 5, convolutions: 0, norms: 3, ..CLIP },
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/towers")
}

fn compute(precision: Precision) -> Compute {
    Compute::start(&Options { precision, threads: Some(2), ..Options::default() }).unwrap()
}

/// As `pixels` of the generator.
fn picture(seed: u32) -> Frame {
    let pixel = |at: u64| {
        let mixed = at * 2_654_435_761 + u64::from(seed) * 40503 * at * at;
        (mixed >> 7) as u8
    };
    Frame::new(SIZE, SIZE, (0..u64::from(SIZE * SIZE * 3)).map(pixel).collect()).unwrap()
}

fn token_ids(seed: u32) -> TokenIds {
    let seed = i64::from(seed);
    let words = (0..seed + 2).map(|at| (7 * at + seed) % (END - 1));
    TokenIds::new([END - 1].into_iter().chain(words).chain([END]).collect())
}

fn preprocessor() -> Preprocessor {
    Preprocessor::new(&preprocess::Options {
        image_size: SIZE,
        resize_edge: SIZE,
        resize: ResizeRule::Squash,
        crop: Crop::Floor,
        filter: Filter::Bicubic,
        mean: [0.5; 3],
        std: [0.25; 3],
    })
}

/// The embeddings of the three seeds, and what became int8.
fn embeddings(name: &str, precision: Precision) -> (Vec<Embedding>, Report) {
    let onnx = fs::read(folder().join(format!("{name}.onnx"))).unwrap();
    let compute = compute(precision);
    if name.starts_with("text") {
        let encoder = TextEncoder::load(&onnx, CONTEXT, DIM, &compute).unwrap();
        return (encoder.encode(&SEEDS.map(token_ids)).unwrap(), encoder.report().clone());
    }
    let encoder = ImageEncoder::load(&onnx, SIZE as usize, DIM, &compute).unwrap();
    let mut preprocessor = preprocessor();
    let encode = |seed| encoder.encode(preprocessor.run(&picture(seed))).unwrap();
    (SEEDS.map(encode).to_vec(), encoder.report().clone())
}

fn golden() -> BTreeMap<String, Vec<Embedding>> {
    let text = fs::read(folder().join("golden.json")).unwrap();
    let golden: BTreeMap<String, Vec<Vec<f32>>> = serde_json::from_slice(&text).unwrap();
    let unit = |rows: Vec<Vec<f32>>| {
        rows.iter().map(|row| Embedding::normalised(row).unwrap()).collect::<Vec<_>>()
    };
    golden.into_iter().map(|(name, rows)| (name, unit(rows))).collect()
}

#[test]
fn a_tower_that_was_stored_computes_the_same_bits() {
    let compute = compute(Precision::Int8);
    let layout = compute.kernel().layout();
    for case in cases() {
        let (wanted, report) = embeddings(case.name, Precision::Int8);
        let onnx = fs::read(folder().join(format!("{}.onnx", case.name))).unwrap();
        let (found, again) = if case.name.starts_with("text") {
            let packed = TextEncoder::pack(&onnx, CONTEXT, DIM, &compute, layout).unwrap();
            let encoder =
                TextEncoder::load_packed(&packed, layout, CONTEXT, DIM, &compute).unwrap();
            (encoder.encode(&SEEDS.map(token_ids)).unwrap(), encoder.report().clone())
        } else {
            let size = SIZE as usize;
            let packed = ImageEncoder::pack(&onnx, size, DIM, &compute, layout).unwrap();
            let encoder = ImageEncoder::load_packed(&packed, layout, size, DIM, &compute).unwrap();
            let wrong = ImageEncoder::load_packed(&packed, layout, 32, DIM, &compute);
            assert!(wrong.is_err_and(|error| error.to_string().contains("is meant")));
            let mut preprocessor = preprocessor();
            let encode = |seed| encoder.encode(preprocessor.run(&picture(seed))).unwrap();
            (SEEDS.map(encode).to_vec(), encoder.report().clone())
        };
        assert_eq!(found, wanted, "{}", case.name);
        assert_eq!(again.products, report.products);
    }
}

#[test]
fn every_file_has_a_case() {
    let listed: Vec<String> = golden().into_keys().collect();
    let mut names: Vec<String> = cases().iter().map(|case| case.name.to_owned()).collect();
    names.sort();
    assert_eq!(names, listed);
}

#[test]
fn float_towers_equal_onnx_runtime() {
    let golden = golden();
    for case in cases() {
        let (found, report) = embeddings(case.name, Precision::Float);
        assert_eq!(report.products, 0);
        for (found, golden) in found.iter().zip(&golden[case.name]) {
            let cosine = found.cosine(golden);
            println!("{}: {cosine:.6}", case.name);
            assert!(cosine >= case.float_min, "{}: {cosine}", case.name);
        }
    }
}

#[test]
fn int8_towers_are_lowered_whole_and_near_to_onnx_runtime() {
    let golden = golden();
    for case in cases() {
        let (found, report) = embeddings(case.name, Precision::Int8);
        println!("{}: {report:?}", case.name);
        let counts = [
            report.products + report.one_row,
            report.convolutions,
            report.attentions,
            report.norms,
            report.activations,
            report.residuals,
            report.left.len(),
        ];
        let wanted = [
            case.products,
            case.convolutions,
            case.attentions,
            case.norms,
            case.activations,
            case.residuals,
            case.left,
        ];
        assert_eq!(counts, wanted, "{}: {:?}", case.name, report.left);
        for (at, (found, own)) in found.iter().zip(&golden[case.name]).enumerate() {
            let cosine = found.cosine(own);
            println!("{}: {cosine:.6}", case.name);
            assert!(cosine >= INT8_MIN, "{}: {cosine}", case.name);
            // Another picture's embedding must not pass for it.
            let other = found.cosine(&golden[case.name][(at + 1) % SEEDS.len()]);
            assert!(1.0 - other > 5.0 * (1.0 - cosine), "{}: {cosine}, {other}", case.name);
        }
    }
}
