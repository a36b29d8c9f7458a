//! `edgeclip run` as a user sees it: real pictures, real files, real signals.
#![cfg(feature = "mini")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything: a slow machine is no failure.
const PATIENCE: Duration = Duration::from_mins(2);

/// Decisions at once, so that each picture counts; no page, so that runs don't meet at its port.
const QUICK: &str = r#"
    device = "bench"
    [decide]
    smoothing = { kind = "off" }
    dwell_ms = 0
    hold_ms = 0
    [http]
    enabled = false
"#;

fn edgeclip() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("EDGECLIP_LOG");
    command
}

/// A folder with a configuration, a labels file and a place for state.
struct Desk(TempDir);

impl Desk {
    fn new(config: &str, labels: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::write(desk.path("edgeclip.toml"), config).unwrap();
        desk.write_labels(labels);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As an editor does it: aside, then renamed.
    fn write_labels(&self, labels: &str) {
        fs::write(self.path("labels.new"), labels).unwrap();
        fs::rename(self.path("labels.new"), self.path("labels.toml")).unwrap();
    }

    /// `edgeclip run` with the desk's files.
    fn run(&self, source: &str) -> Command {
        let mut command = edgeclip();
        command.args(["run", "--source", source, "--threads", "1", "--config"]);
        command.arg(self.path("edgeclip.toml")).arg("--labels-file").arg(self.path("labels.toml"));
        command.arg("--state-dir").arg(self.path("state"));
        command
    }

    fn labels(&self, words: &[&str]) -> Output {
        let mut command = edgeclip();
        command.arg("labels").args(words).arg("--state-dir").arg(self.path("state"));
        command.output().unwrap()
    }
}

/// A running edgeclip.
struct Running {
    child: Child,
    events: Receiver<Value>,
    /// What it says to people.
    words: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let ((event, events), (word, words)) = (channel(), channel());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let _ = event.send(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().for_each(|line| drop(word.send(line.unwrap()))));
        Self { child, events, words }
    }

