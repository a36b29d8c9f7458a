//! The outputs: pins, broker, page, state folder, watchdog.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::machine::{Rights, rights};
use super::{Finding, Machine};
use crate::outputs::gpio::Backend;
use crate::outputs::{gpio, http, mqtt, watchdog};

/// Longest wait for a broker or a page.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Longest wait for a name to become an address, and a connection.
const BROKER_MAX: Duration = Duration::from_secs(6);

/// A state folder with less free than this is nearly full, in bytes; label sets need some kilobytes.
const FREE_MIN: u64 = 50_000_000;

/// Most of a page that is read to see whose it is, in bytes.
const PAGE_BYTES_MAX: u64 = 4096;

const JOIN_GPIO: &str = "sudo usermod -aG gpio $USER, and log in anew";

/// Where the unit file is on a board that has it.
const UNITS: [&str; 3] = [
    "/etc/systemd/system/edgeclip.service",
    "/usr/lib/systemd/system/edgeclip.service",
    "/lib/systemd/system/edgeclip.service",
];

/// Nothing where no pins are asked for. Lines are not opened: that would drive them.
pub(super) fn gpio(options: &gpio::Options, machine: &Machine) -> Option<Finding> {
    if !options.is_used() {
        return None;
    }
    let backend = options.backend.chosen();
    Some(match backend {
        Backend::Record => Finding::ok("pins", "written down only: gpio.backend = \"record\""),
        Backend::Rpi if !backend.is_here() => Finding::problem(
            "pins",
            "gpio.backend = \"rpi\", but this is no Raspberry Pi that is known",
            "gpio.backend = \"chip\"",
        ),
        // A Raspberry Pi 5 numbers them; a kernel without them leaves the whole memory, to root.
        Backend::Rpi => {
            device(machine, &["/dev/gpiomem", "/dev/gpiomem0", "/dev/mem"].map(Path::new))
        }
        Backend::Chip | Backend::Auto => device(machine, &[&options.chip]),
    })
}

/// The first of some devices that is there.
fn device(machine: &Machine, paths: &[&Path]) -> Finding {
    let found = paths.iter().find(|path| rights(&machine.path(path)) != Rights::Missing);
    let Some(path) = found.or(paths.first()) else { return Finding::ok("pins", "none") };
    pins(path, rights(&machine.path(path)))
}

fn pins(path: &Path, rights: Rights) -> Finding {
    let shown = path.display();
    match rights {
        Rights::Fine => Finding::ok("pins", format!("{shown} may be opened")),
        Rights::Denied => Finding::problem("pins", format!("{shown} may not be opened"), JOIN_GPIO),
        Rights::Missing => Finding::problem(
            "pins",
            format!("{shown} is not there"),
            "gpiodetect lists the chips for gpio.chip; without pins: gpio.backend = \"record\"",
        ),
    }
}

/// Nothing where no broker is asked for.
pub(super) fn broker(options: &mqtt::Options) -> Option<Finding> {
    if !options.is_used() {
        return None;
    }
    let reached = options.place().and_then(|place| reach(place.clone()).map(|()| place));
    let unread = options.password_file.as_ref().filter(|file| std::fs::read(file).is_err());
    Some(match (reached, unread) {
        (_, Some(file)) => Finding::problem(
            "broker",
            format!("mqtt.password_file {} can't be read", file.display()),
            format!("sudo chown $USER {}", file.display()),
        ),
        (Ok(place), None) => Finding::ok("broker", format!("{place} takes connections")),
        // A broker may come later: a run waits for it.
        (Err(reason), None) => Finding::problem(
            "broker",
            reason,
            "see mqtt.broker; on the broker's machine: systemctl status mosquitto",
        ),
    })
}

/// Whether someone listens at `HOST:PORT`. Names can't be looked up with a time-out, so a thread does it.
fn reach(place: String) -> Result<(), String> {
    let (answer, answers) = sync_channel(1);
    let shown = place.clone();
    let connect = move || {
        let connected = place.to_socket_addrs().and_then(connect_any);
        // Who asked may have given up.
        let _ = answer.send(connected);
    };
    let refused = |error: &dyn std::fmt::Display| format!("{shown} can't be reached: {error}");
    thread::Builder::new().spawn(connect).map_err(|error| refused(&error))?;
    let connected = answers.recv_timeout(BROKER_MAX).map_err(|_| refused(&"no answer"))?;
    connected.map_err(|error| refused(&error))
}

