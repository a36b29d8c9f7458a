//! The whole output, with lines that are written down.

use std::fs;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use super::bank::Bank;
use super::{Gpio, Options};
use crate::capture::SourceState::{self, Live, Lost, Quiet, Silent};
use crate::outputs::tests::event;
use crate::outputs::{
    LabelStatus, LabelsReport, Notice, Output, RegionStatus, Request, Requests, Route, Status,
};
use crate::prompts::Action;

const PINS: &str = r#"
    backend = "record"
    [[pin]]
    name = "out0"
    line = 17
    label = "cat"
    [[pin]]
    name = "low"
    line = 18
    label = "cat"
    active_low = true
    fail_safe = "on"
    [[input]]
    line = 5
    action = "mute"
    [[input]]
    line = 6
    action = "next-labels"
    [[input]]
    line = 7
    action = "picture"
    [[input]]
    line = 8
    action = "release"
    [alive]
    line = 22
    blink_ms = 0
"#;

struct Bench {
    gpio: Gpio,
    status: Status,
    asked: Receiver<Request>,
    folder: tempfile::TempDir,
    /// Milliseconds, as the pins see them.
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options: Options = toml::from_str(PINS).unwrap();
        options.check().unwrap();
        options.record_file = Some(folder.path().join("pins.jsonl"));
        let status = Status::default();
        let (requests, asked) = Requests::channel();
        let gpio = Gpio::start(&options, &status, &requests).unwrap();
        Self { gpio, status, asked, folder, now_ms: 0 }
    }

    /// A frame comes, and the pins are looked at.
    fn frame(&mut self, source: SourceState) {
        self.status.with(|snapshot| {
            snapshot.source_state = source;
            snapshot.inferred += 1;
        });
        self.pass(0);
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.gpio.look(self.now_ms);
        self.gpio.step(self.now_ms).unwrap();
    }

    /// What was written since the last look: `out0 high`.
    fn written(&self) -> Vec<String> {
        written(&self.folder.path().join("pins.jsonl"))
    }
}

fn written(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, "").unwrap();
    let change = |line: &str| {
        let change: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(change["time"].as_str().unwrap().ends_with('Z') && change["line"].is_u64());
        format!("{} {}", change["gpio"].as_str().unwrap(), change["level"].as_str().unwrap())
    };
    text.lines().map(change).collect()
}

#[test]
fn safe_until_frames_flow_and_again_when_they_stop_and_at_the_end() {
    let mut bench = Bench::new();
    assert_eq!(bench.written(), ["out0 low", "low low", "alive low"], "low is active low, and on");
    bench.pass(1);
    assert!(bench.written().is_empty());
    bench.frame(Live);
    assert_eq!(bench.written(), ["low high", "alive high"]);
    bench.gpio.event(&event("cat", true));
    bench.frame(Live);
    assert_eq!(bench.written(), ["out0 high", "low low"]);
    for source in [Silent, Lost] {
        bench.frame(source);
        assert_eq!(bench.written(), ["out0 low", "alive low"], "{source:?}");
        bench.frame(Live);
        assert_eq!(bench.written(), ["out0 high", "alive high"], "{source:?}");
    }
    // The loop hangs: nobody says that the source is lost.
    bench.pass(9_000);
    assert!(bench.written().is_empty());
    bench.pass(2_000);
    assert_eq!(bench.written(), ["out0 low", "alive low"]);
    bench.frame(Live);
    assert_eq!(bench.written(), ["out0 high", "alive high"]);
    bench.gpio.stop();
    assert_eq!(bench.written(), ["out0 low", "alive low"]);
}

#[test]
fn muted_and_quiet_is_off_and_not_safe() {
    let mut bench = Bench::new();
    bench.frame(Live);
    bench.gpio.event(&event("cat", true));
    bench.frame(Live);
    bench.written();
    bench.status.with(|snapshot| snapshot.muted = true);
    bench.frame(Live);
    assert_eq!(bench.written(), ["out0 low", "low high"]);
    bench.frame(Lost);
    assert_eq!(bench.written(), ["alive low"], "muted wins");
    bench.status.with(|snapshot| snapshot.muted = false);
    bench.frame(Live);
    assert_eq!(bench.written(), ["out0 high", "low low", "alive high"]);
    bench.frame(Quiet);
    assert_eq!(bench.written(), ["out0 low", "low high", "alive low"]);
}

