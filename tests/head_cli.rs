//! Trained heads from end to end: `eval --linear-probe --save`, `classify --head`, `run --head`; with a model that knows no
//! words too.
#![cfg(feature = "mini")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

const MINI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/edgeclip-mini");

/// Standard output and error of a command that must end with this exit code.
fn run(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
    let output =
        command.args(args).current_dir(folder).env_remove("EDGECLIP_LOG").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{err}");
    assert!(!err.contains("panicked"), "{args:?}\n{err}");
    (String::from_utf8(output.stdout).unwrap(), err)
}

/// Pictures of squares in a colour, in a folder for each class: each somewhere else and of another size.
fn draw(folder: &Path, each: u32) {
    let classes = [("red", [220, 30, 30]), ("green", [30, 200, 40]), ("none", [128, 128, 128])];
    for (class, colour) in classes {
        let folder = folder.join(class);
        fs::create_dir_all(&folder).unwrap();
        for at in 0..each {
            let mut picture = RgbImage::from_pixel(64, 64, Rgb([240, 235, 230]));
            let (x, y, side) = (at * 7 % 30, at * 11 % 30, 20 + at * 5 % 14);
            for pixel in (0..side * side).map(|pixel| (x + pixel % side, y + pixel / side)) {
                let shade = (at * 3) as u8;
                picture.put_pixel(
                    pixel.0,
                    pixel.1,
                    Rgb(colour.map(|value: u8| value.saturating_sub(shade))),
                );
            }
            picture.save(folder.join(format!("{at}.png"))).unwrap();
        }
    }
}

