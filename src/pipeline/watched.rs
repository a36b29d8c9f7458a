//! A file of labels, or a head, that may change while it is in use.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::prompts::read_text;

/// A file, and what it looked like when it was read.
pub(super) struct Watched {
    path: Option<PathBuf>,
    bytes_max: u64,
    /// Time of change and length at the last reading.
    read: Option<(SystemTime, u64)>,
    /// The same at the last look: a file is read when it has stopped changing.
    seen: Option<(SystemTime, u64)>,
}

impl Watched {
    pub(super) fn new(path: Option<PathBuf>, bytes_max: u64) -> Self {
        Self { path, bytes_max, read: None, seen: None }
    }

    pub(super) fn name(&self) -> String {
        self.path.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }

    fn stamp(&self) -> Option<(SystemTime, u64)> {
        let about = fs::metadata(self.path.as_ref()?).ok()?;
        Some((about.modified().ok()?, about.len()))
    }

    /// Takes the file as it is now for known.
    pub(super) fn look(&mut self) {
        self.read = self.stamp();
    }

    pub(super) fn has_changed(&mut self) -> bool {
        let now = self.stamp();
        let settled = now == self.seen;
        self.seen = now;
        settled && now.is_some() && now != self.read
    }

    pub(super) fn read(&mut self) -> Option<anyhow::Result<String>> {
        self.read = self.stamp();
        Some(read_text(self.path.as_ref()?, self.bytes_max))
    }
}
