//! Models from a hub: the client and the program against a server of the tests' own that speaks the hub's protocol,
//! over lines that break, with files that come wrong, and without a network.

mod faults;
mod fetch;
mod program;
mod pull;
mod refusals;
mod server;
mod store;

use std::fs;
use std::path::Path;
use std::time::Duration;

use edgeclip::hub::{
    Client, Event, HubError, Listing, Patience, Revision, Settings, Snapshot, Token,
};
use server::Hub;
use tempfile::TempDir;

/// Bytes that look like nothing else, and compress to nothing: a file whose parts differ.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(next).collect()
}

/// Settings for a hub and a cache in a folder, with little patience.
fn settings(endpoint: &str, cache: &Path) -> Settings {
    let patience =
        Patience { tries: 4, first_wait: Duration::from_millis(2), stall: Duration::from_secs(1) };
    Settings {
        endpoint: endpoint.to_owned(),
        token: None,
        cache: cache.to_owned(),
        offline: false,
        patience,
    }
}

/// A client of a hub, with a cache of its own.
struct Session {
    client: Client,
    cache: TempDir,
}

impl Session {
    fn new(hub: &Hub) -> Self {
        Self::with(hub, |_| {})
    }

    fn with(hub: &Hub, change: impl FnOnce(&mut Settings)) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let mut settings = settings(hub.endpoint(), cache.path());
        change(&mut settings);
        Self { client: Client::new(settings), cache }
    }

    fn with_token(hub: &Hub, token: &str) -> Self {
        Self::with(hub, |settings| settings.token = Some(Token::new(token).unwrap()))
    }

    /// The same cache, without a network.
    fn offline(&self) -> Client {
        let settings = Settings { offline: true, ..self.client.settings().clone() };
        Client::new(settings)
    }

    /// All files of a repository at its main branch.
    fn pull(&self, repository: &str) -> Result<Snapshot, HubError> {
        pull(&self.client, repository, "main").map(|(_, snapshot)| snapshot)
    }

    /// The names in the folder of what is in files, sorted.
    fn blobs(&self, repository: &str) -> Vec<String> {
        let folder = format!("models--{}/blobs", repository.replace('/', "--"));
        names(&self.cache.path().join(folder))
    }
}

fn pull(
    client: &Client,
    repository: &str,
    revision: &str,
) -> Result<(Listing, Snapshot), HubError> {
    let (repository, revision) = (repository.parse()?, revision.parse::<Revision>()?);
    let listing = client.listing(&repository, &revision, &mut quiet)?;
    let paths: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
    let snapshot = client.fetch(&listing, &paths, &mut quiet)?;
    Ok((listing, snapshot))
}

fn quiet(_: Event<'_>) {}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The message of a pull that must fail, which says all of these words.
fn refused(result: Result<Snapshot, HubError>, words: &[&str]) -> String {
    let error = anyhow::Error::from(result.expect_err("it must fail"));
    let message = format!("{error:#}");
    for word in words {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
    message
}
