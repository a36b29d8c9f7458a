//! Files on disk: the cache's layout, which other programs of the hub share.
//!
//! ```text
//!  models--owner--name/blobs/DIGEST               what is in files, by digest; DIGEST.incomplete while it comes
//!                      snapshots/COMMIT/PATH      links into blobs
//!                      refs/REVISION              the commit that a revision was when it was last asked for
//!                      .edgeclip/COMMIT.json      what the hub said of the commit, for offline use
//!  .locks/models--owner--name/DIGEST.lock         held by who fetches it
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::address::{checked_path, is_commit};
use super::listing::CARD_BYTES_MAX;
use super::{Card, FileDigest, HubError, Listing, RemoteFile, Repository, Revision};
use crate::digest;
use crate::disk;

/// Largest file of our own or of `refs` that is read, in bytes.
const KEPT_BYTES_MAX: u64 = 32 << 20;

/// The part of a cache that is of one repository.
pub(super) struct Cache {
    root: PathBuf,
    name: String,
}

/// Held while a file is fetched; given back when dropped, and by the system when the process dies.
pub(super) struct Lock {
    _file: File,
}

impl Cache {
    pub(super) fn new(root: &Path, repository: &Repository) -> Self {
        let name = format!("models--{}", repository.as_str().replace('/', "--"));
        Self { root: root.to_owned(), name }
    }

    /// The folder of all repositories.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, digest: &FileDigest) -> PathBuf {
        self.folder().join("blobs").join(digest.as_str())
    }

    /// Where a blob grows.
    pub(super) fn part(&self, digest: &FileDigest) -> PathBuf {
        self.folder().join("blobs").join(format!("{}.incomplete", digest.as_str()))
    }

    fn reference(&self, revision: &Revision) -> PathBuf {
        self.folder().join("refs").join(revision.as_str())
    }

    fn kept(&self, commit: &str) -> PathBuf {
        self.folder().join(".edgeclip").join(format!("{commit}.json"))
    }

    /// Takes the lock of a file; `wait` is called first where somebody else has it.
    pub(super) fn lock(&self, digest: &FileDigest, wait: impl FnOnce()) -> Result<Lock, HubError> {
        let path =
            self.root.join(".locks").join(&self.name).join(format!("{}.lock", digest.as_str()));
        let failed = |source| HubError::io(&path, source);
        make_parent(&path)?;
        // Not truncated, not removed: what is locked is the file, whatever is in it.
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                wait();
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(Lock { _file: file })
    }

    /// The SHA-256 of a file that is whole and in its place in a snapshot.
    pub(super) fn settled(&self, commit: &str, path: &str, digest: &FileDigest) -> Option<String> {
        verified(&self.snapshot(commit).join(path), digest).ok()
    }

    /// The digest in a snapshot for a path: a link to the blob; a copy where links can't be.
    pub(super) fn link(
        &self,
        commit: &str,
        path: &str,
        digest: &FileDigest,
    ) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(path);
        make_parent(&pointer)?;
        let up = "../".repeat(path.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{}", digest.as_str()));
        if fs::read_link(&pointer).is_ok_and(|there| there == target) {
            return Ok(());
        }
        let failed = |source| HubError::io(&pointer, source);
        // Made aside and renamed, under the lock of the digest: another process may read it.
        let name = pointer.file_name().unwrap_or_default().to_string_lossy();
        let aside = pointer.with_file_name(format!("{}{name}", disk::PART_PREFIX));
        let _ = fs::remove_file(&aside);
        std::os::unix::fs::symlink(&target, &aside)
            .or_else(|_| fs::copy(self.blob(digest), &aside).map(drop))
            .and_then(|()| fs::rename(&aside, &pointer))
            .map_err(failed)
    }

    /// Notes what the hub says of a commit, and that a revision is that commit; where nothing was known of the revision, or
    /// its files `are_here`: offline, one that has files is better than a newer one without.
    pub(super) fn keep(&self, listing: &Listing, are_here: bool) -> Result<(), HubError> {
        // Programs that look through the cache expect one.
        let snapshot = self.snapshot(&listing.commit);
        fs::create_dir_all(&snapshot).map_err(|source| HubError::io(&snapshot, source))?;
        let json = serde_json::to_vec(listing).map_err(io::Error::other);
        let kept = self.kept(&listing.commit);
        write(&kept, &json.map_err(|source| HubError::io(&kept, source))?)?;
        let reference = self.reference(&listing.revision);
        if listing.revision.is_commit() || (!are_here && reference.exists()) {
            return Ok(());
        }
        write(&reference, listing.commit.as_bytes())
    }

    /// What was known of a revision when it was last asked for: as we noted it, else what there is on disk.
    pub(super) fn listing(&self, repository: &Repository, revision: &Revision) -> Option<Listing> {
        let commit = if revision.is_commit() {
            revision.as_str().to_owned()
        } else {
            let kept = read(&self.reference(revision), KEPT_BYTES_MAX).ok()?;
            String::from_utf8(kept).ok()?.trim().to_owned()
        };
        if !is_commit(&commit) {
            return None;
        }
        let noted = read(&self.kept(&commit), KEPT_BYTES_MAX).ok();
        let noted = noted.and_then(|json| serde_json::from_slice::<Listing>(&json).ok());
        // What is on disk is not to be trusted more than what comes from a server.
        let is_fine = |listing: &Listing| {
            let is_digest =
                |digest: &FileDigest| FileDigest::parse(digest.as_str()).as_ref() == Some(digest);
            listing.commit == commit
                && listing.files.iter().all(|file| {
                    checked_path(&file.path).is_ok() && file.digest.as_ref().is_none_or(is_digest)
                })
        };
        if let Some(mut listing) = noted.filter(is_fine) {
            listing.revision = revision.clone();
            return Some(listing);
        }
        let files = self.files(&commit);
        if files.is_empty() {
            return None;
        }
        let readme =
            read(&self.snapshot(&commit).join("README.md"), CARD_BYTES_MAX).unwrap_or_default();
        let card = Card::of_readme(&String::from_utf8_lossy(&readme));
        Some(Listing {
            repository: repository.clone(),
            revision: revision.clone(),
            commit,
            files,
            card,
        })
    }

    /// What is on disk of a commit.
    fn files(&self, commit: &str) -> Vec<RemoteFile> {
        let folder = self.snapshot(commit);
        let entries = WalkDir::new(&folder).min_depth(1).sort_by_file_name().into_iter().flatten();
        let file = |entry: walkdir::DirEntry| {
            let about = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
            let path = entry.path().strip_prefix(&folder).ok()?.to_str()?.to_owned();
            let blob = fs::read_link(entry.path()).ok();
            let digest = blob.and_then(|blob| FileDigest::parse(blob.file_name()?.to_str()?));
            Some(RemoteFile { path, bytes: Some(about.len()), digest })
        };
        entries.filter_map(file).collect()
    }
}

