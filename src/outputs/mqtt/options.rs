//! `[mqtt]`: which broker, and what it is told.

use std::path::PathBuf;

use serde::Deserialize;

use crate::outputs::Secret;

/// Longest name of a device or group, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Ports of MQTT without TLS, and with it.
const PORTS: [u16; 2] = [1883, 8883];

/// A broker, and what it is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `mqtt://HOST:PORT`, or `mqtts://HOST:PORT` for TLS; HOST or HOST:PORT will do. Default: empty,
    /// no MQTT. The port is 1883, or 8883 with TLS, where none is given.
    pub broker: String,
    /// User at the broker. Default: empty, none.
    pub user: String,
    /// Password. Default: empty, none.
    pub password: Secret,
    /// File of the password, in place of `password`; the line end is not part of it. Default: none.
    pub password_file: Option<PathBuf>,
    /// Client identifier; no two clients of a broker may have the same. Default: empty, `edgeclip-` and
    /// the device's name.
    pub client_id: String,
    /// Certificates of the authorities that may vouch for the broker, PEM. Default: none, the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM, where the broker asks for one. Default: none.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM. Default: none.
    pub key_file: Option<PathBuf>,
    /// Groups whose label sets are used as well: topic `PREFIX/group/GROUP/labels/set`. Default: none.
    pub groups: Vec<String>,
    /// Beginning of all topics. Default: `edgeclip`.
    pub prefix: String,
    /// Whether Home Assistant is told of the device. Default: yes.
    pub discovery: bool,
    /// Where Home Assistant looks for that. Default: `homeassistant`.
    pub discovery_prefix: String,
    /// Time without traffic after which the connection is tested, in seconds. Default: 30.
    pub keep_alive_s: u16,
    /// Events that wait for a broker that is gone; the oldest are dropped. Default: 1000.
    pub queue_max: usize,
    /// Time between two states at least where only scores changed, in milliseconds. Default: 1000.
    pub state_every_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            broker: String::new(),
            user: String::new(),
            password: Secret::default(),
            password_file: None,
            client_id: String::new(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            groups: Vec::new(),
            prefix: "edgeclip".to_owned(),
            discovery: true,
            discovery_prefix: "homeassistant".to_owned(),
            keep_alive_s: 30,
            queue_max: 1000,
            state_every_ms: 1000,
        }
    }
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Options {
    /// Whether there is a broker to talk to.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.broker.is_empty()
    }

    /// Where the broker is, as `HOST:PORT`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn place(&self) -> Result<String, String> {
        self.address().map(|address| format!("{}:{}", address.host, address.port))
    }

    /// Whether the values make sense.
    ///
    /// # Errors
    /// Which one doesn't, and what does.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_used() {
            return Ok(());
        }
        let address = self.address()?;
        let has_tls_files =
            [&self.ca_file, &self.cert_file, &self.key_file].iter().any(|f| f.is_some());
        if has_tls_files && !address.tls {
            return Err("mqtt.ca_file, cert_file and key_file need TLS: use mqtts://".to_owned());
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("mqtt.cert_file and key_file need each other".to_owned());
        }
        let has_password = !self.password.0.is_empty();
        if has_password && self.password_file.is_some() {
            return Err("mqtt.password and password_file: give one of them".to_owned());
        }
        if (has_password || self.password_file.is_some()) && self.user.is_empty() {
            return Err("mqtt.password needs mqtt.user".to_owned());
        }
        if [&self.client_id, &self.user].iter().any(|text| text.chars().any(char::is_control)) {
            return Err("mqtt.client_id and user may hold no control characters".to_owned());
        }
        self.groups.iter().try_for_each(|group| check_name("mqtt.groups", group))?;
        check_prefix("mqtt.prefix", &self.prefix)?;
        check_prefix("mqtt.discovery_prefix", &self.discovery_prefix)?;
        if !(5..=3600).contains(&self.keep_alive_s) {
            return Err("mqtt.keep_alive_s must be 5 to 3600".to_owned());
        }
        if !(1..=100_000).contains(&self.queue_max) {
            return Err("mqtt.queue_max must be 1 to 100000".to_owned());
        }
        if !(100..=3_600_000).contains(&self.state_every_ms) {
            return Err("mqtt.state_every_ms must be 100 to 3600000".to_owned());
        }
        Ok(())
    }

    /// The broker's place.
    pub(super) fn address(&self) -> Result<Address, String> {
        let broker = &self.broker;
        let wrong = |what: &str| {
            Err(format!("mqtt.broker: {what}: use mqtt://HOST:PORT or mqtts://HOST:PORT"))
        };
        if broker.contains('@') {
            // It is not shown: there may be a password in it.
            return Err(
                "mqtt.broker: user and password stand in mqtt.user and mqtt.password".to_owned()
            );
        }
        let (tls, rest) = match broker.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            Some((scheme, _)) => return wrong(&format!("{scheme} is not supported")),
            None => (false, &**broker),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A colon inside of brackets belongs to an IPv6 address.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => match port.parse() {
                Ok(port) if port > 0 => (host, port),
                _ => return wrong(&format!("{port} is no port")),
            },
            _ => (rest, PORTS[usize::from(tls)]),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let fine = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if bare.is_empty() || !bare.chars().all(fine) || bare.contains(':') != host.starts_with('[')
        {
            return wrong("the host makes no sense");
        }
        if tls && host.starts_with('[') {
            return wrong("TLS needs the broker's name, not an IPv6 address");
        }
        Ok(Address { host: host.to_owned(), port, tls })
    }
}

