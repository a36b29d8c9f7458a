//! Pulls that go well: what is fetched, where it lies, and what another one fetches again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::server::{COMMIT, Fault, Hub, Repository, git_blob, sha256};
use crate::{Session, names, noise, pull, refused};

const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddcc";

fn repository() -> Repository {
    let graph = noise(200_000);
    Repository::new(
        "o/n",
        &[("config.json", b"{}"), ("onnx/a model.onnx", &graph), ("README.md", b"# n\n")],
    )
}

#[test]
fn files_lie_in_the_cache_as_other_programs_have_them() {
    let hub = Hub::start(&[repository()]);
    let session = Session::new(&hub);
    let (listing, snapshot) = pull(&session.client, "o/n", "main").unwrap();
    let graph = noise(200_000);
    assert_eq!((listing.commit.as_str(), listing.files.len()), (COMMIT, 3));
    assert_eq!(listing.card.licence.unwrap().to_string(), "mit");
    let digests: Vec<&str> = snapshot.files.iter().map(|file| file.sha256.as_str()).collect();
    assert_eq!(digests, [sha256(b"# n\n"), sha256(b"{}"), sha256(&graph)]);
    let folder = session.cache.path().join("models--o--n");
    assert_eq!(snapshot.folder, folder.join("snapshots").join(COMMIT));
    assert_eq!(fs::read(snapshot.folder.join("onnx/a model.onnx")).unwrap(), graph);
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    let mut wanted = vec![git_blob(b"{}"), git_blob(b"# n\n"), sha256(&graph)];
    wanted.sort();
    assert_eq!(session.blobs("o/n"), wanted);
    let link = fs::read_link(snapshot.folder.join("onnx/a model.onnx")).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(sha256(&graph)));
    assert_eq!(names(&session.cache.path().join(".locks/models--o--n")).len(), 3);
}

#[test]
fn what_is_there_is_checked_and_not_fetched_again() {
    let hub = Hub::start(&[repository()]);
    let session = Session::new(&hub);
    let first = session.pull("o/n").unwrap();
    let files = |hub: &Hub| {
        hub.requests().iter().filter(|request| !request.target.starts_with("/api")).count()
    };
    let before = files(&hub);
    assert_eq!(session.pull("o/n").unwrap().files, first.files);
    assert_eq!(files(&hub), before);
    // A card that lost a bit.
    let blob = first.folder.join("onnx/a model.onnx");
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1000] ^= 4;
    fs::write(&blob, bytes).unwrap();
    assert_eq!(session.pull("o/n").unwrap().files, first.files);
    assert_eq!(fs::read(&blob).unwrap(), noise(200_000));
    assert_eq!(files(&hub), before + 2); // hub and storage
}

#[test]
fn branches_commits_and_proposals_lead_to_their_commit() {
    let mut with_more = repository();
    with_more.revisions.insert("v1".into(), OTHER.into());
    with_more.revisions.insert("refs/pr/3".into(), OTHER.into());
    let hub = Hub::start(&[with_more]);
    let session = Session::new(&hub);
    for (revision, commit) in
        [("main", COMMIT), ("v1", OTHER), ("refs/pr/3", OTHER), (COMMIT, COMMIT)]
    {
        let (listing, snapshot) = pull(&session.client, "o/n", revision).unwrap();
        assert_eq!(listing.commit, commit, "{revision}");
        assert!(snapshot.folder.ends_with(commit));
    }
    // What is pinned comes from its commit, not from the branch.
    pull(&Session::new(&hub).client, "o/n", "v1").unwrap();
    assert!(
        hub.requests()
            .iter()
            .any(|request| request.target.contains(&format!("/resolve/{OTHER}/config.json")))
    );
    assert_eq!(names(&session.cache.path().join("models--o--n/refs")), ["main", "refs", "v1"]);
    // The branch moves on, and what it was stays.
    hub.change(|repositories| {
        repositories[0].revisions.insert("main".into(), OTHER.into());
    });
    assert_eq!(pull(&session.client, "o/n", "main").unwrap().0.commit, OTHER);
    assert_eq!(names(&session.cache.path().join("models--o--n/snapshots")), [COMMIT, OTHER]);
}

