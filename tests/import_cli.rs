//! `edgeclip model import` and `verify` on a published folder made of the built-in model's files: what comes of it, and
//! what is said of folders that are wrong.
#![cfg(feature = "mini")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const MINI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/edgeclip-mini");
const CAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/images/cat.jpg");

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

/// The folder as transformers would lay it out.
fn published(folder: &Path) -> PathBuf {
    let model = folder.join("published");
    fs::create_dir_all(model.join("onnx")).unwrap();
    for (from, to) in [
        ("vision.onnx", "onnx/vision_model.onnx"),
        ("text.onnx", "onnx/text_model.onnx"),
        ("tokenizer.json", "tokenizer.json"),
    ] {
        fs::copy(Path::new(MINI).join(from), model.join(to)).unwrap();
    }
    let config = json!({
        "model_type": "clip", "projection_dim": 256, "logit_scale": 34.2352,
        "text_config": {"max_position_embeddings": 32}, "vision_config": {"image_size": 64}
    });
    let processor = json!({
        "do_resize": true, "size": {"shortest_edge": 64}, "resample": 3,
        "do_center_crop": true, "crop_size": {"height": 64, "width": 64},
        "do_rescale": true, "rescale_factor": 0.003_921_568_627_450_98, "do_normalize": true,
        "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73],
        "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11]
    });
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    fs::write(model.join("preprocessor_config.json"), processor.to_string()).unwrap();
    fs::write(
        model.join("README.md"),
        "---\nlanguage: en\nlicense: cc-by-nc-4.0\n---\n# A model\n",
    )
    .unwrap();
    model
}

fn change(file: &Path, field: &str, value: Value) {
    let mut settings: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    settings[field] = value;
    fs::write(file, settings.to_string()).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_published_folder_answers_as_the_model_it_was_made_of() {
    let folder = TempDir::new().unwrap();
    published(folder.path());
    let import =
        ["model", "import", "published", "bundle", "--template", "a photo of a {}", "--json"];
    let (out, err) = run(folder.path(), &import, 0);
    assert!(err.contains("fp32, the most exact"), "{err}");
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&line["name"], &line["licence"]), (&json!("published"), &json!("cc-by-nc-4.0")));
    run(folder.path(), &["model", "import", "published", "clip.eclip"], 0);

    let embed = |model: &[&str]| {
        let inputs: [&[&str]; 2] = [&["embed", CAT], &["embed", "--text", "a cat &amp; a dog"]];
        inputs.map(|input| {
            let (out, _) = run(folder.path(), &[input, model].concat(), 0);
            serde_json::from_str::<Value>(&out).unwrap()["embedding"].clone()
        })
    };
    let own = embed(&[]);
    assert_eq!(embed(&["--model", "bundle"]), own);
    assert_eq!(embed(&["--model", "clip.eclip"]), own);

    let manifest = fs::read_to_string(folder.path().join("bundle/model.toml")).unwrap();
    for line in [
        "logit_scale = 34.2352",
        "context_length = 32",
        "pad = \"none\"",
        "graphs = \"onnx/vision_model.onnx and",
    ] {
        assert!(manifest.contains(line), "no {line} in\n{manifest}");
    }
    // A bundle can be taken in again, and is the same.
    run(folder.path(), &["model", "import", "bundle", "again"], 0);
    assert_eq!(fs::read_to_string(folder.path().join("again/model.toml")).unwrap(), manifest);
    assert_eq!(names(folder.path()), ["again", "bundle", "clip.eclip", "published"]);
}

#[test]
fn what_is_wrong_is_named_and_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let refuse = |spoil: &dyn Fn(&Path), args: &[&str], words: &str| {
        let model = published(folder.path());
        spoil(&model);
        let args = [&["model", "import", "published", "bundle"], args].concat();
        let (out, err) = run(folder.path(), &args, 1);
        assert_eq!(out, "");
        assert!(err.contains(words), "no {words:?} in {err}");
        assert_eq!(names(folder.path()), ["published"]);
        fs::remove_dir_all(model).unwrap();
    };
    let remove =
        |file: &'static str| move |model: &Path| fs::remove_file(model.join(file)).unwrap();
    let config = |field: &'static str, value: Value| {
        move |model: &Path| change(&model.join("config.json"), field, value.clone())
    };
    let none: [&str; 0] = [];
    refuse(&remove("config.json"), &none, "config.json: it is missing or has no model_type");
    refuse(&remove("tokenizer.json"), &none, "tokenizer.json: it is missing");
    refuse(&remove("preprocessor_config.json"), &none, "preprocessor_config.json: it is missing");
    refuse(
        &|model| fs::remove_dir_all(model.join("onnx")).unwrap(),
        &none,
        "it holds no ONNX graphs",
    );
    refuse(&|_| {}, &["--variant", "q4"], "it holds no q4 graphs; it holds fp32");
    refuse(
        &config("model_type", json!("blip")),
        &none,
        "config.json: model_type is blip: known are",
    );
    refuse(&config("logit_scale", Value::Null), &none, "--logit-scale");
    refuse(&config("logit_scale", json!("large")), &none, "logit_scale is \"large\"");
    refuse(&config("projection_dim", json!(-1)), &none, "projection_dim is -1, a whole number");
    let cut = |file: &'static str| {
        move |model: &Path| {
            let path = model.join(file);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
    };
    refuse(&cut("onnx/text_model.onnx"), &none, "onnx/text_model.onnx");
    refuse(&cut("tokenizer.json"), &none, "tokenizer.json");
    refuse(&cut("config.json"), &none, "config.json");
    refuse(&|_| {}, &["--template", "no place"], "needs exactly one {}");

    let model = published(folder.path());
    fs::create_dir(folder.path().join("bundle")).unwrap();
    let (_, err) = run(folder.path(), &["model", "import", "published", "bundle"], 2);
    assert!(err.contains("bundle is there already"), "{err}");
    let (_, err) =
        run(folder.path(), &["model", "import", "published", "x.eclip", "--for", "mmx"], 2);
    assert!(err.contains("there is no kernel 'mmx'"), "{err}");
    assert!(model.exists());
    assert_eq!(names(folder.path()), ["bundle", "published"]);
}

