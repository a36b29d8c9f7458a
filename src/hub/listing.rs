//! What a repository holds at a commit: its files, with sizes and digests, and what its card says.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::address::{checked_path, is_commit, is_hex};
use super::licence::{SEPARATOR, shown};
use super::{HubError, Licence, Repository, Revision};

/// Largest answer about a repository that is read, in bytes.
pub(super) const LISTING_BYTES_MAX: u64 = 8 << 20;
/// Most files of a repository.
const FILES_MAX: usize = 20_000;
/// Largest card that is read where nothing else names the licence, in bytes.
pub(super) const CARD_BYTES_MAX: u64 = 1 << 20;

/// A repository at a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its name, as it was asked for.
    pub repository: Repository,
    /// What was asked for.
    pub revision: Revision,
    /// What that is: 40 hexadecimal digits.
    pub commit: String,
    /// Its files, by path.
    pub files: Vec<RemoteFile>,
    /// What its card says.
    pub card: Card,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Its path in the repository: relative, with plain parts alone.
    pub path: String,
    /// Its size in bytes, where the hub says it.
    pub bytes: Option<u64>,
    /// Its digest, where the hub says it.
    pub digest: Option<FileDigest>,
}

/// How a hub names what is in a file; also the file's name in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileDigest {
    /// Of large files: SHA-256, 64 lower-case hexadecimal digits.
    Sha256(String),
    /// Of small ones: git's digest of a blob, 40 lower-case hexadecimal digits.
    GitBlob(String),
}

/// What the card of a repository says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Terms of the weights.
    pub licence: Option<Licence>,
    /// The library that it was made for.
    pub library: Option<String>,
    /// The repository of the model that it was made of.
    pub base_model: Option<String>,
}

/// The hub's answer about a repository, as far as it is read.
#[derive(Deserialize)]
struct Answer {
    sha: Option<String>,
    siblings: Option<Vec<Sibling>>,
    #[serde(rename = "cardData")]
    card: Option<CardData>,
    tags: Option<Texts>,
    library_name: Option<Texts>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    oid: Option<String>,
    size: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CardData {
    license: Option<Texts>,
    license_name: Option<Texts>,
    license_link: Option<Texts>,
    library_name: Option<Texts>,
    base_model: Option<Texts>,
}

/// What an owner writes: a text, a list of them, or what is read as nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
    Other(IgnoredAny),
}

impl FileDigest {
    /// A digest as a header or a file name has it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        match text.len() {
            64 if is_hex(text) => Some(Self::Sha256(text.to_owned())),
            40 if is_hex(text) => Some(Self::GitBlob(text.to_owned())),
            _ => None,
        }
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits,
        }
    }
}

impl Listing {
    /// Reads the hub's answer about a repository at a revision.
    ///
    /// # Errors
    /// What of it can't be.
    pub(super) fn parse(
        repository: &Repository,
        revision: &Revision,
        json: &[u8],
    ) -> Result<Self, ListingError> {
        let mut answer: Answer = serde_json::from_slice(json).map_err(|error| {
            let what =
                if error.is_data() { "it is nothing that a hub says" } else { "it is no JSON" };
            ListingError::Answer(format!("{what}: {}", shown(&error.to_string())))
        })?;
        let commit = answer.sha.take().filter(|sha| is_commit(sha));
        let commit = commit.ok_or_else(|| ListingError::Answer("it names no commit".to_owned()))?;
        if revision.is_commit() && commit != revision.as_str() {
            return Err(ListingError::Answer(format!("it is about another commit, {commit}")));
        }
        let files = answer.siblings.take();
        let files = files.ok_or_else(|| ListingError::Answer("it lists no files".to_owned()))?;
        if files.len() > FILES_MAX {
            let reason = format!("it lists {} files, the limit is {FILES_MAX}", files.len());
            return Err(ListingError::Answer(reason));
        }
        let files = files.into_iter().map(RemoteFile::of).collect::<Result<Vec<_>, _>>()?;
        let (repository, revision) = (repository.clone(), revision.clone());
        Ok(Self { repository, revision, commit, files, card: Card::of(&answer) })
    }

