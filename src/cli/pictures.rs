//! Which pictures are meant by the arguments of a command, and working through them.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use edgeclip::capture::{self, Frame, PictureError};
use edgeclip::disk;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use walkdir::WalkDir;

use super::{Failure, Outcome, say};

/// Extensions that are looked for in folders, in lower case.
pub(super) const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "gif"];

/// Lists up to this length need no progress bar.
const SHORT_LIST: usize = 20;

/// One picture that a command works on.
pub(super) enum Picture {
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A part of a folder that can't be listed, or is neither a file nor a folder.
    Unlisted(PathBuf, String),
}

impl Picture {
    pub(super) fn read(&self) -> Result<Frame, PictureError> {
        match self {
            Self::File(path) => capture::read(path),
            Self::Stdin => capture::read_from(io::stdin().lock()),
            Self::Unlisted(_, reason) => Err(io::Error::other(reason.clone()).into()),
        }
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Unlisted(path, _) => path.display().fmt(f),
            Self::Stdin => f.write_str("-"),
        }
    }
}

/// The pictures that the arguments name: files as they are, folders with all pictures below them in
/// sorted order, `-` for standard input.
pub(super) fn collect(arguments: &[PathBuf]) -> Result<Vec<Picture>, Failure> {
    let mut pictures = Vec::new();
    for argument in arguments {
        if argument.as_os_str() == "-" {
            if pictures.iter().any(|picture| matches!(picture, Picture::Stdin)) {
                let twice = anyhow!("- is given twice: standard input can be read once");
                return Err(Failure::Usage(twice));
            }
            pictures.push(Picture::Stdin);
        } else if argument.is_dir() {
            let before = pictures.len();
            walk(argument, is_picture, &mut pictures);
            if pictures.len() == before {
                let known = EXTENSIONS.join(", ");
                say(format_args!("no pictures ({known}) in {}", argument.display()));
            }
        } else {
            pictures.push(Picture::File(argument.clone()));
        }
    }
    if pictures.is_empty() {
        let nothing = anyhow!("there is nothing to do: name pictures or folders of pictures");
        return Err(Failure::Usage(nothing));
    }
    Ok(pictures)
}

/// All files below a folder that are wanted, in sorted order.
pub(super) fn walk(folder: &Path, is_wanted: fn(&Path) -> bool, pictures: &mut Vec<Picture>) {
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_dir() || !is_wanted(entry.path()) => {}
            Ok(entry) if entry.file_type().is_file() => {
                pictures.push(Picture::File(entry.into_path()));
            }
            Ok(entry) => {
                pictures.push(Picture::Unlisted(entry.into_path(), disk::NOT_REGULAR.to_owned()));
            }
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                let reason =
                    error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                pictures.push(Picture::Unlisted(path, reason));
            }
        }
    }
}

/// Whether a file is a picture by its name.
pub(super) fn is_picture(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS)
}

/// Whether a path ends in one of the extensions, in whatever case.
pub(super) fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or("");
    known.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// Works through the pictures with a progress bar: `work` makes an answer of each, `print` shows the
/// answer or the failure. A failed picture is also reported on stderr, and the rest go on.
pub(super) fn work_through<P: fmt::Display, T>(
    pictures: &[P],
    mut work: impl FnMut(&P) -> anyhow::Result<T>,
    mut print: impl FnMut(&str, anyhow::Result<T>) -> io::Result<()>,
) -> Result<Outcome, Failure> {
    let bar = progress(pictures.len(), "pictures");
    let mut outcome = Outcome::Done;
    for picture in pictures {
        let path = picture.to_string();
        let answer = work(picture);
        bar.suspend(|| {
            if let Err(error) = &answer {
                outcome = Outcome::SomeFailed;
                say(format_args!("{path}: {error:#}"));
            }
            print(&path, answer)
        })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(outcome)
}

/// A bar on stderr for a long list, where someone watches.
pub(super) fn progress(count: usize, what: &str) -> ProgressBar {
    if count <= SHORT_LIST || !io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left")
        .expect("the template is a constant");
    ProgressBar::new(count as u64).with_style(style).with_message(what.to_owned())
}