/// The first address that answers will do.
fn connect_any(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<()> {
    let mut refused = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(_) => return Ok(()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// What of the page was found.
pub(super) struct Page {
    pub(super) finding: Finding,
    /// Whether another edgeclip serves it.
    pub(super) is_ours: bool,
}

pub(super) fn page(options: &http::Options) -> Page {
    let found = |finding| Page { finding, is_ours: false };
    if !options.enabled {
        return found(Finding::ok("page", "not served: http.enabled = false"));
    }
    if let Some(file) = options.token_file.as_ref().filter(|file| std::fs::read(file).is_err()) {
        let seen = format!("http.token_file {} can't be read", file.display());
        return found(Finding::problem(
            "page",
            seen,
            format!("sudo chown $USER {}", file.display()),
        ));
    }
    let listen = options.listen;
    let guard = if options.token.is_some() || options.token_file.is_some() {
        "with a token"
    } else {
        "without a token, for this machine only"
    };
    match TcpListener::bind(listen) {
        Ok(_) => found(Finding::ok("page", format!("http://{listen} is free, {guard}"))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if is_ours(listen) {
                let finding =
                    Finding::ok("page", format!("an edgeclip that runs serves http://{listen}"));
                return Page { finding, is_ours: true };
            }
            let port = listen.port();
            let mend =
                format!("sudo ss -ltnp 'sport = :{port}' shows who; or choose another http.listen");
            found(Finding::problem("page", format!("{listen} is taken by another program"), mend))
        }
        Err(error) => found(Finding::problem(
            "page",
            format!("can't listen on {listen}: {error}"),
            "see http.listen",
        )),
    }
}

/// Whether an edgeclip answers at an address.
fn is_ours(listen: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let host = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address = SocketAddr::new(host, listen.port());
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
        stream.set_read_timeout(Some(CONNECT_MAX))?;
        stream.set_write_timeout(Some(CONNECT_MAX))?;
        let question = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        // What came before an error counts.
        let _ = stream.take(PAGE_BYTES_MAX).read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).contains("<title>edgeclip"))
    };
    ask().unwrap_or(false)
}

/// Whether label sets and pictures can be kept.
pub(super) fn state(folder: Option<&Path>) -> Finding {
    let Some(folder) = folder else {
        return Finding::warning(
            "state",
            "no folder: nothing outlives a restart",
            "give --state-dir",
        );
    };
    let shown = folder.display();
    // A folder that is not there yet is made by the first run.
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !there.is_dir() || rights(there) != Rights::Fine {
        let seen = format!("{shown} can't be written");
        let mend =
            format!("sudo mkdir -p {shown} && sudo chown $USER {shown}, or another --state-dir");
        return Finding::problem("state", seen, mend);
    }
    match free(there) {
        Some(bytes) => space(&shown.to_string(), bytes),
        None => Finding::ok("state", format!("{shown} can be written")),
    }
}

fn space(shown: &str, free: u64) -> Finding {
    let words = format!("{shown} can be written, {} MB are free", free / 1_000_000);
    if free < FREE_MIN {
        let mend = "make room: df -h shows what is full; lower snapshots.bytes_max";
        Finding::warning("state", words, mend)
    } else {
        Finding::ok("state", words)
    }
}

