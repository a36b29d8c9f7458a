//! What the environment says of the hub, by the names that `huggingface_hub` gave them
//! (<https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>).

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::licence::shown;
use super::{HubError, Patience};
use crate::disk;

/// The hub, where nothing names another.
const ENDPOINT: &str = "https://huggingface.co";

/// Longest token, and largest file of one.
const TOKEN_BYTES_MAX: usize = 4096;

/// Which hub, as whom, and where its files are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// Who we are, where that is needed. Goes to the endpoint and nowhere else.
    pub token: Option<Token>,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// Only what is in the cache.
    pub offline: bool,
    /// What to do about a bad line.
    pub patience: Patience,
}

/// A secret that is never shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token, if it is one that a header can have.
    ///
    /// # Errors
    /// [`HubError::Environment`].
    pub fn new(text: &str) -> Result<Self, HubError> {
        let wrong = |reason| HubError::Environment { variable: "HF_TOKEN", reason };
        Self::parse(text).map_err(wrong)
    }

    /// The same; fails with the reason.
    fn parse(text: &str) -> Result<Self, String> {
        let has_length = (1..=TOKEN_BYTES_MAX).contains(&text.len());
        if has_length && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "a token has letters, digits and signs alone, no spaces and lines, and at most {TOKEN_BYTES_MAX} bytes"
        ))
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Settings {
    /// What the process's environment says: `HF_ENDPOINT`; `HF_TOKEN`, else what is in `HF_TOKEN_PATH`, else in `token` of
    /// `HF_HOME`; `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `huggingface` of `XDG_CACHE_HOME` or of
    /// `~/.cache`; `HF_HUB_OFFLINE`; `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
    ///
    /// # Errors
    /// [`HubError::Environment`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::read(|name| std::env::var_os(name))
    }

    /// The same, of variables that are looked up by `variable`.
    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let caches = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let no_home = || HubError::Environment {
            variable: "HF_HOME",
            reason: "there is no folder for the cache: set it, as HOME is not set".to_owned(),
        };
        let cache = cache.or_else(|| Some(home.clone()?.join("hub"))).ok_or_else(no_home)?;
        let given = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        let named = |variable| move |reason| HubError::Environment { variable, reason };
        let token = match (given, path("HF_TOKEN_PATH"), home) {
            (Some(token), ..) => token_of(&token).map_err(named("HF_TOKEN")),
            (None, Some(file), _) => token_in(&file).map_err(named("HF_TOKEN_PATH")),
            // Nobody asked for it, and most files of the hub are for all.
            (None, None, Some(home)) => token_in(&home.join("token")).or_else(|error| {
                log::warn!("{error}: going on without a token");
                Ok(None)
            }),
            (None, None, None) => Ok(None),
        };
        let is_on = |value: String| {
            ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
        };
        let mut patience = Patience::default();
        if let Some(given) = text("HF_HUB_DOWNLOAD_TIMEOUT") {
            let seconds = given.parse::<u32>().ok().filter(|seconds| *seconds > 0);
            let reason = format!("'{given}' is no number of seconds");
            let wrong = || HubError::Environment { variable: "HF_HUB_DOWNLOAD_TIMEOUT", reason };
            patience.stall = Duration::from_secs(u64::from(seconds.ok_or_else(wrong)?));
        }
        Ok(Self {
            endpoint: endpoint(text("HF_ENDPOINT"))?,
            token: token?,
            cache,
            offline: text("HF_HUB_OFFLINE").is_some_and(is_on),
            patience,
        })
    }
}

/// A token as it was written; none where nothing was.
fn token_of(text: &str) -> Result<Option<Token>, String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(Token::parse).transpose()
}

