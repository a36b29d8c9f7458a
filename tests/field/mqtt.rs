//! MQTT against mosquitto, with its own clients.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use edgeclip::capture::{Frame, SourceState};
use edgeclip::classify::{Event, Transition};
use edgeclip::outputs::mqtt::{Mqtt, Options};
use edgeclip::outputs::{
    LabelStatus, LabelsReport, Notice, Outputs, RegionStatus, Request, Requests, Secret, Snapshot,
    Status, snapshots,
};
use serde_json::Value;

use super::broker::{Broker, PATIENCE, Subscriber, Wire, is_here, publish, wait};

/// The output as it runs in the appliance, and the appliance's side of it.
struct Device {
    outputs: Outputs,
    status: Status,
    asked: Receiver<Request>,
}

impl Device {
    fn start(options: &Options, snapshots: &snapshots::Options, folder: Option<&Path>) -> Self {
        let status = Status::default();
        status.with(|status| {
            *status = Snapshot {
                device: "hall".to_owned(),
                source: "cam0".to_owned(),
                source_state: SourceState::Live,
                ..Snapshot::default()
            }
        });
        let (requests, asked) = Requests::channel();
        let mqtt = Mqtt::start(options, "hall", snapshots, &status, &requests, folder).unwrap();
        let mut outputs = Outputs::default();
        outputs.start("mqtt", Box::new(mqtt)).unwrap();
        let device = Self { outputs, status, asked };
        device.use_labels(&["cat", "big dog"]);
        device
    }

    fn at(port: u16) -> Self {
        let snapshots = snapshots::Options { enabled: true, ..snapshots::Options::default() };
        Self::start(&options(port), &snapshots, None)
    }

    /// A label set is in use, and all are told.
    fn use_labels(&self, names: &[&str]) {
        let label =
            |name: &&str| LabelStatus { label: (*name).to_owned(), ..LabelStatus::default() };
        self.status.with(|status| {
            status.label_set = names.join("-");
            let labels = names.iter().map(label).collect();
            status.regions = vec![RegionStatus { labels, ..RegionStatus::default() }];
        });
        self.outputs.tell(&Notice::Labels(Arc::new(report(names.len(), None))));
    }

    fn event(&self, label: &str, enters: bool, unix_ms: u64) {
        self.status.with(|status| {
            for region in &mut status.regions {
                let mut labels = region.labels.iter_mut();
                if let Some(label) = labels.find(|known| known.label == label) {
                    (label.active, label.score) = (enters, 0.91);
                }
            }
        });
        let event = Event {
            v: 1,
            unix_ms,
            device: "hall".to_owned(),
            source: "cam0".to_owned(),
            region: None,
            label: label.to_owned(),
            state: if enters { Transition::Enter } else { Transition::Leave },
            score: 0.91,
            label_set: "set".to_owned(),
            model: "model".to_owned(),
        };
        let frame = Frame::new(16, 16, vec![99; 16 * 16 * 3]).unwrap();
        self.outputs.tell(&Notice::Event(Arc::new(event), Some(Arc::new(frame))));
    }

    /// The text of the next label set that is asked for, answered as the pipeline does.
    fn labels_asked(&self) -> String {
        match self.asked.recv_timeout(PATIENCE).unwrap() {
            Request::Labels { text, origin, reply } => {
                assert_eq!(origin, "mqtt");
                let error = text.contains("bad").then(|| "line 1: makes no sense".to_owned());
                let report = Arc::new(report(1, error));
                reply.unwrap().send(Arc::clone(&report)).unwrap();
                self.outputs.tell(&Notice::Labels(report));
                text
            }
            other => panic!("{other:?}"),
        }
    }

    fn stop(self) {
        self.outputs.stop(Duration::from_secs(20));
    }
}

fn options(port: u16) -> Options {
    Options {
        broker: format!("mqtt://127.0.0.1:{port}"),
        groups: vec!["floor".to_owned()],
        queue_max: 5,
        state_every_ms: 100,
        keep_alive_s: 5,
        ..Options::default()
    }
}

fn report(labels: usize, error: Option<String>) -> LabelsReport {
    LabelsReport {
        accepted: error.is_none(),
        origin: "mqtt".to_owned(),
        label_set: "set".to_owned(),
        labels,
        encoded: 0,
        error,
        line: None,
        warnings: Vec::new(),
    }
}

