//! One file over a bad line: begun where the last attempt stopped, counted, hashed while it comes, and thrown
//! away where it is not what the hub says.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::http::{Answer, Ask, Http};
use super::listing::FileDigest;
use super::pace::least_bytes;
use super::retry::{Stop, Tries};
use super::url::without_secrets;
use super::{Event, HubError, Patience, Watch, cache};
use crate::digest::Growing;

/// What is taken from a connection at once.
const CHUNK: usize = 1 << 16;
/// Most bytes of a file whose size nobody says: of a large one, and of one that git itself keeps.
const LARGE_BYTES_MAX: u64 = 16 << 30;
const SMALL_BYTES_MAX: u64 = 32 << 20;
/// How often a file may come wrong.
const WRONG_MAX: u32 = 2;

/// A file to fetch.
pub(super) struct Wanted<'a> {
    pub(super) path: &'a str,
    pub(super) url: &'a str,
    pub(super) digest: &'a FileDigest,
    /// Its size, where the hub says it.
    pub(super) bytes: Option<u64>,
}

/// The file as far as it came.
struct Part {
    path: PathBuf,
    file: File,
    at: u64,
    sha256: Growing,
}

/// How an attempt ended that was not cut off.
enum End {
    Whole,
    /// What came, or is about to, is not the file.
    Wrong(HubError),
}

/// Fetches a file to `part`, on top of what is there; it is synced, and is what the hub says. Gives its SHA-256.
pub(super) fn download(
    http: &Http,
    wanted: &Wanted<'_>,
    part: &Path,
    patience: Patience,
    watch: &mut Watch<'_>,
) -> Result<String, HubError> {
    let mut part = Part::open(part)?;
    watch(Event::File { path: wanted.path, bytes: wanted.bytes, at: part.at });
    let progress = least_bytes(patience.stall).min(CHUNK as u64);
    let (mut tries, mut furthest, mut wrong) = (Tries::new(patience), part.at, 0);
    loop {
        let end = match attempt(http, wanted, &mut part, watch) {
            Ok(End::Whole) => part.finish(wanted)?,
            Ok(End::Wrong(error)) => Err(error),
            Err(stop) => {
                // What comes too slowly gets nowhere; a line that breaks often may get on.
                if part.at >= furthest.saturating_add(progress) {
                    furthest = part.at;
                    tries.forget();
                }
                tries.pause(stop, wanted.path, watch)?;
                continue;
            }
        };
        match end {
            Ok(sha256) => return Ok(sha256),
            Err(error) => {
                wrong += 1;
                part.throw_away()?;
                if wrong == WRONG_MAX {
                    return Err(error);
                }
                log::warn!("{}: it came wrong, and is fetched anew", wanted.path);
            }
        }
    }
}

/// One request, and all that comes of it.
fn attempt(
    http: &Http,
    wanted: &Wanted<'_>,
    part: &mut Part,
    watch: &mut Watch<'_>,
) -> Result<End, Stop> {
    if wanted.bytes.is_some_and(|bytes| part.at > bytes) {
        part.throw_away()?;
    }
    if wanted.bytes == Some(part.at) && part.at > 0 {
        return Ok(End::Whole);
    }
    let answer = http.get(wanted.url, Ask::From(part.at))?;
    if let Some(reason) = other_file(wanted, &answer) {
        return Ok(End::Wrong(HubError::Changed { path: wanted.path.to_owned(), reason }));
    }
    match (answer.status, answer.range) {
        (206, Some((from, _))) if from == part.at => {}
        // It has nothing from there on: what we have is all of it, or too much.
        (416, _) => return Ok(End::Whole),
        (206, _) => {
            let reason = "it sends another part of the file than was asked for".to_owned();
            let error = HubError::Answer { url: without_secrets(wanted.url), reason };
            part.throw_away()?;
            return Err(Stop::Again(error, None));
        }
        // The server knows no parts: from the beginning.
        _ => part.throw_away()?,
    }
    receive(wanted, answer, part, watch)
}

