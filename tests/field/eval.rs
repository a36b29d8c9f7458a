//! `edgeclip eval` against the same numbers computed in Python, and on clips through a real ffmpeg.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::available;
use crate::ffmpeg::ffmpeg_is_there;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// From the embeddings of a report to its numbers; every check is an assertion.
const CHECK: &str = r#"
import csv, json, sys, numpy
folder = sys.argv[1]
row = json.load(open(f"{folder}/summary.json"))["rows"][0]
images, labels, background = (numpy.load(f"{folder}/1/{n}.npy").astype("float64") for n in ("embeddings", "labels", "background"))
names = [line["label"] for line in csv.DictReader(open(f"{folder}/1/labels.csv", encoding="utf-8"))]
predictions = list(csv.DictReader(open(f"{folder}/1/predictions.csv", encoding="utf-8")))
truth = numpy.array([names.index(line["truth"]) for line in predictions])
assert images.shape[0] == len(truth) == row["pictures"] and labels.shape[0] == len(names)
assert numpy.allclose(numpy.linalg.norm(images, axis=1), 1, atol=1e-5)
assert row["scoring"]["score"] == "softmax"

def softmax(words):
    logits = row["scoring"]["logit_scale"] * images @ words.T
    e = numpy.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)

def near(a, b, what):
    assert abs(a - b) < 1e-4, f"{what}: {a} in edgeclip, {b} here"

scores = softmax(labels)
order = numpy.argsort(-scores, 1, kind="stable")
best = order[:, 0]
near(row["top1"], (best == truth).mean(), "top-1")
near(row["top5"], (order[:, :5] == truth[:, None]).any(1).mean(), "top-5")
confusion = numpy.zeros((len(names), len(names)), int)
numpy.add.at(confusion, (truth, best), 1)
assert (confusion == numpy.array(row["confusion"])).all(), "confusion"
written = list(csv.reader(open(f"{folder}/1/confusion.csv", encoding="utf-8")))
assert written[0][1:] == names and [[int(n) for n in line[1:]] for line in written[1:]] == confusion.tolist(), "confusion.csv"
known = confusion.sum(1) > 0
near(row["mean_per_class"], (confusion.diagonal()[known] / confusion.sum(1)[known]).mean(), "mean per class")

confidence, right, ece = scores.max(1), best == truth, 0.0
for low in numpy.arange(15) / 15:
    of_bin = (confidence > low) & (confidence <= low + 1 / 15 + 1e-12)
    if of_bin.any():
        ece += of_bin.mean() * abs(right[of_bin].mean() - confidence[of_bin].mean())
near(row["ece"], ece, "ECE")

running = softmax(numpy.concatenate([labels, background]))[:, : len(names)]
thresholds = 0
for index, label in enumerate(row["per_label"]):
    is_true, own = truth == index, running[:, index]
    if not is_true.any():
        assert label["enter"] is None and label["recall"] is None
        continue
    def f1(taken):
        return 2 * (taken & is_true).sum() / (taken.sum() + is_true.sum())
    near(label["f1"], max(f1(own >= value) for value in own), f"best F1 of {label['label']}")
    near(label["f1"], f1(own >= label["enter"]), f"F1 at the threshold of {label['label']}")
    near(label["recall"], confusion[index, index] / confusion[index].sum(), "recall")
    if confusion[:, index].any():
        near(label["precision"], confusion[index, index] / confusion[:, index].sum(), "precision")
    thresholds += 1

for line, ranks, values in zip(predictions, order, scores):
    assert [line[f"label_{i + 1}"] for i in range(5)] == [names[i] for i in ranks[:5]], line
    assert all(abs(float(line[f"score_{i + 1}"]) - values[ranks[i]]) < 1e-4 for i in range(5)), line
print(len(truth), len(names), thresholds)
"#;

/// Cards in folders named by what they show, with labels among which some are never right.
pub(super) fn cards(folder: &Path) {
    for entry in fs::read_dir(format!("{ROOT}/tests/data/cards")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let class = folder.join("cards").join(stem.rsplit_once('-').unwrap().0);
        fs::create_dir_all(&class).unwrap();
        fs::copy(&path, class.join(path.file_name().unwrap())).unwrap();
    }
    let classes = fs::read_dir(folder.join("cards")).unwrap();
    let mut names: Vec<String> = classes
        .map(|class| class.unwrap().file_name().to_string_lossy().replace('_', " "))
        .collect();
    names.sort();
    names.extend(["a boat, at sea", "a bowl of soup", "a tiger"].map(String::from));
    fs::write(folder.join("labels.txt"), names.join("\n")).unwrap();
}

pub(super) fn eval(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
    let output = command.arg("eval").args(arguments).arg("--json").current_dir(folder).output();
    let output = output.unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn numpy_computes_the_same_numbers() {
    let python = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", script]);
        command
    };
    if !available("python3 with numpy", &mut python("import numpy")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    cards(folder.path());
    // A template that fits badly: there must be mistakes to count.
    let words = ["--labels-file", "labels.txt", "--template", "a dark photo of many {}, far away"];
    let answer = eval(folder.path(), &[&["cards"], &words[..], &["--report", "report"]].concat());
    let row = &answer["rows"][0];
    assert!(row["top1"].as_f64().unwrap() < 1.0, "no mistakes in it: {row}");
    let output = python(CHECK).arg(folder.path().join("report")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "56 16 13", "{}", String::from_utf8_lossy(&output.stderr));
}

/// A clip of three pictures shown for a second each, in this order.
fn clip(file: &Path, pictures: [&str; 3]) {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error"]);
    for picture in pictures {
        command
            .args(["-loop", "1", "-t", "1", "-r", "10", "-i"])
            .arg(format!("{ROOT}/tests/data/cards/{picture}.jpg"));
    }
    let filter = "[0:v][1:v][2:v]concat=n=3,scale=320:240,format=yuv420p";
    command.args(["-filter_complex", filter, "-c:v", "mpeg4", "-q:v", "2"]);
    assert!(command.arg(file).status().unwrap().success());
}

#[test]
fn clips_are_judged_by_their_frames() {
    if !ffmpeg_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for class in ["a_cat", "a_dog"] {
        fs::create_dir_all(at("clips").join(class)).unwrap();
    }
    // Its middle shows a dog, most of it a cat.
    clip(&at("clips/a_cat/%d 'x'.mkv"), ["a_cat-0", "a_dog-1", "a_cat-2"]);
    clip(&at("clips/a_dog/-i.avi"), ["a_dog-0", "a_dog-1", "a_dog-2"]);
    let whole = eval(folder.path(), &["clips", "--frames", "9"]);
    let confusion = |answer: &Value| answer["rows"][0]["confusion"].to_string();
    assert_eq!(confusion(&whole), "[[1,0],[0,1]]", "{whole}");
    let middle = eval(folder.path(), &["clips", "--frames", "1"]);
    assert_eq!(confusion(&middle), "[[0,1],[0,1]]", "{middle}");

    fs::write(at("clips/a_dog/x.mp4"), "no video").unwrap();
    let broken = eval(folder.path(), &["clips"]);
    let failed = &broken["failed"][0];
    assert_eq!(failed["path"].as_str().unwrap(), "clips/a_dog/x.mp4");
    assert!(
        failed["error"].as_str().unwrap().contains("is not a video that ffprobe can read"),
        "{failed}"
    );
    assert_eq!(broken["rows"][0]["pictures"], 2);
}
