//! What the user may set about the page, and the secrets that guard it.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::outputs::Secret;

/// Shortest token, in characters: 16 random letters and digits can't be guessed over a network.
pub const TOKEN_CHARS_MIN: usize = 16;
/// Longest token, in characters.
pub const TOKEN_CHARS_MAX: usize = 256;
/// Shortest and longest PIN, in digits.
pub const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=12;
/// Largest token file that is read, in bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Section `[http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether the page is served at all. Default: true.
    pub enabled: bool,
    /// Address and port. Any other than a loopback address needs a token. Default: `127.0.0.1:8780`.
    pub listen: SocketAddr,
    /// Who has it sees and changes all: programs send it as `Authorization: Bearer`, people type it
    /// once. At least [`TOKEN_CHARS_MIN`] characters. Default: none.
    pub token: Option<Secret>,
    /// File with the token, instead of `token`. Default: none.
    pub token_file: Option<PathBuf>,
    /// Digits that the page asks for before it changes anything, on top of the token where there is one.
    /// Default: none.
    pub pin: Option<Secret>,
    /// Names that browsers may call this device by, besides IP addresses, `localhost`, the host's name
    /// and that with `.local`. Default: none.
    pub names: Vec<String>,
    /// Whether the picture is shown; false: neither `/stream.mjpg` nor `/snapshot.jpg`. Default: true.
    pub pictures: bool,
    /// Most pictures of the live stream in a second, 0.1 to 60. Default: 10.
    pub stream_fps_max: f32,
    /// JPEG quality of pictures, 1 to 100. Default: 80.
    pub jpeg_quality: u8,
    /// Most states that the page is told in a second, 0.1 to 60. Default: 5.
    pub state_fps_max: f32,
    /// Most connections at once, 4 to 1000; a page holds two. One peer gets three quarters of them at
    /// most. Default: 32.
    pub connections_max: u32,
    /// Most requests of one peer in a second, on average; four times as many at once. Behind a
    /// proxy all are one peer. Default: 50.
    pub requests_per_second_max: f32,
    /// How long a client may take to send a request's headers, and a connection may idle, in
    /// milliseconds. Default: 10,000.
    pub header_ms_max: u32,
    /// How long a client may leave unread what was sent to it, in milliseconds. Default: 20,000.
    pub stalled_ms_max: u32,
    /// How long a request that changes the labels waits for the outcome, in milliseconds. Default: 120,000.
    pub reply_ms_max: u32,
    /// `/healthz` fails when no frame went through the model for so long, in milliseconds; more than the
    /// time between two frames. Default: 10,000.
    pub healthy_ms_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8780)),
            token: None,
            token_file: None,
            pin: None,
            names: Vec::new(),
            pictures: true,
            stream_fps_max: 10.0,
            jpeg_quality: 80,
            state_fps_max: 5.0,
            connections_max: 32,
            requests_per_second_max: 50.0,
            header_ms_max: 10_000,
            stalled_ms_max: 20_000,
            reply_ms_max: 120_000,
            healthy_ms_max: 10_000,
        }
    }
}

impl Options {
    /// Whether all of it makes sense.
    ///
    /// # Errors
    /// Names the field, and the way out.
    pub fn check(&self) -> Result<(), String> {
        self.check_access()?;
        let rates = [
            ("stream_fps_max", self.stream_fps_max, 0.1, 60.0),
            ("state_fps_max", self.state_fps_max, 0.1, 60.0),
            ("requests_per_second_max", self.requests_per_second_max, 1.0, 10_000.0),
        ];
        for (name, value, least, most) in rates {
            if !(least..=most).contains(&value) {
                return Err(format!("http.{name} is {value}: give {least} to {most}"));
            }
        }
        let counts = [
            ("jpeg_quality", u32::from(self.jpeg_quality), 1, 100),
            ("connections_max", self.connections_max, 4, 1000),
            ("header_ms_max", self.header_ms_max, 100, 600_000),
            ("stalled_ms_max", self.stalled_ms_max, 100, 600_000),
            ("reply_ms_max", self.reply_ms_max, 100, 3_600_000),
            ("healthy_ms_max", self.healthy_ms_max, 100, 86_400_000),
        ];
        for (name, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                return Err(format!("http.{name} is {value}: give {least} to {most}"));
            }
        }
        Ok(())
    }

    fn check_access(&self) -> Result<(), String> {
        let is_guarded = self.token.is_some() || self.token_file.is_some();
        if !self.listen.ip().is_loopback() && !is_guarded {
            return Err(format!(
                "http.listen is {}, which others can reach: set http.token or http.token_file, or \
                 listen on 127.0.0.1",
                self.listen
            ));
        }
        if self.token.is_some() && self.token_file.is_some() {
            return Err("http.token and http.token_file are both set: remove one".to_owned());
        }
        if let Some(token) = &self.token {
            check_token(token).map_err(|reason| format!("http.token {reason}"))?;
        }
        if let Some(Secret(pin)) = &self.pin
            && !(PIN_DIGITS.contains(&pin.len()) && pin.bytes().all(|byte| byte.is_ascii_digit()))
        {
            let (least, most) = (PIN_DIGITS.start(), PIN_DIGITS.end());
            return Err(format!("http.pin must be {least} to {most} digits in quotes"));
        }
        if let Some(name) = self.names.iter().find(|name| !is_host_name(name)) {
            return Err(format!(
                "http.names has {name:?}: give plain host names, such as \"hall.local\""
            ));
        }
        Ok(())
    }

    /// The token, from wherever it stands.
    pub(super) fn read_token(&self) -> anyhow::Result<Option<Secret>> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let about =
            |reason: String| anyhow::anyhow!("http.token_file {}: {reason}", path.display());
        let token = read_secret(path).map_err(|error| about(error.to_string()))?;
        check_token(&token).map_err(about)?;
        Ok(Some(token))
    }
}

