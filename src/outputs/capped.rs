//! A file of lines that never grows over its limit, and never holds half a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// FILE, FILE.1, FILE.2, ..: the newest lines are in FILE. What fails is tried anew with the next line.
#[derive(Debug)]
pub(super) struct CappedFile {
    path: PathBuf,
    /// Largest size of each file, in bytes.
    bytes_max: u64,
    /// Number of files that are kept, FILE among them.
    files_max: usize,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Whether the file ends in the middle of a line: the power went, or the disk was full.
    torn: bool,
}

impl CappedFile {
    /// Opens or creates the file, and the folders to it.
    ///
    /// # Errors
    /// Why it can't be written.
    pub(super) fn open(path: &Path, bytes_max: u64, files_max: usize) -> io::Result<Self> {
        let mut capped = Self { path: path.to_owned(), bytes_max, files_max, open: None };
        capped.opened()?;
        Ok(capped)
    }

    /// Writes `line`, which has no line end, and a line end: all of it or nothing.
    ///
    /// # Errors
    /// The line is not in the file; the lines before it are.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = line.len() as u64 + 1;
        if bytes > self.bytes_max {
            let reason = format!("a line of {bytes} bytes is larger than the file may be");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let length = self.opened()?.file.metadata()?.len();
        // One more byte where a torn line is closed off.
        if length > 0 && length + bytes + 1 > self.bytes_max {
            self.rotate()?;
        }
        let result = self.opened()?.append(line);
        if result.is_err() {
            self.open = None;
        }
        result
    }

    /// The open file; a new one where someone moved or removed the one before.
    fn opened(&mut self) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) if open.is_at(&self.path)? => open,
            _ => Open::new(&self.path)?,
        };
        Ok(self.open.insert(open))
    }

    /// FILE.1 becomes FILE.2 and so on, and FILE becomes FILE.1; what is over the count goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        for older in (1..self.files_max.saturating_sub(1)).rev() {
            rename_if_there(&self.numbered(older), &self.numbered(older + 1))?;
        }
        if self.files_max > 1 {
            rename_if_there(&self.path, &self.numbered(1))
        } else {
            fs::remove_file(&self.path)
        }
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        let mut last = [b'\n'];
        if metadata.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(Self { file, torn: last != [b'\n'] })
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        let there = fs::metadata(path).ok();
        Ok(there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if self.torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        let result = self.file.write_all(&bytes);
        match &result {
            Ok(()) => self.torn = false,
            // Where even this fails, the next opening sees the torn line.
            Err(_) => drop(self.file.set_len(length)),
        }
        result
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::CappedFile;

    #[test]
    fn files_stay_under_their_size_and_count_and_hold_the_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/events.jsonl");
        for files_max in 1..=4 {
            let mut capped = CappedFile::open(&path, 100, files_max).unwrap();
            for number in 0..200 {
                capped.write_line(format!("line {number:04}").as_bytes()).unwrap();
            }
            let folder = path.parent().unwrap();
            let files: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(files.len(), files_max);
            let mut lines = Vec::new();
            for file in files {
                let text = fs::read_to_string(file).unwrap();
                assert!(text.len() <= 100 && text.ends_with('\n'), "{text:?}");
                lines.extend(text.lines().map(str::to_owned));
            }
            lines.sort();
            let from = 200 - lines.len();
            let wanted: Vec<_> = (from..200).map(|number| format!("line {number:04}")).collect();
            assert_eq!(lines, wanted, "the newest, without a gap");
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn a_line_torn_by_a_power_cut_is_closed_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        fs::write(&path, "{\"a\":1}\n{\"b\":").unwrap();
        let mut capped = CappedFile::open(&path, 1000, 2).unwrap();
        capped.write_line(b"{\"c\":3}").unwrap();
        capped.write_line(b"{\"d\":4}").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"b\":\n{\"c\":3}\n{\"d\":4}\n");
    }

    #[test]
    fn a_file_that_someone_took_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut capped = CappedFile::open(&path, 1000, 2).unwrap();
        capped.write_line(b"1").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        capped.write_line(b"2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        fs::remove_file(&path).unwrap();
        capped.write_line(b"3").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
    }

    #[test]
    fn what_cannot_be_a_file_of_lines_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(CappedFile::open(folder.path(), 1000, 2).is_err());
        assert!(CappedFile::open("/dev/null".as_ref(), 1000, 2).is_err());
        let mut capped = CappedFile::open(&folder.path().join("a"), 10, 2).unwrap();
        assert!(capped.write_line(&[b'x'; 10]).is_err());
    }
}