#[test]
fn what_is_in_the_way_is_refused_before_anything_is_made() {
    let folder = TempDir::new().unwrap();
    published(folder.path());
    fs::write(folder.path().join("letter.eclip"), "dear reader").unwrap();
    fs::create_dir(folder.path().join("box.eclip")).unwrap();
    for (args, words) in [
        (&["letter.eclip"][..], "letter.eclip is there and is no packed model"),
        (&["box.eclip"], "box.eclip is there and is no packed model"),
        (&["bundle", "--for", "neon"], "--for is for a packed model"),
        (&["no/such/place"], "no/such/place: its folder is not there"),
    ] {
        let args = [&["model", "import", "published"], args].concat();
        let (_, err) = run(folder.path(), &args, 2);
        assert!(err.contains(words), "no {words:?} in {err}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("letter.eclip")).unwrap(), "dear reader");
    assert_eq!(names(folder.path()), ["box.eclip", "letter.eclip", "published"]);
}

#[test]
fn what_the_user_knows_better_holds_for_a_bundle_too() {
    let folder = TempDir::new().unwrap();
    let import = ["model", "import", MINI, "bundle"];
    let better =
        ["--name", "mine", "--licence", "mit", "--logit-scale", "50", "--template", "one {}"];
    run(folder.path(), &[&import[..], &better].concat(), 0);
    let manifest = fs::read_to_string(folder.path().join("bundle/model.toml")).unwrap();
    for line in
        ["name = \"mine\"", "licence = \"mit\"", "logit_scale = 50.0", "templates = [\"one {}\"]"]
    {
        assert!(manifest.contains(line), "no {line} in\n{manifest}");
    }
    fs::remove_dir_all(folder.path().join("bundle")).unwrap();
    for (args, words) in [
        (["--variant", "int8"], "whose graphs are chosen"),
        (["--name", "two\nlines"], "name is \"two\\nlines\": it must be words on one line"),
        (["--logit-scale", "0"], "logit_scale must be a number above 0"),
        (["--template", "no place"], "needs exactly one {}"),
    ] {
        let (_, err) = run(folder.path(), &[&import[..], &args].concat(), 1);
        assert!(err.contains(words) && !err.contains(".edgeclip-"), "no {words:?} in {err}");
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn what_a_killed_import_leaves_is_gone_with_the_next_one() {
    let folder = TempDir::new().unwrap();
    for _ in 0..3 {
        let mut import = Command::new(env!("CARGO_BIN_EXE_edgeclip"))
            .args(["model", "import", MINI, "killed"])
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        let begun = || {
            let part = |name: &String| name.starts_with(".edgeclip-");
            let mut parts = names(folder.path()).into_iter().filter(part);
            parts.any(|name| folder.path().join(name).join("vision.onnx").exists())
        };
        while !begun() && import.try_wait().unwrap().is_none() {}
        import.kill().unwrap();
        import.wait().unwrap();
    }
    run(folder.path(), &["model", "import", MINI, "mini.eclip"], 0);
    let left = names(folder.path());
    assert!(left == ["mini.eclip"] || left == ["killed", "mini.eclip"], "{left:?}");
}

#[test]
fn damage_is_noticed_by_verify_and_before_a_run() {
    let folder = TempDir::new().unwrap();
    published(folder.path());
    run(folder.path(), &["model", "import", "published", "bundle"], 0);
    run(folder.path(), &["model", "verify", "--model", "bundle"], 0);
    let bundle = folder.path().join("bundle");
    let manifest = fs::read_to_string(bundle.join("model.toml")).unwrap();

    // Another mean is what a wrong kernel would be: everything loads, and the answers are wrong.
    fs::write(bundle.join("model.toml"), manifest.replace("0.4578275", "3.4578275")).unwrap();
    let (out, err) = run(folder.path(), &["model", "verify", "--model", "bundle"], 1);
    assert!(out.contains("image tower: cosine 0."), "{out}");
    assert!(err.contains("computes something else"), "{err}");
    let watch =
        ["run", "--model", "bundle", "--source", &format!("file:{CAT}"), "--labels", "a cat"];
    let (out, err) = run(folder.path(), &watch, 1);
    assert!(err.contains("the image tower computes something else"), "{err}");
    assert_eq!(out, "");

    fs::write(bundle.join("model.toml"), &manifest).unwrap();
    let golden = bundle.join("golden.safetensors");
    let mut bytes = fs::read(&golden).unwrap();
    bytes[1000] ^= 1;
    fs::write(&golden, bytes).unwrap();
    let (_, err) = run(folder.path(), &["model", "verify", "--model", "bundle"], 1);
    assert!(err.contains("golden.safetensors is damaged or was changed"), "{err}");
}
