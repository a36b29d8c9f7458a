//! Decoding, resizing and cropping against Pillow's pixels (`tests/golden/preprocess.py`).

use std::path::{Path, PathBuf};

use edgeclip::capture;
use edgeclip::preprocess::{Crop, Filter, Options, Preprocessor, ResizeRule};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Case {
    file: PathBuf,
    expected: PathBuf,
    size: u32,
    /// Edge before the middle is cut out; `size` where there is none.
    edge: Option<u32>,
    #[serde(default)]
    crop: Crop,
    resize: ResizeRule,
    filter: Filter,
    /// Largest difference allowed, in grey levels.
    tolerance: u8,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn cases() -> Vec<Case> {
    let cases = std::fs::read(data().join("preprocess/cases.json")).unwrap();
    serde_json::from_slice(&cases).unwrap()
}

fn square(case: &Case) -> Vec<u8> {
    let frame = capture::read(&data().join("preprocess").join(&case.file)).unwrap();
    let options = Options {
        image_size: case.size,
        resize_edge: case.edge.unwrap_or(case.size),
        resize: case.resize,
        crop: case.crop,
        filter: case.filter,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    Preprocessor::new(&options).square(&frame).to_vec()
}

#[test]
fn pixels_equal_pillows() {
    let cases = cases();
    assert!(cases.len() > 100, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let expected = capture::read(&data().join("preprocess").join(&case.expected)).unwrap();
        let found = square(case);
        assert_eq!(found.len(), expected.rgb().len(), "{case:?}");
        let differences = found.iter().zip(expected.rgb()).map(|(a, b)| a.abs_diff(*b));
        let largest = differences.max().unwrap_or(0);
        if largest > case.tolerance {
            wrong.push(format!("{largest} grey levels: {case:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
