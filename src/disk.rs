//! Files that are there whole or not at all, whatever happens in between.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Begins the names of files that are not whole yet.
pub(crate) const PART_PREFIX: &str = ".edgeclip-";

/// Puts `bytes` in the place of the file: a temporary file beside it, synced, renamed, and the folder synced.
///
/// # Errors
/// The file is then as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(tempfile::Builder::new().prefix(PART_PREFIX), path, bytes)
}

/// As the crate's own files are replaced, for one that goes to others: with the rights that any new file gets, not
/// only the user's own.
///
/// # Errors
/// The file is then as it was.
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    replace_with(builder.prefix(PART_PREFIX), path, bytes)
}

fn replace_with(builder: &tempfile::Builder<'_, '_>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut part: NamedTempFile = builder.tempfile_in(folder)?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes renames and removals in a folder last.
///
/// # Errors
/// Where the folder can't be opened or synced.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
