//! The commands about models and speed, as a user runs them.
#![cfg(feature = "mini")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Standard output and standard error of `edgeclip`, which must end with this exit code.
fn run(folder: &Path, line: &str, code: i32) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_edgeclip"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_remove("EDGECLIP_LOG")
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(code), "{line}\n{err}");
    assert!(!err.contains("panicked"), "{line}\n{err}");
    (out, err)
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let cat = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images/cat.jpg");
    fs::copy(cat, folder.path().join("cat.jpg")).unwrap();
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

#[test]
fn bench_tells_times_operators_and_memory() {
    let folder = folder();
    for (arguments, kernel, threads) in [
        ("--kernel scalar --threads 2", "scalar", 2),
        ("--precision float", "float", 1),
        ("cat.jpg --precision int8 --kernel scalar --threads 1", "scalar", 1),
    ] {
        let (out, err) = run(folder.path(), &format!("bench {arguments} --frames 3 --json"), 0);
        assert_eq!(err, "");
        let answer = json(&out);
        assert_eq!(answer["kernel"], kernel);
        assert_eq!(answer["threads"], threads);
        assert_eq!(answer["frames"], 3);
        let times = &answer["encode_ms"];
        let [p10, median, p90] = ["p10", "median", "p90"].map(|key| times[key].as_f64().unwrap());
        assert!(0.0 < p10 && p10 <= median && median <= p90, "{times}");
        let operators = answer["operators"].as_array().unwrap();
        let shares: f64 = operators.iter().map(|o| o["share"].as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-6, "{shares}");
        let names: Vec<&str> = operators.iter().map(|o| o["name"].as_str().unwrap()).collect();
        assert_eq!(names.contains(&"Int8Convolution"), kernel != "float", "{names:?}");
        assert!(answer["allocations"].as_u64().unwrap() > 0);
    }
    let (out, _) = run(folder.path(), "bench --frames 1", 0);
    for word in ["edgeclip-mini", "preprocess", "encode", "Int8Convolution", "GOP/s", "memory"] {
        assert!(out.contains(word), "no {word} in:\n{out}");
    }
}

#[test]
fn bench_pipeline_tells_what_the_loop_takes_beside_the_tower() {
    let folder = folder();
    for pictures in ["", "cat.jpg", "."] {
        let line = format!("bench {pictures} --pipeline --threads 1 --frames 5 --json");
        let (out, err) = run(folder.path(), &line, 0);
        assert_eq!(err, "");
        let answer = json(&out);
        assert_eq!((&answer["width"], &answer["height"]), (&640.into(), &480.into()));
        for encoding in ["yuyv", "mjpeg"] {
            let measured = &answer[encoding];
            let median = |value: &Value| value["median"].as_f64().unwrap();
            let stages = measured["stages"].as_array().unwrap();
            let names: Vec<&str> = stages.iter().map(|s| s["name"].as_str().unwrap()).collect();
            assert_eq!(
                names,
                ["capture", "develop", "preprocess", "encode", "score", "decide", "status"]
            );
            assert!(stages.iter().all(|stage| median(&stage["ms"]) >= 0.0), "{measured}");
            assert!(median(&stages[1]["ms"]) > 0.0 && median(&stages[3]["ms"]) > 0.0, "{measured}");
            let (others, all) = (median(&measured["others_ms"]), median(&measured["all_ms"]));
            let share = measured["others_share"].as_f64().unwrap();
            assert!(
                0.0 < others && others < all && (share - others / all).abs() < 1e-6,
                "{measured}"
            );
        }
    }
    let (out, _) = run(folder.path(), "bench --pipeline --frames 1", 0);
    for word in ["640 x 480", "YUYV", "MJPEG", "develop", "all but encode", "%"] {
        assert!(out.contains(word), "no {word} in:\n{out}");
    }
}

/// Words that a name could be one of.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_alphanumeric() && !"-_:".contains(c)).collect()
}

