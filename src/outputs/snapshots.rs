//! Pictures of events, in a folder that never grows over its limits.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use super::{Notice, Output, slug};
use crate::capture::{Frame, encode_jpeg, wall_clock_ms};
use crate::classify::{Event, Transition};
use crate::disk;

/// Name of a picture that someone asked for.
const ASKED: &str = "picture";

/// Pictures of one event time and label at most.
const SAME_NAME_MAX: u32 = 1000;

/// Which pictures are written.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether pictures are taken of events, and when someone asks. Default: no.
    pub enabled: bool,
    /// No picture is ever written or sent, whatever else is asked for. Default: no.
    pub privacy: bool,
    /// Folder of the pictures. Default: `snapshots` in the state folder.
    pub folder: Option<PathBuf>,
    /// JPEG quality, 1 to 100. Default: 85.
    pub quality: u8,
    /// Pictures that are kept at most; the oldest go first. Default: 200.
    pub files_max: usize,
    /// Bytes that they take at most. Default: 100 MiB.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: false,
            privacy: false,
            folder: None,
            quality: 85,
            files_max: 200,
            bytes_max: 100 << 20,
        }
    }
}

impl Options {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Which one doesn't, and what does.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=100).contains(&self.quality) {
            return Err("snapshots.quality must be 1 to 100".to_owned());
        }
        if self.files_max == 0 || self.bytes_max == 0 {
            let way_out = "use snapshots.enabled = false for no pictures";
            return Err(format!("snapshots.files_max and bytes_max must be above 0: {way_out}"));
        }
        Ok(())
    }

    /// Whether pictures may leave the memory of this program at all.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.enabled && !self.privacy
    }

    /// The frame as a JPEG. Every picture that is written or sent comes from here, and so none does
    /// where privacy is asked for.
    #[must_use]
    pub fn jpeg(&self, frame: &Frame) -> Option<Vec<u8>> {
        self.allowed().then(|| encode_jpeg(frame, self.quality)).flatten()
    }
}

/// The output.
#[derive(Debug)]
pub struct Snapshots {
    options: Options,
    folder: PathBuf,
    /// Our pictures, the oldest first, with their sizes in bytes.
    kept: VecDeque<(PathBuf, u64)>,
}

impl Snapshots {
    /// Looks at what there is already; `folder` is used where the options name none.
    ///
    /// # Errors
    /// The folder can't be made or read.
    pub fn start(options: &Options, folder: &Path) -> anyhow::Result<Self> {
        let folder = options.folder.clone().unwrap_or_else(|| folder.to_owned());
        let mut kept = VecDeque::new();
        if options.allowed() {
            let read = fs::create_dir_all(&folder).and_then(|()| ours(&folder));
            let read = read.with_context(|| format!("snapshots.folder {}", folder.display()))?;
            kept.extend(read);
        }
        Ok(Self { options: options.clone(), folder, kept })
    }

    /// Writes a picture, after making room for it.
    fn keep(&mut self, frame: &Frame, unix_ms: u64, what: &str) -> anyhow::Result<()> {
        let Some(jpeg) = self.options.jpeg(frame) else { return Ok(()) };
        let bytes = jpeg.len() as u64;
        anyhow::ensure!(
            bytes <= self.options.bytes_max,
            "a picture of {bytes} bytes is larger than snapshots.bytes_max"
        );
        self.make_room(bytes)?;
        let path = self.free_name(unix_ms, what)?;
        disk::replace(&path, &jpeg)
            .with_context(|| format!("{} can't be written", path.display()))?;
        self.kept.push_back((path, bytes));
        Ok(())
    }

    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let mut taken: u64 = self.kept.iter().map(|(_, bytes)| bytes).sum();
        while self.kept.len() >= self.options.files_max || taken + bytes > self.options.bytes_max {
            let Some((oldest, freed)) = self.kept.pop_front() else { break };
            match fs::remove_file(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.kept.push_front((oldest, freed));
                    return Err(error);
                }
                _ => taken -= freed,
            }
        }
        Ok(())
    }

    fn free_name(&self, unix_ms: u64, what: &str) -> anyhow::Result<PathBuf> {
        let time = jiff::Timestamp::from_millisecond(unix_ms.cast_signed()).unwrap_or_default();
        let stem = format!("{}.{:03}Z-{what}", time.strftime("%Y%m%dT%H%M%S"), unix_ms % 1000);
        let names = (1..=SAME_NAME_MAX).map(|number| match number {
            1 => format!("{stem}.jpg"),
            _ => format!("{stem}-{number}.jpg"),
        });
        let mut free = names.map(|name| self.folder.join(name)).filter(|path| !path.exists());
        free.next().with_context(|| format!("there are {SAME_NAME_MAX} pictures of {stem} already"))
    }
}

impl Output for Snapshots {
    fn wants_pictures(&self) -> bool {
        self.options.allowed()
    }

