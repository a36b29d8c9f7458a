//! The folder of models: `model list`, `model rm`, and `--model NAME` wherever a model is named.

use std::fs;

use serde_json::Value;

use crate::names;
use crate::program::{MODEL, Place, assert_has};
use crate::server::Hub;

/// A place with the built-in model as `a.eclip` and `b/`, and what is no model.
fn place() -> Place {
    let place = Place::new(&Hub::start(&[]));
    fs::create_dir(place.path("models")).unwrap();
    place.run(&format!("model pack models/a.eclip --for neon --model {MODEL}"), 0);
    fs::create_dir(place.path("models/b")).unwrap();
    for entry in fs::read_dir(MODEL).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), place.path("models/b").join(entry.file_name())).unwrap();
        }
    }
    fs::write(place.path("models/note.txt"), "x").unwrap();
    fs::write(place.path("models/.edgeclip-part"), "x").unwrap();
    place
}

#[test]
fn models_are_listed_damaged_ones_too() {
    let place = place();
    fs::write(place.path("models/c.eclip"), "no model").unwrap();
    let whole = fs::read(place.path("models/a.eclip")).unwrap();
    fs::write(place.path("models/d.eclip"), &whole[..whole.len() / 2]).unwrap();
    fs::create_dir(place.path("models/e")).unwrap();
    let (out, _) = place.run("model list --json", 0);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listed: Vec<&str> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(listed, ["a", "b", "c", "d", "e"]);
    assert_eq!(
        (&lines[0]["kernel"], lines[0]["bytes"].as_u64()),
        (&"neon".into(), Some(whole.len() as u64))
    );
    assert_eq!(lines[0]["model"], lines[1]["model"]);
    assert_eq!(lines[1]["kernel"], Value::Null);
    for (line, word) in
        lines[2..].iter().zip(["neither a packed model", "cut off", "no model.toml"])
    {
        assert!(line["error"].as_str().unwrap().contains(word), "{line}");
    }
    let (out, _) = place.run("model list", 0);
    assert_has(&out, &["a  ", "packed for neon", "b  ", "bundle's folder", "c  8 B, damaged: "]);
    assert!(!out.contains("note"), "{out}");
    fs::remove_dir_all(place.path("models")).unwrap();
    let (out, err) = place.run("model list", 0);
    assert!(out.is_empty());
    assert_has(&err, &["no models in", "edgeclip model pull"]);
}

#[test]
fn models_are_removed_whole_and_nothing_else() {
    let place = place();
    fs::create_dir(place.path("models/photos")).unwrap();
    fs::write(place.path("models/notes.eclip"), "no model").unwrap();
    let before = names(&place.path("models"));
    for (line, code, word) in [
        ("model rm", 2, "NAME"),
        ("model rm a", 2, "--yes"),
        ("model rm nothing --yes", 1, "there is no model nothing"),
        ("model rm a nothing --yes", 1, "there is no model nothing"),
        ("model rm note.txt --yes", 1, "there is no model note.txt"),
        ("model rm ../models/a --yes", 1, "there is no model"),
        ("model rm .edgeclip-part --yes", 1, "there is no model"),
        ("model rm photos --yes", 1, "models/photos is no model of edgeclip"),
        ("model rm a notes --yes", 1, "models/notes.eclip is no model of edgeclip"),
    ] {
        let (_, err) = place.run(line, code);
        assert_has(&err, &[word]);
        assert_eq!(names(&place.path("models")), before, "{line}");
    }
    // A link goes, and what it leads to stays.
    fs::create_dir(place.path("elsewhere")).unwrap();
    fs::write(place.path("elsewhere/model.toml"), "format = 9").unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("models/link")).unwrap();
    let (_, err) = place.run("model rm b link --yes", 0);
    assert_has(&err, &["removed", "models/b", "models/link"]);
    assert!(place.path("elsewhere/model.toml").is_file());
    let left = [".edgeclip-part", "a.eclip", "note.txt", "notes.eclip", "photos"];
    assert_eq!(names(&place.path("models")), left);
}

#[test]
fn a_name_means_the_same_in_each_command() {
    let place = place();
    fs::write(place.path("run.toml"), "[model]\npath = \"b\"\n").unwrap();
    fs::write(place.path("labels.txt"), "cat\ndog\n").unwrap();
    let digest = place.json("model info --json --model a")["model"].clone();
    assert_eq!(place.json("model info --json --model b")["model"], digest);
    assert_eq!(place.json("model info --json --model models/a.eclip")["model"], digest);
    place.run("model pack again.eclip --model b", 0);
    place.run("labels check labels.txt --config run.toml", 0);
    place.run("labels check labels.txt --config run.toml --model a", 0);
    place.run("embed --text cat --model a", 0);
    // A path that is there wins, even over a model of this name.
    fs::create_dir(place.path("a")).unwrap();
    let (_, err) = place.run("model info --model a", 1);
    assert_has(&err, &["a is not a model bundle"]);
    for line in
        ["model info --model c", "embed --text cat --model c", "model pack x.eclip --model c"]
    {
        let (_, err) = place.run(line, 1);
        let folder = place.path("models");
        let words = [
            "there is no model c",
            "c.eclip or c/",
            folder.to_str().unwrap(),
            "model list",
            "model pull",
        ];
        assert_has(&err, &words);
    }
    fs::write(place.path("run.toml"), "[model]\npath = \"c\"\n").unwrap();
    let (_, err) = place.run("labels check labels.txt --config run.toml", 1);
    assert_has(&err, &["there is no model c"]);
    let (_, err) = place.run("model info --model ./c", 1);
    assert!(!err.contains("model list"), "{err}");
}