    /// The file at a path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Why an answer about a repository can't be used.
#[derive(Debug)]
pub(super) enum ListingError {
    Answer(String),
    Hub(HubError),
}

impl RemoteFile {
    fn of(file: Sibling) -> Result<Self, ListingError> {
        let Sibling { rfilename: path, size, blob_id, lfs } = file;
        checked_path(&path).map_err(ListingError::Hub)?;
        let Some(Lfs { sha256, oid, size: large }) = lfs else {
            let digest = blob_id.as_deref().and_then(FileDigest::parse);
            return Ok(Self { path, bytes: size, digest });
        };
        // The blob of a large file is a pointer to it.
        let sha256 = sha256.or(oid);
        let digest = sha256.and_then(|text| FileDigest::parse(text.trim_start_matches("sha256:")));
        Ok(Self { path, bytes: large.or(size), digest })
    }
}

impl Card {
    /// From the fields of the card, else from the tags that the hub makes of them.
    fn of(answer: &Answer) -> Self {
        let (none, tags) = (CardData::default(), texts(answer.tags.as_ref()));
        let card = answer.card.as_ref().unwrap_or(&none);
        let tagged = |prefix: &str| -> Vec<&str> {
            let of_prefix = tags.iter().filter_map(|tag| tag.strip_prefix(prefix));
            // base_model:finetune:owner/name stands beside base_model:owner/name.
            of_prefix.filter(|rest| !rest.contains(':')).collect()
        };
        let first = |all: Vec<&str>| all.first().map(|text| shown(text));
        let text = |given: Option<&Texts>| first(texts(given));
        Self {
            // Each of several licences can be the one that holds.
            licence: listed(&first_of([texts(card.license.as_ref()), tagged("license:")])).map(
                |id| Licence {
                    id,
                    name: listed(&texts(card.license_name.as_ref())),
                    link: listed(&texts(card.license_link.as_ref())),
                },
            ),
            library: text(answer.library_name.as_ref())
                .or_else(|| text(card.library_name.as_ref())),
            base_model: first(first_of([texts(card.base_model.as_ref()), tagged("base_model:")])),
        }
    }

