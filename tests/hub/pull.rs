//! `edgeclip model pull`, from a repository to a model that classifies.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::names;
use crate::program::{MODEL, Place, assert_has, ended, tiny};
use crate::server::{COMMIT, Fault, Hub, Repository, sha256};

const CAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/images/cat.jpg");

/// A picture's answer is there, whatever it is: the weights are those of the built-in model.
fn assert_classifies(place: &Place, model: &str) {
    let line = format!("classify {CAT} --labels cat,dog --json --model {model}");
    let answer = place.json(&line);
    assert_eq!(answer["labels"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["labels"][0]["label"], "cat");
}

#[test]
fn a_repository_becomes_one_file_that_classifies() {
    let hub = Hub::start(&[tiny("o/tiny-clip")]);
    let place = Place::new(&hub);
    let (out, err) = place.run("model pull o/tiny-clip", 0);
    let file = place.path("models/tiny-clip.eclip");
    assert_eq!(out.trim_end(), file.to_str().unwrap());
    assert_has(
        &err,
        &[
            "o/tiny-clip at main (commit 001122334455), for transformers.js",
            "licence of the weights: mit",
            "onnx/vision_model.onnx and onnx/text_model.onnx: fp32",
            "onnx/text_model.onnx: ",
            "fetched, checked",
        ],
    );
    // The licence is named before anything large comes.
    assert!(err.find("licence").unwrap() < err.find("fetched").unwrap());
    assert!(hub.requests().iter().all(|request| !request.target.contains("pytorch")));
    assert_classifies(&place, "tiny-clip");
    assert_classifies(&place, file.to_str().unwrap());

    // Again, without a network, as a bundle's folder, with all that is known of it.
    let asked = hub.requests().len();
    let answer = place
        .json(&format!("model pull o/tiny-clip --offline --out bundle --json --revision {COMMIT}"));
    assert_eq!(hub.requests().len(), asked);
    assert_eq!((&answer["path"], &answer["name"]), (&json!("bundle"), &json!("tiny-clip")));
    assert_eq!(
        (&answer["repository"], &answer["revision"]),
        (&json!("o/tiny-clip"), &json!(COMMIT))
    );
    assert_eq!(answer["licence"], "mit");
    let config = &tiny("x").files["config.json"];
    let files = answer["files"].as_array().unwrap();
    assert!(
        files.contains(
            &json!({ "path": "config.json", "bytes": config.len(), "sha256": sha256(config) })
        ),
        "{files:?}"
    );
    let manifest = fs::read_to_string(place.path("bundle/model.toml")).unwrap();
    assert_has(&manifest, &[COMMIT, "o/tiny-clip", "licence = \"mit\"", &sha256(config)]);
    let digest = sha256(manifest.as_bytes());
    assert_eq!(answer["model"], format!("sha256:{digest}"));
    assert_classifies(&place, "bundle --precision float");
    assert!(
        names(&place.path("models")).iter().all(|name| name == "tiny-clip.eclip"),
        "nothing else stays"
    );
}

#[test]
fn weights_with_a_restricted_licence_are_asked_for() {
    let mut research = tiny("o/research");
    research.card =
        json!({ "license": "apple-amlr", "license_name": "apple-ascl", "license_link": "LICENSE" });
    let hub = Hub::start(&[research]);
    let place = Place::new(&hub);
    let (out, err) = place.run("model pull o/research --out a.eclip", 2);
    assert_eq!(out, "");
    assert_has(&err, &["apple-amlr (apple-ascl, LICENSE)", "warning", "research alone", "--yes"]);
    assert!(
        hub.requests().iter().all(|request| request.target.starts_with("/api/")),
        "nothing was fetched"
    );
    let answer = place.json("model pull o/research --out a.eclip --yes --json");
    assert_eq!(answer["licence"], "apple-amlr (apple-ascl, LICENSE)");
}

#[test]
fn a_licence_that_a_card_leaves_out_is_its_base_models() {
    let mut export = tiny("o/export");
    export.card = json!({ "base_model": "o/base" });
    let mut base = Repository::new("o/base", &[("config.json", b"{}")]);
    base.card = json!({ "license": "cc-by-nc-4.0" });
    let hub = Hub::start(&[export.clone(), base]);
    let (_, err) = Place::new(&hub).run("model pull o/export --out a.eclip", 2);
    assert_has(&err, &["made of o/base", "cc-by-nc-4.0", "no commercial use", "--yes"]);
    // Nobody says anything: that is said, and hinders nothing.
    let hub = Hub::start(&[export]);
    let (_, err) = Place::new(&hub).run("model pull o/export --out a.eclip", 0);
    assert_has(&err, &["warning: its card names no licence"]);
}

#[test]
fn a_repository_without_graphs_leads_to_its_export() {
    let weights = |name: &str| {
        Repository::new(name, &[("config.json", b"{}"), ("model.safetensors", &[1; 5000])])
    };
    let mut export = tiny("Xenova/clip-vit-base-patch32");
    export.card = json!({});
    let hub = Hub::start(&[weights("openai/clip-vit-base-patch32"), export, weights("me/own")]);
    let place = Place::new(&hub);
    let (out, err) = place.run("model pull openai/clip-vit-base-patch32", 0);
    assert!(out.trim_end().ends_with("models/clip-vit-base-patch32.eclip"), "{out}");
    let words =
        "openai/clip-vit-base-patch32 holds no ONNX graphs: taking Xenova/clip-vit-base-patch32";
    assert_has(&err, &[words, "licence of the weights: mit"]);
    // The way there is known offline as well.
    place.run("model pull openai/clip-vit-base-patch32 --offline", 0);
    let (_, err) = place.run("model pull openai/clip-vit-base-patch32 --revision main", 2);
    assert_has(&err, &["Xenova/clip-vit-base-patch32", "--revision of its own"]);
    let (_, err) = place.run("model pull me/own", 1);
    assert_has(
        &err,
        &["me/own holds no ONNX graphs", "python models/export.py", "edgeclip model import"],
    );
}

#[test]
fn what_can_not_end_well_is_refused_before_anything_is_fetched() {
    let hub = Hub::start(&[tiny("o/tiny")]);
    let place = Place::new(&hub);
    fs::create_dir(place.path("there")).unwrap();
    fs::create_dir_all(place.path("models/bundle")).unwrap();
    fs::write(place.path("notes.eclip"), "mine").unwrap();
    for (line, code, word) in [
        ("model pull tiny/clip/x", 2, "write OWNER/NAME"),
        ("model pull o/tiny --revision ../x", 2, "write a branch"),
        ("model pull o/tiny --variant q9", 2, "there is no variant q9"),
        ("model pull o/tiny --for m68k", 2, "there is no kernel 'm68k'"),
        ("model pull o/tiny --out folder --for neon", 2, "ends in .eclip"),
        ("model pull o/tiny --out there", 2, "is there already"),
        ("model pull o/tiny --out nowhere/a.eclip", 2, "its folder is not there"),
        ("model pull o/tiny --out /proc/a.eclip", 1, "/proc: nothing can be written there"),
        ("model pull o/tiny --name ../x", 2, "'../x' can't be a model's name"),
        ("model pull o/tiny --name /x", 2, "can't be a model's name"),
        ("model pull o/tiny --name .", 2, "can't be a model's name"),
        ("model pull o/tiny --name=", 2, "can't be a model's name"),
        ("model pull o/tiny --out notes.eclip", 2, "no model, or a damaged one, not of o/tiny"),
        ("model pull o/tiny --name bundle", 2, "models/bundle is there already"),
        ("model pull o/tiny --variant q4", 1, "it holds no q4 graphs; it holds fp32"),
        ("model pull o/tiny --offline", 1, "the cache has not all of o/tiny"),
    ] {
        let (out, err) = place.run(line, code);
        assert!(out.is_empty() && err.contains(word), "{line}\n{err}");
    }
    assert!(hub.requests().iter().all(|request| !request.target.contains("/resolve/")));
    let place = Place::new(&hub);
    let offline = ended(
        &place.command("model pull o/tiny").env("HF_HUB_OFFLINE", "1").output().unwrap(),
        "",
        1,
    );
    assert_has(&offline.1, &["offline: o/tiny at main was never fetched"]);
    let wrong = ended(
        &place.command("model pull o/tiny").env("HF_ENDPOINT", "hub").output().unwrap(),
        "",
        2,
    );
    assert_has(&wrong.1, &["HF_ENDPOINT"]);
}

#[test]
fn a_model_gives_way_to_its_own_repository_alone() {
    let hub = Hub::start(&[tiny("o/tiny"), tiny("x/tiny")]);
    let place = Place::new(&hub);
    place.run("model pull o/tiny", 0);
    place.run("model pull o/tiny", 0);
    let file = fs::read(place.path("models/tiny.eclip")).unwrap();
    let asked = hub.requests().len();
    let (_, err) = place.run("model pull x/tiny", 2);
    let words =
        "models/tiny.eclip is there already, a model of o/tiny, not of x/tiny: name this one";
    assert_has(&err, &[words, "--name", "model rm"]);
    let (_, err) = place.run("model pull x/tiny --out models/tiny.eclip", 2);
    assert_has(&err, &["a model of o/tiny", "another file with --out"]);
    assert_eq!(
        (hub.requests().len(), fs::read(place.path("models/tiny.eclip")).unwrap()),
        (asked, file)
    );
    // One that came from nowhere that is known is as much somebody's.
    place.run(&format!("model pack models/other.eclip --model {MODEL}"), 0);
    let (_, err) = place.run("model pull x/tiny --name other", 2);
    assert_has(&err, &["a model of another origin"]);
    place.run("model pull x/tiny --name xs-tiny", 0);
    assert_eq!(names(&place.path("models")), ["other.eclip", "tiny.eclip", "xs-tiny.eclip"]);
}

#[test]
fn a_kernel_of_another_board_can_be_packed_for() {
    let hub = Hub::start(&[tiny("o/tiny")]);
    let place = Place::new(&hub);
    place.run("model pull o/tiny --for dotprod", 0);
    let (out, _) = place.run("model list", 0);
    assert_has(&out, &["tiny  ", "packed for dotprod"]);
    assert_classifies(&place, "tiny");
}

#[test]
fn a_pull_that_is_killed_goes_on_where_it_was() {
    let hub = Hub::start(&[tiny("o/tiny")]);
    let place = Place::new(&hub);
    let vision = &tiny("x").files["onnx/vision_model.onnx"];
    let half = vision.len() / 2;
    hub.fail("/storage/o/tiny/onnx/vision_model.onnx", 1, &[Fault::Hang(half)]);
    let mut child = place.command("model pull o/tiny").spawn().unwrap();
    let part = place.path(&format!("hf/hub/models--o--tiny/blobs/{}.incomplete", sha256(vision)));
    let deadline = Instant::now() + Duration::from_mins(1);
    while fs::metadata(&part).map_or(0, |part| part.len()) < half as u64 {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "it does not get there"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(names(&place.path("models")).is_empty());
    let (_, err) = place.run("model pull o/tiny", 0);
    assert_has(&err, &["onnx/vision_model.onnx: goes on after"]);
    assert_eq!(
        hub.ranges("vision_model").last().unwrap().as_deref(),
        Some(format!("bytes={half}-").as_str())
    );
    assert_classifies(&place, "tiny");
}

#[test]
fn two_pulls_at_once_both_end_well() {
    let hub = Hub::start(&[tiny("o/tiny")]);
    let place = Place::new(&hub);
    let pulls = [(); 2].map(|()| place.command("model pull o/tiny").spawn().unwrap());
    for pull in pulls {
        ended(&pull.wait_with_output().unwrap(), "model pull", 0);
    }
    assert_eq!(hub.ranges("vision_model").len(), 1, "fetched once");
    assert_eq!(names(&place.path("models")), ["tiny.eclip"]);
    assert_classifies(&place, "tiny");
}

#[test]
fn what_goes_wrong_is_said_and_tried_again() {
    let hub = Hub::start(&[tiny("o/tiny")]);
    let place = Place::new(&hub);
    hub.fail("/storage/", 1, &[Fault::Cut(5000)]);
    hub.fail("/storage/", 1, &[Fault::Hang(5000)]);
    let mut command = place.command("model pull o/tiny");
    let (_, err) =
        ended(&command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1").output().unwrap(), "model pull", 0);
    assert_has(&err, &["the connection broke", "again in"]);
    // A wrong digest leaves no model behind.
    let place = Place::new(&hub);
    hub.fail("/storage/", usize::MAX, &[Fault::Corrupt]);
    let (out, err) = place.run("model pull o/tiny", 1);
    assert!(out.is_empty() && names(&place.path("models")).is_empty());
    assert_has(&err, &["came damaged twice", "the hub says"]);
}

#[test]
fn a_token_is_sent_and_never_shown() {
    let gated = Repository { gated: Some("hf_right".into()), ..tiny("o/tiny") };
    let hub = Hub::start(&[gated]);
    let place = Place::new(&hub);
    fs::create_dir(place.path("hf")).unwrap();
    fs::write(place.path("hf/token"), "hf_right\n").unwrap();
    let mut command = place.command("model pull o/tiny");
    command.env("EDGECLIP_LOG", "trace,ureq_proto::util=trace,ureq::run=trace");
    let (out, err) = ended(&command.output().unwrap(), "model pull", 0);
    // Nor in the library's dump of the wire, line by line, nor what opens the storage.
    for secret in ["hf_right", "ureq_proto", "Signature="] {
        assert!(!err.contains(secret) && !out.contains(secret), "{secret}: {err}");
    }
    let (_, err) = ended(
        &place
            .command("model pull o/tiny --out b")
            .env("HF_HOME", place.path("other"))
            .output()
            .unwrap(),
        "",
        1,
    );
    assert_has(&err, &["o/tiny is gated", "accept its licence"]);
    assert!(err.lines().all(|line| line.starts_with("edgeclip: ")), "{err}");
}
