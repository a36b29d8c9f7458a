//! A real broker, real clients, and a wire between it and us that can be cut.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Debian keeps the broker where plain users don't look.
const SBIN: &str = "PATH=$PATH:/usr/sbin";

/// Whether the broker and its clients run here.
pub(crate) fn is_here() -> bool {
    let programs =
        format!("{SBIN}; command -v mosquitto mosquitto_sub mosquitto_pub mosquitto_passwd");
    super::available("mosquitto", Command::new("sh").args(["-c", &programs]))
}

/// Waits until `look` finds something.
pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(10));
    }
}

/// mosquitto, killed without a warning when dropped.
pub(crate) struct Broker {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Broker {
    /// `rules` are lines of its configuration; `FOLDER` in them stands for [`folder`](Self::folder).
    pub(crate) fn start(rules: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let rules = rules.replace("FOLDER", folder.path().to_str().unwrap());
        let text = format!("user root\nlistener {port} 127.0.0.1\npersistence false\n{rules}\n");
        fs::write(folder.path().join("mosquitto.conf"), text).unwrap();
        let child = run(folder.path(), port);
        Self { folder, port, child }
    }

    pub(crate) fn open() -> Self {
        Self::start("allow_anonymous true", |_| {})
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = run(self.folder.path(), self.port);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &Path, port: u16) -> Child {
    let child = Command::new("sh")
        .args(["-c", &format!("{SBIN}; exec mosquitto -c \"$0\"")])
        .arg(folder.join("mosquitto.conf"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait("the broker", || TcpStream::connect(("127.0.0.1", port)).ok());
    child
}

/// `mosquitto_sub`: each message is a line `RETAINED TOPIC PAYLOAD`.
pub(crate) struct Subscriber {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Subscriber {
    /// Returns once the broker has taken the subscription.
    pub(crate) fn new(port: u16) -> Self {
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1"])
            .args(["-t", "#", "-t", "$SYS/broker/version", "-F", "%r %t %p"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (theirs, stdout) = (Arc::clone(&lines), child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                theirs.lock().unwrap().push(line);
            }
        });
        let subscriber = Self { child, lines };
        subscriber.wait("1 $SYS/broker/version");
        subscriber
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Forgets what came so far.
    pub(crate) fn clear(&self) {
        self.lines.lock().unwrap().clear();
    }

    /// The rest of the first line that starts so.
    pub(crate) fn wait(&self, start: &str) -> String {
        wait(start, || {
            let lines = self.lines.lock().unwrap();
            lines
                .iter()
                .find_map(|line| line.strip_prefix(start))
                .map(|rest| rest.trim().to_owned())
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `mosquitto_pub`.
pub(crate) fn publish(port: u16, topic: &str, payload: &[u8], retain: bool) {
    let mut child = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic, "-s"])
        .args(retain.then_some("-r"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A wire to the broker. Cut, both ends see the connection break off.
pub(crate) struct Wire {
    pub(crate) port: u16,
    closed: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub(crate) fn to(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Self { port, closed: Arc::default(), ends: Arc::default() };
        let (closed, ends) = (Arc::clone(&wire.closed), Arc::clone(&wire.ends));
        thread::spawn(move || {
            for near in listener.incoming() {
                let far = TcpStream::connect(("127.0.0.1", broker));
                let (Ok(near), Ok(far), false) = (near, far, closed.load(Ordering::SeqCst)) else {
                    continue;
                };
                let mut ends = ends.lock().unwrap();
                ends.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                carry(near.try_clone().unwrap(), far.try_clone().unwrap());
                carry(far, near);
            }
        });
        wire
    }

    pub(crate) fn cut(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