/// In what an answer's file differs from the one that is wanted.
fn other_file(wanted: &Wanted<'_>, answer: &Answer) -> Option<String> {
    if let Some(digest) = answer.digest.as_ref().filter(|digest| *digest != wanted.digest) {
        return Some(format!("its digest is {}, not {}", digest.as_str(), wanted.digest.as_str()));
    }
    let whole = answer.range.and_then(|(_, whole)| whole);
    let (whole, listed) = (whole?, wanted.bytes?);
    (whole != listed).then(|| format!("it has {whole} bytes, not {listed}"))
}

fn receive(
    wanted: &Wanted<'_>,
    answer: Answer,
    part: &mut Part,
    watch: &mut Watch<'_>,
) -> Result<End, Stop> {
    let bytes = wanted.bytes.or(answer.bytes);
    let most = bytes.unwrap_or(match wanted.digest {
        FileDigest::Sha256(_) => LARGE_BYTES_MAX,
        FileDigest::GitBlob(_) => SMALL_BYTES_MAX,
    });
    let cut = |reason: String| {
        Stop::Again(HubError::Network { url: without_secrets(wanted.url), reason }, None)
    };
    let mut body = answer.body;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(cut(format!("the connection broke: {error}"))),
        };
        if count as u64 > most.saturating_sub(part.at) {
            let without = if bytes.is_none() { ", without a size" } else { "" };
            let reason = format!("more than {most} bytes come{without}");
            return Ok(End::Wrong(HubError::Changed { path: wanted.path.to_owned(), reason }));
        }
        part.add(&chunk[..count])?;
        watch(Event::Position(part.at));
    }
    match bytes {
        Some(bytes) if part.at < bytes => {
            Err(cut(format!("the connection ended after {} of {bytes} bytes", part.at)))
        }
        _ => Ok(End::Whole),
    }
}

impl Part {
    /// What is there of an attempt before, perhaps of another process.
    fn open(path: &Path) -> Result<Self, HubError> {
        cache::make_parent(path)?;
        let failed = |source| HubError::io(path, source);
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut sha256 = Growing::default();
        sha256.read(&file).map_err(failed)?;
        let at = file.stream_position().map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, at, sha256 })
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), HubError> {
        self.file.write_all(piece).map_err(|source| HubError::io(&self.path, source))?;
        self.sha256.add(piece);
        self.at += piece.len() as u64;
        Ok(())
    }

    fn throw_away(&mut self) -> Result<(), HubError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| HubError::io(&self.path, source))?;
        (self.at, self.sha256) = (0, Growing::default());
        Ok(())
    }

    /// Syncs the file and compares it with what the hub says: its SHA-256, or how it differs.
    fn finish(&mut self, wanted: &Wanted<'_>) -> Result<Result<String, HubError>, HubError> {
        let failed = |source| HubError::io(&self.path, source);
        self.file.sync_all().map_err(failed)?;
        let sha256 = std::mem::take(&mut self.sha256).finish();
        let found = match wanted.digest {
            FileDigest::Sha256(_) => sha256.clone(),
            FileDigest::GitBlob(_) => cache::digests(&self.path, wanted.digest).map_err(failed)?.1,
        };
        let wanted_digest = wanted.digest.as_str();
        if found == wanted_digest {
            return Ok(Ok(sha256));
        }
        let (path, wanted) = (wanted.path.to_owned(), wanted_digest.to_owned());
        Ok(Err(HubError::Digest { path, found, wanted }))
    }
}

/// Gives a whole file its name.
pub(super) fn persist(part: &Path, blob: &Path) -> Result<(), HubError> {
    let failed = |source| HubError::io(blob, source);
    fs::rename(part, blob).map_err(failed)?;
    blob.parent().map_or(Ok(()), crate::disk::sync_folder).map_err(failed)
}