#[test]
fn a_mirror_that_lists_names_alone_is_asked_for_each_file() {
    let hub = Hub::start(&[Repository { is_terse: true, ..repository() }]);
    let session = Session::new(&hub);
    let snapshot = session.pull("o/n").unwrap();
    assert_eq!(snapshot.files[2].sha256, sha256(&noise(200_000)));
    let heads = hub.requests().into_iter().filter(|request| request.method == "HEAD");
    assert!(heads.clone().count() == 3 && heads.clone().all(|request| request.is_hub));
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let hub = Hub::start(&[repository()]);
    Session::with_token(&hub, "hf_secret").pull("o/n").unwrap();
    for request in hub.requests() {
        let token = request.header("authorization");
        assert_eq!(token, request.is_hub.then_some("Bearer hf_secret"), "{request:?}");
    }
    assert!(hub.requests().iter().any(|request| !request.is_hub));
}

#[test]
fn offline_all_comes_from_the_cache_or_it_is_said_what_is_missing() {
    let hub = Hub::start(&[repository()]);
    let session = Session::new(&hub);
    let (repository, main) = ("o/n".parse().unwrap(), "main".parse().unwrap());
    let empty =
        session.offline().listing(&repository, &main, &mut crate::quiet).unwrap_err().to_string();
    assert!(empty.contains("offline: o/n at main was never fetched"), "{empty}");

    // One file of three.
    let listing = session.client.listing(&repository, &main, &mut crate::quiet).unwrap();
    session.client.fetch(&listing, &["config.json".to_owned()], &mut crate::quiet).unwrap();
    let half = pull(&session.offline(), "o/n", "main").map(|(_, snapshot)| snapshot);
    let message = refused(
        half,
        &["offline: the cache has not all of o/n", "README.md, onnx/a model.onnx missing"],
    );
    assert!(!message.contains("config.json"), "{message}");

    let online = session.pull("o/n").unwrap();
    let asked = hub.requests().len();
    for revision in ["main", COMMIT] {
        let (listing, snapshot) = pull(&session.offline(), "o/n", revision).unwrap();
        assert_eq!(snapshot.files, online.files);
        assert_eq!(listing.card.licence.unwrap().id, "mit");
    }
    assert_eq!(hub.requests().len(), asked);
    fs::write(online.folder.join("config.json"), "{ }").unwrap();
    let damaged = pull(&session.offline(), "o/n", "main").map(|(_, snapshot)| snapshot);
    refused(damaged, &["config.json is damaged", &git_blob(b"{}"), "without --offline"]);
}

#[test]
fn two_at_once_fetch_a_file_once_and_both_have_it() {
    let hub = Hub::start(&[repository()]);
    let session = Session::new(&hub);
    let gate = Arc::new(AtomicBool::new(false));
    hub.fail("/storage/", 1, &[Fault::Wait(Arc::clone(&gate))]);
    thread::scope(|scope| {
        let first = scope.spawn(|| session.pull("o/n").unwrap());
        while hub.ranges("/storage/").is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        let second = scope.spawn(|| {
            let other = edgeclip::hub::Client::new(session.client.settings().clone());
            let (repository, main) = ("o/n".parse().unwrap(), "main".parse().unwrap());
            let listing = other.listing(&repository, &main, &mut crate::quiet).unwrap();
            let mut waited = false;
            let mut watch = |event: edgeclip::hub::Event<'_>| {
                if matches!(event, edgeclip::hub::Event::Locked { .. }) {
                    waited = true;
                    gate.store(true, Ordering::SeqCst);
                }
            };
            let snapshot = other.fetch(&listing, &["onnx/a model.onnx".to_owned()], &mut watch);
            (snapshot.unwrap(), waited)
        });
        let (first, (second, waited)) = (first.join().unwrap(), second.join().unwrap());
        assert!(waited);
        assert_eq!(first.files[2], second.files[0]);
    });
    assert_eq!(hub.ranges("/storage/"), [None]);
    assert_eq!(session.blobs("o/n").len(), 3);
}
