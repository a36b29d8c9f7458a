//! The configuration: a board's profile, the user's file and the command line, merged into the options of
//! every stage. Knows the stages; no stage knows it. [`REFERENCE`] documents every key.

mod about;
mod board;
mod layer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::{Table, Value};

pub use about::{About, Model};
pub use board::{AUTO, Board};

use crate::pipeline::Options;
use layer::Layer;

/// Every key with its unit and default, as a file that changes nothing.
pub const REFERENCE: &str = include_str!("reference.toml");

/// Largest configuration file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Keys whose values are never shown.
const SECRETS: [&str; 3] = ["mqtt.password", "http.token", "http.pin"];

/// Why a configuration is refused. Says file and line where there is one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {reason}")]
pub struct ConfigError {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong, and the way out.
    pub reason: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A file, a board's profile, or the command line.
    pub layer: String,
    /// From 1; none on the command line.
    pub line: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}: line {line}", self.layer),
            None => f.write_str(&self.layer),
        }
    }
}

/// The merged configuration.
#[derive(Debug)]
pub struct Config {
    /// What the stages are told.
    pub options: Options,
    board: Option<Board>,
    merged: Table,
    origins: BTreeMap<String, Origin>,
}

impl Config {
    /// Merges, each over the ones before: the profile of `board` (a name, a file, or [`AUTO`]; else that which
    /// the user's file names), the user's file, and `given`, pairs of key and value from the command line.
    ///
    /// # Errors
    /// [`ConfigError`] with file and line.
    pub fn load(
        board: Option<&str>,
        file: Option<&Path>,
        given: &[(&str, Value)],
    ) -> Result<Self, ConfigError> {
        let file = file.map(Layer::user).transpose()?;
        let named = file.as_ref().map(|file| file.text("board")).transpose()?.flatten();
        let board = board.map(str::to_owned).or(named);
        let board = board.as_deref().map(Board::with_layers).transpose()?;
        let (board, profile) = board.unzip();
        let (mut merged, mut origins) = (Table::new(), BTreeMap::new());
        for layer in profile.iter().flatten().chain(&file) {
            layer.check()?;
            layer.merge_into(&mut merged, &mut origins)?;
        }
        for (key, value) in given {
            set(&mut merged, key, value.clone());
            origins.insert(
                (*key).to_owned(),
                Origin { layer: "the command line".to_owned(), line: None },
            );
        }
        let whole = Origin { layer: "the configuration".to_owned(), line: None };
        let options: Options = Value::Table(merged.clone()).try_into().map_err(|error| {
            let error: toml::de::Error = error;
            ConfigError { origin: whole.clone(), reason: error.message().to_owned() }
        })?;
        let config = Self { options, board, merged, origins };
        match config.options.check() {
            Ok(()) => Ok(config),
            Err((section, reason)) => {
                let reason = reason.strip_prefix(&format!("{section}.")).unwrap_or(&reason);
                let origin = config.origin_of(section, reason).cloned().unwrap_or(whole);
                Err(ConfigError { origin, reason: format!("{section}.{reason}") })
            }
        }
    }

    /// The board whose profile is part of it.
    #[must_use]
    pub fn board(&self) -> Option<&Board> {
        self.board.as_ref()
    }

    /// The keys that something sets, as TOML, each with where its value comes from. Secrets are not shown.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        let leaves = self.merged.iter().filter(|(_, value)| !value.is_table());
        leaves.for_each(|(key, value)| text.push_str(&self.line("", key, value)));
        for (section, value) in &self.merged {
            let Value::Table(table) = value else { continue };
            text.push_str(&format!("\n[{section}]\n"));
            table.iter().for_each(|(key, value)| text.push_str(&self.line(section, key, value)));
        }
        text
    }

    fn line(&self, section: &str, key: &str, value: &Value) -> String {
        let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        let origin =
            self.origins.get(&path).map_or_else(String::new, |origin| format!("  # {origin}"));
        format!("{key} = {}{origin}\n", without_secrets(&path, value))
    }

    /// The field that a complaint begins with, `smoothing.frames is 0: ..`, or the section where it is none.
    fn origin_of(&self, section: &str, reason: &str) -> Option<&Origin> {
        let field = reason.split([' ', ':', '.']).next().unwrap_or_default();
        let of_section = || {
            let prefix = format!("{section}.");
            self.origins.iter().find(|(key, _)| key.starts_with(&prefix)).map(|(_, origin)| origin)
        };
        let paths = [format!("{section}.{field}"), field.to_owned(), section.to_owned()];
        paths.iter().find_map(|path| self.origins.get(path)).or_else(of_section)
    }
}