/// What was logged, by all tests of this process.
fn logged() -> String {
    static LINES: Mutex<String> = Mutex::new(String::new());
    static ONCE: Once = Once::new();
    struct Lines;
    impl log::Log for Lines {
        fn enabled(&self, _: &log::Metadata) -> bool {
            true
        }
        fn log(&self, record: &log::Record) {
            LINES.lock().unwrap().push_str(&format!("{}\n", record.args()));
        }
        fn flush(&self) {}
    }
    ONCE.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    LINES.lock().unwrap().clone()
}

#[test]
fn states_events_pictures_and_availability_are_published() {
    if !is_here() {
        return;
    }
    let broker = Broker::open();
    let subscriber = Subscriber::new(broker.port);
    let device = Device::at(broker.port);
    assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "online");
    device.event("cat", true, 1_767_225_600_040);
    let event: Value = serde_json::from_str(&subscriber.wait("0 edgeclip/hall/event")).unwrap();
    assert_eq!(event["time"], "2026-01-01T00:00:00.040Z");
    assert_eq!((&event["label"], &event["state"]), (&"cat".into(), &"enter".into()));
    assert!(subscriber.wait("0 edgeclip/hall/snapshot").contains("JFIF"));
    // Retained: one who comes later is told of the state as well, and of no event.
    let state = wait("the state", || {
        let late = Subscriber::new(broker.port);
        let state: Value = serde_json::from_str(&late.wait("1 edgeclip/hall/state")).unwrap();
        (state["label"] == "cat").then_some(state)
    });
    assert_eq!(state["source_state"], "live");
    assert_eq!(state["label_list"], "cat, big dog");
    let late = Subscriber::new(broker.port);
    assert_eq!(late.wait("1 edgeclip/hall/availability"), "online");
    let once = ["1 edgeclip/hall/event", "1 edgeclip/hall/snapshot"];
    assert!(!late.lines().iter().any(|line| once.iter().any(|topic| line.starts_with(topic))));
    device.stop();
    assert_eq!(late.wait("0 edgeclip/hall/availability"), "offline");
}

#[test]
fn a_broker_that_was_killed_gets_everything_again_and_the_newest_events() {
    if !is_here() {
        return;
    }
    let mut broker = Broker::open();
    let wire = Wire::to(broker.port);
    let subscriber = Subscriber::new(broker.port);
    let device = Device::at(wire.port);
    device.event("cat", true, 0);
    subscriber.wait("0 edgeclip/hall/event");
    broker.kill();
    drop(subscriber);
    for number in 1..=9 {
        device.event("cat", number % 2 == 0, number * 1000);
    }
    // The wire stays cut until someone listens at the new broker.
    wire.cut();
    broker.start_again();
    let subscriber = Subscriber::new(broker.port);
    wire.mend();
    subscriber.wait("0 homeassistant/sensor/edgeclip_hall/label/config");
    assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "online");
    subscriber.wait("0 edgeclip/hall/state");
    let times = wait("the queued events", || {
        let times: BTreeSet<u64> =
            subscriber.lines().iter().filter_map(|line| seconds(line)).collect();
        times.contains(&9).then_some(times)
    });
    assert_eq!(times, (5..=9).collect(), "as many as the queue holds");
    publish(broker.port, "edgeclip/hall/labels/set", b"cat", false);
    assert_eq!(device.labels_asked(), "cat", "it listens again");
    device.stop();
}

/// The time of an event that was published, in seconds.
fn seconds(line: &str) -> Option<u64> {
    let event: Value = serde_json::from_str(line.strip_prefix("0 edgeclip/hall/event ")?).unwrap();
    event["time"].as_str()?.strip_prefix("1970-01-01T00:00:")?.get(..2)?.parse().ok()
}

#[test]
fn the_last_will_says_that_a_device_is_gone() {
    if !is_here() {
        return;
    }
    let broker = Broker::open();
    let wire = Wire::to(broker.port);
    let subscriber = Subscriber::new(broker.port);
    let device = Device::at(wire.port);
    assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "online");
    subscriber.clear();
    wire.cut();
    assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "offline");
    subscriber.clear();
    wire.mend();
    assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "online");
    device.stop();
}

