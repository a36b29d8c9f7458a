//! The HTTP output over real connections: every route, who may use it, and its limits.

mod guarded;
mod limits;
mod routes;
mod streams;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use edgeclip::capture::{Frame, SourceState};
use edgeclip::classify::{Event, Transition};
use edgeclip::outputs::http::{Http, Options};
use edgeclip::outputs::{
    LabelStatus, LabelsReport, Notice, Output, RegionStatus, Request, Requests, Status,
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "correct-horse-battery";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A device with its page, and the pipeline's ends of it.
struct Device {
    http: Http,
    status: Status,
    requests: Option<Receiver<Request>>,
    address: SocketAddr,
    agent: ureq::Agent,
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Device {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { listen: "127.0.0.1:0".parse().unwrap(), ..Options::default() };
        change(&mut options);
        let (status, (requests, receiver)) = (Status::default(), Requests::channel());
        status.with(|snapshot| {
            snapshot.device = "hall".into();
            snapshot.source = "cam0".into();
            snapshot.source_state = SourceState::Live;
            snapshot.label_set = "sha256:0123".into();
            snapshot.regions = vec![region(&[("cat", 0.9, true), ("dog", 0.1, false)])];
        });
        let http = Http::start(options, status.clone(), requests).unwrap();
        let address = until(|| http.address());
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        Self { http, status, requests: Some(receiver), address, agent: config.into() }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match method {
            "GET" | "HEAD" => self.agent.run(request.body(()).unwrap()),
            _ => self.agent.run(request.body(body).unwrap()),
        }
        .unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().read_to_vec().unwrap(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    fn post(&self, path: &str, json: &str) -> Answer {
        self.ask("POST", path, &[JSON], json.as_bytes())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes back for bytes that no client would send.
    fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Status of a `GET` with this `Host`.
    fn status_for_host(&self, host: &str, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = self.raw(&request);
        answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap()
    }

    /// Stands in for the pipeline: takes any set but one with "bad" in it.
    fn take_labels(&mut self) -> std::thread::JoinHandle<Vec<String>> {
        let (requests, status) = (self.requests.take().unwrap(), self.status.clone());
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            while let Ok(request) = requests.recv_timeout(PATIENCE) {
                let Request::Labels { text, origin, reply } = request else { break };
                let bad = text.lines().position(|line| line.contains("bad"));
                let report = LabelsReport {
                    accepted: bad.is_none(),
                    origin,
                    label_set: "sha256:4567".into(),
                    labels: text.lines().count(),
                    encoded: 2,
                    error: bad.map(|_| "a bad \"label\"".into()),
                    line: bad.map(|index| index + 1),
                    warnings: vec!["a lone <b>label</b>".into()],
                };
                if report.accepted {
                    status.set_labels_text(text.clone());
                }
                seen.push(text);
                reply.unwrap().send(Arc::new(report)).unwrap();
            }
            seen
        })
    }

    fn tell(&mut self, label: &str, state: Transition) {
        let event = Arc::new(event(label, state));
        self.http.notice(&Notice::Event(event, None)).unwrap();
    }
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What a browser sends back after `Set-Cookie`.
    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

fn region(labels: &[(&str, f32, bool)]) -> RegionStatus {
    let labels = labels.iter().map(|(label, score, active)| LabelStatus {
        label: (*label).into(),
        score: *score,
        active: *active,
    });
    RegionStatus { region: None, labels: labels.collect(), background: 0.05 }
}

fn event(label: &str, state: Transition) -> Event {
    Event {
        v: 1,
        unix_ms: 1_767_225_600_000,
        device: "hall".into(),
        source: "cam0".into(),
        region: None,
        label: label.into(),
        state,
        score: 0.91,
        label_set: "sha256:0123".into(),
        model: "sha256:89ab".into(),
    }
}

fn frame(grey: u8) -> Arc<Frame> {
    Arc::new(Frame::new(64, 48, vec![grey; 64 * 48 * 3]).unwrap())
}

/// Waits for something to come true.
fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = what() {
            return done;
        }
        assert!(Instant::now() < end, "this should have come true by now");
        std::thread::sleep(Duration::from_millis(5));
    }
}
