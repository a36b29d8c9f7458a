//! The folder of models: those that can be called by their names alone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use super::{Bundle, BundleError, MANIFEST, MANIFEST_BYTES_MAX, packed};

/// The end of a packed model's name.
const PACKED_END: &str = ".eclip";
/// Longest name of a model.
const NAME_BYTES_MAX: usize = 200;

/// The folder of models: `$EDGECLIP_MODELS`, else `edgeclip/models` in `$XDG_DATA_HOME` or in `~/.local/share`.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A model of the folder.
#[derive(Debug)]
pub struct StoredModel {
    /// What `--model` calls it.
    pub name: String,
    /// A packed model's file, or a bundle's folder.
    pub path: PathBuf,
    /// Its size on disk, in bytes.
    pub bytes: u64,
    /// The model, or why it can't be used.
    pub bundle: Result<Bundle, BundleError>,
}

/// Where a model is: the path that is given, where it is there; else the model of that name in the folder of models.
///
/// # Errors
/// [`BundleError::Unknown`] of a bare name that is neither.
pub fn locate(given: &Path) -> Result<PathBuf, BundleError> {
    locate_in(given, Store::from_env().as_ref())
}

fn locate_in(given: &Path, store: Option<&Store>) -> Result<PathBuf, BundleError> {
    let mut parts = given.components();
    let is_bare = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    let name = given.to_str().filter(|name| is_bare && !name.ends_with('/'));
    let (Some(name), false) = (name, given.exists()) else { return Ok(given.to_owned()) };
    let found = store.and_then(|store| store.find(name));
    found.ok_or_else(|| BundleError::Unknown {
        name: name.to_owned(),
        folder: store.map_or_else(|| "no folder of models".into(), |store| store.folder.clone()),
    })
}

impl Store {
    /// The folder that the environment names; none without a home.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        Self::read(|name| std::env::var_os(name))
    }

    /// The same, of variables that are looked up by `variable`.
    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let data = || path("XDG_DATA_HOME").or_else(|| Some(path("HOME")?.join(".local/share")));
        let folder = path("EDGECLIP_MODELS").or_else(|| Some(data()?.join("edgeclip/models")))?;
        Some(Self { folder })
    }

    /// The folder, which need not be there.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a packed model of a name is, or would be: in this folder, and not hidden.
    ///
    /// # Errors
    /// [`BundleError::Name`].
    pub fn file(&self, name: &str) -> Result<PathBuf, BundleError> {
        let is_odd = |c: char| c.is_control() || "/\\".contains(c);
        let is_fine = (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.starts_with(['.', '-'])
            && !name.contains(is_odd);
        if is_fine {
            return Ok(self.folder.join(format!("{name}{PACKED_END}")));
        }
        Err(BundleError::Name { name: name.escape_debug().to_string() })
    }

    /// The model of a name: `NAME.eclip`, else `NAME`, a folder or a file with its end.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let file = Some(self.file(name).ok()?).filter(|file| file.is_file());
        file.or_else(|| Some(self.folder.join(name)).filter(|path| is_model(path)))
    }

    /// All models, by name. What is begun, hidden or no model is left out.
    ///
    /// # Errors
    /// Where the folder can't be listed; one that is not there has no models.
    pub fn list(&self) -> io::Result<Vec<StoredModel>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        let stored = |path: PathBuf| {
            let name = path.file_name()?.to_str().filter(|name| !name.starts_with('.'))?;
            let name = name.strip_suffix(PACKED_END).unwrap_or(name).to_owned();
            let bytes = size(&path);
            is_model(&path).then(|| StoredModel { name, bytes, bundle: Bundle::open(&path), path })
        };
        Ok(paths.into_iter().filter_map(stored).collect())
    }

    /// Removes a model of the folder, whole: what is left of one that is cut off is hidden.
    ///
    /// # Errors
    /// Where it is not in the folder, [is no model](StoredModel::is_marked), or can't be removed.
    pub fn remove(&self, model: &StoredModel) -> io::Result<()> {
        let name = model.path.file_name().filter(|_| model.path.parent() == Some(&self.folder));
        let name = name.filter(|_| model.is_marked()).ok_or(io::ErrorKind::InvalidInput)?;
        let about = fs::symlink_metadata(&model.path)?;
        if !about.is_dir() {
            // A file, or a link, whose target is not of this folder.
            return fs::remove_file(&model.path);
        }
        let hidden = self.folder.join(format!(".removed-{}", name.to_string_lossy()));
        if hidden.exists() {
            fs::remove_dir_all(&hidden)?;
        }
        fs::rename(&model.path, &hidden)?;
        fs::remove_dir_all(&hidden)
    }
}

