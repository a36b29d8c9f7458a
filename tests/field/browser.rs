//! Debian's chromium, driven through its `WebDriver` (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser without a window.
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
}

/// Whether chromium and its driver are here.
pub(crate) fn is_available() -> bool {
    let has = |program: &str| crate::available(program, Command::new(program).arg("--version"));
    has("chromium") && has("chromedriver")
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = port_of(driver.stdout.take().unwrap());
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        let home = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, agent: config.into(), session: home };
        let args = ["headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"];
        let made = browser.post(
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "pageLoadStrategy": "eager",
                "goog:chromeOptions": {"args": args},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }}}),
        );
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().unwrap());
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.session));
        let request = request.header("Content-Type", "application/json");
        let answer = request.send(body.to_string()).unwrap().body_mut().read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let value = &answer["value"];
        assert!(value.get("error").is_none(), "{path} {body}: {value}");
        value.clone()
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// A viewport of this size in CSS pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// The value of an expression of JavaScript.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.post("/execute/sync", &json!({"script": format!("return {expression}"), "args": []}))
    }

    /// Waits until the expression has that value.
    pub(crate) fn wait_for(&self, expression: &str, wanted: impl Into<Value>) {
        let (wanted, end) = (wanted.into(), Instant::now() + PATIENCE);
        loop {
            let value = self.value(expression);
            if value == wanted {
                return;
            }
            assert!(Instant::now() < end, "{expression} is {value}, not {wanted}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Text of the first element of that selector.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({selector:?})?.textContent ?? ''"));
        text.as_str().unwrap().trim().to_owned()
    }

    pub(crate) fn wait_for_text(&self, selector: &str, wanted: &str) {
        let text = format!("document.querySelector({selector:?})?.textContent.trim() ?? ''");
        self.wait_for(&text, wanted);
    }

    /// Waits until an element can be seen, or can't.
    pub(crate) fn wait_until_seen(&self, selector: &str, seen: bool) {
        self.wait_for(&format!("!!document.querySelector({selector:?})?.checkVisibility()"), seen);
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().unwrap().values().next().unwrap();
        format!("/element/{}", id.as_str().unwrap())
    }

    pub(crate) fn click(&self, selector: &str) {
        self.post(&format!("{}/click", self.element(selector)), &json!({}));
    }

    /// Types over what stands in a field.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("{element}/clear"), &json!({}));
        self.post(&format!("{element}/value"), &json!({"text": text}));
    }

    /// What the page complained of since the last call.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let bad = entries.as_array().unwrap().iter();
        bad.filter(|entry| entry["level"] != "INFO")
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    /// Addresses that were asked for since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "performance"}));
        let messages = entries.as_array().unwrap().iter().map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()
        });
        let sent = messages.filter(|m| m["message"]["method"] == "Network.requestWillBeSent");
        sent.map(|m| m["message"]["params"]["request"]["url"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What the page looks like, as PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let shot = self.devtools("Page.captureScreenshot", &json!({"format": "png"}));
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes chromium, which outlives its driver otherwise.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The port that the driver says it has.
fn port_of(stdout: impl std::io::Read + Send + 'static) -> u16 {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("started successfully on port")).unwrap();
    // Keeps the pipe open, and empty.
    std::thread::spawn(move || lines.for_each(drop));
    line.rsplit(' ').next().unwrap().trim_end_matches('.').parse().unwrap()
}