/// The built-in model's image tower as a bundle without words.
fn features(folder: &Path) -> PathBuf {
    let bundle = folder.join("features");
    fs::create_dir(&bundle).unwrap();
    fs::copy(Path::new(MINI).join("vision.onnx"), bundle.join("vision.onnx")).unwrap();
    let manifest = fs::read_to_string(Path::new(MINI).join("model.toml")).unwrap();
    let words = manifest.find("[text]").unwrap();
    fs::write(bundle.join("model.toml"), &manifest[..words]).unwrap();
    bundle
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_head_is_trained_kept_and_used() {
    let folder = TempDir::new().unwrap();
    let here = folder.path();
    draw(&here.join("train"), 10);
    draw(&here.join("test"), 3);
    let eval =
        ["eval", "test", "--linear-probe", "--train", "train", "--save", "head.toml", "--json"];
    let (out, err) = run(here, &[&eval[..], &["--allow-missing"]].concat(), 0);
    assert!(err.contains("head.toml: trained with 30 pictures"), "{err}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["head"], &rows[1]["head"]), (&"zero-shot".into(), &"linear probe".into()));
    assert_eq!(rows[1]["pictures"], 9);
    assert_eq!(rows[1]["top1"], 1.0, "colours are easy: {out}");

    // Nothing has a cosine, and what stands for nothing is not shown.
    let (out, _) = run(
        here,
        &["classify", "test/red/1.png", "test/none/2.png", "--head", "head.toml", "--json"],
        0,
    );
    let lines_of = lines(&out);
    let best = |line: &Value| line["labels"][0].clone();
    assert_eq!(best(&lines_of[0])["label"], "red");
    assert!(best(&lines_of[0])["score"].as_f64().unwrap() > 0.5);
    assert!(best(&lines_of[0]).get("cosine").is_none());
    assert_eq!(lines_of[1]["labels"].as_array().unwrap().len(), 2);
    assert!(best(&lines_of[1])["score"].as_f64().unwrap() < 0.5, "{out}");
    let digest = lines_of[0]["label_set"].as_str().unwrap().to_owned();

    let watch =
        ["run", "--no-state", "--source", "dir:test/green", "--fps", "1", "--head", "head.toml"];
    let (out, _) = run(here, &watch, 0);
    let events = lines(&out);
    let enters =
        |name: &str| events.iter().any(|event| event["label"] == name && event["state"] == "enter");
    assert!(enters("green") && !enters("red"), "{out}");
    assert_eq!(events[0]["label_set"], digest);
}

#[test]
fn without_pictures_to_learn_from_each_is_judged_by_a_head_that_never_saw_it() {
    let folder = TempDir::new().unwrap();
    draw(&folder.path().join("all"), 6);
    let model = features(folder.path());
    // No words, so no zero-shot row.
    let eval = [
        "eval",
        "all",
        "--model",
        "features",
        "--linear-probe",
        "--save",
        "head.toml",
        "--report",
        "report",
    ];
    let (out, err) = run(folder.path(), &eval, 0);
    assert!(out.contains("trained on the others, 5 folds"), "{out}");
    assert!(err.contains("head.toml: trained with 18 pictures"), "{err}");
    assert!(folder.path().join("report/1/predictions.csv").exists());
    let twice = ["eval", "all", "--model", "features", "--linear-probe", "--train", "all"];
    let (_, err) = run(folder.path(), &twice, 0);
    assert!(err.contains("18 of the 18 pictures are in --train too"), "{err}");
    let (out, _) = run(
        folder.path(),
        &["classify", "all/red", "--model", "features", "--head", "head.toml", "--top", "1"],
        0,
    );
    assert_eq!(out.matches("red\n").count(), 6, "{out}");
    let watch = [
        "run",
        "--no-state",
        "--model",
        "features",
        "--source",
        "dir:all/red",
        "--fps",
        "1",
        "--head",
        "head.toml",
    ];
    let (out, _) = run(folder.path(), &watch, 0);
    assert!(out.contains("\"label\":\"red\",\"state\":\"enter\""), "{out}");

    let (_, err) =
        run(folder.path(), &["classify", "all", "--model", "features", "--labels", "red"], 1);
    assert!(err.contains("has no text side") && err.contains("--head"), "{err}");
    let (_, err) = run(folder.path(), &["eval", "all", "--model", "features"], 1);
    assert!(err.contains("has no text side"), "{err}");
    assert!(model.exists());
}

#[test]
fn what_is_no_head_for_this_model_is_refused_with_the_way_out() {
    let folder = TempDir::new().unwrap();
    let here = folder.path();
    draw(&here.join("all"), 3);
    features(here);
    run(here, &["eval", "all", "--model", "features", "--linear-probe", "--save", "head.toml"], 0);
    let classify = ["classify", "all/red", "--head", "head.toml"];
    let (_, err) = run(here, &classify, 1);
    assert!(
        err.contains("was trained with the model edgeclip-mini") && err.contains("--model"),
        "{err}"
    );
    let sound = fs::read_to_string(here.join("head.toml")).unwrap();
    let spoilt = [
        ("version = 1", "version = 7", "version 7 is unknown"),
        ("embedding_dim = 256", "embedding_dim = 255", "bytes of weights"),
        ("weights = \"", "weights = \"*", "base64"),
        ("examples = 9", "exampels = 9", "unknown field"),
    ];
    for (from, to, words) in spoilt {
        assert!(sound.contains(from), "{from}");
        fs::write(here.join("head.toml"), sound.replacen(from, to, 1)).unwrap();
        for args in [
            &classify[..],
            &["run", "--no-state", "--source", "dir:all/red", "--head", "head.toml"],
        ] {
            let (_, err) = run(here, args, 1);
            assert!(err.contains(words) && err.contains("head.toml: line "), "{words}: {err}");
        }
    }
    let narrow = sound.replace("embedding_dim = 256", "embedding_dim = 255");
    let zeros = format!("weights = \"{}\"", "A".repeat(680));
    let as_zeros = |line: &str| {
        let line = if line.starts_with("weights") { &zeros } else { line };
        line.to_owned() + "\n"
    };
    let narrow: String = narrow.lines().map(as_zeros).collect();
    let many: String =
        (0..1001).map(|at| format!("[[class]]\nname = \"{at}\"\nbias = 0\n{zeros}\n")).collect();
    let many = narrow.split_once("[[class]]").unwrap().0.to_owned() + &many;
    let bias = sound.lines().find(|line| line.starts_with("bias")).unwrap();
    for (text, words) in [
        (narrow, "embedding_dim is 255, and 256 in the model"),
        (many, "1001 labels are more than the limit"),
        (sound.replace(bias, "bias = nan"), "not a finite number"),
        (sound.replace(bias, "bias = 1e300"), "not a finite number"),
        ("#".repeat(33 << 20), "file too large"),
    ] {
        fs::write(here.join("head.toml"), text).unwrap();
        for command in [
            &["classify", "all/red", "--model", "features"][..],
            &["run", "--no-state", "--source", "dir:all/red", "--model", "features"],
        ] {
            let (_, err) = run(here, &[command, &["--head", "head.toml"]].concat(), 1);
            let is_said = err.contains(words) || words.contains("large") && err.contains("limit");
            assert!(is_said && err.contains("head.toml"), "{words}: {err}");
        }
    }
    let (_, err) = run(here, &["run", "--head", "none.toml", "--source", "dir:all/red"], 1);
    assert!(err.contains("none.toml"), "{err}");
    let (_, err) = run(here, &["classify", "all", "--head", "head.toml", "--labels", "red"], 2);
    assert!(err.contains("cannot be used with"), "{err}");
    let (_, err) = run(here, &["eval", "all", "--save", "x.toml"], 2);
    assert!(err.contains("--linear-probe"), "{err}");
    fs::remove_dir_all(here.join("all/red")).unwrap();
    fs::remove_dir_all(here.join("all/none")).unwrap();
    let (_, err) = run(here, &["eval", "all", "--linear-probe"], 2);
    assert!(err.contains("--linear-probe: a probe tells classes apart"), "{err}");
}
