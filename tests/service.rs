//! `edgeclip run` as systemd and a hardware watchdog see it: ready, fed while frames flow, stopped cleanly.
#![cfg(all(feature = "mini", target_os = "linux"))]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything: a slow machine is no failure.
const PATIENCE: Duration = Duration::from_mins(2);

/// A stop takes 2 s at most; the rest is for slow machines.
const STOP_MAX: Duration = Duration::from_secs(8);

/// What systemd allows between two signs of life, in microseconds.
const WATCHDOG_USEC: &str = "1000000";

/// A service manager: a socket that is listened to, and what it starts.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
    child: Child,
    /// All that was said so far, a line each.
    said: Vec<String>,
}

impl Manager {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let socket = UnixDatagram::bind(path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        fs::write(path("watchdog"), "").unwrap();
        // The lock is open while frames flow, and shut whenever nothing is known.
        let config = format!(
            r#"
            [source]
            url = "dir:examples/images"
            repeat = true
            [jsonl]
            stdout = false
            [http]
            enabled = false
            [gpio]
            backend = "record"
            record_file = "{levels}"
            pin = [
                {{ name = "lamp", line = 1, label = "a cat" }},
                {{ name = "lock", line = 2, label = "a submarine", fail_safe = "on" }},
            ]
            [watchdog]
            device = "{device}"
            "#,
            levels = path("levels").display(),
            device = path("watchdog").display(),
        );
        fs::write(path("config.toml"), config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_edgeclip"))
            .args(["run", "--labels", "a cat, a dog, a submarine", "--threads", "1", "--config"])
            .arg(path("config.toml"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("EDGECLIP_LOG")
            .env("NOTIFY_SOCKET", path("notify"))
            .env("WATCHDOG_USEC", WATCHDOG_USEC)
            .env_remove("WATCHDOG_PID")
            .env("STATE_DIRECTORY", path("state"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { folder, socket, child, said: Vec::new() }
    }

    fn listen(&mut self) {
        let mut message = [0; 4096];
        match self.socket.recv(&mut message) {
            Ok(length) => {
                let text = std::str::from_utf8(&message[..length]).unwrap();
                self.said.extend(text.lines().map(str::to_owned));
            }
            Err(error) => {
                let is_time_out =
                    [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
                assert!(is_time_out, "{error}");
            }
        }
    }

    /// Listens until a line was said so often.
    fn wait(&mut self, line: &str, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.count(line) < count {
            assert!(Instant::now() < until, "no {count} x {line} in {:?}", self.said);
            assert_eq!(self.child.try_wait().unwrap(), None, "it goes on");
            self.listen();
        }
    }

    fn count(&self, line: &str) -> usize {
        self.said.iter().filter(|said| *said == line).count()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it ends");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last level of a pin, as the wire has it.
    fn level(&self, pin: &str) -> Option<String> {
        let text = fs::read_to_string(self.path("levels")).unwrap_or_default();
        let changes = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut of_pin = changes.filter(|change| change["gpio"] == pin);
        of_pin.next_back().map(|change| change["level"].as_str().unwrap().to_owned())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ready_then_fed_while_frames_flow_then_stopped_with_safe_pins() {
    let mut manager = Manager::start();
    manager.wait("READY=1", 1);
    assert_eq!(manager.count("STOPPING=1"), 0);
    manager.wait("WATCHDOG=1", 4);
    assert_eq!(manager.count("READY=1"), 1, "ready once");
    let words = manager.said.iter().rfind(|line| line.starts_with("STATUS=")).unwrap();
    assert!(words.contains("images is live") && words.contains("frames/s"), "{words}");
    let until = Instant::now() + PATIENCE;
    while manager.level("lock").as_deref() != Some("low") {
        assert!(Instant::now() < until, "the lock opens once frames flow");
        thread::sleep(Duration::from_millis(20));
    }

    let stopped = Instant::now();
    manager.signal(Signal::TERM);
    let status = manager.end();
    let took = stopped.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP_MAX, "{took:?}");
    while manager.count("STOPPING=1") == 0 {
        assert!(stopped.elapsed() < PATIENCE, "systemd is told of the stop");
        manager.listen();
    }
    assert_eq!(manager.level("lock").as_deref(), Some("high"), "shut, since nothing is known");
    assert_eq!(manager.level("lamp").as_deref(), Some("low"));
    let fed = fs::read_to_string(manager.path("watchdog")).unwrap();
    assert!(fed.starts_with('\0') && fed.ends_with('V'), "fed, then released: {fed:?}");
}

#[test]
fn killed_it_leaves_the_hardware_watchdog_armed() {
    let mut manager = Manager::start();
    manager.wait("WATCHDOG=1", 1);
    let fed = |folder: &Path| fs::read(folder.join("watchdog")).unwrap();
    let until = Instant::now() + PATIENCE;
    while fed(manager.folder.path()).is_empty() {
        assert!(Instant::now() < until, "the device is fed");
        thread::sleep(Duration::from_millis(20));
    }
    manager.signal(Signal::KILL);
    assert_eq!(manager.end().code(), None);
    assert!(!fed(manager.folder.path()).contains(&b'V'), "not released");
}

#[test]
fn a_loop_that_hangs_is_not_fed() {
    let mut manager = Manager::start();
    manager.wait("WATCHDOG=1", 2);
    // All of it stands still, as in a driver that never comes back.
    manager.signal(Signal::STOP);
    while manager.socket.recv(&mut [0; 4096]).is_ok() {}
    let fed = manager.count("WATCHDOG=1");
    for _ in 0..20 {
        manager.listen();
    }
    assert_eq!(manager.count("WATCHDOG=1"), fed);
    manager.signal(Signal::CONT);
    manager.wait("WATCHDOG=1", fed + 1);
}