fn check_token(Secret(token): &Secret) -> Result<(), String> {
    let chars = token.chars().count();
    if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&chars) {
        return Err(format!(
            "has {chars} characters: give {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} random ones"
        ));
    }
    // As an HTTP header can carry it.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has spaces or letters beyond ASCII: give letters, digits and signs".to_owned());
    }
    Ok(())
}

fn read_secret(path: &Path) -> std::io::Result<Secret> {
    let mut text = String::new();
    File::open(path)?.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Secret(text.trim().to_owned()))
}

fn is_host_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.len() <= 253 && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(toml: &str) -> String {
        toml::from_str::<Options>(toml).unwrap().check().unwrap_err()
    }

    #[test]
    fn defaults_hold() {
        assert_eq!(Options::default().check(), Ok(()));
    }

    #[test]
    fn other_addresses_need_a_token() {
        for listen in ["0.0.0.0:8780", "[::]:8780", "192.168.1.7:80"] {
            let said = refusal(&format!("listen = '{listen}'"));
            assert!(said.contains(listen) && said.contains("http.token"), "{said}");
        }
        for fine in [
            "listen = '[::1]:8780'",
            "listen = '127.0.0.2:8780'",
            "listen = '0.0.0.0:8780'\ntoken = 'abcdefghijklmnop'",
            "listen = '0.0.0.0:8780'\ntoken_file = '/run/token'",
        ] {
            assert_eq!(toml::from_str::<Options>(fine).unwrap().check(), Ok(()), "{fine}");
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (toml, field) in [
            ("token = 'short'", "http.token has 5"),
            ("token = 'sixteen characters'", "http.token has spaces"),
            ("pin = '12'", "http.pin"),
            ("pin = '12a4'", "http.pin"),
            ("names = ['http://hall']", "http.names"),
            ("stream_fps_max = 0.0", "http.stream_fps_max"),
            ("state_fps_max = nan", "http.state_fps_max"),
            ("jpeg_quality = 101", "http.jpeg_quality"),
            ("connections_max = 1", "http.connections_max"),
            ("header_ms_max = 0", "http.header_ms_max"),
            ("token = 'abcdefghijklmnop'\ntoken_file = 'x'", "http.token_file"),
        ] {
            let said = refusal(toml);
            assert!(said.contains(field), "{toml}: {said}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let options: Options = toml::from_str("token = 'abcdefghijklmnop'\npin = '4711'").unwrap();
        let shown = format!("{options:?}");
        assert!(!shown.contains("abcdefgh") && !shown.contains("4711"), "{shown}");
    }

    #[test]
    fn a_token_file_is_read_and_judged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let options = Options { token_file: Some(path.clone()), ..Options::default() };
        let said = options.read_token().unwrap_err().to_string();
        assert!(said.contains("http.token_file") && said.contains("token"), "{said}");
        std::fs::write(&path, "short\n").unwrap();
        assert!(options.read_token().unwrap_err().to_string().contains("5 characters"));
        std::fs::write(&path, "abcdefghijklmnop\n").unwrap();
        assert_eq!(options.read_token().unwrap().unwrap().0, "abcdefghijklmnop");
    }
}
