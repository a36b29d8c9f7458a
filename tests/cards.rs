//! The demonstration kit end to end: printed cards as a camera sees them, with the kit's labels.
#![cfg(feature = "mini")]

use std::fs;
use std::path::Path;

use edgeclip::capture;
use edgeclip::pipeline::Model;
use edgeclip::prompts::LabelSet;

/// From here on a label counts as given.
const ENTER: f32 = 0.5;
/// Least part of the cards that get their own label.
const RIGHT_MIN: f64 = 0.9;

#[test]
fn cards_get_their_labels_and_blank_frames_none() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let labels = fs::read_to_string(root.join("examples/cards/labels.toml")).unwrap();
    let labels = LabelSet::from_toml(&labels).unwrap();
    let model = Model::open(None).unwrap();
    let head = model.text_side().unwrap().head(&labels).unwrap();
    let mut image_side = model.image_side().unwrap();

    let (mut right, mut cards, mut wrong) = (0, 0, Vec::new());
    for entry in fs::read_dir(root.join("tests/data/cards")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let shown = stem.rsplit_once('-').unwrap().0.replace('_', " ");
        let embedding = image_side.encode_image(&capture::read(&path).unwrap()).unwrap();
        let best = &head.ranked(&embedding)[0];
        let given = (best.score >= ENTER).then_some(best.label);
        if shown == "blank" {
            assert_eq!(given, None, "{stem}: {:.2}", best.score);
            continue;
        }
        cards += 1;
        if given == Some(shown.as_str()) {
            right += 1;
        } else {
            wrong.push(format!("{stem}: {} {:.2}", best.label, best.score));
        }
    }
    assert!(
        cards >= 4 * labels.labels().len(),
        "{cards} frames of {} cards",
        labels.labels().len()
    );
    assert!(
        f64::from(right) >= RIGHT_MIN * f64::from(u32::try_from(cards).unwrap()),
        "{right} of {cards} right; not: {wrong:#?}"
    );
}