#[test]
fn label_sets_come_in_once_and_results_go_out() {
    if !is_here() {
        return;
    }
    let broker = Broker::open();
    let wire = Wire::to(broker.port);
    let folder = tempfile::tempdir().unwrap();
    let subscriber = Subscriber::new(broker.port);
    let off = snapshots::Options::default();
    let device = Device::start(&options(wire.port), &off, Some(folder.path()));
    subscriber.wait("0 edgeclip/hall/availability");
    let result = || -> Value {
        let line = subscriber.wait("0 edgeclip/hall/labels/result");
        subscriber.clear();
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(result()["accepted"], true, "the set of the start");
    publish(broker.port, "edgeclip/hall/labels/set", b"cat, big dog", false);
    assert_eq!(device.labels_asked(), "cat\nbig dog");
    assert_eq!(result()["accepted"], true);
    let large = vec![b'x'; (1 << 20) + 1];
    let refused = [(&b"bad"[..], "line 1"), (&[0xff], "UTF-8"), (&large, "limit")];
    for (payload, reason) in refused {
        publish(broker.port, "edgeclip/hall/labels/set", payload, false);
        if payload == b"bad" {
            device.labels_asked();
        }
        let result = result();
        assert_eq!(result["accepted"], false);
        assert!(result["error"].as_str().unwrap().contains(reason), "{result}");
    }
    // A whole fleet, by a message that the broker keeps: used once, also after the wire broke and
    // after a restart.
    publish(broker.port, "edgeclip/group/floor/labels/set", b"bird", true);
    assert_eq!(device.labels_asked(), "bird");
    result();
    wire.cut();
    assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "offline");
    subscriber.clear();
    wire.mend();
    let passes_over = |device: &Device| {
        // What the broker keeps comes with the subscription, so before anything that is sent after it.
        assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "online");
        publish(broker.port, "edgeclip/hall/labels/set", b"next", false);
        assert_eq!(device.labels_asked(), "next");
    };
    passes_over(&device);
    subscriber.clear();
    device.stop();
    assert_eq!(subscriber.wait("0 edgeclip/hall/availability"), "offline");
    subscriber.clear();
    let device = Device::start(&options(wire.port), &off, Some(folder.path()));
    passes_over(&device);
    publish(broker.port, "edgeclip/group/floor/labels/set", b"bird", true);
    assert_eq!(device.labels_asked(), "bird", "someone sent it anew");
    device.stop();
}

#[test]
fn a_retained_message_that_is_too_large_costs_label_sets_and_nothing_else() {
    if !is_here() {
        return;
    }
    logged();
    let broker = Broker::open();
    let subscriber = Subscriber::new(broker.port);
    publish(broker.port, "edgeclip/group/floor/labels/set", &vec![b'x'; 5 << 20], true);
    let device = Device::at(broker.port);
    wait("the reason", || logged().contains("too large waits").then_some(()));
    wait("the connection", || logged().contains("are not read until").then_some(()));
    device.event("cat", true, 3000);
    wait("the event", || subscriber.lines().iter().find_map(|line| seconds(line)));
    device.stop();
}

