//! The way in: what a repository holds, and its files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{self, Cache};
use super::download::{self, Wanted};
use super::http::{Ask, Http};
use super::listing::{LISTING_BYTES_MAX, ListingError};
use super::retry::{Stop, Tries};
use super::url::without_secrets;
use super::{HubError, Listing, RemoteFile, Repository, Revision, Settings};

/// A MB, as disks count.
const MB: u64 = 1_000_000;

/// Is told how things go.
pub type Watch<'a> = dyn FnMut(Event<'_>) + 'a;

/// How things go.
#[derive(Debug)]
pub enum Event<'a> {
    /// A file begins, or goes on.
    File {
        /// Its path in the repository.
        path: &'a str,
        /// Its size in bytes, where the hub says it.
        bytes: Option<u64>,
        /// What was there of it already.
        at: u64,
    },
    /// So many bytes of the file are there; fewer than before where it begins anew.
    Position(u64),
    /// A file is whole: fetched, or in the cache, and checked.
    Done {
        /// Its path in the repository.
        path: &'a str,
        /// Its size in bytes.
        bytes: u64,
        /// Whether it was there already.
        cached: bool,
    },
    /// Something failed, and is tried again.
    Retry {
        /// What: a file or a repository.
        what: &'a str,
        /// Why.
        reason: &'a str,
        /// After how long.
        wait: Duration,
    },
    /// Another process fetches the same file: it is waited for.
    Locked {
        /// Its path in the repository.
        path: &'a str,
    },
}

