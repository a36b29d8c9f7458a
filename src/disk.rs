//! Files that are there whole or not at all, whatever happens in between.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

/// Begins the names of files and folders that are not whole yet.
pub(crate) const PART_PREFIX: &str = ".edgeclip-";
/// Locked in a folder that is being made.
const LOCK: &str = ".lock";

/// What [`open_regular`] says of a pipe, a socket, a device or a folder.
pub const NOT_REGULAR: &str = "not a regular file";

/// Opens a file and nothing else: who reads a pipe waits for its writer, and a device may have no end.
///
/// # Errors
/// Where it is neither a regular file nor a link to one, or can't be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR));
    }
    File::open(path)
}

/// A regular file's bytes, so many at most, whatever size it claims.
///
/// # Errors
/// As [`open_regular`]; [`io::ErrorKind::FileTooLarge`].
pub(crate) fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let reason = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

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

/// A folder that is being made beside its place. It is gone when dropped; what a killed process left is gone with the
/// next one in the same place.
pub(crate) struct PartFolder {
    // Before the folder: some systems remove no open file.
    _lock: File,
    folder: TempDir,
}

impl PartFolder {
    /// Begins one in `parent`.
    ///
    /// # Errors
    /// Where nothing can be written there.
    pub(crate) fn begin(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let folder = tempfile::Builder::new().prefix(PART_PREFIX).tempdir_in(parent)?;
        // Locked before it has its name: what has it and is not locked is nobody's.
        let lock = NamedTempFile::new_in(folder.path())?;
        // Where locks are not to be had, no one sweeps either.
        drop(lock.as_file().try_lock());
        let lock = lock.persist(folder.path().join(LOCK)).map_err(|error| error.error)?;
        Ok(Self { _lock: lock, folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the folder in its place, which is free, for good.
    ///
    /// # Errors
    /// Nothing is there then.
    pub(crate) fn settle(self, place: &Path) -> io::Result<()> {
        std::fs::remove_file(self.path().join(LOCK))?;
        open_to_others(self.path())?;
        sync_folder(self.path())?;
        let part = self.folder.keep();
        std::fs::rename(&part, place).inspect_err(|_| drop(std::fs::remove_dir_all(&part)))?;
        sync_folder(&folder_of(place))
    }

    /// Puts one of its files in a place, for good, and drops the rest.
    ///
    /// # Errors
    /// The place is then as it was.
    pub(crate) fn settle_file(self, file: &str, place: &Path) -> io::Result<()> {
        std::fs::rename(self.path().join(file), place)?;
        sync_folder(&folder_of(place))
    }
}

/// Removes the folders that nobody makes any more.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_part = entry.file_name().to_string_lossy().starts_with(PART_PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        let lock = || File::open(entry.path().join(LOCK));
        if is_part && lock().is_ok_and(|lock| lock.try_lock().is_ok()) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// A temporary folder and its files are their owner's alone; a finished one is for whoever uses it.
fn open_to_others(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for entry in std::fs::read_dir(folder)? {
            std::fs::set_permissions(entry?.path(), PermissionsExt::from_mode(0o644))?;
        }
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

fn replace_with(builder: &tempfile::Builder<'_, '_>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let mut part: NamedTempFile = builder.tempfile_in(&folder)?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(path).map_err(|error| error.error)?;
    sync_folder(&folder)
}

/// Makes renames and removals in a folder last.
///
/// # Errors
/// Where the folder can't be opened or synced.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_being_made_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let others = [".edgeclip-of-someone", "mine"].map(|name| parent.path().join(name));
        for folder in &others {
            std::fs::create_dir(folder).unwrap();
        }
        let left = parent.path().join(".edgeclip-left");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        let first = PartFolder::begin(parent.path()).unwrap();
        assert!(!left.exists());
        let second = PartFolder::begin(parent.path()).unwrap();
        assert!(first.path().exists() && others.iter().all(|folder| folder.exists()));

        std::fs::write(second.path().join("a"), "b").unwrap();
        second.settle(&parent.path().join("done")).unwrap();
        let names: Vec<_> = std::fs::read_dir(parent.path().join("done")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
    }
}