#[test]
fn bench_report_writes_a_record_and_its_page_and_nothing_private() {
    let folder = folder();
    fs::create_dir(folder.path().join("annas-results")).unwrap();
    let line = "bench cat.jpg --report=annas-results --seconds 1 --frames 3 --threads 1 --kernel scalar --note a|fan";
    let (out, err) = run(folder.path(), line, 0);
    assert!(err.contains("attach both to an issue"), "{err}");
    let files: Vec<&str> = out.lines().collect();
    assert_eq!(files.len(), 2, "{out}");
    let stem = files[0].strip_suffix(".json").expect(files[0]);
    assert!(stem.starts_with("annas-results/"), "{stem}");
    assert_eq!(files[1], format!("{stem}.md"));
    let [text, page] = [0, 1].map(|at| fs::read_to_string(folder.path().join(files[at])).unwrap());
    let record = json(&text);
    assert_eq!((&record["format"], &record["note"]), (&1.into(), &"a|fan".into()));
    assert_eq!(record["compute"]["kernel"], "scalar");
    assert_eq!(record["compute"]["threads"], 1);
    assert_eq!(record["machine"]["arch"], std::env::consts::ARCH);
    let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_f64).expect(pointer);
    assert!(number("/sustained/seconds") >= 1.0);
    let rate = number("/sustained/frames") / number("/sustained/seconds");
    assert!((number("/sustained/frames_per_s") - rate).abs() < 1e-6);
    for times in ["/tower/encode_ms", "/camera/yuyv/all_ms", "/camera/mjpeg/all_ms"] {
        let [p10, median, p90] =
            ["p10", "median", "p90"].map(|part| number(&format!("{times}/{part}")));
        assert!(0.0 < p10 && p10 <= median && median <= p90, "{times}");
    }
    assert!(number("/sustained/first_tenth_ms") > 0.0 && number("/sustained/last_tenth_ms") > 0.0);
    assert!(record["tower"]["operators"].as_array().unwrap().len() > 3);
    for word in ["frames a second", "edgeclip-mini", "scalar", "1 thread", "a\\|fan", "not told"] {
        assert!(page.contains(word), "no {word} in:\n{page}");
    }
    // Neither whose machine it is nor where it was run.
    let tell = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let mut secrets: Vec<String> = ["USER", "LOGNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .chain([tell("/proc/sys/kernel/hostname"), tell("/etc/machine-id")])
        .collect();
    for card in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        secrets.push(tell(&card.path().join("address").display().to_string()));
    }
    secrets.push("cat".to_owned());
    secrets.push("annas-results".to_owned());
    for text in [&text, &page] {
        let said = words(text);
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            assert!(!said.contains(&**secret), "{secret} in:\n{text}");
        }
        let home = std::env::var("HOME").ok().filter(|home| home.len() > 1);
        for path in [Some(folder.path().display().to_string()), home].into_iter().flatten() {
            assert!(!text.contains(&path), "{path} in:\n{text}");
        }
    }
    // A record that is there stays.
    let (_, err) = run(folder.path(), line, 1);
    assert!(err.contains(&format!("{} is there already", files[0])), "{err}");
    assert_eq!(fs::read_to_string(folder.path().join(files[0])).unwrap(), text);
}

