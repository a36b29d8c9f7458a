//! A JSON file of settings, whose errors name the file and the field.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ImportError;
use crate::disk;

/// Largest file of settings that is read, in bytes.
const BYTES_MAX: u64 = 16 << 20;

/// A JSON object and where it is.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    path: PathBuf,
    /// The object's place in the file, such as `vision_config.`.
    within: String,
    value: Value,
}

/// A size that a file says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) value: usize,
    settings: Settings,
    field: &'static str,
}

impl Settings {
    /// Reads a file; none where there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, ImportError> {
        let Some(bytes) = bytes(path, BYTES_MAX)? else { return Ok(None) };
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| ImportError::File { path: path.into(), reason: error.to_string() })?;
        if !value.is_object() {
            let reason = "it holds no JSON object".into();
            return Err(ImportError::File { path: path.into(), reason });
        }
        Ok(Some(Self::of(path, value)))
    }

    /// What was read of a file elsewhere.
    pub(super) fn of(path: &Path, value: Value) -> Self {
        Self { path: path.into(), within: String::new(), value }
    }

    /// A file that must be there.
    pub(super) fn required(path: &Path) -> Result<Self, ImportError> {
        let missing = || ImportError::File { path: path.into(), reason: "it is missing".into() };
        Self::read(path)?.ok_or_else(missing)
    }

    /// Whether a field is there and not null.
    pub(super) fn has(&self, field: &str) -> bool {
        !self.value(field).is_null()
    }

    /// The names of the fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.value.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str))
    }

    /// An object within this one; empty where it is missing.
    pub(super) fn part(&self, field: &str) -> Result<Self, ImportError> {
        match self.value(field) {
            value @ (Value::Null | Value::Object(_)) => Ok(Self {
                path: self.path.clone(),
                within: format!("{}{field}.", self.within),
                value: value.clone(),
            }),
            other => Err(self.wrong(field, &format!("is {other}, an object is meant"))),
        }
    }

    /// A field as it stands.
    pub(super) fn value(&self, field: &str) -> &Value {
        self.value.get(field).unwrap_or(&Value::Null)
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, ImportError> {
        match self.value(field) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Err(self.wrong(field, &format!("is {other}, a text is meant"))),
        }
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool, ImportError> {
        match self.value(field) {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            other => Err(self.wrong(field, &format!("is {other}, true or false is meant"))),
        }
    }

    pub(super) fn size(&self, field: &str) -> Result<Option<usize>, ImportError> {
        match self.value(field) {
            Value::Null => Ok(None),
            value => {
                let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
                let wrong = || self.wrong(field, &format!("is {value}, a whole number is meant"));
                size.map(Some).ok_or_else(wrong)
            }
        }
    }

    /// A size that remembers where it was said; not 0.
    pub(super) fn said(&self, field: &'static str) -> Result<Option<Said>, ImportError> {
        match self.size(field)? {
            Some(0) => Err(self.wrong(field, "is 0")),
            size => Ok(size.map(|value| Said { value, settings: self.clone(), field })),
        }
    }

    /// The same of an edge, see [`Self::square`].
    pub(super) fn said_square(&self, field: &'static str) -> Result<Option<Said>, ImportError> {
        let said = |value| Said { value, settings: self.clone(), field };
        Ok(self.square(field)?.map(said))
    }

    /// The same, where the value is known if the file says nothing.
    pub(super) fn said_or(&self, field: &'static str, usual: usize) -> Result<Said, ImportError> {
        let usual = || Said { value: usual, settings: self.clone(), field };
        Ok(self.said(field)?.unwrap_or_else(usual))
    }

    /// An edge: a number, `[height, width]` or `{"height": .., "width": ..}` with both the same.
    pub(super) fn square(&self, field: &str) -> Result<Option<usize>, ImportError> {
        let (height, width) = match self.value(field) {
            Value::Array(edges) if edges.len() == 2 => (edges[0].as_u64(), edges[1].as_u64()),
            Value::Object(edges) => {
                let [height, width] = ["height", "width"].map(|edge| edges.get(edge));
                (height.and_then(Value::as_u64), width.and_then(Value::as_u64))
            }
            _ => return self.size(field),
        };
        let edge = height.filter(|height| Some(*height) == width);
        let edge = edge.and_then(|edge| usize::try_from(edge).ok());
        let wrong = || {
            let reason = format!("is {}, no square of whole numbers", self.value(field));
            self.wrong(field, &reason)
        };
        edge.map(Some).ok_or_else(wrong)
    }

    pub(super) fn number(&self, field: &str) -> Result<Option<f64>, ImportError> {
        match self.value(field) {
            Value::Null => Ok(None),
            value => {
                let wrong = || self.wrong(field, &format!("is {value}, a number is meant"));
                value.as_f64().map(Some).ok_or_else(wrong)
            }
        }
    }

    /// Three numbers, one for each channel; one number is for all.
    pub(super) fn channels(&self, field: &str) -> Result<Option<[f64; 3]>, ImportError> {
        let value = self.value(field);
        let three = match value {
            Value::Null => return Ok(None),
            Value::Array(values) => {
                let numbers: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
                numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok())
            }
            value => value.as_f64().map(|one| [one; 3]),
        };
        let wrong = || self.wrong(field, &format!("is {value}, three numbers are meant"));
        three.map(Some).ok_or_else(wrong)
    }

    /// A token: its text, or an object with the text and how it is found.
    pub(super) fn token(&self, field: &str) -> Result<Option<&str>, ImportError> {
        let value = self.value(field);
        let text = match value {
            Value::Null => return Ok(None),
            Value::Object(token) => token.get("content").and_then(Value::as_str),
            other => other.as_str(),
        };
        let wrong = || self.wrong(field, &format!("is {value}, a token is meant"));
        text.map(Some).ok_or_else(wrong)
    }

    /// An error that names a field.
    pub(super) fn wrong(&self, field: &str, what: &str) -> ImportError {
        let reason = format!("{}{field} {what}", self.within);
        ImportError::File { path: self.path.clone(), reason }
    }
}

impl Said {
    /// An error that names the field: it says one thing, another file another.
    pub(super) fn but(&self, other: &str) -> ImportError {
        self.settings.wrong(self.field, &format!("is {}, but {other}", self.value))
    }
}

/// A file's bytes, so many at most; none where there is no such file.
pub(super) fn bytes(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, ImportError> {
    match disk::read_regular(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImportError::Io { path: path.into(), source }),
    }
}
