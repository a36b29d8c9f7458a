//! The pages as a browser shows them. `EDGECLIP_SHOTS=FOLDER` keeps what they look like, as PNG.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use edgeclip::capture::{self, Frame, SourceState};
use edgeclip::classify::{Event, Transition};
use edgeclip::outputs::http::{Http, Options};
use edgeclip::outputs::{
    LabelStatus, LabelsReport, Notice, Output, RegionStatus, Request, Requests, Status,
};

use crate::browser::{Browser, is_available};

const TOKEN: &str = "correct-horse-battery";
const EVIL: &str = "<img src=x onerror=alert(1)>";
const PATIENCE: Duration = Duration::from_mins(1);
/// 2026-01-01T00:00:00Z
const NEW_YEAR_MS: u64 = 1_767_225_600_000;

struct Device {
    http: Http,
    status: Status,
    requests: Receiver<Request>,
    address: SocketAddr,
    /// Time of second 0.
    epoch_ms: u64,
}

impl Device {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { listen: "127.0.0.1:0".parse().unwrap(), ..Options::default() };
        change(&mut options);
        let (status, (sender, requests)) = (Status::default(), Requests::channel());
        status.with(|snapshot| {
            snapshot.device = "kitchen".into();
            snapshot.source = "cam0".into();
            snapshot.source_state = SourceState::Live;
            snapshot.frames_per_second = 12.4;
            snapshot.unix_ms = NEW_YEAR_MS;
            snapshot.label_set = "sha256:0123456789abcdef".into();
        });
        let http = Http::start(options, status.clone(), sender).unwrap();
        let address = wait(|| http.address());
        Self { http, status, requests, address, epoch_ms: NEW_YEAR_MS }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn show(&self, regions: Vec<RegionStatus>) {
        self.status.with(|snapshot| snapshot.regions = regions);
    }

    /// Shows a frame until the page has it: a viewer of the page before may still be there at first.
    fn show_picture(&self, browser: &Browser, frame: &Arc<Frame>) {
        wait(|| {
            self.status.show(Arc::clone(frame));
            let has = browser.value("document.getElementById('live').naturalWidth > 0");
            (has == true).then_some(())
        });
    }

    fn source(&mut self, state: SourceState) {
        self.status.with(|snapshot| snapshot.source_state = state);
        self.http.notice(&Notice::Source(state)).unwrap();
    }

    fn tell(&mut self, seconds: u64, label: &str, state: Transition) {
        let event = Event {
            v: 1,
            unix_ms: self.epoch_ms + seconds * 1000,
            device: "kitchen".into(),
            source: "cam0".into(),
            region: None,
            label: label.into(),
            state,
            score: 0.91,
            label_set: "sha256:0123".into(),
            model: "sha256:89ab".into(),
        };
        self.http.notice(&Notice::Event(Arc::new(event), None)).unwrap();
    }

    /// Stands in for the pipeline, for one set: "bad" in a line is a mistake.
    fn take_labels(&mut self) {
        let request = self.requests.recv_timeout(PATIENCE).unwrap();
        let Request::Labels { text, origin, reply } = request else { panic!("{request:?}") };
        let bad = text.lines().position(|line| line.contains("bad"));
        let report = LabelsReport {
            accepted: bad.is_none(),
            origin,
            label_set: format!("sha256:{:064x}", text.len()),
            labels: text.lines().count(),
            encoded: 1,
            error: bad.map(|_| format!("{EVIL} is no label")),
            line: bad.map(|index| index + 1),
            warnings: vec![format!("{EVIL} is doubtful")],
        };
        self.use_labels(&text, report, reply);
    }

    fn use_labels(
        &mut self,
        text: &str,
        report: LabelsReport,
        reply: Option<std::sync::mpsc::SyncSender<Arc<LabelsReport>>>,
    ) {
        if report.accepted {
            self.status.set_labels_text(text);
            self.status.with(|snapshot| snapshot.label_set.clone_from(&report.label_set));
        }
        let report = Arc::new(report);
        if let Some(reply) = reply {
            reply.send(Arc::clone(&report)).unwrap();
        }
        self.http.notice(&Notice::Labels(report)).unwrap();
    }
}

fn wait<T>(what: impl Fn() -> Option<T>) -> T {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(done) = what() {
            return done;
        }
        assert!(std::time::Instant::now() < end, "this should have come true by now");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn region(name: Option<&str>, labels: &[(&str, f32)], background: f32) -> RegionStatus {
    let labels = labels.iter().map(|(label, score)| LabelStatus {
        label: (*label).into(),
        score: *score,
        active: *score >= 0.5,
    });
    RegionStatus { region: name.map(Into::into), labels: labels.collect(), background }
}

fn kitchen(cat: f32) -> Vec<RegionStatus> {
    let dog = (0.94 - cat).max(0.0);
    let labels = [("a cat", cat), ("a dog", dog), ("a cup of coffee", 0.02), ("a person", 0.01)];
    vec![region(None, &labels, 0.03)]
}

fn picture(file: &str) -> Arc<Frame> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images").join(file);
    Arc::new(capture::read(&path).unwrap())
}

