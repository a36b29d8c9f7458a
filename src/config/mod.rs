//! The configuration: a board's profile, the user's file and the command line, merged into the options of
//! every stage. Knows the stages; no stage knows it. [`REFERENCE`] documents every key.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::lines::line_at;
use crate::pipeline::Options;

/// Every key with its unit and default, as a file that changes nothing.
pub const REFERENCE: &str = include_str!("reference.toml");

/// Largest configuration file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The profiles that come with edgeclip.
const BOARDS: &[(&str, &str)] = &[
    ("raspberry-pi-5", include_str!("../../boards/raspberry-pi-5.toml")),
    ("raspberry-pi-4", include_str!("../../boards/raspberry-pi-4.toml")),
    ("raspberry-pi-zero-2w", include_str!("../../boards/raspberry-pi-zero-2w.toml")),
    ("generic", include_str!("../../boards/generic.toml")),
];

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
    merged: Table,
    origins: BTreeMap<String, Origin>,
}

/// One of the texts that are merged.
struct Layer {
    name: String,
    text: String,
}

impl Config {
    /// Merges, each over the ones before: the profile of `board` (a name or a file; else that which the user's
    /// file names), the user's file, and `given`, pairs of key and value from the command line.
    ///
    /// # Errors
    /// [`ConfigError`] with file and line.
    pub fn load(
        board: Option<&str>,
        file: Option<&Path>,
        given: &[(&str, Value)],
    ) -> Result<Self, ConfigError> {
        let mut file = file.map(Layer::read).transpose()?;
        let named = file.as_mut().map(Layer::take_board).transpose()?.flatten();
        let board = board.map(str::to_owned).or(named);
        let board = board.as_deref().map(Layer::of_board).transpose()?;
        let (mut merged, mut origins) = (Table::new(), BTreeMap::new());
        for layer in board.iter().chain(&file) {
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
        let config = Self { options, merged, origins };
        match config.options.check() {
            Ok(()) => Ok(config),
            Err((section, reason)) => {
                let reason = reason.strip_prefix(&format!("{section}.")).unwrap_or(&reason);
                let origin = config.origin_of(section, reason).cloned().unwrap_or(whole);
                Err(ConfigError { origin, reason: format!("{section}.{reason}") })
            }
        }
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

impl Layer {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let refuse = |reason: String| ConfigError {
            origin: Origin { layer: name.clone(), line: None },
            reason,
        };
        let about = fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
        if about.len() > FILE_BYTES_MAX {
            return Err(refuse(format!("{} bytes, the limit is {FILE_BYTES_MAX}", about.len())));
        }
        let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { name, text })
    }

    fn of_board(board: &str) -> Result<Self, ConfigError> {
        if let Some((name, text)) = BOARDS.iter().find(|(name, _)| *name == board) {
            return Ok(Self { name: format!("board {name}"), text: (*text).to_owned() });
        }
        if board.contains(['/', '.']) {
            return Self::read(&PathBuf::from(board));
        }
        let known: Vec<&str> = BOARDS.iter().map(|(name, _)| *name).collect();
        let origin = Origin { layer: "board".to_owned(), line: None };
        let known = known.join(", ");
        Err(ConfigError {
            origin,
            reason: format!("there is no board '{board}': use {known}, or a file"),
        })
    }

    /// Takes the board that the text names out of it: its profile is another layer. Lines stay where they are.
    fn take_board(&mut self) -> Result<Option<String>, ConfigError> {
        let (span, board) = {
            let table = self.table()?;
            let Some((key, board)) = table.get_ref().get_key_value("board") else {
                return Ok(None);
            };
            let DeValue::String(name) = board.get_ref() else {
                return Err(self.error(board.span().start, "board must be a name".to_owned()));
            };
            (key.span().start..board.span().end, name.to_string())
        };
        let blank = " ".repeat(span.len());
        self.text.replace_range(span, &blank);
        Ok(Some(board))
    }

    /// Whether the layer by itself is right: a wrong value is named with its line.
    fn check(&self) -> Result<(), ConfigError> {
        let options: Result<Options, _> = toml::from_str(&self.text);
        options.map(drop).map_err(|error| self.parse_error(&error))
    }

    fn merge_into(
        &self,
        merged: &mut Table,
        origins: &mut BTreeMap<String, Origin>,
    ) -> Result<(), ConfigError> {
        let table: Table = toml::from_str(&self.text).map_err(|error| self.parse_error(&error))?;
        merge(merged, table);
        let lines = self.table()?;
        self.note_lines("", lines.get_ref(), origins);
        Ok(())
    }

    fn note_lines(&self, path: &str, table: &DeTable<'_>, origins: &mut BTreeMap<String, Origin>) {
        for (key, value) in table {
            let name = key.get_ref();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            if let DeValue::Table(inner) = value.get_ref() {
                self.note_lines(&path, inner, origins);
            }
            origins.insert(path, self.origin(key.span().start));
        }
    }

    fn table(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        DeTable::parse(&self.text).map_err(|error| self.parse_error(&error))
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin { layer: self.name.clone(), line: Some(line_at(&self.text, offset)) }
    }

    fn error(&self, offset: usize, reason: String) -> ConfigError {
        ConfigError { origin: self.origin(offset), reason }
    }

    fn parse_error(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map(|span| line_at(&self.text, span.start));
        let origin = Origin { layer: self.name.clone(), line };
        ConfigError { origin, reason: error.message().to_owned() }
    }
}

/// Tables merge, all else is replaced.
fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            // A table that says its kind is one value.
            (Some(Value::Table(below)), Value::Table(above)) if !above.contains_key("kind") => {
                merge(below, above);
            }
            (_, value) => drop(below.insert(key, value)),
        }
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
        for (board, _) in BOARDS {
            Config::load(Some(board), None, &[]).unwrap();
        }
        let text = "board = \"raspberry-pi-5\"\n[source]\nfps = 7\n[http]\npin = \"1234\"\n";
        let config = load(text).unwrap();
        assert_eq!((config.options.source.url.as_str(), config.options.source.fps), ("rpicam", 7));
        let shown = config.show();
        assert!(shown.contains("url = \"rpicam\"  # board raspberry-pi-5: line 3"), "{shown}");
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
            ("board = \"pi9\"\n", "board: there is no board 'pi9': use raspberry-pi-5"),
            ("board = 5\n[source]\nfps = 1\n", "c.toml: line 1: board must be a name"),
            ("[snapshots]\nquality = 0\n", "c.toml: line 2: snapshots.quality must be 1 to 100"),
        ];
        for (text, wanted) in table {
            let error = load(text).unwrap_err();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
    }
}
