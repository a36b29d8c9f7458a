//! Files of text on disk: labels, and heads.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow};

use super::SET_BYTES_MAX;

/// The text of a labels file.
///
/// # Errors
/// Names the file, and the line that is not UTF-8.
pub fn read_labels(path: &Path) -> anyhow::Result<String> {
    read_text(path, SET_BYTES_MAX as u64)
}

/// The text of a file of at most `bytes_max`.
///
/// # Errors
/// As [`read_labels`].
pub fn read_text(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let name = path.display();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| name.to_string())?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).with_context(|| name.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(anyhow!("{name} has more than {bytes_max} bytes, the limit"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + String::from_utf8_lossy(good).matches('\n').count();
        anyhow!("{name}: line {line}: not UTF-8 text: save the file as UTF-8")
    })
}
