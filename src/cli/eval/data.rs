//! Pictures and clips whose class is known: from folders named by class, or from a list.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use edgeclip::capture::CLIPS;

use crate::cli::pictures::{EXTENSIONS, Picture, has_extension, is_picture, walk};
use crate::cli::say;

/// Most pictures of an evaluation.
const SAMPLES_MAX: usize = 1_000_000;
/// Largest list that is read, in bytes.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Everything that is to be judged.
#[derive(Default)]
pub(super) struct Data {
    /// Names of the classes, as folders or lists have them, `_` shown as a space.
    pub(super) classes: Vec<String>,
    pub(super) samples: Vec<Sample>,
    /// Index of each class by its [`key`].
    by_key: HashMap<String, usize>,
}

/// One picture or clip.
pub(super) struct Sample {
    pub(super) source: Picture,
    /// Index of its class.
    pub(super) class: usize,
}

impl Sample {
    /// The file of a video clip; none for a picture.
    pub(super) fn clip(&self) -> Option<&Path> {
        match &self.source {
            Picture::File(path) if is_clip(path) => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Data {
    /// What the arguments name, folders and lists, in their order.
    ///
    /// # Errors
    /// The folder, or the list and its line, and the way out.
    pub(super) fn collect(arguments: &[PathBuf]) -> anyhow::Result<Self> {
        let mut data = Self::default();
        for path in arguments {
            let name = path.display();
            if path.is_dir() {
                data.add_folder(path)?;
            } else if has_extension(path, &["csv"]) {
                data.add_list(path)?;
            } else if path.exists() {
                bail!("{name} is neither a folder nor a .csv: see `edgeclip eval --help`");
            } else {
                bail!("{name}: there is no such folder or file");
            }
            if data.samples.len() > SAMPLES_MAX {
                bail!("{name}: more than {SAMPLES_MAX} pictures, the limit");
            }
        }
        Ok(data)
    }

    /// A folder with a folder for each class.
    fn add_folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let name = folder.display();
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut paths: Vec<PathBuf> =
            listed.with_context(|| name.to_string())?.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        if let Some(stray) = paths.iter().find(|path| path.is_file() && is_sample(path)) {
            bail!(
                "{} is in no class: {name} must have a folder for each class, with its pictures in it",
                stray.display()
            );
        }
        let before = self.samples.len();
        for path in paths.iter().filter(|path| path.is_dir()) {
            let class = path.file_name().unwrap_or_default().to_string_lossy();
            if !class.starts_with('.') {
                self.add_class(path, &class);
            }
        }
        if self.samples.len() == before {
            let known = [&EXTENSIONS[..], &CLIPS].concat().join(", ");
            bail!("{name} has no class folders with pictures or clips ({known}) in them");
        }
        Ok(())
    }

    fn add_class(&mut self, folder: &Path, name: &str) {
        let mut sources = Vec::new();
        walk(folder, is_sample, &mut sources);
        if sources.is_empty() {
            say(format_args!("{}: no pictures in this class", folder.display()));
            return;
        }
        let class = self.class(name);
        self.samples.extend(sources.into_iter().map(|source| Sample { source, class }));
    }

    /// A CSV file with the columns `path` and `label`; paths start at its own folder.
    fn add_list(&mut self, list: &Path) -> anyhow::Result<()> {
        let name = list.display();
        let bytes = fs::metadata(list).with_context(|| name.to_string())?.len();
        if bytes > LIST_BYTES_MAX {
            bail!("{name} has {bytes} bytes, the limit is {LIST_BYTES_MAX}");
        }
        let text = fs::read(list).with_context(|| name.to_string())?;
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_slice());
        let wrong = |error: csv::Error| {
            let line = line_of(&text, error.position());
            anyhow!("{name}: line {line}: {}", csv_reason(&error))
        };
        let header = reader.headers().map_err(wrong)?.clone();
        let column = |wanted: &str| {
            let is_wanted =
                |title: &str| title.trim_start_matches('\u{feff}').eq_ignore_ascii_case(wanted);
            header.iter().position(is_wanted).ok_or_else(|| {
                anyhow!("{name}: line 1: no column \"{wanted}\": the first line must be path,label")
            })
        };
        let (path_at, label_at) = (column("path")?, column("label")?);
        let folder = list.parent().unwrap_or(Path::new(""));
        let before = self.samples.len();
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            let field = |at: usize, title: &str| match record.get(at) {
                Some("") | None => {
                    let line = line_of(&text, record.position());
                    Err(anyhow!("{name}: line {line}: the {title} is empty"))
                }
                Some(text) => Ok(text),
            };
            let (path, label) = (field(path_at, "path")?, field(label_at, "label")?);
            let class = self.class(label);
            self.samples.push(Sample { source: Picture::File(folder.join(path)), class });
        }
        if self.samples.len() == before {
            bail!("{name} lists no pictures");
        }
        Ok(())
    }

    /// The class of this name, new or known.
    fn class(&mut self, name: &str) -> usize {
        let classes = &mut self.classes;
        *self.by_key.entry(key(name)).or_insert_with(|| {
            classes.push(name.replace('_', " ").trim().to_owned());
            classes.len() - 1
        })
    }
}

/// The line, from 1, where a record begins. The reader's own count stands before empty lines that it skips.
fn line_of(text: &[u8], position: Option<&csv::Position>) -> usize {
    let at = position.map_or(0, |position| position.byte() as usize).min(text.len());
    let empty = text[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    text[..at + empty].split(|byte| *byte == b'\n').count()
}

/// What is wrong with a list, and the way out.
fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!(
            "{len} fields, the first line has {expected_len}: put a path with a comma in quotes"
        ),
        csv::ErrorKind::Utf8 { .. } => "not UTF-8 text: save the file as UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// A name without regard to case, underscores, spacing and article: what classes and labels meet by.
pub(super) fn key(name: &str) -> String {
    let name = name.replace('_', " ").to_lowercase();
    let words: Vec<&str> = name.split_whitespace().collect();
    match words.as_slice() {
        ["a" | "an" | "the", rest @ ..] if !rest.is_empty() => rest.join(" "),
        words => words.join(" "),
    }
}

fn is_sample(path: &Path) -> bool {
    is_picture(path) || is_clip(path)
}

fn is_clip(path: &Path) -> bool {
    has_extension(path, &CLIPS)
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn names_meet_without_regard_to_how_they_are_written() {
        for name in ["a_cup_of_Coffee", " cup  of coffee", "The cup_of coffee"] {
            assert_eq!(key(name), "cup of coffee");
        }
        assert_eq!((key("A"), key("the")), ("a".to_owned(), "the".to_owned()));
        assert_ne!(key("ca"), key("a ca t"));
    }
}