/// Files of a repository on disk, all of them checked.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The folder in which they have the paths that they have in the repository. There can be more in it.
    pub folder: PathBuf,
    /// Those that were asked for.
    pub files: Vec<FetchedFile>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FetchedFile {
    /// Its path in the repository.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A hub, and the cache of its files.
pub struct Client {
    settings: Settings,
    http: Http,
}

impl Client {
    /// A client that does as the settings say.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let http = Http::new(&settings);
        Self { settings, http }
    }

    /// What the client was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What a repository holds at a revision. Offline, what was known when it was last asked for.
    ///
    /// # Errors
    /// [`HubError`].
    pub fn listing(
        &self,
        repository: &Repository,
        revision: &Revision,
        watch: &mut Watch<'_>,
    ) -> Result<Listing, HubError> {
        let (endpoint, patience) = (&self.settings.endpoint, self.settings.patience);
        let cache = self.cache(repository);
        if self.settings.offline {
            return cache.listing(repository, revision).ok_or_else(|| HubError::NotCached {
                repository: repository.to_string(),
                revision: revision.to_string(),
                cache: self.settings.cache.clone(),
            });
        }
        let url = repository.api_url(endpoint, revision);
        let json = Tries::run(patience, repository.as_str(), watch, || self.read(&url));
        let json = json.map_err(|error| match error {
            HubError::Status { status: 404, code, .. } if code == "RevisionNotFound" => {
                HubError::NoRevision {
                    repository: repository.to_string(),
                    revision: revision.to_string(),
                }
            }
            HubError::Status { status: 404, .. } => HubError::NoRepository {
                repository: repository.to_string(),
                endpoint: endpoint.clone(),
            },
            error => error,
        })?;
        let answer = |reason| HubError::Answer { url: without_secrets(&url), reason };
        let listing = Listing::parse(repository, revision, &json).map_err(|error| match error {
            ListingError::Answer(reason) => answer(reason),
            ListingError::Hub(error) => error,
        })?;
        // For offline use; a cache that can't be written matters when files are to go there.
        if let Err(error) = cache.keep(&listing, false) {
            log::debug!("{error}");
        }
        Ok(listing)
    }

    /// The files at these paths of a listing: those that are not in the cache are fetched; each is checked against
    /// the hub's digest. Offline, all must be there.
    ///
    /// # Errors
    /// [`HubError`]; what came is kept, and the next call goes on from there.
    pub fn fetch(
        &self,
        listing: &Listing,
        paths: &[String],
        watch: &mut Watch<'_>,
    ) -> Result<Snapshot, HubError> {
        let cache = self.cache(&listing.repository);
        let wanted: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
        let file = |path: &&str| listing.file(path).cloned().ok_or_else(|| no_file(listing, path));
        let files = wanted.iter().map(file).collect::<Result<Vec<_>, _>>()?;
        let folder = cache.snapshot(&listing.commit);
        let files = if self.settings.offline {
            cached(listing, &cache, &files, watch)?
        } else {
            self.fetched(listing, &cache, &files, watch)?
        };
        Ok(Snapshot { folder, files })
    }

    /// How many bytes of these files are still to come, as far as the hub says.
    #[must_use]
    pub fn bytes_to_come(&self, listing: &Listing, paths: &[String]) -> u64 {
        let cache = self.cache(&listing.repository);
        let files = paths.iter().filter_map(|path| listing.file(path));
        files.map(|file| to_come(&cache, file)).fold(0, u64::saturating_add)
    }

    fn fetched(
        &self,
        listing: &Listing,
        cache: &Cache,
        files: &[RemoteFile],
        watch: &mut Watch<'_>,
    ) -> Result<Vec<FetchedFile>, HubError> {
        check_space(cache, files)?;
        let mut fetched = Vec::new();
        for file in files {
            let file = self.completed(listing, file, watch)?;
            fetched.push(self.fetch_one(listing, cache, &file, watch)?);
        }
        // All is here, and what is noted is for offline use alone.
        if let Err(error) = cache.keep(listing, true) {
            log::warn!("{error}: offline, what was fetched may not be found");
        }
        Ok(fetched)
    }

    fn fetch_one(
        &self,
        listing: &Listing,
        cache: &Cache,
        file: &RemoteFile,
        watch: &mut Watch<'_>,
    ) -> Result<FetchedFile, HubError> {
        let path = file.path.as_str();
        let digest =
            file.digest.as_ref().ok_or_else(|| HubError::NoDigest { path: path.to_owned() })?;
        let (blob, part) = (cache.blob(digest), cache.part(digest));
        // Without a lock, so that a cache that can't be written can be read.
        if let Some(sha256) = cache.settled(&listing.commit, path, digest) {
            let bytes = size(&cache.snapshot(&listing.commit).join(path))?;
            watch(Event::Done { path, bytes, cached: true });
            return Ok(FetchedFile { path: path.to_owned(), bytes, sha256 });
        }
        let _lock = cache.lock(digest, || watch(Event::Locked { path }))?;
        let cached = match cache::verified(&blob, digest) {
            Ok(sha256) => Some(sha256),
            Err(HubError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                None
            }
            Err(HubError::Cached { .. }) => {
                log::warn!("{} is damaged, and is fetched anew", blob.display());
                None
            }
            Err(error) => return Err(error),
        };
        let is_cached = cached.is_some();
        let sha256 = if let Some(sha256) = cached {
            sha256
        } else {
            let url = listing.repository.file_url(&self.settings.endpoint, &listing.commit, path);
            let wanted = Wanted { path, url: &url, digest, bytes: file.bytes };
            let sha256 =
                download::download(&self.http, &wanted, &part, self.settings.patience, watch);
            let sha256 = sha256.map_err(|error| match error {
                HubError::Status { status: 404, .. } => no_file(listing, path),
                error => error,
            })?;
            download::persist(&part, &blob)?;
            sha256
        };
        cache.link(&listing.commit, path, digest)?;
        let bytes = size(&blob)?;
        watch(Event::Done { path, bytes, cached: is_cached });
        Ok(FetchedFile { path: path.to_owned(), bytes, sha256 })
    }

    /// The file with size and digest; a mirror may say them only where it is asked for the file itself.
    fn completed(
        &self,
        listing: &Listing,
        file: &RemoteFile,
        watch: &mut Watch<'_>,
    ) -> Result<RemoteFile, HubError> {
        if file.digest.is_some() {
            return Ok(file.clone());
        }
        let url = listing.repository.file_url(&self.settings.endpoint, &listing.commit, &file.path);
        let answer = Tries::run(self.settings.patience, &file.path, watch, || {
            self.http.get(&url, Ask::Head)
        });
        let answer = answer.map_err(|error| match error {
            HubError::Status { status: 404, .. } => no_file(listing, &file.path),
            error => error,
        })?;
        let bytes = file.bytes.or(answer.bytes);
        Ok(RemoteFile { path: file.path.clone(), bytes, digest: answer.digest })
    }

    fn read(&self, url: &str) -> Result<Vec<u8>, Stop> {
        let answer = self.http.get(url, Ask::From(0))?;
        let mut json = Vec::new();
        let read = answer.body.take(LISTING_BYTES_MAX + 1).read_to_end(&mut json);
        let url = without_secrets(url);
        if let Err(error) = read {
            let reason = format!("the connection broke: {error}");
            return Err(Stop::Again(HubError::Network { url, reason }, None));
        }
        if json.len() as u64 > LISTING_BYTES_MAX {
            let reason = format!("it is larger than {} MB", LISTING_BYTES_MAX >> 20);
            return Err(HubError::Answer { url, reason }.into());
        }
        Ok(json)
    }

    fn cache(&self, repository: &Repository) -> Cache {
        Cache::new(&self.settings.cache, repository)
    }
}

