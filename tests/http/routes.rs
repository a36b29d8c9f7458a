//! What each route answers.

use super::*;

#[test]
fn the_pages_have_all_that_they_need_and_nothing_inline() {
    let device = Device::new();
    for (path, kind) in [
        ("/", "text/html"),
        ("/labels", "text/html"),
        ("/kiosk.js", "text/javascript"),
        ("/labels.js", "text/javascript"),
        ("/common.js", "text/javascript"),
        ("/theme.js", "text/javascript"),
        ("/app.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = device.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").starts_with(kind), "{path}");
        let text = answer.text();
        for outside in ["https://", "//cdn", "@import", "innerHTML", "insertAdjacentHTML", "eval("]
        {
            assert!(!text.contains(outside), "{path} has {outside}");
        }
        if kind == "text/html" {
            assert!(
                ["style=", "onclick=", "onload=", "onerror="]
                    .iter()
                    .all(|word| !text.contains(word)),
                "{path}: inline"
            );
            for part in text.split("<script").skip(1) {
                let tag = part.split('>').next().unwrap();
                assert!(tag.contains("src=\"/"), "{path}: a script without a file: {tag}");
            }
        }
    }
}

#[test]
fn every_answer_carries_the_headers_that_keep_others_out() {
    let device = Device::with(|options| options.token = Some(TOKEN.into()));
    for path in ["/", "/api/state", "/healthz", "/nothing/here", "/../../etc/passwd"] {
        let answer = device.get(path);
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        let caching = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), caching, "{path}");
    }
}

#[test]
fn what_is_not_there_is_refused_in_json() {
    let device = Device::new();
    for path in ["/nothing", "/..%2f..%2fetc/passwd", "/%00", "/api", "/api/labels/"] {
        let answer = device.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    let answer = device.ask("DELETE", "/api/labels", &[], b"");
    assert_eq!((answer.status, answer.json()["error"].is_string()), (405, true));
}

#[test]
fn the_state_and_the_last_events() {
    let mut device = Device::new();
    device.tell("cat", Transition::Enter);
    device.tell("<img src=x onerror=alert(1)>", Transition::Enter);
    let answer = device.get("/api/state");
    assert_eq!(answer.header("content-type"), "application/json");
    let overview = answer.json();
    assert_eq!(overview["state"]["device"], "hall");
    assert_eq!(overview["state"]["source_state"], "live");
    assert_eq!(overview["state"]["regions"][0]["labels"][0]["label"], "cat");
    assert_eq!(overview["recent"][0]["label"], "<img src=x onerror=alert(1)>", "newest first");
    assert_eq!(overview["recent"][1]["time"], "2026-01-01T00:00:00.000Z");
    assert_eq!(overview["pictures"], true);
    assert!(overview["needs"].is_null());
}

#[test]
fn the_labels_in_use_as_they_were_written() {
    let device = Device::new();
    device.status.set_labels_text("a cat\n\"quoted\" <b>\n");
    let labels = device.get("/api/labels").json();
    assert_eq!(labels["text"], "a cat\n\"quoted\" <b>\n");
    assert_eq!(labels["label_set"], "sha256:0123");
}

#[test]
fn new_labels_are_taken_or_refused_with_the_line() {
    let mut device = Device::new();
    let pipeline = device.take_labels();
    let taken = device.ask("PUT", "/api/labels", &[], b"a cat\na dog\n");
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(taken.json()["accepted"], true);
    assert_eq!(taken.json()["labels"], 2);
    assert_eq!(taken.json()["origin"], "http");
    assert_eq!(device.get("/api/labels").json()["text"], "a cat\na dog\n");
    let refused = device.ask("PUT", "/api/labels", &[], b"a cat\n\na bad one\n");
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["line"], 3);
    assert_eq!(refused.json()["error"], "a bad \"label\"");
    assert_eq!(device.get("/api/labels").json()["text"], "a cat\na dog\n", "as before");
    let json = br#"{"label": [{"name": "a cat"}]}"#;
    assert_eq!(device.ask("PUT", "/api/labels", &[JSON], json).status, 200);
    let binary = device.ask("PUT", "/api/labels", &[], b"a \xff cat");
    assert_eq!((binary.status, binary.json()["error"].is_string()), (400, true));
    // The pipeline's end.
    assert_eq!(device.post("/api/picture", "").status, 202);
    assert_eq!(pipeline.join().unwrap().len(), 3);
}

#[test]
fn a_pipeline_that_is_slow_full_or_gone_is_told_apart() {
    let mut device = Device::with(|options| options.reply_ms_max = 200);
    let slow = device.ask("PUT", "/api/labels", &[], b"a cat");
    assert_eq!(slow.status, 504, "{}", slow.text());
    let mut left = 100;
    while device.post("/api/picture", "").status == 202 {
        left -= 1;
        assert!(left > 0, "more requests wait than can be");
    }
    let full = device.ask("PUT", "/api/labels", &[], b"a cat");
    assert_eq!(full.status, 503);
    assert!(full.json()["error"].as_str().unwrap().contains("too many requests"));
    drop(device.requests.take());
    let gone = device.post("/api/labels/rollback", "");
    assert_eq!(gone.status, 503);
    assert!(gone.json()["error"].as_str().unwrap().contains("stopping"));
}

