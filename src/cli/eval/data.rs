//! Pictures and clips whose class is known: from folders named by class, or from a list.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use edgeclip::capture::{CLIPS, Frame, PictureError, read_from};
use edgeclip::disk::open_regular;
use serde::Serialize;

use super::list;
use crate::cli::pictures::{EXTENSIONS, Picture, has_extension, is_picture, walk};
use crate::cli::say;

/// Most pictures of an evaluation.
const SAMPLES_MAX: usize = 1_000_000;

/// Everything that is to be judged.
#[derive(Default)]
pub(super) struct Data {
    /// Names of the classes, as folders or lists have them, `_` shown as a space.
    pub(super) classes: Vec<String>,
    pub(super) samples: Vec<Sample>,
    /// Each class's names as folders and lists have them.
    written: Vec<BTreeSet<String>>,
    /// Index of each class by its [`key`].
    by_key: HashMap<String, usize>,
}

/// Names that are taken for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Merged {
    /// The one.
    pub(super) class: String,
    pub(super) names: Vec<String>,
}

/// One picture or clip.
pub(super) struct Sample {
    pub(super) source: Picture,
    /// Index of its class.
    pub(super) class: usize,
}

impl Sample {
    /// The picture. What a folder or a list names is opened only if it is a file: a pipe would be waited for.
    pub(super) fn read(&self) -> Result<Frame, PictureError> {
        match &self.source {
            Picture::File(path) => read_from(open_regular(path)?),
            source => source.read(),
        }
    }

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
                self.add_class(path, &class).with_context(|| name.to_string())?;
            }
        }
        if self.samples.len() == before {
            let known = [&EXTENSIONS[..], &CLIPS].concat().join(", ");
            bail!("{name} has no class folders with pictures or clips ({known}) in them");
        }
        Ok(())
    }

    fn add_class(&mut self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let mut sources = Vec::new();
        walk(folder, is_sample, &mut sources);
        if sources.is_empty() {
            say(format_args!("{}: no pictures in this class", folder.display()));
            return Ok(());
        }
        let class = self.class(name);
        sources.into_iter().try_for_each(|source| self.push(source, class))
    }

    /// A CSV file with the columns `path` and `label`; paths start at its own folder.
    fn add_list(&mut self, list: &Path) -> anyhow::Result<()> {
        let folder = list.parent().unwrap_or(Path::new(""));
        let before = self.samples.len();
        list::read(list, |path, label| {
            let class = self.class(label);
            self.push(Picture::File(folder.join(path)), class)
        })?;
        if self.samples.len() == before {
            bail!("{} lists no pictures", list.display());
        }
        Ok(())
    }

    fn push(&mut self, source: Picture, class: usize) -> anyhow::Result<()> {
        if self.samples.len() == SAMPLES_MAX {
            bail!("more than {SAMPLES_MAX} pictures, the limit");
        }
        self.samples.push(Sample { source, class });
        Ok(())
    }

    /// The class of this name, new or known.
    fn class(&mut self, name: &str) -> usize {
        let Self { classes, written, by_key, .. } = self;
        let class = *by_key.entry(key(name)).or_insert_with(|| {
            classes.push(name.replace('_', " ").trim().to_owned());
            written.push(BTreeSet::new());
            classes.len() - 1
        });
        if !written[class].contains(name) {
            written[class].insert(name.to_owned());
        }
        class
    }

    /// The classes that have several names, such as `cat` and `a_cat`.
    pub(super) fn merged(&self) -> Vec<Merged> {
        let classes = self.classes.iter().zip(&self.written);
        let several = classes.filter(|(_, names)| names.len() > 1);
        let merged = |(class, names): (&String, &BTreeSet<String>)| Merged {
            class: class.clone(),
            names: names.iter().cloned().collect(),
        };
        several.map(merged).collect()
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
