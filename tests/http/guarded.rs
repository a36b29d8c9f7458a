//! Who may do what, and what web pages of other sites may not.

use super::*;

const SEEING: &[&str] =
    &["/events", "/stream.mjpg", "/snapshot.jpg", "/metrics", "/api/state", "/api/labels"];
const CHANGING: &[(&str, &str)] = &[
    ("PUT", "/api/labels"),
    ("POST", "/api/labels/rollback"),
    ("POST", "/api/mute"),
    ("POST", "/api/picture"),
];

fn guarded() -> Device {
    Device::with(|options| {
        options.token = Some(TOKEN.into());
        options.healthy_ms_max = 86_400_000;
    })
}

#[test]
fn nothing_is_shown_or_changed_without_the_token() {
    let device = guarded();
    for path in SEEING {
        let answer = device.get(path);
        assert_eq!((answer.status, &answer.json()["needs"]), (401, &"token".into()), "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for (method, path) in CHANGING {
        assert_eq!(device.ask(method, path, &[JSON], b"{}").status, 401, "{method} {path}");
    }
    for path in ["/", "/labels", "/app.css", "/kiosk.js", "/healthz"] {
        assert_eq!(device.get(path).status, 200, "{path} has no secrets");
    }
    assert!(device.requests.as_ref().unwrap().try_recv().is_err(), "nothing reached the pipeline");
}

#[test]
fn programs_send_the_token() {
    let mut device = guarded();
    let pipeline = device.take_labels();
    let bearer = format!("Bearer {TOKEN}");
    let token = [("Authorization", &*bearer)];
    for path in ["/metrics", "/api/state", "/api/labels"] {
        assert_eq!(device.ask("GET", path, &token, b"").status, 200, "{path}");
    }
    assert_eq!(device.ask("PUT", "/api/labels", &token, b"a cat").status, 200);
    assert_eq!(device.ask("POST", "/api/picture", &token, b"").status, 202, "no JSON needed");
    pipeline.join().unwrap();
}

#[test]
fn browsers_trade_the_token_for_a_session() {
    let device = guarded();
    let wrong = device.post("/api/login", r#"{"token": "wrong-horse-battery"}"#);
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("set-cookie"), "");
    let login = device.post("/api/login", &format!(r#"{{"token": "{TOKEN}"}}"#));
    assert_eq!(login.status, 204);
    let set = login.header("set-cookie");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    assert!(!set.contains(TOKEN), "{set}");
    let cookie = login.cookie();
    let session = [("Cookie", &*cookie), JSON];
    assert_eq!(device.ask("GET", "/api/state", &session, b"").status, 200);
    assert_eq!(device.ask("POST", "/api/picture", &session, b"{}").status, 202);
    let other = device.post("/api/login", &format!(r#"{{"token": "{TOKEN}"}}"#)).cookie();
    assert_ne!(cookie, other, "sessions are random");
    assert_eq!(device.ask("POST", "/api/logout", &session, b"{}").status, 204);
    assert_eq!(device.ask("GET", "/api/state", &session, b"").status, 401);
    let made_up = [("Cookie", "edgeclip_0=00000000")];
    assert_eq!(device.ask("GET", "/api/state", &made_up, b"").status, 401);
}

#[test]
fn the_pin_lets_a_browser_change_things() {
    let device = Device::with(|options| options.pin = Some("471100".into()));
    assert_eq!(device.get("/api/state").json()["needs"], "pin");
    let refused = device.ask("PUT", "/api/labels", &[], b"a cat");
    assert_eq!((refused.status, &refused.json()["needs"]), (403, &"pin".into()));
    assert_eq!(device.post("/api/login", r#"{"pin": "000000"}"#).status, 403);
    let cookie = device.post("/api/login", r#"{"pin": "471100"}"#).cookie();
    let session = [("Cookie", &*cookie), JSON];
    assert_eq!(device.ask("POST", "/api/picture", &session, b"").status, 202);
    assert!(device.ask("GET", "/api/state", &session, b"").json()["needs"].is_null());
}

#[test]
fn guessing_ends_with_429_and_programs_with_the_token_go_on() {
    let device = guarded();
    let guess = || device.post("/api/login", r#"{"token": "wrong-horse-battery"}"#);
    let refused = until(|| Some(guess()).filter(|answer| answer.status != 401));
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    let right = device.post("/api/login", &format!(r#"{{"token": "{TOKEN}"}}"#));
    assert_eq!(right.status, 429);
    let bearer = format!("Bearer {TOKEN}");
    let token = [("Authorization", &*bearer)];
    assert_eq!(device.ask("GET", "/api/state", &token, b"").status, 200);
}

#[test]
fn names_that_are_not_ours_get_nothing() {
    let device = Device::with(|options| options.names = vec!["hall.example".into()]);
    let port = device.address.port();
    for ours in ["127.0.0.1", "localhost", "hall.example", "[::1]"] {
        assert_eq!(device.status_for_host(&format!("{ours}:{port}"), "/api/state"), 200, "{ours}");
    }
    for other in ["evil.example", "hall.example.evil.example", "127.0.0.1.evil.example"] {
        for path in ["/", "/api/state", "/healthz", "/stream.mjpg"] {
            let status = device.status_for_host(&format!("{other}:{port}"), path);
            assert_eq!(status, 421, "{other}{path}");
        }
    }
    let twice =
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(device.raw(twice).starts_with("HTTP/1.1 400"), "two hosts");
    assert!(device.raw("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 400"), "no host");
}

#[test]
fn pages_of_other_sites_change_nothing_and_see_nothing() {
    let device = Device::new();
    let evil = ("Origin", "http://evil.example");
    for (method, path) in CHANGING {
        assert_eq!(device.ask(method, path, &[JSON, evil], b"{}").status, 403, "{method} {path}");
        let null = [JSON, ("Origin", "null")];
        assert_eq!(device.ask(method, path, &null, b"{}").status, 403, "{method} {path}");
    }
    // What a form can send.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let form = [("Content-Type", kind)];
        assert_eq!(device.ask("POST", "/api/picture", &form, b"").status, 415, "{kind}");
    }
    assert_eq!(device.ask("POST", "/api/picture", &[], b"").status, 415);
    for path in SEEING {
        let embed = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
        assert_eq!(device.ask("GET", path, &embed, b"").status, 403, "{path}");
    }
    let preflight = [evil, ("Access-Control-Request-Method", "PUT")];
    let answer = device.ask("OPTIONS", "/api/labels", &preflight, b"");
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert!(device.requests.as_ref().unwrap().try_recv().is_err(), "nothing reached the pipeline");
    let own = format!("http://{}", device.address);
    assert_eq!(device.ask("POST", "/api/picture", &[JSON, ("Origin", &own)], b"").status, 202);
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let (requests, _receiver) = Requests::channel();
    let said = Http::start(options, Status::default(), requests).err().unwrap().to_string();
    assert!(said.contains("http.token") && said.contains("0.0.0.0"), "{said}");
}
