//! What a repository holds at a commit: its files, with sizes and digests, and what its card says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::address::{checked_path, is_commit, is_hex};
use super::{HubError, Licence, Repository, Revision};

/// Largest answer about a repository that is read, in bytes.
pub(super) const LISTING_BYTES_MAX: u64 = 32 << 20;
/// Most files of a repository.
const FILES_MAX: usize = 50_000;
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
        let answer: Value = serde_json::from_slice(json)
            .map_err(|error| ListingError::Answer(format!("it is no JSON: {error}")))?;
        let commit = answer["sha"].as_str().filter(|sha| is_commit(sha));
        let commit = commit.ok_or_else(|| ListingError::Answer("it names no commit".to_owned()))?;
        let files = answer["siblings"].as_array();
        let files = files.ok_or_else(|| ListingError::Answer("it lists no files".to_owned()))?;
        if files.len() > FILES_MAX {
            let reason = format!("it lists {} files, the limit is {FILES_MAX}", files.len());
            return Err(ListingError::Answer(reason));
        }
        let files = files.iter().map(RemoteFile::parse).collect::<Result<Vec<_>, _>>()?;
        let (repository, revision) = (repository.clone(), revision.clone());
        Ok(Self {
            repository,
            revision,
            commit: commit.to_owned(),
            files,
            card: Card::parse(&answer),
        })
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
    fn parse(file: &Value) -> Result<Self, ListingError> {
        let path = file["rfilename"].as_str();
        let path = path.ok_or_else(|| ListingError::Answer("a file has no name".to_owned()))?;
        checked_path(path).map_err(ListingError::Hub)?;
        let lfs = &file["lfs"];
        let large = lfs["sha256"].as_str().or_else(|| lfs["oid"].as_str());
        let digest = match large {
            Some(sha256) => FileDigest::parse(sha256.trim_start_matches("sha256:")),
            // Of a large file, this is the digest of its pointer.
            None if lfs.is_null() => file["blobId"].as_str().and_then(FileDigest::parse),
            None => None,
        };
        let bytes = lfs["size"].as_u64().or_else(|| file["size"].as_u64());
        Ok(Self { path: path.to_owned(), bytes, digest })
    }
}

impl Card {
    /// From the fields of the card, else from the tags that the hub makes of them.
    fn parse(answer: &Value) -> Self {
        let (card, tags) = (&answer["cardData"], answer["tags"].as_array());
        let tag = |prefix: &str| {
            let mut tags = tags.into_iter().flatten().filter_map(Value::as_str);
            // base_model:finetune:owner/name stands beside base_model:owner/name.
            tags.find_map(|tag| tag.strip_prefix(prefix).filter(|rest| !rest.contains(':')))
        };
        let text = |value: &Value| first(value).map(str::to_owned);
        let id = first(&card["license"]).or_else(|| tag("license:"));
        Self {
            licence: id.map(|id| Licence {
                id: id.to_owned(),
                name: text(&card["license_name"]),
                link: text(&card["license_link"]),
            }),
            library: text(&answer["library_name"]).or_else(|| text(&card["library_name"])),
            base_model: first(&card["base_model"])
                .or_else(|| tag("base_model:"))
                .map(str::to_owned),
        }
    }

    /// From the head of a README.md, between two lines of `---`: plain `key: value` lines are all that is read of it.
    pub(super) fn of_readme(text: &str) -> Self {
        let mut lines = text.lines();
        if lines.next().map(str::trim_end) != Some("---") {
            return Self::default();
        }
        let head: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
        let value = |key: &str| {
            let mut lines = head.iter().enumerate();
            let of_key =
                |line: &'_ str| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned());
            let (at, rest) = lines.find_map(|(at, line)| Some((at, of_key(line)?)))?;
            // A list stands below its key.
            let listed = || head.get(at + 1)?.trim_start().strip_prefix("- ").map(str::trim);
            let value = if rest.is_empty() { listed()? } else { rest.as_str() };
            let value = value.trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        };
        Self {
            licence: value("license").map(|id| Licence {
                id,
                name: value("license_name"),
                link: value("license_link"),
            }),
            library: value("library_name"),
            base_model: value("base_model"),
        }
    }
}

/// A text, or the first of a list of them.
fn first(value: &Value) -> Option<&str> {
    let text = value.as_str().or_else(|| value.as_array()?.first()?.as_str());
    text.filter(|text| !text.is_empty())
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
    fn answers_that_can_not_be_are_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"sha": "main", "siblings": []}"#,
            &format!(r#"{{"sha": "{COMMIT}"}}"#),
        ] {
            assert!(matches!(parse(bad), Err(ListingError::Answer(_))), "{bad}");
        }
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

        let readme = Card::of_readme(
            "---\ntags:\n- clip\nlicense: other\nlicense_name: 'x'\nbase_model:\n  - a/b\n---\nlicense: mit\n",
        );
        let own = Licence { id: "other".into(), name: Some("x".into()), link: None };
        assert_eq!((readme.licence, readme.base_model.as_deref()), (Some(own), Some("a/b")));
        assert_eq!(Card::of_readme("license: mit\n"), Card::default());
    }
}
