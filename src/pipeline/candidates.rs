//! The label sets that a run could begin with, in the order in which they are tried.

use super::watched::Watched;
use crate::prompts::{BuiltInSet, History};

/// A set that could be the first.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) origin: String,
    /// Its place in the history, if it is there already.
    pub(super) number: Option<u64>,
}

impl Candidate {
    pub(super) fn new(name: &str, text: String, origin: &str) -> Self {
        Self { name: name.to_owned(), text, origin: origin.to_owned(), number: None }
    }
}

/// What the options name.
pub(super) struct Given {
    name: String,
    text: anyhow::Result<String>,
    origin: &'static str,
}

/// Origins in the history.
pub(super) const OF_FILE: &str = "file";
pub(super) const OF_SET: &str = "set";
pub(super) const OF_HEAD: &str = "head";

impl Given {
    pub(super) fn find(built_in: Option<&BuiltInSet>, file: &mut Watched) -> Option<Self> {
        if let Some(set) = built_in {
            let (name, text) = (set.name.to_owned(), Ok(set.text.to_owned()));
            return Some(Self { name, text, origin: OF_SET });
        }
        Some(Self { text: file.read()?, name: file.name(), origin: OF_FILE })
    }
}

/// The sets to begin with, the one that is wanted most first.
pub(super) fn candidates(
    given: Option<Given>,
    history: Option<&History>,
) -> anyhow::Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    let kept = history.map(History::list).transpose()?.unwrap_or_default();
    match given {
        Some(Given { name, text: Ok(text), origin }) => {
            let last = kept.iter().rev().find(|set| set.origin == origin);
            let was_in_use = last.is_some_and(|set| set.read().is_ok_and(|kept| kept == text));
            if !was_in_use {
                candidates.push(Candidate::new(&name, text, origin));
            }
        }
        Some(Given { text: Err(error), .. }) if kept.iter().all(|set| set.undone) => {
            return Err(error);
        }
        Some(Given { text: Err(error), .. }) => {
            log::error!("{error:#}: the set that was in use before is used");
        }
        None => {}
    }
    for stored in kept.into_iter().rev().filter(|set| !set.undone) {
        let name = stored.path.display().to_string();
        let text = match stored.read() {
            Ok(text) => text,
            Err(error) => {
                log::error!("{:#}: passed over", anyhow::Error::from(error));
                continue;
            }
        };
        let (origin, number) = (stored.origin, Some(stored.number));
        candidates.push(Candidate { name, text, origin, number });
    }
    Ok(candidates)
}