    fn notice(&mut self, notice: &Notice) -> anyhow::Result<()> {
        match notice {
            Notice::Event(event, Some(frame)) => self.keep(frame, event.unix_ms, &name(event)),
            Notice::Picture(_) if !self.options.allowed() => {
                log::info!("no picture is taken: snapshots are off, or privacy is on");
                Ok(())
            }
            Notice::Picture(frame) => self.keep(frame, wall_clock_ms(), ASKED),
            _ => Ok(()),
        }
    }
}

fn name(event: &Event) -> String {
    let state = match event.state {
        Transition::Enter => "enter",
        Transition::Leave => "leave",
    };
    format!("{}-{state}", slug::plain(&event.label))
}

/// Our pictures in the folder, the oldest first. What a power cut left half-written is removed; what
/// has another name than ours is not touched.
fn ours(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(disk::PART_PREFIX) {
            fs::remove_file(entry.path())?;
        } else if is_ours(name) {
            let metadata = entry.metadata()?;
            found.push((metadata.modified()?, entry.path(), metadata.len()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path, bytes)| (path, bytes)).collect())
}

/// `20260101T000000.040Z-cat-enter.jpg`
fn is_ours(name: &str) -> bool {
    let shape = "00000000T000000.000Z-";
    name.strip_suffix(".jpg").is_some()
        && name.len() > shape.len()
        && name.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte == shape,
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use super::{Options, Snapshots, is_ours};
    use crate::capture::{Frame, decode};
    use crate::disk::PART_PREFIX;
    use crate::outputs::tests::event;
    use crate::outputs::{Notice, Output};

    fn frame() -> Arc<Frame> {
        Arc::new(Frame::new(32, 24, vec![90; 32 * 24 * 3]).unwrap())
    }

    fn taken(unix_ms: u64, label: &str) -> Notice {
        let mut event = event(label, true);
        event.unix_ms = unix_ms;
        Notice::Event(Arc::new(event), Some(frame()))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn options() -> Options {
        Options { enabled: true, ..Options::default() }
    }

    #[test]
    fn a_picture_is_named_by_its_time_and_label() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshots = Snapshots::start(&options(), folder.path()).unwrap();
        snapshots.notice(&taken(1_767_225_600_040, "cat")).unwrap();
        snapshots.notice(&taken(1_767_225_600_040, "cat")).unwrap();
        snapshots.notice(&taken(1_767_225_600_041, "../a/b\0")).unwrap();
        snapshots.notice(&Notice::Event(Arc::new(event("cat", true)), None)).unwrap();
        let names = names(folder.path());
        let wanted = [
            "20260101T000000.040Z-cat-enter-2.jpg",
            "20260101T000000.040Z-cat-enter.jpg",
            "20260101T000000.041Z-___a_b_-enter.jpg",
        ];
        assert_eq!(names, wanted);
        assert!(names.iter().all(|name| is_ours(name)));
        let bytes = fs::read(folder.path().join(&names[0])).unwrap();
        assert_eq!(decode(&bytes).unwrap().width(), 32);
    }

    #[test]
    fn the_oldest_go_first_also_after_a_restart_and_others_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.jpg"), "x").unwrap();
        fs::write(folder.path().join(format!("{PART_PREFIX}1")), "half").unwrap();
        let options = Options { files_max: 3, ..options() };
        for start in 0..3 {
            let mut snapshots = Snapshots::start(&options, folder.path()).unwrap();
            for number in 0..2 {
                snapshots.notice(&taken(start * 10_000 + number * 1000, "cat")).unwrap();
            }
        }
        let wanted = [
            "19700101T000011.000Z-cat-enter.jpg",
            "19700101T000020.000Z-cat-enter.jpg",
            "19700101T000021.000Z-cat-enter.jpg",
            "mine.jpg",
        ];
        assert_eq!(names(folder.path()), wanted);
    }

    #[test]
    fn bytes_are_capped_too() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = options().jpeg(&frame()).unwrap().len() as u64;
        let tight = Options { bytes_max: bytes * 2, ..options() };
        let mut snapshots = Snapshots::start(&tight, folder.path()).unwrap();
        for number in 0..5 {
            snapshots.notice(&taken(number, "cat")).unwrap();
        }
        assert_eq!(names(folder.path()).len(), 2);
        let tiny = Options { bytes_max: bytes - 1, ..options() };
        let mut snapshots = Snapshots::start(&tiny, folder.path()).unwrap();
        assert!(snapshots.notice(&taken(9, "cat")).is_err());
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn privacy_writes_no_picture_ever() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pictures");
        let options = Options { privacy: true, ..options() };
        let mut snapshots = Snapshots::start(&options, &place).unwrap();
        snapshots.notice(&taken(0, "cat")).unwrap();
        snapshots.notice(&Notice::Picture(frame())).unwrap();
        assert!(!place.exists());
        assert_eq!(options.jpeg(&frame()), None);
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        assert_eq!(Options::default().check(), Ok(()));
        let dark = Options { quality: 0, ..Options::default() };
        assert!(dark.check().unwrap_err().contains("quality"));
        let none = Options { files_max: 0, ..Options::default() };
        assert!(none.check().unwrap_err().contains("files_max"));
    }
}