fn no_file(listing: &Listing, path: &str) -> HubError {
    let (repository, path) = (listing.repository.to_string(), path.to_owned());
    HubError::NoFile { repository, path, revision: listing.revision.to_string() }
}

/// Nothing but what is on disk.
fn cached(
    listing: &Listing,
    cache: &Cache,
    files: &[RemoteFile],
    watch: &mut Watch<'_>,
) -> Result<Vec<FetchedFile>, HubError> {
    let folder = cache.snapshot(&listing.commit);
    let is_missing = |file: &&RemoteFile| !folder.join(&file.path).is_file();
    let missing: Vec<String> =
        files.iter().filter(is_missing).map(|file| file.path.clone()).collect();
    if !missing.is_empty() {
        return Err(HubError::Missing { repository: listing.repository.to_string(), missing });
    }
    let check = |file: &RemoteFile| {
        let on_disk = folder.join(&file.path);
        let failed = |source| HubError::io(&on_disk, source);
        let sha256 = if let Some(digest) = &file.digest {
            cache::verified(&on_disk, digest)?
        } else {
            // A copy in a cache without links, made by another program.
            File::open(&on_disk).and_then(crate::digest::sha256_of).map_err(failed)?
        };
        let (path, bytes) = (file.path.clone(), size(&on_disk)?);
        watch(Event::Done { path: &path, bytes, cached: true });
        Ok(FetchedFile { path, bytes, sha256 })
    };
    files.iter().map(check).collect()
}

/// What is still to come of a file, in bytes.
fn to_come(cache: &Cache, file: &RemoteFile) -> u64 {
    let (Some(bytes), Some(digest)) = (file.bytes, &file.digest) else {
        return file.bytes.unwrap_or(0);
    };
    if cache.blob(digest).is_file() {
        return 0;
    }
    bytes.saturating_sub(std::fs::metadata(cache.part(digest)).map_or(0, |part| part.len()))
}

/// Whether there is room for what is to come.
fn check_space(cache: &Cache, files: &[RemoteFile]) -> Result<(), HubError> {
    let needed = files.iter().map(|file| to_come(cache, file)).fold(0, u64::saturating_add);
    let there = cache.root().ancestors().find(|folder| folder.is_dir());
    // Where the system doesn't say, writing will.
    let Some(free) = there.and_then(free_bytes) else { return Ok(()) };
    if needed <= free {
        return Ok(());
    }
    let folder = cache.root().to_owned();
    Err(HubError::NoSpace { folder, needed_mb: needed.div_ceil(MB), free_mb: free / MB })
}

/// Bytes that this user can write to a folder's disk.
fn free_bytes(folder: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(folder).ok()?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

fn size(path: &Path) -> Result<u64, HubError> {
    std::fs::metadata(path).map(|about| about.len()).map_err(|source| HubError::io(path, source))
}