/// Keeps what the page looks like, where that is asked for.
fn keep(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("EDGECLIP_SHOTS") {
        // Bars move for a moment.
        std::thread::sleep(Duration::from_millis(400));
        let path = Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(path, browser.screenshot()).unwrap();
    }
}

fn assert_fits(browser: &Browser, what: &str) {
    let over = browser.value("document.documentElement.scrollWidth - innerWidth");
    assert!(over.as_i64().unwrap() <= 0, "{what}: {over} pixels too wide");
}

/// Text stands out from what is behind it as WCAG 2 asks for (1.4.3): 4.5 to 1.
fn assert_readable(browser: &Browser, what: &str) {
    const WORST: &str = "(() => {
        const channels = (color) => color.match(/[0-9.]+/g).map(Number);
        const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
        const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        const behind = (element) => {
            const color = channels(getComputedStyle(element).backgroundColor);
            return color[3] === 0 ? behind(element.parentElement) : color;
        };
        const texts = [...document.querySelectorAll('header *, .region *, #recent *')].filter((element) =>
            element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3));
        const ratios = texts.map((element) => {
            const pair = [channels(getComputedStyle(element).color), behind(element)].map(light);
            return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), element.className || element.tagName];
        });
        return ratios.length > 5 ? ratios.sort((a, b) => a[0] - b[0])[0] : [0, 'too few texts'];
    })()";
    let worst = browser.value(WORST);
    assert!(worst[0].as_f64().unwrap() >= 4.5, "{what}: {worst}");
}

/// The page asked this device alone, and complained of nothing.
fn assert_clean(browser: &Browser, device: &Device) {
    let requests = browser.requests();
    assert!(requests.iter().any(|url| url.ends_with("/events") || url.ends_with("/labels")));
    for url in requests {
        let own = url.starts_with(&device.url("/")) || url.starts_with("data:");
        assert!(own, "the page asked {url}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_shows_what_the_device_sees() {
    if !is_available() {
        return;
    }
    let mut device = Device::new(|_| {});
    device.show(kitchen(0.91));
    device.tell(1, "a dog", Transition::Enter);
    let browser = Browser::start();
    browser.resize(1920, 1080);
    browser.requests();
    browser.open(&device.url("/?theme=light"));
    browser.wait_for_text(".answer", "a cat");
    browser.wait_for_text("#device", "kitchen");
    browser.wait_for_text("#events .name", "a dog");
    browser.wait_until_seen("#offline", false);

    device.show_picture(&browser, &picture("cat.jpg"));
    browser.wait_until_seen("#live", true);

    device.show(kitchen(0.2));
    browser.wait_for_text(".answer", "a dog");
    let bars = "[...document.querySelectorAll('.bars .percent')].map((bar) => bar.textContent)";
    browser.wait_for(bars, vec!["20 %", "74 %", "2 %", "1 %", "3 %"]);
    browser.wait_for("document.querySelectorAll('.fill')[1].style.transform", "translateX(-26%)");
    device.tell(2, "a dog", Transition::Leave);
    browser.wait_for("document.querySelectorAll('#events li').length", 2);
    browser.wait_for_text("#events .what", "ended");

    device.show(vec![region(None, &[("a cat", 0.1), ("a dog", 0.2)], 0.7)]);
    browser.wait_for_text(".answer", "none of these");

    device.show(vec![region(None, &[(EVIL, 0.9), ("</li>\n\"quoted\" & 'so'", 0.05)], 0.05)]);
    device.tell(3, EVIL, Transition::Enter);
    browser.wait_for_text(".answer", EVIL);
    browser.wait_for_text("#events .name", EVIL);
    browser.wait_for("document.querySelectorAll('img').length", 1);
    assert_clean(&browser, &device);
}

#[test]
fn the_page_follows_what_the_system_prefers() {
    if !is_available() {
        return;
    }
    let device = Device::new(|_| {});
    device.show(kitchen(0.91));
    let browser = Browser::start();
    let prefer = |scheme: &str, motion: &str| {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]);
        browser.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
    };
    let background = "getComputedStyle(document.body).backgroundColor";
    let (light, dark) = ("rgb(238, 241, 245)", "rgb(11, 14, 19)");
    for (scheme, query, wanted) in [
        ("light", "", light),
        ("dark", "", dark),
        ("dark", "?theme=light", light),
        ("light", "?theme=dark", dark),
        ("dark", "?theme=\"><b>", dark),
    ] {
        prefer(scheme, "no-preference");
        browser.open(&device.url(&format!("/{query}")));
        browser.wait_for(background, wanted);
    }
    let transition = "getComputedStyle(document.querySelector('.fill')).transitionDuration";
    browser.wait_for_text(".answer", "a cat");
    browser.wait_for(transition, "0.25s");
    prefer("light", "reduce");
    browser.wait_for(transition, "0s");
}

