//! Server-sent events and pictures.

use super::*;

/// A reader of a response that does not end.
struct Stream(std::io::BufReader<TcpStream>);

impl Stream {
    fn open(device: &Device, path: &str) -> Self {
        let mut stream = device.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", device.address).unwrap();
        Self(std::io::BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut self.0, &mut line).unwrap();
        assert!(!line.is_empty(), "the stream ended");
        line
    }

    /// The lines up to one that begins so.
    fn find(&mut self, start: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// The data of the next event of that name.
    fn event(&mut self, name: &str) -> serde_json::Value {
        self.find(&format!("event: {name}\n"));
        let data = self.line();
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
    }
}

#[test]
fn events_tell_what_happens() {
    let mut device = Device::new();
    let mut news = Stream::open(&device, "/events");
    assert!(news.find("content-type:").contains("text/event-stream"));
    assert_eq!(news.event("state")["device"], "hall", "first how things stand");
    device.tell("line\nevent: evil\n\ndata: <b>", Transition::Leave);
    let event = news.event("event");
    assert_eq!(event["label"], "line\nevent: evil\n\ndata: <b>");
    assert_eq!(event["state"], "leave");
    device.http.notice(&Notice::Source(SourceState::Lost)).unwrap();
    assert_eq!(news.event("source"), "lost");
    device.http.notice(&Notice::Muted(true)).unwrap();
    assert_eq!(news.event("muted"), true);
    let report = LabelsReport {
        accepted: false,
        origin: "mqtt".into(),
        label_set: "sha256:0".into(),
        labels: 2,
        encoded: 0,
        error: Some("no".into()),
        line: Some(3),
        warnings: Vec::new(),
    };
    device.http.notice(&Notice::Labels(Arc::new(report))).unwrap();
    assert_eq!(news.event("labels")["line"], 3);
    device.status.with(|snapshot| snapshot.regions[0].labels[1].active = true);
    assert_eq!(news.event("state")["regions"][0]["labels"][1]["active"], true);
    device.http.tick(true).unwrap();
    assert!(news.event("lost").is_null(), "the page asks for the state then");
}

#[test]
fn a_quiet_device_still_says_that_it_is_there() {
    // What cuts off who idles leaves listeners alone.
    let device = Device::with(|options| options.header_ms_max = 300);
    let mut news = Stream::open(&device, "/events");
    news.event("state");
    assert!(news.event("alive").is_object());
}

#[test]
fn the_stream_shows_each_frame_once() {
    let device = Device::with(|options| options.stream_fps_max = 60.0);
    let mut one = Stream::open(&device, "/stream.mjpg");
    assert!(one.find("content-type:").contains("multipart/x-mixed-replace; boundary="));
    until(|| device.status.is_watched().then_some(()));
    let mut picture = |grey| {
        device.status.show(frame(grey));
        let length = one.find("Content-Length:");
        let length: usize = length.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(one.line(), "\r\n");
        // The chunk that these lines are in has a line of its own before them, and holds all of the part.
        let mut jpeg = vec![0; length];
        one.0.read_exact(&mut jpeg).unwrap();
        edgeclip::capture::decode(&jpeg).unwrap().rgb()[0]
    };
    assert!(picture(40).abs_diff(40) < 3);
    assert!(picture(200).abs_diff(200) < 3);
    drop(one);
    until(|| (!device.status.is_watched()).then_some(()));
}

#[test]
fn a_snapshot_is_the_picture_of_now() {
    let device = Device::new();
    let (status, done) = (device.status.clone(), Arc::new(()));
    let watching = Arc::downgrade(&done);
    let loop_ = std::thread::spawn(move || {
        while watching.upgrade().is_some() {
            if status.is_watched() {
                status.show(frame(90));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let answer = device.get("/snapshot.jpg");
    assert_eq!((answer.status, answer.header("content-type")), (200, "image/jpeg"));
    let shown = edgeclip::capture::decode(&answer.body).unwrap();
    assert_eq!((shown.width(), shown.height()), (64, 48));
    drop(done);
    loop_.join().unwrap();
    device.status.with(|snapshot| snapshot.source_state = SourceState::Lost);
    assert_eq!(device.get("/snapshot.jpg").status, 503, "not a picture of the past");
}

#[test]
fn without_pictures_none_is_shown() {
    let device = Device::with(|options| options.pictures = false);
    for path in ["/snapshot.jpg", "/stream.mjpg"] {
        let answer = device.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].as_str().unwrap().contains("http.pictures"));
    }
    assert_eq!(device.get("/api/state").json()["pictures"], false);
    assert!(!device.status.is_watched());
}
