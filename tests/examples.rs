//! The pictures in `examples/images`: each one's true label ranks first, with the README's labels.
#![cfg(feature = "mini")]

use std::collections::BTreeSet;
use std::path::Path;

use edgeclip::capture;
use edgeclip::pipeline::Model;
use edgeclip::prompts::LabelSet;

/// Picture and true label.
const TRUE_LABELS: &[(&str, &str)] = &[
    ("blue_star.png", "a blue star"),
    ("cat.jpg", "a cat"),
    ("coffee.jpg", "a cup of coffee"),
    ("dogs.jpg", "a dog"),
    ("green_triangles.png", "three green triangles"),
    ("mountain.jpg", "a mountain"),
    ("red_circle.png", "a red circle"),
    ("rocket.jpg", "a rocket"),
];

#[test]
fn the_true_label_of_each_picture_ranks_first() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let labels = readme.split("classify examples/images --labels \"").nth(1).unwrap();
    let labels = LabelSet::from_names(labels.split('"').next().unwrap().split(',')).unwrap();
    let model = Model::open(None).unwrap();
    let head = model.text_side().unwrap().head(&labels).unwrap();
    let mut image_side = model.image_side().unwrap();
    for (picture, truth) in TRUE_LABELS {
        let frame = capture::read(&root.join("examples/images").join(picture)).unwrap();
        let embedding = image_side.encode_image(&frame).unwrap();
        let ranked = head.ranked(&embedding);
        assert_eq!(ranked[0].label, *truth, "{picture}: {ranked:?}");
    }
}

#[test]
fn every_picture_has_a_true_label_and_a_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images");
    let sources = std::fs::read_to_string(folder.join("SOURCES.md")).unwrap();
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let pictures: BTreeSet<String> =
        names.map(|name| name.into_string().unwrap()).filter(|name| name != "SOURCES.md").collect();
    let labelled: BTreeSet<String> =
        TRUE_LABELS.iter().map(|(picture, _)| (*picture).to_owned()).collect();
    assert_eq!(pictures, labelled);
    for picture in pictures {
        assert!(sources.contains(&picture), "SOURCES.md does not name {picture}");
    }
}