#[test]
fn home_assistant_is_told_of_every_label_and_of_those_that_go() {
    if !is_here() {
        return;
    }
    let broker = Broker::open();
    let subscriber = Subscriber::new(broker.port);
    let old = "homeassistant/binary_sensor/edgeclip_hall/label_old/config";
    let others = "homeassistant/binary_sensor/edgeclip_other/label_old/config";
    publish(broker.port, old, b"{}", true);
    publish(broker.port, others, b"{}", true);
    let device = Device::at(broker.port);
    let entities = [
        ("sensor", "label", "state_topic"),
        ("sensor", "score", "state_topic"),
        ("text", "labels", "command_topic"),
        ("image", "snapshot", "image_topic"),
        ("binary_sensor", "label_cat", "state_topic"),
    ];
    for (component, object, needed) in entities {
        let topic = format!("0 homeassistant/{component}/edgeclip_hall/{object}/config");
        let config: Value = serde_json::from_str(&subscriber.wait(&topic)).unwrap();
        for key in [needed, "unique_id", "name", "availability_topic", "origin"] {
            assert!(!config[key].is_null(), "{object} has no {key}: {config}");
        }
        assert_eq!(config["device"]["identifiers"][0], "edgeclip_hall");
        let topics = [&config["availability_topic"], &config[needed]];
        assert!(topics.iter().all(|topic| topic.as_str().unwrap().starts_with("edgeclip/hall/")));
    }
    let taken_away = format!("0 {old} ");
    wait("the end of a label of before the start", || {
        subscriber.lines().contains(&taken_away).then_some(())
    });
    device.use_labels(&["cat"]);
    let gone = wait("the dog's end", || {
        let dog = "0 homeassistant/binary_sensor/edgeclip_hall/label_big_dog_";
        let lines = subscriber.lines();
        lines.into_iter().find(|line| line.starts_with(dog) && line.ends_with("/config "))
    });
    subscriber.clear();
    publish(broker.port, "homeassistant/status", b"online", false);
    subscriber.wait("0 homeassistant/binary_sensor/edgeclip_hall/label_cat/config {");
    subscriber.wait("0 edgeclip/hall/state");
    let stays_gone =
        |line: &String| !line.starts_with(gone.trim_end()) || line.ends_with("/config ");
    assert!(subscriber.lines().iter().all(stays_gone));
    let late = Subscriber::new(broker.port);
    late.wait(&format!("1 {others}"));
    assert!(!late.lines().iter().any(|line| line.contains("label_old") && line.contains("_hall")));
    device.stop();
}

#[test]
fn a_wrong_password_is_said_and_tried_again() {
    if !is_here() {
        return;
    }
    logged();
    let set_password = |folder: &Path, password: &str| {
        let file = folder.join("passwords");
        let mut command = Command::new("mosquitto_passwd");
        let made = command.arg("-b").arg("-c").arg(file).args(["me", password]).output().unwrap();
        assert!(made.status.success());
    };
    let rules = "allow_anonymous false\npassword_file FOLDER/passwords";
    let mut broker = Broker::start(rules, |folder| set_password(folder, "right"));
    let file = broker.folder().join("ours");
    fs::write(&file, "wrongish\n").unwrap();
    let options =
        Options { user: "me".to_owned(), password_file: Some(file), ..options(broker.port) };
    let device = Device::start(&options, &snapshots::Options::default(), None);
    wait("the refusal", || logged().contains("mqtt.password").then_some(()));
    broker.kill();
    set_password(broker.folder(), "wrongish");
    broker.start_again();
    let connected = format!("connected to 127.0.0.1:{}", broker.port);
    wait("the connection", || logged().contains(&connected).then_some(()));
    assert!(!logged().contains("wrongish"), "no log shows a password");
    device.stop();
    let shown = format!("{:?}", Options { password: Secret::from("wrongish"), ..options });
    assert!(!shown.contains("wrongish"));
}

#[test]
fn tls_trusts_the_named_authority_only() {
    if !is_here() || !super::available("openssl", Command::new("openssl").arg("version")) {
        return;
    }
    logged();
    let rules = "allow_anonymous true\ncafile FOLDER/ca.pem\ncertfile FOLDER/cert.pem\n\
                 keyfile FOLDER/key.pem\nrequire_certificate true";
    let broker = Broker::start(rules, certificates);
    let others = tempfile::tempdir().unwrap();
    certificates(others.path());
    let options = |ca: &Path| Options {
        broker: format!("mqtts://localhost:{}", broker.port),
        ca_file: Some(ca.join("ca.pem")),
        cert_file: Some(broker.folder().join("cert.pem")),
        key_file: Some(broker.folder().join("key.pem")),
        ..options(broker.port)
    };
    let off = snapshots::Options::default();
    let device = Device::start(&options(others.path()), &off, None);
    wait("the refusal", || logged().contains("invalid peer certificate").then_some(()));
    device.stop();
    let device = Device::start(&options(broker.folder()), &off, None);
    let connected = format!("connected to localhost:{}", broker.port);
    wait("the connection", || logged().contains(&connected).then_some(()));
    device.stop();
}

/// An authority of our own, and a certificate of it for this machine.
pub(super) fn certificates(folder: &Path) {
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=authority' -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout key.pem -out request.pem
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\n' > names
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
