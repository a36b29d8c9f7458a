//! One of the texts that are merged: where its values stand, and what it has beside options.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::{ConfigError, FILE_BYTES_MAX, Origin};
use crate::lines::line_at;
use crate::pipeline::Options;

/// What the user's file may say beside options.
const OF_USER: &[&str] = &["board"];

/// What a board's profile may say beside options.
const OF_BOARD: &[&str] = &["base", "about"];

/// One of the texts.
pub(super) struct Layer {
    name: String,
    text: String,
    /// Keys that are no options.
    beside: &'static [&'static str],
}

impl Layer {
    /// The user's file.
    pub(super) fn user(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, OF_USER)
    }

    /// A board's profile that the user has written.
    pub(super) fn board_file(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, OF_BOARD)
    }

    /// A board's profile that comes with edgeclip.
    pub(super) fn built_in(name: &str, text: &str) -> Self {
        Self { name: format!("board {name}"), text: text.to_owned(), beside: OF_BOARD }
    }

    fn read(path: &Path, beside: &'static [&'static str]) -> Result<Self, ConfigError> {
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
        Ok(Self { name, text, beside })
    }

    /// What `key`, which is no option, says: a name.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let table = self.table()?;
        let Some(value) = table.get_ref().get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(name) => Ok(Some(name.to_string())),
            _ => Err(self.error(value.span().start, format!("{key} must be a name"))),
        }
    }

    /// What the table `key`, which is no option, says. As a `T` it must be right by itself.
    pub(super) fn table_of<T: DeserializeOwned>(&self, key: &str) -> Result<Table, ConfigError> {
        let table = self.table()?;
        let Some(value) = table.get_ref().get(key) else { return Ok(Table::new()) };
        let read = |value| -> Result<Table, toml::de::Error> {
            T::deserialize(ValueDeserializer::from(Spanned::clone(value)))?;
            Table::deserialize(ValueDeserializer::from(Spanned::clone(value)))
        };
        read(value).map_err(|error| self.parse_error(&error))
    }

    /// That `key` says something that isn't so.
    pub(super) fn refuse(&self, key: &str, reason: String) -> ConfigError {
        let at = self.table().ok().and_then(|table| Some(table.get_ref().get(key)?.span().start));
        self.error(at.unwrap_or_default(), reason)
    }

    /// Whether the layer by itself is right: a wrong value is named with its line.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let options = Options::deserialize(Deserializer::from(self.options()?));
        options.map(drop).map_err(|error| self.parse_error(&error))
    }

    pub(super) fn merge_into(
        &self,
        merged: &mut Table,
        origins: &mut BTreeMap<String, Origin>,
    ) -> Result<(), ConfigError> {
        let options = self.options()?;
        self.note_lines("", options.get_ref(), origins);
        let table = Table::deserialize(Deserializer::from(options));
        merge(merged, table.map_err(|error| self.parse_error(&error))?);
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

    /// The text without what is no option.
    fn options(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        let mut table = self.table()?;
        for key in self.beside {
            table.get_mut().remove(*key);
        }
        Ok(table)
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
pub(super) fn merge(below: &mut Table, above: Table) {
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
