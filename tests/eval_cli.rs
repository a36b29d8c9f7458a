//! `edgeclip eval` as a program: what it takes, what it refuses, what it says and writes.
#![cfg(feature = "mini")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Standard output and standard error of `edgeclip eval` in a folder, which must end with this exit code.
fn eval(folder: &TempDir, arguments: &[&str], code: i32) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
    let output = command.arg("eval").args(arguments).current_dir(folder.path()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{err}");
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

fn answer(folder: &TempDir, arguments: &[&str], code: i32) -> (Value, String) {
    let (out, err) = eval(folder, &[arguments, &["--json"]].concat(), code);
    (serde_json::from_str(&out).unwrap(), err)
}

/// Three classes of cards, four pictures each: `cards/a_cat/0.jpg` and so on.
fn cards() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a_cat", "a_dog", "the_word_STOP"] {
        let to = folder.path().join("cards").join(class);
        fs::create_dir_all(&to).unwrap();
        for number in 0..4 {
            let from = format!("{ROOT}/tests/data/cards/{class}-{number}.jpg");
            fs::copy(from, to.join(format!("{number}.jpg"))).unwrap();
        }
    }
    folder
}

fn write(folder: &TempDir, file: &str, text: &str) {
    let path = folder.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_folder_for_each_class_is_measured() {
    let folder = cards();
    write(&folder, "cards/.cache/x.jpg", "no class");
    let (answer, err) = answer(&folder, &["cards"], 0);
    assert_eq!(err, "");
    assert!(answer["merged"] == Value::Array(vec![]) && answer["error"].is_null(), "{answer}");
    assert_eq!((&answer["pictures"], &answer["classes"]), (&12.into(), &3.into()));
    let [row] = answer["rows"].as_array().unwrap().as_slice() else { panic!("{answer}") };
    let share = |key: &str| row[key].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share("top1")) && (share("top5") - 1.0).abs() < 1e-9, "{row}");
    assert!((share("mean_per_class") - share("top1")).abs() < 1e-9, "classes of one size: {row}");
    let confusion = row["confusion"].as_array().unwrap();
    let of_row =
        |row: &Value| row.as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!(confusion.iter().map(of_row).collect::<Vec<_>>(), [4, 4, 4]);
    assert_eq!(row["per_label"][2]["label"], "the word STOP");
    let (table, _) = eval(&folder, &["cards"], 0);
    for word in
        ["cards: 12 pictures of 3 classes", "top-1", "mean per class", "ECE", "a cat", "enter"]
    {
        assert!(table.contains(word), "{word}: {table}");
    }
}