impl StoredModel {
    /// Whether it was a model once, damaged or not, and not anything else that got into the folder: a file that begins as a
    /// packed model, or a folder whose `model.toml` names a format.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        if self.path.is_dir() {
            names_format(&self.path.join(MANIFEST))
        } else {
            packed::is_packed(&self.path)
        }
    }
}

fn names_format(manifest: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(manifest)
        .and_then(|file| file.take(MANIFEST_BYTES_MAX).read_to_string(&mut text));
    let table = read.ok().and_then(|_| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| table.get("format").is_some_and(toml::Value::is_integer))
}

/// By its name: what is damaged is still a model.
fn is_model(path: &Path) -> bool {
    let is_packed = path.to_string_lossy().ends_with(PACKED_END);
    path.is_dir() || is_packed && path.is_file()
}

fn size(path: &Path) -> u64 {
    let files = WalkDir::new(path).follow_root_links(true).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|about| about.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let of = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        };
        Store::read(of).map(|store| store.folder)
    }

    #[test]
    fn the_folder_is_where_the_environment_says() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("HOME", "/h")]), Some("/h/.local/share/edgeclip/models".into()));
        let xdg = [("HOME", "/h"), ("XDG_DATA_HOME", "/x")];
        assert_eq!(read(&xdg), Some("/x/edgeclip/models".into()));
        let own = [("XDG_DATA_HOME", "/x"), ("EDGECLIP_MODELS", "/m")];
        assert_eq!(read(&own), Some("/m".into()));
    }

    #[test]
    fn names_are_looked_up_and_paths_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().to_owned() };
        let packed = format!("eclip.toml{}", "\0".repeat(600));
        for (path, text) in [
            ("a.eclip", packed.as_str()),
            ("a/model.toml", "format=9"),
            ("b/model.toml", "format"),
            (".c.eclip", ""),
            ("d.txt", ""),
            ("e.eclip", "photos"),
            ("f/photo.jpg", ""),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = |given: &str| locate_in(Path::new(given), Some(&store));
        let inside = |name: &str| folder.path().join(name);
        assert_eq!(found("a").unwrap(), inside("a.eclip"));
        assert_eq!(found("a.eclip").unwrap(), inside("a.eclip"));
        assert_eq!(found("b").unwrap(), inside("b"));
        // A path that is there wins, and one with a slash is a path.
        assert_eq!(found("src").unwrap(), PathBuf::from("src"));
        for path in ["./a", "x/a", "../a", "a/", "/a"] {
            assert_eq!(found(path).unwrap(), PathBuf::from(path));
        }
        for unknown in ["c", ".c", "d.txt", "d"] {
            let message = found(unknown).unwrap_err().to_string();
            assert!(
                message.contains(&format!("{unknown}.eclip")) && message.contains("model list"),
                "{message}"
            );
        }
        let names = |store: &Store| {
            store
                .list()
                .unwrap()
                .into_iter()
                .map(|model| (model.name, model.bytes))
                .collect::<Vec<_>>()
        };
        let of = |name: &str, bytes| (name.to_owned(), bytes);
        let strangers = [of("b", 6), of("e", 6), of("f", 0)];
        assert_eq!(names(&store), [&[of("a", 8), of("a", 610)], &strangers[..]].concat());
        let models = store.list().unwrap();
        let nowhere = Store { folder: folder.path().join("nowhere") };
        assert!(nowhere.list().unwrap().is_empty() && nowhere.remove(&models[0]).is_err());
        for (model, goes) in models.iter().zip([true, true, false, false, false]) {
            assert_eq!(store.remove(model).is_ok(), goes, "{model:?}");
        }
        assert_eq!(names(&store), strangers);
        assert!(inside("f/photo.jpg").is_file() && inside("d.txt").is_file());
    }

    #[test]
    fn names_stay_in_the_folder() {
        let store = Store { folder: "/m".into() };
        for good in ["a", "clip-1.5", "ä b", &"a".repeat(200)] {
            let file = store.file(good).unwrap();
            assert_eq!(file.parent(), Some(Path::new("/m")), "{good}");
        }
        for bad in ["", ".", "..", "../x", "/x", "a/b", "a\\b", ".x", "-x", "a\n", &"a".repeat(201)]
        {
            assert!(matches!(store.file(bad), Err(BundleError::Name { .. })), "{bad}");
            assert_eq!(store.find(bad), None);
        }
    }
}