#[test]
fn requests_reach_the_pipeline() {
    let device = Device::new();
    let requests = device.requests.as_ref().unwrap();
    let next = || requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(device.post("/api/labels/rollback", "{}").status, 202);
    assert!(matches!(next(), Request::Rollback));
    assert_eq!(device.post("/api/picture", "").status, 202);
    assert!(matches!(next(), Request::Picture));
    assert_eq!(device.post("/api/mute", r#"{"muted": true}"#).status, 202);
    assert!(matches!(next(), Request::Mute(true)));
    for wrong in ["", "{}", "[]", r#"{"muted": 1}"#, r#"{"muted": true, "more": 1}"#] {
        assert_eq!(device.post("/api/mute", wrong).status, 400, "{wrong}");
    }
}

#[test]
fn metrics_have_names_units_and_escaped_values() {
    let mut device = Device::new();
    device.tell("cat", Transition::Enter);
    device.status.with(|snapshot| {
        snapshot.counts.captured = 12;
        snapshot.inferred = 4;
        snapshot.frame_ms_sum = 500.0;
        snapshot.regions = vec![region(&[("a \"b\"\nevil 1\\", 0.25, true)])];
    });
    let answer = device.get("/metrics");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for line in [
        "# TYPE edgeclip_frames_captured_total counter",
        "edgeclip_frames_captured_total 12",
        "edgeclip_frames_inferred_total 4",
        "edgeclip_frame_duration_seconds_sum 0.5",
        "edgeclip_frame_duration_seconds_count 4",
        "edgeclip_source_up{source=\"cam0\"} 1",
        "edgeclip_source_state{source=\"cam0\",state=\"lost\"} 0",
        "edgeclip_label_active{region=\"\",label=\"a \\\"b\\\"\\nevil 1\\\\\"} 1",
        "edgeclip_label_score{region=\"\",label=\"a \\\"b\\\"\\nevil 1\\\\\"} 0.25",
        "edgeclip_events_total{state=\"enter\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("edgeclip_build_info{version=\"") && text.ends_with('\n'));
    check_exposition(text);
}

/// The rules of the format: each family is described once, before its samples, which stand together.
fn check_exposition(text: &str) {
    let (mut families, mut family) = (std::collections::BTreeSet::new(), "");
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            family = described.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} is described twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name.strip_prefix(family);
            assert!(matches!(suffix, Some("" | "_sum" | "_count")), "{line} stands under {family}");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
}

#[test]
fn health_follows_the_source() {
    let device = Device::with(|options| options.healthy_ms_max = 300);
    // Sets both and asks; more than once, where time may have passed in between.
    let health = |state| {
        device.status.with(|snapshot| {
            snapshot.source_state = state;
            snapshot.inferred += 1;
        });
        let answer = device.get("/healthz");
        (answer.status, answer.text().to_owned())
    };
    until(|| (health(SourceState::Live) == (200, "ok\n".to_owned())).then_some(()));
    assert_eq!(health(SourceState::Quiet).0, 200);
    let (status, reason) = health(SourceState::Lost);
    assert_eq!(status, 503);
    assert!(reason.contains("lost"), "{reason}");
    assert_eq!(health(SourceState::Silent).0, 503);
    until(|| (health(SourceState::Live).0 == 200).then_some(()));
    let stuck = until(|| Some(device.get("/healthz")).filter(|answer| answer.status == 503));
    assert!(stuck.text().contains("no frame went through"), "{}", stuck.text());
    until(|| (health(SourceState::Live).0 == 200).then_some(()));
}

#[test]
fn a_taken_port_is_told_and_tried_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let options = Options { listen, ..Options::default() };
    let (requests, _receiver) = Requests::channel();
    let http = Http::start(options, Status::default(), requests).unwrap();
    let said = http.trouble().unwrap();
    assert!(said.contains(&listen.to_string()) && said.contains("another program"), "{said}");
    assert_eq!(http.address(), None);
    drop(taken);
    assert_eq!(until(|| http.address()), listen);
    assert_eq!(http.trouble(), None);
    let answer = ureq::get(format!("http://{listen}/labels")).call().unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn stopping_frees_the_port_at_once_even_with_listeners() {
    let mut device = Device::new();
    let mut listener = device.connect();
    let host = device.address;
    write!(listener, "GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut first = [0; 12];
    listener.read_exact(&mut first).unwrap();
    device.http.stop();
    let mut rest = Vec::new();
    let _ = listener.read_to_end(&mut rest);
    until(|| std::net::TcpListener::bind(host).ok());
}