/// Sets `section.key`, or `key`.
fn set(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((section, key)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, key, value);
            }
        }
    }
}

/// The value as TOML; passwords and their kin, and what an address has before its @, are left out.
fn without_secrets(key: &str, value: &Value) -> String {
    const HIDDEN: &str = "\"(hidden)\"";
    match value {
        _ if SECRETS.contains(&key) => HIDDEN.to_owned(),
        Value::String(text) if text.contains("://") && text.contains('@') => HIDDEN.to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        fs::write(&file, text).unwrap();
        let shown = format!("{}/", folder.path().display());
        Config::load(None, Some(&file), &[]).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[test]
    fn the_reference_says_the_defaults() {
        let reference = load(REFERENCE).unwrap().options;
        assert_eq!(format!("{reference:#?}"), format!("{:#?}", Options::default()));
    }

    /// The reference with its keys without a default brought to life.
    fn whole_reference() -> Table {
        let lines = REFERENCE.lines().map(|line| {
            let is_key = |rest: &&str| {
                rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ")
            };
            line.strip_prefix('#').filter(is_key).unwrap_or(line)
        });
        toml::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap()
    }

    #[test]
    fn the_reference_knows_every_key() {
        let mut whole = whole_reference();
        assert!(whole.remove("board").is_some());
        let known: Result<Options, _> = Value::Table(whole.clone()).try_into();
        assert!(known.is_ok(), "{known:?}");
        let keys_of = |section: &str| -> Vec<String> {
            // What a section can have is what its complaint about a strange key lists.
            let strange = format!("{section}strange-key = 1");
            let complaint = toml::from_str::<Options>(&strange).unwrap_err().message().to_owned();
            let list = complaint.split("expected").nth(1).expect("a list of keys").to_owned();
            list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let sections = keys_of("");
        assert!(sections.len() > 10, "{sections:?}");
        for section in sections {
            let Some(Value::Table(table)) = whole.get(&section) else {
                assert!(whole.contains_key(&section), "{section} is not in the reference");
                continue;
            };
            for key in keys_of(&format!("{section}.")) {
                assert!(table.contains_key(&key), "{section}.{key} is not in the reference");
            }
        }
    }

    #[test]
    fn boards_go_under_the_users_file_and_the_command_line_over_it() {
        let text = "board = \"raspberry-pi-5\"\n[source]\nfps = 7\n[http]\npin = \"1234\"\n";
        let config = load(text).unwrap();
        assert_eq!((config.options.source.url.as_str(), config.options.source.fps), ("rpicam", 7));
        let shown = config.show();
        assert!(shown.contains("url = \"rpicam\"  # board raspberry-pi: line 5"), "{shown}");
        assert!(shown.contains("fps = 7  # ") && shown.contains("c.toml: line 3"), "{shown}");
        assert!(!shown.contains("1234"), "{shown}");
        let given = [("source.fps", Value::Integer(9))];
        let config = Config::load(Some("generic"), None, &given).unwrap();
        assert_eq!(config.options.source.fps, 9);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let table = [
            ("[source]\nfps = \"x\"\n", "c.toml: line 2: "),
            ("[source]\n\nwidht = 3\n", "c.toml: line 3: unknown field `widht`"),
            ("\n[decide]\nenter = 2.0\n", "c.toml: line 3: decide.enter is 2"),
            (
                "[decide]\nsmoothing = { kind = \"median\", frames = 99 }\n",
                "line 2: decide.smoothing.frames",
            ),
            ("a = \n", "c.toml: line 1: "),
            ("[http]\npin = 123456\n", "c.toml: line 2: must be text in quotes"),
            ("[source]\nfps_max = 0.03\n", "c.toml: line 2: source.fps_max is 0.03"),
            ("board = \"pi9\"\n", "board: there is no board 'pi9': use auto, raspberry-pi"),
            ("board = 5\n[source]\nfps = 1\n", "c.toml: line 1: board must be a name"),
            ("[snapshots]\nquality = 0\n", "c.toml: line 2: snapshots.quality must be 1 to 100"),
        ];
        for (text, wanted) in table {
            let error = load(text).unwrap_err();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
    }
}
