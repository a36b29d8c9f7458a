//! Events as JSON lines, on stdout or in a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::Context;

use super::capped::CappedFile;
use super::{Notice, Output};

/// Smallest size that a file may be capped to, in bytes: a few of the longest lines fit.
const FILE_BYTES_MIN: u64 = 16 << 10;

/// Most files that are kept.
const FILES_MAX: usize = 100;

/// Where the lines go.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether events go to stdout. Default: yes.
    pub stdout: bool,
    /// A file that they go to as well. Lines are not forced to the disk one by one: a power cut may
    /// cost the last seconds. Default: none.
    pub file: Option<PathBuf>,
    /// Size at which FILE becomes FILE.1 and a new one is begun, in bytes. Default: 10 MiB.
    pub file_bytes_max: u64,
    /// Number of files that are kept, FILE among them. Default: 5.
    pub files_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { stdout: true, file: None, file_bytes_max: 10 << 20, files_max: 5 }
    }
}

impl Options {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Which one doesn't, and what does.
    pub fn check(&self) -> Result<(), String> {
        if self.file_bytes_max < FILE_BYTES_MIN {
            return Err(format!("jsonl.file_bytes_max must be at least {FILE_BYTES_MIN}"));
        }
        if !(1..=FILES_MAX).contains(&self.files_max) {
            return Err(format!("jsonl.files_max must be 1 to {FILES_MAX}"));
        }
        if self.file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            return Err("jsonl.file must be a path: leave it out for no file".to_owned());
        }
        Ok(())
    }

    /// Whether there is anywhere to write to.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.stdout || self.file.is_some()
    }
}

/// The output.
#[derive(Debug)]
pub struct JsonLines {
    stdout: Option<Stream>,
    stdout_health: Health,
    file: Option<CappedFile>,
    file_health: Health,
}

impl JsonLines {
    /// Opens what the options name.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let open = |path: &PathBuf| {
            CappedFile::open(path, options.file_bytes_max, options.files_max)
                .with_context(|| format!("jsonl.file: {} can't be written", path.display()))
        };
        let file = options.file.as_ref().map(open).transpose()?;
        // Not Rust's own stdout: it keeps what it could not write, and would write it later.
        let stdout = if options.stdout {
            Some(io::stdout().as_fd().try_clone_to_owned().context("stdout")?.into())
        } else {
            None
        };
        Ok(Self::new(stdout, file))
    }

    fn new(stdout: Option<File>, file: Option<CappedFile>) -> Self {
        Self {
            stdout: stdout.map(|file| Stream { file, torn: false }),
            stdout_health: Health::new("stdout"),
            file,
            file_health: Health::new("the file of events"),
        }
    }

    fn write(&mut self, line: &[u8]) {
        if let Some(file) = &mut self.file {
            self.file_health.note(file.write_line(line));
        }
        let Some(stdout) = &mut self.stdout else { return };
        match stdout.write_line(line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                log::warn!("nobody reads stdout any more: events no longer go there");
                self.stdout = None;
            }
            result => self.stdout_health.note(result),
        }
    }
}

impl Output for JsonLines {
    fn notice(&mut self, notice: &Notice) -> anyhow::Result<()> {
        if let Notice::Event(event, _) = notice {
            self.write(&serde_json::to_vec(&**event)?);
        }
        Ok(())
    }
}

/// A stream of lines that can't be cut back.
#[derive(Debug)]
struct Stream {
    file: File,
    /// Whether a line stopped in its middle, and must be closed off.
    torn: bool,
}

impl Stream {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if self.torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(some) => {
                    written += some;
                    self.torn = bytes[written - 1] != b'\n';
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Says once that writing fails, and once that it works again.
#[derive(Debug)]
struct Health {
    name: &'static str,
    /// Lines that were dropped since it fails; zero while it works.
    dropped: u64,
}

impl Health {
    fn new(name: &'static str) -> Self {
        Self { name, dropped: 0 }
    }

    fn note(&mut self, result: io::Result<()>) {
        match result {
            Err(error) => {
                if self.dropped == 0 {
                    log::warn!(
                        "{} can't be written: {error}; lines are dropped for now",
                        self.name
                    );
                }
                self.dropped += 1;
            }
            Ok(()) if self.dropped > 0 => {
                log::warn!("{} works again; {} lines were dropped", self.name, self.dropped);
                self.dropped = 0;
            }
            Ok(()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use super::{CappedFile, JsonLines, Options};
    use crate::outputs::tests::event;
    use crate::outputs::{Notice, Output};

    #[test]
    fn a_line_is_the_event() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut lines = JsonLines::new(Some(File::from(OwnedFd::from(writer))), None);
        lines.notice(&Notice::Muted(true)).unwrap();
        lines.notice(&Notice::Event(Arc::new(event("cat", true)), None)).unwrap();
        drop(lines);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["label"], "cat");
        assert_eq!(value["state"], "enter");
    }

    #[test]
    fn a_closed_stdout_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let file = CappedFile::open(&path, 1 << 20, 2).unwrap();
        let mut lines = JsonLines::new(Some(File::from(OwnedFd::from(writer))), Some(file));
        for _ in 0..3 {
            lines.notice(&Notice::Event(Arc::new(event("cat", true)), None)).unwrap();
        }
        assert!(lines.stdout.is_none());
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_full_disk_costs_lines_and_is_counted() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut lines = JsonLines::new(Some(full), None);
        for _ in 0..3 {
            lines.notice(&Notice::Event(Arc::new(event("cat", true)), None)).unwrap();
        }
        assert_eq!(lines.stdout_health.dropped, 3);
        lines.stdout.as_mut().unwrap().file = tempfile::tempfile().unwrap();
        lines.notice(&Notice::Event(Arc::new(event("cat", true)), None)).unwrap();
        assert_eq!(lines.stdout_health.dropped, 0);
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        assert_eq!(Options::default().check(), Ok(()));
        let small = Options { file_bytes_max: 10, ..Options::default() };
        assert!(small.check().unwrap_err().contains("file_bytes_max"));
        let none = Options { files_max: 0, ..Options::default() };
        assert!(none.check().unwrap_err().contains("files_max"));
    }
}