#[test]
fn a_lost_camera_and_a_lost_device_are_unmissable() {
    if !is_available() {
        return;
    }
    let mut device = Device::new(|_| {});
    device.show(kitchen(0.91));
    let browser = Browser::start();
    browser.resize(1280, 800);
    browser.open(&device.url("/?theme=dark"));
    browser.wait_for_text(".answer", "a cat");
    browser.wait_until_seen("#lost", false);
    device.source(SourceState::Lost);
    browser.wait_until_seen("#lost", true);
    browser.wait_for_text(".answer", "unknown");
    browser.wait_for_text("#lost-title", "Camera lost");
    browser.wait_for("document.title", "⚠ Camera lost");
    assert!(browser.text("#lost-text").contains("Last picture at"));
    device.source(SourceState::Silent);
    browser.wait_for_text("#lost-title", "No picture from the camera");
    device.source(SourceState::Live);
    browser.wait_until_seen("#lost", false);

    // The same device comes back at its address.
    let (listen, status) = (device.address, device.status.clone());
    drop(device);
    browser.wait_until_seen("#offline", true);
    keep(&browser, "offline");
    let options = Options { listen, ..Options::default() };
    let (sender, _requests) = Requests::channel();
    let _again = Http::start(options, status, sender).unwrap();
    browser.wait_until_seen("#offline", false);
    browser.wait_for_text(".answer", "a cat");
}

#[test]
fn labels_are_edited_behind_the_pin() {
    if !is_available() {
        return;
    }
    let mut device = Device::new(|options| options.pin = Some("471100".into()));
    device.status.set_labels_text("a cat\na dog\n");
    device.show(kitchen(0.9));
    let browser = Browser::start();
    browser.resize(1280, 800);
    browser.open(&device.url("/labels?theme=light"));
    browser.wait_for("document.getElementById('text').value", "a cat\na dog\n");
    browser.wait_for("document.getElementById('save').disabled", true);
    assert_clean(&browser, &device);

    browser.type_into("#text", "a cat\na dog\nsomething bad\na cup of coffee");
    browser.click("#save");
    browser.wait_until_seen("dialog", true);
    browser.type_into("#secret", "000000");
    browser.click("dialog .primary");
    browser.wait_for_text("dialog .error", "This is not the PIN");
    keep(&browser, "pin");
    browser.type_into("#secret", "471100");
    browser.click("dialog .primary");
    device.take_labels();
    browser.wait_for_text("#outcome-text", &format!("Line 3: {EVIL} is no label"));
    browser.wait_until_seen("#mark", true);
    browser.wait_for_text("#warnings li", &format!("{EVIL} is doubtful"));
    let selected = "document.getElementById('text').value.slice(\
                    document.getElementById('text').selectionStart, \
                    document.getElementById('text').selectionEnd)";
    browser.wait_for(selected, "something bad");
    keep(&browser, "labels-error-light");
    browser.value("document.documentElement.dataset.theme = 'dark'");
    keep(&browser, "labels-error-dark");
    browser.resize(390, 844);
    assert_fits(&browser, "the editor on a phone");
    keep(&browser, "labels-phone");
    browser.resize(1280, 800);

    browser.type_into("#text", "a cat\na cup of coffee");
    browser.wait_until_seen("#mark", false);
    browser.click("#save");
    device.take_labels();
    browser.wait_for_text("#outcome-text", "In use now: 2 labels. Some of it is doubtful:");
    browser.wait_for("document.querySelectorAll('img').length", 0);
    keep(&browser, "labels-saved");

    browser.click("#rollback");
    let asked = device.requests.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(asked, Request::Rollback), "{asked:?}");
    let back = |origin: &str, labels| LabelsReport {
        accepted: true,
        origin: origin.into(),
        label_set: format!("sha256:{origin}"),
        labels,
        encoded: 0,
        error: None,
        line: None,
        warnings: Vec::new(),
    };
    device.use_labels("a cat\na dog\n", back("rollback", 2), None);
    browser.wait_for("document.getElementById('text').value", "a cat\na dog\n");
    browser.wait_for_text("#outcome-text", "In use now: 2 labels.");
    device.use_labels("a fish\n", back("mqtt", 1), None);
    browser.wait_for("document.getElementById('text').value", "a fish\n");
    browser.wait_for_text("#outcome-text", "The labels were changed (mqtt).");
}

