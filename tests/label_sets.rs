//! The label sets inside the binary, and the command line that shows and uses them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use edgeclip::classify::Mode;
use edgeclip::prompts::{BUILT_IN_SETS, ENCODINGS_MAX, LabelSet, built_in_set};

/// Labels and templates, as the data sets' authors and CLIP's paper count them.
const COUNTS: &[(&str, usize, usize)] = &[
    ("birdsnap", 500, 1),
    ("caltech101", 102, 34),
    ("cifar10", 10, 18),
    ("cifar100", 100, 18),
    ("clevr-counts", 8, 1),
    ("country211", 211, 5),
    ("dtd", 47, 8),
    ("eurosat", 10, 3),
    ("fer2013", 7, 6),
    ("fgvc-aircraft", 100, 2),
    ("flowers102", 102, 1),
    ("food101", 101, 1),
    ("gtsrb", 43, 3),
    ("hateful-memes", 2, 1),
    ("kinetics700", 700, 28),
    ("kitti", 4, 1),
    ("mnist", 10, 1),
    ("oxford-pets", 37, 1),
    ("pcam", 2, 1),
    ("resisc45", 45, 18),
    ("sst2", 2, 1),
    ("stanford-cars", 196, 8),
    ("stl10", 10, 2),
    ("sun397", 397, 2),
    ("ucf101", 101, 48),
    ("voc2007", 20, 1),
];

fn edgeclip(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("EDGECLIP_LOG");
    command.args(words).output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_set_has_as_many_labels_and_templates_as_were_published() {
    let found: Vec<_> = (BUILT_IN_SETS.iter())
        .map(|built_in| {
            let set = built_in.parse().unwrap_or_else(|error| panic!("{}: {error}", built_in.name));
            assert_eq!(LabelSet::parse(built_in.text).as_ref(), Ok(&set), "{}", built_in.name);
            assert_eq!(set.mode(), Mode::OneOf, "{}", built_in.name);
            let (labels, templates) = (set.labels().len(), set.templates().unwrap().len());
            assert!(labels * templates < ENCODINGS_MAX, "{}", built_in.name);
            (built_in.name, labels, templates)
        })
        .collect();
    assert_eq!(found, COUNTS);
}

#[test]
fn every_file_of_the_folder_is_in_the_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/labels");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.map(|name| name.into_string().unwrap());
    let mut names: Vec<String> =
        files.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    names.sort();
    assert_eq!(names, BUILT_IN_SETS.iter().map(|set| set.name).collect::<Vec<_>>());
}

#[test]
fn published_prompts_stay_word_for_word() {
    let first = |name: &str, label: &str| {
        let set = built_in_set(name).unwrap().parse().unwrap();
        let label = set.labels().iter().find(|known| known.name == label).unwrap().clone();
        label
            .prompts
            .iter()
            .map(|prompt| set.templates().unwrap()[0].fill(prompt))
            .collect::<Vec<_>>()
    };
    assert_eq!(first("cifar10", "airplane"), ["a photo of a airplane."]);
    assert_eq!(first("mnist", "7"), ["a photo of the number: \"7\"."]);
    assert_eq!(first("kitti", "a photo i took with no car."), ["a photo i took with no car."]);
    let happy = ["a photo of a happy looking face.", "a photo of a smiling looking face."];
    assert_eq!(first("fer2013", "happy"), happy);
}

#[test]
fn articles_are_about_templates() {
    let text = "articles = 'as-written'\n[[label]]\nname = 'owl'\n";
    let error = LabelSet::parse(text).unwrap_err().to_string();
    assert!(error.starts_with("line 1: articles is about the set's own templates"), "{error}");
    let sets = ["fit", "as-written"].map(|articles| {
        let text =
            format!("articles = '{articles}'\ntemplates = ['a {{}}']\n[[label]]\nname = 'owl'\n");
        LabelSet::parse(&text).unwrap()
    });
    assert_ne!(sets[0].digest(), sets[1].digest());
    let plain = LabelSet::parse("templates = ['a {}']\n[[label]]\nname = 'owl'\n").unwrap();
    assert_eq!(sets[0].digest(), plain.digest(), "what is the default anyway changes no digest");
}

