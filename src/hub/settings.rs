//! What the environment says of the hub, by the names that `huggingface_hub` gave them
//! (<https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>).

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{HubError, Patience};

/// The hub, where nothing names another.
const ENDPOINT: &str = "https://huggingface.co";

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
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        let reason = "a token has letters, digits and signs alone, no spaces and lines".to_owned();
        Err(HubError::Environment { variable: "HF_TOKEN", reason })
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
        let file = path("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")));
        let kept = || std::fs::read_to_string(file?).ok();
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).or_else(kept);
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
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
            token: token.as_deref().map(Token::new).transpose()?,
            cache,
            offline: text("HF_HUB_OFFLINE").is_some_and(is_on),
            patience,
        })
    }
}

fn endpoint(given: Option<String>) -> Result<String, HubError> {
    let endpoint = given.unwrap_or_else(|| ENDPOINT.to_owned());
    let endpoint = endpoint.trim_end_matches('/');
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', ' ', '@'])) {
        return Ok(endpoint.to_owned());
    }
    let reason = format!("'{endpoint}' is no address of a hub: write https://HOST");
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
    }

    #[test]
    fn addresses_and_switches_are_read() {
        let with = |name, value| read(&[("HOME", "/h"), (name, value)]);
        assert_eq!(
            with("HF_ENDPOINT", "http://localhost:8000/").unwrap().endpoint,
            "http://localhost:8000"
        );
        assert_eq!(read(&[("HOME", "/h")]).unwrap().endpoint, "https://huggingface.co");
        for bad in ["huggingface.co", "ftp://h", "https://", "https://user@h"] {
            assert!(with("HF_ENDPOINT", bad).is_err(), "{bad}");
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
