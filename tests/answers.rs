//! The program's answers to the example pictures are the same on every machine: those in `tests/data/answers`, which
//! an x86-64 CPU gave (`EDGECLIP_ANSWERS=write cargo test --release --test answers` writes them anew, when the model
//! or the pictures change). An emulator that runs this test must be named in `EDGECLIP_RUNNER`.
#![cfg(feature = "mini")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Farthest that a fraction may be from the golden one. Embeddings have the same bits wherever a multiply-add is rounded
/// once, which 32-bit Arm does not promise; for scores, `exp` is the system's; events round to four places.
const EMBED_TOLERANCE: f64 = if cfg!(target_pointer_width = "64") { 0.0 } else { 1e-6 };
const CLASSIFY_TOLERANCE: f64 = 1e-6;
const EVENT_TOLERANCE: f64 = 1.5e-4;

/// The program, by the emulator that runs this test, if one does: the system doesn't know it.
fn edgeclip() -> Command {
    let runner = std::env::var("EDGECLIP_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([env!("CARGO_BIN_EXE_edgeclip")]);
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

/// Takes the fractions out of an answer, wherever they are.
fn take_fractions(value: &mut Value, fractions: &mut Vec<f64>) {
    match value {
        Value::Number(number) if number.is_f64() => {
            fractions.extend(number.as_f64());
            *value = Value::Null;
        }
        Value::Object(map) => {
            for value in map.values_mut() {
                take_fractions(value, fractions);
            }
        }
        Value::Array(values) => {
            for value in values {
                take_fractions(value, fractions);
            }
        }
        _ => {}
    }
}

fn assert_same(found: Vec<Value>, golden: Vec<Value>, tolerance: f64) {
    assert_eq!(found.len(), golden.len());
    for (mut found, mut golden) in found.into_iter().zip(golden) {
        let [mut its, mut wanted] = [vec![], vec![]];
        take_fractions(&mut found, &mut its);
        take_fractions(&mut golden, &mut wanted);
        assert_eq!(found, golden);
        assert_eq!(its.len(), wanted.len());
        for (its, wanted) in its.iter().zip(&wanted) {
            assert!((its - wanted).abs() <= tolerance, "{its} is not {wanted}: {found}");
        }
    }
}

#[test]
fn embeddings_are_the_same() {
    let mut found = answers(&["embed", "examples/images"]);
    found.extend(answers(&["embed", "--text", "a photo of a cat", "--text", "two red circles"]));
    assert_eq!(found.len(), 10);
    assert_same(found.clone(), golden("embed.jsonl", &found), EMBED_TOLERANCE);
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