/// The token in a file, if it is there for us to read; fails with the file and the reason.
fn token_in(path: &Path) -> Result<Option<Token>, String> {
    let wrong = |reason: &str| format!("{}: {reason}", path.display());
    let bytes = match disk::read_regular(path, TOKEN_BYTES_MAX as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::FileTooLarge) => {
            return Err(wrong(&error.to_string()));
        }
        Err(error) => {
            log::warn!("{}: {error}: going on without its token", path.display());
            return Ok(None);
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is no text"))?;
    token_of(&text).map_err(|reason| wrong(&reason))
}

fn endpoint(given: Option<String>) -> Result<String, HubError> {
    let endpoint = given.unwrap_or_else(|| ENDPOINT.to_owned());
    let endpoint = endpoint.trim_end_matches('/');
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    // They can be secrets, which are not to be repeated.
    let reason = if endpoint.contains(['?', '#', '@']) {
        "a user's name, a password and what comes after ? can't be in it: write https://HOST, and a token in HF_TOKEN"
            .to_owned()
    } else if host.is_some_and(|host| !host.is_empty() && !host.contains(is_odd)) {
        return Ok(endpoint.to_owned());
    } else {
        format!("'{}' is no address of a hub: write https://HOST", shown(endpoint))
    };
    Err(HubError::Environment { variable: "HF_ENDPOINT", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        Settings::read(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_cache_is_where_other_programs_have_it() {
        let table: [(&[(&str, &str)], &str); 6] = [
            (&[("HOME", "/h")], "/h/.cache/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")], "/f/hub"),
            (&[("HF_HOME", "/f"), ("HUGGINGFACE_HUB_CACHE", "/o")], "/o"),
            (&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/o")], "/c"),
            (&[("HOME", "/h"), ("HF_HOME", "")], "/h/.cache/huggingface/hub"),
        ];
        for (variables, wanted) in table {
            assert_eq!(read(variables).unwrap().cache, PathBuf::from(wanted), "{variables:?}");
        }
        assert!(matches!(read(&[]), Err(HubError::Environment { variable: "HF_HOME", .. })));
    }

    #[test]
    fn the_token_is_looked_for_in_order_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let own = folder.path().join("own");
        std::fs::write(folder.path().join("token"), "hf_home\n").unwrap();
        std::fs::write(&own, "hf_own\n").unwrap();
        let token = |more: &[(&str, &str)]| {
            let settings = read(&[&[("HF_HOME", home)], more].concat()).unwrap();
            assert!(!format!("{settings:?}").contains("hf_"));
            settings.token.map(|token| token.secret().to_owned())
        };
        assert_eq!(token(&[]).as_deref(), Some("hf_home"));
        assert_eq!(token(&[("HF_TOKEN_PATH", own.to_str().unwrap())]).as_deref(), Some("hf_own"));
        assert_eq!(token(&[("HF_TOKEN", " hf_env ")]).as_deref(), Some("hf_env"));
        assert!(read(&[("HF_HOME", home), ("HF_TOKEN", "a\r\nb")]).is_err());
        for bad in [&b"hf_a\nhf_b"[..], b"hf_\0", b"hf_\xff", &[b'a'; 5000]] {
            std::fs::write(&own, bad).unwrap();
            let at = ("HF_TOKEN_PATH", own.to_str().unwrap());
            let error = read(&[("HOME", home), at]).unwrap_err().to_string();
            let names_it = error.starts_with(&format!("HF_TOKEN_PATH: {}: ", own.display()));
            assert!(names_it && !error.contains("hf_"), "{error}");
            // Where nothing names the file, pulls go on without it.
            std::fs::write(folder.path().join("token"), bad).unwrap();
            assert_eq!(token(&[]), None);
        }
        assert!(read(&[("HOME", home), ("HF_TOKEN_PATH", home)]).is_err());
        std::fs::write(&own, " \n").unwrap();
        assert_eq!(token(&[("HF_TOKEN_PATH", own.to_str().unwrap())]), None);
        assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere")]), None);
    }

    #[test]
    fn addresses_and_switches_are_read() {
        let with = |name, value| read(&[("HOME", "/h"), (name, value)]);
        assert_eq!(
            with("HF_ENDPOINT", "http://localhost:8000/").unwrap().endpoint,
            "http://localhost:8000"
        );
        assert_eq!(read(&[("HOME", "/h")]).unwrap().endpoint, "https://huggingface.co");
        for bad in ["huggingface.co", "ftp://h", "https://", "https://a b", "https://u:geheim@h"] {
            let error = with("HF_ENDPOINT", bad).unwrap_err().to_string();
            assert!(error.contains("https://HOST") && !error.contains("geheim"), "{error}");
        }
        for (value, offline) in
            [("1", true), ("TRUE", true), ("on", true), ("0", false), ("no", false)]
        {
            assert_eq!(with("HF_HUB_OFFLINE", value).unwrap().offline, offline, "{value}");
        }
        assert_eq!(
            with("HF_HUB_DOWNLOAD_TIMEOUT", "7").unwrap().patience.stall,
            Duration::from_secs(7)
        );
        assert!(with("HF_HUB_DOWNLOAD_TIMEOUT", "0").is_err());
    }
}