    /// The first event from now on that fits; its label set.
    fn event(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).expect("an event that fits");
            if fits(&event) {
                return event;
            }
        }
    }

    fn entered(&self, label: &str) -> Value {
        self.event(|event| event["label"] == label && event["state"] == "enter")
    }

    /// The first line for people that has `part` in it.
    fn word(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.words.recv_timeout(left).unwrap_or_else(|_| panic!("no '{part}'"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop, and gives its exit code.
    fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not stop");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pictures that come again and again, as from a camera.
const LIVE: &str = "dir:examples/images";
const LIVE_CONFIG: &str = "[source]\nrepeat = true\npace = \"realtime\"\nfps = 20\n";
const PETS: &str = "a cat\na dog\na rocket\na cup of coffee\n";

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_same_frames_give_the_same_events_byte_for_byte() {
    let desk = Desk::new(QUICK, PETS);
    let runs = [(); 2].map(|()| desk.run("dir:examples/images").output().unwrap());
    assert_eq!(runs[0].status.code(), Some(0), "a finite source ends with 0: {runs:?}");
    assert_eq!(runs[0].stdout, runs[1].stdout);
    let events = lines(&runs[0]);
    let entered: Vec<&str> = (events.iter())
        .filter(|event| event["state"] == "enter")
        .map(|event| event["label"].as_str().unwrap())
        .collect();
    assert!(["a cup of coffee", "a dog", "a rocket", "none"].iter().all(|l| entered.contains(l)));
    let first = &events[0];
    assert_eq!(first["v"], 1);
    assert_eq!(first["time"], "1970-01-01T00:00:00.000Z");
    assert_eq!((&first["device"], &first["source"]), (&"bench".into(), &"images".into()));
    assert!(first["label_set"].as_str().unwrap().starts_with("sha256:"));
    assert!(first["model"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn a_second_start_encodes_nothing() {
    let desk = Desk::new(QUICK, PETS);
    let loads_text = || {
        let output = desk.run(LIVE).env("EDGECLIP_LOG", "info").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap().contains("text side ready")
    };
    assert!(loads_text());
    assert!(!loads_text());
    fs::write(desk.path("state/prompts.safetensors"), b"garbage").unwrap();
    assert!(loads_text(), "a damaged cache is not trusted");
    assert!(!loads_text(), "and is written anew");
}

#[test]
fn labels_change_while_it_runs_and_a_bad_set_changes_nothing() {
    let desk = Desk::new(&format!("{QUICK}\n{LIVE_CONFIG}"), PETS);
    let running = Running::start(&mut desk.run(LIVE));
    let first = running.entered("a rocket")["label_set"].clone();
    desk.write_labels("a rocket\na spaceship\na mountain\n");
    let second = running.event(|event| event["label_set"] != first);
    let second = second["label_set"].clone();
    running.event(|event| event["label"] == "a mountain" && event["label_set"] == second);

    desk.write_labels("a rocket\n\na rocket\n");
    let refused = running.word("refused");
    assert!(refused.contains("line 3") && refused.contains("given twice"), "{refused}");
    let after = running.entered("a mountain");
    assert_eq!(after["label_set"], second, "the set before is still in use");

    let listed = desk.labels(&["list", "--json"]);
    let listed = lines(&listed);
    assert_eq!(listed.len(), 2, "the bad set is not kept");
    let back = desk.labels(&["rollback"]);
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    running.event(|event| event["label_set"] == first);
    running.entered("a cup of coffee");

    // A signal is quicker than the file's watch; the digest tells which set it is.
    desk.write_labels("a cup of coffee\na teapot\n");
    running.signal(Signal::HUP);
    running.event(|event| event["label_set"] != first && event["label_set"] != second);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn what_came_last_is_in_use_after_a_restart() {
    let desk = Desk::new(QUICK, PETS);
    let digest = |output: &Output| lines(output)[0]["label_set"].clone();
    let of_file = digest(&desk.run(LIVE).output().unwrap());
    desk.write_labels("a mountain\na boat\n");
    let changed = digest(&desk.run(LIVE).output().unwrap());
    assert_ne!(changed, of_file, "a file that was changed in between counts");
    assert_eq!(desk.labels(&["rollback"]).status.code(), Some(0));
    let output = desk.run(LIVE).output().unwrap();
    assert_eq!(digest(&output), of_file, "and a rollback counts more than the same file");
    desk.write_labels("a label {}\n");
    let output = desk.run(LIVE).output().unwrap();
    assert_eq!(digest(&output), of_file, "a bad file doesn't keep it from starting");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("labels.toml") && said.contains("is a template"), "{said}");
}

#[test]
fn labels_of_the_command_line_go_before_those_of_the_file() {
    let desk = Desk::new("", "a boat\n");
    let file = desk.path("labels.toml").display().to_string();
    let config = format!("{QUICK}\n{LIVE_CONFIG}\n[labels]\nfile = {file:?}\n");
    fs::write(desk.path("edgeclip.toml"), config).unwrap();
    let mut command = edgeclip();
    command.args(["run", "--source", LIVE, "--labels", "a rocket, a dog", "--config"]);
    command.arg(desk.path("edgeclip.toml")).arg("--state-dir").arg(desk.path("state"));
    let running = Running::start(&mut command);
    running.entered("a rocket");
    // Longer than it takes to look at the file twice.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        running.event(|event| {
            assert_ne!(event["label"], "a boat");
            true
        });
    }
    desk.write_labels("a mountain\n");
    running.entered("a mountain");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_labels_file_that_is_gone_is_no_reason_not_to_start() {
    let desk = Desk::new(QUICK, PETS);
    let first = desk.run(LIVE).output().unwrap();
    fs::remove_file(desk.path("labels.toml")).unwrap();
    fs::write(desk.path("state/labels/000000.http.labels"), [0xff]).unwrap();
    let output = desk.run(LIVE).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, first.stdout);
    fs::remove_dir_all(desk.path("state")).unwrap();
    let output = desk.run(LIVE).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("labels.toml"), "{said}");
}

#[test]
fn two_runs_do_not_share_a_state_folder() {
    let desk = Desk::new(&format!("{QUICK}\n{LIVE_CONFIG}"), PETS);
    let running = Running::start(&mut desk.run(LIVE));
    running.entered("a rocket");
    let output = desk.run(LIVE).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("--state-dir"), "{said}");
    assert_eq!(running.stop(), Some(0));
    let again = Running::start(&mut desk.run(LIVE));
    again.entered("a rocket");
}

#[test]
fn every_event_is_of_one_whole_set() {
    let desk = Desk::new(&format!("{QUICK}\n{LIVE_CONFIG}"), PETS);
    let running = Running::start(&mut desk.run(LIVE));
    running.entered("a rocket");
    let many: String = (0..100).map(|n| format!("thing number {n}\n")).collect();
    desk.write_labels(&format!("{many}a mountain\n"));
    let before = running.event(|_| true)["label_set"].clone();
    let after = running.event(|event| {
        let label = event["label"].as_str().unwrap();
        let is_old = PETS.lines().any(|pet| pet == label);
        let is_new = label.starts_with("thing") || label == "a mountain";
        let fits = if event["label_set"] == before { is_old } else { is_new };
        assert!(fits || label == "none", "a mixed set: {event}");
        label == "a mountain"
    });
    assert_ne!(after["label_set"], before);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_frame_that_can_not_be_decoded_fails_alone() {
    let desk = Desk::new(QUICK, PETS);
    let pictures = desk.path("pictures");
    fs::create_dir(&pictures).unwrap();
    let coffee = fs::read("examples/images/coffee.jpg").unwrap();
    fs::write(pictures.join("1.jpg"), &coffee).unwrap();
    fs::write(pictures.join("2.jpg"), &coffee[..coffee.len() / 2]).unwrap();
    fs::write(pictures.join("3.jpg"), b"no picture at all").unwrap();
    fs::copy("examples/images/rocket.jpg", pictures.join("4.jpg")).unwrap();
    let output = desk.run(&format!("dir:{}", pictures.display())).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.contains("2 frames, 2 failed"), "{said}");
    let labels: Vec<Value> = lines(&output).iter().map(|event| event["label"].clone()).collect();
    assert!(labels.contains(&"a rocket".into()), "{labels:?}");
}

#[test]
fn what_can_not_work_says_so_at_once() {
    let desk = Desk::new(QUICK, PETS);
    let run = |source: &str| {
        let output = desk.run(source).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run("dir:/nowhere/at/all");
    assert_eq!(code, Some(1));
    assert!(said.contains("/nowhere/at/all"), "{said}");
    let (code, said) = run("gopher://camera");
    assert_eq!(code, Some(2));
    assert!(said.contains("gopher"), "{said}");
    fs::write(desk.path("edgeclip.toml"), "[decide]\n\nenter = 1.5\n").unwrap();
    let (code, said) = run(LIVE);
    assert_eq!(code, Some(2));
    assert!(said.contains("edgeclip.toml: line 3: decide.enter is 1.5"), "{said}");
    fs::write(desk.path("edgeclip.toml"), "[decide]\nentre = 0.5\n").unwrap();
    let (code, said) = run(LIVE);
    assert_eq!(code, Some(2));
    assert!(said.contains("line 2") && said.contains("entre"), "{said}");
}

#[test]
fn sets_without_measure_are_refused_and_cost_nothing() {
    let desk = Desk::new(QUICK, PETS);
    let check = |text: &str| {
        desk.write_labels(text);
        let output = edgeclip().args(["labels", "check"]).arg(desk.path("labels.toml")).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let many: String = (0..10_000).map(|n| format!("label {n}\n")).collect();
    assert!(check(&many).contains("10000 labels are more than the limit of 1000"));
    assert!(check("").contains("there are no labels"));
    assert!(check(&"x".repeat(1 << 20)).contains("the limit is 1000"));
    assert!(check(&"x".repeat((1 << 20) + 1)).contains("more than 1048576 bytes, the limit"));
    assert!(check("[[lable]]\nname = \"cat\"\n").contains("line 1: unknown field `lable`"));
    assert!(
        check("[[label]]\nname = \"cat\"\nenter = 0.5\nleave = 0.7\n").contains("leave is 0.7")
    );
    assert!(check("none\n").contains("line 1: \"none\" is the answer when no label fits"));
}

#[test]
fn doubtful_labels_are_named() {
    let desk = Desk::new(QUICK, "");
    let check = |text: &str| {
        desk.write_labels(text);
        let file = desk.path("labels.toml");
        let output = edgeclip().args(["labels", "check", "--json"]).arg(file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        lines(&output)[0]["warnings"].to_string()
    };
    assert!(check("a coffee cup\na cup of coffee\na boat\n").contains("hardly told apart"));
    assert!(check("eine Katze\nкошка\n").contains("Latin"));
    assert!(check("bank = false\n[[label]]\nname = \"cat\"\n").contains("always 1"));
    let hidden = "background = [\"a coffee cup\"]\n[[label]]\nname = \"cup of coffee\"\n";
    assert!(check(hidden).contains("background prompt"));
    let pin = "[[label]]\nname = \"cat\"\n[[label.output]]\ngpio = \"lamp\"\n";
    assert!(check(pin).contains("\\\"lamp\\\""));
    assert_eq!(check("a cat\na boat\n"), "[]");
    assert_eq!(check("[\"a cat\", \"a boat\"]"), "[]");
    assert_eq!(check("an empty table\na boat\n"), "[]", "it is taken out of the background");
}

#[test]
fn the_reference_is_complete_and_changes_nothing() {
    let output = edgeclip().args(["config", "reference"]).output().unwrap();
    let reference = String::from_utf8(output.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let show = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let output = edgeclip().args(["config", "show", "--config"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = show("all.toml", &reference);
    assert!(shown.contains("fps = 15  # "), "each value says where it comes from: {shown}");
    assert!(shown.contains("all.toml: line "));
    let secret = show(
        "secret.toml",
        "[mqtt]\npassword = \"hunter2\"\n[source]\nurl = \"rtsp://u:hunter2@h/\"\n",
    );
    assert!(!secret.contains("hunter2"), "{secret}");
}

fn read_all(path: &Path) -> String {
    let mut text = String::new();
    fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn pins_follow_labels_and_are_safe_in_the_end() {
    let desk = Desk::new("", "");
    let levels = desk.path("levels.jsonl");
    let config = format!(
        "{QUICK}\n{LIVE_CONFIG}\n[gpio]\nbackend = \"record\"\nrecord_file = {:?}\n\
         [[gpio.pin]]\nname = \"lamp\"\nline = 17\n",
        levels.display().to_string()
    );
    fs::write(desk.path("edgeclip.toml"), config).unwrap();
    desk.write_labels(
        "[[label]]\nname = \"a rocket\"\n[[label.output]]\ngpio = \"lamp\"\n[[label]]\nname = \"a dog\"\n",
    );
    let running = Running::start(&mut desk.run(LIVE));
    running.entered("a rocket");
    running.event(|event| event["label"] == "a rocket" && event["state"] == "leave");
    running.entered("a rocket");
    assert_eq!(running.stop(), Some(0));
    let levels = read_all(&levels);
    let highs: Vec<bool> = levels.lines().map(|line| line.contains("\"high\"")).collect();
    assert!(highs.contains(&true), "{levels}");
    assert_eq!(highs.last(), Some(&false), "{levels}");
}

#[test]
fn a_latch_takes_the_first_frame_too() {
    for _ in 0..5 {
        let desk = Desk::new("", "");
        let levels = desk.path("levels.jsonl");
        let config = format!(
            "{QUICK}\n{LIVE_CONFIG}\n[gpio]\nbackend = \"record\"\nrecord_file = {:?}\n\
             [[gpio.pin]]\nname = \"lamp\"\nline = 17\nlabel = \"a blue star\"\naction = \"latch\"\n",
            levels.display().to_string()
        );
        fs::write(desk.path("edgeclip.toml"), config).unwrap();
        desk.write_labels("a blue star\na rocket\n");
        let running = Running::start(&mut desk.run(LIVE));
        // The star is the first picture; the rocket is the last one.
        running.entered("a rocket");
        let text = read_all(&levels);
        assert!(text.contains("\"high\""), "{text}");
        assert_eq!(running.stop(), Some(0));
    }
}

#[test]
fn with_privacy_no_picture_leaves_the_program() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = QUICK.replace("enabled = false", &format!("listen = \"127.0.0.1:{port}\""));
    let config = format!("{config}\n{LIVE_CONFIG}\n[snapshots]\nenabled = true\nprivacy = true\n");
    let desk = Desk::new(&config, PETS);
    let running = Running::start(&mut desk.run(LIVE));
    running.entered("a rocket");
    let answer = |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        let answer = ureq::get(&url).config().http_status_as_error(false).build().call();
        answer.unwrap().status().as_u16()
    };
    assert_eq!(answer("/api/state"), 200);
    assert_eq!(answer("/snapshot.jpg"), 404);
    assert_eq!(answer("/stream.mjpg"), 404);
    assert_eq!(running.stop(), Some(0));
    assert!(!desk.path("state/snapshots").exists(), "and none is written");
}