/// Bytes that a user without special rights may still write.
fn free(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let about = rustix::fs::statvfs(folder).ok()?;
        Some(about.f_bavail.saturating_mul(about.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// Who starts edgeclip anew when it hangs.
pub(super) fn watchdog(options: &watchdog::Options, machine: &Machine) -> Finding {
    let has_systemd = machine.path("/run/systemd/system").exists();
    let unit = UNITS.iter().find(|unit| machine.path(unit).exists());
    if let Some(device) = &options.device {
        return hardware(
            device,
            rights(&machine.path(device)),
            has_systemd && options.systemd && unit.is_some(),
        );
    }
    match (has_systemd && options.systemd, unit) {
        (true, Some(unit)) => Finding::ok("watchdog", format!("systemd's, by {unit}")),
        (true, None) => Finding::warning(
            "watchdog",
            "nobody starts edgeclip anew when it hangs",
            "sudo cp boards/systemd/edgeclip.service /etc/systemd/system/ && sudo systemctl enable --now edgeclip",
        ),
        (false, _) => {
            let device = PathBuf::from("/dev/watchdog");
            let mend = match rights(&machine.path(&device)) {
                Rights::Missing => "run it under a supervisor that starts it anew",
                Rights::Denied | Rights::Fine => "watchdog.device = \"/dev/watchdog\"",
            };
            Finding::warning("watchdog", "nobody starts edgeclip anew when it hangs", mend)
        }
    }
}

/// It is not opened: that would arm it.
fn hardware(device: &Path, rights: Rights, also_systemd: bool) -> Finding {
    let shown = device.display();
    match rights {
        Rights::Missing => Finding::problem(
            "watchdog",
            format!("{shown} is not there"),
            "dtparam=watchdog=on in /boot/firmware/config.txt (Raspberry Pi), or sudo modprobe softdog",
        ),
        Rights::Denied => Finding::problem(
            "watchdog",
            format!("{shown} may not be opened"),
            format!("sudo chown $USER {shown}, or run edgeclip as root"),
        ),
        Rights::Fine if also_systemd => Finding::warning(
            "watchdog",
            format!("{shown} and systemd's: one is enough, and the device has one user"),
            "leave watchdog.device out",
        ),
        Rights::Fine => Finding::ok("watchdog", format!("{shown} may be opened")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::doctor::machine::tests::made_up;

    #[test]
    fn pins_say_who_may_open_them() {
        for (rights, level, mend) in [
            (Rights::Fine, Level::Ok, ""),
            (Rights::Denied, Level::Problem, "usermod -aG gpio"),
            (Rights::Missing, Level::Problem, "gpiodetect"),
        ] {
            let finding = pins(Path::new("/dev/gpiochip0"), rights);
            assert_eq!(finding.level, level);
            assert!(finding.mend.unwrap_or_default().contains(mend));
        }
        let options = |text: &str| toml::from_str::<gpio::Options>(text).unwrap();
        let (_folder, machine) = made_up(&[("/dev/gpiochip1", "")], &[]);
        let pin = "[[pin]]\nname = 'a'\nline = 1\n";
        for (text, level) in [
            ("", None),
            ("backend = 'record'", Some(Level::Ok)),
            ("backend = 'chip'", Some(Level::Problem)),
            ("backend = 'chip'\nchip = '/dev/gpiochip1'", Some(Level::Ok)),
        ] {
            let text = if text.is_empty() { String::new() } else { format!("{text}\n{pin}") };
            let found = gpio(&options(&text), &machine).map(|finding| finding.level);
            assert_eq!(found, level, "{text}");
        }
    }

    #[test]
    fn a_broker_is_reached_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let options = |broker: String| mqtt::Options { broker, ..mqtt::Options::default() };
        assert_eq!(broker(&options(String::new())), None);
        assert_eq!(broker(&options(address.to_string())).unwrap().level, Level::Ok);
        drop(listener);
        let gone = broker(&options(address.to_string())).unwrap();
        assert!(gone.level == Level::Problem && gone.seen.contains("can't be reached"), "{gone}");
        let mut secret = options(address.to_string());
        secret.password_file = Some("/nowhere/password".into());
        assert!(broker(&secret).unwrap().seen.contains("password_file"));
    }

    #[test]
    fn a_port_is_free_or_taken_by_someone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        let options = http::Options { listen, ..http::Options::default() };
        let answer = |text: &'static str| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                stream.write_all(text.as_bytes()).unwrap();
            })
        };
        let other = answer("HTTP/1.1 200 OK\r\n\r\nhello");
        let taken = page(&options);
        other.join().unwrap();
        assert!(taken.finding.level == Level::Problem && !taken.is_ours, "{}", taken.finding);
        let ours = answer("HTTP/1.1 200 OK\r\n\r\n<title>edgeclip</title>");
        let taken = page(&options);
        ours.join().unwrap();
        assert!(taken.finding.level == Level::Ok && taken.is_ours, "{}", taken.finding);
        drop(listener);
        assert!(page(&options).finding.seen.contains("is free"));
        let off = http::Options { enabled: false, ..options };
        assert!(page(&off).finding.seen.contains("not served"));
    }

    #[test]
    fn state_needs_a_folder_and_room() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(state(None).level, Level::Warning);
        assert_ne!(state(Some(&folder.path().join("a/b"))).level, Level::Problem);
        assert!(!folder.path().join("a").exists(), "looking leaves nothing behind");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(state(Some(&file.join("a"))).level, Level::Problem);
        for (free, level) in
            [(0, Level::Warning), (FREE_MIN - 1, Level::Warning), (FREE_MIN, Level::Ok)]
        {
            assert_eq!(space("x", free).level, level, "{free}");
        }
    }

    #[test]
    fn someone_starts_it_anew() {
        let systemd = ("/run/systemd/system/x", "");
        let own = |text: &str| toml::from_str::<watchdog::Options>(text).unwrap();
        let device = "device = '/dev/watchdog'";
        for (options, files, level, mend) in [
            ("", &[systemd, (UNITS[0], "")][..], Level::Ok, ""),
            ("", &[systemd], Level::Warning, "systemctl enable"),
            ("", &[], Level::Warning, "supervisor"),
            ("", &[("/dev/watchdog", "")], Level::Warning, "watchdog.device"),
            (device, &[], Level::Problem, "modprobe"),
            (device, &[("/dev/watchdog", "")], Level::Ok, ""),
            (device, &[("/dev/watchdog", ""), systemd, (UNITS[0], "")], Level::Warning, "leave"),
        ] {
            let (_folder, machine) = made_up(files, &[]);
            let finding = watchdog(&own(options), &machine);
            assert_eq!(finding.level, level, "{options} {files:?}: {finding}");
            assert!(finding.mend.unwrap_or_default().contains(mend), "{options} {files:?}");
        }
        assert_eq!(hardware(Path::new("w"), Rights::Denied, false).level, Level::Problem);
    }
}
