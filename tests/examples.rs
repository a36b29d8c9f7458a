//! The pictures in `examples/images`: each one's true label ranks first, with the README's labels. And the
//! examples, run on these pictures.
#![cfg(feature = "mini")]

#[path = "../examples/kiosk.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod kiosk;
#[path = "../examples/pi_camera.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod pi_camera;
#[path = "../examples/relabel.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod relabel;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use edgeclip::capture;
use edgeclip::outputs::gpio::Backend;
use edgeclip::pipeline::Model;
use edgeclip::prompts::LabelSet;

/// A source that is there wherever the tests run.
const SOURCE: &str = concat!("dir:", env!("CARGO_MANIFEST_DIR"), "/examples/images");

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

#[test]
fn pi_camera_sees_every_picture() {
    let summary = pi_camera::watch(SOURCE, Backend::Record).unwrap();
    assert_eq!((summary.inferred, summary.failed), (TRUE_LABELS.len() as u64, 0));
    assert!(pi_camera::watch("dir:/nowhere/at/all", Backend::Record).is_err());
}

#[test]
fn kiosk_serves_its_page_and_state() {
    // A port that was free a moment ago.
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let labels = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cards/labels.toml");
    let appliance = kiosk::kiosk(SOURCE, &labels, listen).unwrap();
    let handle = appliance.handle();
    let running = thread::spawn(move || appliance.run());
    let get = |path: &str| -> Option<String> {
        ureq::get(format!("http://{listen}{path}")).call().ok()?.body_mut().read_to_string().ok()
    };
    let until = Instant::now() + Duration::from_mins(2);
    let has_frames = || {
        let state: serde_json::Value = serde_json::from_str(&get("/api/state")?).ok()?;
        (state["state"]["inferred"].as_u64()? > 0).then_some(state)
    };
    let state = loop {
        match has_frames() {
            Some(state) => break state,
            None => assert!(Instant::now() < until, "no frame"),
        }
        thread::sleep(Duration::from_millis(50));
    };
    let set = LabelSet::parse(&std::fs::read_to_string(labels).unwrap()).unwrap();
    let shown = state["state"]["regions"][0]["labels"].as_array().unwrap();
    assert_eq!(shown.len(), set.labels().len());
    assert!(get("/").unwrap().contains("<title>edgeclip"));
    handle.stop();
    assert!(running.join().unwrap().unwrap().inferred > 0);
}

#[test]
fn relabel_swaps_the_whole_set_and_loses_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after, summary) = relabel::relabel(SOURCE, &folder.path().join("labels")).unwrap();
    let names = |snapshot: &edgeclip::outputs::Snapshot| {
        let labels = snapshot.regions[0].labels.iter().map(|label| label.label.clone());
        labels.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(names(&before), "an animal, a drink, a vehicle");
    assert_eq!(names(&after), "a cat, a cup of coffee, a rocket, a mountain");
    assert!(before.inferred < after.inferred && after.inferred <= summary.inferred);
    assert_eq!((summary.failed, after.counts.dropped), (0, 0));
}
