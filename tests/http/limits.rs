//! Too much, too often, too slow.

use edgeclip::prompts::SET_BYTES_MAX;

use super::*;

#[test]
fn a_label_set_over_a_mebibyte_is_too_large() {
    let mut device = Device::new();
    let pipeline = device.take_labels();
    let most = vec![b'a'; SET_BYTES_MAX];
    assert_eq!(device.ask("PUT", "/api/labels", &[], &most).status, 200);
    for length in [SET_BYTES_MAX + 1, 4 * SET_BYTES_MAX] {
        let answer = device.ask("PUT", "/api/labels", &[], &vec![b'a'; length]);
        assert_eq!(answer.status, 413, "{length} bytes");
        assert!(answer.json()["error"].as_str().unwrap().contains("1048576"));
    }
    let login = device.post("/api/login", &"a".repeat(20_000));
    assert_eq!(login.status, 413, "other bodies are smaller");
    assert_eq!(device.post("/api/picture", "").status, 202);
    assert_eq!(pipeline.join().unwrap().len(), 1, "the others never reached the pipeline");
}

#[test]
fn a_body_without_end_is_cut_off() {
    let device = Device::new();
    let mut stream = device.connect();
    let head = format!(
        "PUT /api/labels HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        device.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    let sent = (0..1000).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 1000, "64 MB went through");
    assert_eq!(device.get("/api/state").status, 200, "others go on");
}

#[test]
fn headers_have_a_limit() {
    let device = Device::new();
    let long = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    assert!(!device.raw(&long).contains(" 200 "), "40 kB of a header");
    let many = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n", "X: a\r\n".repeat(100));
    assert!(device.raw(&many).starts_with("HTTP/1.1 431"), "100 headers");
    assert!(!device.raw("nonsense\r\n\r\n").contains(" 200 "));
    assert_eq!(device.get("/api/state").status, 200);
}

#[test]
fn a_client_that_sends_its_headers_drop_by_drop_is_cut_off() {
    let device = Device::with(|options| options.header_ms_max = 300);
    let mut slow = device.connect();
    let cut = (0..600).find(|_| {
        std::thread::sleep(Duration::from_millis(50));
        slow.write_all(b"G").is_err() || {
            slow.set_nonblocking(true).unwrap();
            let end = slow.read(&mut [0; 64]).is_ok();
            slow.set_nonblocking(false).unwrap();
            end
        }
    });
    assert!(cut.is_some(), "still connected after half a minute");
    let mut idle = device.connect();
    assert_eq!(idle.read(&mut [0; 64]).unwrap_or(0), 0, "one that sends nothing is, too");
    let mut kept = device.connect();
    write!(kept, "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", device.address).unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}, and then the end");
}

#[test]
fn connections_have_a_limit_and_come_free_again() {
    let device = Device::with(|options| options.connections_max = 8);
    let host = device.address;
    // Six of the eight are one peer's.
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..6 {
        let mut stream = device.connect();
        write!(stream, "GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let mut seventh = device.connect();
    let mut answer = String::new();
    seventh.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("too many connections"),
        "{answer}"
    );
    drop(held);
    until(|| {
        device
            .agent
            .get(format!("http://{host}/api/state"))
            .call()
            .ok()
            .filter(|a| a.status() == 200)
    });
    let metrics = until(|| Some(device.get("/metrics")).filter(|answer| answer.status == 200));
    assert!(!metrics.text().contains("edgeclip_http_turned_away_total 0\n"));
}

#[test]
fn a_viewer_that_does_not_read_loses_its_place() {
    let device = Device::with(|options| {
        options.stream_fps_max = 60.0;
        options.stalled_ms_max = 500;
    });
    let mut viewer = device.connect();
    write!(viewer, "GET /stream.mjpg HTTP/1.1\r\nHost: {}\r\n\r\n", device.address).unwrap();
    until(|| device.status.is_watched().then_some(()));
    // Noise, so that a few pictures fill all buffers on the way.
    let noise = |seed: u32| {
        let mut state = seed | 1;
        let pixels = (0..1280 * 960 * 3).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        Arc::new(Frame::new(1280, 960, pixels.collect()).unwrap())
    };
    let frames = [noise(1), noise(2)];
    let mut turn = 0;
    until(|| {
        turn += 1;
        device.status.show(Arc::clone(&frames[turn % 2]));
        (!device.status.is_watched()).then_some(())
    });
    drop(viewer);
}

#[test]
fn a_peer_that_asks_too_often_waits() {
    let device = Device::with(|options| options.requests_per_second_max = 1.0);
    let first: Vec<u16> = (0..4).map(|_| device.get("/api/state").status).collect();
    assert_eq!(first, [200; 4], "four at once are fine");
    let refused = until(|| Some(device.get("/")).filter(|answer| answer.status != 200));
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
}
