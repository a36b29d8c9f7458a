//! A JSON file of settings, whose errors name the file and the field.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ImportError;

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

impl Settings {
    /// Reads a file; none where there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, ImportError> {
        let io = |source| ImportError::Io { path: path.into(), source };
        let bytes = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
            Ok(metadata) if metadata.len() > BYTES_MAX => {
                let reason = format!("it has more than {BYTES_MAX} bytes");
                return Err(ImportError::File { path: path.into(), reason });
            }
            Ok(_) => std::fs::read(path).map_err(io)?,
        };
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| ImportError::File { path: path.into(), reason: error.to_string() })?;
        Ok(Some(Self { path: path.into(), within: String::new(), value }))
    }

    /// A file that must be there.
    pub(super) fn required(path: &Path) -> Result<Self, ImportError> {
        let missing = || ImportError::File { path: path.into(), reason: "it is missing".into() };
        Self::read(path)?.ok_or_else(missing)
    }

    /// Whether a field is there and not null.
    pub(super) fn has(&self, field: &str) -> bool {
        self.value.get(field).is_some_and(|value| !value.is_null())
    }

    /// An object within this one; empty where it is missing.
    pub(super) fn part(&self, field: &str) -> Self {
        Self {
            path: self.path.clone(),
            within: format!("{}{field}.", self.within),
            value: self.value.get(field).cloned().unwrap_or(Value::Null),
        }
    }

    /// A field as it stands.
    pub(super) fn value(&self, field: &str) -> &Value {
        self.value.get(field).unwrap_or(&Value::Null)
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.value(field).as_str()
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
        let wrong =
            |value: &Value| self.wrong(field, &format!("is {value}, three numbers are meant"));
        match self.value(field) {
            Value::Null => Ok(None),
            Value::Array(values) => {
                let numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
                let three = <[f64; 3]>::try_from(numbers);
                three.map(Some).map_err(|_| wrong(self.value(field)))
            }
            value => value.as_f64().map(|one| Some([one; 3])).ok_or_else(|| wrong(value)),
        }
    }

    /// An error that names a field.
    pub(super) fn wrong(&self, field: &str, what: &str) -> ImportError {
        let reason = format!("{}{field} {what}", self.within);
        ImportError::File { path: self.path.clone(), reason }
    }
}
