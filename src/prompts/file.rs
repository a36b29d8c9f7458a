//! The labels file on disk.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};

use super::SET_BYTES_MAX;

/// The text of a labels file.
///
/// # Errors
/// Names the file, and the line that is not UTF-8.
pub fn read_labels(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let bytes = fs::metadata(path).with_context(|| name.to_string())?.len();
    if bytes > SET_BYTES_MAX as u64 {
        return Err(anyhow!("{name} has {bytes} bytes, the limit is {SET_BYTES_MAX}"));
    }
    let bytes = fs::read(path).with_context(|| name.to_string())?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + String::from_utf8_lossy(good).matches('\n').count();
        anyhow!("{name}: line {line}: not UTF-8 text: save the file as UTF-8")
    })
}
