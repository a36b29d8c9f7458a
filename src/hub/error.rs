//! What can go wrong with a hub, each with the way out.

use std::io;
use std::path::PathBuf;

/// Why something can't be had from a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that can't be.
    #[error("{what} '{given}': {reason}")]
    Name {
        /// What it is the name of.
        what: &'static str,
        /// The name.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A variable of the environment says something that can't be.
    #[error("{variable}: {reason}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The repository is not there, or not for us to see.
    #[error(
        "there is no repository {repository} at {endpoint}, or it is private: look at its spelling; a private one needs a token (HF_TOKEN, or `hf auth login`)"
    )]
    NoRepository {
        /// Its name.
        repository: String,
        /// The hub.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repository} has no revision '{revision}'")]
    NoRevision {
        /// Its name.
        repository: String,
        /// What was asked for.
        revision: String,
    },
    /// The repository has no such file.
    #[error("{repository} has no file '{path}' at {revision}")]
    NoFile {
        /// Its name.
        repository: String,
        /// What was asked for.
        path: String,
        /// Where it was looked for.
        revision: String,
    },
    /// The owner lets in those alone who accepted the terms.
    #[error(
        "{repository} is gated: accept its licence at {endpoint}/{repository} in a browser, then give a token of that account that may read it (HF_TOKEN, or `hf auth login`)"
    )]
    Gated {
        /// Its name.
        repository: String,
        /// The hub.
        endpoint: String,
    },
    /// The token is wrong.
    #[error(
        "{endpoint} refuses the token (HF_TOKEN, HF_TOKEN_PATH or the file of `hf auth login`): make a new one, or take it away for public repositories"
    )]
    Token {
        /// The hub.
        endpoint: String,
    },
    /// The server answers with an error.
    #[error("{url} answers {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The hub's name for it, where it gives one.
        code: String,
        /// What the server says about it.
        message: String,
    },
    /// The server wants to be left alone for longer than we wait.
    #[error(
        "{url} answers {status}, and to come back in {wait_s} s: try again then{}",
        " (what was fetched is kept)"
    )]
    Busy {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How long it wants.
        wait_s: u64,
    },
    /// No connection, or one that broke.
    #[error("{url}: {reason}")]
    Network {
        /// What was asked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// Redirected without end, or to where we don't go.
    #[error("{url} {reason}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// What is wrong with where it leads.
        reason: &'static str,
    },
    /// An answer that the protocol doesn't have.
    #[error("{url} gives an answer that can't be used: {reason}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What came is not what the hub says.
    #[error(
        "{path} came damaged twice: its digest is {found}, the hub says {wanted}; what came was thrown away"
    )]
    Digest {
        /// The file.
        path: String,
        /// Digest of what came.
        found: String,
        /// Digest that the hub names.
        wanted: String,
    },
    /// A file of the cache is not what its name says.
    #[error("{} is damaged: its digest is {found}, and was {wanted}; pull it anew without --offline", path.display())]
    Cached {
        /// The file.
        path: PathBuf,
        /// Digest of the file.
        found: String,
        /// Digest that it had.
        wanted: String,
    },
    /// More came than the hub says that the file has, or it is another file now.
    #[error("{path}: the server has another file than the listing says: {reason}")]
    Changed {
        /// The file.
        path: String,
        /// How they differ.
        reason: String,
    },
    /// Nothing to check a file against.
    #[error("{path}: the server names no digest (ETag) to check it against")]
    NoDigest {
        /// The file.
        path: String,
    },
    /// What is to come doesn't fit.
    #[error("{}: {needed_mb} MB are to come, {free_mb} MB are free: make room, or set HF_HOME to a folder on another disk", folder.display())]
    NoSpace {
        /// Where it would go.
        folder: PathBuf,
        /// What is needed.
        needed_mb: u64,
        /// What there is.
        free_mb: u64,
    },
    /// The disk is full.
    #[error("{}: the disk is full; what came is kept: make room and pull again, or set HF_HOME to a folder on another disk", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This user can't write the cache, or not read a file of it.
    #[error("{}: the cache can't be used there: set HF_HOME to a folder that this user can write", path.display())]
    Denied {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder of the cache.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Offline, and nothing is known of the repository.
    #[error("offline: {repository} at {revision} was never fetched to {}: pull it once with a network", cache.display())]
    NotCached {
        /// Its name.
        repository: String,
        /// What was asked for.
        revision: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// Offline, and some files are not in the cache.
    #[error("offline: the cache has not all of {repository}: {} missing: pull it once with a network", missing.join(", "))]
    Missing {
        /// Its name.
        repository: String,
        /// The files.
        missing: Vec<String>,
    },
}

impl HubError {
    /// A file or folder that can't be used; a full disk says so, and one that may not be written.
    pub(super) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        use io::ErrorKind::{
            FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let path = path.into();
        match source.kind() {
            FileTooLarge | QuotaExceeded | StorageFull => Self::Full { path, source },
            PermissionDenied | ReadOnlyFilesystem => Self::Denied { path, source },
            _ => Self::Io { path, source },
        }
    }
}