/// Whether a device or group may have this name: it becomes one level of topics.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(field: &str, name: &str) -> Result<(), String> {
    let refuse = |reason: &str| Err(format!("{field}: {name:?} {reason}"));
    if name.trim().is_empty() {
        return refuse("is empty: give it a name such as \"hall\"");
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse(&format!("has more than {NAME_BYTES_MAX} bytes"));
    }
    if name.starts_with('$') || name.chars().any(|c| "/+#".contains(c) || c.is_control()) {
        return refuse("would reach other topics: no /, +, #, control characters, or $ in front");
    }
    Ok(())
}

/// A prefix may have several levels.
fn check_prefix(field: &str, prefix: &str) -> Result<(), String> {
    prefix.split('/').try_for_each(|level| check_name(field, level))
}

#[cfg(test)]
mod tests {
    use super::{Address, Options, Secret, check_name};

    fn options(broker: &str) -> Options {
        Options { broker: broker.to_owned(), ..Options::default() }
    }

    #[test]
    fn brokers() {
        for (broker, host, port, tls) in [
            ("hub", "hub", 1883, false),
            ("hub:1884", "hub", 1884, false),
            ("mqtt://10.0.0.1", "10.0.0.1", 1883, false),
            ("mqtts://hub.local/", "hub.local", 8883, true),
            ("mqtt://[::1]:1", "[::1]", 1, false),
            ("mqtt://[fe80::1]", "[fe80::1]", 1883, false),
        ] {
            let wanted = Address { host: host.to_owned(), port, tls };
            assert_eq!(options(broker).address(), Ok(wanted), "{broker}");
        }
        for broker in [
            "http://hub",
            "mqtt://",
            "hub:0",
            "hub:port",
            "a b",
            "::1",
            "mqtts://[::1]",
            "hub/path",
        ] {
            assert!(options(broker).check().unwrap_err().contains("mqtt.broker"), "{broker}");
        }
    }

    #[test]
    fn names_cannot_reach_other_topics() {
        assert_eq!(check_name("device", "hall 2"), Ok(()));
        let long = "x".repeat(65);
        for name in ["", " ", "a/b", "+", "#", "a\0b", "a\nb", "$SYS", long.as_str()] {
            assert!(check_name("device", name).is_err(), "{name:?}");
            let mut options = options("hub");
            options.groups = vec![name.to_owned()];
            assert!(options.check().unwrap_err().contains("groups"), "{name:?}");
        }
        let mut options = options("hub");
        options.prefix = "home/edgeclip".to_owned();
        assert_eq!(options.check(), Ok(()));
        options.prefix = "home//edgeclip".to_owned();
        assert!(options.check().unwrap_err().contains("prefix"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut options = options("mqtt://me:secret@hub");
        assert!(!options.check().unwrap_err().contains("secret"));
        options.password = Secret::from("secret");
        assert!(!format!("{options:?}").replace("me:secret@hub", "").contains("secret"));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let set = |change: fn(&mut Options)| {
            let mut options = options("hub");
            change(&mut options);
            options.check().unwrap_err()
        };
        assert!(set(|o| o.ca_file = Some("ca.pem".into())).contains("mqtts"));
        assert!(set(|o| o.password = Secret::from("x")).contains("user"));
        assert!(set(|o| o.keep_alive_s = 0).contains("keep_alive_s"));
        assert!(set(|o| o.queue_max = 0).contains("queue_max"));
        assert!(set(|o| o.state_every_ms = 0).contains("state_every_ms"));
    }
}
