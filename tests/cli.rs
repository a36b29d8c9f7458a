//! Runs the program itself: what it prints, where, and how it ends.
//! No test depends on which label wins, so the model files may be replaced freely.
#![cfg(feature = "mini")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/edgeclip-mini");
const CAT: &[u8] = include_bytes!("../examples/images/cat.jpg");
const COFFEE: &[u8] = include_bytes!("../examples/images/coffee.jpg");

/// `edgeclip` in a folder. Spaces part the arguments except 'in quotes'; `< file` is its input.
fn command(folder: &Path, line: &str) -> Command {
    let (line, input) = line.split_once(" < ").unwrap_or((line, ""));
    let args = line.split('\'').enumerate().flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
    command.args(args).current_dir(folder).env_remove("EDGECLIP_LOG");
    let file = (!input.is_empty()).then(|| File::open(folder.join(input)).unwrap().into());
    command.stdin(file.unwrap_or_else(Stdio::null)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Standard output and standard error of a command that must end with this exit code.
fn run(folder: impl AsRef<Path>, line: &str, code: i32) -> (String, String) {
    let output = command(folder.as_ref(), line).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}\n{err}");
    assert!(!err.contains("panicked"), "{line}\n{err}");
    (String::from_utf8(output.stdout).unwrap(), err)
}

fn assert_has(line: &str, text: &str, words: &[&str]) {
    let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
    assert!(missing.is_empty(), "{line}\nno {missing:?} in:\n{text}");
}

/// The command ends with this exit code, no output, and these words on standard error, once.
fn refused(folder: impl AsRef<Path>, line: &str, code: i32, words: &[&str]) {
    let (out, err) = run(folder, line, code);
    assert_eq!(out, "", "{line}");
    assert_has(line, &err, words);
    for text in err.lines() {
        let parts = text.split(": ").collect::<BTreeSet<_>>();
        assert_eq!(parts.len(), text.split(": ").count(), "{line}\nsaid twice: {text}");
    }
}

fn json(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The JSON lines of a command without errors.
fn records(folder: impl AsRef<Path>, line: &str) -> Vec<Value> {
    let (out, err) = run(folder, line, 0);
    assert_eq!(err, "", "{line}");
    json(&out)
}

/// The one record of `edgeclip classify cat.jpg --json` with these options.
fn classify(folder: &TempDir, options: &str) -> Value {
    let records = records(folder, &format!("classify cat.jpg --json {options}"));
    assert_eq!(records.len(), 1, "{options}");
    records[0].clone()
}

/// A temporary folder with two pictures and these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, contents) in [&[("cat.jpg", CAT), ("coffee.jpg", COFFEE)], files].concat() {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    dir
}

/// `(label, score, cosine)` of each label, in the order printed.
fn ranking(record: &Value) -> Vec<(&str, f64, f64)> {
    let rows = record["labels"].as_array().unwrap().iter();
    let number = |value: &Value| value.as_f64().unwrap();
    let labels = rows.clone().map(|row| row["label"].as_str().unwrap());
    labels.zip(rows).map(|(l, row)| (l, number(&row["score"]), number(&row["cosine"]))).collect()
}

fn keys(record: &Value) -> String {
    record
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(" ")
}

fn embedding(record: &Value) -> Vec<f64> {
    record["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-4
}

#[test]
fn json_has_one_ranked_record_a_picture_and_the_same_each_time() {
    let dir = folder(&[("in/d.JPG", CAT), ("in/b/c.jpg", CAT), ("in/x.txt", b"x"), ("in/a", b"x")]);
    let line = "classify in coffee.jpg --labels 'cat, cup of coffee, sea' --json";
    let [mut first, mut second] = [(); 2].map(|()| records(&dir, line));
    let paths = first.iter().map(|record| Path::new(record["path"].as_str().unwrap()));
    assert_eq!(paths.collect::<Vec<_>>(), ["in/b/c.jpg", "in/d.JPG", "coffee.jpg"].map(Path::new));
    for record in first.iter_mut().chain(&mut second) {
        assert_eq!(keys(record), "label_set labels model ms path");
        assert_eq!(keys(&record["ms"].take()), "decode encode preprocess since_start");
        let rows = ranking(record);
        let labels = rows.iter().map(|row| row.0).collect::<BTreeSet<_>>();
        assert_eq!(labels, BTreeSet::from(["cat", "cup of coffee", "sea"]));
        assert!(rows.is_sorted_by(|a, b| a.1 >= b.1), "{rows:?}");
        assert!(close(rows.iter().map(|row| row.1).sum(), 1.0), "{rows:?}");
        let digests = ["model", "label_set"].map(|key| record[key].as_str().unwrap());
        assert!(digests.iter().all(|digest| digest.starts_with("sha256:")), "{record}");
    }
    assert_eq!(first, second);
}

#[test]
fn scores_are_the_softmax_of_the_scaled_cosines_of_the_embeddings() {
    let config = fs::read_to_string(Path::new(MODEL).join("model.toml")).unwrap();
    let scale = config.lines().find_map(|line| line.strip_prefix("logit_scale = "));
    let scale: f64 = scale.unwrap().parse().unwrap();
    let dir = folder(&[]);
    let record = classify(&dir, "--labels 'cat, cup of coffee, sea' --template 'one {}!'");
    let total: f64 = ranking(&record).iter().map(|row| (scale * row.2).exp()).sum();
    let picture = embedding(&records(&dir, "embed cat.jpg")[0]);
    for (label, score, cosine) in ranking(&record) {
        let text = embedding(&records(&dir, &format!("embed --text 'one {label}!'"))[0]);
        assert!(close(cosine, dot(&picture, &text)), "{label}: {cosine}");
        assert!(close(score, (scale * cosine).exp() / total), "{label}: {score}");
    }
}

#[test]
fn people_get_a_path_line_and_the_beginning_of_the_ranking_in_percent() {
    let line = "classify cat.jpg coffee.jpg --labels 'cat, cup of coffee, sea'";
    let dir = folder(&[]);
    let records = records(&dir, &format!("{line} --json"));
    for (option, kept) in [("", 3), ("--top 1", 1), ("--top 2", 2), ("--top 9", 3)] {
        let mut expected = String::new();
        for record in &records {
            expected += &format!("{}\n", record["path"].as_str().unwrap());
            for (label, score, _) in &ranking(record)[..kept] {
                expected += &format!("  {:>5.1} %  {label}\n", score * 100.0);
            }
        }
        assert_eq!(run(&dir, &format!("{line} {option}"), 0), (expected, String::new()));
    }
}

#[test]
fn every_kind_of_picture_is_classified() {
    let root = Path::new(ROOT).join("tests/data/preprocess");
    let entries = [root.clone(), root.join("expected")].map(|dir| fs::read_dir(dir).unwrap());
    let files = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let pictures = files.filter(|path| path.extension().is_some_and(|kind| kind != "json"));
    let records = records(&root, "classify . --labels cat,dog --json");
    assert_eq!(records.len(), pictures.count());
}

#[test]
fn dash_reads_one_picture_from_standard_input() {
    let dir = folder(&[("words", b"not a picture")]);
    let piped = records(&dir, "classify - --labels cat,dog --json < cat.jpg");
    assert_eq!(piped[0]["labels"], classify(&dir, "--labels cat,dog")["labels"]);
    let (out, err) = run(&dir, "classify - --labels cat --json < words", 1);
    assert_eq!(keys(&json(&out)[0]), "error path");
    assert_has("words", &err, &["-: ", "picture"]);
}

#[test]
fn labels_are_the_same_wherever_they_come_from() {
    let dir = folder(&[
        ("unix.txt", b"# things\ncat\n\n  cup of coffee \nsea"),
        ("windows.txt", b"\xef\xbb\xbfcat\r\ncup of coffee\r\n# more\r\nsea\r\n"),
    ]);
    let expected = classify(&dir, "--labels 'cat, cup of coffee, sea'");
    let repeated = "--labels cat --labels 'cup of coffee,sea'";
    for options in [repeated, "--labels-file unix.txt", "--labels-file windows.txt"] {
        let mut record = classify(&dir, options);
        record["ms"] = expected["ms"].clone();
        assert_eq!(record, expected, "{options}");
    }
    let other = classify(&dir, "--labels 'cat, cup of coffee, lake'");
    assert_ne!(other["label_set"], expected["label_set"]);
}

#[test]
fn a_toml_file_gives_templates_prompts_and_background() {
    let plain = "templates = ['my {}', '{}!']\n[[label]]\nname = 'Tom'\nprompts = ['cat']\n";
    let walls = format!("background = ['grey wall', 'noise']\n{plain}");
    let dir = folder(&[("plain.toml", plain.as_bytes()), ("walls.toml", walls.as_bytes())]);
    let cosine = |templates| ranking(&classify(&dir, &format!("--labels cat {templates}")))[0].2;
    let same = cosine("--template 'my {}' --template '{}!'");
    assert!(!close(same, cosine("--template 'my {}'")) && !close(same, cosine("--template '{}!'")));
    assert_eq!(ranking(&classify(&dir, "--labels-file plain.toml")), [("Tom", 1.0, same)]);
    let record = classify(&dir, "--labels-file walls.toml");
    let [(label, score, cosine)] = ranking(&record)[..] else { panic!("{record}") };
    assert_eq!((label, cosine), ("Tom", same));
    assert!(score > 0.0 && score < 0.999, "{score}");
}

#[test]
fn misuse_is_refused() {
    let dir = folder(&[("none/notes.txt", b"x"), ("labels.txt", b"cat\n")]);
    for (line, word) in [
        ("classify --labels cat", "IMAGE"),
        ("classify none --labels cat", "none"),
        ("classify cat.jpg", "--labels"),
        ("classify cat.jpg --labels ''", "label"),
        ("classify cat.jpg --labels cat,,dog", "label"),
        ("classify cat.jpg --labels 'cat, dog, Cat'", "Cat"),
        ("classify cat.jpg --labels cat --labels-file labels.txt", "--labels-file"),
        ("classify cat.jpg --labels-file absent.txt", "absent.txt"),
        ("classify cat.jpg --labels cat --colour", "--colour"),
        ("classify cat.jpg --labels cat --top 0", "--top"),
        ("classify cat.jpg --labels cat --template '{} or {}'", "{} or {}"),
        ("embed", "IMAGE"),
        ("embed cat.jpg --text 'a cat'", "--text"),
    ] {
        refused(&dir, line, 2, &[word]);
    }
}

#[test]
fn an_error_in_a_labels_file_names_the_file_and_the_line() {
    for (name, contents, words) in [
        ("none.txt", &b"# cat\n\n"[..], ["no labels", ""]),
        ("twice.txt", b"hot dog\n# two\n HOT  Dog\n", ["line 3", "HOT"]),
        ("latin1.txt", b"cat\nna\xefve\n", ["line 2", "UTF-8"]),
        ("syntax.toml", b"background = []\n[[label]\n", ["line 2", ""]),
        ("key.toml", b"[[label]]\nname = 'cat'\nnaem = 'dog'\n", ["line 3", "naem"]),
        ("twice.toml", b"[[label]]\nname = 'cat'\n[[label]]\nname = 'Cat'\n", ["line 4", "Cat"]),
        ("empty.toml", b"[[label]]\nname = 'cat'\n[[label]]\nname = ' '\n", ["line 4", "empty"]),
        ("place.toml", b"# mine\ntemplates = ['my']\n[[label]]\nname = 'cat'\n", ["line 2", "{}"]),
    ] {
        let line = format!("classify cat.jpg --labels-file {name}");
        refused(folder(&[(name, contents)]), &line, 2, &[name, words[0], words[1]]);
    }
}

#[test]
fn a_text_too_long_for_the_model_is_named() {
    let long = format!("{}cat", "very ".repeat(40));
    for options in ["classify cat.jpg --labels dog --labels", "embed --text dog --text"] {
        refused(folder(&[]), &format!("{options} '{long}'"), 1, &[&long]);
    }
}

#[test]
fn a_picture_that_fails_is_reported_and_the_rest_go_on() {
    let line = "classify absent.jpg tests/data/broken examples/images/cat.jpg --labels cat,dog";
    let names = ["absent", "empty", "huge", "not-a-picture", "truncated.jpg", "truncated.png"];
    let (out, err) = run(ROOT, line, 1);
    assert_has(line, &err, &names);
    assert_has(line, &err, &["has 20000 x 20000 pixels, the limit is 64 million", "is cut off"]);
    assert!(out.starts_with("examples/images/cat.jpg\n"), "{out}");
    let (out, _) = run(ROOT, &format!("{line} --json"), 1);
    let records = json(&out);
    for (record, name) in records.iter().zip(names) {
        assert_eq!(keys(record), "error path");
        assert!(record["path"].as_str().unwrap().contains(name), "{record} is not {name}");
    }
    assert_eq!(ranking(&records[6]).len(), 2);
}

/// A temporary folder with two pictures and a copy of the built-in model in `model`.
fn model_copy() -> TempDir {
    let dir = folder(&[("model/vision.onnx", b"")]);
    for name in ["model.toml", "vision.onnx", "text.onnx", "tokenizer.json"] {
        fs::copy(Path::new(MODEL).join(name), dir.path().join("model").join(name)).unwrap();
    }
    dir
}

fn edit(file: PathBuf, change: fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn replace(file: PathBuf, old: &str, new: &str) {
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(old), "no {old:?} in {}", file.display());
    fs::write(file, text.replacen(old, new, 1)).unwrap();
}

/// Cuts the graph in half and puts the digest of what is left into model.toml.
fn truncate_vision(model: &Path) {
    edit(model.join("vision.onnx"), |bytes| bytes.truncate(bytes.len() / 2));
    let digest = Sha256::digest(fs::read(model.join("vision.onnx")).unwrap());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    replace(model.join("model.toml"), "sha256 = \"", &format!("sha256 = \"{hex}\" # not "));
}

#[test]
fn a_damaged_model_is_refused() {
    type Case<'a> = (fn(&Path), &'a [&'a str]);
    let cases: [Case<'_>; 12] = [
        (|m| fs::remove_dir_all(m).unwrap(), &["model"]),
        (|m| fs::remove_file(m.join("model.toml")).unwrap(), &["model.toml"]),
        (|m| replace(m.join("model.toml"), "\n", "\nhue = 2\n"), &["model.toml", "line 2", "hue"]),
        (|m| fs::remove_file(m.join("vision.onnx")).unwrap(), &["vision.onnx"]),
        (|m| edit(m.join("vision.onnx"), |bytes| bytes[5000] ^= 1), &["vision.onnx", "SHA-256"]),
        (|m| edit(m.join("text.onnx"), |bytes| bytes[5000] ^= 1), &["text.onnx", "SHA-256"]),
        (truncate_vision, &["vision"]),
        (|m| replace(m.join("model.toml"), "image_size = 64", "image_size = 32"), &["vision"]),
        (|m| replace(m.join("model.toml"), "_dim = 256", "_dim = 128"), &["128", "256"]),
        (|m| replace(m.join("model.toml"), "h = 32", "h = 77"), &["text.onnx", "77 tokens"]),
        (
            |m| replace(m.join("model.toml"), "\"none\"", "{ id = 99999, to = 9 }"),
            &["token 99999 is outside", "2048"],
        ),
        (|m| replace(m.join("model.toml"), "logit_scale = ", "logit_scale = inf # "), &["line 6"]),
    ];
    for (damage, words) in cases {
        let dir = model_copy();
        damage(&dir.path().join("model"));
        refused(&dir, "classify cat.jpg --labels cat --model model", 1, words);
    }
}

#[test]
fn embeddings_are_unit_vectors_and_the_same_from_a_copy_of_the_model() {
    let dir = model_copy();
    for (line, key, inputs) in [
        ("embed cat.jpg coffee.jpg --json", "path", ["cat.jpg", "coffee.jpg"]),
        ("embed --text 'a cat' --text 'a, b'", "text", ["a cat", "a, b"]),
    ] {
        let copied = records(&dir, &format!("{line} --model model"));
        let records = records(&dir, line);
        assert_eq!(records, copied);
        assert_eq!(records.iter().map(|record| &record[key]).collect::<Vec<_>>(), inputs);
        for record in &records {
            assert_eq!(keys(record), format!("embedding model {key}"));
            let values = embedding(record);
            assert_eq!(values.len(), 256);
            assert!(close(dot(&values, &values), 1.0), "{record}");
        }
        assert_ne!(records[0]["embedding"], records[1]["embedding"]);
    }
    let (out, _) = run(&dir, "embed absent.jpg cat.jpg", 1);
    assert_eq!(json(&out).last(), records(&dir, "embed cat.jpg").first());
}

#[test]
fn npy_has_the_values_of_the_json_lines() {
    for line in ["embed cat.jpg coffee.jpg", "embed --text 'a cat' --text 'a dog'"] {
        let dir = folder(&[("out.npy", b"old")]);
        assert_eq!(records(&dir, &format!("{line} --npy out.npy")), Vec::<Value>::new());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
        let bytes = fs::read(dir.path().join("out.npy")).unwrap();
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
        let (start, values) = bytes.split_at(10 + usize::from(bytes[8]));
        let words = ["'descr': '<f4'", "'fortran_order': False", "'shape': (2, 256)"];
        assert_has(line, str::from_utf8(&start[10..]).unwrap(), &words);
        let expected = records(&dir, line);
        let expected = expected.iter().flat_map(embedding).flat_map(|v| (v as f32).to_le_bytes());
        assert_eq!(values, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_failed_npy_leaves_the_folder_as_it_was() {
    for files in [&[][..], &[("out.npy", &b"old"[..])]] {
        let dir = folder(files);
        refused(&dir, "embed cat.jpg absent.jpg --npy out.npy", 1, &["absent.jpg"]);
        refused(&dir, "embed cat.jpg --npy absent/out.npy", 1, &["absent"]);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2 + files.len());
        assert!(files.iter().all(|(name, old)| fs::read(dir.path().join(name)).unwrap() == *old));
    }
}

#[test]
fn help_and_version_succeed() {
    let version = env!("CARGO_PKG_VERSION");
    let cases = [("--version", version), ("classify --help", "--labels-file"), ("--help", "embed")];
    for (line, word) in cases {
        assert_has(line, &run(ROOT, line, 0).0, &[word]);
    }
}

#[test]
fn a_closed_output_ends_the_program_quietly() {
    let dir = folder(&[]);
    for option in ["", "--json"] {
        let line = format!("classify {} --labels cat {option}", "cat.jpg ".repeat(50));
        let mut child = command(dir.path(), &line).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let err = child.wait_with_output().unwrap().stderr;
        assert_eq!(String::from_utf8(err).unwrap(), "");
    }
}
