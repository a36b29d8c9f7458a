//! Names that go into addresses and paths: repositories, revisions and files, each checked where it comes in.

use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::HubError;

/// Longest name of a repository, as the hub has it.
const REPOSITORY_BYTES_MAX: usize = 96;
/// Longest revision.
const REVISION_BYTES_MAX: usize = 256;
/// Longest path of a file in a repository.
const PATH_BYTES_MAX: usize = 1024;
/// Digits of a commit's name.
const COMMIT_DIGITS: usize = 40;

/// What stands in an address as it is (RFC 3986, unreserved).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name of a repository: `owner/name`, or the bare `name` that some old ones have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(String);

/// A branch, a tag, a commit or `refs/pr/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

impl Repository {
    /// Owner and name as one text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes after the owner.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The address of what the hub knows about it at a revision, digests of its files included.
    pub(super) fn api_url(&self, endpoint: &str, revision: &Revision) -> String {
        let revision = utf8_percent_encode(&revision.0, PLAIN);
        format!("{endpoint}/api/models/{}/revision/{revision}?blobs=true", self.0)
    }

    /// The address of a file.
    pub(super) fn file_url(&self, endpoint: &str, commit: &str, path: &str) -> String {
        let parts: Vec<String> =
            path.split('/').map(|part| utf8_percent_encode(part, PLAIN).to_string()).collect();
        format!("{endpoint}/{}/resolve/{commit}/{}", self.0, parts.join("/"))
    }
}

impl FromStr for Repository {
    type Err = HubError;

    /// Takes the address of the repository's page as well.
    fn from_str(given: &str) -> Result<Self, HubError> {
        let refuse =
            |reason| HubError::Name { what: "repository", given: given.to_owned(), reason };
        let page = given.strip_prefix("https://huggingface.co/");
        let name = page.map_or(given, |name| name.trim_end_matches('/'));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let parts: Vec<&str> = name.split('/').collect();
        let is_odd = |part: &&str| {
            part.is_empty() || part.starts_with(['-', '.']) || part.ends_with(['-', '.'])
        };
        if name.len() > REPOSITORY_BYTES_MAX {
            return Err(refuse("the name is too long"));
        }
        if parts.len() > 2 || parts.iter().any(is_odd) || name.contains("--") || name.contains("..")
        {
            return Err(refuse("write OWNER/NAME, as in openai/clip-vit-base-patch32"));
        }
        if !parts.iter().all(|part| part.chars().all(is_plain)) {
            return Err(refuse("letters, digits and - _ . alone can be in it"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl Revision {
    /// The branch that every repository has.
    #[must_use]
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// The revision as one text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names a commit, which never changes.
    #[must_use]
    pub fn is_commit(&self) -> bool {
        is_commit(&self.0)
    }
}

impl FromStr for Revision {
    type Err = HubError;

    fn from_str(given: &str) -> Result<Self, HubError> {
        let is_fine = given.len() <= REVISION_BYTES_MAX
            && !given.starts_with('-')
            && !given.chars().any(|c| c.is_control() || c.is_whitespace())
            && is_inside(given);
        let reason = "write a branch, a tag, a commit or refs/pr/NUMBER";
        let wrong = || HubError::Name { what: "revision", given: given.to_owned(), reason };
        if is_fine { Ok(Self(given.to_owned())) } else { Err(wrong()) }
    }
}

/// Whether a text is a commit's full name.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == COMMIT_DIGITS && is_hex(text)
}

/// Whether a text is of lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A file's path as a server names it, if it stays inside the folder that it is put in.
///
/// # Errors
/// [`HubError::Name`].
pub(super) fn checked_path(path: &str) -> Result<(), HubError> {
    let is_fine =
        path.len() <= PATH_BYTES_MAX && !path.chars().any(char::is_control) && is_inside(path);
    let reason = "the server names a file outside of its repository, or with characters that a file can't have";
    if is_fine {
        return Ok(());
    }
    Err(HubError::Name { what: "file", given: path.escape_debug().to_string(), reason })
}

/// Whether a relative path has plain parts alone: no root, no `.` and `..`, nothing empty, no backslash.
fn is_inside(path: &str) -> bool {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let as_given = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    as_given && !path.contains('\\') && Path::new(path).components().all(is_plain)
}

macro_rules! text_like {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = HubError;

            fn try_from(text: String) -> Result<Self, HubError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text_like!(Repository);
text_like!(Revision);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories_are_checked() {
        for good in ["gpt2", "openai/clip-vit-base-patch32", "a_b/C.d-1"] {
            assert_eq!(good.parse::<Repository>().unwrap().as_str(), good);
        }
        let pasted: Repository =
            "https://huggingface.co/openai/clip-vit-base-patch32/".parse().unwrap();
        assert_eq!(
            (pasted.as_str(), pasted.name()),
            ("openai/clip-vit-base-patch32", "clip-vit-base-patch32")
        );
        let long = "a".repeat(97);
        for bad in [
            "", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a--b/c", "a/b c", "a/.b", "-a/b", "ä/b",
            "a/b?x", &long,
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn revisions_are_checked() {
        for good in ["main", "v1.0", "refs/pr/3", "feature/x"] {
            assert!(good.parse::<Revision>().is_ok(), "{good}");
        }
        for bad in ["", "..", "a/../b", "/main", "a b", "-x", "a\n", "a\\b", "refs//pr"] {
            assert!(bad.parse::<Revision>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_stay_in_their_repository() {
        for good in ["config.json", "onnx/text model.onnx", "a/b/c..d"] {
            assert!(checked_path(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "a\\..\\b",
            "a\0b",
            "a\nb",
        ] {
            assert!(checked_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_escaped() {
        let repository: Repository = "o/n".parse().unwrap();
        let revision: Revision = "refs/pr/1".parse().unwrap();
        assert_eq!(
            repository.api_url("http://h", &revision),
            "http://h/api/models/o/n/revision/refs%2Fpr%2F1?blobs=true"
        );
        assert_eq!(
            repository.file_url("http://h", "c0", "a b/ü?#.x"),
            "http://h/o/n/resolve/c0/a%20b/%C3%BC%3F%23.x"
        );
    }
}
