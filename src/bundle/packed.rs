//! A packed model: one uncompressed tar archive with a manifest, a vocabulary and two towers that are
//! ready to run, mapped into memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::disk;
use crate::memory;

/// The version of the format that this build reads and writes.
const FORMAT: u32 = 1;
/// What is in a packed model, and how it was made.
const CONTENTS: &str = "eclip.toml";
/// Bytes of a tar archive's block: every file begins at a multiple of it.
const BLOCK: usize = 512;

/// Why a packed model can't be used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackedError {
    /// The file can't be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not one, or is cut off.
    #[error("it is no packed model, or is cut off: {0}")]
    NoArchive(String),
    /// It was made by another version of edgeclip.
    #[error(
        "it has format {found} of edgeclip {version}, this one reads {FORMAT}: pack the model anew"
    )]
    Format {
        /// The file's format.
        found: u32,
        /// The version that wrote it.
        version: String,
    },
    /// A part of it is not what was written.
    #[error("its {part} is damaged: copy the file again, or pack the model anew")]
    Damaged {
        /// The part's name.
        part: String,
    },
    /// A part of it is missing.
    #[error("it has no {part}: pack the model anew")]
    Missing {
        /// The part's name.
        part: String,
    },
}

/// `eclip.toml`.
#[derive(Serialize, Deserialize)]
struct Contents {
    format: u32,
    /// The version that wrote it.
    #[serde(default)]
    edgeclip: String,
    #[serde(default)]
    kernel: String,
    /// CRC-32 of each part, in hexadecimal digits.
    #[serde(default)]
    crc32: BTreeMap<String, String>,
}

/// The parts of a packed model, by name.
#[derive(Debug)]
pub(super) struct Packed {
    kernel: String,
    crc32: BTreeMap<String, String>,
    parts: BTreeMap<String, Bytes>,
}

impl Packed {
    /// Maps a file and reads its contents; the parts are checked when they are asked for.
    pub(super) fn open(path: &Path) -> Result<Self, PackedError> {
        let file = File::open(path)?;
        let whole = memory::map(&file)?;
        let parts = parts(&whole).map_err(|error| PackedError::NoArchive(error.to_string()))?;
        let contents = parts.get(CONTENTS).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let contents = contents.ok_or_else(|| PackedError::NoArchive(format!("no {CONTENTS}")))?;
        let contents: Contents = toml::from_str(contents)
            .map_err(|error| PackedError::NoArchive(error.message().to_owned()))?;
        if contents.format != FORMAT {
            let (found, version) = (contents.format, contents.edgeclip);
            return Err(PackedError::Format { found, version });
        }
        Ok(Self { kernel: contents.kernel, crc32: contents.crc32, parts })
    }

    /// The kernel that the weights were packed for.
    pub(super) fn kernel(&self) -> &str {
        &self.kernel
    }

    /// A part, if it is what was written.
    pub(super) fn part(&self, name: &str) -> Result<Bytes, PackedError> {
        let missing = || PackedError::Missing { part: name.into() };
        let bytes = self.parts.get(name).ok_or_else(missing)?;
        let wanted = self.crc32.get(name).ok_or_else(missing)?;
        if digest(bytes) != *wanted {
            return Err(PackedError::Damaged { part: name.into() });
        }
        Ok(bytes.clone())
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// Where each file of an archive is.
fn parts(whole: &Bytes) -> io::Result<BTreeMap<String, Bytes>> {
    let mut parts = BTreeMap::new();
    // With seeks, so that no more than the headers is read.
    let mut archive = tar::Archive::new(io::Cursor::new(&**whole));
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let start = entry.raw_file_position() as usize;
        let end = start.checked_add(entry.size() as usize).filter(|end| *end <= whole.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        parts.insert(entry.path()?.to_string_lossy().into_owned(), whole.slice(start..end));
    }
    Ok(parts)
}

/// Writes a packed model: whole, under its name, or not at all.
pub(super) fn write(path: &Path, kernel: &str, parts: &[(&str, &[u8])]) -> Result<(), PackedError> {
    let crc32 = parts.iter().map(|(name, bytes)| ((*name).to_owned(), digest(bytes))).collect();
    let edgeclip = env!("CARGO_PKG_VERSION").to_owned();
    let contents = Contents { format: FORMAT, edgeclip, kernel: kernel.to_owned(), crc32 };
    let contents = toml::to_string(&contents).map_err(io::Error::other)?;
    let folder = disk::folder_of(path);
    let part = tempfile::Builder::new().prefix(disk::PART_PREFIX).tempfile_in(&folder);
    let mut file: NamedTempFile = part?;
    let mut archive = tar::Builder::new(io::BufWriter::new(file.as_file_mut()));
    for (name, bytes) in [(CONTENTS, contents.as_bytes())].iter().chain(parts) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes)?;
    }
    archive.into_inner()?.flush()?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(disk::sync_folder(&folder)?)
}

/// Whether a file begins as a packed model does.
pub(super) fn is_packed(path: &Path) -> bool {
    let mut start = [0; BLOCK];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start.starts_with(CONTENTS.as_bytes())
}
