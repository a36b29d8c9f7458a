//! A folder of pictures, or a motion-JPEG file: recordings that are played.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use walkdir::WalkDir;

use super::address::{PICTURES, has_extension};
use super::mjpeg::Splitter;
use super::{BYTES_MAX, Captured, Encoding, Shot, Source, SourceError};

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Pictures of a folder, one after the other.
pub(super) struct Pictures {
    files: std::vec::IntoIter<PathBuf>,
}

impl Pictures {
    /// All pictures in a folder and the folders in it, sorted by name.
    pub(super) fn of_folder(folder: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry)
                    if entry.file_type().is_file() && has_extension(entry.path(), &PICTURES) =>
                {
                    files.push(entry.into_path());
                }
                Ok(_) => {}
                Err(error) if error.depth() == 0 => return Err(error.into()),
                Err(error) => log::warn!("{error}"),
            }
        }
        if files.is_empty() {
            return Err(io::Error::other(format!(
                "has no pictures ({}) in it",
                PICTURES.join(", ")
            )));
        }
        Ok(Self { files: files.into_iter() })
    }

    /// A single one.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        File::open(path)?;
        Ok(Self { files: vec![path.to_owned()].into_iter() })
    }
}

impl Source for Pictures {
    /// A file that can't be read makes an empty shot, which then can't be decoded.
    fn capture(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Captured, SourceError> {
        let Some(path) = self.files.next() else { return Ok(Captured::End) };
        shot.bytes.clear();
        (shot.encoding, shot.width, shot.height, shot.stride) = (Encoding::File, 0, 0, 0);
        let read =
            File::open(&path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut shot.bytes));
        if let Err(error) = read {
            log::debug!("{}: {error}", path.display());
            shot.bytes.clear();
        }
        Ok(Captured::Shot)
    }
}

/// The JPEGs of a motion-JPEG file. One that is cut off makes a shot as far as it goes, which can't be decoded.
pub(super) struct MotionJpeg {
    file: File,
    name: String,
    splitter: Splitter,
    chunk: Vec<u8>,
}

impl MotionJpeg {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::other("is a folder: use dir:PATH"));
        }
        let name = path.display().to_string();
        Ok(Self { file, name, splitter: Splitter::default(), chunk: vec![0; CHUNK_BYTES] })
    }
}

impl Source for MotionJpeg {
    fn capture(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Captured, SourceError> {
        (shot.encoding, shot.width, shot.height, shot.stride) = (Encoding::Jpeg, 0, 0, 0);
        while !self.splitter.next(&mut shot.bytes) {
            let count = match self.file.read(&mut self.chunk) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SourceError::new(&self.name, error)),
            };
            if count == 0 {
                let is_cut_off = self.splitter.finish(&mut shot.bytes);
                return Ok(if is_cut_off { Captured::Shot } else { Captured::End });
            }
            self.splitter.extend(&self.chunk[..count]);
        }
        Ok(Captured::Shot)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn pictures_come_sorted_to_the_bottom_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c.PNG", "b/2.jpg", "b/1.jpg", "a.webp", "notes.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let mut pictures = Pictures::of_folder(folder.path()).unwrap();
        let (mut shot, mut seen) = (Shot::default(), Vec::new());
        while pictures.capture(&mut shot, Duration::ZERO).unwrap() == Captured::Shot {
            seen.push(String::from_utf8(shot.bytes.clone()).unwrap());
        }
        assert_eq!(seen, ["a.webp", "b/1.jpg", "b/2.jpg", "c.PNG"]);
    }

    #[test]
    fn a_folder_without_pictures_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Pictures::of_folder(folder.path()).err().unwrap();
        assert!(error.to_string().contains("no pictures (jpg, "), "{error}");
        assert!(Pictures::of_folder(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_picture_that_is_gone_is_an_empty_shot() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.jpg", "b.jpg"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let mut pictures = Pictures::of_folder(folder.path()).unwrap();
        fs::remove_file(folder.path().join("a.jpg")).unwrap();
        let mut shot = Shot { bytes: vec![1], ..Shot::default() };
        assert_eq!(pictures.capture(&mut shot, Duration::ZERO).unwrap(), Captured::Shot);
        assert!(shot.bytes.is_empty());
        assert_eq!(pictures.capture(&mut shot, Duration::ZERO).unwrap(), Captured::Shot);
        assert_eq!(shot.bytes, b"b.jpg");
    }
}
