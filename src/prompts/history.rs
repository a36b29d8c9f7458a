//! The label sets that were in use, on disk: the newest is the one in use, and the way back leads to those
//! before. Each is a file of its own that is there whole or not at all, so a power cut at any moment leaves a
//! whole set in use.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk;

/// Why the history can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct HistoryError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A label set of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Counts up from 1.
    pub number: u64,
    /// Who asked for it: `file`, `http`, `mqtt`, ..
    pub origin: String,
    /// Whether it was rolled back.
    pub undone: bool,
    /// Where it is.
    pub path: PathBuf,
}

/// The folder of label sets, `000042.http.labels`; `.undone` is added where a set was rolled back.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
    /// Sets that are kept.
    keep: usize,
}

const ENDING: &str = "labels";
const UNDONE: &str = "undone";

impl History {
    /// The history in a folder, which is made; `keep` sets are kept, at least one.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn open(folder: &Path, keep: usize) -> Result<Self, HistoryError> {
        let history = Self { folder: folder.to_owned(), keep: keep.max(1) };
        fs::create_dir_all(folder).map_err(|source| history.error(source))?;
        // Not while another process writes.
        let _lock = history.lock()?;
        history.sweep().map_err(|source| history.error(source))?;
        Ok(history)
    }

    /// All sets, oldest first. Names that are none of ours are passed over.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn list(&self) -> Result<Vec<Stored>, HistoryError> {
        let read = || -> io::Result<Vec<Stored>> {
            let entries = fs::read_dir(&self.folder)?.collect::<io::Result<Vec<_>>>()?;
            let mut sets: Vec<Stored> =
                entries.iter().filter_map(|entry| Stored::of(entry.path())).collect();
            sets.sort_by_key(|set| set.number);
            Ok(sets)
        };
        read().map_err(|source| self.error(source))
    }

    /// The set in use: the newest that was not rolled back.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn newest(&self) -> Result<Option<Stored>, HistoryError> {
        Ok(self.list()?.into_iter().rev().find(|set| !set.undone))
    }

    /// Puts a set into use. Of the others, the newest are kept, and the newest that came from `origin`.
    ///
    /// # Errors
    /// [`HistoryError`]; the set in use is then the one before.
    pub fn push(&self, text: &str, origin: &str) -> Result<Stored, HistoryError> {
        let _lock = self.lock()?;
        let sets = self.list()?;
        let number = sets.last().map_or(1, |set| set.number + 1);
        let origin: String = origin.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let path = self.folder.join(format!("{number:06}.{origin}.{ENDING}"));
        disk::replace(&path, text.as_bytes())
            .map_err(|source| HistoryError { path: path.clone(), source })?;
        self.prune(&sets);
        Ok(Stored { number, origin, undone: false, path })
    }

    /// Takes sets out of use, down to the one before, or down to number `to`; returns the one that is then in
    /// use, `None` where there is none before.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn roll_back(&self, to: Option<u64>) -> Result<Option<Stored>, HistoryError> {
        let _lock = self.lock()?;
        let in_use: Vec<Stored> = self.list()?.into_iter().filter(|set| !set.undone).collect();
        let target = match to {
            None => in_use.len().checked_sub(2),
            Some(number) => in_use.iter().position(|set| set.number == number),
        };
        let Some(target) = target else { return Ok(None) };
        // The newest first: at any moment some whole set is the newest.
        for set in in_use[target + 1..].iter().rev() {
            let undone = set.path.with_extension(format!("{ENDING}.{UNDONE}"));
            let renamed =
                fs::rename(&set.path, undone).and_then(|()| disk::sync_folder(&self.folder));
            renamed.map_err(|source| HistoryError { path: set.path.clone(), source })?;
        }
        Ok(in_use.into_iter().nth(target))
    }

    /// Removes what is too old. What can't be removed now is removed next time.
    fn prune(&self, before: &[Stored]) {
        let origins: Vec<&str> = before.iter().map(|set| set.origin.as_str()).collect();
        let newest_of_origin = |index: usize| !origins[index + 1..].contains(&origins[index]);
        let surplus = (before.len() + 1).saturating_sub(self.keep);
        for (index, set) in before.iter().enumerate().take(surplus) {
            if !newest_of_origin(index) {
                let _ = fs::remove_file(&set.path);
            }
        }
    }

    /// Removes parts of files that a power cut left.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(disk::PART_PREFIX) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Keeps other processes out until it is dropped.
    fn lock(&self) -> Result<File, HistoryError> {
        let path = self.folder.join("lock");
        let locked = || -> io::Result<File> {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        locked().map_err(|source| HistoryError { path: path.clone(), source })
    }

    fn error(&self, source: io::Error) -> HistoryError {
        HistoryError { path: self.folder.clone(), source }
    }
}

impl Stored {
    fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_owned();
        let (number, rest) = name.split_once('.')?;
        let (origin, rest) = rest.split_once('.')?;
        let undone = match rest {
            ENDING => false,
            rest if rest.strip_prefix(ENDING)?.strip_prefix('.')? == UNDONE => true,
            _ => return None,
        };
        Some(Self { number: number.parse().ok()?, origin: origin.to_owned(), undone, path })
    }

    /// The set's text.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn read(&self) -> Result<String, HistoryError> {
        fs::read_to_string(&self.path)
            .map_err(|source| HistoryError { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(history: &History) -> Vec<String> {
        history.list().unwrap().iter().map(|set| set.read().unwrap()).collect()
    }

    #[test]
    fn the_newest_set_is_in_use_and_the_way_back_leads_to_those_before() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), 10).unwrap();
        assert_eq!(history.newest().unwrap(), None);
        assert_eq!(history.roll_back(None).unwrap(), None);
        for text in ["cat", "dog", "cow"] {
            history.push(text, "http").unwrap();
        }
        let in_use = || history.newest().unwrap().map(|set| set.read().unwrap());
        assert_eq!(in_use().as_deref(), Some("cow"));
        assert_eq!(history.roll_back(None).unwrap().unwrap().read().unwrap(), "dog");
        assert_eq!(in_use().as_deref(), Some("dog"));
        history.push("owl", "mqtt").unwrap();
        assert_eq!(texts(&history), ["cat", "dog", "cow", "owl"], "nothing is lost");
        assert_eq!(history.roll_back(Some(1)).unwrap().unwrap().read().unwrap(), "cat");
        assert_eq!(history.roll_back(None).unwrap(), None, "there is none before");
        assert_eq!(history.roll_back(Some(3)).unwrap(), None, "it was rolled back");
        assert_eq!(in_use().as_deref(), Some("cat"));
    }

    #[test]
    fn old_sets_go_and_the_newest_of_each_origin_stays() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), 3).unwrap();
        history.push("from the file", "file").unwrap();
        for number in 0..5 {
            history.push(&format!("http {number}"), "http").unwrap();
        }
        assert_eq!(texts(&history), ["from the file", "http 2", "http 3", "http 4"]);
    }

    #[test]
    fn what_a_power_cut_left_is_swept_and_strange_names_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join(format!("{}abc", disk::PART_PREFIX));
        for path in
            [&part, &folder.path().join("7.http.labelsx"), &folder.path().join("x.y.labels")]
        {
            fs::write(path, "half a s").unwrap();
        }
        let history = History::open(folder.path(), 3).unwrap();
        assert!(!part.exists());
        assert_eq!(history.list().unwrap(), []);
    }
}
