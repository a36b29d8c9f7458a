//! The commands about models and speed, as a user runs them.
#![cfg(feature = "mini")]

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
