//! `edgeclip doctor` as a user runs it: here, and with settings that can't work.
#![cfg(all(feature = "mini", target_os = "linux"))]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Standard output of `edgeclip doctor`, which must end with this exit code and have nothing else to say.
fn doctor(folder: &Path, line: &str, code: i32) -> String {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images");
    let output = Command::new(env!("CARGO_BIN_EXE_edgeclip"))
        .arg("doctor")
        .args(line.replace("IMAGES", &images.display().to_string()).split_whitespace())
        .current_dir(folder)
        .env_remove("EDGECLIP_LOG")
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(code), "{line}\n{out}{err}");
    assert_eq!(err, "", "{line}");
    out
}

/// A folder with a configuration and labels.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fine = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let config =
        if config.contains("[http]") { config.to_owned() } else { format!("{fine}{config}") };
    fs::write(folder.path().join("config.toml"), config).unwrap();
    fs::write(folder.path().join("labels.txt"), "a cat\na dog\n").unwrap();
    folder
}

/// A labels file in which a threshold is no probability.
fn write_wrong_labels(folder: &TempDir) {
    fs::write(folder.path().join("wrong.toml"), "[[label]]\nname = \"a cat\"\nenter = 7\n")
        .unwrap();
}

const FINE: &str =
    "--config config.toml --source dir:IMAGES --labels-file labels.txt --state-dir state";

#[test]
fn what_is_fine_is_said_so_and_nothing_is_left_behind() {
    let folder = folder("");
    let answer: Value =
        serde_json::from_str(&doctor(folder.path(), &format!("{FINE} --json"), 0)).unwrap();
    assert_eq!(answer["problems"], 0);
    let findings = answer["findings"].as_array().unwrap();
    let seen = |about: &str| {
        let found = findings.iter().find(|finding| finding["about"] == about);
        found.unwrap_or_else(|| panic!("nothing about {about}"))["seen"].as_str().unwrap()
    };
    for (about, words) in [
        ("cpu", "scalar"),
        ("board", ", profile "),
        ("clock", "set"),
        ("configuration", "right"),
        ("model", "sha256:"),
        ("model", "licence"),
        ("kernel", "the fastest that this CPU has"),
        ("int8", "products of the image side are int8"),
        ("speed", "ms here"),
        ("memory", "MB are free"),
        ("labels", "2 in labels.txt"),
        ("source", "a frame of"),
        ("page", "is free, without a token"),
        ("state", "can be written"),
        ("watchdog", ""),
    ] {
        assert!(seen(about).contains(words), "{about}: {}", seen(about));
    }
    for finding in findings {
        let is_fine = finding["level"] == "ok";
        assert_eq!(finding["mend"].is_null(), is_fine, "what is wrong has a way out: {finding}");
    }
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.toml", "labels.txt"]);
}

#[test]
fn each_finding_is_a_line() {
    let folder = folder("");
    let out = doctor(folder.path(), FINE, 0);
    for line in out.lines() {
        let level = line.split_whitespace().next().unwrap();
        assert!(["ok", "warning"].contains(&level), "{line}");
        assert_eq!(level == "ok", !line.contains(" -> "), "{line}");
    }
}

#[test]
fn what_cannot_work_is_named_with_what_mends_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = format!("[http]\nlisten = \"{}\"", taken.local_addr().unwrap());
    // Nobody listens where someone did a moment ago.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broker = format!("[mqtt]\nbroker = \"{gone}\"");
    let pin = "pin = [{ name = \"a\", line = 1 }]";
    for (config, line, about, seen, mend) in [
        (
            "colour = 1",
            "",
            "configuration",
            "config.toml: line 3: unknown field `colour`",
            "config reference",
        ),
        (
            "[source]\nfps = 0",
            "",
            "configuration",
            "config.toml: line 4: source.fps is 0",
            "config reference",
        ),
        ("", "--board pdp-11", "configuration", "there is no board", "config reference"),
        ("", "--model nowhere", "model", "nowhere", "model info"),
        ("", "--kernel sve9", "model", "no kernel 'sve9'", "model info"),
        ("", "--labels-file wrong.toml", "labels", "enter", "labels check"),
        ("", "--source v4l:/dev/video-none", "camera", "is not there", ""),
        ("", "--source v4l:/dev/null", "camera", "/dev/null", "v4l2-ctl"),
        ("", "--source dir:nowhere", "source", "nowhere", "--source"),
        (&broker, "", "broker", "can't be reached", "mqtt.broker"),
        (&page, "", "page", "is taken by another program", "sudo ss -ltnp"),
        (
            &format!("[gpio]\nbackend = \"chip\"\nchip = \"/dev/gpiochip-none\"\n{pin}"),
            "",
            "pins",
            "is not there",
            "gpiodetect",
        ),
        (&format!("[gpio]\nbackend = \"rpi\"\n{pin}"), "", "pins", "no Raspberry Pi", "\"chip\""),
        ("", "--state-dir config.toml/state", "state", "can't be written", "--state-dir"),
        ("[watchdog]\ndevice = \"/dev/watchdog-none\"", "", "watchdog", "is not there", "modprobe"),
    ] {
        let folder = folder(config);
        write_wrong_labels(&folder);
        // A later option would be refused as given twice: what is broken takes its place.
        let given: Vec<&str> = line.split_whitespace().step_by(2).collect();
        let words: Vec<&str> = FINE.split_whitespace().collect();
        let kept = words.chunks(2).filter(|pair| !given.contains(&pair[0]));
        let all: Vec<&str> = kept.flatten().copied().chain(line.split_whitespace()).collect();
        let out = doctor(folder.path(), &format!("{} --json", all.join(" ")), 1);
        let answer: Value = serde_json::from_str(&out).unwrap();
        let findings = answer["findings"].as_array().unwrap();
        let problems = findings.iter().filter(|finding| finding["level"] == "problem");
        let problems: Vec<String> = problems.map(ToString::to_string).collect();
        let fits = |problem: &&String| {
            let problem: Value = serde_json::from_str(problem).unwrap();
            let has = |key: &str, words: &str| problem[key].as_str().unwrap().contains(words);
            has("about", about) && has("seen", seen) && has("mend", mend)
        };
        assert!(problems.iter().any(|problem| fits(&problem)), "{config} {line}: {problems:#?}");
        assert_eq!(problems.len(), 1, "{config} {line}: {problems:#?}");
        assert_eq!(answer["problems"], 1);
    }
}

#[test]
fn without_labels_it_says_how_to_give_some() {
    let folder = folder("");
    let line = "--config config.toml --source dir:IMAGES --no-state";
    assert!(
        doctor(folder.path(), line, 1).contains("labels: there are none -> edgeclip run --labels")
    );
    doctor(folder.path(), &format!("{line} --labels cat"), 0);
}