#[test]
fn bench_report_says_that_it_was_emulated_when_it_is_told_so() {
    let folder = folder();
    let line = "bench --report=mine.json --emulated --seconds 1 --frames 1 --threads 1";
    let (out, _) = run(folder.path(), line, 0);
    assert_eq!(out, "mine.json\nmine.md\n");
    let record = json(&fs::read_to_string(folder.path().join("mine.json")).unwrap());
    assert_eq!(record["machine"]["setting"]["kind"], "emulated");
    let page = fs::read_to_string(folder.path().join("mine.md")).unwrap();
    assert!(page.contains("**Emulated: times say nothing about a board**"), "{page}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left.len(), 3, "a record, its page and the picture: {left:?}");
}

#[test]
fn bench_report_refuses_what_it_cannot_write() {
    let folder = folder();
    fs::write(folder.path().join("kept.md"), "mine").unwrap();
    for (arguments, code, words) in [
        ("--report=no/x.json", 1, "no report can be written to no: "),
        ("--report=/proc/x.json", 1, "no report can be written to /proc: "),
        ("--report=no", 2, "--report=no: neither a folder that is there nor a file whose name"),
        ("--report=x.md", 2, "--report=x.md: neither"),
        ("--report=kept.json", 1, "kept.md is there already: move it, or name another file"),
        ("--report=", 2, "a value is required for '--report"),
        ("--report --json", 2, "cannot be used with '--json'"),
        ("--report --pipeline", 2, "cannot be used with '--pipeline'"),
        ("--report --seconds 0", 2, "--seconds"),
        ("--seconds 5", 2, "--report"),
        ("--note fan", 2, "--report"),
        ("--emulated", 2, "--report"),
        ("nothing.jpg --report", 1, "nothing.jpg"),
        ("--report --model nothing", 1, "nothing"),
    ] {
        let (out, err) = run(folder.path(), &format!("bench {arguments}"), code);
        assert_eq!(out, "", "{arguments}");
        assert!(err.contains(words), "{arguments}: no {words:?} in:\n{err}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("kept.md")).unwrap(), "mine");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left.len(), 2, "the picture and the page: {left:?}");
}

#[test]
fn model_info_tells_what_became_int8_and_what_not() {
    let folder = folder();
    let (out, _) = run(folder.path(), "model info --json", 0);
    let answer = json(&out);
    assert_eq!(answer["name"], "edgeclip-mini");
    for tower in ["vision", "text"] {
        assert!(answer[tower]["products"].as_u64().unwrap() > 5, "{}", answer[tower]);
        for left in answer[tower]["left"].as_array().unwrap() {
            assert!(left["reason"].as_str().unwrap().len() > 5, "{left}");
        }
    }
    let (out, _) = run(folder.path(), "model info --precision float", 0);
    assert!(out.contains("image tower: float"), "{out}");
    let (out, _) = run(folder.path(), "model info", 0);
    for word in ["sha256:", "licence", "int8 products", "layer norms", "in float: EinSum"] {
        assert!(out.contains(word), "no {word} in:\n{out}");
    }
}

#[test]
fn a_packed_model_classifies_as_its_folder_does() {
    let folder = folder();
    run(folder.path(), "model pack mini.eclip", 0);
    run(folder.path(), "model pack neon.eclip --for neon", 0);
    let line = "classify cat.jpg --labels cat,dog,car --json";
    let labels = |model: &str| {
        let (out, _) = run(folder.path(), &format!("{line} {model}"), 0);
        let answer = json(&out);
        (answer["labels"].clone(), answer["model"].clone(), answer["label_set"].clone())
    };
    let wanted = labels("");
    assert_eq!(labels("--model mini.eclip"), wanted);
    assert_eq!(labels("--model neon.eclip"), wanted);
    assert_eq!(labels("--model mini.eclip --kernel scalar --threads 3"), wanted);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = folder();
    run(folder.path(), "model pack mini.eclip", 0);
    for (line, code, words) in [
        ("bench --kernel sve9", 1, "this CPU has no kernel 'sve9'; it has"),
        ("bench --threads 0", 2, "--threads"),
        ("bench --cores 3-1", 2, "a list of cores is like"),
        ("bench --cores 1023", 1, "can't compute on these cores"),
        ("bench nothing.jpg", 1, "nothing.jpg"),
        ("bench nothing.jpg --pipeline", 1, "nothing.jpg"),
        ("bench --precision half", 2, "--precision"),
        ("bench --model mini.eclip --precision float", 1, "--precision float needs the model"),
        ("model pack x.eclip --for sve9", 2, "there is no kernel 'sve9'; there are"),
        ("model pack x.eclip --model mini.eclip", 2, "is packed already"),
        ("model pack no/x.eclip", 1, "no/x.eclip"),
        ("model", 2, "Usage"),
    ] {
        let (out, err) = run(folder.path(), line, code);
        assert_eq!(out, "", "{line}");
        assert!(err.contains(words), "{line}: no {words:?} in:\n{err}");
    }
    assert!(!folder.path().join("x.eclip").exists());
}