#[test]
fn a_label_set_and_a_loss_are_taken_from_the_status() {
    let mut bench = Bench::new();
    bench.frame(Live);
    bench.written();
    let dog = LabelStatus { label: "dog".to_owned(), score: 0.9, active: true };
    bench.status.with(|snapshot| {
        let route =
            Route { label: "dog".to_owned(), gpio: "out0".to_owned(), action: Some(Action::Latch) };
        snapshot.routes = Arc::new([route]);
        snapshot.regions = vec![RegionStatus { labels: vec![dog], ..RegionStatus::default() }];
    });
    let report = LabelsReport {
        accepted: true,
        origin: "http".to_owned(),
        label_set: String::new(),
        labels: 1,
        encoded: 1,
        error: None,
        line: None,
        warnings: Vec::new(),
    };
    bench.gpio.notice(&Notice::Labels(Arc::new(report))).unwrap();
    assert_eq!(bench.written(), ["out0 high"]);
    bench.status.with(|snapshot| {
        snapshot.routes = Arc::new([]);
        snapshot.regions[0].labels[0].label = "cat".to_owned();
    });
    bench.gpio.tick(true).unwrap();
    assert_eq!(bench.written(), ["low low"], "out0 is latched");
}

/// Lines that are in the test's hands.
struct Hands(Arc<Mutex<Levels>>);

#[derive(Default)]
struct Levels {
    pressed: Option<u32>,
    fails: bool,
}

impl Bank for Hands {
    fn write(&mut self, _: u32, _: bool) -> anyhow::Result<()> {
        anyhow::ensure!(!self.0.lock().unwrap().fails, "unplugged");
        Ok(())
    }
    fn read(&mut self, line: u32) -> anyhow::Result<bool> {
        Ok(self.0.lock().unwrap().pressed != Some(line))
    }
}

#[test]
fn presses_become_requests() {
    let mut bench = Bench::new();
    let hands = Arc::new(Mutex::new(Levels::default()));
    bench.gpio.lines.bank = Some(Box::new(Hands(Arc::clone(&hands))));
    bench.frame(Live);
    bench.gpio.pins.route(&[Route {
        label: "dog".to_owned(),
        gpio: "out0".to_owned(),
        action: Some(Action::Latch),
    }]);
    bench.gpio.event(&event("dog", true));
    for line in [5, 6, 7, 8] {
        for pressed in [Some(line), None] {
            hands.lock().unwrap().pressed = pressed;
            for _ in 0..5 {
                bench.pass(10);
            }
        }
        assert_eq!(bench.gpio.lines.on[0], line != 8, "the last one releases what is latched");
    }
    let asked: Vec<_> = bench.asked.try_iter().map(|request| format!("{request:?}")).collect();
    assert_eq!(asked, ["Mute(true)", "NextLabels", "Picture"]);
}

#[test]
fn lines_that_fail_are_opened_anew() {
    let mut bench = Bench::new();
    let hands = Arc::new(Mutex::new(Levels { fails: true, ..Levels::default() }));
    bench.gpio.lines.bank = Some(Box::new(Hands(hands)));
    bench.written();
    bench.status.with(|snapshot| (snapshot.source_state, snapshot.inferred) = (Live, 1));
    bench.gpio.look(1);
    assert!(bench.gpio.step(1).unwrap_err().to_string().contains("unplugged"));
    bench.now_ms = 1;
    bench.pass(1);
    assert!(bench.gpio.lines.bank.is_none());
    bench.pass(3_000);
    assert_eq!(bench.written(), ["out0 low", "low high", "alive high"], "as they should be now");
}

#[test]
fn a_chip_that_is_none_is_refused_with_the_way_out() {
    let options: Options =
        toml::from_str("backend = \"chip\"\nchip = \"/dev/null\"\n[[pin]]\nname = \"a\"\nline = 1")
            .unwrap();
    let (requests, _asked) = Requests::channel();
    let error = Gpio::start(&options, &Status::default(), &requests).err().unwrap();
    assert!(format!("{error:#}").contains("record"), "{error:#}");
}