    /// From the head of a README.md, between two lines of `---`: plain `key: value` lines are all that is read of it.
    pub(super) fn of_readme(text: &str) -> Self {
        let mut lines = text.lines();
        if lines.next().map(str::trim_end) != Some("---") {
            return Self::default();
        }
        let head: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
        let values = |key: &str| {
            let mut lines = head.iter().enumerate();
            let found = lines.find_map(|(at, line)| {
                Some((at, line.strip_prefix(key)?.strip_prefix(':')?.trim()))
            });
            let Some((at, rest)) = found else { return Vec::new() };
            // A list stands below its key, or between brackets.
            let below =
                head[at + 1..].iter().map_while(|line| line.trim_start().strip_prefix("- "));
            let beside = rest.trim_start_matches('[').trim_end_matches(']').split(", ");
            let all: Vec<&str> = if rest.is_empty() { below.collect() } else { beside.collect() };
            let plain = all.into_iter().map(|text| text.trim().trim_matches(['"', '\'']));
            plain.filter(|text| !text.is_empty()).collect::<Vec<_>>()
        };
        let first = |key| values(key).first().map(|text| (*text).to_owned());
        Self {
            licence: listed(&values("license")).map(|id| Licence {
                id,
                name: listed(&values("license_name")),
                link: listed(&values("license_link")),
            }),
            library: first("library_name"),
            base_model: first("base_model"),
        }
    }
}

fn texts(given: Option<&Texts>) -> Vec<&str> {
    let all = match given {
        Some(Texts::One(text)) => std::slice::from_ref(text),
        Some(Texts::Many(texts)) => texts,
        Some(Texts::Other(_)) | None => &[],
    };
    all.iter().map(String::as_str).filter(|text| !text.is_empty()).collect()
}

/// The first of them that has texts.
fn first_of(of: [Vec<&str>; 2]) -> Vec<&str> {
    of.into_iter().find(|texts| !texts.is_empty()).unwrap_or_default()
}

/// All of them as one text; none of none.
fn listed(texts: &[&str]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Listing, ListingError> {
        Listing::parse(&"o/n".parse().unwrap(), &Revision::main(), json.as_bytes())
    }

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn files_have_the_digest_that_their_size_asks_for() {
        let sha256 = "a".repeat(64);
        let listing = parse(&format!(
            r#"{{"sha": "{COMMIT}", "siblings": [
                {{"rfilename": "config.json", "size": 7, "blobId": "{COMMIT}"}},
                {{"rfilename": "onnx/model.onnx", "size": 9, "blobId": "{COMMIT}", "lfs": {{"sha256": "{sha256}", "size": 9, "pointerSize": 1}}}},
                {{"rfilename": "README.md"}}
            ]}}"#
        ))
        .unwrap();
        let digest = |path| listing.file(path).unwrap().digest.clone();
        assert_eq!(digest("config.json"), Some(FileDigest::GitBlob(COMMIT.into())));
        assert_eq!(digest("onnx/model.onnx"), Some(FileDigest::Sha256(sha256)));
        assert_eq!(digest("README.md"), None);
        assert_eq!(listing.card, Card::default());
        let kept: Listing =
            serde_json::from_str(&serde_json::to_string(&listing).unwrap()).unwrap();
        assert_eq!(kept, listing);
    }

    #[test]
    fn digests_are_read_as_servers_quote_them() {
        let wanted = Some(FileDigest::GitBlob(COMMIT.into()));
        for text in [COMMIT, &format!("\"{COMMIT}\""), &format!("W/\"{COMMIT}\"")] {
            assert_eq!(FileDigest::parse(text), wanted, "{text}");
        }
        for bad in ["", "\"\"", "W/", "\"storage-1\"", "../../x", &"A".repeat(64), &"g".repeat(40)]
        {
            assert_eq!(FileDigest::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_that_can_not_be_are_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"sha": "main", "siblings": []}"#,
            &format!(r#"{{"sha": "{COMMIT}"}}"#),
            &format!(r#"{{"sha": "{COMMIT}", "siblings": [{{}}]}}"#),
            &format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "a", "size": -1}}]}}"#),
        ] {
            assert!(matches!(parse(bad), Err(ListingError::Answer(_))), "{bad}");
        }
        let pinned = "f".repeat(40).parse().unwrap();
        let json = format!(r#"{{"sha": "{COMMIT}", "siblings": []}}"#);
        let other = Listing::parse(&"o/n".parse().unwrap(), &pinned, json.as_bytes());
        assert!(matches!(other, Err(ListingError::Answer(reason)) if reason.contains(COMMIT)));
        for name in ["../../.bashrc", "/etc/passwd", "a/../../b", "", "a\\\\..\\\\b"] {
            let json = format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "{name}"}}]}}"#);
            assert!(
                matches!(parse(&json), Err(ListingError::Hub(HubError::Name { .. }))),
                "{name}"
            );
        }
    }

    #[test]
    fn cards_are_read_from_fields_tags_and_files() {
        let card = |more: &str| {
            parse(&format!(r#"{{"sha": "{COMMIT}", "siblings": [], {more}}}"#)).unwrap().card
        };
        let licence = |id: &str| Some(Licence { id: id.into(), name: None, link: None });
        let fields = card(
            r#""library_name": "transformers.js", "cardData": {"license": "mit", "base_model": ["a/b", "c/d"]}"#,
        );
        assert_eq!((fields.licence, fields.base_model.as_deref()), (licence("mit"), Some("a/b")));
        assert_eq!(fields.library.as_deref(), Some("transformers.js"));
        let tags = card(
            r#""tags": ["onnx", "base_model:quantized:a/b", "base_model:a/b", "license:other"]"#,
        );
        assert_eq!((tags.licence, tags.base_model.as_deref()), (licence("other"), Some("a/b")));
        assert_eq!(card(r#""cardData": {"license": 3, "base_model": {}}"#), Card::default());
        let several = r#""cardData": {"license": ["mit", "cc-by-nc-4.0"], "license_name": ["x"]}"#;
        let several = card(several).licence.unwrap();
        assert_eq!(several.to_string(), "mit, cc-by-nc-4.0 (x)");
        assert_eq!(several.terms(), crate::hub::Terms::NonCommercial);
        for list in ["\n- mit\n- 'cc-by-nc-4.0'\ntags: x", " [mit, cc-by-nc-4.0]"] {
            let readme = Card::of_readme(&format!("---\nlicense:{list}\n---\n"));
            assert_eq!(readme.licence, licence("mit, cc-by-nc-4.0"));
        }

        let readme = Card::of_readme(
            "---\ntags:\n- clip\nlicense: other\nlicense_name: 'x'\nbase_model:\n  - a/b\n---\nlicense: mit\n",
        );
        let own = Licence { id: "other".into(), name: Some("x".into()), link: None };
        assert_eq!((readme.licence, readme.base_model.as_deref()), (Some(own), Some("a/b")));
        assert_eq!(Card::of_readme("license: mit\n"), Card::default());
    }
}
