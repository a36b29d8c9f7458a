//! Outputs in a process of their own: what systemd hears, and what a full disk leaves.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use edgeclip::capture::SourceState;
use edgeclip::classify::{Event, Transition};
use edgeclip::outputs::jsonl::JsonLines;
use edgeclip::outputs::watchdog::Watchdog;
use edgeclip::outputs::{Notice, Output, Outputs, Status, jsonl, watchdog};

/// Set for the process that a test starts: its folder.
const CHILD: &str = "EDGECLIP_TEST_CHILD";

/// The folder of this process, if a test started it.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// This program, to run one of its tests only.
fn child(test: &str, folder: &Path) -> Vec<String> {
    let program = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    let folder = format!("{CHILD}={}", folder.display());
    ["env", &folder, &program, "--exact", test, "--nocapture"].map(str::to_owned).to_vec()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn systemd_hears_that_frames_flow_and_when_they_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let arguments = child("child_with_a_watchdog", folder.path());
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    command.env_remove("WATCHDOG_PID");
    let mut running = command.spawn().unwrap();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last: &String| !last.contains("STOPPING=1")) {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        heard.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
    }
    assert!(running.wait().unwrap().success());
    let at = |mark: &str| heard.iter().position(|said| said == mark).unwrap();
    let fed = |said: &[String]| said.iter().filter(|said| said.contains("WATCHDOG=1")).count();
    assert_eq!(at("LOADED"), 0, "nothing before the loop turns");
    assert!(heard[1].starts_with("READY=1\nWATCHDOG=1\nSTATUS=cam0 is live, 0.0 frames/s: none"));
    assert_eq!(heard.iter().filter(|said| said.contains("READY=1")).count(), 1);
    assert!(fed(&heard[..at("HANGS")]) >= 3);
    assert_eq!(fed(&heard[at("HUNG")..at("GOES ON")]), 0, "{heard:?}");
    assert!(fed(&heard[at("GOES ON")..]) >= 1);
}

#[test]
fn child_with_a_watchdog() {
    let Some(folder) = child_folder() else { return };
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(folder.join("notify")).unwrap();
    let say = |mark: &str| assert!(socket.send(mark.as_bytes()).is_ok());
    let status = Status::default();
    status.with(|status| {
        status.source = "cam0".to_owned();
        status.source_state = SourceState::Live;
    });
    let options = watchdog::Options { frames_within_s: 1, ..watchdog::Options::default() };
    let mut outputs = Outputs::default();
    outputs.start("watchdog", Box::new(Watchdog::start(&options, &status).unwrap())).unwrap();
    let frames_for = |seconds| {
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            status.with(|status| {
                (status.turns, status.inferred) = (status.turns + 1, status.inferred + 1);
            });
            thread::sleep(Duration::from_millis(20));
        }
    };
    thread::sleep(Duration::from_secs(1));
    say("LOADED");
    frames_for(2);
    say("HANGS");
    thread::sleep(Duration::from_secs(4));
    say("HUNG");
    thread::sleep(Duration::from_secs(1));
    say("GOES ON");
    frames_for(2);
    outputs.stop(Duration::from_secs(20));
}

#[test]
fn a_full_disk_leaves_whole_lines_and_is_overcome() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = child("child_that_fills_a_disk", folder.path());
    // A limit of the kernel on the size of files breaks a write off in its middle, as a full disk does.
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$@\"";
    run(Command::new("sh").args(["-c", limited, "sh"]).args(&arguments));
    // And a disk of 16 KiB that is full, where this user may mount one.
    let mounted = format!("mount -t tmpfs -o size=16k tmpfs '{}' && ", folder.path().display());
    let mut tries = Command::new("unshare");
    let tries = tries.args(["-rm", "sh", "-c", &format!("{mounted} true")]).output();
    let may = tries.is_ok_and(|output| output.status.success());
    if may {
        let script = format!("{mounted} exec \"$@\"");
        run(Command::new("unshare").args(["-rm", "sh", "-c", &script, "sh"]).args(&arguments));
    }
}

#[test]
fn child_that_fills_a_disk() {
    let Some(folder) = child_folder() else { return };
    let file = folder.join("events.jsonl");
    let options =
        jsonl::Options { stdout: false, file: Some(file.clone()), ..jsonl::Options::default() };
    let mut output = JsonLines::start(&options).unwrap();
    let written = || -> Vec<String> {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n'), "half a line: {text:?}");
        text.lines().map(label).collect()
    };
    // More than there is room for.
    for number in 0..200 {
        output.notice(&event(&format!("{number:03}"))).unwrap();
    }
    let lines = written();
    assert!((1..100).contains(&lines.len()), "the disk was not full");
    let wanted: Vec<String> = (0..lines.len()).map(|number| format!("{number:03}")).collect();
    assert_eq!(lines, wanted);
    File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    output.notice(&event("after")).unwrap();
    assert_eq!(written(), ["after"]);
}

fn label(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    event["label"].as_str().unwrap().to_owned()
}

/// About 200 bytes of JSON.
fn event(label: &str) -> Notice {
    let event = Event {
        v: 1,
        unix_ms: 0,
        device: "hall".to_owned(),
        source: "cam0".to_owned(),
        region: None,
        label: label.to_owned(),
        state: Transition::Enter,
        score: 0.5,
        label_set: "sha256:0123456789".to_owned(),
        model: "sha256:0123456789".to_owned(),
    };
    Notice::Event(Arc::new(event), None)
}