#[test]
fn a_guarded_page_asks_for_the_token_once() {
    if !is_available() {
        return;
    }
    let device = Device::new(|options| options.token = Some(TOKEN.into()));
    device.show(kitchen(0.91));
    let browser = Browser::start();
    browser.open(&device.url("/"));
    browser.wait_until_seen("dialog", true);
    assert_eq!(browser.text(".answer"), "", "nothing is shown before");
    browser.type_into("#secret", TOKEN);
    browser.click("dialog .primary");
    browser.wait_for_text(".answer", "a cat");
    device.show_picture(&browser, &picture("cat.jpg"));
    browser.wait_for("document.cookie", "");
    browser.wait_for("sessionStorage.length + localStorage.length", 0);
    browser.open(&device.url("/labels"));
    browser.wait_for("document.getElementById('text').disabled", false);
    browser.wait_until_seen("dialog", false);
}

#[test]
fn without_pictures_the_answer_has_their_room() {
    if !is_available() {
        return;
    }
    let mut device = Device::new(|options| options.pictures = false);
    device.show(kitchen(0.91));
    device.tell(1, "a cat", Transition::Enter);
    let browser = Browser::start();
    for (width, height, screen) in [(1920, 1080, "1080p"), (390, 844, "phone")] {
        browser.resize(width, height);
        browser.open(&device.url("/?theme=light"));
        browser.wait_for_text(".answer", "a cat");
        browser.wait_until_seen("#picture", false);
        assert_fits(&browser, screen);
        keep(&browser, &format!("{screen}-no-pictures"));
        device.source(SourceState::Lost);
        browser.wait_until_seen("#lost", true);
        assert_fits(&browser, screen);
        keep(&browser, &format!("{screen}-no-pictures-lost"));
        device.source(SourceState::Live);
        browser.wait_until_seen("#lost", false);
    }
    assert!(!device.status.is_watched());
}

#[test]
fn the_page_fits_screens_and_phones() {
    if !is_available() {
        return;
    }
    let mut device = Device::new(|_| {});
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    device.epoch_ms = now - 210_000;
    device.status.with(|snapshot| snapshot.unix_ms = now);
    for (seconds, label, state) in [
        (1, "a cup of coffee", Transition::Enter),
        (64, "a cup of coffee", Transition::Leave),
        (65, "none", Transition::Enter),
        (190, "none", Transition::Leave),
        (190, "a dog", Transition::Enter),
        (207, "a dog", Transition::Leave),
        (208, "a cat", Transition::Enter),
    ] {
        device.tell(seconds, label, state);
    }
    let browser = Browser::start();
    let frame = picture("cat.jpg");
    let long = "somebody carrying a tray with far too many cups of coffee through a door";
    let many: Vec<String> = (0..300).map(|index| format!("thing number {index}")).collect();
    let many: Vec<(&str, f32)> = many.iter().map(|name| (&**name, 0.003)).collect();
    let four = ["door", "table", "window", "shelf with the good plates"];
    let four =
        four.map(|name| region(Some(name), &[("a cat", 0.2), ("a dog", 0.75), (long, 0.01)], 0.04));
    let scenes: [(&str, Vec<RegionStatus>); 5] = [
        ("one", kitchen(0.91)),
        ("none", vec![region(None, &[("a cat", 0.12), ("a dog", 0.08)], 0.8)]),
        ("long", vec![region(None, &[(long, 0.9), ("a cat", 0.05)], 0.05)]),
        ("many", vec![region(None, &many, 0.1)]),
        ("regions", four.into()),
    ];
    for (theme, width, height, screen) in [
        ("light", 1920, 1080, "1080p-light"),
        ("dark", 1920, 1080, "1080p-dark"),
        ("light", 390, 844, "phone-light"),
        ("dark", 390, 844, "phone-dark"),
        ("light", 1024, 600, "small"),
        ("dark", 768, 1024, "tablet"),
    ] {
        browser.resize(width, height);
        browser.open(&device.url(&format!("/?theme={theme}")));
        for (scene, regions) in &scenes {
            let what = format!("{screen}-{scene}");
            device.show(regions.clone());
            browser.wait_for("document.querySelectorAll('.region').length", regions.len());
            device.show_picture(&browser, &frame);
            assert_fits(&browser, &what);
            assert_readable(&browser, &what);
            if width > height {
                let over = browser.value("document.documentElement.scrollHeight - innerHeight");
                assert!(over.as_i64().unwrap() <= 0, "{what}: {over} pixels too high");
            }
            keep(&browser, &what);
        }
        device.show(kitchen(0.91));
        device.source(SourceState::Lost);
        browser.wait_until_seen("#lost", true);
        keep(&browser, &format!("{screen}-lost"));
        device.source(SourceState::Live);
        browser.wait_until_seen("#lost", false);
    }
}