/// The same pictures and truth, whichever way they are named, give the same numbers.
#[test]
fn a_list_says_the_same_as_a_folder() {
    let folder = cards();
    let mut list = "\u{feff}Label,note,PATH\n".to_owned();
    for (class, label) in [("a_cat", "Cat"), ("a_dog", "a dog"), ("the_word_STOP", "word stop")] {
        list.extend((0..4).map(|number| format!("{label} ,\"x, y\",cards/{class}/{number}.jpg\n")));
    }
    write(&folder, "list.CSV", &list);
    write(&folder, "labels.txt", "a cat\na dog\nthe word STOP\nthe sea\n");
    let measure = |data: &str| {
        let (answer, err) = answer(&folder, &[data, "--labels-file", "labels.txt"], 0);
        assert!(err.contains("no pictures for \"the sea\""), "{err}");
        let row = &answer["rows"][0];
        assert_eq!(row["per_label"].as_array().unwrap().len(), 4);
        assert!(row["per_label"][3]["enter"].is_null(), "{row}");
        [&row["confusion"], &row["per_label"], &row["ece"]].map(Clone::clone)
    };
    assert_eq!(measure("cards"), measure("list.CSV"));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_place() {
    let folder = cards();
    write(&folder, "empty/class/notes.txt", "x");
    write(&folder, "stray/x.png", "x");
    write(&folder, "stray/class/x.png", "x");
    write(&folder, "labels.txt", "a cat\n");
    write(&folder, "other.txt", "sea\n");
    write(&folder, "full/x", "x");
    for (name, text) in [
        ("no-header", "a.png,cat\n"),
        ("short", "path,label\na.png,cat\nb.png\n"),
        ("no-label", "path,label\na.png,cat\n\nb.png, \n"),
        ("nothing", "path,label\n"),
    ] {
        write(&folder, &format!("{name}.csv"), text);
    }
    for picture in ["one/a/1.png", "one/a/2.png", "one/b/1.png"] {
        write(&folder, picture, "x");
        write(&folder, &picture.replace("one", "two"), "x");
    }
    write(&folder, "two/b/2.png", "x");
    let long = "x".repeat(80_000);
    write(&folder, "long.csv", &format!("path,label\n\n{long},a\n"));
    write(&folder, "quote.csv", &format!("path,label\na.png,a\n\"{}", "b.png,b\n".repeat(20_000)));
    fs::write(folder.path().join("latin.csv"), b"path,label\na.png,caf\xe9\n").unwrap();
    let table: &[(&[&str], &[&str])] = &[
        (&["none"], &["none: there is no such"]),
        (&["cards/a_cat/0.jpg"], &["neither a folder nor a .csv"]),
        (&["empty"], &["empty has no class folders", "jpg", "mp4"]),
        (&["stray"], &["stray/x.png is in no class", "a folder for each class"]),
        (&["no-header.csv"], &["no-header.csv: line 1: no column \"path\"", "path,label"]),
        (&["short.csv"], &["short.csv: line 3: 1 fields, the first line has 2"]),
        (&["no-label.csv"], &["no-label.csv: line 4: the label is empty"]),
        (&["nothing.csv"], &["lists no pictures"]),
        (&["latin.csv"], &["latin.csv: line 2: not UTF-8"]),
        (
            &["cards", "--labels-file", "labels.txt"],
            &["labels.txt: no label for \"a dog\", \"the word STOP\"", "--allow-missing"],
        ),
        (&["cards", "--labels-file", "other.txt"], &["no class has a label of its name"]),
        (&["cards", "--label-set", "cifar1"], &["--label-set", "cifar10"]),
        (&["cards", "--template", "no place"], &["--template", "exactly one {}"]),
        (&["cards", "--frames", "0"], &["--frames"]),
        (&["cards", "--report", "full"], &["--report full: is not empty"]),
        (&["cards", "--report", "labels.txt"], &["--report labels.txt: is not a folder"]),
        (&["long.csv"], &["long.csv: line 3: longer than 65536 bytes"]),
        (&["quote.csv"], &["quote.csv: line 3: longer than 65536 bytes, or a quote"]),
        (
            &["cards", "--linear-probe", "--save", "no/head.toml"],
            &["--save no/head.toml: nothing can be written into no"],
        ),
        (&["cards", "--linear-probe", "--save", "full"], &["--save full: not a regular file"]),
        (&["one", "--linear-probe"], &["--linear-probe: the class \"b\" has 1 examples"]),
        (
            &["cards", "--linear-probe", "--train", "one", "--allow-missing"],
            &["--train: the class \"b\" has 1 examples"],
        ),
        (&["cards", "--linear-probe", "--train", "two"], &["--train has no pictures of \"a cat\""]),
        (
            &["cards", "--linear-probe", "--train", "two", "--allow-missing"],
            &["--train has no pictures of any class"],
        ),
    ];
    for (arguments, words) in table {
        let (out, err) = eval(&folder, arguments, 2);
        assert_eq!(out, "", "{arguments:?}");
        for word in *words {
            assert!(err.contains(word), "{arguments:?}\nno {word:?} in {err}");
        }
    }
}

#[test]
fn broken_pictures_are_told_and_counted() {
    let folder = cards();
    fs::copy(
        format!("{ROOT}/tests/data/broken/truncated.jpg"),
        folder.path().join("cards/a_dog/9.jpg"),
    )
    .unwrap();
    let (answer, err) = answer(&folder, &["cards"], 1);
    assert!(err.contains("a_dog/9.jpg"), "{err}");
    assert_eq!(answer["pictures"], 13);
    assert!(answer["failed"][0]["path"].as_str().unwrap().ends_with("9.jpg"), "{answer}");
    let row = &answer["rows"][0];
    assert_eq!((&row["pictures"], &row["failed"]), (&12.into(), &1.into()));
    let (table, _) = eval(&folder, &["cards"], 1);
    assert!(table.contains("1 could not be used"), "{table}");
    write(&folder, "bad/dog/x.png", "no picture");
    let (out, err) = eval(&folder, &["bad"], 1);
    assert!(out.is_empty() && err.contains("none of the 1 pictures"), "{err}");
}

/// A pipe without a writer would be waited for, and a device has no end.
#[cfg(unix)]
#[test]
fn only_files_are_opened() {
    let folder = cards();
    let at = |path: &str| folder.path().join(path);
    for pipe in ["cards/a_dog/pipe.jpg", "cards/a_dog/clip.mp4", "pipe.csv"] {
        assert!(Command::new("mkfifo").arg(at(pipe)).status().unwrap().success());
    }
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
    std::os::unix::fs::symlink(at("cards/a_cat/0.jpg"), at("link.jpg")).unwrap();
    let odd = ["cards/a_dog/pipe.jpg", "cards/a_dog/clip.mp4", "socket.png", "/dev/zero", "cards"];
    let list: String = odd.map(|path| format!("{path},dog\n")).concat();
    write(&folder, "list.csv", &format!("path,label\nlink.jpg,cat\n{list}"));
    for (data, pictures, failed) in [("cards", 12, 2), ("list.csv", 1, 5)] {
        let (answer, _) = answer(&folder, &[data], 1);
        assert_eq!(answer["rows"][0]["pictures"], pictures, "{answer}");
        let errors = answer["failed"].as_array().unwrap();
        assert_eq!(errors.len(), failed, "{answer}");
        for error in errors {
            assert_eq!(error["error"], "can't be read: not a regular file", "{error}");
        }
    }
    let (_, err) = eval(&folder, &["pipe.csv"], 2);
    assert!(err.contains("pipe.csv: not a regular file"), "{err}");
}

/// Names that differ only in how they are written are one class, and this is said.
#[test]
fn what_is_merged_is_told() {
    let folder = cards();
    fs::create_dir(folder.path().join("cards/Cat")).unwrap();
    fs::copy(folder.path().join("cards/a_cat/0.jpg"), folder.path().join("cards/Cat/0.jpg"))
        .unwrap();
    fs::copy(folder.path().join("cards/a_cat/1.jpg"), folder.path().join("cards/a_dog/9.jpg"))
        .unwrap();
    let (answer, err) = answer(&folder, &["cards"], 0);
    assert!(
        err.contains("2 pictures are the same as others to the model, 1 of another class"),
        "{err}"
    );
    assert_eq!(answer["merged"].to_string(), r#"[{"class":"Cat","names":["Cat","a_cat"]}]"#);
    let row = &answer["rows"][0];
    assert_eq!((&row["per_label"][0]["pictures"], &row["pictures"]), (&5.into(), &14.into()));
    let (table, _) = eval(&folder, &["cards"], 0);
    assert!(table.contains("One class, \"Cat\": Cat, a_cat"), "{table}");
    write(&folder, "labels.txt", "cat\ndog\nword STOP\nword_stop\n");
    let (_, err) = eval(&folder, &["cards", "--labels-file", "labels.txt"], 2);
    assert!(err.contains("labels.txt: \"word STOP\" and \"word_stop\" are one class"), "{err}");
}

#[test]
fn nothing_to_count_is_no_number() {
    let folder = cards();
    for class in ["a_cat", "a_dog"] {
        (0..4).for_each(|number| write(&folder, &format!("cards/{class}/{number}.jpg"), "x"));
    }
    write(&folder, "broken.txt", "a cat\na dog\n");
    write(&folder, "sound.txt", "the word STOP\na dog\n");
    let broken = ["cards", "--allow-missing", "--report", "report", "--labels-file", "broken.txt"];
    let (out, err) = eval(&folder, &broken, 1);
    assert!(err.contains("no picture of a class with a label") && !out.contains('%'), "{out}{err}");
    let summary = fs::read_to_string(folder.path().join("report/summary.json")).unwrap();
    assert!(summary.contains("no picture of a class with a label"), "{summary}");
    let sound =
        ["cards", "--allow-missing", "--labels-file", "broken.txt", "--labels-file", "sound.txt"];
    let (answer, _) = answer(&folder, &sound, 1);
    for key in ["top1", "top5", "mean_per_class", "ece"] {
        assert!(answer["rows"][0][key].is_null() && answer["rows"][1][key].is_f64(), "{answer}");
    }
    assert!(answer["rows"][1]["per_label"][1]["recall"].is_null(), "{answer}");
    let (table, _) = eval(&folder, &sound, 1);
    let line = table.lines().find(|line| line.contains("broken.txt")).unwrap();
    assert!(line.matches(" - ").count() == 3 && !line.contains('%'), "{table}");
}

#[test]
fn what_fails_late_loses_nothing_and_what_can_fails_early() {
    let folder = cards();
    let at = |path: &str| folder.path().join(path);
    let mini = Path::new(ROOT).join("models/edgeclip-mini");
    fs::create_dir(at("spoilt")).unwrap();
    for file in fs::read_dir(&mini).unwrap().map(|file| file.unwrap()) {
        if file.path().is_file() {
            fs::copy(file.path(), at("spoilt").join(file.file_name())).unwrap();
        }
    }
    fs::write(at("spoilt/vision.onnx"), "no graph").unwrap();
    let models = ["--model", mini.to_str().unwrap(), "--model", "spoilt"];
    let (out, err) = eval(&folder, &[&["cards", "--report", "report"], &models[..]].concat(), 1);
    assert!(out.is_empty() && err.contains("vision.onnx"), "{err}");
    assert!(!at("report").exists(), "nothing was measured");

    // That pictures are damaged shows when they are read.
    for class in ["a_cat", "a_dog", "the_word_STOP"] {
        (0..2).for_each(|number| write(&folder, &format!("train/{class}/{number}.jpg"), "x"));
    }
    let probe = ["cards", "--report", "report", "--linear-probe", "--train", "train"];
    let (answer, err) = answer(&folder, &probe, 1);
    assert!(err.contains("has 0 examples"), "{err}");
    assert!(answer["error"].as_str().unwrap().contains("has 0 examples"), "{answer}");
    assert_eq!(answer["rows"].as_array().unwrap().len(), 1);
    let summary = fs::read_to_string(at("report/summary.md")).unwrap();
    assert!(summary.contains("\n\nNot all was measured: --linear-probe"), "{summary}");
    assert!(at("report/1/labels.csv").exists());
}

#[test]
fn pictures_of_classes_without_a_label_can_be_left_out() {
    let folder = cards();
    write(&folder, "labels.txt", "cat\ndog\n");
    let arguments = ["cards", "--labels-file", "labels.txt", "--allow-missing"];
    let (answer, err) = answer(&folder, &arguments, 0);
    assert!(err.contains("no label for \"the word STOP\": their pictures are left out"), "{err}");
    let row = &answer["rows"][0];
    assert_eq!((&row["pictures"], &row["left_out"]), (&8.into(), &4.into()));
}

#[test]
fn models_labels_and_templates_are_rows_of_one_table() {
    let folder = cards();
    write(&folder, "a.txt", "cat\ndog\nword stop\n");
    write(&folder, "b.txt", "cat\ndog\nword stop\nsea\n");
    let model = Path::new(ROOT).join("models/edgeclip-mini");
    let model = model.to_str().unwrap();
    let sets = ["cards", "--labels-file", "a.txt", "--labels-file", "b.txt"];
    let compared = [&sets[..], &["--model", model, "--model", model]].concat();
    let templates = ["--template", "a {}", "--template", "a photo of a {}", "--each-template"];
    let compared = [&compared[..], &templates].concat();
    let (answer, _) = answer(&folder, &[&compared[..], &["--report", "report"]].concat(), 0);
    let rows = answer["rows"].as_array().unwrap();
    let kinds = rows
        .iter()
        .map(|row| (row["labels"].as_str().unwrap(), row["templates"].as_array().unwrap().len()));
    let of_model =
        [("a.txt", 2), ("a.txt", 1), ("a.txt", 1), ("b.txt", 2), ("b.txt", 1), ("b.txt", 1)];
    assert_eq!(kinds.collect::<Vec<_>>(), [of_model, of_model].concat());
    assert_eq!(rows[0]["per_label"], rows[6]["per_label"], "the same model says the same");
    let (table, _) = eval(&folder, &compared, 0);
    for word in ["template", "all 2 averaged", "a photo of a {}", "b.txt"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let report = folder.path().join("report");
    let summary: Value =
        serde_json::from_slice(&fs::read(report.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary, answer);
    assert!(
        fs::read_to_string(report.join("summary.md"))
            .unwrap()
            .contains("\n## 12. edgeclip-mini, b.txt, zero-shot\n")
    );
    for (file, lines) in [("predictions.csv", 13), ("labels.csv", 5), ("confusion.csv", 5)] {
        assert_eq!(
            fs::read_to_string(report.join("12").join(file)).unwrap().lines().count(),
            lines,
            "{file}"
        );
    }
    let part = fs::read_dir(report.join("12"))
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'));
    assert!(!part, "no temporary file is left");
}