#[test]
fn sets_are_shown_and_printed() {
    let (listed, _) = said(&edgeclip(&["labels", "sets"]));
    assert_eq!(listed.lines().count(), 26);
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("cifar10 ") && line.contains(" 10 labels  18 templates")),
        "{listed}"
    );
    let (json, _) = said(&edgeclip(&["labels", "sets", "--json"]));
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["name"], &first["labels"]), (&"birdsnap".into(), &500.into()));
    let (text, _) = said(&edgeclip(&["labels", "sets", "gtsrb"]));
    assert_eq!(text, built_in_set("gtsrb").unwrap().text);
    let wrong = edgeclip(&["labels", "sets", "gtrsb"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said(&wrong).1.contains("did you mean gtsrb"), "{wrong:?}");
}

#[cfg(feature = "mini")]
mod with_a_model {
    use super::*;

    #[test]
    fn pictures_are_classified_with_a_set() {
        let output =
            edgeclip(&["classify", "examples/images/cat.jpg", "--label-set", "cifar10", "--json"]);
        let (line, words) = said(&output);
        assert_eq!(output.status.code(), Some(0), "{words}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["labels"].as_array().unwrap().len(), 10);
        assert_eq!(line["label_set"], built_in_set("cifar10").unwrap().parse().unwrap().digest());
    }

    #[test]
    fn one_way_of_giving_labels_excludes_the_others() {
        for more in [["--labels", "cat"], ["--labels-file", "labels.txt"]] {
            let words = ["classify", "x.jpg", "--label-set", "cifar10", more[0], more[1]];
            assert_eq!(edgeclip(&words).status.code(), Some(2), "{more:?}");
            let words = ["run", "--label-set", "cifar10", more[0], more[1]];
            assert_eq!(edgeclip(&words).status.code(), Some(2), "{more:?}");
        }
        let output = edgeclip(&["classify", "x.jpg", "--label-set", "cifar"]);
        assert!(said(&output).1.contains("did you mean cifar10 or cifar100"), "{output:?}");
    }

    #[test]
    fn a_run_takes_a_set_from_the_command_line_or_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = |labels: &str| {
            let text = format!("[http]\nenabled = false\n[labels]\n{labels}\n");
            fs::write(path("edgeclip.toml"), text).unwrap();
        };
        let run = |more: &[&str]| {
            let (file, state) = (path("edgeclip.toml"), path("state"));
            let mut words = vec!["run", "--source", "dir:examples/images", "--threads", "1"];
            words.extend(["--config", &file, "--state-dir", &state].iter().chain(more));
            let output = edgeclip(&words);
            assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
            let events = said(&output).0;
            let first: serde_json::Value =
                serde_json::from_str(events.lines().next().unwrap()).unwrap();
            first["label_set"].as_str().unwrap().to_owned()
        };
        let digest = |name| built_in_set(name).unwrap().parse().unwrap().digest();
        let missing = path("missing.txt");
        config(&format!("file = {missing:?}"));
        assert_eq!(run(&["--label-set", "stl10"]), digest("stl10"), "in place of the file");
        config("set = \"cifar10\"");
        assert_eq!(run(&[]), digest("cifar10"));
        fs::write(path("labels.txt"), "a cat\na dog\n").unwrap();
        let of_file = run(&["--labels-file", &path("labels.txt")]);
        assert_ne!(of_file, digest("cifar10"), "the command line goes before the configuration");
        assert_eq!(run(&[]), of_file, "a set that was in use does not take a later one's place");
        assert_eq!(
            run(&["--label-set", "cifar10"]),
            digest("cifar10"),
            "unless it is asked for now"
        );
        config("set = \"cifar11\"");
        let output = edgeclip(&["config", "check", "--config", &path("edgeclip.toml")]);
        let words = said(&output).1;
        assert!(words.contains("line 4: labels.set: there is no built-in label set"), "{words}");
    }
}
