//! The program's answers to the example pictures are the same on every machine: those in `tests/data/answers`, which
//! an x86-64 CPU gave (`EDGECLIP_ANSWERS=write cargo test --release --test answers` writes them anew, when the model
//! or the pictures change). On `AArch64` they may come out of an emulator.
#![cfg(feature = "mini")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Farthest that a score may be from the golden one: `exp` is the system's, and events round to four places.
const CLASSIFY_TOLERANCE: f64 = 1e-6;
const EVENT_TOLERANCE: f64 = 1.5e-4;

/// The program, by the emulator that cargo runs this test with, if it's one: the system doesn't know it.
fn edgeclip() -> Command {
    let program = env!("CARGO_BIN_EXE_edgeclip");
    let runner = std::env::var("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER");
    let runner = runner.ok().filter(|_| cfg!(all(target_arch = "aarch64", target_env = "gnu")));
    let mut words = runner.iter().flat_map(|runner| runner.split_whitespace()).chain([program]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("EDGECLIP_LOG");
    command
}

/// The lines that it prints.
fn answers(arguments: &[&str]) -> Vec<Value> {
    let output = edgeclip().args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {words}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a file of golden lines says, after they were written anew if that is asked for.
fn golden(name: &str, found: &[Value]) -> Vec<Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/answers").join(name);
    if std::env::var("EDGECLIP_ANSWERS").is_ok_and(|value| value == "write") {
        let lines: String = found.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&file, lines).unwrap();
    }
    let text = fs::read_to_string(&file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Takes the scores out of an answer, wherever they are.
fn take_scores(value: &mut Value, scores: &mut Vec<f64>) {
    match value {
        Value::Object(map) => {
            if let Some(score) = map.remove("score") {
                scores.push(score.as_f64().unwrap());
            }
            map.values_mut().for_each(|value| take_scores(value, scores));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| take_scores(value, scores)),
        _ => {}
    }
}

fn assert_same(found: Vec<Value>, golden: Vec<Value>, tolerance: f64) {
    assert_eq!(found.len(), golden.len());
    for (mut found, mut golden) in found.into_iter().zip(golden) {
        let [mut its, mut wanted] = [vec![], vec![]];
        take_scores(&mut found, &mut its);
        take_scores(&mut golden, &mut wanted);
        assert_eq!(found, golden);
        assert_eq!(its.len(), wanted.len());
        for (its, wanted) in its.iter().zip(&wanted) {
            assert!((its - wanted).abs() <= tolerance, "{its} is not {wanted}: {found}");
        }
    }
}

#[test]
fn embeddings_have_the_same_bits() {
    let mut found = answers(&["embed", "examples/images"]);
    found.extend(answers(&["embed", "--text", "a photo of a cat", "--text", "two red circles"]));
    assert_eq!(found.len(), 10);
    assert_same(found.clone(), golden("embed.jsonl", &found), 0.0);
}

#[test]
fn pictures_are_classified_alike() {
    let labels = "examples/cards/labels.toml";
    let mut found = answers(&["classify", "examples/images", "--labels-file", labels, "--json"]);
    for line in &mut found {
        line.as_object_mut().unwrap().remove("ms").unwrap();
    }
    assert_eq!(found.len(), 8);
    assert_same(found.clone(), golden("classify.jsonl", &found), CLASSIFY_TOLERANCE);
}

#[test]
fn events_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edgeclip.toml");
    let quick = "device = \"board\"\n[decide]\nsmoothing = { kind = \"off\" }\nenter = 0.5\ndwell_ms = 0\nhold_ms = 0\n[http]\nenabled = false\n";
    fs::write(&config, quick).unwrap();
    let mut run = vec!["run", "--source", "dir:examples/images", "--fps", "1"];
    run.extend(["--labels-file", "examples/cards/labels.toml"]);
    run.extend(["--config", config.to_str().unwrap()]);
    run.extend(["--state-dir", folder.path().to_str().unwrap()]);
    let found = answers(&run);
    assert!(found.len() > 8, "only {} events", found.len());
    assert_same(found.clone(), golden("events.jsonl", &found), EVENT_TOLERANCE);
}