/// The SHA-256 of a file, if it is what a digest says.
///
/// # Errors
/// [`HubError::Cached`].
pub(super) fn verified(path: &Path, wanted: &FileDigest) -> Result<String, HubError> {
    let (sha256, found) = digests(path, wanted).map_err(|source| HubError::io(path, source))?;
    if found == wanted.as_str() {
        return Ok(sha256);
    }
    Err(HubError::Cached { path: path.to_owned(), found, wanted: wanted.as_str().to_owned() })
}

/// The SHA-256 of a file, and its digest of the kind that is wanted.
pub(super) fn digests(path: &Path, wanted: &FileDigest) -> io::Result<(String, String)> {
    let sha256 = digest::sha256_of(File::open(path)?)?;
    let found = match wanted {
        FileDigest::Sha256(_) => sha256.clone(),
        FileDigest::GitBlob(_) => {
            let file = File::open(path)?;
            let bytes = file.metadata()?.len();
            digest::git_blob(bytes, file)?
        }
    };
    Ok((sha256, found))
}

/// Makes the folder that a file is to be in.
pub(super) fn make_parent(path: &Path) -> Result<(), HubError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|source| HubError::io(folder, source))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    make_parent(path)?;
    disk::replace(path, bytes).map_err(|source| HubError::io(path, source))
}

fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    /// A cache as other programs leave it: links and a reference, nothing of ours.
    #[test]
    fn a_cache_that_others_filled_is_read() {
        let root = tempfile::tempdir().unwrap();
        let repository: Repository = "o/n".parse().unwrap();
        let cache = Cache::new(root.path(), &repository);
        assert_eq!(cache.listing(&repository, &Revision::main()), None);
        let blobs =
            [("a", "README.md", "---\nlicense: mit\n---\n"), ("b", "onnx/model.onnx", "graph")];
        for (digit, path, text) in blobs {
            let digest = FileDigest::Sha256(digit.repeat(64));
            make_parent(&cache.blob(&digest)).unwrap();
            fs::write(cache.blob(&digest), text).unwrap();
            cache.link(COMMIT, path, &digest).unwrap();
            assert_eq!(fs::read_to_string(cache.snapshot(COMMIT).join(path)).unwrap(), text);
        }
        write(&cache.reference(&Revision::main()), COMMIT.as_bytes()).unwrap();
        let listing = cache.listing(&repository, &Revision::main()).unwrap();
        assert_eq!((listing.commit.as_str(), listing.files.len()), (COMMIT, 2));
        assert_eq!(
            listing.file("onnx/model.onnx").unwrap().digest,
            Some(FileDigest::Sha256("b".repeat(64)))
        );
        assert_eq!(listing.card.licence.unwrap().id, "mit");
        assert!(cache.listing(&repository, &"other".parse().unwrap()).is_none());
        assert!(cache.listing(&repository, &COMMIT.parse().unwrap()).is_some());
    }

    #[test]
    fn a_note_with_paths_that_leave_the_cache_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let repository: Repository = "o/n".parse().unwrap();
        let cache = Cache::new(root.path(), &repository);
        let file = |path: &str| RemoteFile { path: path.into(), bytes: Some(1), digest: None };
        let mut listing = Listing {
            repository: repository.clone(),
            revision: Revision::main(),
            commit: COMMIT.to_owned(),
            files: vec![file("a")],
            card: Card::default(),
        };
        cache.keep(&listing, true).unwrap();
        assert_eq!(cache.listing(&repository, &Revision::main()), Some(listing.clone()));
        let digest = Some(FileDigest::Sha256("../../x".to_owned()));
        for bad in [file("../../x"), RemoteFile { digest, ..file("b") }] {
            listing.files.truncate(1);
            listing.files.push(bad);
            cache.keep(&listing, true).unwrap();
            assert_eq!(cache.listing(&repository, &Revision::main()), None);
        }
    }
}
